//! From publish to readable row at a steady rate, against the disk's own sync; and how far what is derived is behind.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::broker::mosquitto::{Mosquitto, Options};
use harness::publish::Outgoing;
use harness::system::{Api, Subscriber};
use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use rusqlite::{Connection, OpenFlags};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::http::poll::Client;
use super::spread::percentile;
use super::table::{Limit, Row, Table};
use super::{Cli, message, progress, wide_message};

const PER_SECOND: usize = 1_000;
/// What comes first, while connections, caches and files are made.
const WARM_UP: usize = PER_SECOND;
/// Between two looks: the figures are too large by up to this, by the kernel's slack for a timer, 0.05 ms, and by a look.
const LOOK_EVERY: Duration = Duration::from_micros(100);
/// After so many new rows the API is asked too, whether it has what the look has found.
const ASK_EVERY_ROWS: usize = 250;
/// The longest that a row may take before the round is given up.
const PATIENCE: Duration = Duration::from_secs(30);
const SYNCS: usize = 400;
const SYNC_BYTES: usize = 4096;
/// At the rate of the messages, for as long as a spell of slow syncs needs to show.
const PACED_SYNCS: usize = 5 * PER_SECOND;

/// Milliseconds.
struct Round {
    p50: f64,
    p99: f64,
    most: f64,
    /// A `GET` of the newest row meanwhile, p50.
    asked: f64,
    sync: f64,
    /// Seconds that the readings were behind the messages, at most.
    lag_s: f64,
    /// The disk alone, an append and sync for each message: p99.
    paced_sync: f64,
}

/// What the watcher has seen.
struct Watched {
    seen: Vec<Instant>,
    /// Messages that are stored and not derived, at most.
    lag_rows: usize,
    asked_ms: Vec<f64>,
}

/// Measures the disk and the system in each round.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for number in 0..cli.rounds {
        let round = round(cli.latency_seconds * PER_SECOND, message).await?;
        progress(&format!(
            "latency {}: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms; fdatasync {:.3} ms",
            number + 1,
            round.p50,
            round.p99,
            round.most,
            round.sync
        ));
        rounds.push(round);
    }
    // The spool's sync and the database's: a message waits for both.
    let of_syncs = |of: fn(&Round) -> f64| rounds.iter().map(|round| (of(round), 2.0 * round.sync)).collect::<Vec<_>>();
    let limit = Limit::AtMost { must: 20.0, aim: 8.0 };
    let work = format!("publish to readable row, {PER_SECOND} msg/s");
    let reference = "two fdatasyncs of 4 KiB, p50";
    table.push(Row::rates(format!("{work}: p99"), "ms", reference, &of_syncs(|round| round.p99), limit));
    table.push(Row::rates(format!("{work}: p50"), "ms", reference, &of_syncs(|round| round.p50), Limit::None));
    table.explain("latency", "the slowest message, ms", rounds.iter().map(|round| round.most));
    table.explain("latency", "a GET of the newest row meanwhile, p50, ms", rounds.iter().map(|round| round.asked));
    let of_one = rounds.iter().map(|round| round.p99 / round.sync);
    table.explain("latency", "p99 in single fdatasyncs", of_one);
    let paced = format!("the disk alone, {PER_SECOND} fdatasyncs a second: p99, ms");
    table.explain("latency", paced, rounds.iter().map(|round| round.paced_sync));
    let of_paced = rounds.iter().map(|round| round.p99 / (2.0 * round.paced_sync));
    table.explain("latency", "p99 in two of those", of_paced);
    Ok(())
}

/// One round of messages of 16 fields, long enough for a lag to grow.
pub(crate) async fn measure_wide(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let round = round(cli.wide_seconds * PER_SECOND, wide_message).await?;
    let Round { p50, p99, most, lag_s, sync, .. } = round;
    progress(&format!(
        "wide: lag {lag_s:.1} s, p50 {p50:.2} ms, p99 {p99:.2} ms, most {most:.2} ms; fdatasync {sync:.3} ms"
    ));
    let work = format!("{PER_SECOND} msg/s of 16 fields for {} s", cli.wide_seconds);
    let limit = Limit::AtMost { must: 10.0, aim: 2.0 };
    table.push(Row::figure(format!("{work}: lag of the readings"), "s", [lag_s], limit));
    let limit = Limit::AtMost { must: 20.0, aim: 8.0 };
    let pairs = [(p99, 2.0 * sync)];
    table.push(Row::rates(format!("{work}: p99"), "ms", "two fdatasyncs of 4 KiB, p50", &pairs, limit));
    table.explain("wide", "the slowest message, ms", [most]);
    Ok(())
}

async fn round(messages: usize, message: fn(usize) -> Outgoing) -> anyhow::Result<Round> {
    let dir = tempfile::tempdir()?;
    let sync = percentile(&syncs_ms(dir.path(), SYNCS, Duration::ZERO)?, 50.0);
    let paced_sync = percentile(&syncs_ms(dir.path(), PACED_SYNCS, Duration::from_secs(1) / PER_SECOND as u32)?, 99.0);
    let store = dir.path().join("broker");
    std::fs::create_dir(&store)?;
    // As the compose file's broker: without it the kernel holds small packets back.
    let options = Options { extra: "set_tcp_nodelay true\n".to_owned(), ..Options::default() };
    let broker = Mosquitto::start(&store, options).await?;
    let api = Api::start(dir.path()).await?;
    let settings = [("MQTT_TOPICS", "bench/#:1")];
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), &settings)?;
    subscriber.ready().await?;
    let (sent_to, sent) = std::sync::mpsc::channel();
    let addr = broker.addr();
    // On threads of their own, so that the one does not wait for the other.
    let publisher = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(publish(addr, messages, message, &sent_to))
    });
    let (addr, database) = (api.addr(), api.database());
    let watcher = std::thread::spawn(move || watch(&database, addr, messages));
    let joined = tokio::task::spawn_blocking(move || (publisher.join(), watcher.join())).await?;
    joined.0.map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
    let Watched { seen, lag_rows, mut asked_ms } = joined.1.map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
    let sent: Vec<Instant> = sent.into_iter().collect();
    ensure!(sent.len() == messages, "{} of {messages} messages were sent", sent.len());
    let ms = |(seen, sent): (&Instant, &Instant)| seen.duration_since(*sent).as_secs_f64() * 1e3;
    let mut took: Vec<f64> = seen.iter().zip(&sent).skip(WARM_UP).map(ms).collect();
    took.sort_by(f64::total_cmp);
    let of = |percent| percentile(&took, percent);
    asked_ms.sort_by(f64::total_cmp);
    let asked = percentile(&asked_ms, 50.0);
    Ok(Round {
        p50: of(50.0),
        p99: of(99.0),
        most: of(100.0),
        asked,
        lag_s: lag_rows as f64 / PER_SECOND as f64,
        sync,
        paced_sync,
    })
}

/// What the disk takes to append 4 KiB durably, so many times and no more often than at this distance: milliseconds, sorted.
fn syncs_ms(dir: &Path, count: usize, distance: Duration) -> anyhow::Result<Vec<f64>> {
    let path = dir.join("sync");
    let file = File::create(&path)?;
    let block = [b'x'; SYNC_BYTES];
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let began = Instant::now();
        file.write_all_at(&block, (number * SYNC_BYTES) as u64)?;
        file.sync_data()?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(distance.saturating_sub(began.elapsed()));
    }
    std::fs::remove_file(&path)?;
    took.sort_by(f64::total_cmp);
    Ok(took)
}

/// Publishes at a steady rate; tells when each message was handed over.
async fn publish(
    broker: SocketAddr,
    messages: usize,
    message: fn(usize) -> Outgoing,
    sent: &std::sync::mpsc::Sender<Instant>,
) -> anyhow::Result<()> {
    let mut options = MqttOptions::new("latency", broker.ip().to_string(), broker.port());
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_keep_alive(Duration::from_secs(60)).set_network_options(network);
    let (client, mut eventloop) = AsyncClient::new(options, 100);
    let mut polling = JoinSet::new();
    polling.spawn(async move {
        // Who leaves with acknowledgements unread resets the connection, and with it goes what the broker has not read.
        let mut acknowledged = 0;
        while acknowledged < messages {
            if let Event::Incoming(Packet::PubAck(_)) = eventloop.poll().await? {
                acknowledged += 1;
            }
        }
        anyhow::Ok(())
    });
    let mut pace = interval(Duration::from_secs(1) / PER_SECOND as u32);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..messages {
        pace.tick().await;
        let message = message(number);
        sent.send(Instant::now())?;
        client.publish(message.topic, QoS::AtLeastOnce, false, message.payload).await?;
    }
    polling.join_next().await.context("the event loop")??
}

/// When each row could be read first: the row's id is its message's number, since order is kept.
///
/// It reads the database as Metabase does: requests as often would take the processors from what is measured.
fn watch(database: &Path, api: SocketAddr, messages: usize) -> anyhow::Result<Watched> {
    let conn = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut look = conn.prepare("select coalesce(max(id), 0) from dados")?;
    let mut derived = conn.prepare("select ultimo_id from projecoes where nome = 'leituras'")?;
    let mut lag_rows = 0;
    let mut client = Client::connect(api)?;
    let (mut seen, mut asked_ms) = (Vec::with_capacity(messages), Vec::new());
    let mut last = Instant::now();
    while seen.len() < messages {
        let newest = usize::try_from(look.query_row([], |row| row.get::<_, i64>(0))?)?;
        let now = Instant::now();
        if newest > seen.len() {
            let is_turn = newest / ASK_EVERY_ROWS > seen.len() / ASK_EVERY_ROWS;
            // All rows before it can be read too: a commit shows them together.
            seen.resize(newest, now);
            last = now;
            if is_turn {
                let until = usize::try_from(derived.query_row([], |row| row.get::<_, i64>(0))?)?;
                lag_rows = lag_rows.max(newest - until.min(newest));
                let answered = client.newest_id()?;
                asked_ms.push(now.elapsed().as_secs_f64() * 1e3);
                ensure!(
                    answered >= newest,
                    "row {newest} is in the database, and the API gives {answered} as the newest"
                );
            }
        }
        ensure!(last.elapsed() < PATIENCE, "{} of {messages} rows came", seen.len());
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(Watched { seen, lag_rows, asked_ms })
}

//! Drains the same backlog with `mosquitto_sub` and with the whole system, in turn, and compares.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use harness::broker::mosquitto::{Mosquitto, Options};
use harness::process::{Process, cpu_seconds_at_end};
use harness::publish::publish;
use harness::system::{Api, Subscriber};

use super::syscalls::{self, Tracer};
use super::table::{Limit, Row, Table};
use super::{Cli, message, mib, progress};

/// Far more than a drain takes.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the rows are looked for. A look costs what a look costs: it is part of the figure.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const OURS: &str = "drain";

/// One round's figures.
#[derive(Default)]
struct Round {
    reference_s: f64,
    ours_s: f64,
    subscriber: Cost,
    api: Cost,
    broker_cpu_s: f64,
    broker_reference_cpu_s: f64,
    reference_cpu_s: f64,
}

/// What one process took.
#[derive(Clone, Copy, Default)]
struct Cost {
    cpu_s: f64,
    resident_kib_max: u64,
    written_bytes: u64,
}

impl Cost {
    fn of(process: &Process) -> anyhow::Result<Self> {
        Ok(Self {
            cpu_s: process.cpu_seconds()?,
            resident_kib_max: process.resident_kib_max()?,
            written_bytes: process.written_bytes()?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self { cpu_s: self.cpu_s - before.cpu_s, written_bytes: self.written_bytes - before.written_bytes, ..self }
    }
}

/// Measures both in each round.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for number in 0..cli.rounds {
        let round = Stage::set(cli.messages).await?.round(number % 2 == 1).await?;
        progress(&format!(
            "drain {}: mosquitto_sub {:.2} s, ponte {:.2} s, {:.2} ×",
            number + 1,
            round.reference_s,
            round.ours_s,
            round.reference_s / round.ours_s
        ));
        rounds.push(round);
    }
    let messages = cli.messages as f64;
    let pairs: Vec<_> = rounds.iter().map(|round| (messages / round.ours_s, messages / round.reference_s)).collect();
    table.push(Row::rates(
        format!("backlog of {} QoS 1 messages of 80 B, to readable rows", cli.messages),
        "msg/s",
        "mosquitto_sub",
        &pairs,
        Limit::AtLeast { must: 0.5, aim: 1.0 },
    ));
    let memory = |cost: fn(&Round) -> Cost| rounds.iter().map(move |round| mib(cost(round).resident_kib_max));
    table.push(Row::figure(
        "memory in it: subscriber",
        "MiB",
        memory(|round| round.subscriber),
        Limit::AtMost { must: 40.0, aim: 20.0 },
    ));
    table.push(Row::figure(
        "memory in it: API",
        "MiB",
        memory(|round| round.api),
        Limit::AtMost { must: 80.0, aim: 40.0 },
    ));
    let mut cpu = |name: &str, seconds: fn(&Round) -> f64| {
        let per_million = rounds.iter().map(|round| seconds(round) * 1e6 / messages);
        table.explain(OURS, format!("{name}: CPU s per million messages"), per_million);
    };
    cpu("ponte-subscriber", |round| round.subscriber.cpu_s);
    cpu("ponte-api", |round| round.api.cpu_s);
    cpu("mosquitto with ponte", |round| round.broker_cpu_s);
    cpu("mosquitto_sub", |round| round.reference_cpu_s);
    cpu("mosquitto with mosquitto_sub", |round| round.broker_reference_cpu_s);
    let mut written = |name: &str, cost: fn(&Round) -> Cost| {
        let per_message = rounds.iter().map(|round| cost(round).written_bytes as f64 / messages);
        table.explain(OURS, format!("{name}: bytes written to disk a message"), per_message);
    };
    written("ponte-subscriber", |round| round.subscriber);
    written("ponte-api", |round| round.api);
    count_syscalls(cli, table).await
}

/// The seconds that the whole system takes for a backlog.
pub(crate) async fn ours(messages: usize) -> anyhow::Result<f64> {
    let mut round = Round::default();
    Stage::set(messages).await?.ours(&mut round).await?;
    Ok(round.ours_s)
}

/// In a round of its own, since counting slows what it counts.
async fn count_syscalls(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    if !syscalls::installed() {
        table.skip("system calls were not counted: strace is not installed");
        return Ok(());
    }
    let mut stage = Stage::set(cli.messages).await?;
    let api = Tracer::attach(stage.api.process()?.pid(), &stage.dir.path().join("api.strace"))?;
    stage.subscriber.restart()?;
    let pid = stage.subscriber.process()?.pid();
    let subscriber = Tracer::attach(pid, &stage.dir.path().join("subscriber.strace"))?;
    stage.drained().await?;
    for (name, tracer) in [("ponte-subscriber", subscriber), ("ponte-api", api)] {
        for (call, count) in tracer.detach()? {
            let per_thousand = count as f64 * 1e3 / cli.messages as f64;
            table.explain(OURS, format!("{name}: {call} per thousand messages"), [per_thousand]);
        }
    }
    Ok(())
}

/// A fresh broker with two sessions that queue the same messages, and the system to drain one of them. Both must get
/// each of them: had the broker dropped some, the reference would wait in vain, and the rows would be too few.
struct Stage {
    messages: usize,
    broker: Mosquitto,
    api: Api,
    subscriber: Subscriber,
    dir: tempfile::TempDir,
}

impl Stage {
    async fn set(messages: usize) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = dir.path().join("broker");
        std::fs::create_dir(&store)?;
        let broker = Mosquitto::start(&store, Options::default()).await?;
        let api = Api::start(dir.path()).await?;
        let settings = [("MQTT_TOPICS", "bench/#:1")];
        let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), &settings)?;
        subscriber.ready().await?;
        subscriber.process()?.terminate()?;
        let mut session = reference(broker.addr());
        ensure!(session.arg("-E").status().context("mosquitto_sub")?.success(), "mosquitto_sub made no session");
        publish(broker.addr(), (0..messages).map(message).collect()).await?;
        Ok(Self { messages, broker, api, subscriber, dir })
    }

    async fn round(mut self, ours_first: bool) -> anyhow::Result<Round> {
        let mut round = Round::default();
        if ours_first {
            self.ours(&mut round).await?;
        }
        let broker = self.broker.process()?.cpu_seconds()?;
        let began = Instant::now();
        let mut command = reference(self.broker.addr());
        let child = command.args(["-C", &self.messages.to_string()]).stdout(Stdio::null()).spawn()?;
        round.reference_cpu_s = end_of(child).await?;
        round.reference_s = began.elapsed().as_secs_f64();
        round.broker_reference_cpu_s = self.broker.process()?.cpu_seconds()? - broker;
        if !ours_first {
            self.ours(&mut round).await?;
        }
        Ok(round)
    }

    async fn ours(&mut self, round: &mut Round) -> anyhow::Result<()> {
        let broker = self.broker.process()?.cpu_seconds()?;
        let api = Cost::of(self.api.process()?)?;
        let began = Instant::now();
        self.subscriber.restart()?;
        self.drained().await?;
        round.ours_s = began.elapsed().as_secs_f64();
        round.subscriber = Cost::of(self.subscriber.process()?)?;
        round.api = Cost::of(self.api.process()?)?.since(api);
        round.broker_cpu_s = self.broker.process()?.cpu_seconds()? - broker;
        Ok(())
    }

    /// All that was queued can be read through GET, and nothing else.
    async fn drained(&self) -> anyhow::Result<()> {
        let (rows, messages) = (self.api.rows(), self.messages as i64);
        let began = Instant::now();
        loop {
            let stored = rows.newest_id().await?;
            if stored >= messages {
                ensure!(stored == messages, "{stored} rows of {messages} messages");
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "{stored} rows of {messages} messages within {PATIENCE:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Waits for a program that does its work and ends; gives its CPU time.
async fn end_of(mut child: Child) -> anyhow::Result<f64> {
    let began = Instant::now();
    loop {
        // Before it is waited for: then its figures are gone.
        if let Some(seconds) = cpu_seconds_at_end(&child)? {
            let status = child.wait()?;
            ensure!(status.success(), "mosquitto_sub: {status}");
            return Ok(seconds);
        }
        if began.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!("mosquitto_sub has not had all messages within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// `mosquitto_sub` with a session of its own.
fn reference(broker: SocketAddr) -> Command {
    let mut command = Command::new("mosquitto_sub");
    command.args(["-V", "5", "-c", "-i", "reference", "-q", "1", "-x", "3600", "-t", "bench/#"]);
    command.args(["-h", "127.0.0.1", "-p", &broker.port().to_string()]);
    command
}

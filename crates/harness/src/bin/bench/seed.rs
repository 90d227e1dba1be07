//! The script that it all began with, as written, against the whole system's drain: messages a second, until rows.
//!
//! The script keeps no session, so that it can drain no backlog: it gets the same messages as fast as it takes them.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::broker::mosquitto::{Mosquitto, Options};
use harness::certs::Certs;
use harness::eventually;
use harness::process::Process;
use harness::publish::{Outgoing, publish};
use rusqlite::Connection;

use super::table::{Limit, Row, Table};
use super::{Cli, drain, message, progress};

/// The script, word for word; its topic and port are written into it.
const SCRIPT: &str = include_str!("backend_de_pobre.py");
const TOPIC: &str = "my/test/topic";
const PORT: u16 = 8883;
/// The table that its author makes first.
const TABLE: &str = "create table dados (
    id integer primary key autoincrement, valor text, timestamp datetime default current_timestamp
)";
/// Few enough for the script to be done within seconds.
const MESSAGES: usize = 2_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures both in each round, or says why not.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    if let Some(why) = missing(&cli.python) {
        table.skip(why);
        return Ok(());
    }
    let mut pairs = Vec::new();
    for number in 0..cli.rounds {
        let (ours_s, script_s) = if number % 2 == 1 {
            let ours_s = drain::ours(cli.messages).await?;
            (ours_s, script(&cli.python).await?)
        } else {
            let script_s = script(&cli.python).await?;
            (drain::ours(cli.messages).await?, script_s)
        };
        let pair = (cli.messages as f64 / ours_s, MESSAGES as f64 / script_s);
        progress(&format!("seed {}: script {:.0} msg/s, ponte {:.0} msg/s", number + 1, pair.1, pair.0));
        pairs.push(pair);
    }
    let work = format!("the same; the script gets {MESSAGES}");
    let limit = Limit::AtLeast { must: 50.0, aim: 100.0 };
    table.push(Row::rates(work, "msg/s", "the seed's script", &pairs, limit));
    Ok(())
}

/// Why the script cannot be run here.
fn missing(python: &Path) -> Option<String> {
    let check = "import paho.mqtt.client as paho, dotenv; paho.CallbackAPIVersion.VERSION2";
    let there = Command::new(python).args(["-c", check]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        return Some(format!("the seed's script: {} has no paho-mqtt 2 and python-dotenv", python.display()));
    }
    TcpListener::bind(("127.0.0.1", PORT)).err().map(|error| format!("the seed's script wants port {PORT}: {error}"))
}

/// Seconds from the first publish to the last row.
async fn script(python: &Path) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir()?;
    let certs = Certs::create(&dir.path().join("certs"))?;
    let options = Options {
        // The script's own door, with TLS as at HiveMQ Cloud; the publisher's is plain. Any password will do.
        extra: format!(
            "listener {PORT} 127.0.0.1\ncertfile {}\nkeyfile {}\n",
            certs.server_cert.display(),
            certs.server_key.display()
        ),
        ..Options::default()
    };
    let store = dir.path().join("broker");
    std::fs::create_dir(&store)?;
    let broker = Mosquitto::start(&store, options).await?;
    let database = Connection::open(dir.path().join("dados.db"))?;
    // The script locks it at every commit.
    database.busy_timeout(PATIENCE)?;
    database.execute_batch(TABLE)?;
    std::fs::write(dir.path().join("backend_de_pobre.py"), SCRIPT)?;
    std::fs::write(dir.path().join(".env"), "BROKER_ADDR=localhost\nHIVE_USER=aluno\nHIVE_PSWD=senha\n")?;
    let mut command = Command::new(python);
    command.args(["-u", "backend_de_pobre.py"]).current_dir(dir.path()).env("SSL_CERT_FILE", &certs.ca);
    let mut process = Process::start("the script", command, &dir.path().join("script.log"))?;
    let connected = async || {
        ensure!(process.is_running(), "the script has ended:\n{}", process.log());
        Ok(process.log().contains("CONNACK").then_some(()))
    };
    eventually("the script connects", PATIENCE, connected).await?;
    // It subscribes right after that, without waiting for the answer.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    let payload = |number: usize| Outgoing::new(TOPIC, message(number).payload, 1);
    publish(broker.addr(), (0..MESSAGES).map(payload).collect()).await?;
    let rows = async || {
        let count: i64 = database.query_row("select count(*) from dados", [], |row| row.get(0))?;
        Ok((count >= MESSAGES as i64).then_some(()))
    };
    eventually("the script has stored all", PATIENCE, rows).await?;
    Ok(began.elapsed().as_secs_f64())
}

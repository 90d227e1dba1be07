//! `cargo demo` with somebody's own broker: their readings are kept, and nothing of the demo is left at the broker.

use std::process::Command;

use anyhow::{Context as _, ensure};
use harness::PATIENCE;
use harness::broker::mosquitto::Options;
use harness::process::Process;
use harness::rows::Rows;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};

use super::Result;

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_with_somebodys_broker_keeps_the_readings_and_leaves_no_session() -> Result {
    let Some((broker, dir)) = super::broker(Options::default()).await? else { return Ok(()) };
    for (client_id, is_kept) in [(None, false), (Some("turma"), true)] {
        let mut demo = start(dir.path(), &broker.url(), client_id)?;
        let url = page(&mut demo).await?;
        harness::publish::publish(broker.addr(), harness::publish::numbered("casa/sala", 1, 1, 1)).await?;
        Rows::new(&url).stored_value("casa/sala", "1").await?;
        demo.signal("INT")?;
        ensure!(demo.wait(PATIENCE)?.code() == Some(0), "{}", demo.log());
        ensure!(demo.log().contains("are kept in /") && demo.log().contains("/ponte-data\n"), "{}", demo.log());
        ensure!(dir.path().join("ponte-data/dados.db").exists() && dir.path().join("ponte-data/spool").exists());
        let log = broker.log();
        let began = client_id.unwrap_or("ponte-demo-");
        let id = log.split([' ', '\n']).rfind(|word| word.starts_with(began)).context("its client id")?;
        ensure!(has_session(&broker, id).await? == is_kept, "{id}: {log}\n{}", demo.log());
    }
    Ok(())
}

fn start(dir: &std::path::Path, broker: &str, client_id: Option<&str>) -> Result<Process> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    for variable in service::env_file::KNOWN {
        command.env_remove(variable);
    }
    command.current_dir(dir).env("BROKER_ADDR", broker);
    if let Some(client_id) = client_id {
        command.env("MQTT_CLIENT_ID", client_id);
    }
    Process::start("demo", command, &dir.join(format!("demo-{}.log", client_id.unwrap_or_default())))
}

/// The page that it names, once the subscriber is ready.
async fn page(demo: &mut Process) -> Result<String> {
    let named = async || {
        ensure!(demo.is_running(), "it has ended:\n{}", demo.log());
        let log = demo.log();
        let curl = |end: &str| {
            let line = log.lines().find_map(|line| line.trim().strip_prefix("curl ").filter(|url| url.contains(end)));
            line.map(|line| line.trim_matches('\'').to_owned())
        };
        let (Some(rows), Some(status)) = (curl("/dados"), curl("/readyz")) else { return Ok(None) };
        let is_ready = reqwest::get(status).await.is_ok_and(|answer| answer.status().is_success());
        Ok(rows.split_once("/dados").filter(|_| is_ready).map(|(page, _)| page.to_owned()))
    };
    harness::eventually("the demo is ready", PATIENCE, named).await
}

/// Whether the broker has kept the session of this client id.
async fn has_session(broker: &harness::broker::mosquitto::Mosquitto, id: &str) -> Result<bool> {
    let mut options = MqttOptions::new(id, broker.addr().ip().to_string(), broker.addr().port());
    options.set_clean_start(false);
    let (_client, mut eventloop) = AsyncClient::new(options, 8);
    loop {
        if let Event::Incoming(Packet::ConnAck(connack)) = eventloop.poll().await? {
            return Ok(connack.session_present);
        }
    }
}

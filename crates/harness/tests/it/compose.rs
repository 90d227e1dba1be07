//! The local broker of docker-compose.yml, by its own scripts and settings as Compose resolves them, without an engine:
//! with and without a password, health check, sensors and subscriber get in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use harness::PATIENCE;
use harness::process::Process;
use harness::system::{Api, Subscriber};

use super::Result;

const USER: &str = "turma";
const PASSWORD: &str = "pa$s \"1' #x";

fn repository() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).to_owned()
}

/// The container that a script runs in: its variables, and its folder for files that end with it.
struct Container {
    variables: BTreeMap<String, String>,
    state: tempfile::TempDir,
}

impl Container {
    /// What Compose makes of the service with this `.env`.
    fn of(service: &str, dir: &Path) -> Result<Self> {
        let mut command = Command::new("docker-compose");
        for variable in service::env_file::KNOWN {
            command.env_remove(variable);
        }
        let file = repository().join("docker-compose.yml");
        let output = command
            .args(["--profile", "demo", "--project-directory"])
            .arg(dir)
            .arg("--file")
            .arg(file)
            .arg("config")
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let config = String::from_utf8(output.stdout)?;
        let after = |text: &str, line: &str| -> Result<String> {
            let (_, after) =
                text.split_once(&format!("\n{line}\n")).with_context(|| format!("no {line} in\n{text}"))?;
            let indent = line.len() - line.trim_start().len();
            let within = |line: &&str| line.len() - line.trim_start().len() > indent;
            Ok(after.lines().take_while(within).fold(String::new(), |text, line| text + "\n" + line))
        };
        let environment = after(&after(&config, &format!("  {service}:"))?, "    environment:")?;
        let variables = environment.lines().filter_map(|line| line.trim().split_once(": "));
        let variables = variables.map(|(name, value)| (name.to_owned(), scalar(value))).collect();
        Ok(Self { variables, state: tempfile::tempdir()? })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        command.envs(&self.variables).env("XDG_CONFIG_HOME", self.state.path());
        command
    }
}

/// A value as YAML has it, with the `$` that Compose doubles.
fn scalar(text: &str) -> String {
    let inner = |quote: char| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    let value = match (inner('\''), inner('"')) {
        (Some(single), _) => single.replace("''", "'"),
        (_, Some(double)) => double.replace("\\\"", "\""),
        _ => text.to_owned(),
    };
    value.replace("$$", "$")
}

/// The broker as its container starts it, on a free port of loopback.
fn start_broker(container: &Container, port: u16) -> Result<Process> {
    let store = container.state.path().join("store");
    std::fs::create_dir(&store)?;
    let config = std::fs::read_to_string(repository().join("docker/mosquitto.conf"))?
        .replace("listener 1883", &format!("listener {port} 127.0.0.1"))
        .replace("/mosquitto/data/", &format!("{}/", store.display()));
    let path = container.state.path().join("original.conf");
    // In its container it becomes a user who may write the volume.
    std::fs::write(&path, config + "\nuser root\n")?;
    let mut command = container.command("sh");
    command.arg(repository().join("docker/broker.sh")).env("CONFIG", path);
    Process::start("broker", command, &container.state.path().join("broker.log"))
}

/// Ends a script with all that it has started.
struct Group(Process);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.pid())]).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_broker_works_with_and_without_a_password() -> Result {
    harness::install_tls();
    if !harness::broker::mosquitto::installed() || !super::readme::has("docker-compose") {
        harness::skipped("mosquitto or docker-compose is not installed");
        return Ok(());
    }
    let compose = std::fs::read_to_string(repository().join("docker-compose.yml"))?;
    let line = compose.lines().find(|line| line.contains("test: [CMD, mosquitto_sub")).context("a health check")?;
    let check: Vec<_> = line
        .split_once("[CMD, ")
        .context("its words")?
        .1
        .trim_end_matches(']')
        .split(", ")
        .map(|word| word.trim_matches('"'))
        .collect();
    for login in [String::new(), format!("HIVE_USER={USER}\nHIVE_PSWD='{}'\n", PASSWORD.replace('\'', "\\'"))] {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join(".env"), &login)?;
        let port = harness::free_addr()?.port().to_string();
        let broker = Container::of("broker", dir.path())?;
        let mut process = start_broker(&broker, port.parse()?)?;
        let is_healthy = async || {
            ensure!(process.is_running(), "the broker has ended: {}", process.log());
            let status = broker.command(check[0]).args(&check[1..]).args(["-p", &port]).output()?.status;
            Ok(status.success().then_some(()))
        };
        harness::eventually("the broker is healthy", PATIENCE, is_healthy).await.with_context(|| login.clone())?;
        let anonymous = Command::new("mosquitto_pub").args(["-p", &port, "-t", "x", "-m", "1"]).output()?;
        ensure!(anonymous.status.success() == login.is_empty(), "{anonymous:?}");
        // As the README has it: docker compose exec broker mosquitto_pub …
        let inside = broker.command("mosquitto_pub").args(["-p", &port, "-t", "x", "-m", "1"]).output()?;
        ensure!(inside.status.success(), "{inside:?}");

        let sensors = Container::of("sensors", dir.path())?;
        let mut command = sensors.command("sh");
        command.arg(repository().join("docker/sensors.sh")).env("BROKER", "127.0.0.1").env("PORT", &port);
        let _sensors = Group(Process::start("sensors", command, &sensors.state.path().join("sensors.log"))?);
        let settings = Container::of("subscriber", dir.path())?.variables;
        let settings: Vec<_> =
            ["HIVE_USER", "HIVE_PSWD"].iter().map(|name| (*name, settings[*name].as_str())).collect();
        let api = Api::start(dir.path()).await?;
        let url = format!("mqtt://127.0.0.1:{port}");
        let mut subscriber = Subscriber::start(dir.path(), &url, &api.url(), &settings)?;
        subscriber.ready().await?;
        let arrived = async || Ok((!api.rows().values("casa/sala").await?.is_empty()).then_some(()));
        harness::eventually("a reading of the sensors", PATIENCE, arrived).await?;
    }
    Ok(())
}

/// What `check` reckons with is what the broker is set to.
#[test]
fn the_queue_of_the_local_broker_is_told_to_the_subscriber() -> Result {
    let config = std::fs::read_to_string(repository().join("docker/mosquitto.conf"))?;
    let limit = |name: &str| config.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let compose = std::fs::read_to_string(repository().join("docker-compose.yml"))?;
    let queue =
        compose.split("${BROKER_QUEUE:-").nth(1).and_then(|rest| rest.split('}').next()).context("its queue")?;
    let queue: ponte_subscriber::config::BrokerQueue = queue.parse()?;
    assert_eq!((Some(queue.messages), queue.bytes), (limit("max_queued_messages"), limit("max_queued_bytes")));
    assert!(queue.is_of(&"mqtt://broker:1883".parse()?) && !queue.is_of(&"mqtt://other:1883".parse()?));
    assert!(compose.contains("${BROKER_ADDR:-mqtt://broker:1883}"));
    Ok(())
}

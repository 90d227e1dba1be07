//! Every command of the README is run as it stands there, or it is said here why not. Both READMEs have the same.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::binaries::binaries;
use harness::broker::mosquitto::Options;
use harness::certs::Certs;
use harness::process::Process;
use harness::rows::Rows;
use harness::system::{Api, run};

use super::{Result, System};

const README: &str = include_str!("../../../../README.md");
const CARGO: &str = include_str!("../../../../.cargo/config.toml");
const COMPOSE_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker-compose.yml");
/// The folder with what stands in for Docker.
const STANDS_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/readme");
const CRATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Where the README has the API, and the broker in the cloud.
const API: &str = "localhost:8080";
/// And the subscriber's status.
const STATUS: &str = "localhost:8081";
const CLOUD: &str = "-h abc123.s1.eu.hivemq.cloud -p 8883 --capath /etc/ssl/certs";
const PATIENCE: Duration = Duration::from_secs(60);
/// How curl is told that a refusal is a failure, and that an endless answer has an end.
const CURL: &str = "curl() { command curl -sS --fail-with-body --max-time 3 \"$@\"; }; ";
/// curl's exit code for an answer that did not end in time.
const TIMED_OUT: i32 = 28;

/// The lines of each block of commands.
fn blocks() -> Vec<Vec<&'static str>> {
    let after = README.split("\n```sh\n").skip(1);
    after.map(|rest| rest.split("\n```").next().unwrap_or_default().lines().collect()).collect()
}

/// A block with prompts shows what comes of its commands.
fn is_transcript(block: &[&str]) -> bool {
    block.iter().any(|line| line.starts_with("$ "))
}

/// Whether a program is installed; where not, the test says so.
pub(super) fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        harness::skipped(&format!("{program} is not installed"));
    }
    there
}

/// Runs a line with a shell that has the programs and no settings but these.
fn shell(line: &str, dir: &Path, variables: &[(&str, &str)]) -> Result<Output> {
    let programs = binaries()?.api.parent().context("a program has a folder")?.display().to_string();
    let path = format!("{STANDS_IN}:{programs}:{}", std::env::var("PATH")?);
    let mut command = Command::new("sh");
    command.current_dir(dir).env_clear().env("PATH", path).envs(variables.iter().copied()).args(["-c", line]);
    Ok(command.output()?)
}

/// The broker is as the one in the cloud: TLS and a password, as the README has them; the API's is beside it.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_readme_does_what_it_says() -> Result {
    let certs_dir = tempfile::tempdir()?;
    let certs = Certs::create(certs_dir.path())?;
    let (ca, plain) = (certs.ca.display().to_string(), harness::free_addr()?);
    let options = Options {
        tls: Some((certs, false)),
        login: Some((setting("HIVE_USER")?.to_owned(), setting("HIVE_PSWD")?.to_owned())),
        extra: format!("listener {} 127.0.0.1\nallow_anonymous true\n", plain.port()),
        ..Options::default()
    };
    let login =
        [("HIVE_USER", setting("HIVE_USER")?), ("HIVE_PSWD", setting("HIVE_PSWD")?), ("MQTT_CA_FILE", ca.as_str())];
    let Some(system) = System::with_broker(options, &login).await? else { return Ok(()) };
    if !has("curl") || !has("docker-compose") {
        return Ok(());
    }
    let dir = system.dir.path();
    std::fs::write(dir.join("readings.ndjson"), "{\"valor\": 1}\n{\"valor\": 2, \"topico\": \"casa/luz\"}\n")?;
    let [user, password, ca_file] = login.map(|(name, value)| format!("{name}={value}\n"));
    let (broker, api, spool) = (system.broker.url(), system.api.url(), system.subscriber.spool());
    let env = format!(
        "BROKER_ADDR={broker}\n{user}{password}{ca_file}API_URL={api}\nSPOOL_DIR={}\nDATABASE_URL=sqlite:{}\n",
        spool.display(),
        system.api.database().display()
    );
    std::fs::write(dir.join(".env"), env)?;
    let mut tried = 0;
    for line in blocks().into_iter().filter(|block| !is_transcript(block)).flatten() {
        let words: Vec<_> = line.split(' ').collect();
        match words[0] {
            "curl" => asks(&system, line)?,
            "sqlite3" => migrates(&system, line).await?,
            "mosquitto_pub" => publishes(&system, line, &ca).await?,
            "docker" => contains(&system, line, plain.port()).await?,
            "ponte-subscriber" => {
                let (code, output) = system.subscriber.run(&words[1..])?;
                ensure!(code == 0, "{line}: {code}\n{output}");
            }
            "cargo" if line == "cargo run -p ponte-subscriber -- check" => {
                let (code, output) = system.subscriber.run(&["check"])?;
                ensure!(code == 0, "{line}: {code}\n{output}");
            }
            "cargo" => builds(&words).with_context(|| line)?,
            _ => {
                let name = line.split('=').next().unwrap_or_default();
                ensure!(service::env_file::KNOWN.contains(&name), "{line}: neither a command nor a setting");
            }
        }
        tried += 1;
    }
    ensure!(tried > 30, "only {tried} commands were found");
    Ok(())
}

/// The value that the README gives to a setting.
fn setting(name: &str) -> Result<&'static str> {
    let value = blocks().into_iter().flatten().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.with_context(|| format!("the README has no {name}"))
}

/// A message to the broker in the cloud, which here is this system's, becomes a row.
async fn publishes(system: &System, line: &str, ca: &str) -> Result {
    ensure!(line.contains(CLOUD), "{line}: another broker");
    let here = format!("-h localhost -p {} --cafile {ca}", system.broker.addr().port());
    let Output { status, stderr, .. } = shell(&line.replace(CLOUD, &here), system.dir.path(), &[])?;
    ensure!(status.success(), "{line}: {status}\n{}", String::from_utf8_lossy(&stderr));
    arrived(system, line).await
}

/// What the line publishes is the newest row of its topic.
async fn arrived(system: &System, line: &str) -> Result {
    let after = |flag: &str| line.split(' ').skip_while(|word| *word != flag).nth(1).context(flag.to_owned());
    let (topic, value) = (after("-t")?, after("-m")?);
    let come = async || {
        let values = system.api.rows().values(topic).await?;
        Ok(values.last().is_some_and(|last| last == value).then_some(()))
    };
    harness::eventually("the message", PATIENCE, come).await
}

/// A command for Docker: what is to run in a container does what it says; a copy that comes of it is a database.
async fn contains(system: &System, line: &str, broker_port: u16) -> Result {
    let port = broker_port.to_string();
    let variables = [("COMPOSE_FILE_UNDER_TEST", COMPOSE_FILE), ("BROKER_PORT", port.as_str())];
    let Output { status, stdout, stderr } = shell(line, system.dir.path(), &variables)?;
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    ensure!(status.success(), "{line}: {status}\n{said}");
    if line.contains("mosquitto_pub") {
        arrived(system, line).await?;
    }
    if line.contains("token new") {
        ensure!(said.contains("entry  subscriber:write:"), "{line}: {said}");
    }
    if let Some((_, file)) = line.split_once(" > ") {
        let copy = rusqlite::Connection::open(system.dir.path().join(file))?;
        let rows: i64 = copy.query_row("select count(*) from dados", [], |row| row.get(0))?;
        ensure!(rows > 0, "{line}: a copy without rows");
    }
    Ok(())
}

/// A command for cargo, but for the building: that takes minutes, or is what runs this. `cargo demo` has a test of its own.
fn builds(words: &[&str]) -> Result {
    let programs = [
        ("demo", env!("CARGO_BIN_EXE_demo")),
        ("bench", env!("CARGO_BIN_EXE_bench")),
        ("torture", env!("CARGO_BIN_EXE_torture")),
    ];
    match words[1] {
        "test" => ensure!(words[2..] == ["--workspace"], "another test command"),
        "build" => {
            let manifests: String = std::fs::read_dir(CRATES)?
                .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("Cargo.toml")).ok())
                .collect();
            for package in words.iter().skip_while(|word| **word != "-p").filter(|word| **word != "-p") {
                ensure!(manifests.contains(&format!("\nname = \"{package}\"\n")), "there is no package {package}");
            }
        }
        alias => {
            let named = format!("\n{alias} = ");
            let expansion =
                CARGO.lines().find(|line| line.starts_with(&named[1..])).context("there is no such alias")?;
            ensure!(!expansion.contains("--quiet"), "nobody sees how far a build of minutes is");
            let (_, program) = programs
                .into_iter()
                .find(|(name, _)| expansion.contains(&format!("--bin {name} ")))
                .context("it runs none of the programs")?;
            let output = Command::new(program).args(&words[2..]).arg("--help").output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(())
}

/// `cargo demo` prints lines to try, and each does what it should; Ctrl-C ends all of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_what_it_promises() -> Result {
    if !harness::broker::mosquitto::installed() {
        harness::skipped("mosquitto is not installed");
        return Ok(());
    }
    if !has("curl") {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    for variable in service::env_file::KNOWN {
        command.env_remove(variable);
    }
    command.current_dir(dir.path()).args(["--dir", "data"]);
    let mut demo = Process::start("demo", command, &dir.path().join("demo.log"))?;
    let lines = async || {
        ensure!(demo.is_running(), "it has ended:\n{}", demo.log());
        let log = demo.log();
        let curl = log.lines().find_map(|line| line.trim().strip_prefix("curl ").map(str::to_owned));
        let publish = log.lines().find_map(|line| line.split_once("try: ").map(|(_, line)| line.to_owned()));
        Ok(curl.zip(publish))
    };
    let (curl, publish) = harness::eventually("lines to try", PATIENCE, lines).await?;
    let about_status = demo
        .log()
        .lines()
        .find_map(|line| line.trim().strip_prefix("curl ").filter(|url| url.ends_with("/readyz")).map(str::to_owned));
    let about_status = about_status.context("where the subscriber tells how it is")?;
    let output = shell(&format!("{CURL} curl {about_status}"), dir.path(), &[])?;
    ensure!(output.status.success(), "{about_status}: {}", String::from_utf8_lossy(&output.stdout));
    let Output { status, stdout, .. } = shell(&format!("{CURL} curl {curl}"), dir.path(), &[])?;
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&stdout)?;
    ensure!(status.success() && !rows.is_empty(), "{curl}: {status}, {} rows", rows.len());
    let output = shell(&publish, dir.path(), &[])?;
    ensure!(output.status.success(), "{publish}: {}", String::from_utf8_lossy(&output.stderr));
    let url = curl.trim_matches('\'').split_once("/dados").context("the API's address")?.0;
    Rows::new(url).stored_value("casa/teste", "42").await?;
    demo.signal("INT")?;
    ensure!(demo.wait(PATIENCE)?.code() == Some(0), "{}", demo.log());
    ensure!(dir.path().join("data/dados.db").exists(), "it was to keep the database");
    Ok(())
}

/// A curl of the README, at this system's API.
fn asks(system: &System, line: &str) -> Result {
    let line = line.replace(STATUS, &system.subscriber.status_addr().to_string());
    let here = format!("{CURL}{}", line.replace(API, &system.api.addr().to_string()));
    let Output { status, stdout, stderr } = shell(&here, system.dir.path(), &[])?;
    let (said, why) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if line.starts_with("curl -N ") {
        ensure!(status.code() == Some(TIMED_OUT) && said.starts_with("id: "), "{line}: {status}\n{said}{why}");
    } else {
        ensure!(status.success(), "{line}: {status}\n{said}{why}");
    }
    Ok(())
}

/// A database as the course's script makes it, in a folder of its own, and its rows on their way into the API.
async fn migrates(system: &System, line: &str) -> Result {
    let dir = system.dir.path().join("course");
    std::fs::create_dir(&dir)?;
    let table = "create table dados (id integer primary key autoincrement, valor text,
                     timestamp datetime default current_timestamp);
                 insert into dados (valor) values ('21.5'), ('it''s \"hot\"'), (null)";
    rusqlite::Connection::open(dir.join("dados.db"))?.execute_batch(table)?;
    if !has("sqlite3") {
        return Ok(());
    }
    let before = system.api.rows().all().await?.len();
    let here = line.replace(API, &system.api.addr().to_string()).replace("curl ", "curl -sS --fail-with-body ");
    let Output { status, stdout, stderr } = shell(&here, &dir, &[])?;
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    ensure!(status.success(), "{line}: {status}\n{said}");
    let rows = system.api.rows().all().await?;
    ensure!(rows.len() == before + 3, "{} rows of {}: {said}", rows.len() - before, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transcript_of_tokens_is_what_happens() -> Result {
    harness::install_tls();
    if !has("curl") {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let block = blocks().into_iter().find(|block| is_transcript(block)).context("there is one")?;
    let (mut api, mut token, mut entry) = (None, String::new(), String::new());
    let mut steps = 0;
    for part in block.join("\n").split("$ ").filter(|part| !part.is_empty()) {
        let (line, expected) = part.split_once('\n').unwrap_or((part, ""));
        if let Some(arguments) = line.strip_prefix("ponte-api token new ") {
            let arguments: Vec<_> = ["token", "new"].into_iter().chain(arguments.split(' ')).collect();
            let (code, output) = run(&binaries()?.api, dir.path(), &arguments, &[])?;
            ensure!(code == 0, "{line}: {code}\n{output}");
            let of =
                |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned());
            (token, entry) = of("token").zip(of("entry")).context("a token and its entry")?;
        } else if line.starts_with("API_TOKENS=") {
            let rate = line.split(' ').find_map(|word| word.strip_prefix("API_RATE_PER_TOKEN=")).context("a rate")?;
            api = Some(Api::start_with(dir.path(), &[("API_TOKENS", &entry), ("API_RATE_PER_TOKEN", rate)]).await?);
        } else {
            let addr = api.as_ref().context("it runs by now")?.addr().to_string();
            let output = shell(&line.replace(API, &addr), dir.path(), &[("TOKEN", &token)])?;
            let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
            // Bodies have ids and times, and no line's end.
            let heads = expected.lines().filter(|line| !line.starts_with('{'));
            for head in heads {
                ensure!(said.contains(head), "{line}: {head} is not in\n{said}");
            }
        }
        steps += 1;
    }
    ensure!(steps >= 6, "only {steps} steps were found");
    Ok(())
}

//! Every command of the README is run as it stands there, or it is said here why not. Both READMEs have the same.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use harness::binaries::binaries;
use harness::system::{Api, run};

use super::{Result, System};

const README: &str = include_str!("../../../../README.md");
const COMPOSE: &str = include_str!("../../../../docker-compose.yml");
const CARGO: &str = include_str!("../../../../.cargo/config.toml");
/// Where the README has the API.
const API: &str = "localhost:8080";
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

fn has_curl() -> bool {
    let there = Command::new("curl").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        harness::skipped("curl is not installed");
    }
    there
}

/// Runs a line with a shell that has the programs and no settings but these.
fn shell(line: &str, dir: &Path, variables: &[(&str, &str)]) -> Result<Output> {
    let programs = binaries()?.api.parent().context("a program has a folder")?.display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH")?);
    let mut command = Command::new("sh");
    command.current_dir(dir).env_clear().env("PATH", path).envs(variables.iter().copied()).args(["-c", line]);
    Ok(command.output()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_readme_does_what_it_says() -> Result {
    let Some(system) = System::start(&[]).await? else { return Ok(()) };
    if !has_curl() {
        return Ok(());
    }
    std::fs::write(
        system.dir.path().join("readings.ndjson"),
        "{\"valor\": 1}\n{\"valor\": 2, \"topico\": \"casa/luz\"}\n",
    )?;
    let mut tried = 0;
    for line in blocks().into_iter().filter(|block| !is_transcript(block)).flatten() {
        let words: Vec<_> = line.split(' ').collect();
        match words[0] {
            "curl" => asks(&system, line)?,
            "sqlite3" => migrates(&system, line).await?,
            "ponte-subscriber" => {
                let (code, output) = system.subscriber.run(&words[1..])?;
                ensure!(code == 0, "{line}: {code}\n{output}");
            }
            "cargo" if line == "cargo run -p ponte-subscriber -- check" => {
                let (code, output) = system.subscriber.run(&["check"])?;
                ensure!(code == 0, "{line}: {code}\n{output}");
            }
            // These build for minutes, run for ever, or are what runs this: that they are there is all that is looked at.
            "cargo" => ensure!(
                matches!(words[1], "test" | "build") || CARGO.contains(&format!("\n{} = ", words[1])),
                "{line}: no such command"
            ),
            // There need be no Docker: what is named is in its file.
            "docker" => {
                let exec = words.iter().skip_while(|word| **word != "exec").skip(1);
                let service = exec.clone().find(|word| !word.starts_with('-'));
                ensure!(
                    service.is_none_or(|name| COMPOSE.contains(&format!("\n  {name}:\n"))),
                    "{line}: no such service"
                );
                let profile = words.iter().skip_while(|word| **word != "--profile").nth(1);
                ensure!(
                    profile.is_none_or(|name| COMPOSE.contains(&format!("profiles: [{name}]"))),
                    "{line}: no such profile"
                );
            }
            _ => {
                let name = line.split('=').next().unwrap_or_default();
                ensure!(service::env_file::KNOWN.contains(&name), "{line}: neither a command nor a setting");
            }
        }
        tried += 1;
    }
    ensure!(tried > 20, "only {tried} commands were found");
    Ok(())
}

/// A curl of the README, at this system's API.
fn asks(system: &System, line: &str) -> Result {
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
    if !Command::new("sqlite3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        harness::skipped("sqlite3 is not installed");
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
    if !has_curl() {
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

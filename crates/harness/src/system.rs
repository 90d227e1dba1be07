//! The API and the subscriber as processes, on free ports, with their files in one directory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::binaries::binaries;
use crate::process::Process;
use crate::rows::Rows;
use crate::{PATIENCE, eventually, free_addr};

/// The variables that tests set; whatever the surrounding environment has of ours is taken away.
type Settings = Vec<(String, String)>;

/// `ponte-api` with its database.
pub struct Api {
    addr: SocketAddr,
    dir: PathBuf,
    settings: Settings,
    process: Option<Process>,
}

impl Api {
    /// Starts it with a database in `dir` and waits until it is ready.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(dir, &[]).await
    }

    /// The same with more settings.
    pub async fn start_with(dir: &Path, more: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut api = Self::prepare(dir, more)?;
        api.restart().await?;
        Ok(api)
    }

    /// The same, not started yet: for settings with which another client must ask whether it is ready.
    pub fn prepare(dir: &Path, more: &[(&str, &str)]) -> anyhow::Result<Self> {
        // The program is started in that directory, so its own paths must not be relative to ours.
        let dir = &std::path::absolute(dir)?;
        let addr = free_addr()?;
        let database = dir.join("dados.db");
        let mut settings: Settings = vec![
            ("API_ADDR".into(), addr.to_string()),
            ("DATABASE_URL".into(), format!("sqlite:{}", database.display())),
        ];
        settings.extend(more.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        Ok(Self { addr, dir: dir.to_owned(), settings, process: None })
    }

    /// Changes a setting for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        set(&mut self.settings, name, value);
    }

    /// Starts it again, on the same port and database, and waits until it is ready.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.launch()?;
        self.ready().await
    }

    /// Starts it again; it need not get ready.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        self.process = None;
        let command = command(&binaries()?.api, &self.dir, &self.settings);
        self.process = Some(Process::start("ponte-api", command, &self.dir.join("api.log"))?);
        Ok(())
    }

    /// Waits until it can take data.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.url());
        let process = self.process()?;
        let ready = async || {
            anyhow::ensure!(process.is_running(), "ponte-api has ended:\n{}", process.log());
            Ok(reqwest::get(&url).await.ok().filter(|response| response.status().is_success()).map(drop))
        };
        eventually("the API is ready", PATIENCE, ready).await
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its base, without a final slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Its database file.
    pub fn database(&self) -> PathBuf {
        self.dir.join("dados.db")
    }

    /// The running process.
    pub fn process(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().context("the API is not running")
    }

    /// kill -9.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("the API is not running")?.kill()
    }

    /// What it serves.
    pub fn rows(&self) -> Rows {
        Rows::new(&self.url())
    }
}

fn set(settings: &mut Settings, name: &str, value: &str) {
    settings.retain(|(known, _)| known != name);
    settings.push((name.to_owned(), value.to_owned()));
}

/// `ponte-subscriber` with its spool.
pub struct Subscriber {
    status_addr: SocketAddr,
    dir: PathBuf,
    settings: Settings,
    process: Option<Process>,
}

impl Subscriber {
    /// Starts it against this broker and API. More settings override these; it need not get ready.
    pub fn start(dir: &Path, broker: &str, api: &str, more: &[(&str, &str)]) -> anyhow::Result<Self> {
        let dir = &std::path::absolute(dir)?;
        let status_addr = free_addr()?;
        let mut settings: Settings = vec![
            ("BROKER_ADDR".into(), broker.into()),
            ("API_URL".into(), api.into()),
            ("STATUS_ADDR".into(), status_addr.to_string()),
            ("SPOOL_DIR".into(), dir.join("spool").display().to_string()),
        ];
        settings.extend(more.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let mut subscriber = Self { status_addr, dir: dir.to_owned(), settings, process: None };
        subscriber.restart()?;
        Ok(subscriber)
    }

    /// Changes a setting for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        set(&mut self.settings, name, value);
    }

    /// Starts it again on the same spool.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process = None;
        let command = command(&binaries()?.subscriber, &self.dir, &self.settings);
        self.process = Some(Process::start("ponte-subscriber", command, &self.log_path())?);
        Ok(())
    }

    /// Waits until it is connected, subscribed, and its spool takes messages.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        self.until("the subscriber is ready", |status| status["ready"] == true).await
    }

    /// Waits until the API has everything that was captured.
    pub async fn drained(&mut self) -> anyhow::Result<()> {
        self.until("the spool is empty", |status| status["spool"]["waiting"] == 0).await
    }

    /// Waits until its status is as wished.
    pub async fn until(&mut self, what: &str, wished: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let addr = self.status_addr;
        let process = self.process()?;
        let last = std::cell::RefCell::new(Value::Null);
        let probe = async || {
            anyhow::ensure!(process.is_running(), "ponte-subscriber has ended:\n{}", process.log());
            let Ok(status) = status(addr).await else { return Ok(None) };
            let is = wished(&status);
            last.replace(status);
            Ok(is.then_some(()))
        };
        let result = eventually(what, PATIENCE, probe).await;
        result.with_context(|| format!("its last status: {}\nits log:\n{}", last.borrow(), self.log()))
    }

    /// What `/readyz` says.
    pub async fn status(&self) -> anyhow::Result<Value> {
        status(self.status_addr).await
    }

    /// What `/metrics` says.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        Ok(reqwest::get(format!("http://{}/metrics", self.status_addr)).await?.text().await?)
    }

    /// Where it tells how it is.
    pub fn status_addr(&self) -> SocketAddr {
        self.status_addr
    }

    /// The running process.
    pub fn process(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().context("the subscriber is not running")
    }

    /// Its spool.
    pub fn spool(&self) -> PathBuf {
        self.dir.join("spool")
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("subscriber.log")
    }

    /// Runs a subcommand with the same settings to its end: exit code, and what it printed.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<(i32, String)> {
        run(&binaries()?.subscriber, &self.dir, args, &self.settings)
    }
}

async fn status(addr: SocketAddr) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&reqwest::get(format!("http://{addr}/readyz")).await?.text().await?)?)
}

/// Runs a program to its end with nothing but these settings: exit code, and all that it printed.
pub fn run(program: &Path, dir: &Path, args: &[&str], settings: &[(String, String)]) -> anyhow::Result<(i32, String)> {
    let output = command(program, dir, settings).args(args).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned()))
}

fn command(program: &Path, dir: &Path, settings: &[(String, String)]) -> Command {
    let mut command = Command::new(program);
    for variable in service::env_file::KNOWN {
        command.env_remove(variable);
    }
    command.current_dir(dir).envs(settings.iter().map(|(name, value)| (name, value)));
    command
}

//! An installed mosquitto as a child process, with its own configuration, port and store.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;

use crate::certs::Certs;
use crate::process::Process;
use crate::{PATIENCE, eventually, free_addr};

/// What a broker for a test is like.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// TLS with these certificates; the flag asks clients for one of their own (mutual TLS).
    pub tls: Option<(Certs, bool)>,
    /// The only user and password; everybody may connect where there is none.
    pub login: Option<(String, String)>,
    /// Speaks websockets instead of plain MQTT.
    pub websockets: bool,
    /// Lines of an access control list.
    pub acl: Option<String>,
    /// More lines of configuration.
    pub extra: String,
}

/// A broker that keeps its port and its store over restarts.
pub struct Mosquitto {
    addr: SocketAddr,
    dir: PathBuf,
    options: Options,
    process: Option<Process>,
}

/// Whether mosquitto is there to be started.
pub fn installed() -> bool {
    program().is_some()
}

/// Debian has it in a directory that is not on everybody's path.
fn program() -> Option<&'static str> {
    let runs = |name: &&&str| Command::new(name).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"].iter().find(runs).copied()
}

impl Mosquitto {
    /// Starts a broker whose files are in `dir`.
    pub async fn start(dir: &Path, options: Options) -> anyhow::Result<Self> {
        let mut broker = Self { addr: free_addr()?, dir: dir.to_owned(), options, process: None };
        broker.write_configuration()?;
        broker.restart().await?;
        Ok(broker)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// As `BROKER_ADDR` wants it; with TLS the name is the one in the certificate.
    pub fn url(&self) -> String {
        let port = self.addr.port();
        match (self.options.tls.is_some(), self.options.websockets) {
            (false, false) => format!("mqtt://127.0.0.1:{port}"),
            (true, false) => format!("mqtts://localhost:{port}"),
            (false, true) => format!("ws://127.0.0.1:{port}/mqtt"),
            (true, true) => format!("wss://localhost:{port}/mqtt"),
        }
    }

    /// The running process.
    pub fn process(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().context("mosquitto is not running")
    }

    /// kill -9: what it had not written to its store yet is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("mosquitto is not running")?.kill()
    }

    /// SIGTERM: it writes its store first.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.terminate()?;
        }
        Ok(())
    }

    /// Throws its store away, with all sessions; it must be stopped.
    pub fn forget(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.dir.join("mosquitto.db"))?)
    }

    /// Starts it again on the same port with the same store.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        let mut command = Command::new(program().context("mosquitto is not installed")?);
        command.arg("-c").arg(self.dir.join("mosquitto.conf"));
        self.process = Some(Process::start("mosquitto", command, &self.dir.join("mosquitto.log"))?);
        let addr = self.addr;
        let listening = async || Ok(TcpStream::connect(addr).await.ok().map(drop));
        if let Err(error) = eventually("mosquitto listens", PATIENCE, listening).await {
            bail!("{error}: {}", self.log());
        }
        Ok(())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("mosquitto.log")).unwrap_or_default()
    }

    fn write_configuration(&self) -> anyhow::Result<()> {
        let mut text = String::new();
        let store = format!("{}/", self.dir.display());
        // Its own limits would lose messages of an absent client before ours are tried.
        writeln!(text, "persistence true\npersistence_location {store}\nmax_queued_messages 0\nmax_queued_bytes 0")?;
        if std::fs::metadata("/proc/self")?.uid() == 0 {
            writeln!(text, "user root")?; // else it changes to a user who may not write its store
        }
        writeln!(text, "log_dest stderr\nlistener {} 127.0.0.1", self.addr.port())?;
        if self.options.websockets {
            writeln!(text, "protocol websockets")?;
        }
        if let Some((certs, mutual)) = &self.options.tls {
            writeln!(text, "cafile {}\ncertfile {}", certs.ca.display(), certs.server_cert.display())?;
            writeln!(text, "keyfile {}\nrequire_certificate {mutual}", certs.server_key.display())?;
        }
        match &self.options.login {
            None => writeln!(text, "allow_anonymous true")?,
            Some((user, password)) => {
                let path = self.dir.join("passwords");
                let status =
                    Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&path).args([user, password]).status();
                if !status.context("mosquitto_passwd")?.success() {
                    bail!("mosquitto_passwd failed");
                }
                writeln!(text, "allow_anonymous false\npassword_file {}", path.display())?;
            }
        }
        if let Some(acl) = &self.options.acl {
            let path = self.dir.join("acl");
            std::fs::write(&path, acl)?;
            writeln!(text, "acl_file {}", path.display())?;
        }
        text.push_str(&self.options.extra);
        Ok(std::fs::write(self.dir.join("mosquitto.conf"), text)?)
    }
}

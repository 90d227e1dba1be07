//! The program as a process of its own: its memory can be read, and its disk and its limits can be changed.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use tempfile::TempDir;

use crate::client;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ponte-api");

/// How often something is looked at that comes by itself.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A program in a directory of its own, with no setting from outside.
pub(crate) fn command(program: &str, dir: &TempDir) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir.path()).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The API in a mount namespace of its own, after the shell command `before`.
pub(crate) fn isolated(dir: &TempDir, before: &str) -> Command {
    let script = format!("{before} && exec \"$0\" --api-addr 127.0.0.1:0");
    let mut command = command("unshare", dir);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(["-rm", "sh", "-c", &script, PROGRAM]);
    command
}

/// Says so out loud, past the test runner's capture; where CI requires everything, that is a failure.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("PONTE_REQUIRE_SERVICES").is_none(), "skipped: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// A running API; dropping it kills it.
pub(crate) struct Running {
    child: Child,
    pub(crate) addr: String,
    pub(crate) client: Client,
    /// Where its log goes.
    log: TempDir,
}

impl Running {
    /// Starts it and waits until it listens; none where it ends before.
    pub(crate) async fn start(mut command: Command) -> Option<Self> {
        let log = tempfile::tempdir().unwrap();
        let path = log.path().join("log");
        let mut child = command.stdout(Stdio::null()).stderr(File::create(&path).unwrap()).spawn().ok()?;
        loop {
            let text = fs::read_to_string(&path).unwrap();
            if let Some(line) = text.lines().find(|line| line.contains("listening") && text.ends_with('\n')) {
                let addr = line.rsplit_once("addr=").unwrap().1.trim().to_owned();
                return Some(Self { child, addr, client: client(), log });
            }
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub(crate) fn logged(&self) -> String {
        fs::read_to_string(self.log.path().join("log")).unwrap()
    }

    /// Ends it as a service manager does; its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        assert!(Command::new("kill").arg(self.pid().to_string()).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.addr))
    }

    pub(crate) fn post(&self, media_type: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client.post(format!("http://{}/dados", self.addr)).header("content-type", media_type).body(body)
    }

    /// The most memory that it ever had in RAM, in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        self.memory_mib("VmHWM:")
    }

    /// The memory that it has in RAM now, in MiB.
    pub(crate) fn resident_mib(&self) -> u64 {
        self.memory_mib("VmRSS:")
    }

    fn memory_mib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Tries until it answers 200 again.
    pub(crate) async fn recovers(&self, path: &str) {
        while !self.get(path).send().await.is_ok_and(|response| response.status() == 200) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sets a limit of a process, such as `--fsize=65536:`; whether that was possible.
pub(crate) fn set_limit(pid: u32, limit: &str) -> bool {
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), limit]).status();
    status.is_ok_and(|status| status.success())
}

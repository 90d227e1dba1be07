//! Counts a process's system calls with strace.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// What moves bytes or makes them durable, and what wakes threads.
const TOLD: [&str; 12] = [
    "pwrite64",
    "write",
    "writev",
    "sendto",
    "fdatasync",
    "fsync",
    "recvfrom",
    "read",
    "pread64",
    "epoll_wait",
    "futex",
    "openat",
];
/// How long strace may take to attach or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether strace can be run.
pub(crate) fn installed() -> bool {
    Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// strace on all threads of a process.
pub(crate) struct Tracer {
    child: Child,
    summary: PathBuf,
}

impl Tracer {
    /// Attaches to a running process; its counts go to the file `summary` at the end.
    pub(crate) fn attach(pid: u32, summary: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-q", "-p", &pid.to_string(), "-o"]).arg(summary);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("strace")?;
        let tracer = Self { child, summary: summary.to_owned() };
        let began = Instant::now();
        let traced = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
        };
        while !traced() {
            ensure!(began.elapsed() < PATIENCE, "strace did not attach: is it allowed to?");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(tracer)
    }

    /// Lets the process go: how often it made each call.
    pub(crate) fn detach(mut self) -> anyhow::Result<Vec<(&'static str, u64)>> {
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "strace took no SIGINT");
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                self.child.kill()?;
                bail!("strace does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(counts(&std::fs::read_to_string(&self.summary)?))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines of `% time, seconds, usecs/call, calls, errors (may be absent), syscall`.
fn counts(summary: &str) -> Vec<(&'static str, u64)> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let name = TOLD.into_iter().find(|name| fields.last() == Some(name))?;
        Some((name, fields.get(3)?.parse().ok()?))
    };
    summary.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_strace_is_read() {
        let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.12    0.500000         100      5000       120 futex
 30.00    0.250000          50       300           pwrite64
  0.10    0.000001           1         1           brk
------ ----------- ----------- --------- --------- ----------------
100.00    0.750001                  5301       120 total
";
        assert_eq!(counts(summary), [("futex", 5000), ("pwrite64", 300)]);
    }
}

//! A child process with its log in a file, killed when dropped.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// The clock ticks of proc_pid_stat(5): sysconf(_SC_CLK_TCK), which is 100 on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with standard error and output appended to `log`, in a process group of its own, so that Ctrl-C
    /// in a terminal reaches only us.
    pub fn start(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged so far, over all its starts with this log.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// kill -9: it has no chance to do anything.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().with_context(|| format!("{} cannot be killed", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal by its name, such as `TERM` or `STOP`.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status()?;
        if !status.success() {
            bail!("{} took no SIG{signal}", self.name);
        }
        Ok(())
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait(crate::PATIENCE)
    }

    /// Waits for the end.
    pub fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > patience {
                bail!("{} has not ended within {patience:?}:\n{}", self.name, self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The most memory that it has had in RAM, in KiB (VmHWM of proc_pid_status(5)).
    pub fn resident_kib_max(&self) -> anyhow::Result<u64> {
        self.memory_kib("VmHWM:")
    }

    /// The memory that it has in RAM now, in KiB (VmRSS of proc_pid_status(5)).
    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        self.memory_kib("VmRSS:")
    }

    /// The processor time that it has had so far, all threads and the kernel's work for it, in seconds.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(Path::new(&format!("/proc/{}/stat", self.pid())))
    }

    /// What it has made the disk write, in bytes (write_bytes of proc_pid_io(5)).
    pub fn written_bytes(&self) -> anyhow::Result<u64> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.pid()))?;
        let value = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("no write_bytes")?;
        Ok(value.trim().parse()?)
    }

    fn memory_kib(&self, name: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

/// All processor time of a program that has ended but was not waited for, in seconds; none while it runs.
pub fn cpu_seconds_at_end(child: &Child) -> anyhow::Result<Option<f64>> {
    let path = format!("/proc/{}/stat", child.id());
    let stat = fs::read_to_string(&path)?;
    let is_zombie = stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'));
    if is_zombie { cpu_seconds(Path::new(&path)).map(Some) } else { Ok(None) }
}

/// The processor time that the calling thread has had so far, in seconds.
pub fn thread_cpu_seconds() -> anyhow::Result<f64> {
    cpu_seconds(Path::new("/proc/thread-self/stat"))
}

fn cpu_seconds(stat: &Path) -> anyhow::Result<f64> {
    let text = fs::read_to_string(stat).with_context(|| stat.display().to_string())?;
    let ticks = cpu_ticks(&text).with_context(|| format!("{}: no utime and stime", stat.display()))?;
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// utime + stime, fields 14 and 15 of proc_pid_stat(5). The second field is the program's name in parentheses, which
/// may have spaces and parentheses of its own.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_ascii_whitespace().skip(14 - 3);
    let (user, system): (u64, u64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(user + system)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 9 9 20 0 4 0 100 1000 10";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("7 (short) S 1"), None);
        assert!(thread_cpu_seconds().unwrap() >= 0.0);
    }
}

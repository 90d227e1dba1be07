//! A small disk of its own that can be full: a tmpfs, where mounting is allowed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Left over when the disk is filled: nobody can shrink it to exactly what is in use while it is being written.
const LEFT_BYTES: u64 = 64 << 10;
const ATTEMPTS: usize = 20;

/// A mounted disk; unmounted when dropped, and its files are gone.
pub struct Disk {
    path: PathBuf,
    bytes: u64,
}

impl Disk {
    /// Mounts one at `path`, which is made; none where that is not allowed.
    pub fn mount(path: &Path, bytes: u64) -> anyhow::Result<Option<Self>> {
        std::fs::create_dir_all(path)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "ponte-torture"]).arg(path);
        let mounted = mount.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        Ok(mounted.then(|| Self { path: path.to_owned(), bytes }))
    }

    /// Shrinks it to what is in use, which costs no memory, unlike a file that fills it.
    pub fn fill(&self) -> anyhow::Result<()> {
        for _ in 0..ATTEMPTS {
            if self.resize(self.used_bytes()? + LEFT_BYTES).is_ok() {
                return Ok(());
            }
        }
        bail!("{} cannot be filled", self.path.display());
    }

    /// Gives the room back.
    pub fn free(&self) -> anyhow::Result<()> {
        self.resize(self.bytes)
    }

    fn resize(&self, bytes: u64) -> anyhow::Result<()> {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={bytes}")]).arg(&self.path);
        let status = mount.stdout(Stdio::null()).stderr(Stdio::null()).status().context("mount")?;
        if status.success() { Ok(()) } else { bail!("{} cannot be resized", self.path.display()) }
    }

    fn used_bytes(&self) -> anyhow::Result<u64> {
        let output = Command::new("stat").args(["-f", "-c", "%S %b %f"]).arg(&self.path).output().context("stat")?;
        let text = String::from_utf8(output.stdout)?;
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next().context("stat -f says too little")?.context("stat -f says no number");
        let (block, all, free) = (next()?, next()?, next()?);
        Ok(block * (all - free))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a log that somebody still reads must not leave a mount behind.
        let _ = Command::new("umount").arg("-l").arg(&self.path).stderr(Stdio::null()).status();
    }
}

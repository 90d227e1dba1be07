//! How fast a disk makes a write durable, and how much room it has.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Finding;
use super::words::{grouped, span};

/// How often the disk is asked.
const SYNCS_MAX: usize = 50;
/// A disk this slow is asked less often.
const SYNCING_MAX: Duration = Duration::from_secs(5);
/// What is written before each: a page.
const BLOCK_BYTES: usize = 4096;
/// Beyond this a commit is felt: a worn card, a sleeping disk, a network.
const SLOW_MEDIAN: Duration = Duration::from_millis(50);
/// A single sync this long is worth a word: a card that tidies up, or another program that writes much.
const SLOW_WORST: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syncs {
    /// How many there were.
    pub count: usize,
    /// Half of them were faster.
    pub median: Duration,
    /// The slowest.
    pub worst: Duration,
}

/// Room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What a user without privileges may still write, in bytes.
    pub free: u64,
    /// All of it, in bytes.
    pub total: u64,
}

/// A file that is gone when this is.
struct Probe(PathBuf);

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes to a file of its own in this directory and syncs it (fdatasync(2)), again and again; leaves nothing behind.
/// It blocks, for some seconds on a slow disk.
pub fn measure(dir: &Path) -> io::Result<Syncs> {
    let path = dir.join(format!(".ponte-check-{}", std::process::id()));
    let mut file = File::options().write(true).create_new(true).open(&path)?;
    let _probe = Probe(path);
    let (mut taken, began) = (Vec::with_capacity(SYNCS_MAX), Instant::now());
    while taken.len() < SYNCS_MAX && (taken.is_empty() || began.elapsed() < SYNCING_MAX) {
        file.write_all(&[0; BLOCK_BYTES])?;
        let before = Instant::now();
        file.sync_data()?;
        taken.push(before.elapsed());
    }
    Ok(summary(taken))
}

fn summary(mut taken: Vec<Duration>) -> Syncs {
    taken.sort();
    let at = |index: usize| taken.get(index).copied().unwrap_or_default();
    Syncs { count: taken.len(), median: at(taken.len() / 2), worst: at(taken.len().saturating_sub(1)) }
}

/// What a disk this fast allows: each commit waits for one sync and stores up to `messages_max` messages.
pub fn speed(subject: &str, syncs: Syncs, messages_max: u64) -> Finding {
    let Syncs { count, median, worst } = syncs;
    let commits = 1.0 / median.as_secs_f64().max(1e-6);
    let what = format!(
        "a write is safe on the disk after {} (median of {count} fdatasync, worst {}): about {} commits a second, each of \
         up to {} messages",
        span(median.as_secs_f64()),
        span(worst.as_secs_f64()),
        grouped(commits),
        grouped(messages_max as f64)
    );
    if median > SLOW_MEDIAN {
        Finding::warn(subject, what)
            .note("this disk is slow: a worn SD card, a network share, or other programs that write; use another one")
    } else if worst > SLOW_WORST {
        Finding::warn(subject, what)
            .note("now and then the disk stops for long: messages wait meanwhile, and none is lost; SD cards do so when they wear out")
    } else {
        Finding::ok(subject, what)
    }
}

/// Room on the file system of this directory or file.
pub fn room(path: &Path) -> io::Result<Room> {
    let all = rustix::fs::statvfs(path)?;
    Ok(Room { free: all.f_bavail.saturating_mul(all.f_frsize), total: all.f_blocks.saturating_mul(all.f_frsize) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_measurement_leaves_nothing_behind() {
        let dir = std::env::temp_dir().join(format!("ponte-doctor-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let syncs = measure(&dir).unwrap();
        assert!(syncs.count >= 1 && syncs.median <= syncs.worst);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        let room = room(&dir).unwrap();
        assert!(room.free <= room.total && room.total > 0);
        std::fs::remove_dir(&dir).unwrap();
        assert!(measure(&dir).is_err());
    }

    #[test]
    fn the_median_is_the_middle_and_the_worst_the_last() {
        let ms = Duration::from_millis;
        assert_eq!(summary(vec![ms(9), ms(1), ms(2)]), Syncs { count: 3, median: ms(2), worst: ms(9) });
        assert_eq!(summary(vec![ms(4)]), Syncs { count: 1, median: ms(4), worst: ms(4) });
    }

    #[test]
    fn what_a_speed_allows_is_said_in_commits() {
        let ms = Duration::from_millis;
        for (median, worst, level, words) in [
            (ms(2), ms(9), Level::Ok, "about 500 commits a second, each of up to 1,000 messages"),
            (ms(2), ms(1_500), Level::Warn, "worst 2 s"),
            (ms(100), ms(200), Level::Warn, "about 10 commits"),
        ] {
            let finding = speed("disk", Syncs { count: 50, median, worst }, 1_000);
            assert_eq!(finding.level, level);
            assert!(finding.what.contains(words), "{}", finding.what);
        }
    }
}

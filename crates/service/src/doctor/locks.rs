//! Which programs hold a lock on a part of a file, as Linux lists them: those that this one can see.

use std::fmt;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{major, minor};

/// A program that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// What the system calls it; empty where it has ended meanwhile.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, name } = self;
        let (name, own) = (if name.is_empty() { "a program" } else { name }, std::process::id() == *pid);
        write!(f, "{name} (pid {pid}{})", if own { ", this one" } else { "" })
    }
}

/// Who holds a POSIX lock on any of these bytes of a file. Programs of other containers do not show, and nothing does where
/// there is no `/proc/locks`.
pub fn holders(file: &Path, bytes: RangeInclusive<u64>) -> Vec<Holder> {
    let (Ok(metadata), Ok(table)) = (file.metadata(), fs::read_to_string("/proc/locks")) else { return Vec::new() };
    let id = format!("{:02x}:{:02x}:{}", major(metadata.dev()), minor(metadata.dev()), metadata.ino());
    let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    parse(&table, &id, &bytes).into_iter().map(|pid| Holder { pid, name: name(pid) }).collect()
}

/// The processes of the lines such as `1: POSIX  ADVISORY  READ 1234 fd:00:5678 123 127`, each once.
fn parse(table: &str, id: &str, bytes: &RangeInclusive<u64>) -> Vec<u32> {
    let holder = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[_, "POSIX" | "OFDLCK", _, _, pid, file, from, until] = fields.as_slice() else { return None };
        let (from, until) = (from.parse::<u64>().ok()?, until.parse().unwrap_or(u64::MAX));
        let is_meant = file == id && from <= *bytes.end() && until >= *bytes.start();
        if is_meant { pid.parse().ok() } else { None }
    };
    let mut pids: Vec<u32> = table.lines().filter_map(holder).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "1: POSIX  ADVISORY  READ 11 fd:00:5678 124 124\n\
        2: POSIX  ADVISORY  READ 11 fd:00:5678 128 128\n\
        3: FLOCK  ADVISORY  WRITE 12 fd:00:5678 0 EOF\n\
        4: POSIX  ADVISORY  WRITE 13 fd:00:5678 0 EOF\n\
        4: -> POSIX  ADVISORY  WRITE 14 fd:00:5678 124 124\n\
        5: POSIX  ADVISORY  READ 15 fd:00:567 124 124\n\
        6: POSIX  ADVISORY  READ 16 fd:00:5678 120 122\n\
        7: OFDLCK ADVISORY  READ -1 fd:00:5678 124 124\n\
        no lock\n\n";

    #[test]
    fn locks_of_the_file_that_touch_the_bytes_are_found() {
        assert_eq!(parse(TABLE, "fd:00:5678", &(123..=127)), [11, 13]);
        assert_eq!(parse(TABLE, "fd:00:5678", &(128..=128)), [11, 13]);
        assert_eq!(parse(TABLE, "fd:00:567", &(0..=u64::MAX)), [15]);
        assert!(parse("", "fd:00:5678", &(123..=127)).is_empty());
    }

    #[test]
    fn a_holder_is_named() {
        let name = |pid, name: &str| Holder { pid, name: name.to_owned() }.to_string();
        assert_eq!((name(1, "sqlite3"), name(1, "")), ("sqlite3 (pid 1)".to_owned(), "a program (pid 1)".to_owned()));
        assert!(name(std::process::id(), "x").ends_with(", this one)"));
        assert!(holders(Path::new("/missing"), 0..=1).is_empty());
    }
}

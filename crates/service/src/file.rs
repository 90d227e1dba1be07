//! Files that settings name, read so that none of them can hold a program up.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;

/// A file system of the network may never answer; a disk does so in milliseconds.
const DEADLINE: Duration = Duration::from_secs(5);
/// Reads that have had no answer and still wait; one more is refused at once.
const STUCK_MAX: usize = 8;

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// Reads a regular file of at most so many bytes, within five seconds. The thread that reads is nobody's: one that never
/// ends does not hold up the end of the program.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    read_by(path.to_owned(), DEADLINE, move |path| read_regular(&path, bytes_max))
}

/// The same for a text.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    String::from_utf8(read(path, bytes_max)?).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

fn read_by(
    path: PathBuf,
    deadline: Duration,
    work: impl FnOnce(PathBuf) -> io::Result<Vec<u8>> + Send + 'static,
) -> io::Result<Vec<u8>> {
    let late = || io::Error::new(ErrorKind::TimedOut, "reading it takes too long");
    if UNDER_WAY.fetch_add(1, Ordering::Relaxed) >= STUCK_MAX {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        return Err(late());
    }
    let (sender, receiver) = sync_channel(1);
    let reading = move || {
        let result = work(path);
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        // Whoever asked may have given up.
        let _ = sender.send(result);
    };
    if let Err(error) = thread::Builder::new().name("file".to_owned()).spawn(reading) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        return Err(error);
    }
    match receiver.recv_timeout(deadline) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(late()),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the thread that read it ended")),
    }
}

/// Reads a regular file of at most so many bytes, on this thread.
pub(crate) fn read_regular(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // Without this flag, to open a FIFO waits until somebody writes into it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: &str) -> String {
        read(Path::new(path), 1 << 20).unwrap_err().to_string()
    }

    #[test]
    fn only_a_regular_file_is_read() {
        for path in ["/dev/zero", "/dev/null", "/dev/tty", "/"] {
            let problem = problem(path);
            assert!(problem.contains("regular") || path == "/dev/tty", "{path}: {problem}");
        }
        assert!(problem("/no/such/file").contains("No such file"));
        let fifo = std::env::temp_dir().join(format!("ponte-fifo-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().is_ok_and(|status| status.success());
        assert!(made, "mkfifo");
        let problem = problem(&fifo.display().to_string());
        std::fs::remove_file(&fifo).unwrap();
        assert!(problem.contains("regular"), "{problem}");
    }

    #[test]
    fn a_file_is_read_to_its_limit() {
        let path = std::env::temp_dir().join(format!("ponte-file-{}", std::process::id()));
        std::fs::write(&path, [b'a'; 100]).unwrap();
        assert_eq!(read_text(&path, 100).unwrap().len(), 100);
        let too_large = read(&path, 99).unwrap_err();
        std::fs::write(&path, [0xff]).unwrap();
        let no_text = read_text(&path, 100).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(too_large.kind(), ErrorKind::FileTooLarge);
        assert_eq!(no_text.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn what_never_answers_is_given_up() {
        let (never, wait) = std::sync::mpsc::channel::<()>();
        let stuck = move |_| {
            let _ = wait.recv();
            Ok(Vec::new())
        };
        let result = read_by(PathBuf::new(), Duration::from_millis(10), stuck);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(never);
    }
}

//! Whether the disk has room: asked by taking some and giving it back.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Room for a large batch. A failed transaction leaves a log that has room for a page or two, so that to write one more
/// page says nothing of a disk that is full.
const ROOM_BYTES: usize = 1 << 20;

/// Fails if a file of [`ROOM_BYTES`] does not fit beside the database.
pub(super) async fn check_room(database: &Path) -> io::Result<()> {
    let path = probe_path(database);
    tokio::task::spawn_blocking(move || take_and_give_back(&path)).await?
}

fn take_and_give_back(path: &Path) -> io::Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(&vec![0; ROOM_BYTES])?;
        // Some file systems find out only now.
        file.sync_data()
    };
    let written = write();
    // If it stays, the next one takes its place.
    let _ = fs::remove_file(path);
    written
}

/// `dados.db` → `dados.db.probe`, beside the file that a symbolic link leads to.
fn probe_path(database: &Path) -> PathBuf {
    let mut path = database.canonicalize().unwrap_or_else(|_| database.to_owned()).into_os_string();
    path.push(".probe");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        check_room(&dir.path().join("dados.db")).await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(check_room(&dir.path().join("missing/dados.db")).await.is_err());
    }
}

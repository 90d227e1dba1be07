//! Whether the disk has room: asked by taking some and giving it back.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use super::beside;

/// Room for a large batch. A failed transaction leaves a log that has room for a page or two, so that to write one more
/// page says nothing of a disk that is full.
const ROOM_BYTES: usize = 1 << 20;

/// The end of the name of a file that is soon gone.
pub(super) const PROBE: &str = ".probe";

/// Fails if no file can be made beside the database.
pub(super) fn make_and_remove(database: &Path) -> io::Result<()> {
    let path = beside(database, PROBE);
    File::create(&path)?;
    fs::remove_file(path)
}

/// Fails if a file of [`ROOM_BYTES`] does not fit beside the database.
pub(super) async fn check_room(database: &Path) -> io::Result<()> {
    let path = beside(database, PROBE);
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

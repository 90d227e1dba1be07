//! The log's file gets its length before its frames come: a sync of what is written over zeros writes the data alone;
//! where the file grows, its length and its place on the disk too, which takes twice as long, or more with a journal.
//!
//! SQLite does not mind. It takes nothing for a frame whose salt is not that of the log's header, which is how it tells
//! its own frames from those of before the log started over, and nothing that has the page number 0
//! (sqlite.org/fileformat2.html, 4.1).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use service::doctor::disk;
use tokio_util::sync::CancellationToken;

use super::beside;

/// Zeros that are written and synced at a time: a commit that falls into it waits for so many more.
const PIECE_BYTES: usize = 256 << 10;
/// A disk that has less room than so many times the length is left alone.
const ROOM_MIN: u64 = 16;

/// Appends zeros to the log of `database` until it has `bytes`, or until `ended`; gives how many they were.
///
/// They are appended (`O_APPEND`), so that no frame is written over, whoever writes one meanwhile.
pub(super) async fn lengthen(database: &Path, bytes: u64, ended: &CancellationToken) -> io::Result<u64> {
    let path = beside(database, "-wal");
    if disk::room(&path)?.free < ROOM_MIN * bytes {
        return Err(ErrorKind::StorageFull.into());
    }
    let mut log = OpenOptions::new().append(true).open(&path)?;
    let mut written = 0;
    while log.metadata()?.len() < bytes && !ended.is_cancelled() {
        log = tokio::task::spawn_blocking(move || append(log)).await??;
        written += PIECE_BYTES as u64;
    }
    Ok(written)
}

fn append(mut log: File) -> io::Result<File> {
    log.write_all(&vec![0; PIECE_BYTES])?;
    log.sync_data()?;
    Ok(log)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
    use sqlx::{ConnectOptions as _, SqliteConnection};

    use super::*;

    const ROWS: i64 = 300;

    async fn fill(conn: &mut SqliteConnection) {
        for _ in 0..ROWS {
            sqlx::query("insert into t values (randomblob(1000))").execute(&mut *conn).await.unwrap();
        }
    }

    /// What a power cut leaves: the database and its log, neither closed.
    async fn rows_after_a_cut(database: &Path) -> i64 {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("copy.db");
        fs::copy(database, &copy).unwrap();
        fs::copy(beside(database, "-wal"), dir.path().join("copy.db-wal")).unwrap();
        let mut conn = SqliteConnectOptions::new().filename(copy).connect().await.unwrap();
        let sound: String = sqlx::query_scalar("pragma integrity_check").fetch_one(&mut conn).await.unwrap();
        assert_eq!(sound, "ok");
        sqlx::query_scalar("select count(*) from t").fetch_one(&mut conn).await.unwrap()
    }

    #[tokio::test]
    async fn frames_are_written_over_the_zeros_and_found_before_them() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("dados.db");
        let options = SqliteConnectOptions::new().filename(&database).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).pragma("wal_autocheckpoint", "0");
        let mut conn = options.connect().await.unwrap();
        sqlx::query("create table t (b blob)").execute(&mut conn).await.unwrap();
        fill(&mut conn).await;
        let log = || fs::metadata(beside(&database, "-wal")).unwrap().len();
        let (before, wished, running) = (log(), 16 << 20, CancellationToken::new());
        let written = lengthen(&database, wished, &running).await.unwrap();
        let length = log();
        assert!(
            length >= wished && length == before + written,
            "{length} bytes, {before} before and {written} written"
        );
        assert_eq!(rows_after_a_cut(&database).await, ROWS);
        fill(&mut conn).await;
        assert_eq!((log(), rows_after_a_cut(&database).await), (length, 2 * ROWS));
        // It starts over, with the zeros and its own old frames behind it.
        sqlx::query("pragma wal_checkpoint(restart)").execute(&mut conn).await.unwrap();
        fill(&mut conn).await;
        assert_eq!((log(), rows_after_a_cut(&database).await), (length, 3 * ROWS));
        assert_eq!(lengthen(&database, wished, &running).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_small_disk_a_missing_log_and_the_end_are_respected() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("dados.db");
        let running = CancellationToken::new();
        let missing = lengthen(&database, 1 << 20, &running).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let log = beside(&database, "-wal");
        fs::write(&log, "").unwrap();
        let large = disk::room(&log).unwrap().free / ROOM_MIN + (1 << 30);
        assert_eq!(lengthen(&database, large, &running).await.unwrap_err().kind(), ErrorKind::StorageFull);
        running.cancel();
        assert_eq!(lengthen(&database, 1 << 20, &running).await.unwrap(), 0);
        assert_eq!(fs::metadata(log).unwrap().len(), 0);
    }
}

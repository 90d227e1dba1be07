//! The write-ahead log's way into the database file: from a connection and a thread of its own, beside the commits.
//!
//! SQLite would copy a thousand pages and sync twice inside the commit that makes the log long enough, before its answer.
//! A copy that runs beside the commits is as safe (sqlite.org/wal.html, *passive*), but it never finds an end that stays
//! one, and the log starts over only when all of it is copied: now and then the writer copies the rest itself. SQLite
//! syncs the database only then, so that the writer would wait until all that was ever copied beside it is on the disk: we
//! sync it after each copy.

use std::fs::File;
use std::io;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio_util::sync::CancellationToken;

use super::lengthen::lengthen;
use super::open_files::OpenFiles;
use super::store_error;
use super::write::Writer;
use crate::store::{Log, StoreError};

/// The connection that copies; it is opened when it is first needed, and anew after an error.
pub(crate) struct Checkpointer {
    options: SqliteConnectOptions,
    files: Arc<OpenFiles>,
    conn: Option<SqliteConnection>,
    /// The database's file. It is never closed: with any descriptor of a file, a process gives up all locks that it has on
    /// it (fcntl(2)), SQLite's among them.
    file: Option<&'static File>,
}

impl Checkpointer {
    fn new(options: SqliteConnectOptions, files: Arc<OpenFiles>) -> Self {
        Self { options, files, conn: None, file: None }
    }

    /// Copies what the log has and no reader is in the way of, durably. Who writes meanwhile does not wait.
    pub(crate) async fn checkpoint(&mut self) -> Result<Log, StoreError> {
        // It would be opened by its path.
        self.files.check()?;
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.options.connect().await.map_err(store_error)?,
        };
        let log = copy(&mut conn).await.map_err(store_error)?;
        self.conn = Some(conn);
        self.sync().await.map_err(|error| store_error(error.into()))?;
        Ok(log)
    }

    async fn sync(&mut self) -> io::Result<()> {
        let file = match self.file {
            Some(file) => file,
            None => self.file.insert(Box::leak(Box::new(File::open(self.options.get_filename())?))),
        };
        tokio::task::spawn_blocking(|| file.sync_data()).await?
    }

    /// Gives the log's file this length, unless that is much of what room there is; gives how many bytes were missing.
    pub(crate) async fn lengthen(&self, bytes: u64, ended: &CancellationToken) -> io::Result<u64> {
        self.files.check().map_err(io::Error::other)?;
        lengthen(self.options.get_filename(), bytes, ended).await
    }

    /// Before the writer is closed.
    pub(crate) async fn close(self) {
        if let Some(conn) = self.conn {
            // What it failed to do, the writer's end does.
            let _ = conn.close().await;
        }
    }
}

impl Writer {
    /// What copies the log beside this writer.
    pub(crate) fn checkpointer(&self) -> Checkpointer {
        Checkpointer::new(self.options.clone(), self.files())
    }

    /// Copies the rest of the log, so that it can start over.
    pub(crate) async fn checkpoint(&mut self) -> Result<Log, StoreError> {
        let mut session = self.take().await?;
        let result = copy(&mut session.conn).await;
        self.settle(session, result).await
    }
}

async fn copy(conn: &mut SqliteConnection) -> Result<Log, sqlx::Error> {
    let (_, pages, copied): (i64, i64, i64) = sqlx::query_as("pragma wal_checkpoint(passive)").fetch_one(conn).await?;
    // Both are -1 while another connection copies.
    Ok(Log { pages: pages.try_into().unwrap_or(0), copied: copied.try_into().unwrap_or(0) })
}

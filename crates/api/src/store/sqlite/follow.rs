//! The indexes that follow the rows, of topics and of time: how far they have come, and a step for both.

use sqlx::SqliteConnection;

use super::projection::set_cursor;
use super::write::Writer;
use super::{by_time, by_topic};
use crate::store::{Indexed, StoreError};

/// Rows that one step takes up at most, and that are worth one: a few milliseconds to write, and to read through.
pub(crate) const STEP_ROWS: u64 = 16_384;

/// How far each index has come, and which ids there are. Who has emptied `projecoes` by hand has them begin anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) topics_until: i64,
    pub(super) times_until: i64,
    /// Both 0 where there are no rows.
    pub(super) oldest_id: i64,
    pub(super) newest_id: i64,
}

impl Progress {
    fn indexed(self) -> Indexed {
        Indexed { last_id: self.topics_until.min(self.times_until), newest_id: self.newest_id }
    }
}

impl Writer {
    /// How far the indexes have come.
    pub(crate) async fn indexed(&mut self) -> Result<Indexed, StoreError> {
        let mut session = self.take().await?;
        let result = progress(&mut session.conn).await.map(Progress::indexed);
        self.settle(session, result).await
    }

    /// Takes up at most so many of the next rows in a transaction of its own; fewer where they are of many topics. On an
    /// error nothing has changed.
    pub(crate) async fn index(&mut self, rows_max: u64) -> Result<Indexed, StoreError> {
        let rows_max = rows_max.try_into().unwrap_or(i64::MAX);
        self.unsynced(async |tx| step(tx, rows_max).await).await
    }
}

/// One index may be behind the other, as after an update from a version that had only one: then it catches up alone.
async fn step(conn: &mut SqliteConnection, rows_max: i64) -> Result<Indexed, sqlx::Error> {
    let mut at = progress(conn).await?;
    let Progress { topics_until, times_until, .. } = at;
    let until = if times_until < topics_until {
        by_topic::last(conn, times_until, rows_max).await?.map(|until| until.min(topics_until))
    } else {
        let until = by_topic::end_of_step(conn, topics_until, rows_max).await?;
        until.map(|until| if topics_until < times_until { until.min(times_until) } else { until })
    };
    let Some(until) = until else { return Ok(at.indexed()) };
    if topics_until < until {
        by_topic::step(conn, topics_until, until).await?;
        set_cursor(conn, by_topic::NAME, until).await?;
        at.topics_until = until;
    }
    if times_until < until {
        by_time::step(conn, times_until, until).await?;
        set_cursor(conn, by_time::NAME, until).await?;
        at.times_until = until;
    }
    Ok(at.indexed())
}

pub(super) async fn progress(conn: &mut SqliteConnection) -> Result<Progress, sqlx::Error> {
    let sql = "select coalesce((select ultimo_id from projecoes where nome = ?), 0),
                   coalesce((select ultimo_id from projecoes where nome = ?), 0),
                   coalesce((select min(id) from dados), 0), coalesce((select max(id) from dados), 0)";
    let query = sqlx::query_as(sql).bind(by_topic::NAME).bind(by_time::NAME);
    let (topics_until, times_until, oldest_id, newest_id) = query.fetch_one(conn).await?;
    Ok(Progress { topics_until, times_until, oldest_id, newest_id })
}

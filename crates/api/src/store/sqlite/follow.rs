//! The indexes that follow the rows, of topics and of time: how far they have come, and a step for both.

use sqlx::SqliteConnection;

use super::projection::SET_CURSOR;
use super::text::Text;
use super::unsynced::{BEGIN, END};
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
        let mut session = self.take().await?;
        let result = step(&mut session.conn, rows_max.min(STEP_ROWS).cast_signed()).await;
        self.settle(session, result).await
    }
}

/// One text looks, another does it: a batch waits for both. On an error the connection must be closed: nothing is done
/// then. One index may be behind the other, as after an update from a version that had only one.
async fn step(conn: &mut SqliteConnection, rows_max: i64) -> Result<Indexed, sqlx::Error> {
    let (mut at, next) = look(conn, rows_max).await?;
    let mut text = Text::default();
    if let Some(Next { first_id, until, sample }) = next {
        let until = by_topic::end_of_step(conn, first_id - 1, until, sample).await?;
        if at.topics_until < until {
            by_topic::add_step(&mut text, at.topics_until.max(first_id - 1), until)?;
            move_cursor(&mut text, by_topic::NAME, until)?;
            at.topics_until = until;
        }
        if at.times_until < until {
            by_time::add_step(&mut text, at.times_until.max(first_id - 1), until)?;
            move_cursor(&mut text, by_time::NAME, until)?;
            at.times_until = until;
        }
    }
    text.say(END);
    text.execute(conn).await?;
    Ok(at.indexed())
}

/// Rows that an index has not taken up.
struct Next {
    first_id: i64,
    until: i64,
    /// Of the first of them: see [`by_topic::end_of_step`].
    sample: (i64, i64),
}

/// Begins the transaction, and finds out what comes next.
async fn look(conn: &mut SqliteConnection, rows_max: i64) -> Result<(Progress, Option<Next>), sqlx::Error> {
    let mut text = Text::default();
    text.say(BEGIN);
    text.say(
        "with progress as materialized (
             select coalesce((select ultimo_id from projecoes where nome = ?), 0) as topics_until,
                 coalesce((select ultimo_id from projecoes where nome = ?), 0) as times_until
         ), first (id) as materialized (
             select min(id) from dados where id > (select min(topics_until, times_until) from progress)
         ), last (id) as (
             select max(id) from (
                 select id from dados
                 where id >= (select id from first) and id < (select id from first) + ? order by id limit 0 + ?)
         ), sample (rows, topics) as (
             select count(*), count(distinct topico) from (
                 select topico from dados where id >= (select id from first) order by id limit 0 + ?)
         )
         select topics_until, times_until,
             coalesce((select min(id) from dados), 0), coalesce((select max(id) from dados), 0),
             first.id, last.id, rows, topics
         from progress, first, last, sample",
    );
    text.bind(by_topic::NAME)?;
    text.bind(by_time::NAME)?;
    // However far apart ids are, they are of few blocks.
    text.bind(STEP_ROWS.cast_signed())?;
    text.bind(rows_max)?;
    text.bind(by_topic::SAMPLE_ROWS.min(rows_max))?;
    type Found = (i64, i64, i64, i64, Option<i64>, Option<i64>, i64, i64);
    let found: Found = text.fetch_one(conn).await?;
    let (topics_until, times_until, oldest_id, newest_id, first_id, until, rows, topics) = found;
    let next = first_id.zip(until).map(|(first_id, until)| Next { first_id, until, sample: (rows, topics) });
    Ok((Progress { topics_until, times_until, oldest_id, newest_id }, next))
}

fn move_cursor(text: &mut Text, name: &str, until: i64) -> Result<(), sqlx::Error> {
    text.say(SET_CURSOR);
    text.bind(name.to_owned())?;
    text.bind(until)
}

pub(super) async fn progress(conn: &mut SqliteConnection) -> Result<Progress, sqlx::Error> {
    let sql = "select coalesce((select ultimo_id from projecoes where nome = ?), 0),
                   coalesce((select ultimo_id from projecoes where nome = ?), 0),
                   coalesce((select min(id) from dados), 0), coalesce((select max(id) from dados), 0)";
    let query = sqlx::query_as(sql).bind(by_topic::NAME).bind(by_time::NAME);
    let (topics_until, times_until, oldest_id, newest_id) = query.fetch_one(conn).await?;
    Ok(Progress { topics_until, times_until, oldest_id, newest_id })
}

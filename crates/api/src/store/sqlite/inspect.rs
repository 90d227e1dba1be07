//! What `check` sees of a database: read without a change, and within a limit of time.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use dados::Timestamp;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::adopt::MIGRATOR;
use super::{beside, check_log, code, open_error, primary_code};
use crate::store::inspection::{Inspection, Rows, Soundness, per_day};
use crate::store::{Location, OpenError};

/// How long the file is looked through for damage: some GiB.
const LOOKING_MAX: Duration = Duration::from_secs(5);
/// Between two looks at the time, in SQLite's own steps.
const STEPS: i32 = 1_000;
/// Of so many rows that came last the latest time is taken: the last one need not have it.
const NEWEST_ROWS: i64 = 1_000;
const DAY_MS: i64 = 86_400_000;

/// Looks at the file; none where it is not there yet.
pub(crate) async fn inspect(location: &Location) -> Result<Option<Inspection>, OpenError> {
    let Location { path, options } = location;
    if std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0) {
        return Ok(None);
    }
    check_log(path)?;
    let is_wal = is_wal(path).map_err(|source| OpenError::Path { path: path.clone(), source })?;
    let log = beside(path, "-wal");
    // Where there is no log, nobody has it open: without this, reading would make one, and leave it behind.
    let options = options.clone().read_only(true).immutable(is_wal && !log.exists());
    let read = async {
        let mut conn = options.connect().await?;
        let version = version(&mut conn).await?;
        let rows = if has_table(&mut conn, "dados").await? { Some(rows(&mut conn).await?) } else { None };
        let soundness = soundness(&mut conn).await?;
        conn.close().await?;
        Ok((version, rows, soundness))
    };
    let (version, rows, soundness) = read.await.map_err(|error| open_error(path, error))?;
    let version_newest = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    if let Some(version) = version.filter(|version| !MIGRATOR.version_exists(*version)) {
        return Err(OpenError::Newer { path: path.clone(), version });
    }
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let log_bytes = bytes(&log);
    let bytes = bytes(path) + log_bytes;
    Ok(Some(Inspection { is_wal, version, version_newest, soundness, bytes, log_bytes, rows }))
}

/// By the file's header: byte 18 is the version that writes it, and 2 is WAL.
fn is_wal(path: &Path) -> std::io::Result<bool> {
    let mut header = Vec::with_capacity(20);
    File::open(path)?.take(20).read_to_end(&mut header)?;
    Ok(header.get(18) == Some(&2))
}

async fn has_table(conn: &mut SqliteConnection, name: &'static str) -> Result<bool, sqlx::Error> {
    let found = sqlx::query("select 1 from sqlite_master where type = 'table' and name = ?").bind(name);
    Ok(found.fetch_optional(conn).await?.is_some())
}

async fn version(conn: &mut SqliteConnection) -> Result<Option<i64>, sqlx::Error> {
    if !has_table(conn, "_sqlx_migrations").await? {
        return Ok(None);
    }
    sqlx::query_scalar("select max(version) from _sqlx_migrations").fetch_one(conn).await
}

async fn rows(conn: &mut SqliteConnection) -> Result<Rows, sqlx::Error> {
    let (first, last): (Option<i64>, Option<i64>) =
        sqlx::query_as("select (select min(id) from dados), (select max(id) from dados)").fetch_one(&mut *conn).await?;
    let (Some(first), Some(last)) = (first, last) else { return Ok(Rows { count: 0, newest: None, per_day: None }) };
    let newest: Option<String> = sqlx::query_scalar(
        "select max(cast(timestamp as text)) from (select timestamp from dados order by id desc limit ?)",
    )
    .bind(NEWEST_ROWS)
    .fetch_one(&mut *conn)
    .await?;
    let now = Timestamp::now();
    let yesterday = Timestamp::from_ms(now.as_ms() - DAY_MS).unwrap_or(now);
    let since = first_since(conn, first, last, yesterday).await?;
    let count = |from: i64| (last - from).unsigned_abs() + 1;
    let per_day = match since {
        None => Some(0.0),
        Some((id, at)) => {
            // A young database is counted from its first row.
            let from = if id == first { at.unwrap_or(now) } else { yesterday };
            per_day(count(id), (now.as_ms() - from.as_ms()) as f64 / 1e3)
        }
    };
    Ok(Rows { count: count(first), newest: newest.and_then(|text| text.parse().ok()), per_day })
}

/// The first row from a moment on, and its time; rows lie in the order of their times, nearly.
async fn first_since(
    conn: &mut SqliteConnection,
    first: i64,
    last: i64,
    since: Timestamp,
) -> Result<Option<(i64, Option<Timestamp>)>, sqlx::Error> {
    let (mut low, mut high, mut found) = (first, last, None);
    while low <= high {
        let middle = low + (high - low) / 2;
        let sql = "select id, coalesce(cast(timestamp as text), '') from dados where id >= ? order by id limit 1";
        let row: Option<(i64, String)> = sqlx::query_as(sql).bind(middle).fetch_optional(&mut *conn).await?;
        let Some((id, at)) = row else { break };
        if at >= since.to_sql() {
            found = Some((id, at.parse().ok()));
            high = middle - 1;
        } else {
            low = id + 1;
        }
    }
    Ok(found)
}

async fn soundness(conn: &mut SqliteConnection) -> Result<Soundness, sqlx::Error> {
    let until = Instant::now() + LOOKING_MAX;
    conn.lock_handle().await?.set_progress_handler(STEPS, move || Instant::now() < until);
    let looked = sqlx::query_scalar::<_, String>("pragma quick_check(1)").fetch_one(&mut *conn).await;
    conn.lock_handle().await?.remove_progress_handler();
    match looked {
        Ok(text) if text == "ok" => Ok(Soundness::Sound),
        Ok(fault) => Ok(Soundness::Damaged(fault)),
        Err(error) if primary_code(&error) == Some(code::INTERRUPT) => Ok(Soundness::Unfinished(LOOKING_MAX)),
        Err(error) if primary_code(&error) == Some(code::CORRUPT) => Ok(Soundness::Damaged(error.to_string())),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::locate;

    async fn sql(path: &Path, sql: &'static str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut conn = options.connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    async fn look(path: &Path) -> Result<Option<Inspection>, OpenError> {
        inspect(&locate(&format!("sqlite:{}", path.display())).unwrap()).await
    }

    #[tokio::test]
    async fn a_look_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dados.db");
        assert_eq!(look(&path).await.unwrap(), None);
        sql(&path, "pragma journal_mode = wal; create table dados (id integer primary key autoincrement, valor text, timestamp datetime)").await;
        let seen = look(&path).await.unwrap().unwrap();
        assert!(seen.is_wal && seen.soundness == Soundness::Sound && seen.version.is_none(), "{seen:?}");
        assert_eq!(seen.rows, Some(Rows { count: 0, newest: None, per_day: None }));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn growth_is_that_of_the_last_day() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dados.db");
        sql(
            &path,
            "create table dados (id integer primary key autoincrement, valor text, timestamp datetime);
             with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
             insert into dados (valor, timestamp)
             select i, strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ((5000 - i) * 96) || ' seconds') from n",
        )
        .await;
        let seen = look(&path).await.unwrap().unwrap();
        let rows = seen.rows.unwrap();
        assert!(!seen.is_wal);
        assert_eq!(rows.count, 5_000);
        // One in 96 seconds are 900 a day.
        assert!(rows.per_day.is_some_and(|rows| (895.0..=905.0).contains(&rows)), "{rows:?}");
        assert!(rows.newest.is_some());
    }

    #[tokio::test]
    async fn damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dados.db");
        sql(
            &path,
            "create table dados (id integer primary key autoincrement, valor text, timestamp datetime);
             create index valores on dados (valor);
             with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
             insert into dados (valor) select hex(randomblob(40)) from n",
        )
        .await;
        let mut bytes = std::fs::read(&path).unwrap();
        // The second half of the file, but for its last page: rows and index.
        let (from, until) = (bytes.len() / 2, bytes.len() - 4096);
        bytes[from..until].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
        let damaged = match look(&path).await {
            Ok(Some(seen)) => matches!(seen.soundness, Soundness::Damaged(_)),
            Ok(None) => false,
            Err(error) => matches!(error, OpenError::NotADatabase(_)),
        };
        assert!(damaged);
    }
}

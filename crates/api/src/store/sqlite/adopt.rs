//! A database that the seed's script made becomes ours, though its owner may have added columns by hand.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, Row as _, SqliteConnection};

/// What brings any older database to this version.
pub(super) static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// The migration that adds columns to the seed's table.
const FIRST: i64 = 1;
/// What the seed's table always has.
const SEED: [&str; 3] = ["id", "valor", "timestamp"];

/// Why a table `dados` that was there before us cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdoptError {
    #[error("{0}")]
    Foreign(String),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Migration(#[from] MigrateError),
}

struct Column {
    name: String,
    mandatory: bool,
    is_integer_key: bool,
}

/// Runs the first migration by hand where the table `dados` has some of its columns already: `alter table` knows no
/// `if not exists`. In every other case it changes nothing and leaves the work to the migrations.
pub(super) async fn adopt(conn: &mut SqliteConnection) -> Result<(), AdoptError> {
    if table_exists(conn, "_sqlx_migrations").await? || !table_exists(conn, "dados").await? {
        return Ok(());
    }
    let columns = columns(conn).await?;
    check(&columns).map_err(AdoptError::Foreign)?;
    let Some(first) = MIGRATOR.iter().find(|migration| migration.version == FIRST) else { return Ok(()) };
    let is_there = |statement: &str| {
        let added =
            statement.trim().strip_prefix("alter table dados add column ").and_then(|rest| rest.split(' ').next());
        added.is_some_and(|added| columns.iter().any(|column| column.name.eq_ignore_ascii_case(added)))
    };
    let mut tx = conn.begin_with("begin immediate").await?;
    for statement in first.sql.as_str().split(';').filter(|statement| !is_there(statement)) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await?;
    }
    MIGRATOR.run_direct(Some(FIRST), &mut *tx, true).await?;
    tx.commit().await?;
    Ok(())
}

/// Runs what is missing. By `run_direct`, since the future of `run` is `Send` to the compiler for a pool only.
pub(super) async fn migrate(conn: &mut SqliteConnection) -> Result<(), MigrateError> {
    MIGRATOR.run_direct(None, conn, false).await
}

async fn table_exists(conn: &mut SqliteConnection, name: &'static str) -> Result<bool, sqlx::Error> {
    let found = sqlx::query("select 1 from sqlite_master where type = 'table' and name = ?").bind(name);
    Ok(found.fetch_optional(conn).await?.is_some())
}

async fn columns(conn: &mut SqliteConnection) -> Result<Vec<Column>, sqlx::Error> {
    let sql = r#"select name, "notnull" and dflt_value is null and pk = 0, pk = 1 and type = 'INTEGER' collate nocase
                 from pragma_table_info('dados')"#;
    let rows = sqlx::query(sql).fetch_all(conn).await?;
    rows.iter()
        .map(|row| Ok(Column { name: row.try_get(0)?, mandatory: row.try_get(1)?, is_integer_key: row.try_get(2)? }))
        .collect()
}

/// Whether rows can be inserted into a table with these columns and found again by id.
fn check(columns: &[Column]) -> Result<(), String> {
    for name in SEED {
        let Some(column) = columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)) else {
            return Err(format!("it has no column {name}; rename that table, and ponte-api makes its own"));
        };
        if name == "id" && !column.is_integer_key {
            return Err("its column id is no integer primary key; rename that table".to_owned());
        }
    }
    match columns.iter().find(|column| column.mandatory && !SEED.contains(&column.name.as_str())) {
        Some(column) => Err(format!("its column {} is not null and has no default", column.name)),
        None => Ok(()),
    }
}

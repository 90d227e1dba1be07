//! What the API finds when it starts: older databases are taken over, others are refused with one clear line.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dados::Dado;
use ponte_api::config::Config;
use ponte_api::server;
use service::{Exit, Fatal};
use sqlx::{Connection as _, SqliteConnection};
use tokio_util::sync::CancellationToken;

use crate::program::{LOOK_INTERVAL, Running, isolated, skipped};
use crate::{FORM, JSON, config, database, listener, spawn_app, spawn_with};

/// The seed's own statement.
const SEED: &str = "CREATE TABLE dados (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    valor TEXT,
    timestamp DATETIME DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO dados (valor, timestamp) VALUES ('21.5', '2024-05-20 13:14:15'), ('22', '2024-05-20 13:14:16');";

async fn execute(dir: &Path, sql: &'static str) {
    let url = format!("sqlite:{}?mode=rwc", database(dir).display());
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

async fn fails(config: Config) -> Fatal {
    let fatal = ponte_api::run(config, listener(), CancellationToken::new()).await.unwrap_err();
    assert!(!fatal.message.contains('\n'), "{fatal}");
    fatal
}

#[tokio::test]
async fn the_seeds_database_is_taken_over_with_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    execute(dir.path(), SEED).await;
    let app = spawn_with(dir, |_| {}).await;
    let row: Dado = app.get("/dados/1").send().await.unwrap().json().await.unwrap();
    assert_eq!((row.topico, row.valor.as_deref()), (None, Some("21.5")));
    assert_eq!(row.timestamp.as_deref(), Some("2024-05-20T13:14:15.000Z"));
    let new: Dado = app.post(FORM, "valor=23").send().await.unwrap().json().await.unwrap();
    assert_eq!(new.id, 3);
    // The script may go on writing beside us.
    execute(app.dir.path(), "INSERT INTO dados (valor) VALUES ('24')").await;
    assert_eq!(app.rows().await[0].valor.as_deref(), Some("24"));
    let app = spawn_with(app.stop().await, |_| {}).await;
    assert_eq!(app.rows().await.len(), 4);
}

#[tokio::test]
async fn columns_that_the_owner_added_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    execute(dir.path(), SEED).await;
    execute(
        dir.path(),
        "ALTER TABLE dados ADD COLUMN Topico VARCHAR(80); ALTER TABLE dados ADD COLUMN sala TEXT;
         UPDATE dados SET topico = 'casa/sala', sala = 'norte' WHERE id = 2",
    )
    .await;
    let app = spawn_with(dir, |_| {}).await;
    let body = r#"{"valor":1,"topico":"casa/sala","qos":2}"#;
    assert_eq!(app.post(JSON, body).send().await.unwrap().status(), 201);
    let rows: Vec<Dado> = app.get("/dados?topico=casa/sala").send().await.unwrap().json().await.unwrap();
    assert_eq!(rows.iter().map(|row| (row.id, row.qos)).collect::<Vec<_>>(), [(3, Some(2)), (2, None)]);
    let app = spawn_with(app.stop().await, |_| {}).await;
    assert_eq!(app.rows().await.len(), 3);
}

#[tokio::test]
async fn a_table_that_is_not_the_seeds_is_refused() {
    for sql in [
        "create table dados (id integer primary key, temperatura real)",
        "create table dados (id text, valor text, timestamp datetime)",
        "create table dados (id integer primary key, valor text, timestamp datetime, sala text not null)",
    ] {
        let dir = tempfile::tempdir().unwrap();
        execute(dir.path(), sql).await;
        let fatal = fails(config(dir.path())).await;
        assert_eq!(fatal.exit, Exit::Data, "{sql}: {fatal}");
    }
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let dir = spawn_app().await.stop().await;
    execute(
        dir.path(),
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9000, 'from the future', true, x'00', 0)",
    )
    .await;
    let fatal = fails(config(dir.path())).await;
    assert_eq!(fatal.exit, Exit::Data);
    assert!(fatal.message.contains("newer version"), "{fatal}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(database(dir.path()), "my diary\n".repeat(1000)).unwrap();
    let fatal = fails(config(dir.path())).await;
    assert_eq!(fatal.exit, Exit::Data, "{fatal}");
    assert_eq!(std::fs::read_to_string(database(dir.path())).unwrap().len(), 9000);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for path in ["missing/dados.db", "file/dados.db", ""] {
        let database_url = format!("sqlite:{}", dir.path().join(path).display());
        let fatal = fails(Config { database_url, ..Config::default() }).await;
        assert_eq!(fatal.exit, Exit::CantCreate, "{path}: {fatal}");
    }
}

/// How the program ends, and what it says; killed where it serves.
async fn end_of(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let ended = async {
        while child.try_wait().unwrap().is_none() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(60), ended).await;
    let _ = child.kill();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// A read-only mount over each of them, which stops root too: as a wrong owner does, or a disk that has gone read-only.
#[tokio::test]
async fn a_file_or_folder_that_cannot_be_written_ends_the_start_with_its_name() {
    for file in ["dados.db", "dados.db-wal", "dados.db-shm", "dados.db.lock", "."] {
        let dir = tempfile::tempdir().unwrap();
        let api = Running::start(isolated(&dir, "true")).await;
        let Some(api) = api else { return skipped("no mount namespace: nothing can be read-only for root") };
        assert_eq!(api.post(FORM, "valor=1").send().await.unwrap().status(), 201);
        // Killed: it leaves all of its files.
        drop(api);
        let mount = format!("mount --bind {file} {file} && mount -o remount,bind,ro {file} && cd \"$PWD\"");
        let (code, said) = end_of(isolated(&dir, &mount)).await;
        assert_eq!(code, Some(Exit::CantCreate as i32), "{file}: {said}");
        let name = if file == "." { dir.path().file_name().unwrap().to_str().unwrap() } else { file };
        assert!(said.contains(name) && said.trim_end().lines().count() == 1, "{file}: {said}");
        // Nothing is lost, and once it can be written it goes on.
        let api = Running::start(isolated(&dir, "true")).await.unwrap();
        let rows: Vec<Dado> = api.get("/dados").send().await.unwrap().json().await.unwrap();
        assert_eq!(rows.len(), 1, "{file}");
    }
}

#[tokio::test]
async fn a_directory_where_the_log_belongs_is_named() {
    for ending in ["db-wal", "db-shm", "db.lock"] {
        let dir = spawn_app().await.stop().await;
        let path = database(dir.path()).with_extension(ending);
        let _ = std::fs::remove_file(&path);
        std::fs::create_dir_all(path.join("x")).unwrap();
        let fatal = fails(config(dir.path())).await;
        assert_eq!(fatal.exit, Exit::CantCreate, "{fatal}");
        assert!(fatal.message.contains(path.to_str().unwrap()), "{fatal}");
    }
}

/// Reading alone is no service: the program says why rows are refused, instead of answering errors.
#[tokio::test]
async fn a_database_that_refuses_rows_is_refused() {
    for (sql, word) in [
        ("create trigger t before insert on dados begin select raise(abort, 'stocktaking'); end", "stocktaking"),
        ("create trigger t before insert on dados begin select raise(ignore); end", "raise(ignore)"),
        ("drop table idempotencia", "idempotencia"),
    ] {
        let dir = spawn_app().await.stop().await;
        execute(dir.path(), sql).await;
        let fatal = fails(config(dir.path())).await;
        assert_eq!(fatal.exit, Exit::Data, "{fatal}");
        assert!(fatal.message.contains(word), "{fatal}");
    }
}

#[tokio::test]
async fn a_second_api_on_the_same_database_is_refused() {
    let app = spawn_app().await;
    app.rows().await;
    let fatal = fails(config(app.dir.path())).await;
    assert_eq!(fatal.exit, Exit::Locked, "{fatal}");
    let link = app.dir.path().join("link.db");
    std::os::unix::fs::symlink(database(app.dir.path()), &link).unwrap();
    let database_url = format!("sqlite:{}", link.display());
    assert_eq!(fails(Config { database_url, ..Config::default() }).await.exit, Exit::Locked);
    assert_eq!(app.rows().await.len(), 0);
}

#[tokio::test]
async fn a_database_that_another_program_locks_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    execute(dir.path(), SEED).await;
    let mut other = SqliteConnection::connect(&config(dir.path()).database_url).await.unwrap();
    sqlx::raw_sql("begin exclusive").execute(&mut other).await.unwrap();
    let fatal = fails(config(dir.path())).await;
    assert_eq!(fatal.exit, Exit::Locked, "{fatal}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    for (database_url, word) in [
        ("postgres://user:secret@db/dados", "not supported yet"),
        ("sqlite::memory:", "memory"),
        ("mysql://x", "expected sqlite:"),
        ("dados.db", "expected sqlite:"),
    ] {
        let fatal = fails(Config { database_url: database_url.to_owned(), ..Config::default() }).await;
        assert_eq!(fatal.exit, Exit::Usage);
        assert!(fatal.message.starts_with("DATABASE_URL: ") && fatal.message.contains(word), "{fatal}");
        assert!(!fatal.message.contains("secret"));
    }
    let bind = |api_addr: &str| server::bind(&Config { api_addr: api_addr.parse().unwrap(), ..Config::default() });
    let taken = listener();
    let in_use = bind(&taken.local_addr().unwrap().to_string()).unwrap_err();
    assert_eq!(in_use.exit, Exit::Unavailable);
    assert!(in_use.message.contains("in use"), "{in_use}");
    assert_eq!(bind("0.0.0.0:0").unwrap_err().exit, Exit::Usage);
}

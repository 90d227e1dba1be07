//! A file of the database that is moved, replaced or removed under the running API: no row is acknowledged that the next
//! start would not find, and everybody is told what happened.

use std::fs;
use std::path::PathBuf;

use service::Exit;
use sqlx::{Connection as _, SqliteConnection};

use crate::program::{PROGRAM, Running, command};
use crate::{App, FORM, database, problem, spawn_app, spawn_with};

/// Stores a reading; the status of the answer.
async fn post(app: &App, valor: &str) -> u16 {
    app.post(FORM, format!("valor={valor}")).send().await.unwrap().status().as_u16()
}

async fn ready(app: &App) -> u16 {
    app.get("/readyz").send().await.unwrap().status().as_u16()
}

/// Everybody is told: in this order, since the probe must notice it alone.
async fn refused(app: &App, words: &str) {
    for request in [app.get("/readyz"), app.post(FORM, "valor=lost"), app.get("/readyz")] {
        let response = request.send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"), "{response:?}");
        let problem = problem(response).await;
        assert_eq!(problem.status, 503);
        assert!(problem.detail.as_ref().unwrap().contains(words), "{problem:?}");
    }
    let metrics = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nponte_api_writer_healthy 0\n"), "{metrics}");
    assert!(!metrics.contains("failed_total{kind=\"misplaced\"} 0\n"), "{metrics}");
    assert_eq!(app.get("/healthz").send().await.unwrap().status(), 200);
}

async fn values(database: PathBuf) -> Vec<String> {
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", database.display())).await.unwrap();
    let values = sqlx::query_scalar("select valor from dados order by id").fetch_all(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    values
}

#[tokio::test]
async fn a_backup_that_takes_the_databases_place_is_noticed_and_stays_as_it_is() {
    let app = spawn_app().await;
    assert_eq!(post(&app, "old").await, 201);
    let (path, backup, former) =
        (database(app.dir.path()), app.dir.path().join("backup"), app.dir.path().join("former"));
    let copied = format!("vacuum into '{}'", backup.display());
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(copied)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    assert_eq!(post(&app, "new").await, 201);
    assert_eq!(ready(&app).await, 200);
    fs::hard_link(&path, &former).unwrap();
    fs::rename(&backup, &path).unwrap();

    refused(&app, "the database file was replaced by another file").await;
    // The former file is whole without its log, as far as rows were acknowledged.
    assert_eq!(fs::metadata(path.with_extension("db-wal")).unwrap().len(), 0);
    let dir = app.stop().await;
    assert_eq!(values(former).await, ["old", "new"]);
    // The next start uses what is there now.
    let app = spawn_with(dir, |_| {}).await;
    assert_eq!(post(&app, "after").await, 201);
    assert_eq!(values(database(app.stop().await.path())).await, ["old", "after"]);
}

#[tokio::test]
async fn a_database_that_was_renamed_or_removed_is_missed_and_goes_on_when_it_is_back() {
    let app = spawn_app().await;
    assert_eq!(post(&app, "1").await, 201);
    let (path, away) = (database(app.dir.path()), app.dir.path().join("away"));
    fs::rename(&path, &away).unwrap();
    refused(&app, "the database file was removed or renamed").await;
    assert!(!path.exists(), "an empty database was made in its place");
    fs::rename(&away, &path).unwrap();
    assert_eq!(post(&app, "2").await, 201);
    assert_eq!(ready(&app).await, 200);
    fs::remove_file(&path).unwrap();
    refused(&app, "the database file was removed or renamed").await;
    app.stop().await;
}

#[tokio::test]
async fn a_log_that_is_removed_takes_no_acknowledged_row_along() {
    for (ending, words) in [("db-wal", "write-ahead log (-wal) was removed"), ("db-shm", "(-shm) was removed")] {
        let app = spawn_app().await;
        for valor in ["1", "2", "3"] {
            assert_eq!(post(&app, valor).await, 201);
        }
        let path = database(app.dir.path());
        fs::remove_file(path.with_extension(ending)).unwrap();
        refused(&app, words).await;
        // As a power cut would leave it: the file alone.
        let copy = app.dir.path().join("copy");
        fs::copy(&path, &copy).unwrap();
        assert_eq!(values(copy).await, ["1", "2", "3"], "{ending}");
        let app = spawn_with(app.stop().await, |_| {}).await;
        assert_eq!(post(&app, "4").await, 201);
        assert_eq!(values(database(app.stop().await.path())).await, ["1", "2", "3", "4"], "{ending}");
    }
}

/// SQLite would write the log of the former database into the one that has taken its place.
#[tokio::test]
async fn after_a_kill_a_log_is_not_mixed_into_another_database() {
    let start = async |dir: &tempfile::TempDir| {
        let mut program = command(PROGRAM, dir);
        program.args(["--api-addr", "127.0.0.1:0"]);
        Running::start(program).await
    };
    let backup = values_only(&["kept"]).await;
    let dir = tempfile::tempdir().unwrap();
    let api = start(&dir).await.unwrap();
    for valor in ["1", "2"] {
        assert_eq!(api.post(FORM, format!("valor={valor}")).send().await.unwrap().status(), 201);
    }
    drop(api);
    // A folder that was copied as a whole is as good as the first.
    let copied = tempfile::tempdir().unwrap();
    for ending in ["db", "db-wal", "db.lock"] {
        let from = database(dir.path()).with_extension(ending);
        fs::copy(&from, copied.path().join(from.file_name().unwrap())).unwrap();
    }
    drop(start(&copied).await.unwrap());
    assert_eq!(values(database(copied.path())).await, ["1", "2"]);

    let path = database(dir.path());
    fs::rename(&path, dir.path().join("former")).unwrap();
    fs::copy(database(backup.path()), &path).unwrap();
    let before = fs::read(&path).unwrap();
    for subcommand in ["serve", "check"] {
        let output = command(PROGRAM, &dir).args(["--api-addr", "127.0.0.1:0", subcommand]).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(Exit::Data as i32), "{said}");
        assert!(said.contains("dados.db-wal belongs to another database"), "{said}");
        assert!(fs::read(&path).unwrap() == before, "{subcommand} has changed it");
    }
    for ending in ["db-wal", "db-shm"] {
        fs::remove_file(path.with_extension(ending)).unwrap();
    }
    drop(start(&dir).await.unwrap());
    assert_eq!(values(path).await, ["kept"]);
}

/// A database with these rows, and no log.
async fn values_only(values: &[&str]) -> tempfile::TempDir {
    let app = spawn_app().await;
    for valor in values {
        assert_eq!(post(&app, valor).await, 201);
    }
    app.stop().await
}

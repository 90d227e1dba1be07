//! A disk that is full or fails: said so, nothing half stored, and it goes on by itself.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use dados::Dado;
use reqwest::Response;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::program::{LOOK_INTERVAL, PROGRAM, Running, command, isolated, set_limit, skipped};
use crate::{App, FORM, database, problem, spawn_app};

async fn post(api: &Running, bytes: usize) -> Response {
    api.post(FORM, format!("valor={}", "0".repeat(bytes))).send().await.unwrap()
}

/// Posts until not even the smallest row is taken; how many were stored, and the last refusal.
async fn fill(api: &Running) -> (usize, Response) {
    let mut stored = 0;
    while post(api, 50_000).await.status() == 201 {
        stored += 1;
    }
    loop {
        let response = post(api, 1).await;
        if response.status() != 201 {
            return (stored, response);
        }
        stored += 1;
    }
}

async fn rows(api: &Running) -> usize {
    api.get("/dados?limite=10000").send().await.unwrap().json::<Vec<Dado>>().await.unwrap().len()
}

/// What the API does while its disk refuses, and once it takes data again.
async fn refused_then_resumed(api: &Running, status: u16, kind: &str, heal: impl FnOnce()) {
    let before = rows(api).await;
    let (stored, refused) = fill(api).await;
    let stored = before + stored;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await.status, status);
    // Reading goes on, and who watches is told.
    assert_eq!(rows(api).await, stored);
    let ready = api.get("/readyz").send().await.unwrap();
    assert!(ready.headers().contains_key("retry-after"), "{ready:?}");
    assert_eq!(problem(ready).await.status, status);
    assert_eq!(api.get("/healthz").send().await.unwrap().status(), 200);
    let metrics = api.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nponte_api_writer_healthy 0\n"), "{metrics}");
    assert!(!metrics.contains(&format!("failed_total{{kind=\"{kind}\"}} 0\n")), "{metrics}");
    assert_eq!(post(api, 1).await.status(), status);

    heal();
    // By itself: nobody starts it again.
    assert_eq!(post(api, 50_000).await.status(), 201);
    assert_eq!(api.get("/readyz").send().await.unwrap().status(), 200);
    assert_eq!(rows(api).await, stored + 1);
}

#[tokio::test]
async fn a_full_disk_is_told_and_once_there_is_room_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    // A disk that only this process sees; where namespaces are not allowed, there is no such disk.
    let program = isolated(&dir, "mount -t tmpfs -o size=4m tmpfs . && cd \"$PWD\"");
    let Some(api) = Running::start(program).await else {
        return skipped("no mount namespace: the disk cannot be full");
    };
    let ballast = PathBuf::from(format!("/proc/{}/cwd/ballast", api.pid()));
    fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    refused_then_resumed(&api, 507, "full", || fs::remove_file(ballast).unwrap()).await;
}

#[tokio::test]
async fn a_disk_that_fails_is_told_and_once_it_works_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    // Beyond the limit on a file's size a write fails with an error that is not "no space left".
    let script = "trap '' XFSZ; exec \"$0\" --api-addr 127.0.0.1:0";
    let mut shell = command("/bin/sh", &dir);
    shell.args(["-c", script, PROGRAM]);
    let api = Running::start(shell).await.unwrap();
    // The log is larger than the limit then: nothing can be added to it.
    assert_eq!(post(&api, 50_000).await.status(), 201);
    if !set_limit(api.pid(), "--fsize=16384:") {
        return skipped("no prlimit: the disk cannot fail");
    }
    let pid = api.pid();
    refused_then_resumed(&api, 503, "disk", || assert!(set_limit(pid, "--fsize=unlimited:"))).await;
}

/// Bytes of a value in the tests of the log, and values that make it start over more than once.
const VALUE_BYTES: usize = 1 << 20;
const VALUES: usize = 64;
/// The log starts over at 16 MiB and what is written while it is copied; without that it would have all [`VALUES`].
const LOG_BYTES_MAX: u64 = 40 << 20;
/// What it has before it is written.
const LENGTH: u64 = 34 << 20;

async fn fill_log(app: &App, values: usize) {
    for _ in 0..values {
        let response = app.post(FORM, format!("valor={}", "0".repeat(VALUE_BYTES))).send().await.unwrap();
        assert_eq!(response.status(), 201);
    }
}

fn log_bytes(app: &App) -> u64 {
    fs::metadata(database(app.dir.path()).with_extension("db-wal")).unwrap().len()
}

#[tokio::test]
async fn the_log_starts_over_while_writing_goes_on() {
    let app = spawn_app().await;
    fill_log(&app, VALUES).await;
    assert!(log_bytes(&app) < LOG_BYTES_MAX, "{} bytes", log_bytes(&app));
    app.stop().await;
}

/// A log that grows has its length synced with each commit: twice the time.
#[tokio::test]
async fn the_log_of_who_stores_much_has_its_length_before_it_is_written() {
    let app = spawn_app().await;
    fill_log(&app, 1).await;
    let lengthened = async {
        while log_bytes(&app) < LENGTH {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), lengthened).await.unwrap();
    let length = log_bytes(&app);
    fill_log(&app, 8).await;
    assert_eq!(log_bytes(&app), length);
    app.stop().await;
}

#[tokio::test]
async fn a_long_read_holds_the_log_up_and_when_it_ends_the_log_starts_over() {
    let app = spawn_app().await;
    fill_log(&app, 1).await;
    let options = SqliteConnectOptions::new().filename(database(app.dir.path())).read_only(true);
    let mut reader: SqliteConnection = options.connect().await.unwrap();
    let mut read = reader.begin().await.unwrap();
    let count = "select count(*) from dados";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *read).await.unwrap(), 1);
    fill_log(&app, VALUES).await;
    assert!(log_bytes(&app) > LOG_BYTES_MAX, "a reader's snapshot stays: {} bytes", log_bytes(&app));
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *read).await.unwrap(), 1);
    read.rollback().await.unwrap();
    reader.close().await.unwrap();
    let before = log_bytes(&app);
    fill_log(&app, VALUES).await;
    // What was too long for the length that is kept was cut, or written over from its beginning.
    assert!(log_bytes(&app) <= before, "{before} and then {} bytes", log_bytes(&app));
    let dir = app.stop().await;
    let log = database(dir.path()).with_extension("db-wal");
    assert!(!log.exists() || fs::metadata(log).unwrap().len() == 0);
}

/// Values that make the log longer than what is said nothing of: 128 MiB.
const HELD_VALUES: usize = 140;

async fn post_values(api: &Running, values: usize) {
    for _ in 0..values {
        assert_eq!(post(api, VALUE_BYTES).await.status(), 201);
    }
}

/// What `/readyz` and `/metrics` say of it.
async fn held_bytes(api: &Running) -> (Option<u64>, u64) {
    let ready: Value = api.get("/readyz").send().await.unwrap().json().await.unwrap();
    let metrics = api.get("/metrics").send().await.unwrap().text().await.unwrap();
    let gauge = metrics.lines().find_map(|line| line.strip_prefix("ponte_api_wal_held_bytes ")).unwrap();
    (ready["wal"]["bytes"].as_u64(), gauge.parse().unwrap())
}

fn check(dir: &TempDir) -> String {
    let output = command(PROGRAM, dir).args(["check", "--api-addr", "127.0.0.1:0"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The reader is this process, and the API another one.
#[tokio::test]
async fn a_read_that_holds_the_log_up_is_told_with_the_name_of_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = command(PROGRAM, &dir);
    program.args(["--api-addr", "127.0.0.1:0"]);
    let api = Running::start(program).await.unwrap();
    post_values(&api, 1).await;
    assert_eq!(held_bytes(&api).await, (None, 0));
    assert!(!check(&dir).contains("now reading"), "{}", check(&dir));
    let options = SqliteConnectOptions::new().filename(database(dir.path())).read_only(true);
    let mut reader: SqliteConnection = options.connect().await.unwrap();
    let mut read = reader.begin().await.unwrap();
    sqlx::query("select count(*) from dados").fetch_one(&mut *read).await.unwrap();

    post_values(&api, HELD_VALUES).await;
    while held_bytes(&api).await.1 == 0 {
        post_values(&api, 1).await;
    }
    let (ready, gauge) = held_bytes(&api).await;
    assert!(ready.unwrap() >= 128 << 20 && gauge >= 128 << 20, "{ready:?} and {gauge} bytes");
    let pid = format!("(pid {})", std::process::id());
    let said = check(&dir);
    assert!(said.contains("now reading: ") && said.contains(&pid), "{said}");
    let logged = api.logged();
    let warned: Vec<&str> = logged.lines().filter(|line| line.contains("the write-ahead log grows")).collect();
    assert!(warned.len() == 1 && warned[0].contains("WARN") && warned[0].contains(&pid), "{logged}");

    read.rollback().await.unwrap();
    reader.close().await.unwrap();
    // By itself, and the next messages start the log over.
    while held_bytes(&api).await != (None, 0) {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    post_values(&api, 10).await;
    while !api.logged().contains("the write-ahead log has started over") {
        post_values(&api, 1).await;
    }
}

//! `ponte-api backup`: a copy of a database that is in use, whole or not there.

use std::path::Path;
use std::process::Output;

use service::Exit;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use crate::program::{PROGRAM, Running, command, skipped};
use crate::{FORM, NDJSON};

fn backup(dir: &TempDir, target: &str) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command(PROGRAM, dir).args(["backup", target]).output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// Messages, and how many are neither counted in `topicos` nor waiting for it.
async fn counted(path: &Path) -> (i64, i64) {
    let mut conn = SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap();
    let sql = "with cursor (id) as (select ultimo_id from projecoes where nome = 'leituras')
               select count(*), count(*) - (select count(*) from dados, cursor where dados.id > cursor.id)
                   - (select coalesce(sum(mensagens), 0) from topicos) from dados";
    let counted = sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    counted
}

#[tokio::test]
async fn a_copy_is_of_one_moment_while_the_api_writes() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = command(PROGRAM, &dir);
    program.args(["--api-addr", "127.0.0.1:0"]);
    let mut api = Running::start(program).await.unwrap();
    let lines = "{\"valor\": {\"t\": 1}, \"topico\": \"casa\"}\n".repeat(500);
    for round in 0..4 {
        for _ in 0..5 {
            assert_eq!(api.post(NDJSON, lines.clone()).send().await.unwrap().status(), 201);
        }
        let target = format!("{round}.db");
        let (copying, posting) = tokio::join!(
            tokio::task::spawn_blocking({
                let (program, dir) = (PROGRAM, dir.path().to_owned());
                move || {
                    std::process::Command::new(program).current_dir(dir).env_clear().args(["backup", &target]).output()
                }
            }),
            api.post(NDJSON, lines.clone()).send()
        );
        let (output, posted) = (copying.unwrap().unwrap(), posting.unwrap());
        assert_eq!((output.status.code(), posted.status().as_u16()), (Some(0), 201));
        let said = String::from_utf8(output.stdout).unwrap();
        let (messages, uncounted) = counted(&dir.path().join(format!("{round}.db"))).await;
        assert!(messages >= (round + 1) * 2_500 && uncounted == 0, "{messages} messages, {uncounted} uncounted");
        assert!(said.contains(&format!("{messages} messages")), "{said}");
    }
    assert_eq!(backup(&dir, "0.db").0, Some(Exit::CantCreate as i32), "nothing is written over");
    assert_eq!(api.terminate(), Some(0));
}

#[tokio::test]
async fn what_is_put_back_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut program = command(PROGRAM, &dir);
        program.args(["--api-addr", "127.0.0.1:0"]);
        Running::start(program)
    };
    let mut api = start().await.unwrap();
    assert_eq!(api.post(FORM, "valor=1").send().await.unwrap().status(), 201);
    assert_eq!(api.terminate(), Some(0));
    // What a backup that was killed has left is no hindrance.
    for left in ["copy.db.part", "copy.db.part-journal"] {
        std::fs::write(dir.path().join(left), "left").unwrap();
    }
    let Output { status, stdout, stderr } = command(PROGRAM, &dir).args(["backup", "-"]).output().unwrap();
    assert!(status.success() && stdout.starts_with(b"SQLite format 3\0"), "{}", String::from_utf8_lossy(&stderr));
    assert!(!dir.path().join("dados.db.backup").exists());
    let (code, output) = backup(&dir, "copy.db");
    assert!(std::fs::read(dir.path().join("copy.db")).unwrap() == stdout, "both ways give the same");
    assert_eq!((code, output.contains("1 messages up to id 1")), (Some(0), true), "{output}");
    for file in ["dados.db", "dados.db-wal", "dados.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(file));
    }
    std::fs::rename(dir.path().join("copy.db"), dir.path().join("dados.db")).unwrap();
    let api = start().await.unwrap();
    assert_eq!(api.post(FORM, "valor=2").send().await.unwrap().status(), 201);
    let rows: Vec<dados::Dado> = api.get("/dados").send().await.unwrap().json().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn without_a_database_or_a_place_there_is_no_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (code, output) = backup(&dir, "copy.db");
    assert_eq!(code, Some(Exit::Data as i32), "{output}");
    std::fs::write(dir.path().join("dados.db"), "this is no database, whatever its name is").unwrap();
    let (code, output) = backup(&dir, "copy.db");
    assert_eq!(code, Some(Exit::Io as i32), "{output}");
    assert!(output.contains("not a database"), "{output}");
    assert_eq!(backup(&dir, "missing/copy.db").0, Some(Exit::CantCreate as i32));
    let (code, output) = backup(&dir, "dados.db");
    assert_eq!(code, Some(Exit::CantCreate as i32), "{output}");
    assert!(output.contains("dados.db: a file of this name is there already"), "{output}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["dados.db"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_leaves_nothing_half() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = command(PROGRAM, &dir);
    program.args(["--api-addr", "127.0.0.1:0"]);
    let mut api = Running::start(program).await.unwrap();
    let line = format!("{{\"valor\": \"{}\"}}\n", "x".repeat(1 << 20));
    assert_eq!(api.post(NDJSON, line.repeat(3)).send().await.unwrap().status(), 201);
    assert_eq!(api.terminate(), Some(0));
    std::fs::create_dir(dir.path().join("small")).unwrap();
    let script = "mount -t tmpfs -o size=1m none small && \"$0\" backup small/copy.db; code=$?; ls small; exit $code";
    let mut limited = command("unshare", &dir);
    limited.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(["-rm", "sh", "-c", script, PROGRAM]);
    let Ok(Output { status, stdout, stderr }) = limited.output() else {
        return skipped("there is no unshare here");
    };
    let said = String::from_utf8_lossy(&stderr);
    if said.contains("unshare") || said.contains("mount:") {
        return skipped(&said);
    }
    assert_eq!((status.code(), stdout), (Some(Exit::CantCreate as i32), Vec::new()), "{said}");
    assert!(said.contains("the disk is full"), "{said}");
}

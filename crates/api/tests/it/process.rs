//! The program itself: its lines and its exit codes.

use std::process::Output;

use service::Exit;
use tempfile::TempDir;

use crate::FORM;
use crate::program::{PROGRAM, Running, command};

fn run(dir: &TempDir, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command(PROGRAM, dir).args(args).output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn subcommands_say_how_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let free = ["--api-addr", "127.0.0.1:0"];
    let (code, output) = run(&dir, &["check", free[0], free[1]]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("API_ADDR") && output.contains("127.0.0.1:0") && output.contains("flag"), "{output}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "check left something behind");

    let (code, output) = run(&dir, &["--database-url", "sqlite:missing/dados.db", "check", free[0], free[1]]);
    assert_eq!(code, Some(Exit::CantCreate as i32), "{output}");
    let (code, output) = run(&dir, &["--api-addr", "0.0.0.0:0"]);
    assert_eq!(code, Some(Exit::Usage as i32));
    assert!(output.contains("API_ALLOW_ANONYMOUS"), "{output}");
    let (code, output) = run(&dir, &["serve", "--api-body-bytes-max", "much"]);
    assert_eq!(code, Some(Exit::Usage as i32));
    assert!(output.contains("API_BODY_BYTES_MAX"), "{output}");
    let (code, _) = run(&dir, &["--version"]);
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn it_serves_says_so_and_ends_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = command(PROGRAM, &dir);
    program.args(["--api-addr", "127.0.0.1:0"]);
    let mut api = Running::start(program).await.unwrap();
    let addr = api.addr.clone();
    assert_eq!(api.post(FORM, "valor=1").send().await.unwrap().status(), 201);
    assert_eq!(run(&dir, &["health", "--api-addr", &addr]).0, Some(0));
    let (code, output) = run(&dir, &["check", "--api-addr", &addr]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("ponte-api runs there, and is ready"), "{output}");
    assert_eq!(run(&dir, &["--api-addr", "127.0.0.1:0"]).0, Some(Exit::Locked as i32));

    assert_eq!(api.terminate(), Some(0));
    let (code, output) = run(&dir, &["health", "--api-addr", &addr]);
    assert_eq!(code, Some(Exit::Unavailable as i32), "{output}");
}

//! Directories that cannot be written, disks that are full or are none; and an API that is away.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use harness::binaries::binaries;
use harness::disk::Disk;

use super::super::Result;
use super::{check, says};

/// Nobody's user id on every Linux.
const NOBODY: u32 = 65_534;

#[test]
fn an_api_that_is_away_costs_nothing_yet() -> Result {
    let dir = tempfile::tempdir()?;
    let nobody = format!("http://{}", harness::free_addr()?);
    let broker = format!("mqtt://{}", harness::free_addr()?);
    let settings = [("BROKER_ADDR", broker.as_str()), ("API_URL", &nobody), ("STATUS_ADDR", "127.0.0.1:0")];
    let (code, output) = check(dir.path(), &settings, &["--rate", "1000"])?;
    assert_eq!(code, 69, "{output}");
    says(&output, "fail", "BROKER_ADDR", "");
    says(&output, "fail", "API_URL", "nobody answers there");
    says(&output, "ok", "STATUS_ADDR", "no subscriber runs here");
    says(&output, "ok", "outage budget", "the broker alone would hold an unknown time");
    assert!(output.contains("messages wait in the spool"), "{output}");
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 0, "check left something behind");
    Ok(())
}

/// An API of another machine, by its clock, that knows no token of ours.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_wants_a_token_is_told_from_one_that_is_away() -> Result {
    let dir = tempfile::tempdir()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (api, broker) = (format!("http://{}", listener.local_addr()?), format!("mqtt://{}", harness::free_addr()?));
    let ready = || async { ([("date", "Fri, 01 Jan 2027 00:00:00 GMT")], r#"{"status":"ready"}"#) };
    let router = axum::Router::new().route("/readyz", axum::routing::get(ready));
    let router = router.fallback(|| async { axum::http::StatusCode::UNAUTHORIZED });
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async { axum::serve(listener, router).await });
    let settings = [("BROKER_ADDR", broker.as_str()), ("API_URL", &api), ("STATUS_ADDR", "127.0.0.1:0")];
    for (token, words) in [("", "wants a token, and none is set"), ("a-secret-1", "does not know this token")] {
        let mut settings = settings.to_vec();
        settings.extend((!token.is_empty()).then_some(("API_TOKEN", token)));
        let (code, output) = tokio::task::block_in_place(|| check(dir.path(), &settings, &[]))?;
        assert_eq!(code, 69, "{output}");
        says(&output, "ok", "API_URL", "ready");
        says(&output, "fail", "API_TOKEN", words);
        says(&output, "warn", "clocks", "that of the API");
        assert!(!output.contains("a-secret-1"), "{output}");
    }
    Ok(())
}

/// Runs the check as a user without privileges, where this one has them.
fn check_as_nobody(dir: &Path, spool: &Path) -> Result<(i32, String)> {
    let program = &binaries()?.subscriber;
    let mut command = Command::new(program);
    for variable in service::env_file::KNOWN {
        command.env_remove(variable);
    }
    command.current_dir(dir).arg("check").env("BROKER_ADDR", "mqtt://127.0.0.1:1").env("SPOOL_DIR", spool);
    command.env("STATUS_ADDR", "127.0.0.1:0").env("API_URL", "http://127.0.0.1:1");
    if std::fs::write(spool.join("probe"), "").is_ok() {
        std::fs::remove_file(spool.join("probe"))?;
        command.uid(NOBODY);
    }
    let output = command.output()?;
    Ok((
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    ))
}

#[test]
fn a_spool_that_cannot_be_written_names_its_owner() -> Result {
    let dir = tempfile::tempdir()?;
    let spool = dir.path().join("spool");
    std::fs::create_dir(&spool)?;
    for (path, mode) in [(dir.path(), 0o755), (&spool, 0o555)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    let (code, output) = check_as_nobody(dir.path(), &spool)?;
    assert_eq!(code, 73, "{output}");
    says(&output, "fail", "SPOOL_DIR", "with mode 555");
    assert!(output.contains("chown"), "{output}");

    let file = dir.path().join("file");
    std::fs::write(&file, "in the way")?;
    let (below, broker) = (file.join("spool").display().to_string(), "mqtt://127.0.0.1:1");
    let settings = [("BROKER_ADDR", broker), ("SPOOL_DIR", &below), ("STATUS_ADDR", "127.0.0.1:0")];
    let (code, output) = check(dir.path(), &settings, &[])?;
    assert_eq!(code, 73, "{output}");
    says(&output, "fail", "SPOOL_DIR", "a file is in the way");
    Ok(())
}

#[test]
fn a_disk_that_is_small_or_full_is_told_by_its_bytes() -> Result {
    let dir = tempfile::tempdir()?;
    let small = dir.path().join("small");
    let Some(disk) = Disk::mount(&small, 8 << 20)? else {
        harness::skipped("mounting a tmpfs is not allowed");
        return Ok(());
    };
    let spool = small.join("spool");
    std::fs::create_dir(&spool)?;
    let (place, broker) = (spool.display().to_string(), "mqtt://127.0.0.1:1");
    let settings = [("BROKER_ADDR", broker), ("SPOOL_DIR", &place), ("STATUS_ADDR", "127.0.0.1:0")];
    let (code, output) = check(dir.path(), &settings, &["--rate", "100"])?;
    assert_eq!(code, 69, "only the broker fails: {output}");
    says(&output, "warn", "SPOOL_DIR", "(tmpfs) is memory");
    says(&output, "warn", "SPOOL_MAX_BYTES 1 GiB", "the disk is full first");
    says(&output, "warn", "outage budget", "at 100 msg/s the spool holds 10 min");
    assert!(output.contains("the disk binds"), "{output}");

    disk.fill()?;
    let (code, output) = check(dir.path(), &settings, &[])?;
    assert_eq!(code, 73, "{output}");
    says(&output, "fail", "SPOOL_DIR", "full");
    assert_eq!(std::fs::read_dir(&spool)?.count(), 0, "check left something behind");
    Ok(())
}

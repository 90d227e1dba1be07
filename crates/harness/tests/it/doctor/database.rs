//! The API's check: beside a running one, alone, and with a file that is damaged or from another world.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::TcpListener;

use harness::system::Api;
use tokio::task::block_in_place;

use super::super::Result;
use super::{check_api, says};

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_well_is_told_so_running_or_not() -> Result {
    harness::install_tls();
    let dir = tempfile::tempdir()?;
    let mut api = Api::start_with(dir.path(), &[]).await?;
    let line = r#"{"valor":"23.5","topico":"casa/sala"}"#;
    let lines = format!("{line}\n").repeat(20);
    let post =
        reqwest::Client::new().post(format!("{}/dados", api.url())).header("content-type", "application/x-ndjson");
    post.body(lines).send().await?.error_for_status()?;
    let (addr, database) = (api.addr().to_string(), format!("sqlite:{}", api.database().display()));
    let settings = [("API_ADDR", addr.as_str()), ("DATABASE_URL", &database), ("RETENTION_DADOS", "90d")];
    for is_running in [true, false] {
        if !is_running {
            api.process()?.terminate()?;
        }
        let before = files(dir.path())?;
        let (code, output) = block_in_place(|| check_api(dir.path(), &settings))?;
        assert_eq!(code, 0, "{output}");
        for (subject, words) in [
            ("DATABASE_URL", "about 20 messages"),
            ("DATABASE_URL", "its tables are up to date"),
            ("disk of the database", "commits a second"),
            ("journal", "(WAL), as it should be"),
            ("integrity", "no damage in the whole file"),
            ("newest message", "ago"),
            ("disk space", "free"),
            ("retention", "deleted are messages after 90 days; the rest stays"),
            ("API_ADDR", if is_running { "ponte-api runs there, and is ready" } else { "the address is free" }),
        ] {
            says(&output, "ok", subject, words);
        }
        assert_eq!(files(dir.path())?, before, "check left something behind");
    }
    Ok(())
}

fn files(dir: &std::path::Path) -> Result<BTreeSet<OsString>> {
    std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
}

#[test]
fn a_port_or_a_file_of_another_program_is_told_so() -> Result {
    let dir = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let addr = taken.local_addr()?.to_string();
    // It takes connections and never answers.
    let (code, output) = check_api(dir.path(), &[("API_ADDR", &addr)])?;
    assert_eq!(code, 69, "{output}");
    says(&output, "fail", "API_ADDR", "in use");

    std::fs::write(
        dir.path().join("dados.db"),
        "no database at all, but longer than a header of SQLite would be".repeat(20),
    )?;
    let (code, output) = check_api(dir.path(), &[("API_ADDR", "127.0.0.1:0")])?;
    assert_eq!(code, 65, "{output}");
    says(&output, "fail", "DATABASE_URL", "not an SQLite database");

    let (code, output) =
        check_api(dir.path(), &[("DATABASE_URL", "sqlite:missing/dados.db"), ("API_ADDR", "127.0.0.1:0")])?;
    assert_eq!(code, 73, "{output}");
    says(&output, "fail", "DATABASE_URL", "is not there");

    let (code, output) = check_api(dir.path(), &[("DATABASE_URL", "mysql://x"), ("API_ADDR", "127.0.0.1:0")])?;
    assert_eq!(code, 64, "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_future_is_told() -> Result {
    harness::install_tls();
    let dir = tempfile::tempdir()?;
    let mut api = Api::start(dir.path()).await?;
    let body = r#"{"valor":"1","timestamp":"2199-01-01T00:00:00Z"}"#;
    let post = reqwest::Client::new().post(format!("{}/dados", api.url())).header("content-type", "application/json");
    post.body(body).send().await?.error_for_status()?;
    api.process()?.terminate()?;
    let database = format!("sqlite:{}", api.database().display());
    let (code, output) = check_api(dir.path(), &[("DATABASE_URL", &database), ("API_ADDR", "127.0.0.1:0")])?;
    assert_eq!(code, 0, "{output}");
    says(&output, "warn", "newest message", "years in the future");
    Ok(())
}

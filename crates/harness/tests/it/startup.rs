//! Bad settings, ports in use, locked or foreign files: one clear line, and an exit code that says which.

use std::net::TcpListener;

use harness::binaries::binaries;
use harness::system::run;

use super::Result;

/// Runs a product until it refuses, and gives its exit code and its one line.
fn refusal(program: &std::path::Path, settings: &[(&str, &str)], args: &[&str]) -> Result<(i32, String)> {
    let dir = tempfile::tempdir()?;
    let settings: Vec<_> = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (code, output) = run(program, dir.path(), args, &settings)?;
    let errors: Vec<_> = output.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one clear line: {output}");
    Ok((code, errors[0].to_owned()))
}

#[test]
fn a_bad_setting_of_the_subscriber_is_named() -> Result {
    let program = &binaries()?.subscriber;
    for (settings, args, name) in [
        (&[][..], &[][..], "BROKER_ADDR"),
        (&[("BROKER_ADDR", "http://x")], &[], "BROKER_ADDR"),
        (&[("BROKER_ADDR", "mqtt://u:p@x")], &[], "BROKER_ADDR"),
        (&[("BROKER_ADDR", "x"), ("MQTT_TOPICS", "a#")], &[], "MQTT_TOPICS"),
        (&[("BROKER_ADDR", "x"), ("MQTT_KEEP_ALIVE", "soon")], &[], "MQTT_KEEP_ALIVE"),
        (&[("BROKER_ADDR", "x"), ("SPOOL_MAX_BYTES", "-1")], &[], "SPOOL_MAX_BYTES"),
        (&[("BROKER_ADDR", "x"), ("SPOOL_DURABILITY", "maybe")], &[], "SPOOL_DURABILITY"),
        (&[("BROKER_ADDR", "x"), ("API_URL", "here")], &[], "API_URL"),
        (&[("BROKER_ADDR", "x"), ("STATUS_ADDR", "here")], &[], "STATUS_ADDR"),
        (&[("BROKER_ADDR", "x"), ("LOG_FORMAT", "xml")], &[], "LOG_FORMAT"),
        (&[("BROKER_ADDR", "x"), ("LOG_LEVEL", "a=b=c")], &[], "LOG_LEVEL"),
        (&[("BROKER_ADDR", "x"), ("HIVE_USER", "u")], &[], "HIVE_PSWD"),
        (
            &[("BROKER_ADDR", "x"), ("MQTT_CA_FILE", "/missing.pem"), ("STATUS_ADDR", "127.0.0.1:0")],
            &[],
            "MQTT_CA_FILE",
        ),
        (&[("BROKER_ADDR", "x")], &["--unknown"], "--unknown"),
        (&[("BROKER_ADDR", "x")], &["dance"], "dance"),
    ] {
        let (code, line) = refusal(program, settings, args)?;
        assert_eq!(code, 64, "{name}: {line}");
        assert!(line.contains(name), "{name}: {line}");
    }
    Ok(())
}

#[test]
fn a_bad_setting_of_the_api_is_named() -> Result {
    let program = &binaries()?.api;
    for (settings, args, name) in [
        (&[("API_ADDR", "everywhere")][..], &[][..], "API_ADDR"),
        (&[("API_ADDR", "0.0.0.0:0")], &[], "API_ALLOW_ANONYMOUS"),
        (&[("API_ALLOW_ANONYMOUS", "perhaps")], &[], "API_ALLOW_ANONYMOUS"),
        (&[("API_BODY_BYTES_MAX", "0")], &[], "API_BODY_BYTES_MAX"),
        (&[("API_CONNECTIONS_MAX", "0")], &[], "API_CONNECTIONS_MAX"),
        (&[("API_CONNECTIONS_PER_ADDRESS", "0")], &[], "API_CONNECTIONS_PER_ADDRESS"),
        (&[("DATABASE_READERS", "none")], &[], "DATABASE_READERS"),
        (&[("DATABASE_URL", "mysql://x")], &[], "DATABASE_URL"),
        (&[("DATABASE_URL", "sqlite::memory:")], &[], "DATABASE_URL"),
        (&[], &["--unknown"], "--unknown"),
    ] {
        let (code, line) = refusal(program, settings, args)?;
        assert_eq!(code, 64, "{name}: {line}");
        assert!(line.contains(name), "{name}: {line}");
    }
    Ok(())
}

#[test]
fn a_mistyped_line_of_the_env_file_is_named() -> Result {
    for program in [&binaries()?.subscriber, &binaries()?.api] {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join(".env"), "MQTT_TOPIC=casa/#\n")?;
        let (code, output) = run(program, dir.path(), &[], &[])?;
        assert_eq!(code, 64, "{output}");
        assert!(output.contains("MQTT_TOPIC: unknown setting; did you mean MQTT_TOPICS?"), "{output}");
    }
    Ok(())
}

#[test]
fn a_port_in_use_is_said_so() -> Result {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let addr = taken.local_addr()?.to_string();
    let (code, line) = refusal(&binaries()?.api, &[("API_ADDR", &addr)], &[])?;
    assert_eq!(code, 69, "{line}");
    assert!(line.contains(&addr), "{line}");
    let settings = [("BROKER_ADDR", "localhost:1883"), ("STATUS_ADDR", addr.as_str())];
    let (code, line) = refusal(&binaries()?.subscriber, &settings, &[])?;
    assert_eq!(code, 69, "{line}");
    assert!(line.contains(&addr), "{line}");
    Ok(())
}

#[test]
fn a_directory_that_cannot_be_written_is_said_so() -> Result {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way")?;
    let spool = file.join("spool").display().to_string();
    let settings = [("BROKER_ADDR", "localhost:1883"), ("STATUS_ADDR", "127.0.0.1:0"), ("SPOOL_DIR", spool.as_str())];
    let (code, line) = refusal(&binaries()?.subscriber, &settings, &[])?;
    assert_eq!(code, 73, "{line}");
    assert!(line.contains("SPOOL_DIR"), "{line}");
    let database = format!("sqlite:{}", file.join("dados.db").display());
    let (code, line) = refusal(&binaries()?.api, &[("API_ADDR", "127.0.0.1:0"), ("DATABASE_URL", &database)], &[])?;
    assert_eq!(code, 73, "{line}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_files_refuses_to_start() -> Result {
    harness::install_tls();
    let dir = tempfile::tempdir()?;
    let api = harness::system::Api::start(dir.path()).await?;
    let database = format!("sqlite:{}", api.database().display());
    let (code, line) = refusal(&binaries()?.api, &[("API_ADDR", "127.0.0.1:0"), ("DATABASE_URL", &database)], &[])?;
    assert_eq!(code, 75, "{line}");

    // No broker answers there; the spool is opened all the same.
    let broker = format!("mqtt://{}", harness::free_addr()?);
    let mut first = harness::system::Subscriber::start(dir.path(), &broker, &api.url(), &[])?;
    first.until("it runs", |status| status["ready"] == false).await?;
    let spool = first.spool().display().to_string();
    let settings = [("BROKER_ADDR", broker.as_str()), ("STATUS_ADDR", "127.0.0.1:0"), ("SPOOL_DIR", &spool)];
    let (code, line) = refusal(&binaries()?.subscriber, &settings, &[])?;
    assert_eq!(code, 75, "{line}");
    assert!(line.contains("in use by another process"), "{line}");
    Ok(())
}

#[test]
fn version_and_help_are_no_errors() -> Result {
    let dir = tempfile::tempdir()?;
    for program in [&binaries()?.subscriber, &binaries()?.api] {
        let (code, text) = run(program, dir.path(), &["--version"], &[])?;
        assert_eq!(code, 0);
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
        let (code, text) = run(program, dir.path(), &["--help"], &[])?;
        assert_eq!(code, 0);
        assert!(text.contains("LOG_FORMAT"), "{text}");
    }
    Ok(())
}

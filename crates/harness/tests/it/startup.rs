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
        (&[("BROKER_ADDR", "x"), ("LOG_LEVEL", "verbose")], &[], "LOG_LEVEL: \"verbose\" (environment)"),
        (&[("BROKER_ADDR", "x"), ("MQTT_TOPICS", "casa/#:3")], &[], "quality of service 3"),
        (&[("BROKER_ADDR", "x"), ("MQTT_TOPICS", "casa/*")], &[], "* is no wildcard"),
        (&[("BROKER_ADDR", "x"), ("MQTT_TOPICS", "!x")], &[], "! leaves nothing out"),
        (&[("BROKER_ADDR", "x"), ("API_URL", "api:8080")], &[], "did you mean http://api:8080?"),
        (&[("BROKER_ADDR", "x"), ("API_URL", "http://api:8080/dados")], &[], "without the route /dados"),
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
        (&[("LOG_LEVEL", "verbose")], &[], "LOG_LEVEL: \"verbose\" (environment)"),
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
fn a_bad_env_file_is_told_by_its_line_and_never_by_its_values() -> Result {
    for (text, words) in [
        (&b"HIVE_USER=u\nHIVE_PSWD=\"hunter2\n"[..], ".env: line 2: a quote is not closed"),
        (b"\nHIVE_PSWD: hunter2\n", ".env: line 2: it has no ="),
        (b"HIVE_PSWD='hunter2'x\n", ".env: line 1: something follows the closing quote"),
        (b"hive_pswd=hunter2\n", "hive_pswd: unknown setting; did you mean HIVE_PSWD? (.env line 1)"),
        (b"HIVE_PSWD= #hunter2\n", "HIVE_PSWD: some programs take what follows"),
        (b"\xff\xfeH\0I\0V\0E\0", "UTF-16"),
        (b"HIVE_USER=u\nHIVE_PSWD=hunter2\xe7\n", ".env: line 2 has a letter that is not UTF-8"),
        (b"BROKER_ADDR=mqtt://u:hunter2@host\n", "BROKER_ADDR: \"mqtt://(hidden)@host\" (.env line 1)"),
        (b"API_URL=http://u:hunter2@host\n", "API_URL: \"http://(hidden)@host\" (.env line 1)"),
        (b"#\nLOG_LEVEL=verbose\n", "LOG_LEVEL: \"verbose\" (.env line 2)"),
        (b"API_TOKENS=hunter2\n", "API_TOKENS"),
    ] {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join(".env"), text)?;
        let program = if words == "API_TOKENS" { &binaries()?.api } else { &binaries()?.subscriber };
        let (code, output) = run(program, dir.path(), &[], &[])?;
        assert_eq!(code, 64, "{words}: {output}");
        assert!(output.contains(words), "{words}: {output}");
        assert!(!output.contains("hunter2"), "{words}: {output}");
    }
    Ok(())
}

#[test]
fn the_env_file_says_what_python_dotenv_reads_in_it() -> Result {
    let dir = tempfile::tempdir()?;
    let text = "\u{feff}MQTT_TOPICS=#:2\nHIVE_USER=first\nHIVE_USER=it's a $user\nHIVE_PSWD=#hunter2\nSPOOL_DIR=${HIVE_USER}/spool\n";
    std::fs::write(dir.path().join(".env"), text)?;
    let broker = ("BROKER_ADDR".to_owned(), format!("mqtt://{}", harness::free_addr()?));
    let (_, output) = run(&binaries()?.subscriber, dir.path(), &["check"], &[broker])?;
    for (name, value, origin) in [
        ("MQTT_TOPICS", "#:2", ".env"),
        ("HIVE_USER", "it's a $user", ".env"),
        ("HIVE_PSWD", "(hidden)", ".env"),
        ("SPOOL_DIR", "it's a $user/spool", ".env"),
        ("BROKER_ADDR", "mqtt://", "environment"),
        ("API_URL", "http://127.0.0.1:8080", "default"),
    ] {
        let line = output.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_default();
        assert!(line.contains(&format!(" {value}")) && line.ends_with(origin), "{name}: {line}\n{output}");
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

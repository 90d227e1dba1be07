//! What is said when it cannot be done, and with which exit code the program ends.

use std::process::Stdio;
use std::time::Duration;

use metabase_setup::config::{Config, Database, Waits};
use metabase_setup::run;
use service::{Exit, Fatal};
use tokio::process::Command;

use crate::metabase::{FILE, Metabase, TOKEN};
use crate::{EMAIL, PASSWORD, config, provision};

async fn refused(metabase: &Metabase, change: impl FnOnce(&mut Config)) -> Fatal {
    let mut config = config(metabase);
    change(&mut config);
    let fatal = run(&config).await.unwrap_err();
    let wrong = secrecy::ExposeSecret::expose_secret(&config.password);
    assert!(!fatal.message.contains(wrong), "{}", fatal.message);
    fatal
}

fn assert_says(fatal: &Fatal, exit: Exit, parts: &[&str]) {
    assert_eq!(fatal.exit, exit, "{}", fatal.message);
    for part in parts {
        assert!(fatal.message.contains(part), "{part}: {}", fatal.message);
    }
}

#[tokio::test]
async fn a_wrong_password_names_the_settings() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let fatal = refused(&metabase, |config| config.password = "another-2".into()).await;
    assert_says(&fatal, Exit::Usage, &["METABASE_EMAIL, METABASE_PASSWORD:", EMAIL, "did not match"]);
    let tries = metabase.world().log.iter().filter(|entry| entry.status == 401).count();
    assert_eq!(tries, 1, "Metabase locks out who tries too often");
}

#[tokio::test]
async fn a_weak_password_is_not_repeated() {
    let metabase = Metabase::start().await;
    let fatal = refused(&metabase, |config| config.password = "weak".into()).await;
    assert_says(&fatal, Exit::Usage, &["METABASE_PASSWORD:", "too common"]);
}

#[tokio::test]
async fn a_wrong_or_missing_token_names_the_setting() {
    for status in [400, 403] {
        let metabase = Metabase::start().await;
        metabase.world().token_status = status;
        let fatal = refused(&metabase, |config| config.setup_token = Some("other".into())).await;
        assert_says(&fatal, Exit::Usage, &["MB_SETUP_TOKEN:", "does not match"]);
    }
    let metabase = Metabase::start().await;
    let fatal = refused(&metabase, |config| config.setup_token = None).await;
    assert_says(&fatal, Exit::Usage, &["MB_SETUP_TOKEN:", "expected"]);
    // Once there is an administrator, nobody asks for it.
    provision(&metabase).await;
    run(&Config { setup_token: None, ..config(&metabase) }).await.unwrap();
}

#[tokio::test]
async fn a_metabase_that_never_gets_well_is_waited_for_and_told() {
    let metabase = Metabase::start().await;
    metabase.world().starting = u32::MAX;
    let waits = |config: &mut Config| config.waits.health_max = Duration::from_millis(20);
    let fatal = refused(&metabase, waits).await;
    assert_says(&fatal, Exit::Unavailable, &["METABASE_URL:", "503", "20ms"]);
    let gone = Config { url: "http://127.0.0.1:1/".parse().unwrap(), ..config(&metabase) };
    let gone = Config { waits: Waits { health_max: Duration::ZERO, ..gone.waits }, ..gone };
    assert_says(&run(&gone).await.unwrap_err(), Exit::Unavailable, &["METABASE_URL:", "127.0.0.1:1"]);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_metabases_word() {
    let metabase = Metabase::start().await;
    let other = |config: &mut Config| config.database = Database::Sqlite { path: "/data/other.db".to_owned() };
    let fatal = refused(&metabase, other).await;
    assert_says(&fatal, Exit::Unavailable, &["POST api/database", "400", "No such file"]);
    metabase.world().files = vec!["/data/other.db", FILE];
    run(&config(&metabase)).await.unwrap();
}

#[tokio::test]
async fn tables_that_never_come_are_named() {
    let metabase = Metabase::start().await;
    metabase.world().tables.retain(|table| table.name != "leituras_hora");
    let fatal = refused(&metabase, |config| config.waits.tables_max = Duration::from_millis(20)).await;
    assert_says(&fatal, Exit::Unavailable, &["METABASE_DATABASE_PATH:", "leituras_hora"]);
    assert!(metabase.world().cards.is_empty());
}

/// The program itself, with settings in its environment alone.
async fn program(settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_metabase-setup"));
    command.current_dir(dir.path()).env_clear().envs(settings.iter().copied());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn the_program_ends_with_a_code_and_a_line() {
    let metabase = Metabase::start().await;
    let url = format!("http://{}", metabase.addr);
    let good = [("METABASE_URL", url.as_str()), ("METABASE_PASSWORD", PASSWORD), ("MB_SETUP_TOKEN", TOKEN)];
    let (code, text) = program(&good).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("http://127.0.0.1:3000/dashboard/"), "{text}");
    assert!(!text.contains(PASSWORD) && !text.contains(TOKEN), "{text}");
    for (setting, expected) in [
        (("METABASE_PASSWORD", ""), "METABASE_PASSWORD: missing"),
        (("METABASE_EMAIL", "nobody"), "METABASE_EMAIL: \"nobody\""),
        (("METABASE_LOCALE", "fr"), "METABASE_LOCALE: \"fr\" (flag --metabase-locale): expected one of: pt_BR, en"),
        (("METABASE_DATABASE_PATH", "dados.db"), "METABASE_DATABASE_PATH: \"dados.db\""),
    ] {
        let (code, text) = program(&[&good[..], &[setting]].concat()).await;
        assert_eq!(code, Some(64), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

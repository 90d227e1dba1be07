//! What is said when it cannot be done, and with which exit code the program ends.

use std::process::Stdio;
use std::time::Duration;

use metabase_setup::config::{Config, Database, Waits};
use metabase_setup::run;
use service::{Exit, Fatal};
use tokio::process::Command;

use crate::metabase::{FILE, Metabase, TOKEN, Version};
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
async fn the_token_that_metabase_shows_wins_over_the_variable() {
    for version in Version::ALL {
        let metabase = Metabase::start_as(version).await;
        run(&Config { setup_token: Some("another".into()), ..config(&metabase) }).await.unwrap();
        assert!(metabase.world().administrator.is_some(), "{version:?}");
    }
}

#[tokio::test]
async fn the_variable_sets_up_a_metabase_that_shows_no_token() {
    let metabase = Metabase::start_as(Version::V0_58).await;
    metabase.world().token_shown = false;
    run(&Config { setup_token: Some(TOKEN.into()), ..config(&metabase) }).await.unwrap();
    // Once there is an administrator, nobody needs it.
    run(&config(&metabase)).await.unwrap();
}

#[tokio::test]
async fn a_wrong_or_missing_variable_is_named_where_metabase_shows_no_token() {
    for status in [400, 403] {
        let metabase = Metabase::start().await;
        (metabase.world().token_shown, metabase.world().token_status) = (false, status);
        let fatal = refused(&metabase, |config| config.setup_token = Some(TOKEN.into())).await;
        assert_says(&fatal, Exit::Usage, &["MB_SETUP_TOKEN:", "does not match"]);
    }
    let metabase = Metabase::start().await;
    metabase.world().token_shown = false;
    let fatal = refused(&metabase, |_| {}).await;
    assert_says(&fatal, Exit::Usage, &["MB_SETUP_TOKEN:", "expected"]);
}

#[tokio::test]
async fn a_token_that_has_changed_since_it_was_shown_is_asked_for_again() {
    let metabase = Metabase::start().await;
    // The first is shown while Metabase is waited for, the second to set it up.
    metabase.world().new_tokens = 2;
    provision(&metabase).await;
    let metabase = Metabase::start().await;
    metabase.world().new_tokens = u32::MAX;
    assert_says(&refused(&metabase, |_| {}).await, Exit::Unavailable, &["POST api/setup", "does not match"]);
}

#[tokio::test]
async fn a_metabase_that_never_gets_well_is_waited_for_and_told() {
    let metabase = Metabase::start().await;
    metabase.world().starting = u32::MAX;
    let waits = |config: &mut Config| config.waits.health_max = Duration::from_millis(20);
    let fatal = refused(&metabase, waits).await;
    assert_says(&fatal, Exit::Unavailable, &["METABASE_URL:", "503", "20ms"]);
    let metabase = Metabase::start().await;
    {
        let mut world = metabase.world();
        (world.starting, world.initializing) = (0, u32::MAX);
    }
    let fatal = refused(&metabase, waits).await;
    assert_says(&fatal, Exit::Unavailable, &["METABASE_URL:", "session/properties", "initializing", "20ms"]);
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
    let good = [("METABASE_URL", url.as_str()), ("METABASE_PASSWORD", PASSWORD)];
    let token = metabase.world().token.clone();
    let (code, text) = program(&good).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("http://127.0.0.1:3000/dashboard/"), "{text}");
    assert!(!text.contains(PASSWORD) && !text.contains(&token), "{text}");
    for (setting, expected) in [
        (("METABASE_PASSWORD", ""), "METABASE_PASSWORD: missing"),
        (("METABASE_EMAIL", "nobody"), "METABASE_EMAIL: \"nobody\""),
        (("METABASE_LOCALE", "fr"), "METABASE_LOCALE: \"fr\" (environment): expected one of: pt_BR, en"),
        (("METABASE_DATABASE_PATH", "dados.db"), "METABASE_DATABASE_PATH: \"dados.db\""),
    ] {
        let (code, text) = program(&[&good[..], &[setting]].concat()).await;
        assert_eq!(code, Some(64), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

//! Which settings are taken, and what is said of the others.

use super::*;

fn parse(args: &[&str]) -> Result<Settings, clap::Error> {
    Cli::try_parse_from(["metabase-setup"].iter().chain(args)).map(|cli| cli.settings)
}

fn resolve(args: &[&str]) -> Result<Config, Fatal> {
    parse(args).unwrap().resolve()
}

#[test]
fn every_setting_is_known_to_the_env_file_check() {
    assert_eq!(service::settings::unlisted::<Cli>(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_is_refused() {
    for args in [
        ["--metabase-email", "admin"],
        ["--metabase-email", "admin@local"],
        ["--metabase-email", "a b@ponte.local"],
        ["--metabase-locale", "pt"],
        ["--metabase-database-path", "dados.db"],
        ["--metabase-database-path", "file:/data/dados.db"],
        ["--metabase-database-path", "/data/dados.db?mode=ro"],
        ["--metabase-database-name", " "],
        ["--publish-metabase", "3000"],
    ] {
        assert!(parse(&args).is_err(), "{args:?} was taken");
    }
}

#[test]
fn what_does_not_fit_together_names_the_variable() {
    for (args, variable) in [
        (&[][..], "METABASE_PASSWORD:"),
        (&["--metabase-url", "ftp://x", "--metabase-password", "p"], "METABASE_URL:"),
        (&["--metabase-password-file", "/nowhere/at/all"], "METABASE_PASSWORD_FILE:"),
        (&["--metabase-password", DOCUMENTED_PASSWORD, "--publish-metabase", "0.0.0.0:3000"], "METABASE_PASSWORD:"),
    ] {
        let fatal = resolve(args).expect_err(variable);
        assert_eq!(fatal.exit, service::Exit::Usage);
        assert!(fatal.message.starts_with(variable), "{args:?}: {}", fatal.message);
        assert!(fatal.message.contains("expected") || fatal.message.contains("No such file"), "{}", fatal.message);
    }
    assert!(resolve(&["--metabase-password", DOCUMENTED_PASSWORD]).is_ok());
    assert!(resolve(&["--metabase-password", "mine-9", "--publish-metabase", "0.0.0.0:3000"]).is_ok());
}

#[test]
fn a_file_with_the_password_wins_and_may_end_in_a_line_break() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "from a file 1\r\n").unwrap();
    let args = ["--metabase-password", "other", "--metabase-password-file", file.to_str().unwrap()];
    assert_eq!(resolve(&args).unwrap().password.expose_secret(), "from a file 1");
    for bad in ["", "\n", "two\nlines"] {
        std::fs::write(&file, bad).unwrap();
        assert!(resolve(&args).is_err(), "{bad:?} was taken");
    }
}

#[test]
fn secrets_are_not_shown() {
    let config = resolve(&["--metabase-password", "hunter-2", "--mb-setup-token", "t0ken"]).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter-2") && !shown.contains("t0ken"), "{shown}");
}

#[test]
fn waits_double_up_to_their_limit() {
    let seconds = |failures| Waits::default().delay(failures).as_secs_f64();
    assert_eq!([0, 1, 2, 3, 4, 5, 99].map(seconds), [0.5, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]);
}

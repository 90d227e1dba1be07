//! The program: `token new`, `token list`, and subcommands that ask an API with tokens and TLS.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use service::Exit;
use tempfile::TempDir;

use crate::access::{READ, WRITE, certificate, entry};
use crate::program::{PROGRAM, Running, command};

fn run(dir: &TempDir, env: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(PROGRAM, dir);
    let Output { status, stdout, stderr } = command.envs(env.iter().copied()).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_token_is_printed_once_and_kept_as_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    let new = ["token", "new", "--name", "esp32", "--scope", "write"];
    let (code, output, _) = run(&dir, &[], &[&new[..], &["--expires", "90d"]].concat());
    assert_eq!(code, Some(0));
    let (token, line) = output.split_once('\n').unwrap();
    let token = token.strip_prefix("token  ").unwrap();
    let line = line.trim().strip_prefix("entry  ").unwrap();
    assert!(token.starts_with("ponte_") && token.len() == 49, "{token}");
    let (without_expiry, expiry) = line.rsplit_once(':').unwrap();
    assert_eq!(without_expiry, entry("esp32", "write", token));
    assert_eq!(expiry.len(), "2027-01-31".len());

    let file = [&new[..], &["--file", "tokens"]].concat();
    let (code, output, _) = run(&dir, &[], &file);
    assert_eq!(code, Some(0));
    let path = dir.path().join("tokens");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{}\n", entry("esp32", "write", output.trim())));
    assert!(!text.contains(output.trim()));
    let (code, _, error) = run(&dir, &[], &file);
    assert_eq!(code, Some(Exit::Usage as i32), "the name is taken: {error}");
    let second =
        ["token", "new", "--name", "grafana", "--scope", "read", "--expires", "2099-12-31", "--file", "tokens"];
    assert_eq!(run(&dir, &[], &second).0, Some(0));
    let (code, output, _) = run(&dir, &[("API_TOKENS_FILE", "tokens")], &["token", "list"]);
    assert_eq!((code, output.as_str()), (Some(0), "esp32: write, does not expire\ngrafana: read, until 2099-12-31\n"));
}

#[test]
fn what_cannot_be_is_named_and_no_secret_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    for (args, named) in [
        (&["token", "new", "--name", "a b", "--scope", "read"][..], "--name"),
        (&["token", "new", "--name", "a", "--scope", "admin"], "--scope"),
        (&["token", "new", "--name", "a", "--scope", "read", "--expires", "1h"], "--expires"),
        (&["token", "new", "--name", "a"], "--scope"),
    ] {
        let (code, output, error) = run(&dir, &[], args);
        assert_eq!((code, output.as_str()), (Some(Exit::Usage as i32), ""), "{args:?}");
        assert!(error.contains(named), "{error}");
    }
    let sound = entry("esp32", "write", WRITE);
    let doubled = format!("{sound},{sound}");
    for (variable, value, named) in [
        ("API_TOKENS", "ponte_my-secret", "entry 1"),
        ("API_TOKENS", "esp32:write:ponte_my-secret", "entry esp32"),
        ("API_TOKENS", doubled.as_str(), "entry esp32"),
        ("API_TOKENS_FILE", "missing", "missing"),
        ("API_RATE_PER_TOKEN", "fast", "100/s"),
        ("API_RATE_PER_ADDRESS", "0/s", "100/s"),
        ("API_TRUSTED_PROXIES", "10.0.0.0/99", "172.16.0.0/12"),
        ("API_CORS_ORIGINS", "painel.example", "https://painel.example"),
        ("API_CORS_ORIGINS", "*", "API_TOKENS"),
        ("API_TLS_CERT_FILE", "cert.pem", "API_TLS_KEY_FILE"),
    ] {
        let (code, _, error) = run(&dir, &[(variable, value)], &["--api-addr", "127.0.0.1:0"]);
        assert_eq!(code, Some(Exit::Usage as i32), "{variable}={value}: {error}");
        assert!(error.contains(named) && (error.contains(variable) || named.starts_with("API_")), "{error}");
        assert!(!error.contains("my-secret") && !error.contains(&sound[12..]), "{error}");
    }
}

#[tokio::test]
async fn subcommands_ask_an_api_with_tokens_and_tls() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    let tokens = format!("{},{}:2020-01-31", entry("esp32", "write", WRITE), entry("old", "read", READ));
    let mut env = vec![
        ("API_TOKENS", tokens.as_str()),
        ("API_TLS_CERT_FILE", "cert.pem"),
        ("API_TLS_KEY_FILE", "key.pem"),
        ("API_ADDR", "0.0.0.0:0"),
    ];
    let (code, output, error) = run(&dir, &env, &["check"]);
    assert_eq!(code, Some(0), "{output}{error}");
    for line in ["esp32: write, does not expire", "old: read, EXPIRED after 2020-01-31", "(hidden)", "TLS"] {
        assert!(output.contains(line), "{output}");
    }
    assert!(!output.contains(&tokens[12..40]), "{output}");

    let mut program = command(PROGRAM, &dir);
    program.envs(env.iter().copied());
    let api = Running::start(program).await.unwrap();
    let addr = api.addr.clone();
    env[3] = ("API_ADDR", &addr);
    let (code, _, error) = run(&dir, &env, &["health"]);
    assert_eq!(code, Some(0), "{error}");
    let (code, _, error) = run(&dir, &env, &["reproject"]);
    assert!(code == Some(Exit::Usage as i32) && error.contains("API_TOKEN: "), "{error}");
    env.push(("API_TOKEN", WRITE));
    let (code, output, error) = run(&dir, &env, &["reproject"]);
    assert_eq!(code, Some(0), "{output}{error}");
    // The token goes to nobody else.
    std::fs::create_dir(dir.path().join("other")).unwrap();
    certificate(&dir.path().join("other"));
    env[1] = ("API_TLS_CERT_FILE", "other/cert.pem");
    let (code, _, error) = run(&dir, &env, &["reproject"]);
    assert_eq!(code, Some(Exit::Unavailable as i32), "{error}");
    assert_eq!(run(&dir, &env, &["health"]).0, Some(0), "whoever listens is alive");
}

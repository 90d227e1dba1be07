//! The `.env` file: read as python-dotenv reads it, since the seed's own must work unchanged.
//!
//! - [`parse`]: its grammar

pub mod parse;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;

use crate::{Fatal, file};
use parse::Bindings;

/// The file in the folder where the program was started; variables that the environment has already win over it.
pub const ENV_FILE: &str = ".env";

/// Every setting of every program, since all read one `.env`. Tests compare it with their flags.
pub const KNOWN: &[&str] = &[
    "API_ADDR",
    "API_ALLOW_ANONYMOUS",
    "API_BODY_BYTES_MAX",
    "API_CA_FILE",
    "API_CONNECTIONS_MAX",
    "API_CONNECTIONS_PER_ADDRESS",
    "API_CORS_ORIGINS",
    "API_LIVE_HEARTBEAT",
    "API_LIVE_READERS_MAX",
    "API_RATE_PER_ADDRESS",
    "API_RATE_PER_TOKEN",
    "API_TLS_CERT_FILE",
    "API_TLS_KEY_FILE",
    "API_TOKEN",
    "API_TOKENS",
    "API_TOKENS_FILE",
    "API_TRUSTED_PROXIES",
    "API_URL",
    "BROKER_ADDR",
    "BROKER_QUEUE",
    "DATABASE_READERS",
    "DATABASE_URL",
    "HIVE_PSWD",
    "HIVE_USER",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MB_SETUP_TOKEN",
    "METABASE_DATABASE_NAME",
    "METABASE_DATABASE_PATH",
    "METABASE_EMAIL",
    "METABASE_LINK",
    "METABASE_LOCALE",
    "METABASE_PASSWORD",
    "METABASE_PASSWORD_FILE",
    "METABASE_SITE_NAME",
    "METABASE_URL",
    "MQTT_CA_FILE",
    "MQTT_CERT_FILE",
    "MQTT_CLIENT_ID",
    "MQTT_KEEP_ALIVE",
    "MQTT_KEY_FILE",
    "MQTT_PACKET_BYTES_MAX",
    "MQTT_RETAINED",
    "MQTT_SESSION_EXPIRY",
    "MQTT_SHARED_GROUP",
    "MQTT_TOPICS",
    "PUBLISH_METABASE",
    "RETENTION_DADOS",
    "RETENTION_LEITURAS",
    "RETENTION_LEITURAS_HORA",
    "RETENTION_LEITURAS_MINUTO",
    "SPOOL_DIR",
    "SPOOL_DURABILITY",
    "SPOOL_MAX_BYTES",
    "STATUS_ADDR",
    "TIMESTAMP_FIELD",
];

/// What docker-compose.yml alone reads from the same file.
pub const COMPOSE_ONLY: &[&str] =
    &["INSIDE_API_URL", "PUBLISH_API", "PUBLISH_BROKER", "PUBLISH_STATUS", "SENSORS_INTERVAL"];

/// A name of `.env` with one of these beginnings is meant for us, so an unknown one is a typing error.
const PREFIXES: &[&str] = &[
    "API_",
    "BROKER_",
    "DATABASE_",
    "HIVE_",
    "INSIDE_",
    "LOG_",
    "METABASE_",
    "MQTT_",
    "PUBLISH_",
    "RETENTION_",
    "SENSORS_",
    "SPOOL_",
    "STATUS_",
    "TIMESTAMP_",
];
/// Up to so many letters apart, a known name is offered instead of an unknown one.
const HINT_DISTANCE_MAX: usize = 3;

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Sets the variables of the file that the environment lacks, and gives their names with the lines that they stand on.
/// A file that is not there is no error.
///
/// Call it before any thread is started: it changes the environment.
pub(crate) fn load(path: &Path) -> Result<BTreeMap<String, usize>, Fatal> {
    // By no thread of its own.
    let bytes = match file::read_regular(path, FILE_BYTES_MAX + 1) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Fatal::setting(ENV_FILE, error)),
    };
    let text = decode(&bytes)?;
    let bindings =
        parse::parse(text, |name| std::env::var(name).ok()).map_err(|error| Fatal::setting(ENV_FILE, error))?;
    check(&bindings)?;
    let wanted = bindings.values.iter().filter(|(name, _)| is_settable(name) && std::env::var_os(name).is_none());
    let mut set = BTreeMap::new();
    let mut quoted = String::new();
    for (name, value) in wanted {
        // dotenvy is here for its right to change the environment; of its grammar only these quotes are used.
        let _ = writeln!(quoted, "{name}='{}'", value.text.replace('\'', r"'\''"));
        set.insert(name.clone(), value.line);
    }
    // Its error would repeat the value.
    dotenvy::from_read(quoted.as_bytes()).map_err(|_| Fatal::setting(ENV_FILE, "its values cannot be set"))?;
    Ok(set)
}

/// The text of a file in UTF-8, without the mark that some editors put before it.
fn decode(bytes: &[u8]) -> Result<&str, Fatal> {
    let refused = |problem: &str| {
        Fatal::setting(
            ENV_FILE,
            format_args!("{problem}; save the file as UTF-8 (in PowerShell: Set-Content -Encoding utf8)"),
        )
    };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Fatal::setting(ENV_FILE, format_args!("expected at most {FILE_BYTES_MAX} bytes")));
    }
    if bytes.starts_with(&[0xff, 0xfe])
        || bytes.starts_with(&[0xfe, 0xff])
        || bytes.get(..64.min(bytes.len())).is_some_and(|head| head.contains(&0))
    {
        return Err(refused("the file is in UTF-16"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        refused(&format!("line {line} has a letter that is not UTF-8, but perhaps Latin-1"))
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Refuses what looks like a setting of ours and would set none.
fn check(bindings: &Bindings) -> Result<(), Fatal> {
    for (name, value) in &bindings.values {
        let line = value.line;
        if let Some(problem) = unknown(name) {
            return Err(Fatal::setting(name, format_args!("{problem} ({ENV_FILE} line {line})")));
        }
        if value.is_doubtful && is_known(name) {
            let problem = "some programs take what follows \"= #\" as the value, and some as a comment: put the value in \
                           quotes, or the comment on a line of its own";
            return Err(Fatal::setting(name, format_args!("{problem} ({ENV_FILE} line {line})")));
        }
    }
    // The line may be a password alone, so nothing of it is repeated.
    let is_ours = |name: &str| {
        let name = name.to_uppercase();
        is_known(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    match bindings.bare.iter().find(|(name, _)| is_ours(name)) {
        Some((_, line)) => Err(Fatal::setting(ENV_FILE, format_args!("line {line}: it has no =; expected NAME=value"))),
        None => Ok(()),
    }
}

fn is_known(name: &str) -> bool {
    KNOWN.contains(&name) || COMPOSE_ONLY.contains(&name)
}

/// A shell takes no other names, and nothing that reads the environment has them.
fn is_settable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// What to say of a name that looks like ours and is none of ours: in small letters, too.
fn unknown(name: &str) -> Option<String> {
    if is_known(name) {
        return None;
    }
    let capitals = name.to_uppercase();
    let known = || KNOWN.iter().chain(COMPOSE_ONLY);
    // `$env:HIVE_USER`, as PowerShell has it.
    let within = known().find(|known| !is_settable(name) && capitals.contains(**known));
    if within.is_none() && !is_known(&capitals) && !PREFIXES.iter().any(|prefix| capitals.starts_with(prefix)) {
        return None;
    }
    let near = known().map(|known| (distance(&capitals, known), known)).min()?;
    Some(match (within, near) {
        (Some(known), _) | (None, (0..=HINT_DISTANCE_MAX, known)) => format!("unknown setting; did you mean {known}?"),
        _ => "unknown setting; .env.example lists them all".to_owned(),
    })
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_encodings_are_named_and_a_mark_is_left_out() {
        assert_eq!(decode(b"\xef\xbb\xbfA=b").unwrap(), "A=b");
        let latin = decode(b"A=1\nHIVE_PSWD=senha-\xe7\n").unwrap_err().message;
        assert!(latin.contains("line 2") && latin.contains("UTF-8") && !latin.contains("senha"), "{latin}");
        for utf16 in [&b"\xff\xfeA\0=\0b\0"[..], b"\xfe\xff\0A\0=\0b", b"A\0=\0b\0"] {
            assert!(decode(utf16).unwrap_err().message.contains("UTF-16"));
        }
        assert!(decode(&vec![b'#'; FILE_BYTES_MAX as usize + 1]).is_err());
    }

    #[test]
    fn a_line_that_would_set_nothing_is_refused_without_repeating_it() {
        let refused = |text: &str| check(&parse::parse(text, |_| None).unwrap()).unwrap_err().message;
        for text in ["HIVE_PSWD", "hive_pswd", "HIVE_PSWD:secret", "export API_TOKEN"] {
            assert_eq!(refused(text), ".env: line 1: it has no =; expected NAME=value", "{text}");
        }
        let doubtful = refused("\nHIVE_PSWD= #secret");
        assert!(doubtful.starts_with("HIVE_PSWD: ") && doubtful.contains("line 2"), "{doubtful}");
        assert!(!doubtful.contains("secret"), "{doubtful}");
        assert!(check(&parse::parse("secret\nOTHER= # c\nMQTT_TOPICS=#:2", |_| None).unwrap()).is_ok());
    }

    #[test]
    fn a_mistyped_key_gets_a_hint() {
        assert_eq!(unknown("MQTT_TOPIC").unwrap(), "unknown setting; did you mean MQTT_TOPICS?");
        assert!(unknown("MQTT_WHATEVER_ELSE").unwrap().contains(".env.example"));
        for (name, meant) in [
            ("hive_pswd", "HIVE_PSWD"),
            ("Mqtt_Topics", "MQTT_TOPICS"),
            ("broker_adr", "BROKER_ADDR"),
            ("publish_api", "PUBLISH_API"),
            ("PUBLISH_BROKR", "PUBLISH_BROKER"),
            ("mb_setup_token", "MB_SETUP_TOKEN"),
            ("$env:HIVE_USER", "HIVE_USER"),
        ] {
            assert_eq!(unknown(name), Some(format!("unknown setting; did you mean {meant}?")));
        }
        for other in ["MB_SETUP_TOKEN", "HIVE_USER", "SENSORS_INTERVAL", "PATH", "home", "MY_API_URL", "x-y"] {
            assert_eq!(unknown(other), None, "{other}");
        }
    }
}

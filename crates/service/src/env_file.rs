//! The `.env` file: read as python-dotenv reads it, since the seed's own must work unchanged.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;

use crate::Fatal;

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

/// A key of `.env` with one of these beginnings is meant for us, so an unknown one is a typing error.
const PREFIXES: &[&str] = &[
    "API_",
    "BROKER_",
    "DATABASE_",
    "HIVE_",
    "LOG_",
    "METABASE_",
    "MQTT_",
    "RETENTION_",
    "SPOOL_",
    "STATUS_",
    "TIMESTAMP_",
];
/// Up to so many letters apart, a known name is offered instead of an unknown one.
const HINT_DISTANCE_MAX: usize = 3;

/// Sets the variables of the file that the environment lacks, and gives their names. A file that is not there is no
/// error.
///
/// Call it before any thread is started: it changes the environment.
pub(crate) fn load(path: &Path) -> Result<BTreeSet<String>, Fatal> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(Fatal::setting(ENV_FILE, error)),
    };
    let text = text.lines().map(faithful).fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    });
    let mut set = BTreeSet::new();
    for pair in dotenvy::from_read_iter(text.as_bytes()) {
        let (key, _) = pair.map_err(malformed)?;
        if let Some(problem) = unknown(&key) {
            return Err(Fatal::setting(&key, format_args!("{problem} (in {ENV_FILE})")));
        }
        if std::env::var_os(&key).is_none() {
            set.insert(key);
        }
    }
    dotenvy::from_read(text.as_bytes()).map_err(malformed)?;
    Ok(set)
}

/// The value is not repeated: it may be a password.
fn malformed(error: dotenvy::Error) -> Fatal {
    let place = match error {
        dotenvy::Error::LineParse(line, _) => {
            format!("the line of {}", line.split('=').next().unwrap_or_default().trim())
        }
        _ => "a line".to_owned(),
    };
    Fatal::setting(ENV_FILE, format_args!("{place} cannot be read; expected NAME=value or NAME=\"value\""))
}

/// The line so that dotenvy takes it as python-dotenv does: only `${NAME}` is replaced. dotenvy alone replaces `$name`
/// too, and stumbles over spaces and backslashes, all of which passwords have.
fn faithful(line: &str) -> Cow<'_, str> {
    let Some((key, value)) = line.split_once('=') else { return line.into() };
    let value = value.trim();
    if key.trim_start().starts_with('#') || value.starts_with('\'') {
        return line.into();
    }
    if value.starts_with('"') {
        return format!("{key}={}", escape(value, &[])).into();
    }
    let value = value.split_once(" #").map_or(value, |(value, _comment)| value.trim_end());
    if value.contains(['$', '\\', '"', '\'', ' ']) {
        return format!("{key}=\"{}\"", escape(value, &['\\', '"'])).into();
    }
    format!("{key}={value}").into()
}

/// Puts a backslash before each `$` that does not begin `${`, and before `others`.
fn escape(value: &str, others: &[char]) -> String {
    let mut escaped = String::with_capacity(value.len() + 8);
    let mut before = ' ';
    let mut rest = value.chars().peekable();
    while let Some(letter) = rest.next() {
        let bare_dollar = letter == '$' && rest.peek() != Some(&'{') && (before != '\\' || !others.is_empty());
        if bare_dollar || others.contains(&letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
        before = letter;
    }
    escaped
}

/// What to say of a key that looks like ours and is none of ours.
fn unknown(key: &str) -> Option<String> {
    if KNOWN.contains(&key) || !PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
        return None;
    }
    let near = KNOWN.iter().map(|known| (distance(key, known), known)).min()?;
    Some(match near {
        (0..=HINT_DISTANCE_MAX, known) => format!("unknown setting; did you mean {known}?"),
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

    fn read(line: &str) -> String {
        let line = faithful(line).into_owned();
        let mut pairs = dotenvy::from_read_iter(line.as_bytes());
        pairs.next().expect("one pair").unwrap_or_else(|error| panic!("{line}: {error}")).1
    }

    #[test]
    fn passwords_are_read_as_the_seeds_script_reads_them() {
        for (line, value) in [
            ("HIVE_PSWD=simple", "simple"),
            ("HIVE_PSWD=pa$word1", "pa$word1"),
            ("HIVE_PSWD = spaced ", "spaced"),
            (r"HIVE_PSWD=back\slash$", r"back\slash$"),
            ("HIVE_PSWD=two words", "two words"),
            ("HIVE_PSWD=quo\"te", "quo\"te"),
            ("HIVE_PSWD=it's$x", "it's$x"),
            ("HIVE_PSWD=a#b", "a#b"),
            ("HIVE_PSWD=a$b # my note", "a$b"),
            ("HIVE_PSWD=\"pa$word\"", "pa$word"),
            (r#"HIVE_PSWD="a\$b \"c\"""#, "a$b \"c\""),
            ("HIVE_PSWD='pa$word'", "pa$word"),
            ("export HIVE_PSWD=a$b", "a$b"),
            ("HIVE_PSWD=", ""),
        ] {
            assert_eq!(read(line), value, "{line}");
        }
    }

    #[test]
    fn a_mistyped_key_gets_a_hint() {
        assert_eq!(unknown("MQTT_TOPIC").unwrap(), "unknown setting; did you mean MQTT_TOPICS?");
        assert!(unknown("MQTT_WHATEVER_ELSE").unwrap().contains(".env.example"));
        assert_eq!(unknown("MB_SETUP_TOKEN"), None);
        assert_eq!(unknown("HIVE_USER"), None);
    }
}

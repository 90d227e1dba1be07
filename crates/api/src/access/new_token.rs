//! The subcommand `token`: makes tokens and lists their names.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Subcommand;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use service::commands::print;
use service::{Exit, Fatal, settings};

use super::settings::AccessSettings;
use super::token_file;
use super::tokens::{self, Entry, TOKENS_MAX, Tokens};

/// How our tokens begin, by which scanners for leaked secrets know them.
const PREFIX: &str = "ponte_";
const DAY: Duration = Duration::from_secs(86_400);

/// What can be done with tokens.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum TokenAction {
    /// Make a token and print it, once: only its hash is kept
    New {
        /// What it is called in logs: who has it
        #[arg(long)]
        name: String,
        /// What it allows: read, write or read+write (a subscriber needs write)
        #[arg(long)]
        scope: String,
        /// How long it is taken: 90d, or the last day: 2027-01-31; without it, for ever
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// Add its entry to this file, which API_TOKENS_FILE names, instead of printing it
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Name, scope and last day of each token
    List,
}

/// Makes a token, or lists them.
pub fn token(action: &TokenAction, access: &AccessSettings) -> Result<(), Fatal> {
    match action {
        TokenAction::List => {
            for line in lines(&access.all_tokens()?, Timestamp::now()) {
                print(&format!("{line}\n"));
            }
            Ok(())
        }
        TokenAction::New { name, scope, expires, file } => {
            if !tokens::is_name(name) {
                return Err(Fatal::setting("--name", "expected 1 to 64 of the characters a-z A-Z 0-9 . _ -"));
            }
            let scope = scope.parse().map_err(|problem| Fatal::setting("--scope", problem))?;
            let expiry = expires.as_deref().map(|text| expiry(text, Timestamp::now())).transpose();
            let expiry = expiry.map_err(|problem| Fatal::setting("--expires", problem))?;
            let token = random()?;
            let entry = Entry { name: name.as_str().into(), scope, digest: tokens::digest(&token), expiry };
            if access.tokens()?.iter().any(|other| other.name == entry.name) {
                return Err(Fatal::setting("--name", "API_TOKENS has an entry of this name"));
            }
            make(&token, &entry, file.as_deref())
        }
    }
}

/// Standard output has the token, and standard error what to do with it: `TOKEN=$(ponte-api token new … --file …)`.
fn make(token: &str, entry: &Entry, file: Option<&Path>) -> Result<(), Fatal> {
    match file {
        Some(path) => {
            append(path, entry)?;
            print(&format!("{token}\n"));
            eprintln!("This is the token, shown this once. Its entry {} is in {}.", entry.name, path.display());
        }
        None => {
            print(&format!("token  {token}\nentry  {entry}\n"));
            eprintln!(
                "The token is shown this once: give it to who shall ask. The entry has only its hash: put it into"
            );
            eprintln!(
                "API_TOKENS and start the API anew, or on a line of API_TOKENS_FILE, which is read while it runs."
            );
        }
    }
    Ok(())
}

/// 256 bits: nobody guesses it, so a plain hash is all that must be kept.
fn random() -> Result<String, Fatal> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fatal::new(Exit::Software, format_args!("no random bytes: {error}")))?;
    Ok(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

/// Adds a line to the file, which is made readable by its owner alone. Other entries stay as they are.
fn append(path: &Path, entry: &Entry) -> Result<(), Fatal> {
    let bad = |problem: &dyn std::fmt::Display| {
        Fatal::new(Exit::CantCreate, format_args!("--file: {}: {problem}", path.display()))
    };
    // To open a FIFO for writing would wait for a reader.
    if path.exists() {
        token_file::read(path).map_err(|error| bad(&error))?;
    }
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).mode(0o600).open(path).map_err(|error| bad(&error))?;
    let text = token_file::read(path).map_err(|error| bad(&error))?;
    let known = token_file::parse(&text).map_err(|error| bad(&error))?;
    if known.iter().any(|other| other.name == entry.name) {
        return Err(Fatal::setting("--name", format_args!("{} has an entry of this name", path.display())));
    }
    if known.iter().count() == TOKENS_MAX {
        return Err(bad(&"it has as many entries as may be"));
    }
    let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    // One write, so that who reads at this moment sees all of the line or nothing.
    let line = format!("{start}{entry}\n");
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| bad(&error))
}

/// The last day: a date, or the day on which a length of time ends.
fn expiry(text: &str, now: Timestamp) -> Result<Date, String> {
    let expected = || "expected a length of time such as 90d, or the last day such as 2027-01-31".to_owned();
    let today = now.to_zoned(TimeZone::UTC).date();
    let last = match text.parse::<Date>() {
        Ok(last) => last,
        Err(_) => {
            let length = settings::duration(text).ok().filter(|length| *length >= DAY).ok_or_else(expected)?;
            let length = SignedDuration::try_from(length).map_err(|_| expected())?;
            now.checked_add(length).map_err(|_| expected())?.to_zoned(TimeZone::UTC).date()
        }
    };
    if last < today { Err(format!("{last} has passed")) } else { Ok(last) }
}

/// A line for each token, without what it is kept as.
pub(crate) fn lines(tokens: &Tokens, now: Timestamp) -> impl Iterator<Item = String> {
    tokens.iter().map(move |entry| {
        let Entry { name, scope, expiry, .. } = entry;
        match expiry {
            None => format!("{name}: {scope}, does not expire"),
            Some(last) if entry.is_expired(now) => format!("{name}: {scope}, EXPIRED after {last}"),
            Some(last) => format!("{name}: {scope}, until {last}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_ne!(one, other);
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + 43, "{one}");
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
    }

    #[test]
    fn the_last_day_is_a_date_or_comes_of_a_length() {
        let now = "2026-11-23T18:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2027-01-31", Some("2027-01-31")),
            ("2026-11-23", Some("2026-11-23")),
            ("90d", Some("2027-02-21")),
            ("24h", Some("2026-11-24")),
            ("2026-11-22", None),
            ("1h", None),
            ("soon", None),
            ("", None),
            ("9999999d", None),
        ] {
            assert_eq!(expiry(text, now).ok().map(|last| last.to_string()).as_deref(), expected, "{text}");
        }
    }
}

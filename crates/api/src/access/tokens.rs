//! Tokens: how an entry is written, and whether a token that came is one of them.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::scope::Scope;

/// Entries at most, in the setting and the file together: each request is compared with all of them.
pub(crate) const TOKENS_MAX: usize = 256;
/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// A longer token is nobody's; ours have 49 bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// One token, as it is kept: nobody can make the token of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    pub(crate) scope: Scope,
    pub(crate) digest: [u8; 32],
    /// The last day on which it is taken, in UTC.
    pub(crate) expiry: Option<Date>,
}

/// Why an entry cannot be taken. It never repeats the hash, nor what may be a token in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{which}: {problem}")]
pub(crate) struct BadEntry {
    /// `entry 2`, or `entry esp32` where it has a sound name.
    which: String,
    problem: &'static str,
}

/// What a token that came turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Valid { name: Arc<str>, scope: Scope },
    Expired { name: Arc<str> },
    No,
}

/// Every token that there is.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokens(Vec<Entry>);

impl Tokens {
    /// Reads entries, of which `place` counts from 1; names and tokens are unique.
    pub(crate) fn parse<'a>(entries: impl IntoIterator<Item = (usize, &'a str)>) -> Result<Self, BadEntry> {
        let mut tokens = Self::default();
        for (place, text) in entries {
            tokens.add(place, Entry::parse(place, text)?)?;
        }
        Ok(tokens)
    }

    /// All of both; the place of each counts on.
    pub(crate) fn and(mut self, more: Self) -> Result<Self, BadEntry> {
        for entry in more.0 {
            self.add(self.0.len() + 1, entry)?;
        }
        Ok(self)
    }

    fn add(&mut self, place: usize, entry: Entry) -> Result<(), BadEntry> {
        let bad = |problem| Err(BadEntry { which: format!("entry {}", entry.name), problem });
        if self.0.iter().any(|other| other.name == entry.name) {
            return bad("another entry has this name");
        }
        if self.0.iter().any(|other| other.digest == entry.digest) {
            return bad("another entry has this token");
        }
        if self.0.len() == TOKENS_MAX {
            return Err(BadEntry { which: format!("entry {place}"), problem: "there are at most 256 entries" });
        }
        self.0.push(entry);
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    /// What a token is, at this moment.
    ///
    /// All entries are compared, each in constant time. What is compared are digests, of which a client cannot choose
    /// the first bytes, so even a comparison that stops early would tell it nothing that helps: this way nobody needs
    /// to rely on that.
    pub(crate) fn look_up(&self, token: &str, now: Timestamp) -> Known {
        if token.len() > TOKEN_BYTES_MAX {
            return Known::No;
        }
        let digest = digest(token);
        let mut found = None;
        for entry in &self.0 {
            if bool::from(entry.digest.ct_eq(&digest)) {
                found = Some(entry);
            }
        }
        match found {
            None => Known::No,
            Some(entry) if entry.is_expired(now) => Known::Expired { name: entry.name.clone() },
            Some(entry) => Known::Valid { name: entry.name.clone(), scope: entry.scope },
        }
    }
}

/// What is kept of a token. It has 256 random bits, so a plain hash is enough: there is no dictionary of these.
pub(crate) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl Entry {
    /// `NAME:SCOPES:SHA256HEX[:EXPIRY]`, such as `esp32:write:0f3a…:2027-01-31`.
    fn parse(place: usize, text: &str) -> Result<Self, BadEntry> {
        let mut parts = text.trim().split(':');
        let name = parts.next().unwrap_or_default();
        if !is_name(name) {
            let problem =
                "expected NAME:SCOPE:SHA256[:YYYY-MM-DD]; a name has 1 to 64 of the characters a-z A-Z 0-9 . _ -";
            return Err(BadEntry { which: format!("entry {place}"), problem });
        }
        // What stands alone may be a token that was put here by mistake.
        let which = if text.contains(':') { format!("entry {name}") } else { format!("entry {place}") };
        let bad = |problem| BadEntry { which: which.clone(), problem };
        let (Some(scope), Some(hash)) = (parts.next(), parts.next()) else {
            return Err(bad("expected NAME:SCOPE:SHA256[:YYYY-MM-DD]; `ponte-api token new` makes one"));
        };
        let scope = scope.parse().map_err(bad)?;
        let digest = from_hex(hash)
            .ok_or_else(|| bad("the third part is the token's SHA-256 in 64 hex digits, never the token itself"))?;
        let expiry = parts.next().map(str::parse::<Date>).transpose();
        let expiry =
            expiry.map_err(|_| bad("the fourth part is the last day on which it is taken, such as 2027-01-31"))?;
        match parts.next() {
            None => Ok(Self { name: name.into(), scope, digest, expiry }),
            Some(_) => Err(bad("an entry has three or four parts")),
        }
    }

    /// Whether its last day, in UTC, has ended.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expiry.is_some_and(|expiry| now.to_zoned(TimeZone::UTC).date() > expiry)
    }
}

impl fmt::Display for Entry {
    /// As [`Tokens::parse`] takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.name, self.scope)?;
        for byte in self.digest {
            write!(f, "{byte:02x}")?;
        }
        self.expiry.map_or(Ok(()), |expiry| write!(f, ":{expiry}"))
    }
}

/// Whether a name can stand in an entry and in a log line.
pub(crate) fn is_name(text: &str) -> bool {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_sound)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc` (FIPS 180-2, appendix B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn tokens(text: &str) -> Result<Tokens, String> {
        Tokens::parse((1..).zip(text.split(','))).map_err(|bad| bad.to_string())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_is_what_its_hash_says_until_its_last_day_ends() {
        let tokens = tokens(&format!("esp32:write:{ABC}:2027-01-31")).unwrap();
        let valid = Known::Valid { name: "esp32".into(), scope: "write".parse().unwrap() };
        assert_eq!(tokens.look_up("abc", at("2027-01-31T23:59:59Z")), valid);
        assert_eq!(tokens.look_up("abc", at("2027-02-01T00:00:00Z")), Known::Expired { name: "esp32".into() });
        for other in ["", "ab", "abcd", "ABC", ABC, &"x".repeat(TOKEN_BYTES_MAX + 1)] {
            assert_eq!(tokens.look_up(other, at("2027-01-31T00:00:00Z")), Known::No, "{other}");
        }
        assert_eq!(Tokens::default().look_up("abc", at("2027-01-31T00:00:00Z")), Known::No);
    }

    #[test]
    fn an_entry_is_written_as_it_is_read() {
        for text in [format!("esp32:write:{ABC}"), format!("a.b_c-1:read+write:{ABC}:2027-01-31")] {
            let tokens = tokens(&text).unwrap();
            assert_eq!(tokens.iter().next().unwrap().to_string(), text);
        }
        assert!(tokens(&format!(" a:read:{},b:read:{} ", ABC.to_uppercase(), "0".repeat(64))).is_ok());
    }

    #[test]
    fn a_bad_entry_is_named_and_neither_hash_nor_token_repeated() {
        let other = "0".repeat(64);
        for (text, expected) in [
            (String::new(), "entry 1"),
            ("ponte_secret".to_owned(), "entry 1"),
            ("a:read:ponte_secret".to_owned(), "entry a"),
            (format!("a:read:{ABC},"), "entry 2"),
            (format!("a b:read:{ABC}"), "entry 1"),
            (format!("{}:read:{ABC}", "n".repeat(65)), "entry 1"),
            (format!("a:admin:{ABC}"), "entry a"),
            (format!("a:read:{}", &ABC[1..]), "entry a"),
            (format!("a:read:+{}", &ABC[1..]), "entry a"),
            (format!("a:read:{ABC}:soon"), "entry a"),
            (format!("a:read:{ABC}:2027-02-30"), "entry a"),
            (format!("a:read:{ABC}:2027-01-31:x"), "entry a"),
            (format!("a:read:{ABC},a:read:{other}"), "entry a: another entry has this name"),
            (format!("a:read:{ABC},b:read:{ABC}"), "entry b: another entry has this token"),
        ] {
            let message = tokens(&text).err().unwrap();
            assert!(message.starts_with(expected), "{text}: {message}");
            assert!(!message.contains(&ABC[1..]) && !message.contains("secret"), "{message}");
        }
        let many = |count: usize| (0..count).map(|n| format!("t{n}:read:{n:064x}")).collect::<Vec<_>>().join(",");
        assert!(tokens(&many(TOKENS_MAX)).is_ok());
        assert!(tokens(&many(TOKENS_MAX + 1)).is_err());
    }
}

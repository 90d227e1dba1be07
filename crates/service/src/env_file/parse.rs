//! The grammar of `.env`, which is that of python-dotenv 1.2: text becomes names with their values.
//!
//! python-dotenv skips a line that it cannot read, with a warning; here such a line is an error, since it may be a
//! setting. No error repeats anything of the line: it may be a password.

use std::collections::BTreeMap;

/// A value with the line that its name stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Quotes, escapes, comments and references are resolved.
    pub text: String,
    /// From 1.
    pub line: usize,
    /// `NAME= # …`: nothing, for python-dotenv since 1.2 and here; the value, for older versions and for Compose.
    pub is_doubtful: bool,
}

/// Why a line cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}; expected NAME=value or NAME=\"value\"")]
pub struct Malformed {
    /// From 1.
    pub line: usize,
    /// In words.
    pub what: &'static str,
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    /// By name; of several with one name the last.
    pub values: BTreeMap<String, Value>,
    /// Names without `=`, which set nothing, with their lines.
    pub bare: Vec<(String, usize)>,
}

/// Reads a whole file. `environment` answers `${NAME}`, and wins over what the file says of that name.
pub fn parse(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Bindings, Malformed> {
    let mut bindings = Bindings::default();
    let mut reader = Reader { rest: text, line: 1 };
    loop {
        reader.take_while(char::is_whitespace);
        if reader.rest.is_empty() {
            return Ok(bindings);
        }
        let line = reader.line;
        let Binding { name, value } = reader.binding().map_err(|what| Malformed { line, what })?;
        match (name, value) {
            (Some(name), Some((raw, is_doubtful))) => {
                let text = interpolate(&raw, |name| {
                    environment(name).or_else(|| bindings.values.get(name).map(|value| value.text.clone()))
                });
                if text.contains('\0') {
                    return Err(Malformed { line, what: "it has a null character" });
                }
                bindings.values.insert(name, Value { text, line, is_doubtful });
            }
            (Some(name), None) => bindings.bare.push((name, line)),
            (None, _) => {}
        }
    }
}

/// A name, if it is not a comment, and its value, if there is a `=`, which is doubtful before a comment.
struct Binding {
    name: Option<String>,
    value: Option<(String, bool)>,
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn binding(&mut self) -> Result<Binding, &'static str> {
        self.export();
        let name = self.name()?;
        self.blanks();
        let mut value = None;
        if self.rest.starts_with('=') {
            self.advance(1);
            let has_blank = !self.blanks().is_empty();
            // `NAME= # comment` has no value, and `NAME=#value` has one.
            let is_doubtful = has_blank && self.rest.starts_with('#');
            value = Some((if is_doubtful { String::new() } else { self.value()? }, is_doubtful));
        }
        self.blanks();
        if self.rest.starts_with('#') {
            self.rest_of_line();
        }
        match self.rest.chars().next() {
            None | Some('\r' | '\n') => Ok(Binding { name, value }),
            Some(_) if value.is_none() => Err("it has no ="),
            Some(_) => Err("something follows the closing quote"),
        }
    }

    fn export(&mut self) {
        if let Some(after) = self.rest.strip_prefix("export")
            && after.starts_with(is_blank)
        {
            self.advance("export".len());
            self.blanks();
        }
    }

    fn name(&mut self) -> Result<Option<String>, &'static str> {
        if self.rest.starts_with('#') {
            return Ok(None);
        }
        if self.rest.starts_with('\'') {
            let inner = self.rest[1..].split('\'').next().unwrap_or_default();
            if inner.is_empty() || inner.len() + 2 > self.rest.len() {
                return Err("the quote around its name is not closed");
            }
            self.advance(inner.len() + 2);
            return Ok(Some(inner.to_owned()));
        }
        match self.take_while(|letter| letter != '=' && letter != '#' && !letter.is_whitespace()) {
            "" => Err("it has no name"),
            name => Ok(Some(name.to_owned())),
        }
    }

    fn value(&mut self) -> Result<String, &'static str> {
        match self.rest.chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            _ => Ok(without_comment(self.rest_of_line()).trim_end().to_owned()),
        }
    }

    /// It may go over several lines.
    fn quoted(&mut self, quote: char) -> Result<String, &'static str> {
        let mut value = String::new();
        let mut letters = self.rest[1..].char_indices();
        while let Some((at, letter)) = letters.next() {
            if letter == quote {
                self.advance(1 + at + 1);
                return Ok(value);
            }
            if letter != '\\' {
                value.push(letter);
                continue;
            }
            let Some((_, escaped)) = letters.next() else { break };
            match unescape(quote, escaped) {
                Some(meant) => value.push(meant),
                None => value.extend(['\\', escaped]),
            }
        }
        Err("a quote is not closed")
    }

    fn rest_of_line(&mut self) -> &'a str {
        self.take_while(|letter| letter != '\r' && letter != '\n')
    }

    fn blanks(&mut self) -> &'a str {
        self.take_while(is_blank)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|letter| !wanted(letter)).unwrap_or(self.rest.len());
        self.advance(end)
    }

    /// Counts `\r\n`, `\n` and `\r` as the end of a line each.
    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        let ends = |letter: u8| taken.bytes().filter(|byte| *byte == letter).count();
        self.line += ends(b'\n') + ends(b'\r') - taken.matches("\r\n").count();
        self.rest = rest;
        taken
    }
}

fn is_blank(letter: char) -> bool {
    letter.is_whitespace() && letter != '\r' && letter != '\n'
}

/// A comment begins with a `#` after a blank.
fn without_comment(value: &str) -> &str {
    let mark = value.match_indices('#').find(|(at, _)| value[..*at].ends_with(char::is_whitespace));
    mark.map_or(value, |(at, _)| &value[..at])
}

/// What a backslash and this letter mean between these quotes; none where the backslash stays.
fn unescape(quote: char, letter: char) -> Option<char> {
    match (quote, letter) {
        (_, '\\' | '\'') => Some(letter),
        ('"', '"') => Some('"'),
        ('"', 'a') => Some('\x07'),
        ('"', 'b') => Some('\x08'),
        ('"', 'f') => Some('\x0c'),
        ('"', 'n') => Some('\n'),
        ('"', 'r') => Some('\r'),
        ('"', 't') => Some('\t'),
        ('"', 'v') => Some('\x0b'),
        _ => None,
    }
}

/// Puts values in for `${NAME}` and `${NAME:-default}`, whatever the quotes; anything else with `$` stays.
fn interpolate(raw: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find("${") {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        match reference(rest) {
            Some((name, default, length)) => {
                text.push_str(&lookup(name).unwrap_or_else(|| default.to_owned()));
                rest = &rest[length..];
            }
            None => {
                text.push_str("${");
                rest = &rest[2..];
            }
        }
    }
    text + rest
}

/// Name, default and length of the reference that `text` begins with.
fn reference(text: &str) -> Option<(&str, &str, usize)> {
    let inner = text.strip_prefix("${")?;
    let name = &inner[..inner.find(['}', ':'])?];
    let after = &inner[name.len()..];
    if after.starts_with('}') {
        return Some((name, "", 2 + name.len() + 1));
    }
    let default = after.strip_prefix(":-")?;
    let default = &default[..default.find('}')?];
    Some((name, default, 2 + name.len() + 2 + default.len() + 1))
}

#[cfg(test)]
mod tests;

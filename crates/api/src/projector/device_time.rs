//! `TIMESTAMP_FIELD`: which field of a message is the device's own time, and how that is read.

use std::str::FromStr;

use dados::Timestamp;
use dados::topic::{InvalidTopic, check_filter, matches};

use super::fields::{CAMPO_CHARS_MAX, Field};

/// Rules that the setting may have: each is tried on each message.
const RULES_MAX: usize = 64;

/// No device that knows the time was before this one, 2001-01-01T00:00:00Z; one that does not begins at 1970 or 2000.
const FIRST_MS: i64 = 978_307_200_000;
/// A clock may be as far ahead: more than any time zone that was forgotten.
const AHEAD_MS_MAX: i64 = 24 * 60 * 60 * 1000;

/// Which field of which topics holds the device's time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    filter: String,
    campo: String,
}

/// What the rules must look like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRules {
    /// One of them.
    #[error("rule {rule:?}: {problem}; expected campo or filter=campo separated by commas, such as ts or casa/#=ts")]
    Rule {
        /// As it was typed.
        rule: String,
        /// What is wrong with it.
        problem: InvalidRule,
    },
    /// A limit of ours.
    #[error("expected at most {RULES_MAX} rules")]
    TooMany,
}

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// No field is meant, or none that a message can have.
    #[error("a campo has 1 to {CAMPO_CHARS_MAX} characters")]
    Campo,
    /// The topics are not told by a filter.
    #[error(transparent)]
    Filter(#[from] InvalidTopic),
    /// A message does not tell by which subscription it came.
    #[error("the filter stands without its $share/group/")]
    Share,
}

impl FromStr for Rules {
    type Err = InvalidRules;

    /// `casa/#=ts, planta/+/x=relogio.unix`: the first whose filter has the topic in it counts, and a `campo` alone is
    /// for `#`, all topics but those that begin with `$`. Nothing at all is no rules.
    ///
    /// The last `=` separates and commas end a rule: a `campo` with either cannot be named.
    fn from_str(text: &str) -> Result<Self, InvalidRules> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let rule = |item: &str| read(item).map_err(|problem| InvalidRules::Rule { rule: item.to_owned(), problem });
        let rules = text.split(',').map(str::trim).map(rule).collect::<Result<Vec<_>, _>>()?;
        if rules.len() > RULES_MAX { Err(InvalidRules::TooMany) } else { Ok(Self(rules)) }
    }
}

fn read(item: &str) -> Result<Rule, InvalidRule> {
    let (filter, campo) = item.rsplit_once('=').unwrap_or(("#", item));
    let (filter, campo) = (filter.trim(), campo.trim());
    if campo.is_empty() || campo.chars().count() > CAMPO_CHARS_MAX {
        return Err(InvalidRule::Campo);
    }
    check_filter(filter)?;
    if filter.starts_with("$share/") {
        return Err(InvalidRule::Share);
    }
    Ok(Rule { filter: filter.to_owned(), campo: campo.to_owned() })
}

impl Rules {
    /// The field that holds the time in messages of this topic, `""` for those without one.
    pub(crate) fn campo(&self, topico: &str) -> Option<&str> {
        self.0.iter().find(|rule| matches(&rule.filter, topico)).map(|rule| &*rule.campo)
    }
}

/// What a message says of its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceTime {
    /// No rule is for its topic.
    NotAsked,
    /// The field is not there, or is no time, or none that can be true.
    Unreadable,
    /// The time; the field that it was read from is no reading then.
    At(Timestamp),
}

/// Reads the device's time out of the fields of a message that was captured at `captured`.
///
/// It is RFC 3339, or `YYYY-MM-DD HH:MM:SS[.SSS]` in UTC, or a number (as a text too) since 1970: seconds below 1e11,
/// milliseconds below 1e14, microseconds below 1e17, else nanoseconds. What is finer than a millisecond is cut off.
pub(crate) fn device_time(rules: &Rules, topico: &str, fields: &[Field<'_>], captured: Timestamp) -> DeviceTime {
    let Some(campo) = rules.campo(topico) else { return DeviceTime::NotAsked };
    let field = fields.iter().find(|field| field.campo == campo);
    match field.and_then(read_time) {
        Some(time) if (FIRST_MS..=captured.as_ms() + AHEAD_MS_MAX).contains(&time.as_ms()) => DeviceTime::At(time),
        _ => DeviceTime::Unreadable,
    }
}

fn read_time(field: &Field<'_>) -> Option<Timestamp> {
    let text = field.texto.as_deref().and_then(|texto| texto.trim_ascii().parse().ok());
    text.or_else(|| field.numero.and_then(since_epoch))
}

fn since_epoch(number: f64) -> Option<Timestamp> {
    // By way of whole microseconds: a double of seconds or nanoseconds may lie a little below the millisecond that it
    // stands for.
    let us = match number {
        ..1e11 => number * 1e6,
        ..1e14 => number * 1e3,
        ..1e17 => number,
        _ => number / 1e3,
    };
    // `as` keeps within i64, and what is far from any time within what `from_ms` refuses.
    Timestamp::from_ms((us.round() as i64).div_euclid(1000)).ok()
}

#[cfg(test)]
mod tests;

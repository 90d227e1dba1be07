//! Payload → fields: what of a message can be charted. Any text is taken, in linear time and within limits.

use std::borrow::Cow;
use std::fmt;

use dados::Formato;
use memchr::memchr;
use serde::Deserializer as _;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// Fields that a message may have.
pub(crate) const FIELDS_MAX: usize = 64;
/// Elements of an array that become fields: an array is a few axes or channels, or it is no table's business.
pub(crate) const ARRAY_ITEMS_MAX: usize = 16;
/// Keys and indexes that a path may have. An object or array at that depth is a text.
pub(crate) const DEPTH_MAX: usize = 8;
/// Characters of a `texto`; the rest is cut off.
pub(crate) const TEXT_CHARS_MAX: usize = 1024;
/// Characters of a `campo`; the rest is cut off.
pub(crate) const CAMPO_CHARS_MAX: usize = 256;

/// The name of the one field of a message that is no object or array.
const VALOR: &str = "valor";
/// Integers of so many digits are all below 2^53, and so is every double exact.
const EXACT_DIGITS: usize = 15;

/// One field of a message, as `leituras` has it. At least one of `numero` and `texto` is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field<'a> {
    /// The path to it: keys and indexes with points between them.
    pub(crate) campo: Cow<'a, str>,
    /// Finite; 1 and 0 for true and false.
    pub(crate) numero: Option<f64>,
    /// What is a text in the message; and the digits of an integer that `numero` has only nearly, or of a number that
    /// is too large for it.
    pub(crate) texto: Option<Cow<'a, str>>,
}

/// What a message has in it, and how many fields were beyond the limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields<'a> {
    /// In the order of the message, at most [`FIELDS_MAX`], no `campo` twice.
    pub(crate) fields: Vec<Field<'a>>,
    /// An array's element beyond [`ARRAY_ITEMS_MAX`] counts as one, whatever it has in it.
    pub(crate) omitted: u32,
}

/// Takes a message apart.
///
/// - A number is the field `valor`, and so is a text that is one: decimal, with a sign, a point and an exponent if
///   need be (`-5`, `+23.5`, `.5`, `1e3`; not `23,5`, `0x17`, `inf` or `NaN`), white space around it.
/// - An object or array is one field a leaf: `a.b` or `a.0`. `null`, `{}` and `[]` are none. Of leaves with one path
///   the last counts, at the place of the first.
/// - A JSON string is its text, and its number as well if it is one.
/// - Anything else is a text, JSON that is broken too, without the white space around it and the NULs behind it.
/// - Base64 has no fields, and an empty message none.
pub(crate) fn fields<'a>(valor: &'a str, formato: Option<Formato>) -> Fields<'a> {
    let text = match formato {
        Some(Formato::Base64) => "",
        // A C program may send its text with the mark of its end.
        None => valor.trim_end_matches('\0').trim_ascii(),
    };
    let mut read = Fields::default();
    if text.is_empty() {
        return read;
    }
    // An object or array is checked as it is read.
    let is_sound = !text.starts_with('"') || serde_json::from_str::<&RawValue>(text).is_ok();
    if is_sound && read.add(Cow::Borrowed(VALOR), 0, text).is_ok() {
        return read;
    }
    let broken = Field { campo: Cow::Borrowed(VALOR), numero: None, texto: Some(cut(text.into(), TEXT_CHARS_MAX)) };
    Fields { fields: vec![broken], omitted: 0 }
}

impl<'a> Fields<'a> {
    /// Takes in what stands at a path of `depth` keys: a JSON value with no white space around it. Only an object or
    /// array may be broken; a text that is neither JSON nor a number is a text.
    fn add(&mut self, campo: Cow<'a, str>, depth: usize, json: &'a str) -> serde_json::Result<()> {
        match json.as_bytes().first() {
            Some(b'{' | b'[') if depth < DEPTH_MAX => {
                let mut reader = serde_json::Deserializer::from_str(json);
                reader.deserialize_any(Container { fields: self, campo, depth })?;
                reader.end()?;
            }
            Some(b'{' | b'[') if json[1..json.len() - 1].trim_ascii().is_empty() => {}
            Some(b'{' | b'[') => self.put(campo, None, Some(json.into())),
            Some(b'"') => {
                let text = unquoted(json);
                self.put(campo, number(text.trim_ascii()), Some(text));
            }
            _ => match json {
                "true" => self.put(campo, Some(1.0), None),
                "false" => self.put(campo, Some(0.0), None),
                "null" => {}
                _ => {
                    let numero = number(json);
                    let is_exact = numero.is_some_and(|number| is_exact(number, json));
                    self.put(campo, numero, (!is_exact).then_some(json.into()));
                }
            },
        }
        Ok(())
    }

    fn put(&mut self, campo: Cow<'a, str>, numero: Option<f64>, texto: Option<Cow<'a, str>>) {
        let field = Field { campo, numero, texto: texto.map(|texto| cut(texto, TEXT_CHARS_MAX)) };
        match self.fields.iter().position(|earlier| earlier.campo == field.campo) {
            Some(earlier) => self.fields[earlier] = field,
            None if self.fields.len() < FIELDS_MAX => self.fields.push(field),
            None => self.omitted = self.omitted.saturating_add(1),
        }
    }
}

/// Reads an object or array one member at a time, each as the text that it is: a number is then read from its digits,
/// which serde would have made a double of, and nothing is built that no field has.
///
/// To find where a member ends takes no recursion, so that the stack never holds more than [`DEPTH_MAX`] of these, and
/// no text is gone through much more often than that.
struct Container<'f, 'a> {
    fields: &'f mut Fields<'a>,
    campo: Cow<'a, str>,
    depth: usize,
}

impl<'a> Container<'_, 'a> {
    fn add<E: de::Error>(&mut self, key: Cow<'a, str>, value: &'a RawValue) -> Result<(), E> {
        let key = cut(key, CAMPO_CHARS_MAX);
        // What is outermost has no name that goes before those of its members.
        let campo = match self.depth {
            0 => key,
            _ => cut(format!("{}.{key}", self.campo).into(), CAMPO_CHARS_MAX),
        };
        self.fields.add(campo, self.depth + 1, value.get()).map_err(E::custom)
    }
}

impl<'a> Visitor<'a> for Container<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or array")
    }

    fn visit_map<M: MapAccess<'a>>(mut self, mut members: M) -> Result<(), M::Error> {
        while let Some((key, value)) = members.next_entry::<&'a RawValue, &'a RawValue>()? {
            self.add(unquoted(key.get()), value)?;
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'a>>(mut self, mut items: S) -> Result<(), S::Error> {
        for index in 0..ARRAY_ITEMS_MAX {
            match items.next_element::<&'a RawValue>()? {
                Some(item) => self.add(index.to_string().into(), item)?,
                None => return Ok(()),
            }
        }
        while items.next_element::<&'a RawValue>()?.is_some() {
            self.fields.omitted = self.fields.omitted.saturating_add(1);
        }
        Ok(())
    }
}

/// The text of a JSON string. One with half a surrogate pair has none in UTF-8: it stays as it is written.
fn unquoted(json: &str) -> Cow<'_, str> {
    let inner = &json[1..json.len() - 1];
    match memchr(b'\\', inner.as_bytes()) {
        None => inner.into(),
        Some(_) => serde_json::from_str::<String>(json).map_or(inner.into(), Cow::Owned),
    }
}

/// The number that a text is, if it is a decimal one that a double can hold, be it nearly.
fn number(text: &str) -> Option<f64> {
    // Rust reads `inf` and `NaN` too; the first byte spares most texts the rest.
    let is_decimal = text.starts_with(|first: char| matches!(first, '0'..='9' | '-' | '+' | '.'))
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    if is_decimal { text.parse().ok().filter(|number: &f64| number.is_finite()) } else { None }
}

/// Whether a number is all that its text says. A fraction always is: what a double makes of its digits is what was
/// measured. An integer may be an identifier, in which each digit counts.
fn is_exact(number: f64, text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']).trim_start_matches('0');
    digits.len() <= EXACT_DIGITS
        || digits.bytes().any(|byte| !byte.is_ascii_digit())
        || format!("{:.0}", number.abs()) == digits
}

fn cut(text: Cow<'_, str>, chars_max: usize) -> Cow<'_, str> {
    // Most are too short to be counted.
    if text.len() <= chars_max {
        return text;
    }
    match text.char_indices().nth(chars_max) {
        None => text,
        Some((end, _)) => match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
            Cow::Owned(text) => Cow::Owned(text[..end].to_owned()),
        },
    }
}

//! What is wrong with a body, and where: serde says what it expected, this finds the field and the place.

use std::borrow::Cow;
use std::collections::BTreeMap;

use dados::whole::Whole;
use dados::{Formato, Timestamp, Valor, topic};
use memchr::{memchr_iter, memrchr};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// Longest name of an unknown field that is repeated to the client, in characters.
const NAME_CHARS_MAX: usize = 64;
const FIELDS: &str = "valor, topico, timestamp, qos, retido, dup, formato and hora_corrigida";

/// What an object must look like, for whoever sent another.
pub(crate) struct Shape {
    /// What to say where there is no object.
    pub(crate) expected: &'static str,
    pub(crate) required: &'static [&'static str],
    /// What is wrong with a field, by its name and its JSON.
    pub(crate) check: fn(&str, &str) -> Option<Cow<'static, str>>,
    /// What is wrong where every field is right by itself: the field to blame, and why.
    pub(crate) together: (&'static str, &'static str),
}

/// One posted message.
pub(super) const ITEM: Shape = Shape {
    expected: r#"expected an object such as {"valor": 23.5, "topico": "casa/sala"}"#,
    required: &["valor"],
    check: check_field,
    together: ("valor", r#"formato is "base64", and valor is no base64 with padding (RFC 4648 §4)"#),
};

/// The first thing that is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) detail: String,
    pub(crate) item: Option<usize>,
    pub(crate) field: Option<String>,
    pub(crate) place: Option<Place>,
    /// Bytes from the start of the item; [`Fault::in_body`] makes it a place.
    pub(super) offset: Option<usize>,
}

/// How a body is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is no JSON, no form, no UTF-8.
    Syntax,
    /// It is well-formed, and not what is asked for.
    Content,
    /// It has more rows than a request may have.
    TooMany,
}

/// A line and a column of the body, both from 1; the column counts bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Fault {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), item: None, field: None, place: None, offset: None }
    }

    /// What serde_json could not read in `text`.
    pub(super) fn syntax(error: &serde_json::Error, text: &str) -> Self {
        let full = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        let detail = match full.strip_suffix(&position).unwrap_or(&full) {
            _ if text.trim_ascii().is_empty() => "the body is empty",
            detail => detail,
        };
        Self { offset: Some(offset_of(text, error)), ..Self::new(Kind::Syntax, detail) }
    }

    fn content(offset: usize, field: &str, detail: impl Into<String>) -> Self {
        let field = Some(field.chars().take(NAME_CHARS_MAX).collect());
        Self { offset: Some(offset), field, ..Self::new(Kind::Content, detail) }
    }

    pub(crate) fn at(self, body: &[u8], offset: usize) -> Self {
        let before = &body[..offset.min(body.len())];
        let line = memchr_iter(b'\n', before).count() + 1;
        let column = before.len() - memrchr(b'\n', before).map_or(0, |newline| newline + 1) + 1;
        Self { place: Some(Place { line, column }), ..self }
    }

    /// The same fault with its place in `body`, of which `item` is a part.
    pub(crate) fn in_body(self, body: &str, item: &str) -> Self {
        let start = item.as_ptr().addr() - body.as_ptr().addr();
        match self.offset {
            Some(offset) => self.at(body.as_bytes(), start + offset),
            None => self,
        }
    }
}

/// Where serde_json stopped, in bytes from the start of `text`.
fn offset_of(text: &str, error: &serde_json::Error) -> usize {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => memchr_iter(b'\n', text.as_bytes()).nth(line - 2).map_or(0, |newline| newline + 1),
    };
    (line_start + error.column().saturating_sub(1)).min(text.len())
}

/// Finds what is wrong with an item that was refused, one field at a time: slow, and only for the unlucky.
pub(crate) fn diagnose(item: &str, error: Option<serde_json::Error>, shape: &Shape) -> Fault {
    if let Err(error) = serde_json::from_str::<&RawValue>(item) {
        return Fault::syntax(&error, item);
    }
    let start = item.len() - item.trim_ascii_start().len();
    let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(item) else {
        return Fault { offset: Some(start), ..Fault::new(Kind::Content, shape.expected) };
    };
    let offset = |raw: &RawValue| raw.get().as_ptr().addr() - item.as_ptr().addr();
    let wrong = fields.iter().filter_map(|(name, raw)| {
        let detail = (shape.check)(name, raw.get())?;
        Some(Fault::content(offset(raw), name, detail))
    });
    if let Some(first) = wrong.min_by_key(|fault| fault.offset) {
        return first;
    }
    if let Some(missing) = shape.required.iter().find(|name| !fields.contains_key(**name)) {
        return Fault::content(start, missing, format!("{missing} is missing"));
    }
    match error {
        None => {
            let (field, detail) = shape.together;
            Fault::content(fields.get(field).map_or(start, |raw| offset(raw)), field, detail)
        }
        // All that is left is a field that is there twice, which serde names.
        Some(error) => {
            debug_assert_eq!(error.classify(), Category::Data);
            let message = error.to_string();
            let field = message.split('`').nth(1).unwrap_or_default();
            Fault::content(offset_of(item, &error), field, "this field is given twice")
        }
    }
}

/// What is wrong with one field, for the client.
fn check_field(name: &str, raw: &str) -> Option<Cow<'static, str>> {
    fn read<'a, T: serde::Deserialize<'a>>(raw: &'a str) -> Option<T> {
        serde_json::from_str(raw).ok()
    }
    let expected = match name {
        "valor" => match read::<Valor<'_>>(raw) {
            Some(_) => return None,
            None => "valor has an escape that is no character",
        },
        "topico" => match read::<Option<String>>(raw) {
            Some(topico) => return topic::check_name(topico.as_deref()?).err().map(|error| error.to_string().into()),
            None => "topico is a text",
        },
        "timestamp" => match read::<Option<String>>(raw) {
            Some(text) => return text?.parse::<Timestamp>().err().map(|error| error.to_string().into()),
            None => "timestamp is a text such as 2026-11-23T03:21:45.678Z",
        },
        "qos" => match read::<Option<Whole>>(raw) {
            None | Some(Some(Whole(3..))) => "qos is 0, 1 or 2",
            Some(_) => return None,
        },
        "retido" | "dup" | "hora_corrigida" => match read::<Option<bool>>(raw) {
            Some(_) => return None,
            None => "expected true or false",
        },
        "formato" => match read::<Option<Formato>>(raw) {
            Some(_) => return None,
            None => r#"formato is "base64", or absent for text"#,
        },
        _ => return Some(format!("unknown field; there are {FIELDS}").into()),
    };
    Some(expected.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dados::body::Form;
    use crate::dados::parse::{ROWS_MAX, parse};

    /// The kind, the item, the field, and line and column.
    type Found = (Kind, Option<usize>, Option<String>, Option<(usize, usize)>);

    fn fault(form: Form, body: &[u8]) -> Found {
        let fault = parse(form, body, Timestamp::from_ms(0).unwrap()).unwrap_err();
        (fault.kind, fault.item, fault.field, fault.place.map(|place| (place.line, place.column)))
    }

    #[test]
    fn the_first_fault_is_found_and_placed() {
        use Kind::{Content, Syntax};
        let known = |name: &str| Some(name.to_owned());
        for (body, expected) in [
            ("", (Syntax, None, None, Some((1, 1)))),
            ("{\n\"valor\": }", (Syntax, None, None, Some((2, 10)))),
            ("{\"valor\":1", (Syntax, None, None, Some((1, 10)))),
            ("{\"valor\":1} x", (Syntax, None, None, Some((1, 13)))),
            ("23.5", (Content, None, None, Some((1, 1)))),
            (" {}", (Content, None, known("valor"), Some((1, 2)))),
            ("{\"valor\":1,\n \"qos\": 3}", (Content, None, known("qos"), Some((2, 9)))),
            ("{\"valor\":1,\"qos\":-1,\"dup\":2}", (Content, None, known("qos"), Some((1, 18)))),
            ("{\"valor\":1,\"x\":2}", (Content, None, known("x"), Some((1, 16)))),
            ("{\"valor\":1,\"topico\":\"a/+\"}", (Content, None, known("topico"), Some((1, 21)))),
            ("{\"valor\":1,\"timestamp\":5}", (Content, None, known("timestamp"), Some((1, 24)))),
            ("{\"valor\":\"*\",\"formato\":\"base64\"}", (Content, None, known("valor"), Some((1, 10)))),
            ("{\"valor\":\"\\ud800\"}", (Content, None, known("valor"), Some((1, 10)))),
            ("[]", (Content, None, None, None)),
            ("[{\"valor\":1},\n{\"valor\":1,\"dup\":1}]", (Content, Some(1), known("dup"), Some((2, 18)))),
            ("[[1]]", (Content, Some(0), None, Some((1, 2)))),
            ("[{\"valor\":1},2]", (Content, Some(1), None, Some((1, 14)))),
            ("[{\"valor\":1},]", (Syntax, None, None, Some((1, 14)))),
            ("[{\"valor\":1}", (Syntax, None, None, Some((1, 12)))),
        ] {
            assert_eq!(fault(Form::Json, body.as_bytes()), expected, "{body}");
        }
        let twice = fault(Form::Json, br#"{"valor":1,"valor":2}"#);
        assert_eq!((twice.0, twice.2), (Content, known("valor")));
        assert_eq!(fault(Form::Json, b"[\"\n\xff"), (Syntax, None, None, Some((2, 1))));
    }

    #[test]
    fn lines_are_counted_and_items_are_not_blank() {
        let body = "{\"valor\":1}\r\n\n  \n{\"valor\":2,}\n";
        assert_eq!(fault(Form::Ndjson, body.as_bytes()), (Kind::Syntax, Some(1), None, Some((4, 12))));
        assert_eq!(fault(Form::Ndjson, b"\n \n"), (Kind::Content, None, None, None));
    }

    #[test]
    fn forms_name_the_field() {
        for (body, kind, field) in [
            ("topico=a", Kind::Content, "valor"),
            ("valor=1&valor=2", Kind::Content, "valor"),
            ("23.5", Kind::Content, "23.5"),
            ("valor=1&topico=%23", Kind::Content, "topico"),
            ("valor=1&timestamp=ontem", Kind::Content, "timestamp"),
            ("valor=%ff", Kind::Syntax, "valor"),
        ] {
            assert_eq!(fault(Form::Urlencoded, body.as_bytes()), (kind, None, Some(field.to_owned()), None), "{body}");
        }
    }

    #[test]
    fn depth_and_count_are_bounded() {
        let deep = "[".repeat(100_000);
        assert_eq!(fault(Form::Json, deep.as_bytes()).0, Kind::Syntax);
        let deep = format!("{deep}{}", "]".repeat(100_000));
        assert_eq!(fault(Form::Json, deep.as_bytes()).0, Kind::Content);
        let many = format!("[{}{{\"valor\":1}}]", "{\"valor\":1},".repeat(ROWS_MAX));
        assert_eq!(fault(Form::Json, many.as_bytes()).0, Kind::TooMany);
    }
}

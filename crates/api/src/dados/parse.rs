//! From bytes to valid rows, or to the first fault and its place. Nothing is stored before all of it is parsed.

use std::borrow::Cow;
use std::fmt;
use std::str;
use std::sync::Arc;

use dados::novo::is_base64;
use dados::{NovoDado, Timestamp, Valor, topic};
use memchr::memchr;
use percent_encoding::percent_decode_str;
use serde::Deserializer as _;
use serde::de::{self, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::body::Form;
use super::fault::{Fault, ITEM, Kind, diagnose};
use crate::store::Row;

/// Rows that one request may have.
pub(crate) const ROWS_MAX: usize = 100_000;

/// The rows of one request, at least one.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) rows: Vec<Row>,
    /// Whether the body was one object rather than a list that may have one item.
    pub(crate) is_single: bool,
}

/// Reads a body; rows without a time get `now`.
pub(crate) fn parse(form: Form, body: &[u8], now: Timestamp) -> Result<Parsed, Fault> {
    let text = str::from_utf8(body)
        .map_err(|error| Fault::new(Kind::Syntax, "the body is not UTF-8").at(body, error.valid_up_to()))?;
    let is_list = form == Form::Ndjson || form == Form::Json && text.trim_ascii_start().starts_with('[');
    // One has no more room than it needs while it waits for its commit.
    let room = usize::from(!is_list);
    let mut rows = Rows { rows: Vec::with_capacity(room), timestamp: (now, now.to_sql().into()), now, topico: None };
    match form {
        Form::Ndjson => rows.read_lines(text)?,
        Form::Json if is_list => rows.read_array(text)?,
        Form::Json => rows.read_object(text)?,
        Form::Urlencoded => rows.push(&read_form(text)?),
    }
    if rows.rows.is_empty() {
        return Err(Fault::new(Kind::Content, "the body has no rows"));
    }
    Ok(Parsed { rows: rows.rows, is_single: !is_list })
}

struct Rows {
    rows: Vec<Row>,
    /// For rows without a time.
    now: Timestamp,
    /// The last time and its text: neighbours often share theirs.
    timestamp: (Timestamp, Arc<str>),
    /// The last topic: the same.
    topico: Option<Arc<str>>,
}

impl Rows {
    fn push(&mut self, novo: &NovoDado<'_>) {
        let topico = novo.topico.as_deref().map(|topico| match &self.topico {
            Some(last) if **last == *topico => last.clone(),
            _ => self.topico.insert(topico.into()).clone(),
        });
        let timestamp = novo.timestamp.unwrap_or(self.now);
        if timestamp != self.timestamp.0 {
            self.timestamp = (timestamp, timestamp.to_sql().into());
        }
        self.rows.push(Row {
            valor: novo.valor.0.as_ref().into(),
            timestamp: self.timestamp.1.clone(),
            topico,
            qos: novo.qos,
            retido: novo.retido,
            dup: novo.dup,
            formato: novo.formato,
            hora_corrigida: novo.hora_corrigida,
        });
    }

    /// Reads one item of a list; `item` lies in `body`.
    fn read_item(&mut self, body: &str, item: &str) -> Result<(), Fault> {
        let index = self.rows.len();
        if index == ROWS_MAX {
            return Err(Fault::new(Kind::TooMany, format!("a request has at most {ROWS_MAX} rows")));
        }
        match read(item) {
            Ok(novo) => {
                self.push(&novo);
                Ok(())
            }
            Err(fault) => Err(Fault { item: Some(index), ..fault.in_body(body, item) }),
        }
    }

    fn read_object(&mut self, text: &str) -> Result<(), Fault> {
        let novo = read(text).map_err(|fault| fault.in_body(text, text))?;
        self.push(&novo);
        Ok(())
    }

    fn read_lines(&mut self, text: &str) -> Result<(), Fault> {
        let mut rest = text;
        while !rest.is_empty() {
            let (line, after) = match memchr(b'\n', rest.as_bytes()) {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, ""),
            };
            if !line.trim_ascii().is_empty() {
                self.read_item(text, line)?;
            }
            rest = after;
        }
        Ok(())
    }

    fn read_array(&mut self, text: &str) -> Result<(), Fault> {
        let mut fault = None;
        let mut json = serde_json::Deserializer::from_str(text);
        let result = json.deserialize_seq(Items { rows: self, text, fault: &mut fault }).and_then(|()| json.end());
        match (fault, result) {
            (Some(fault), _) => Err(fault),
            (None, Err(error)) => Err(Fault::syntax(&error, text).in_body(text, text)),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// Reads an array item by item, so that no list of them is built and the limit holds from the start.
struct Items<'r, 'de> {
    rows: &'r mut Rows,
    text: &'de str,
    fault: &'r mut Option<Fault>,
}

impl<'de> Visitor<'de> for Items<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&'de RawValue>()? {
            if let Err(fault) = self.rows.read_item(self.text, item.get()) {
                *self.fault = Some(fault);
                return Err(de::Error::custom("see the fault"));
            }
        }
        Ok(())
    }
}

/// Reads one object and checks what its types alone do not.
fn read(item: &str) -> Result<NovoDado<'_>, Fault> {
    // serde would take an array of the fields' values for an object.
    if !item.trim_ascii_start().starts_with('{') {
        return Err(diagnose(item, None, &ITEM));
    }
    match serde_json::from_str::<NovoDado<'_>>(item) {
        Ok(novo) if is_valid(&novo) => Ok(novo),
        Ok(_) => Err(diagnose(item, None, &ITEM)),
        Err(error) => Err(diagnose(item, Some(error), &ITEM)),
    }
}

fn is_valid(novo: &NovoDado<'_>) -> bool {
    novo.qos.is_none_or(|qos| qos <= 2)
        && novo.topico.as_ref().is_none_or(|topico| topic::check_name(topico).is_ok())
        && (novo.formato.is_none() || is_base64(&novo.valor.0))
}

/// A value of a form; none where it is not UTF-8. A large one is not copied, unless it has something to decode.
fn decode(value: &str) -> Option<Cow<'_, str>> {
    if !value.contains('+') {
        return percent_decode_str(value).decode_utf8().ok();
    }
    let spaced = value.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?.into_owned();
    Some(decoded.into())
}

/// Reads `valor=23.5&topico=casa%2Fsala`; here a `+` is a space.
fn read_form(text: &str) -> Result<NovoDado<'_>, Fault> {
    let wrong = |kind, field: &str, detail: &str| Fault { field: Some(field.to_owned()), ..Fault::new(kind, detail) };
    let (mut valor, mut topico, mut timestamp) = (None, None, None);
    for pair in text.trim_ascii_end().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let field = match name {
            "valor" => &mut valor,
            "topico" => &mut topico,
            "timestamp" => &mut timestamp,
            other => return Err(wrong(Kind::Content, other, "expected valor, topico or timestamp, as in valor=23.5")),
        };
        if field.is_some() {
            return Err(wrong(Kind::Content, name, "this field is given twice"));
        }
        *field = Some(decode(value).ok_or_else(|| wrong(Kind::Syntax, name, "this field is not UTF-8"))?);
    }
    let valor = valor.ok_or_else(|| wrong(Kind::Content, "valor", "valor is missing"))?;
    if let Some(Err(error)) = topico.as_deref().map(topic::check_name) {
        return Err(wrong(Kind::Content, "topico", &error.to_string()));
    }
    let timestamp = timestamp
        .map(|text| text.parse::<Timestamp>().map_err(|error| wrong(Kind::Content, "timestamp", &error.to_string())))
        .transpose()?;
    Ok(NovoDado {
        valor: Valor(valor),
        topico,
        timestamp,
        qos: None,
        retido: None,
        dup: None,
        formato: None,
        hora_corrigida: None,
    })
}

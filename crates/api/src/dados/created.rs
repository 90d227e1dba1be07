//! The answer to one stored row, written by hand: nearly every request of a sensor waits for it.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use dados::timestamp;

use crate::store::Row;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Room for the headers of this answer and those that every answer has: one table, which does not grow.
const HEADERS: usize = 12;
/// A larger table is not kept for as long as its row is written, and the connection lives.
const HEADERS_MAX: usize = 2 * HEADERS;
/// What a row's JSON has beside its texts.
const FRAME_BYTES: usize = 160;

/// The table of a request's headers, emptied for those of its answer: hyper takes the answer's for the next request, so
/// that a connection has one table all its life, and no request has one made.
pub(super) fn emptied(mut headers: HeaderMap) -> HeaderMap {
    if headers.capacity() > HEADERS_MAX {
        return HeaderMap::with_capacity(HEADERS);
    }
    headers.clear();
    headers.reserve(HEADERS);
    headers
}

/// `201` with the row's place and its JSON; `id` is a number, and `headers` are empty.
pub(super) fn created(mut headers: HeaderMap, id: &str, json: Vec<u8>) -> Response {
    headers.insert(CONTENT_TYPE, JSON);
    // A path of digits is a header's value; made without spare room, which would be cut off by moving it.
    if let Ok(path) = HeaderValue::try_from(["/dados/", id].concat()) {
        headers.insert(LOCATION, path);
    }
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = StatusCode::CREATED;
    *response.headers_mut() = headers;
    response
}

/// The row as [`dados::Dado`] is written, without making one.
pub(super) fn json(id: &str, row: &Row) -> Vec<u8> {
    let texts = row.text_bytes();
    let mut into = Vec::with_capacity(FRAME_BYTES + texts + texts / 4);
    write_json(&mut into, id, row);
    into
}

/// The same behind what is there.
pub(crate) fn write_json(into: &mut Vec<u8>, id: &str, row: &Row) {
    let Row { valor, timestamp, topico, qos, retido, dup, formato, hora_corrigida } = row;
    let mut json = Json(into);
    json.raw("{\"id\":").raw(id).raw(",\"topico\":");
    match topico {
        Some(topico) => json.string(topico),
        None => json.raw("null"),
    };
    json.raw(",\"valor\":").string(valor);
    json.raw(",\"timestamp\":").string(&timestamp::sql_to_wire(timestamp));
    if let Some(qos) = qos {
        json.raw(",\"qos\":").raw(&qos.to_string());
    }
    for (name, flag) in [(",\"retido\":", retido), (",\"dup\":", dup)] {
        if let Some(flag) = flag {
            json.raw(name).raw(if *flag { "true" } else { "false" });
        }
    }
    if let Some(formato) = formato {
        json.raw(",\"formato\":").string(formato.as_str());
    }
    if let Some(flag) = hora_corrigida {
        json.raw(",\"hora_corrigida\":").raw(if *flag { "true" } else { "false" });
    }
    json.raw("}");
}

struct Json<'t>(&'t mut Vec<u8>);

impl Json<'_> {
    fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A JSON string.
    fn string(&mut self, text: &str) -> &mut Self {
        self.0.reserve(text.len() + 2);
        self.0.push(b'"');
        escape_json(self.0, text);
        self.0.push(b'"');
        self
    }
}

/// Appends a text as the inside of a JSON string (RFC 8259 §7), with the escapes that `serde_json` writes.
pub(super) fn escape_json(into: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    // What comes before a byte that is escaped is copied at once; such bytes are characters of their own.
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, ..0x20 | b'"' | b'\\')) {
        let (plain, from) = rest.split_at(at);
        into.extend_from_slice(plain.as_bytes());
        escape(into, from.as_bytes()[0]);
        rest = &from[1..];
    }
    into.extend_from_slice(rest.as_bytes());
}

fn escape(into: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        ..0x20 => {
            into.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
            return;
        }
        _ => byte,
    };
    into.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;
    use dados::{Dado, Formato};
    use proptest::option;
    use proptest::prelude::*;

    fn dado(id: i64, row: &Row) -> Dado {
        Dado {
            id,
            topico: row.topico.as_deref().map(str::to_owned),
            valor: Some(row.valor.as_ref().to_owned()),
            timestamp: Some(timestamp::sql_to_wire(&row.timestamp)),
            qos: row.qos.map(i64::from),
            retido: row.retido,
            dup: row.dup,
            formato: row.formato.map(|formato| formato.as_str().to_owned()),
            hora_corrigida: row.hora_corrigida,
        }
    }

    #[test]
    fn a_table_is_emptied_and_a_large_one_is_not_kept() {
        for count in [1, HEADERS, HEADERS_MAX + 1, 60] {
            let names = (0..count).map(|number| HeaderName::try_from(format!("x-{number}")).unwrap());
            let headers = emptied(names.map(|name| (name, JSON)).collect());
            assert!(headers.is_empty());
            assert!((HEADERS..=HEADERS_MAX).contains(&headers.capacity()), "{} of {count}", headers.capacity());
        }
    }

    #[test]
    fn every_character_is_escaped_as_serde_does() {
        let all: String = ('\0'..='\u{ff}').chain(['\u{2028}', '😀']).collect();
        let mut text = Vec::new();
        Json(&mut text).string(&all);
        assert_eq!(text, serde_json::to_vec(&all).unwrap());
    }

    proptest! {
        #[test]
        fn a_row_is_what_serde_makes_of_it(
            id in 1..i64::MAX, valor in "(\\PC|[\"\\\\\n\r\t\u{1}{}:]){0,40}", topico in option::of("\\PC{1,20}"),
            ms in 0..253_402_207_200_000_i64, qos in option::of(0..3_u8),
            retido in option::of(any::<bool>()), dup in option::of(any::<bool>()), coded in any::<bool>(),
            hora_corrigida in option::of(any::<bool>()),
        ) {
            let timestamp = dados::Timestamp::from_ms(ms).unwrap().to_sql().into();
            let (topico, formato) = (topico.map(Into::into), coded.then_some(Formato::Base64));
            let row = Row { valor: valor.into(), timestamp, topico, qos, retido, dup, formato, hora_corrigida };
            let text = String::from_utf8(json(&id.to_string(), &row)).unwrap();
            prop_assert_eq!(text, serde_json::to_string(&dado(id, &row)).unwrap());
        }
    }
}

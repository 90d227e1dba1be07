//! The text of each event (the event stream format of the HTML standard, §9.2.5).

use bytes::Bytes;
use dados::Dado;

use crate::dados::created::write_json;
use crate::store::Row;

/// What ends an event.
const END: &[u8] = b"\n\n";
/// How long a client waits before it connects again.
const RETRY_MS: u32 = 2_000;

/// The first: from where on, so that a reconnect resumes though no row has come.
pub(super) fn opening(id: i64) -> Bytes {
    format!("id: {id}\nretry: {RETRY_MS}\n\n").into()
}

/// A row, with the text of `GET /dados/{id}`, which has no line breaks.
pub(super) fn row(into: &mut Vec<u8>, dado: &Dado) -> serde_json::Result<()> {
    begin(into, &dado.id.to_string());
    serde_json::to_writer(&mut *into, dado)?;
    into.extend_from_slice(END);
    Ok(())
}

/// The same of a row that has just been stored.
pub(super) fn fresh_row(into: &mut Vec<u8>, id: i64, row: &Row) {
    let id = id.to_string();
    begin(into, &id);
    write_json(into, &id, row);
    into.extend_from_slice(END);
}

fn begin(into: &mut Vec<u8>, id: &str) {
    for part in ["id: ", id, "\ndata: "] {
        into.extend_from_slice(part.as_bytes());
    }
}

/// Rows that a reader does not get: those with the ids from `from` to `to` that it wants.
pub(super) fn missed(from: i64, to: i64) -> Bytes {
    format!("id: {to}\nevent: perdidos\ndata: {{\"de\":{from},\"ate\":{to}}}\n\n").into()
}

/// Nothing, and from where on: a reader whose topics are quiet need not have everything looked through again.
pub(super) fn heartbeat(id: Option<i64>) -> Bytes {
    match id {
        Some(id) => format!(":\nid: {id}\n\n").into(),
        None => Bytes::from_static(b":\n\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_whatever_it_says() {
        let dado = Dado {
            id: 7,
            topico: Some("a\nb".into()),
            valor: Some("1\r\n\ndata: x\u{2028}".into()),
            timestamp: None,
            qos: None,
            retido: None,
            dup: None,
            formato: None,
            hora_corrigida: None,
        };
        let mut text = Vec::new();
        row(&mut text, &dado).unwrap();
        let text = String::from_utf8(text).unwrap();
        let data = text.strip_prefix("id: 7\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains(['\n', '\r']));
        assert_eq!(serde_json::from_str::<Dado>(data).unwrap(), dado);
    }
}

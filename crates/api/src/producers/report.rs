//! From bytes to a valid report, or to the first fault and its place.

use std::borrow::Cow;
use std::str;

use dados::produtor::{FAULT_CHARS_MAX, NAME_BYTES_MAX};
use dados::whole::Whole;
use dados::{Estado, Relato};
use uuid::Uuid;

use crate::dados::fault::{Fault, Kind, Shape, diagnose};
use crate::store::Report;

/// The largest report, in bytes: many times one with the longest name.
pub(crate) const BYTES_MAX: usize = 16 << 10;

const SHAPE: Shape = Shape {
    expected: r#"expected an object such as {"recebidas": 9, "confirmadas": 9, "quarentena": 0, "danificadas": 0}"#,
    required: &["recebidas", "confirmadas", "quarentena", "danificadas"],
    check: check_field,
    together: ("confirmadas", "confirmadas is larger than recebidas"),
};

/// Reads the report of the producer `uuid`.
pub(super) fn parse(uuid: Uuid, body: &[u8]) -> Result<(Report, Option<Estado>), Fault> {
    let text = str::from_utf8(body)
        .map_err(|error| Fault::new(Kind::Syntax, "the body is not UTF-8").at(body, error.valid_up_to()))?;
    let wrong = |error| diagnose(text, error, &SHAPE).in_body(text, text);
    // serde would take an array of the fields' values for an object.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(wrong(None));
    }
    let relato: Relato = serde_json::from_str(text).map_err(|error| wrong(Some(error)))?;
    valid(uuid, relato).ok_or_else(|| wrong(None))
}

fn valid(uuid: Uuid, relato: Relato) -> Option<(Report, Option<Estado>)> {
    let Relato { recebidas, confirmadas, quarentena, danificadas, nome: name, estado } = relato;
    let count = |number: u64| i64::try_from(number).ok();
    let fault = estado.as_ref().and_then(|estado| estado.falha.as_deref());
    let is_sound = confirmadas <= recebidas
        && name.as_deref().is_none_or(|name| check_name(name).is_none())
        && fault.is_none_or(|fault| check_fault(fault).is_none());
    let report = Report {
        uuid,
        received: count(recebidas)?,
        confirmed: count(confirmadas)?,
        quarantined: count(quarentena)?,
        damaged: count(danificadas)?,
        name,
    };
    is_sound.then_some((report, estado))
}

/// What is wrong with one field, for the client.
fn check_field(name: &str, raw: &str) -> Option<Cow<'static, str>> {
    match name {
        "recebidas" | "confirmadas" | "quarentena" | "danificadas" => match serde_json::from_str::<Whole>(raw) {
            Ok(Whole(number)) if i64::try_from(number).is_ok() => None,
            _ => Some(format!("expected an integer from 0 to {}", i64::MAX).into()),
        },
        "nome" => match serde_json::from_str::<Option<String>>(raw) {
            Ok(nome) => check_name(&nome?),
            Err(_) => Some("nome is a text".into()),
        },
        "estado" => match serde_json::from_str::<Option<Estado>>(raw) {
            Ok(estado) => check_fault(&estado?.falha?),
            Err(_) => Some(r#"expected {"conectado": true, "spool_bytes": 0, "spool_bytes_max": 9}, and falha"#.into()),
        },
        _ => Some("unknown field; there are recebidas, confirmadas, quarentena, danificadas, nome and estado".into()),
    }
}

fn check_name(name: &str) -> Option<Cow<'static, str>> {
    if name.len() > NAME_BYTES_MAX {
        Some(format!("nome has at most {NAME_BYTES_MAX} bytes").into())
    } else if name.chars().any(char::is_control) {
        Some("nome has no control characters".into())
    } else {
        None
    }
}

fn check_fault(fault: &str) -> Option<Cow<'static, str>> {
    (fault.chars().count() > FAULT_CHARS_MAX).then(|| format!("falha has at most {FAULT_CHARS_MAX} characters").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_report_is_read() {
        let body =
            r#" {"recebidas": 9223372036854775807, "confirmadas": 2, "quarentena": 1, "danificadas": 0, "nome": "é"}"#;
        let (report, estado) = parse(Uuid::nil(), body.as_bytes()).unwrap();
        assert_eq!(estado, None);
        assert_eq!((report.received, report.confirmed, report.quarantined, report.damaged), (i64::MAX, 2, 1, 0));
        assert_eq!(report.name.as_deref(), Some("é"));
    }

    #[test]
    fn a_report_may_say_how_its_producer_is() {
        let report = |falha: &str| {
            let ledger = r#""recebidas":1,"confirmadas":1,"quarentena":0,"danificadas":0"#;
            let estado = format!(r#"{{"conectado":false,"falha":"{falha}","spool_bytes":1,"spool_bytes_max":2}}"#);
            parse(Uuid::nil(), format!(r#"{{{ledger},"estado":{estado}}}"#).as_bytes())
        };
        let (_, estado) = report("not authorized").unwrap();
        let falha = Some("not authorized".to_owned());
        assert_eq!(estado, Some(Estado { conectado: false, falha, spool_bytes: 1, spool_bytes_max: 2 }));
        let fault = report(&"x".repeat(FAULT_CHARS_MAX + 1)).unwrap_err();
        assert_eq!((fault.kind, fault.field.as_deref()), (Kind::Content, Some("estado")));
    }

    #[test]
    fn the_first_fault_is_found_and_placed() {
        let sound = r#"{"recebidas":9,"confirmadas":8,"quarentena":1,"danificadas":0,"nome":"x"}"#;
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for (from, to, kind, field, column) in [
            ("}", "", Kind::Syntax, None, 72),
            (sound, "[9,8,1,0]", Kind::Content, None, 1),
            (sound, "", Kind::Syntax, None, 1),
            ("\"recebidas\":9,", "", Kind::Content, Some("recebidas"), 1),
            ("9", "9.5", Kind::Content, Some("recebidas"), 14),
            ("9", "-1", Kind::Content, Some("recebidas"), 14),
            ("9", "\"9\"", Kind::Content, Some("recebidas"), 14),
            ("9", "9223372036854775808", Kind::Content, Some("recebidas"), 14),
            ("8", "10", Kind::Content, Some("confirmadas"), 30),
            ("quarentena", "quarantena", Kind::Content, Some("quarantena"), 45),
            ("\"x\"", "null,\"estado\":{\"conectado\":1}", Kind::Content, Some("estado"), 84),
            ("\"x\"", "5", Kind::Content, Some("nome"), 70),
            ("\"x\"", "\"a\\nb\"", Kind::Content, Some("nome"), 70),
            ("\"x\"", &format!("\"{long}\""), Kind::Content, Some("nome"), 70),
            ("\"x\"", "\"\\ud800\"", Kind::Content, Some("nome"), 70),
        ] {
            let body = sound.replacen(from, to, 1);
            let fault = parse(Uuid::nil(), body.as_bytes()).unwrap_err();
            let found = (fault.kind, fault.field.as_deref(), fault.place.map(|place| place.column));
            assert_eq!(found, (kind, field, Some(column)), "{body}: {}", fault.detail);
        }
        let twice = parse(Uuid::nil(), sound.replacen("\"nome\":\"x\"", "\"recebidas\":9", 1).as_bytes()).unwrap_err();
        assert_eq!((twice.kind, twice.field.as_deref()), (Kind::Content, Some("recebidas")));
        assert_eq!(parse(Uuid::nil(), b"{\xff").unwrap_err().kind, Kind::Syntax);
    }
}

//! Rows as lines of CSV or of JSON.

use std::fmt::{Display, Write as _};

use dados::Dado;

use crate::csv::{self, LINE_END};

/// What a file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Csv,
    Ndjson,
}

impl Form {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Csv => csv::MEDIA_TYPE,
            Self::Ndjson => "application/x-ndjson",
        }
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    /// What comes before the rows.
    pub(super) fn head(self) -> String {
        match self {
            Self::Csv => format!("id,topico,valor,timestamp,qos,retido,dup,formato{LINE_END}"),
            Self::Ndjson => String::new(),
        }
    }

    /// Adds a row.
    pub(super) fn push(self, text: &mut String, row: &Dado) {
        match self {
            Self::Csv => push_csv(text, row),
            Self::Ndjson => {
                // Numbers, flags and texts: there is nothing that JSON does not have.
                text.push_str(&serde_json::to_string(row).unwrap_or_default());
                text.push('\n');
            }
        }
    }
}

fn push_csv(line: &mut String, row: &Dado) {
    let Dado { id, topico, valor, timestamp, qos, retido, dup, formato } = row;
    let _ = write!(line, "{id}");
    for text in [topico, valor, timestamp] {
        push_field(line, text.as_deref());
    }
    push_plain(line, qos.as_ref());
    push_plain(line, retido.as_ref());
    push_plain(line, dup.as_ref());
    push_field(line, formato.as_deref());
    line.push_str(LINE_END);
}

fn push_field(line: &mut String, text: Option<&str>) {
    line.push(',');
    if let Some(text) = text {
        csv::push_text(line, text);
    }
}

fn push_plain(line: &mut String, value: Option<&impl Display>) {
    line.push(',');
    if let Some(value) = value {
        let _ = write!(line, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(form: Form, row: &Dado) -> String {
        let mut text = form.head();
        form.push(&mut text, row);
        text
    }

    #[test]
    fn a_line_has_what_a_row_has() {
        let mut row = Dado {
            id: 7,
            topico: Some("casa/sala".to_owned()),
            valor: Some("{\"t\":\"a\\nb\"}".to_owned()),
            timestamp: Some("2026-11-23T03:21:45.678Z".to_owned()),
            qos: Some(1),
            retido: Some(false),
            dup: Some(true),
            formato: None,
        };
        let head = "id,topico,valor,timestamp,qos,retido,dup,formato\r\n";
        let line = "7,casa/sala,\"{\"\"t\"\":\"\"a\\nb\"\"}\",2026-11-23T03:21:45.678Z,1,false,true,\r\n";
        assert_eq!(text(Form::Csv, &row), format!("{head}{line}"));
        let json = text(Form::Ndjson, &row);
        assert!(json.ends_with("}\n") && json.matches('\n').count() == 1, "{json}");
        assert_eq!(serde_json::from_str::<Dado>(&json).unwrap(), row);
        row = Dado { topico: None, valor: None, timestamp: None, qos: None, retido: None, dup: None, ..row };
        assert_eq!(text(Form::Csv, &row), format!("{head}7,,,,,,,\r\n"));
        row.valor = Some(String::new());
        row.formato = Some("base64".to_owned());
        assert_eq!(text(Form::Csv, &row), format!("{head}7,,\"\",,,,,base64\r\n"));
    }
}

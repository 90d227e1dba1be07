//! Rows as lines of CSV or of JSON.

use std::fmt::{Display, Write as _};

use dados::Dado;

use crate::csv::{self, LINE_END};
use crate::dados::answer;
use crate::dados::large::Escape;

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

    /// How a large value is written.
    pub(super) fn escape(self) -> Escape {
        match self {
            Self::Csv => Escape::Csv,
            Self::Ndjson => Escape::Json,
        }
    }

    /// A row without its value, and where in the text that is to stand: between quotes.
    pub(super) fn around_value(self, row: &Dado) -> (String, usize) {
        let mut text = String::new();
        if self == Self::Csv {
            push_csv_before_value(&mut text, row);
            text.push_str(",\"\"");
            let at = text.len() - 1;
            push_csv_after_value(&mut text, row);
            return (text, at);
        }
        let mut row = row.clone();
        answer::emptied(&mut row);
        self.push(&mut text, &row);
        let at = answer::place_in_json(&text).unwrap_or_default();
        (text, at)
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
    push_csv_before_value(line, row);
    push_field(line, row.valor.as_deref());
    push_csv_after_value(line, row);
}

fn push_csv_before_value(line: &mut String, Dado { id, topico, .. }: &Dado) {
    let _ = write!(line, "{id}");
    push_field(line, topico.as_deref());
}

/// `hora_corrigida` is in NDJSON alone: the columns are those that spreadsheets of users know.
fn push_csv_after_value(line: &mut String, row: &Dado) {
    let Dado { timestamp, qos, retido, dup, formato, .. } = row;
    push_field(line, timestamp.as_deref());
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
            hora_corrigida: None,
        };
        let head = "id,topico,valor,timestamp,qos,retido,dup,formato\r\n";
        let line = "7,casa/sala,\"{\"\"t\"\":\"\"a\\nb\"\"}\",2026-11-23T03:21:45.678Z,1,false,true,\r\n";
        assert_eq!(text(Form::Csv, &row), format!("{head}{line}"));
        let json = text(Form::Ndjson, &row);
        assert!(json.ends_with("}\n") && json.matches('\n').count() == 1, "{json}");
        assert_eq!(serde_json::from_str::<Dado>(&json).unwrap(), row);
        row = Dado { topico: None, valor: None, timestamp: None, qos: None, retido: None, dup: None, ..row };
        assert_eq!(text(Form::Csv, &row), format!("{head}7,,,,,,,\r\n"));
        for form in [Form::Csv, Form::Ndjson] {
            let (mut line, at) = form.around_value(&row);
            line.insert_str(at, "a\"\",b");
            let whole = Dado { valor: Some("a\",b".to_owned()), ..row.clone() };
            match form {
                Form::Csv => assert_eq!(line, text(form, &whole).strip_prefix(head).unwrap()),
                Form::Ndjson => assert_eq!(line.replace("\"\",b", "\\\",b"), text(form, &whole)),
            }
        }
        row.valor = Some(String::new());
        row.formato = Some("base64".to_owned());
        assert_eq!(text(Form::Csv, &row), format!("{head}7,,\"\",,,,,base64\r\n"));
    }
}

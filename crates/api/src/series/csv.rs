//! A series as a file that spreadsheets open.

use std::fmt::Write as _;

use dados::{Ponto, Serie};

/// What the answer is; its first line names the columns (RFC 4180 §3).
pub(super) const MEDIA_TYPE: &str = "text/csv; charset=utf-8; header=present";

const HEADER: &str = "inicio,n,media,minimo,maximo\r\n";
/// Characters of a topic and of a field that a file's name has at most.
const NAME_CHARS_MAX: usize = 60;

/// The points, a line each. No value needs quotes.
pub(super) fn body(points: &[Ponto]) -> String {
    let mut text = HEADER.to_owned();
    for Ponto { inicio, n, media, minimo, maximo } in points {
        let media = media.map(|media| format!("{media:?}")).unwrap_or_default();
        // As JSON writes numbers: the shortest text that is read back as the same.
        let _ = write!(text, "{inicio},{n},{media},{minimo:?},{maximo:?}\r\n");
    }
    text
}

/// `Content-Disposition`, with a name that every system takes.
pub(super) fn disposition(serie: &Serie) -> String {
    let (topico, campo) = (plain(serie.topico.as_deref().unwrap_or("sem-topico")), plain(&serie.campo));
    format!("attachment; filename=\"{topico}_{campo}_{}.csv\"", serie.passo)
}

fn plain(text: &str) -> String {
    let plain = |char: char| if char.is_ascii_alphanumeric() || "-.".contains(char) { char } else { '-' };
    text.chars().take(NAME_CHARS_MAX).map(plain).collect()
}

/// Whether the header `accept` asks for CSV: it is named, and not less wanted than JSON where that is named too.
pub(super) fn is_accepted(accept: &str) -> bool {
    match (quality(accept, "text/csv"), quality(accept, "application/json")) {
        (Some(csv), Some(json)) => csv > json,
        (Some(csv), None) => csv > 0.0,
        (None, _) => false,
    }
}

/// How much a media type is wanted that is named (RFC 9110 §12.5.1).
fn quality(accept: &str, media_type: &str) -> Option<f64> {
    let named = accept.split(',').find_map(|range| {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        name.trim().eq_ignore_ascii_case(media_type).then_some(parameters)
    })?;
    let weight = named.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
    });
    Some(weight.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serie(topico: Option<&str>, campo: &str) -> Serie {
        let moment = "2026-11-23T03:00:00Z".parse().unwrap();
        let (topico, campo, passo) = (topico.map(str::to_owned), campo.to_owned(), "1h".to_owned());
        Serie { topico, campo, passo, desde: moment, ate: moment, pontos: Vec::new() }
    }

    #[test]
    fn a_line_has_what_a_point_has() {
        let inicio = "2026-11-23T03:00:00Z".parse().unwrap();
        let points = [
            Ponto { inicio, n: 60, media: Some(21.4), minimo: -0.25, maximo: 22.0 },
            Ponto { inicio, n: 2, media: None, minimo: 1e-7, maximo: 1e300 },
        ];
        assert_eq!(
            body(&points),
            "inicio,n,media,minimo,maximo\r\n\
             2026-11-23T03:00:00.000Z,60,21.4,-0.25,22.0\r\n\
             2026-11-23T03:00:00.000Z,2,,1e-7,1e300\r\n"
        );
        assert_eq!(body(&[]), HEADER);
    }

    #[test]
    fn a_file_has_a_name_that_every_system_takes() {
        for (topico, campo, name) in [
            (Some("casa/sala"), "temperatura", "casa-sala_temperatura_1h.csv"),
            (Some("../etc\r\n\"x\""), "a.b", "..-etc---x-_a.b_1h.csv"),
            (Some("estação"), "", "esta--o__1h.csv"),
            (None, "valor", "sem-topico_valor_1h.csv"),
        ] {
            assert_eq!(disposition(&serie(topico, campo)), format!("attachment; filename=\"{name}\""));
        }
        assert!(disposition(&serie(Some(&"é".repeat(60_000)), "valor")).len() < 150);
    }

    #[test]
    fn csv_is_for_those_who_ask_for_it() {
        for accept in ["text/csv", "TEXT/CSV;header=present", "text/csv, */*", "application/json;q=0.5,text/csv;q=0.9"]
        {
            assert!(is_accepted(accept), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/*",
            "application/json",
            "text/csv;q=0",
            "application/json, text/csv",
            "text/csv; q=0.2, application/json",
            "text/csv;q=x",
        ] {
            assert!(!is_accepted(accept), "{accept}");
        }
    }
}

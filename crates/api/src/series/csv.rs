//! A series as a file that spreadsheets open.

use std::fmt::Write as _;

use dados::{Ponto, Serie};

use crate::csv;

const HEADER: &str = "inicio,n,media,minimo,maximo\r\n";

/// The points, a line each. No value needs quotes.
pub(super) fn body(points: &[Ponto]) -> String {
    let mut text = HEADER.to_owned();
    for Ponto { inicio, n, media, minimo, maximo } in points {
        let media = media.map(|media| format!("{media:?}")).unwrap_or_default();
        // As JSON writes numbers: the shortest text that is read back as the same.
        let _ = write!(text, "{inicio},{n},{media},{minimo:?},{maximo:?}{}", csv::LINE_END);
    }
    text
}

/// `Content-Disposition`.
pub(super) fn disposition(serie: &Serie) -> String {
    csv::disposition(&[serie.topico.as_deref().unwrap_or("sem-topico"), &serie.campo, &serie.passo], "csv")
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_file_is_named_by_what_is_in_it() {
        let at = "2026-11-23T03:00:00Z".parse().unwrap();
        let (campo, passo) = ("temperatura".to_owned(), "1h".to_owned());
        let mut serie = Serie { topico: None, campo, passo, desde: at, ate: at, pontos: Vec::new() };
        assert_eq!(disposition(&serie), "attachment; filename=\"sem-topico_temperatura_1h.csv\"");
        serie.topico = Some("casa/sala".to_owned());
        assert_eq!(disposition(&serie), "attachment; filename=\"casa-sala_temperatura_1h.csv\"");
    }
}

//! What answers as CSV have in common (RFC 4180), and the names of files that clients keep.

use std::fmt::Write as _;

/// What the answer is; its first line names the columns (§3).
pub(crate) const MEDIA_TYPE: &str = "text/csv; charset=utf-8; header=present";
/// What ends a line (§2).
pub(crate) const LINE_END: &str = "\r\n";

/// Characters of each part that a file's name has at most.
const NAME_CHARS_MAX: usize = 60;
/// With what a spreadsheet takes a cell for a formula to be run, whether it is in quotes or not. Some skip what is blank at
/// the start, and some read the full-width forms as the plain ones.
const FORMULA_STARTS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// `Content-Disposition` with a name that every system takes: what is not plain ASCII becomes a hyphen.
pub(crate) fn disposition(parts: &[&str], extension: &str) -> String {
    let name = parts.iter().map(|part| plain(part)).collect::<Vec<_>>().join("_");
    format!("attachment; filename=\"{name}.{extension}\"")
}

fn plain(text: &str) -> String {
    let plain = |char: char| if char.is_ascii_alphanumeric() || "-.".contains(char) { char } else { '-' };
    text.chars().take(NAME_CHARS_MAX).map(plain).collect()
}

/// Adds a text as a field. An empty one is in quotes, to be told from what is not there.
///
/// Whoever may publish would else write formulas into the spreadsheet of whoever exports: a text that would be one, and is
/// no number, gets an apostrophe before it, by which spreadsheets know texts. JSON and NDJSON give every text as it is.
pub(crate) fn push_text(line: &mut String, text: &str) {
    let guard = guard(text);
    if text.is_empty() || text.contains(['"', ',', '\r', '\n']) {
        let _ = write!(line, "\"{guard}{}\"", text.replace('"', "\"\""));
    } else {
        line.push_str(guard);
        line.push_str(text);
    }
}

/// The prefix that keeps a spreadsheet from running a text; the first characters of the text suffice.
pub(crate) fn guard(text: &str) -> &'static str {
    if text.starts_with(FORMULA_STARTS) && !is_number(text) { "'" } else { "" }
}

/// Digits with what numbers have beside them: `-1` and `+1e-7`, not `-inf`.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted_where_it_must_be() {
        for (text, field) in [
            ("23.5", "23.5"),
            ("a b", "a b"),
            ("", "\"\""),
            ("{\"t\":1}", "\"{\"\"t\"\":1}\""),
            ("a,b", "\"a,b\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("-23.5", "-23.5"),
            ("+1e-7", "+1e-7"),
            ("-", "'-"),
            ("-inf", "'-inf"),
            ("-1+1", "'-1+1"),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("\n=1", "\"'\n=1\""),
            ("\t", "'\t"),
            ("＝1+1", "'＝1+1"),
            ("＋1", "'＋1"),
            ("－1", "'－1"),
            ("＠SUM(A1)", "'＠SUM(A1)"),
            ("a＝1", "a＝1"),
            ("ção", "ção"),
        ] {
            let mut line = String::new();
            push_text(&mut line, text);
            assert_eq!(line, field, "{text:?}");
        }
    }

    #[test]
    fn a_file_has_a_name_that_every_system_takes() {
        for (parts, name) in [
            (&["casa/sala", "temperatura", "1h"][..], "casa-sala_temperatura_1h.csv"),
            (&["../etc\r\n\"x\"", "a.b"], "..-etc---x-_a.b.csv"),
            (&["estação", ""], "esta--o_.csv"),
            (&["dados", "casa/#"], "dados_casa--.csv"),
        ] {
            assert_eq!(disposition(parts, "csv"), format!("attachment; filename=\"{name}\""));
        }
        assert!(disposition(&["é".repeat(60_000).as_str()], "csv").len() < 100);
    }
}

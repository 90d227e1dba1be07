//! What a peer sent, fit for a log line, a terminal and an answer: cut and escaped.

use std::fmt::{self, Display, Write as _};

/// The most of a peer's text that is shown, in characters before they are escaped.
pub const SHOWN_CHARS_MAX: usize = 300;

/// The beginning of a text that a peer sent, on one line: at most [`SHOWN_CHARS_MAX`] characters, then `…`.
///
/// Line breaks, other control characters and those that change the direction of writing are escaped as in Rust. The rest
/// of the text is not even formatted, so that `format_args!("{packet:?}")` costs no more than its beginning.
pub fn shown(text: impl Display) -> String {
    let mut shown = Shown { text: String::new(), left: SHOWN_CHARS_MAX };
    if write!(shown, "{text}").is_err() {
        shown.text.push('…');
    }
    shown.text
}

struct Shown {
    text: String,
    left: usize,
}

impl fmt::Write for Shown {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            if char.is_control() || is_deceptive(char) {
                self.text.extend(char.escape_default());
            } else {
                self.text.push(char);
            }
        }
        Ok(())
    }
}

/// Whether a terminal may show a character as something that it is not: separators of lines, and marks that change the
/// direction of writing or cannot be seen.
fn is_deceptive(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_on_one_line() {
        for (text, expected) in [
            ("server busy: volte às 14 h", "server busy: volte às 14 h"),
            ("a\nERROR forged\r\n", "a\\nERROR forged\\r\\n"),
            ("\u{1b}[2J\0\u{9b}", "\\u{1b}[2J\\u{0}\\u{9b}"),
            ("a\u{202e}b\u{2028}c", "a\\u{202e}b\\u{2028}c"),
            ("", ""),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_not_formatted_to_its_end() {
        let whole = "é".repeat(SHOWN_CHARS_MAX);
        assert_eq!(shown(&whole), whole);
        assert_eq!(shown(format!("{whole}x")), format!("{whole}…"));
        struct Endless;
        impl Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("\n")?;
                }
            }
        }
        assert_eq!(shown(Endless), "\\n".repeat(SHOWN_CHARS_MAX) + "…");
    }
}

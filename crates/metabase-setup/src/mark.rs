//! The mark in a description by which what is ours is known again, whatever it is called: `[ponte key words …]`.

const OPENING: &str = "[ponte ";
const CLOSING: char = ']';

/// Whose description this is, and what we noted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark<'a> {
    /// Which of our things it is.
    pub(crate) key: &'a str,
    /// What we noted.
    pub(crate) notes: Vec<&'a str>,
}

/// The mark in a description, if it has one.
pub(crate) fn read(description: &str) -> Option<Mark<'_>> {
    let (start, end) = place(description)?;
    let mut words = description[start + OPENING.len()..end].split_whitespace();
    Some(Mark { key: words.next()?, notes: words.collect() })
}

/// The description with this mark, in place of the one that it may have.
pub(crate) fn write<'a>(description: &str, key: &str, notes: impl IntoIterator<Item = &'a str>) -> String {
    let mark = notes.into_iter().fold(format!("{OPENING}{key}"), |mark, note| mark + " " + note);
    match place(description) {
        Some((start, end)) => format!("{}{mark}{}", &description[..start], &description[end..]),
        None if description.is_empty() => format!("{mark}{CLOSING}"),
        None => format!("{} {mark}{CLOSING}", description.trim_end()),
    }
}

/// What people wrote around it.
pub(crate) fn without(description: &str) -> String {
    match place(description) {
        Some((start, end)) => {
            format!("{}{}", description[..start].trim_end(), &description[end + CLOSING.len_utf8()..])
        }
        None => description.to_owned(),
    }
}

/// Where the last mark begins, and where its closing bracket stands.
fn place(description: &str) -> Option<(usize, usize)> {
    let start = description.rfind(OPENING)?;
    let end = start + description[start..].find(CLOSING)?;
    Some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let description = write("Um texto.", "painel", ["minutos", "horas"]);
        assert_eq!(description, "Um texto. [ponte painel minutos horas]");
        assert_eq!(read(&description), Some(Mark { key: "painel", notes: vec!["minutos", "horas"] }));
        assert_eq!(without(&description), "Um texto.");
        assert_eq!(write("", "colecao", []), "[ponte colecao]");
    }

    #[test]
    fn a_mark_is_replaced_where_it_stands() {
        let edited = "Meu texto. [ponte painel a] E mais.";
        assert_eq!(write(edited, "painel", ["a", "b"]), "Meu texto. [ponte painel a b] E mais.");
        assert_eq!(without(edited), "Meu texto. E mais.");
    }

    #[test]
    fn other_text_is_no_mark() {
        for text in ["", "ponte", "[ponte", "[ponte ]", "[ponte painel", "[pontes painel]"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(without("[ponte painel"), "[ponte painel");
    }
}

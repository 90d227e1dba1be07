//! What python-dotenv 1.2.4 makes of each text (`load_dotenv`, with `OUTSIDE=outside` in the environment).

use super::*;

fn outside(name: &str) -> Option<String> {
    (name == "OUTSIDE").then(|| "outside".to_owned())
}

type Pairs = &'static [(&'static str, &'static str)];

#[rustfmt::skip]
const READ: &[(&str, Pairs)] = &[
        ("", &[]),
        ("a=b", &[("a", "b")]),
        ("export a=b", &[("a", "b")]),
        (" export 'a'=b", &[("a", "b")]),
        ("'a'=b", &[("a", "b")]),
        ("a = b ", &[("a", "b")]),
        ("a=b=c", &[("a", "b=c")]),
        ("a=b # c", &[("a", "b")]),
        ("a=b#c", &[("a", "b#c")]),
        ("a=#b", &[("a", "#b")]),
        ("a= #b", &[("a", "")]),
        ("a=\t# b", &[("a", "")]),
        ("a=b c", &[("a", "b c")]),
        ("a=b\t# c", &[("a", "b")]),
        ("a=", &[("a", "")]),
        ("a= ", &[("a", "")]),
        ("a=''", &[("a", "")]),
        ("a='b'", &[("a", "b")]),
        ("a='b # c'", &[("a", "b # c")]),
        ("a='b' # c", &[("a", "b")]),
        ("a='b'#c", &[("a", "b")]),
        ("a=\"b\"", &[("a", "b")]),
        ("a=\"b # c\" # d", &[("a", "b # c")]),
        ("a=b\\nc", &[("a", "b\\nc")]),
        ("a='b\\nc'", &[("a", "b\\nc")]),
        ("a=\"b\\nc\"", &[("a", "b\nc")]),
        ("a=\"b\\tc\\v\\f\\a\\b\\r\"", &[("a", "b\tc\x0b\x0c\x07\x08\r")]),
        ("a=\"b\\\"c\"", &[("a", "b\"c")]),
        ("a='b\\'c'", &[("a", "b'c")]),
        ("a=\"b\\'c\"", &[("a", "b'c")]),
        ("a=\"b\\\\\"", &[("a", "b\\")]),
        ("a=\"b\\$c\"", &[("a", "b\\$c")]),
        ("a=\"b\\xc\"", &[("a", "b\\xc")]),
        ("a='b\nc'", &[("a", "b\nc")]),
        ("a=\"b\nc\"", &[("a", "b\nc")]),
        ("a=\"b\r\nc\"", &[("a", "b\r\nc")]),
        ("a=b\r\nc=d", &[("a", "b"), ("c", "d")]),
        ("a=b\rc=d", &[("a", "b"), ("c", "d")]),
        ("a=b\nc=d\n", &[("a", "b"), ("c", "d")]),
        ("# c\na=b", &[("a", "b")]),
        ("#a=b", &[]),
        ("  # c", &[]),
        ("a=b\n\n\nc=d", &[("a", "b"), ("c", "d")]),
        ("a", &[]),
        ("export a", &[]),
        ("a\nb=c", &[("b", "c")]),
        ("a # c", &[]),
        ("a=b\na=c", &[("a", "c")]),
        ("a=b\na=", &[("a", "")]),
        ("a=é", &[("a", "é")]),
        ("a=\"é\"", &[("a", "é")]),
        ("ç=b", &[("ç", "b")]),
        ("a-b=c", &[("a-b", "c")]),
        ("a.b=c", &[("a.b", "c")]),
        ("a:b", &[]),
        ("a=\\", &[("a", "\\")]),
        ("a=b'c", &[("a", "b'c")]),
        ("a=b\"c\"", &[("a", "b\"c\"")]),
        ("a=pa$word", &[("a", "pa$word")]),
        ("a='pa$word'", &[("a", "pa$word")]),
        ("a=\"pa$word\"", &[("a", "pa$word")]),
        ("a=$b", &[("a", "$b")]),
        ("a=${b}", &[("a", "")]),
        ("b=c\na=${b}", &[("a", "c"), ("b", "c")]),
        ("b=c\na='${b}'", &[("a", "c"), ("b", "c")]),
        ("a=${b:-d}", &[("a", "d")]),
        ("a=${b:d}", &[("a", "${b:d}")]),
        ("a=${b:-}", &[("a", "")]),
        ("a=${}x", &[("a", "x")]),
        ("a=${b", &[("a", "${b")]),
        ("a=x${OUTSIDE}y", &[("a", "xoutsidey")]),
        ("OUTSIDE=in\na=${OUTSIDE}", &[("OUTSIDE", "in"), ("a", "outside")]),
        ("b=1\na=${b}\nb=2", &[("a", "1"), ("b", "2")]),
        ("a=$${b}", &[("a", "$")]),
        ("b=c\na=${b}${b}", &[("a", "cc"), ("b", "c")]),
        ("a=two  words ", &[("a", "two  words")]),
        ("a=it's", &[("a", "it's")]),
        ("a=b\u{a0}# c", &[("a", "b")]),
        ("a =b", &[("a", "b")]),
        ("a\u{a0}=b", &[("a", "b")]),
        ("export=b", &[("export", "b")]),
        ("exporta=b", &[("exporta", "b")]),
        ("a=b\x0bc", &[("a", "b\x0bc")]),
        ("a=\"b\" \nc=d", &[("a", "b"), ("c", "d")]),
        ("a=\"${b:-x y}\"", &[("a", "x y")]),
        ("a=${b:-${c}}", &[("a", "${c}")]),
        ("a==", &[("a", "=")]),
        ("a=b;c", &[("a", "b;c")]),
        ("a=b\\ #c", &[("a", "b\\")]),
        ("a=b \\# c", &[("a", "b \\# c")]),
];

/// With the line that it warns of, and skips.
#[rustfmt::skip]
const WARNED: &[(&str, usize)] = &[
        ("a='b", 1),
        ("a=\"b", 1),
        ("a='b'c", 1),
        ("a: b", 1),
        ("'a=b", 1),
        ("''=b", 1),
        ("=b", 1),
        ("a b=c", 1),
        ("a=\"\\", 1),
        ("\na=b\n \n'c=d", 3),
];

#[test]
fn every_text_is_read_as_python_dotenv_reads_it() {
    for (text, expected) in READ {
        let bindings = parse(text, outside).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let pairs: Vec<_> = bindings.values.iter().map(|(name, value)| (name.as_str(), value.text.as_str())).collect();
        assert_eq!(pairs, *expected, "{text:?}");
    }
}

#[test]
fn a_line_that_python_dotenv_skips_is_an_error_that_names_it_alone() {
    for (text, line) in WARNED {
        let error = parse(text, outside).unwrap_err();
        // python-dotenv counts from the blank lines before.
        let blank = text.split('\n').skip(line - 1).take_while(|line| line.trim().is_empty()).count();
        assert_eq!(error.line, line + blank, "{text:?}: {error}");
    }
    let error = parse("A=1\nHIVE_PSWD=\"my secret", outside).unwrap_err();
    assert_eq!(error.to_string(), "line 2: a quote is not closed; expected NAME=value or NAME=\"value\"");
    assert_eq!(parse("a=\0", outside).unwrap_err().what, "it has a null character");
}

#[test]
fn names_without_a_value_and_doubtful_comments_are_told() {
    let bindings = parse("a\n\nexport b # c\nd= # e\nf=# g\nh=\n", outside).unwrap();
    assert_eq!(bindings.bare, [("a".to_owned(), 1), ("b".to_owned(), 3)]);
    let doubtful: Vec<_> =
        bindings.values.iter().filter(|(_, value)| value.is_doubtful).map(|(name, _)| name).collect();
    assert_eq!(doubtful, ["d"]);
}

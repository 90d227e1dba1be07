//! Payloads by table: what each has in it, and what each limit leaves.

use super::*;

/// A field as the tables write it: path, number, text.
type Told<'a> = (&'a str, Option<f64>, Option<&'a str>);

fn n(campo: &str, numero: f64) -> Told<'_> {
    (campo, Some(numero), None)
}

fn t<'a>(campo: &'a str, texto: &'a str) -> Told<'a> {
    (campo, None, Some(texto))
}

fn told<'f>(fields: &'f Fields<'_>) -> Vec<Told<'f>> {
    fields.fields.iter().map(|field| (&*field.campo, field.numero, field.texto.as_deref())).collect()
}

/// That this is what the payload has, and that nothing was left out.
fn assert_fields(payload: &str, expected: &[Told<'_>]) {
    let fields = fields(payload, None);
    assert_eq!(told(&fields), expected, "{payload}");
    assert_eq!(fields.omitted, 0, "{payload}");
}

#[test]
fn a_number_is_valor() {
    for (payload, numero) in [
        ("23.5", 23.5),
        ("-40", -40.0),
        ("0", 0.0),
        (" 23.5\r\n", 23.5),
        ("\t7 ", 7.0),
        ("1e3", 1000.0),
        ("1.5E-3", 0.0015),
        ("+23.5", 23.5),
        (".5", 0.5),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("007", 7.0),
        ("0.1", 0.1),
        ("0.12345678901234567890", 0.123_456_789_012_345_68),
        ("21.299999237060547", 21.299999237060547),
        ("1e-999", 0.0),
        ("1e22", 1e22),
        ("9007199254740992", 9_007_199_254_740_992.0),
        ("-9007199254740992", -9_007_199_254_740_992.0),
        ("100000000000000000000", 1e20),
        ("18446744073709551616", 18_446_744_073_709_551_616.0),
        ("00000000000000000000", 0.0),
        ("12345678901234567890.5", 12_345_678_901_234_567_890.5),
    ] {
        assert_fields(payload, &[n("valor", numero)]);
    }
}

#[test]
fn digits_that_a_double_has_only_nearly_are_kept() {
    for (payload, numero) in [
        ("9007199254740993", 9_007_199_254_740_992.0),
        ("-9007199254740993", -9_007_199_254_740_992.0),
        ("+9007199254740993", 9_007_199_254_740_992.0),
        ("18446744073709551615", 18_446_744_073_709_551_616.0),
        ("1700000000123456789", 1_700_000_000_123_456_789.0),
        ("123456789012345678901234567890", 1.234_567_890_123_456_8e29),
    ] {
        assert_fields(payload, &[("valor", Some(numero), Some(payload))]);
        assert_fields(
            &format!("[{}]", payload.trim_start_matches('+')),
            &[("0", Some(numero), Some(payload.trim_start_matches('+')))],
        );
    }
    for payload in ["1e400", "-1e400", &"9".repeat(400)] {
        assert_fields(payload, &[t("valor", payload)]);
        assert_fields(&format!(r#"{{"a":{payload},"b":1}}"#), &[t("a", payload), n("b", 1.0)]);
    }
}

#[test]
fn what_is_no_number_is_text() {
    let words = "ligado on True TRUE NULL truefalse inf -inf infinity NaN nan e5 a:1 'a' ٣ \0x \u{feff}1";
    let nearly = "23,5 1.234,5 0x17 +-1 --1 1-2 1e . - + -. 1_000 23.5°C 1.2.3 2026-11-23 12:30";
    for payload in words.split(' ').chain(nearly.split(' ')).chain(["1 000", "23.5 C"]) {
        assert_fields(payload, &[t("valor", payload)]);
    }
    assert_fields(" ligado\r\n", &[t("valor", "ligado")]);
    assert_fields("a b\nc", &[t("valor", "a b\nc")]);
    assert_fields("ligado\0", &[t("valor", "ligado")]);
    assert_fields("23.5\n\0\0", &[n("valor", 23.5)]);
    assert_fields("{\"a\":1}\0", &[n("a", 1.0)]);
}

#[test]
fn nothing_has_no_fields() {
    for payload in ["", " ", "\r\n\t ", "null", " null ", "{}", "[]", " { } ", "[ ]", "[[],{}]", r#"{"a":null,"b":[]}"#]
    {
        assert_fields(payload, &[]);
    }
    for payload in ["AP8=", "MTIz", "", "1"] {
        assert_eq!(fields(payload, Some(Formato::Base64)), Fields::default());
    }
}

#[test]
fn truths_are_one_and_zero() {
    assert_fields("true", &[n("valor", 1.0)]);
    assert_fields(" false\n", &[n("valor", 0.0)]);
    assert_fields(r#"{"on":true,"off":false}"#, &[n("on", 1.0), n("off", 0.0)]);
}

#[test]
fn a_json_string_is_its_text_and_maybe_its_number() {
    for (payload, texto, numero) in [
        (r#""ligado""#, "ligado", None),
        (r#""23.5""#, "23.5", Some(23.5)),
        (r#"" 23.5 ""#, " 23.5 ", Some(23.5)),
        (r#""23,5""#, "23,5", None),
        (r#""00417""#, "00417", Some(417.0)),
        (r#""9007199254740993""#, "9007199254740993", Some(9_007_199_254_740_992.0)),
        (r#""1e400""#, "1e400", None),
        (r#""NaN""#, "NaN", None),
        (r#""true""#, "true", None),
        (r#""""#, "", None),
        (r#"" ""#, " ", None),
        (r#""{\"a\":1}""#, r#"{"a":1}"#, None),
        (r#""a\n\t\\\/\"\u00e7\ud83d\ude00""#, "a\n\t\\/\"ç😀", None),
        (r#""\u0032\u0033""#, "23", Some(23.0)),
        (r#""\u0000""#, "\0", None),
        // Half a pair: no text in UTF-8.
        (r#""\ud83d""#, r"\ud83d", None),
        (r#""\ude00\ud83d x""#, r"\ude00\ud83d x", None),
    ] {
        assert_fields(payload, &[("valor", numero, Some(texto))]);
        assert_fields(&format!(" {payload}\n"), &[("valor", numero, Some(texto))]);
        assert_fields(&format!(r#"{{"a":[{payload}]}}"#), &[("a.0", numero, Some(texto))]);
    }
}

#[test]
fn objects_and_arrays_are_laid_flat() {
    assert_fields(r#"{"temperatura":21.5,"umidade":55.0}"#, &[n("temperatura", 21.5), n("umidade", 55.0)]);
    assert_fields(r#"{"b":1,"a":2}"#, &[n("b", 1.0), n("a", 2.0)]);
    assert_fields(
        r#"[1,"x",null,true,[2,{"k":3}]]"#,
        &[n("0", 1.0), t("1", "x"), n("3", 1.0), n("4.0", 2.0), n("4.1.k", 3.0)],
    );
    assert_fields(r#"{"a":{"b":{"c":1},"d":[]},"e":{"f":"x"}}"#, &[n("a.b.c", 1.0), t("e.f", "x")]);
    assert_fields(r#"{"valor":1}"#, &[n("valor", 1.0)]);
    // Names as they are, whatever they are.
    assert_fields(r#"{"":1,"x":{"":2},"":{"":3}}"#, &[n("", 1.0), n("x.", 2.0), n(".", 3.0)]);
    assert_fields(
        r#"{"a.b":1,"a b":2,"\u00e7\"":3,"\u0000":4}"#,
        &[n("a.b", 1.0), n("a b", 2.0), n("ç\"", 3.0), n("\0", 4.0)],
    );
    assert_fields(r#"{"\ud800":1,"\ud801":2}"#, &[n(r"\ud800", 1.0), n(r"\ud801", 2.0)]);
}

#[test]
fn of_one_path_the_last_counts_where_the_first_was() {
    assert_fields(r#"{"a":1,"b":2,"a":"x"}"#, &[t("a", "x"), n("b", 2.0)]);
    assert_fields(r#"{"a":{"b":1},"c":2,"a.b":3}"#, &[n("a.b", 3.0), n("c", 2.0)]);
    assert_fields(r#"{"a":{"b":1},"a":{"c":2}}"#, &[n("a.b", 1.0), n("a.c", 2.0)]);
    // Nothing does not count.
    assert_fields(r#"{"a":1,"a":null}"#, &[n("a", 1.0)]);
    // Names that differ beyond where they are cut.
    let (one, other) = ("ç".repeat(CAMPO_CHARS_MAX) + "1", "ç".repeat(CAMPO_CHARS_MAX) + "2");
    assert_fields(&format!(r#"{{"{one}":1,"{other}":2}}"#), &[n(&"ç".repeat(CAMPO_CHARS_MAX), 2.0)]);
}

#[test]
fn json_that_is_broken_is_text() {
    let objects = r#"{"a":1 {"a":1}} {"a":1}{"a":2} {"a":1,} {'a':1} {a:1} {"t":NaN} {"t":-Infinity} {"a":"\u12"}"#;
    let nested = r#"{"a":{"b":[1,{"c":}]}} {"a":1,"b":{"c":1,"c"}}"#;
    let arrays = "[1,2 [1,] [01] [+1] [.5] [1.] [truee] [nul] [1]\u{b} { [ } ] [}";
    let strings = r#"" "a a" "a""b" "\x""#;
    let spaces = ["{\"a\":1} x", "{\"a\":\"\n\"}", "{\"a\n\":1}", "\"\n\""];
    for payload in [objects, nested, arrays, strings].into_iter().flat_map(|list| list.split(' ')).chain(spaces) {
        assert_fields(payload, &[t("valor", payload)]);
    }
}

#[test]
fn an_array_is_its_first_elements() {
    let numbers: Vec<_> = (0..100).collect();
    let of_array = |payload: String| {
        let fields = fields(&payload, None);
        (fields.fields.len(), fields.fields.last().unwrap().campo.to_string(), fields.omitted)
    };
    assert_eq!(of_array(format!("{:?}", &numbers[..16])), (16, "15".into(), 0));
    assert_eq!(of_array(format!("{numbers:?}")), (16, "15".into(), 84));
    assert_eq!(of_array(format!(r#"{{"a":{numbers:?},"b":1}}"#)), (17, "b".into(), 84));
    // Each one that is left out counts, and what is broken behind them still is.
    assert_eq!(of_array(format!("[{}[1,2],null]", "0,".repeat(16))), (16, "15".into(), 2));
    assert_eq!(of_array(format!("[{}1", "0,".repeat(20))), (1, "valor".into(), 0));
}

#[test]
fn a_message_has_a_limit_of_fields() {
    let object =
        |keys: usize| format!("{{{}}}", (0..keys).map(|k| format!(r#""k{k}":{k}"#)).collect::<Vec<_>>().join(","));
    for (keys, kept, omitted) in [(63, 63, 0), (64, 64, 0), (65, 64, 1), (1000, 64, 936)] {
        let payload = object(keys);
        let fields = fields(&payload, None);
        assert_eq!((fields.fields.len(), fields.omitted), (kept, omitted));
        assert_eq!(fields.fields[kept - 1].campo, format!("k{}", kept - 1));
    }
    // A name that is in already still counts.
    let payload = object(70).replace('}', r#","k0":"x"}"#);
    let fields = fields(&payload, None);
    assert_eq!((told(&fields)[0], fields.omitted), (t("k0", "x"), 6));
}

#[test]
fn what_is_too_deep_is_text() {
    let nested = |depth: usize, inner: &str| {
        (0..depth).fold(inner.to_owned(), |json, level| {
            if level % 2 == 0 { format!("[{json}]") } else { format!(r#"{{"k":{json}}}"#) }
        })
    };
    let path = "k.0.k.0.k.0.k.0";
    assert_fields(&nested(DEPTH_MAX, "1"), &[n(path, 1.0)]);
    for (inner, texto) in [("[1]", "[1]"), (r#"{ "a" : [ 1 ] }"#, r#"{ "a" : [ 1 ] }"#), ("[null]", "[null]")] {
        assert_fields(&nested(DEPTH_MAX, inner), &[t(path, texto)]);
    }
    for inner in ["[]", "{ }"] {
        assert_fields(&nested(DEPTH_MAX, inner), &[]);
    }
    assert_fields(&nested(20, "1"), &[t(path, &nested(12, "1"))]);
}

#[test]
fn texts_and_names_are_cut_between_characters() {
    for (one, len) in [("a", 1), ("ç", 2), ("😀", 4)] {
        let (fits, long) = (one.repeat(TEXT_CHARS_MAX), one.repeat(TEXT_CHARS_MAX + 1));
        assert_eq!(fits.len(), TEXT_CHARS_MAX * len);
        for payload in [fits.clone(), long.clone(), format!("\"{long}\""), format!("\"{}\\n\"", long)] {
            assert_fields(&payload, &[t("valor", &fits)]);
        }
        let (fits, long) = (one.repeat(CAMPO_CHARS_MAX), one.repeat(CAMPO_CHARS_MAX + 1));
        assert_fields(&format!(r#"{{"{fits}":1}}"#), &[n(&fits, 1.0)]);
        assert_fields(&format!(r#"{{"{long}":1}}"#), &[n(&fits, 1.0)]);
        assert_fields(&format!(r#"{{"{long}":{{"{long}":1}}}}"#), &[n(&fits, 1.0)]);
        let path = format!("{one}.{}", one.repeat(CAMPO_CHARS_MAX - 2));
        assert_fields(&format!(r#"{{"{one}":{{"{long}":1}}}}"#), &[n(&path, 1.0)]);
    }
}

#[test]
fn the_common_payload_is_borrowed() {
    let payload = r#"{"temperatura":21.5,"estado":"ligado","id":9007199254740993}"#;
    for field in fields(payload, None).fields {
        assert!(matches!(field.campo, Cow::Borrowed(_)), "{field:?}");
        assert!(matches!(field.texto, None | Some(Cow::Borrowed(_))), "{field:?}");
    }
}

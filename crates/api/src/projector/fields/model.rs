//! Any payload: against a model on `serde_json::Value`, the worst ones, and what holds for all.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What holds for any payload at all.
fn assert_bounded(payload: &str) {
    let read = fields(payload, None);
    assert!(read.fields.len() <= FIELDS_MAX);
    for (at, field) in read.fields.iter().enumerate() {
        assert!(field.campo.chars().count() <= CAMPO_CHARS_MAX);
        assert!(field.texto.as_ref().is_none_or(|texto| texto.chars().count() <= TEXT_CHARS_MAX));
        assert!(field.numero.is_some() || field.texto.is_some());
        assert!(field.numero.is_none_or(f64::is_finite));
        assert!(read.fields[..at].iter().all(|earlier| earlier.campo != field.campo));
    }
    assert_eq!(fields(payload, Some(Formato::Base64)), Fields::default());
}

/// `Value` has no digits left and no limits: within them, it must come to the same.
#[derive(Default)]
struct Model {
    fields: Vec<Field<'static>>,
    omitted: u32,
}

impl Model {
    fn of(value: &Value) -> Fields<'static> {
        let mut model = Self::default();
        model.add(&[], value);
        Fields { fields: model.fields, omitted: model.omitted }
    }

    fn add(&mut self, path: &[&str], value: &Value) {
        let (numero, texto) = match value {
            Value::Null => return,
            Value::Bool(truth) => (Some(f64::from(u8::from(*truth))), None),
            Value::Number(number) => {
                let digits = number.to_string();
                let double: f64 = digits.parse().unwrap();
                // Exact where it comes back from the double: an i128 has room for all of them.
                let is_exact = digits.parse::<i128>().is_ok_and(|integer| double as i128 == integer);
                (Some(double), (!is_exact && !number.is_f64()).then_some(digits))
            }
            Value::String(text) => {
                let decimal = !text.to_lowercase().contains(['n', 'f']);
                let double: Option<f64> = text.trim_ascii().parse().ok().filter(|_| decimal);
                (double.filter(|double| double.is_finite()), Some(text.clone()))
            }
            Value::Array(items) => {
                for (index, item) in items.iter().take(ARRAY_ITEMS_MAX).enumerate() {
                    self.add(&[path, &[&index.to_string()]].concat(), item);
                }
                self.omitted += items.len().saturating_sub(ARRAY_ITEMS_MAX) as u32;
                return;
            }
            Value::Object(members) => {
                members.iter().for_each(|(key, member)| self.add(&[path, &[key]].concat(), member));
                return;
            }
        };
        let campo = if path.is_empty() { "valor".to_owned() } else { path.join(".") };
        let field = Field { campo: campo.into(), numero, texto: texto.map(Cow::Owned) };
        match self.fields.iter().position(|earlier| earlier.campo == field.campo) {
            Some(earlier) => self.fields[earlier] = field,
            None if self.fields.len() == FIELDS_MAX => self.omitted += 1,
            None => self.fields.push(field),
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        any::<String>().prop_map(|text| text.chars().take(12).collect()),
        "[ \t]?[-+]?[0-9]{0,20}[.,]?[0-9]{0,3}([eE][-+]?[0-9]{1,3})?\n?",
        "(true|null|NaN|-inf|Infinity|\\{\\}|0x1F|\\\\u0041)",
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-(1_i64 << 55)..1 << 55).prop_map(Value::from),
        // Infinite ones become null.
        any::<f64>().prop_map(Value::from),
        (-1e4..1e4_f64).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let key = prop_oneof!["[ab.]{0,3}", "[0-9]", text()];
    leaf.prop_recursive(DEPTH_MAX as u32, 200, 24, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..24).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..12)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The JSON text of a value, with white space wherever JSON allows it.
fn spaced(value: &Value, spaces: &mut impl Iterator<Item = &'static str>) -> String {
    let mut text = spaces.next().unwrap().to_owned();
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| spaced(item, spaces)).collect();
            text += &format!("[{}{}]", items.join(","), spaces.next().unwrap());
        }
        Value::Object(members) => {
            let members = members.iter().map(|(key, member)| {
                format!("{}:{}", spaced(&Value::from(key.as_str()), spaces), spaced(member, spaces))
            });
            let members: Vec<String> = members.collect();
            text += &format!("{{{}{}}}", members.join(","), spaces.next().unwrap());
        }
        scalar => text += &scalar.to_string(),
    }
    text + spaces.next().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_is_laid_flat_as_by_the_model(value in json()) {
        let payload = value.to_string();
        prop_assert_eq!(fields(&payload, None), Model::of(&value), "{}", payload);
        assert_bounded(&payload);
    }

    #[test]
    fn white_space_between_tokens_means_nothing(
        value in json(),
        spaces in prop::collection::vec(prop::sample::select(vec!["", " ", "\n", "\r\n", "\t  "]), 1..9),
    ) {
        let (plain, spaced) = (value.to_string(), spaced(&value, &mut spaces.into_iter().cycle()));
        prop_assert_eq!(fields(&plain, None), fields(&spaced, None), "{}", spaced);
    }

    #[test]
    fn a_number_comes_back(number in any::<f64>(), integer in any::<i64>()) {
        for number in [number, integer as f64] {
            let (plain, quoted) = (format!("{number}"), format!("\"{number}\""));
            let payloads = [plain, quoted, format!("{number:e}"), format!("[{number:?}]")];
            for payload in payloads.iter().filter(|_| number.is_finite()) {
                prop_assert_eq!(fields(payload, None).fields[0].numero, Some(number), "{}", payload);
            }
        }
        let payload = integer.to_string();
        let field = &fields(&payload, None).fields[0];
        let digits = field.texto.as_deref().map_or(field.numero.unwrap() as i128, |digits| digits.parse().unwrap());
        prop_assert_eq!(digits, i128::from(integer));
    }

    #[test]
    fn any_text_is_taken(any in any::<String>(), made in "[\\[\\]{}\":,\\\\u0-9dD8.eE+ \na-]{0,40}", text in text()) {
        for payload in [&any, &made, &text] {
            assert_bounded(payload);
            // A message is never lost: it has fields, or there is nothing in it.
            let is_json = serde_json::from_str::<&RawValue>(payload.trim_ascii()).is_ok();
            prop_assert!(is_json || payload.trim_ascii().is_empty() || !fields(payload, None).fields.is_empty());
        }
    }

    #[test]
    fn json_that_was_tampered_with_is_taken(
        value in json(), at in any::<prop::sample::Index>(), byte in "\\PC|[\0\"{}]",
    ) {
        let mut payload: Vec<char> = value.to_string().chars().collect();
        let at = at.index(payload.len());
        payload.splice(at..=at, byte.chars());
        assert_bounded(&payload.iter().collect::<String>());
        assert_bounded(&payload[..at].iter().collect::<String>());
    }
}

#[test]
fn the_worst_payloads_are_taken() {
    let deep = 10_000;
    let keys = |of: &dyn Fn(usize) -> String| (0..100_000).map(of).collect::<Vec<_>>().join(",");
    let long = "x".repeat(1 << 20);
    for (name, payload, fields_expected, omitted) in [
        ("deep arrays", "[".repeat(deep) + &"]".repeat(deep), 1, 0),
        ("deep objects", r#"{"a":"#.repeat(deep) + "1" + &"}".repeat(deep), 1, 0),
        ("deep mixtures", r#"[{"a":"#.repeat(deep) + "1" + &"}]".repeat(deep), 1, 0),
        ("deep and broken", "[".repeat(deep), 1, 0),
        ("deep with siblings", r#"{"b":1,"a":"#.repeat(deep) + "1" + &"}".repeat(deep), 9, 0),
        ("a long text", long.clone(), 1, 0),
        ("a long string", format!("\"{long}\""), 1, 0),
        ("a long string of escapes", format!("\"{}\"", r"\u00e7".repeat(1 << 18)), 1, 0),
        ("a long string of half pairs", format!("\"{}\"", r"\ud800".repeat(1 << 18)), 1, 0),
        ("a long key", format!(r#"{{"{long}":{{"{long}":1}}}}"#), 1, 0),
        ("a long number", "1".repeat(1 << 20), 1, 0),
        ("a long fraction", format!("[0.{}]", "1".repeat(1 << 20)), 1, 0),
        ("a long exponent", format!("1e{}", "1".repeat(1 << 20)), 1, 0),
        ("nearly a number", "1".repeat(1 << 20) + "x", 1, 0),
        ("white space", " ".repeat(1 << 20), 0, 0),
        ("many keys", format!("{{{}}}", keys(&|k| format!(r#""k{k}":{k}"#))), 64, 99_936),
        ("one key often", format!("{{{}}}", keys(&|k| format!(r#""k":{k}"#))), 1, 0),
        ("many broken keys", format!("{{{}", keys(&|k| format!(r#""k{k}":{k}"#))), 1, 0),
        (
            "many deep keys",
            format!(r#"{{"a":{{"b":{{{}}}}}}}"#, keys(&|k| format!(r#""k{k}":{{"l":{k}}}"#))),
            64,
            99_936,
        ),
        ("many elements", format!("[{}]", keys(&|k| k.to_string())), 16, 99_984),
        ("arrays of arrays", format!("[{0}{0}0]", format!("[{}],", "1,".repeat(30) + "1").repeat(8)), 64, 433),
        ("keys with points", r#"{"a.b":{"c":1},"a":{"b.c":2,"b":{"c":3}},".":4,"..":5}"#.into(), 3, 0),
        ("escapes", r#"{"\"\\\/\b\f\n\r\t":"\"\\\/\b\f\n\r\t","\u0061":"\u0031"}"#.into(), 2, 0),
        (
            "pairs and halves",
            r#"{"\ud83d\ude00":"\ud83d\ude00","\ud83d":"\ude00","\ude00\ud83d":"\ud83dx"}"#.into(),
            3,
            0,
        ),
        ("null characters", "{\"\\u0000\":\"\\u0000\",\"a\\u0000b\":1}".into(), 2, 0),
        ("bare null characters", "\0".repeat(9), 0, 0),
        ("a null character in JSON", "{\"a\":1}\0".into(), 1, 0),
        ("a byte order mark", "\u{feff}{\"a\":1}".into(), 1, 0),
    ] {
        assert_bounded(&payload);
        let read = fields(&payload, None);
        assert_eq!((read.fields.len(), read.omitted), (fields_expected, omitted), "{name}");
    }
}

//! Rules as they are typed, and times as devices write them.

use dados::topic::TOPIC_BYTES_MAX;
use proptest::prelude::*;

use super::*;
use crate::projector::fields::fields;

fn rules(text: &str) -> Rules {
    text.parse().unwrap()
}

fn captured() -> Timestamp {
    "2026-11-23T03:21:45.678Z".parse().unwrap()
}

/// What the field `ts` of this message says.
fn told(payload: &str) -> DeviceTime {
    device_time(&rules("ts"), "a", &fields(payload, None).fields, captured())
}

#[test]
fn rules_are_tried_in_their_order() {
    let rules = rules(" casa/sala=hora ,casa/# = ts, planta/+/x=relogio.unix,a=b/+=t,lab/# =0.t");
    for (topico, campo) in [
        ("casa/sala", Some("hora")),
        ("casa/quarto", Some("ts")),
        ("casa", Some("ts")),
        ("planta/1/x", Some("relogio.unix")),
        ("planta/1/y", None),
        ("a=b/c", Some("t")),
        ("lab", Some("0.t")),
        ("", None),
    ] {
        assert_eq!(rules.campo(topico), campo, "{topico}");
    }
    assert_ne!(rules, Rules::default());
}

#[test]
fn a_campo_alone_is_for_all_topics() {
    assert_eq!(rules("ts"), rules("#=ts"));
    assert_eq!(rules("lab/#=hora,ts").campo("lab/a"), Some("hora"));
    for (topico, campo) in [("a", Some("ts")), ("a/b", Some("ts")), ("", Some("ts")), ("$SYS/a", None)] {
        assert_eq!(rules("ts").campo(topico), campo, "{topico}");
    }
    assert_eq!(rules("$SYS/#=ts").campo("$SYS/a"), Some("ts"));
}

#[test]
fn nothing_is_no_rules() {
    for text in ["", " ", "\t"] {
        assert_eq!(rules(text), Rules::default());
        assert_eq!(rules(text), Rules::default());
        assert_eq!(rules(text).campo("a"), None);
    }
}

#[test]
fn a_bad_rule_is_named() {
    let long = "c".repeat(CAMPO_CHARS_MAX + 1);
    for (text, bad, problem) in [
        ("ts,", "", InvalidRule::Campo),
        (",", "", InvalidRule::Campo),
        ("a=ts,b=", "b=", InvalidRule::Campo),
        ("=", "=", InvalidRule::Campo),
        (&long, &long, InvalidRule::Campo),
        ("=ts", "=ts", InvalidRule::Filter(InvalidTopic::Empty)),
        ("a#=ts, b=ts", "a#=ts", InvalidRule::Filter(InvalidTopic::Hash)),
        ("b=ts, a/b+=ts", "a/b+=ts", InvalidRule::Filter(InvalidTopic::Plus)),
        ("$share/g/a=ts", "$share/g/a=ts", InvalidRule::Share),
        ("$share/g=ts", "$share/g=ts", InvalidRule::Filter(InvalidTopic::Share)),
    ] {
        let error = text.parse::<Rules>().unwrap_err();
        assert_eq!(error, InvalidRules::Rule { rule: bad.to_owned(), problem }, "{text}");
    }
    assert_eq!(
        "casa/+x=ts".parse::<Rules>().unwrap_err().to_string(),
        "rule \"casa/+x=ts\": + stands alone in its level of a filter; \
         expected campo or filter=campo separated by commas, such as ts or casa/#=ts"
    );
    assert!(format!("{}=ts", "a".repeat(TOPIC_BYTES_MAX + 1)).parse::<Rules>().is_err());
    assert!(format!("a={}", "ç".repeat(CAMPO_CHARS_MAX)).parse::<Rules>().is_ok());
    assert!(vec!["ts"; RULES_MAX].join(",").parse::<Rules>().is_ok());
    let error = vec!["ts"; RULES_MAX + 1].join(",").parse::<Rules>().unwrap_err();
    assert_eq!((&error, &*error.to_string()), (&InvalidRules::TooMany, "expected at most 64 rules"));
}

#[test]
fn every_form_of_a_time_is_read() {
    for (ts, at) in [
        (r#""2026-11-23T03:21:45.678Z""#, "2026-11-23T03:21:45.678Z"),
        (r#""2026-11-23T00:21:45-03:00""#, "2026-11-23T03:21:45.000Z"),
        (r#""2026-11-23T03:21:45.678999Z""#, "2026-11-23T03:21:45.678Z"),
        (r#""2026-11-23 03:21:45""#, "2026-11-23T03:21:45.000Z"),
        (r#"" 2026-11-23 03:21:45.678\n""#, "2026-11-23T03:21:45.678Z"),
        ("1700000000", "2023-11-14T22:13:20.000Z"),
        ("1700000000.5", "2023-11-14T22:13:20.500Z"),
        ("1700000000.123", "2023-11-14T22:13:20.123Z"),
        ("1700000000.1239", "2023-11-14T22:13:20.123Z"),
        ("1.7e9", "2023-11-14T22:13:20.000Z"),
        (r#""1700000000""#, "2023-11-14T22:13:20.000Z"),
        (r#"" 1700000000.5 ""#, "2023-11-14T22:13:20.500Z"),
        ("1700000000123", "2023-11-14T22:13:20.123Z"),
        ("1700000000123.9", "2023-11-14T22:13:20.123Z"),
        (r#""1700000000123""#, "2023-11-14T22:13:20.123Z"),
        ("1700000000123456", "2023-11-14T22:13:20.123Z"),
        ("1700000000123999", "2023-11-14T22:13:20.123Z"),
        ("1700000000123000000", "2023-11-14T22:13:20.123Z"),
        ("1700000000123456789", "2023-11-14T22:13:20.123Z"),
        (r#""1700000000123456789""#, "2023-11-14T22:13:20.123Z"),
    ] {
        assert_eq!(told(&format!(r#"{{"ts":{ts},"t":1}}"#)), DeviceTime::At(at.parse().unwrap()), "{ts}");
    }
}

#[test]
fn what_cannot_be_true_is_unreadable() {
    for ts in [
        r#""ontem""#,
        r#""""#,
        r#""03:21:45""#,
        r#""2026-11-23""#,
        r#""2026-11-23T03:21:45""#,
        r#""1970-01-01T00:00:07Z""#,
        r#""2026-11-24T03:21:45.679Z""#,
        "null",
        "true",
        "{}",
        "0",
        "7",
        "-1",
        "-1700000000",
        "-1e300",
        "1e300",
        "1e400",
        "978307199.999",
        "1795576905679",
        "99999999999",
        "100000000000",
        "99999999999999999",
    ] {
        assert_eq!(told(&format!(r#"{{"ts":{ts},"t":1}}"#)), DeviceTime::Unreadable, "{ts}");
    }
    for payload in ["", "23.5", r#"{"t":1}"#, r#"{"TS":1700000000}"#, r#"{"a":{"ts":1700000000}}"#] {
        assert_eq!(told(payload), DeviceTime::Unreadable, "{payload}");
    }
}

#[test]
fn what_can_be_true_has_an_end_on_both_sides() {
    for ms in [FIRST_MS, captured().as_ms(), captured().as_ms() + AHEAD_MS_MAX] {
        assert_eq!(told(&format!(r#"{{"ts":{ms}}}"#)), DeviceTime::At(Timestamp::from_ms(ms).unwrap()));
    }
    for ms in [FIRST_MS - 1, captured().as_ms() + AHEAD_MS_MAX + 1] {
        assert_eq!(told(&format!(r#"{{"ts":{ms}}}"#)), DeviceTime::Unreadable);
    }
    assert_eq!(FIRST_MS, "2001-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_ms());
}

#[test]
fn the_size_of_a_number_is_its_unit() {
    for (number, ms) in [
        (99_999_999_999.0, Some(99_999_999_999_000)),
        (1e11, Some(100_000_000_000)),
        (99_999_999_999_999.0, Some(99_999_999_999_999)),
        (1e14, Some(100_000_000_000)),
        (99_999_999_999_999_984.0, Some(99_999_999_999_999)),
        (1e17, Some(100_000_000_000)),
        (-1.5, Some(-1_500)),
        (f64::MAX, None),
        (f64::MIN, None),
    ] {
        assert_eq!(since_epoch(number).map(Timestamp::as_ms), ms, "{number}");
    }
}

#[test]
fn the_field_is_that_of_the_topic() {
    let rules = rules("casa/#=relogio.unix, lab/#=2.hora, bruto=valor");
    let at = |text: &str| DeviceTime::At(text.parse().unwrap());
    for (topico, payload, told) in [
        ("casa/a", r#"{"relogio":{"unix":1700000000},"t":1}"#, at("2023-11-14T22:13:20Z")),
        ("lab/a", r#"[1,2,{"hora":"2026-01-02 03:04:05"}]"#, at("2026-01-02T03:04:05Z")),
        ("bruto", "1700000000", at("2023-11-14T22:13:20Z")),
        ("bruto", "2026-01-02T03:04:05Z", at("2026-01-02T03:04:05Z")),
        ("casa/a", "1700000000", DeviceTime::Unreadable),
        ("outro", "1700000000", DeviceTime::NotAsked),
    ] {
        assert_eq!(device_time(&rules, topico, &fields(payload, None).fields, captured()), told, "{topico} {payload}");
    }
}

proptest! {
    #[test]
    fn a_moment_is_read_the_same_in_every_form(ms in FIRST_MS..=captured().as_ms() + AHEAD_MS_MAX) {
        let at = Timestamp::from_ms(ms).unwrap();
        let (s, rest) = (ms / 1000, ms % 1000);
        for ts in [
            format!("\"{at}\""), format!("\"{}\"", at.to_sql()), format!("{s}.{rest:03}"), format!("\"{s}.{rest:03}\""),
            format!("{ms}"), format!("{ms}000"), format!("{ms}000000"), format!("\"{ms}000000\""), format!("{ms}.25"),
        ] {
            prop_assert_eq!(told(&format!(r#"{{"ts":{ts}}}"#)), DeviceTime::At(at), "{}", ts);
        }
    }

    #[test]
    fn any_number_is_a_time_within_the_bounds_or_none(number in any::<f64>(), near in 1e8..1e20_f64) {
        for number in [number, near] {
            let field = Field { campo: "ts".into(), numero: Some(number), texto: None };
            if let DeviceTime::At(at) = device_time(&rules("ts"), "a", &[field], captured()) {
                prop_assert!((FIRST_MS..=captured().as_ms() + AHEAD_MS_MAX).contains(&at.as_ms()));
            }
        }
    }

    #[test]
    fn any_texts_do_no_harm(
        rules in "\\PC{0,40}", made in "[a+#/=, $]{0,12}", topico in "\\PC{0,20}", ts in "\\PC{0,40}",
    ) {
        let field = Field { campo: "ts".into(), numero: None, texto: Some(ts.into()) };
        for rules in [rules, made].iter().filter_map(|rules| rules.parse::<Rules>().ok()) {
            let _ = device_time(&rules, &topico, std::slice::from_ref(&field), captured());
        }
        let _ = device_time(&"ts".parse().unwrap(), "a", &[field], captured());
    }
}

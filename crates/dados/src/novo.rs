//! One posted message, borrowed from the body it came in, and the headers that mark a producer's batch.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::Timestamp;

/// The header that names the producer of a batch: a UUID that it keeps for the life of its spool.
pub const PRODUCER: &str = "ponte-producer";
/// The header that gives the sequence of the batch's first row, from 1; the rows after it count up by one.
pub const FIRST_SEQUENCE: &str = "ponte-first-sequence";

/// One message as `POST /dados` takes it; only `valor` is needed.
///
/// An unknown field is an error: taking the row without it would drop data in silence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NovoDado))]
#[serde(deny_unknown_fields)]
pub struct NovoDado<'a> {
    /// What was measured.
    #[serde(borrow)]
    #[cfg_attr(feature = "openapi", schema(value_type = Value, examples(23.5, json!({"temperatura": 21.5}))))]
    pub valor: Valor<'a>,
    /// The MQTT topic, or any name of that shape.
    #[serde(borrow, default, deserialize_with = "borrowed", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(min_length = 1, max_length = 65535, pattern = r"^[^+#\x00]+$", examples("casa/sala"))
    )]
    pub topico: Option<Cow<'a, str>>,
    /// When it was captured; the API's clock where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// MQTT's quality of service, 0 to 2.
    #[serde(default, deserialize_with = "crate::whole::optional", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(maximum = 2, examples(1)))]
    pub qos: Option<u8>,
    /// Whether the broker sent it as a retained message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retido: Option<bool>,
    /// Whether it may repeat one that is stored already (MQTT's DUP flag).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dup: Option<bool>,
    /// How `valor` encodes the payload; plain text where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formato: Option<Formato>,
    /// Whether `timestamp` was corrected: the message was captured before the clock was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hora_corrigida: Option<bool>,
}

/// How a `valor` encodes bytes that are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Formato {
    /// RFC 4648 §4, with padding.
    Base64,
}

impl Formato {
    /// The text in the column `formato`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
        }
    }
}

/// The text that the column `valor` holds.
///
/// A JSON string is stored as its characters; any other JSON value, `null` too, as its JSON text just as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valor<'a>(pub Cow<'a, str>);

/// A text of so many bytes goes as it is, whatever its escapes: a short one may be a number that ends in a null character,
/// as programs in C send it.
const TEXT_BYTES_ALWAYS: usize = 64 << 10;

impl<'a> NovoDado<'a> {
    /// A message whose payload is any bytes: text as it is, anything else as base64. So is a large text that JSON's
    /// escapes would more than double, such as megabytes of null characters, which grow sixfold.
    pub fn from_payload(payload: &'a [u8]) -> Self {
        let (valor, formato) = match std::str::from_utf8(payload) {
            Ok(text) if text.len() <= TEXT_BYTES_ALWAYS || escapes_bytes(text) <= text.len() => {
                (Cow::Borrowed(text), None)
            }
            _ => (Cow::Owned(STANDARD.encode(payload)), Some(Formato::Base64)),
        };
        Self {
            valor: Valor(valor),
            topico: None,
            timestamp: None,
            qos: None,
            retido: None,
            dup: None,
            formato,
            hora_corrigida: None,
        }
    }
}

/// What JSON's escapes add to a text, in bytes (RFC 8259 §7, as serde_json writes it).
fn escapes_bytes(text: &str) -> usize {
    let added = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0x00..=0x1f => 5,
        _ => 0,
    };
    text.bytes().map(added).sum()
}

/// An optional text, borrowed where it stands without escapes: within an option, serde borrows none by itself.
fn borrowed<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(Option::<Text<'a>>::deserialize(deserializer)?.map(|Text(text)| text))
}

/// Whether `text` is what `formato = "base64"` promises.
pub fn is_base64(text: &str) -> bool {
    STANDARD.decode(text).is_ok()
}

impl Valor<'_> {
    /// The text as the JSON object that it is, if it is one on one line: then it is stored just as it was written.
    fn as_object(&self) -> Option<&RawValue> {
        let text = self.0.as_bytes();
        // Nothing around it, which JSON would drop, and no line of its own, which NDJSON could not hold.
        let is_candidate = text.first() == Some(&b'{') && text.last() == Some(&b'}') && memchr(b'\n', text).is_none();
        if is_candidate { serde_json::from_str(&self.0).ok() } else { None }
    }
}

impl Serialize for Valor<'_> {
    /// An object goes as it is, which spares both sides the escapes; any other text as a string.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_object() {
            Some(object) => object.serialize(serializer),
            None => serializer.serialize_str(&self.0),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Valor<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let Some(string) = raw.strip_prefix('"') else { return Ok(Self(Cow::Borrowed(raw))) };
        if memchr(b'\\', raw.as_bytes()).is_none() {
            // Checked by now: what is between the quotes is the text.
            return Ok(Self(Cow::Borrowed(string.strip_suffix('"').unwrap_or(string))));
        }
        serde_json::from_str::<String>(raw).map(|text| Self(Cow::Owned(text))).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<String, serde_json::Error> {
        serde_json::from_str::<NovoDado<'_>>(json).map(|novo| novo.valor.0.into_owned())
    }

    #[test]
    fn a_topic_is_borrowed_unless_it_is_escaped() {
        let topico = |json| serde_json::from_str::<NovoDado<'_>>(json).unwrap().topico;
        assert!(matches!(topico(r#"{"valor":1,"topico":"casa/sala"}"#), Some(Cow::Borrowed("casa/sala"))));
        assert_eq!(topico(r#"{"valor":1,"topico":"casa\/\u0073ala"}"#).as_deref(), Some("casa/sala"));
        assert_eq!(topico(r#"{"valor":1,"topico":null}"#), None);
    }

    #[test]
    fn any_json_becomes_the_text_that_is_stored() {
        for (json, stored) in [
            (r#"{"valor":"23.5"}"#, "23.5"),
            (r#"{"valor":23.50}"#, "23.50"),
            (r#"{"valor":1e400}"#, "1e400"),
            (r#"{"valor":null}"#, "null"),
            (r#"{"valor":true}"#, "true"),
            (r#"{"valor": {"a": [1, "é"]} }"#, r#"{"a": [1, "é"]}"#),
            (r#"{"valor":"a\n\u0000\"b"}"#, "a\n\0\"b"),
            (r#"{"valor":""}"#, ""),
        ] {
            assert_eq!(read(json).unwrap(), stored, "{json}");
        }
    }

    #[test]
    fn what_the_contract_does_not_name_is_refused() {
        for json in [
            r"{}",
            r#"{"topico":"a"}"#,
            r#"{"valor":1,"sensor":"x"}"#,
            r#"{"valor":1,"valor":2}"#,
            r#"{"valor":1,"qos":-1}"#,
            r#"{"valor":1,"formato":"hex"}"#,
            r#"{"valor":1,"timestamp":"ontem"}"#,
            r#"{"valor":"\ud800"}"#,
        ] {
            assert!(read(json).is_err(), "{json} was taken");
        }
    }

    #[test]
    fn an_object_travels_as_it_is_and_nothing_else_does() {
        let sent = |payload: &str| serde_json::to_string(&Valor(payload.into())).unwrap();
        for object in [r"{}", r#"{"a": 1e400 , "a":"\ud800"}"#, r#"{"á":[{}]}"#] {
            assert_eq!(sent(object), object);
        }
        for text in ["{", "{}}", " {}", "{} ", "{}\r", "{\n}", "[1]", "1", "null", "", "{\"a\":\"\t\"}", "{a:1}"] {
            assert!(sent(text).starts_with('"'), "{text:?} went as {}", sent(text));
        }
    }

    #[test]
    fn a_text_that_escapes_would_more_than_double_goes_as_base64() {
        for (unit, is_text) in [("\n\"", true), ("a\0bcd", true), ("a\0bc", false), ("\0", false), ("\u{1b}[2J", false)]
        {
            let payload = unit.repeat(TEXT_BYTES_ALWAYS + 1);
            let novo = NovoDado::from_payload(payload.as_bytes());
            assert_eq!(novo.formato.is_none(), is_text, "{unit:?}");
            let json = serde_json::to_string(&novo.valor).unwrap();
            assert!(json.len() <= 2 * payload.len() + 4, "{unit:?} became {} of {}", json.len(), payload.len());
        }
        for short in ["", "1\0", "a\0b", "\u{1b}[2J"] {
            assert_eq!(NovoDado::from_payload(short.as_bytes()).formato, None, "{short:?}");
        }
    }

    /// Bytes, and much that is nearly JSON.
    fn any_payload() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<Vec<u8>>(),
            "[\\{\\}\\[\\]\":, \\\\n\ntru1eE.\\-é]{0,40}".prop_map(String::into_bytes),
            r#"\{("[a-z\\"é]{0,4}":([0-9]{1,4}|true|"[^\p{C}]{0,6}"|\{\}|\[1, ?2\]),?){0,3}\}"#
                .prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn any_payload_survives_the_wire(payload in any_payload()) {
            let line = serde_json::to_string(&NovoDado::from_payload(&payload)).unwrap();
            prop_assert!(!line.contains('\n'), "NDJSON has one line a message");
            let back: NovoDado<'_> = serde_json::from_str(&line).unwrap();
            let bytes = match back.formato {
                None => back.valor.0.as_bytes().to_vec(),
                Some(Formato::Base64) => STANDARD.decode(back.valor.0.as_bytes()).unwrap(),
            };
            prop_assert_eq!(bytes, payload);
        }
    }
}

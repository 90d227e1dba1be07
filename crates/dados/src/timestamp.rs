//! A moment in milliseconds since the Unix epoch, and the two text forms it is written in.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, UTC, to the millisecond, between the years 0000 and 9999.
///
/// On the wire it is RFC 3339 (`2026-11-23T03:21:45.678Z`); in the database it is
/// `2026-11-23 03:21:45.678`, the only text that SQLite, JDBC and Metabase all sort, bucket and filter correctly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// What a time must look like; its text is meant for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as 2026-11-23T03:21:45.678Z (RFC 3339) or 2026-11-23 03:21:45 (UTC), years 0000 to 9999")]
pub struct InvalidTimestamp;

/// The database's form, `0` for a digit.
const SHAPE: &[u8; 23] = b"0000-00-00 00:00:00.000";

impl Timestamp {
    /// The first moment that has a text form: 0000-01-01T00:00:00.000Z.
    const MIN_MS: i64 = -62_167_219_200_000;
    /// The last one: 9999-12-30T22:00:00.000Z, where jiff's range ends.
    const MAX_MS: i64 = 253_402_207_200_000;

    /// The moment `ms` milliseconds after the Unix epoch.
    pub fn from_ms(ms: i64) -> Result<Self, InvalidTimestamp> {
        if (Self::MIN_MS..=Self::MAX_MS).contains(&ms) { Ok(Self(ms)) } else { Err(InvalidTimestamp) }
    }

    /// This machine's clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond().clamp(Self::MIN_MS, Self::MAX_MS))
    }

    /// Milliseconds since the Unix epoch.
    pub fn as_ms(self) -> i64 {
        self.0
    }

    /// The database's form: `2026-11-23 03:21:45.678`, UTC.
    pub fn to_sql(self) -> String {
        as_text(&self.digits()).to_owned()
    }

    /// The database's form; all ASCII. Written by hand, since every row of every message has one.
    fn digits(self) -> [u8; SHAPE.len()] {
        // What the constructors let through is in jiff's range.
        let civil = Offset::UTC.to_datetime(jiff::Timestamp::from_millisecond(self.0).unwrap_or_default());
        let mut text = *SHAPE;
        let mut put = |at: usize, length: usize, mut number: u32| {
            for digit in text[at..at + length].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(0, 4, civil.year().unsigned_abs().into());
        put(5, 2, civil.month().unsigned_abs().into());
        put(8, 2, civil.day().unsigned_abs().into());
        put(11, 2, civil.hour().unsigned_abs().into());
        put(14, 2, civil.minute().unsigned_abs().into());
        put(17, 2, civil.second().unsigned_abs().into());
        put(20, 3, civil.millisecond().unsigned_abs().into());
        text
    }
}

fn as_text(digits: &[u8]) -> &str {
    str::from_utf8(digits).unwrap_or_default()
}

/// The wire's form of a time that was read from the database, whoever wrote it there.
///
/// A text that is no time (someone edited the table) comes back as it is: showing it beats hiding the row.
pub fn sql_to_wire(stored: &str) -> String {
    if is_plain(stored.as_bytes()) {
        return [&stored[..10], "T", &stored[11..], "Z"].concat();
    }
    match stored.parse::<Timestamp>() {
        Ok(timestamp) => timestamp.to_string(),
        Err(InvalidTimestamp) => stored.to_owned(),
    }
}

/// Whether it is a time as [`Timestamp::to_sql`] writes it, on a day that every month has: then the two forms differ in
/// two characters, and need not be read and written, which is most of what a row of an answer costs.
fn is_plain(text: &[u8]) -> bool {
    let has_shape = text.len() == SHAPE.len()
        && text.iter().zip(SHAPE).all(|(byte, form)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form });
    let number = |at: usize| 10 * (text[at] - b'0') + (text[at + 1] - b'0');
    has_shape
        && (1..=12).contains(&number(5))
        && (1..=28).contains(&number(8))
        && number(11) <= 23
        && number(14) <= 59
        && number(17) <= 59
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with three decimals and `Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        let (day, time) = (as_text(&digits[..10]), as_text(&digits[11..]));
        write!(f, "{day}T{time}Z")
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// RFC 3339 with any offset, or `YYYY-MM-DD HH:MM:SS[.SSS]` taken as UTC. Finer digits are cut off.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        // jiff takes more than the contract does (2026-11-23, 20261123T03Z): the shape is checked first.
        let shape = text.as_bytes();
        if shape.len() < 19 || shape[4] != b'-' || shape[7] != b'-' || shape[13] != b':' || shape[16] != b':' {
            return Err(InvalidTimestamp);
        }
        let timestamp = if shape[10] == b' ' && shape[19..].iter().all(|byte| matches!(byte, b'.' | b'0'..=b'9')) {
            text.parse::<DateTime>().and_then(|civil| civil.to_zoned(TimeZone::UTC)).map(|zoned| zoned.timestamp())
        } else {
            text.parse::<jiff::Timestamp>()
        };
        let timestamp = timestamp.map_err(|_| InvalidTimestamp)?;
        let ms = timestamp.as_nanosecond().div_euclid(1_000_000);
        i64::try_from(ms).map_err(|_| InvalidTimestamp).and_then(Self::from_ms)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as 2026-11-23T03:21:45.678Z")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some(
                "A moment, years 0000 to 9999. Written in UTC to the millisecond; read with any offset, and as \
                 `YYYY-MM-DD HH:MM:SS[.SSS]` in UTC too.",
            ))
            .examples(["2026-11-23T03:21:45.678Z"])
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_and_offsets_are_read() {
        for text in [
            "2026-11-23T03:21:45.678Z",
            "2026-11-23 03:21:45.678",
            "2026-11-23T00:21:45.678-03:00",
            "2026-11-23T03:21:45.6789Z",
            "2026-11-23t03:21:45.678z",
        ] {
            let timestamp: Timestamp = text.parse().unwrap();
            assert_eq!(timestamp.to_string(), "2026-11-23T03:21:45.678Z", "{text}");
            assert_eq!(timestamp.to_sql(), "2026-11-23 03:21:45.678", "{text}");
        }
        assert_eq!("2026-11-23 03:21:45".parse::<Timestamp>().unwrap().to_sql(), "2026-11-23 03:21:45.000");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-11-23",
            "2026-11-23T03:21:45",
            "2026-02-30 00:00:00",
            "1700000000",
            "2026-11-23 25:00:00",
            "23/11/2026 03:21:45",
            "2026-11-23 03:21:45 UTC",
            "2026-11-23 03:21:45.",
            "-02026-11-23T03:21:45Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text} was taken");
        }
    }

    #[test]
    fn an_edited_row_shows_as_it_is() {
        assert_eq!(sql_to_wire("2026-11-23 03:21:45"), "2026-11-23T03:21:45.000Z");
        assert_eq!(sql_to_wire("ontem"), "ontem");
    }

    /// What [`sql_to_wire`] does without its short way.
    fn read_and_written(stored: &str) -> String {
        stored.parse::<Timestamp>().map_or_else(|_| stored.to_owned(), |timestamp| timestamp.to_string())
    }

    #[test]
    fn each_field_goes_the_short_way_or_is_read() {
        for at in [5, 8, 11, 14, 17] {
            for number in 0..100 {
                let mut stored = "2026-02-27 03:21:45.678".to_owned();
                stored.replace_range(at..at + 2, &format!("{number:02}"));
                assert_eq!(sql_to_wire(&stored), read_and_written(&stored), "{stored}");
            }
        }
        assert!(is_plain(b"2026-02-28 23:59:59.999") && !is_plain(b"2026-02-29 00:00:00.000"));
    }

    proptest! {
        #[test]
        fn the_short_way_leads_where_the_long_one_does(
            ms in Timestamp::MIN_MS..=Timestamp::MAX_MS, at in 0usize..23, edit in "[ -~]{0,2}"
        ) {
            let mut stored = Timestamp::from_ms(ms).unwrap().to_sql();
            prop_assert_eq!(sql_to_wire(&stored), read_and_written(&stored));
            stored.replace_range(at..=at, &edit);
            prop_assert_eq!(sql_to_wire(&stored), read_and_written(&stored), "{}", stored);
        }

        #[test]
        fn digits_are_those_of_a_library(ms in Timestamp::MIN_MS..=Timestamp::MAX_MS) {
            let printer = jiff::fmt::temporal::DateTimePrinter::new().precision(Some(3));
            let printed = printer.timestamp_to_string(&jiff::Timestamp::from_millisecond(ms).unwrap());
            prop_assert_eq!(Timestamp::from_ms(ms).unwrap().to_string(), printed);
        }

        #[test]
        fn text_and_milliseconds_agree(ms in Timestamp::MIN_MS..=Timestamp::MAX_MS) {
            let timestamp = Timestamp::from_ms(ms).unwrap();
            prop_assert_eq!(timestamp.to_string().parse::<Timestamp>(), Ok(timestamp));
            prop_assert_eq!(timestamp.to_sql().parse::<Timestamp>(), Ok(timestamp));
            prop_assert_eq!(timestamp.to_sql().len(), 23);
        }

        #[test]
        fn any_text_is_refused_or_read_without_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Timestamp>();
        }
    }
}

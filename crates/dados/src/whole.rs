//! Integers as JSON Schema has them: `2.0` and `2e0` are 2, which some encoders write.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Up to here every integer is a float too; a larger float may have been another number.
const FLOAT_MAX: f64 = (1u64 << 53) as f64;

/// An integer from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole(pub u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl de::Visitor<'_> for Number {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer from 0")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Whole, E> {
                let is_whole = number.fract() == 0.0 && (0.0..=FLOAT_MAX).contains(&number);
                if is_whole { Ok(Whole(number as u64)) } else { Err(E::custom("expected an integer from 0")) }
            }
        }
        deserializer.deserialize_u64(Number)
    }
}

/// For a field that has to be there.
pub(crate) fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Whole::deserialize(deserializer).map(|whole| whole.0)
}

/// For a small one that may be absent or null.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    let small = |Whole(number)| u8::try_from(number).map_err(|_| de::Error::custom("expected a smaller integer"));
    Option::<Whole>::deserialize(deserializer)?.map(small).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_read_however_it_is_written() {
        for (json, number) in
            [("0", 0), ("2", 2), ("2.0", 2), ("-0.0", 0), ("2e2", 200), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(serde_json::from_str::<Whole>(json).unwrap(), Whole(number), "{json}");
        }
        for json in ["-1", "-1.0", "0.5", "1e300", "18446744073709551616", "\"2\"", "true", "null", "[2]"] {
            assert!(serde_json::from_str::<Whole>(json).is_err(), "{json} was taken");
        }
    }
}

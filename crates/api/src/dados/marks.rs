//! The headers by which a request is told from its own repetition.

use axum::http::{HeaderMap, HeaderName};
use dados::novo::{FIRST_SEQUENCE, PRODUCER};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::body::Form;
use super::parse::ROWS_MAX;
use crate::error::Error;
use crate::store::{Key, Origin, Sender};

/// A key of the client's choice, as of draft-ietf-httpapi-idempotency-key-header.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest key, in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 255;

/// The route that takes keys.
const ROUTE: &str = "POST /dados";

/// The highest sequence that a batch may begin with, so that no row's is larger than a number can be.
pub(crate) const FIRST_SEQUENCE_MAX: i64 = i64::MAX - ROWS_MAX as i64;

/// What the headers say, before the body is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marks {
    None,
    Producer { uuid: Uuid, first_sequence: i64 },
    Key(String),
}

impl Marks {
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Error> {
        // Names that are made once: to look for a text, it would be read as a name at every request.
        static NAMES: [HeaderName; 3] = [
            HeaderName::from_static(IDEMPOTENCY_KEY),
            HeaderName::from_static(PRODUCER),
            HeaderName::from_static(FIRST_SEQUENCE),
        ];
        let [key, producer, first] =
            NAMES.each_ref().map(|name| headers.get(name).map(|value| value.to_str().unwrap_or_default()));
        match (key, producer, first) {
            (None, None, None) => Ok(Self::None),
            (Some(key), None, None) if is_key(key) => Ok(Self::Key(key.to_owned())),
            (Some(_), None, None) => Err(Error::header(IDEMPOTENCY_KEY, "expected 1 to 255 visible ASCII characters")),
            (Some(_), _, _) => Err(Error::header(IDEMPOTENCY_KEY, "a producer's batch needs no key, and takes none")),
            (None, Some(_), None) => Err(Error::header(FIRST_SEQUENCE, "missing beside ponte-producer")),
            (None, None, Some(_)) => Err(Error::header(PRODUCER, "missing beside ponte-first-sequence")),
            (None, Some(uuid), Some(first)) => {
                let uuid = Uuid::parse_str(uuid).map_err(|_| Error::header(PRODUCER, "expected a UUID"))?;
                let first_sequence = first.parse().ok().filter(|first| (1..=FIRST_SEQUENCE_MAX).contains(first));
                let first_sequence = first_sequence.ok_or_else(|| {
                    Error::header(FIRST_SEQUENCE, format!("expected an integer from 1 to {FIRST_SEQUENCE_MAX}"))
                })?;
                Ok(Self::Producer { uuid, first_sequence })
            }
        }
    }

    /// Whose batch it is.
    pub(crate) fn producer(&self) -> Option<Uuid> {
        if let Self::Producer { uuid, .. } = self { Some(*uuid) } else { None }
    }

    /// What the marks mean for this body.
    pub(crate) fn origin(self, form: Form, body: &[u8], is_single: bool, sender: Sender) -> Result<Origin, Error> {
        match self {
            Self::None => Ok(Origin::Unmarked),
            Self::Producer { .. } if is_single => {
                Err(Error::header(PRODUCER, "only an array or NDJSON is a producer's batch"))
            }
            Self::Producer { uuid, first_sequence } => Ok(Origin::Producer { uuid, first_sequence, sender }),
            Self::Key(key) => {
                let hash = Sha256::new().chain_update([form as u8]).chain_update(body);
                Ok(Origin::Key(Key { key, fingerprint: hash.finalize().into(), sender, route: ROUTE }))
            }
        }
    }
}

fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

//! `BROKER_QUEUE`: what the broker keeps for an absent subscriber. No protocol tells, so somebody must.

use std::str::FromStr;

use service::settings;

use super::BrokerAddr;

/// How much a broker keeps, and which broker that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerQueue {
    /// The host of the broker that is meant; any where there is none.
    host: Option<String>,
    /// Messages for each client.
    pub messages: u64,
    /// Bytes of them, where that is bounded too.
    pub bytes: Option<u64>,
}

/// What the setting must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected [HOST=]MESSAGES[:BYTES], such as 100000, 100000:256MiB or broker=1000000")]
pub struct InvalidQueue;

impl FromStr for BrokerQueue {
    type Err = InvalidQueue;

    fn from_str(text: &str) -> Result<Self, InvalidQueue> {
        let (host, limits) = match text.split_once('=') {
            Some((host, limits)) if !host.is_empty() => (Some(host.to_owned()), limits),
            Some(_) => return Err(InvalidQueue),
            None => (None, text),
        };
        let (messages, bytes) = match limits.split_once(':') {
            Some((messages, bytes)) => (messages, Some(settings::bytes(bytes).map_err(|_| InvalidQueue)?)),
            None => (limits, None),
        };
        match messages.parse() {
            Ok(messages) if messages > 0 && bytes != Some(0) => Ok(Self { host, messages, bytes }),
            _ => Err(InvalidQueue),
        }
    }
}

impl BrokerQueue {
    /// Whether this broker is the one that is meant.
    pub fn is_of(&self, broker: &BrokerAddr) -> bool {
        self.host.as_ref().is_none_or(|host| host.eq_ignore_ascii_case(&broker.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_messages_and_perhaps_bytes_and_a_host() {
        let queue =
            |host: Option<&str>, messages, bytes| BrokerQueue { host: host.map(str::to_owned), messages, bytes };
        for (text, expected) in [
            ("100000", queue(None, 100_000, None)),
            ("1000:1MiB", queue(None, 1_000, Some(1 << 20))),
            ("broker=1000000:256MiB", queue(Some("broker"), 1_000_000, Some(256 << 20))),
        ] {
            assert_eq!(text.parse(), Ok(expected));
        }
        for bad in ["", "many", "0", "-1", "=5", "broker=", "5:", "5:much", "5:0"] {
            assert_eq!(bad.parse::<BrokerQueue>(), Err(InvalidQueue), "{bad}");
        }
        let (here, other) = ("mqtt://broker:1883".parse().unwrap(), "mqtt://other".parse().unwrap());
        let named: BrokerQueue = "broker=5".parse().unwrap();
        assert!(named.is_of(&here) && !named.is_of(&other));
        assert!("5".parse::<BrokerQueue>().unwrap().is_of(&other));
    }
}

//! `BROKER_ADDR`: where the broker is and how it is spoken to.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// How MQTT's bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// mqtt://
    Tcp,
    /// mqtts://
    Tls,
    /// ws://
    Ws,
    /// wss://
    Wss,
}

impl Transport {
    /// Whether certificates are looked at.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    fn from_scheme(scheme: &str) -> Option<Self> {
        Some(match scheme {
            "mqtt" | "tcp" => Self::Tcp,
            "mqtts" | "ssl" => Self::Tls,
            "ws" => Self::Ws,
            "wss" => Self::Wss,
            _ => return None,
        })
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "mqtt",
            Self::Tls => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The ports that IANA names for MQTT, and those of HTTP for websockets.
    fn default_port(self) -> u16 {
        match self {
            Self::Tcp => 1883,
            Self::Tls => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// A broker's address, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddr {
    /// How it is spoken to.
    pub transport: Transport,
    /// A name or an IP address, without brackets; also the name in its certificate.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path of a websocket, with its slash.
    path: String,
}

/// What an address must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBroker {
    /// Not one of the forms.
    #[error(
        "expected host, host:port, or a URL such as mqtts://host:8883, mqtt://host:1883, ws://host/mqtt or wss://host/mqtt"
    )]
    Form,
    /// Credentials belong elsewhere, since addresses are logged.
    #[error("expected no user or password in the address: set HIVE_USER and HIVE_PSWD")]
    Credentials,
    /// Only websockets have paths.
    #[error("expected no path after an mqtt:// or mqtts:// address")]
    Path,
}

impl BrokerAddr {
    /// What a websocket client asks for.
    pub fn url(&self) -> String {
        self.to_string()
    }

    /// The host as it stands before `:port`: an IPv6 address has brackets.
    pub fn host_in_authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl FromStr for BrokerAddr {
    type Err = InvalidBroker;

    fn from_str(text: &str) -> Result<Self, InvalidBroker> {
        let text = text.trim();
        let url = if text.contains("://") { text.to_owned() } else { with_scheme(text)? };
        let url = Url::parse(&url).map_err(|_| InvalidBroker::Form)?;
        let transport = Transport::from_scheme(url.scheme()).ok_or(InvalidBroker::Form)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidBroker::Credentials);
        }
        let host = match url.host().ok_or(InvalidBroker::Form)? {
            Host::Ipv6(address) => address.to_string(),
            Host::Ipv4(address) => address.to_string(),
            Host::Domain(name) => name.to_owned(),
        };
        let plausible = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(plausible) || url.fragment().is_some() {
            return Err(InvalidBroker::Form);
        }
        let mut path = url.path().to_owned();
        if let Some(query) = url.query() {
            path = format!("{path}?{query}");
        }
        let websocket = matches!(transport, Transport::Ws | Transport::Wss);
        if !websocket && !matches!(path.as_str(), "" | "/") {
            return Err(InvalidBroker::Path);
        }
        let path = if websocket { path } else { String::new() };
        Ok(Self { transport, host, port: url.port().unwrap_or(transport.default_port()), path })
    }
}

/// A bare host means TLS, as HiveMQ Cloud wants it; only the port that stands for plain MQTT means plain MQTT.
fn with_scheme(text: &str) -> Result<String, InvalidBroker> {
    if text.is_empty() || text.contains(['/', '@']) {
        return Err(if text.contains('@') { InvalidBroker::Credentials } else { InvalidBroker::Form });
    }
    // A bare IPv6 address has more than one colon, and no port.
    if !text.starts_with('[') && text.matches(':').count() > 1 {
        return Ok(format!("mqtts://[{text}]"));
    }
    let scheme = if text.ends_with(":1883") { "mqtt" } else { "mqtts" };
    Ok(format!("{scheme}://{text}"))
}

impl fmt::Display for BrokerAddr {
    /// The full URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}{}", self.transport.scheme(), self.host_in_authority(), self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (text, meant) in [
            ("abc.s1.eu.hivemq.cloud", "mqtts://abc.s1.eu.hivemq.cloud:8883"),
            (" localhost ", "mqtts://localhost:8883"),
            ("localhost:1883", "mqtt://localhost:1883"),
            ("broker_1:18830", "mqtts://broker_1:18830"),
            ("192.168.0.7:1883", "mqtt://192.168.0.7:1883"),
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtt://127.0.0.1:41234/", "mqtt://127.0.0.1:41234"),
            ("mqtts://broker:443", "mqtts://broker:443"),
            ("tcp://broker", "mqtt://broker:1883"),
            ("ssl://broker", "mqtts://broker:8883"),
            ("ws://broker/mqtt", "ws://broker:80/mqtt"),
            ("ws://broker:8000", "ws://broker:8000/"),
            ("wss://broker:8884/mqtt?x=1", "wss://broker:8884/mqtt?x=1"),
            ("[::1]:1883", "mqtt://[::1]:1883"),
            ("::1", "mqtts://[::1]:8883"),
            ("mqtt://[fe80::1]", "mqtt://[fe80::1]:1883"),
        ] {
            assert_eq!(text.parse::<BrokerAddr>().map(|addr| addr.to_string()), Ok(meant.to_owned()), "{text}");
        }
    }

    #[test]
    fn anything_else_says_what_is_expected() {
        for (text, error) in [
            ("", InvalidBroker::Form),
            ("http://broker", InvalidBroker::Form),
            ("broker:port", InvalidBroker::Form),
            ("broker:99999", InvalidBroker::Form),
            ("broker/topic", InvalidBroker::Form),
            ("two words", InvalidBroker::Form),
            ("mqtt://", InvalidBroker::Form),
            ("user:secret@broker", InvalidBroker::Credentials),
            ("mqtts://user:secret@broker", InvalidBroker::Credentials),
            ("mqtt://broker/topic", InvalidBroker::Path),
        ] {
            assert_eq!(text.parse::<BrokerAddr>(), Err(error), "{text}");
        }
    }
}

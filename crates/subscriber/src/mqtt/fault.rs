//! What ended a conversation, in words for the operator, and how long to wait after it.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{ConnectionError, StateError};

use service::{causes, shown};

use crate::retry::Backoff;

/// Between attempts, while nothing says that a person must act.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(30) };
/// The least wait after a refusal that only a person can mend: no hammering on a broker that said no.
const REFUSED_WAIT: Duration = Duration::from_secs(30);

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Readable alone.
    pub(super) message: String,
    /// Whether trying soon is pointless.
    refused: bool,
    /// Whether the broker just closed the connection, as far as can be seen.
    closed: bool,
}

/// So many connections in a row that were closed soon are no accident.
const SHORT_LIVED_MIN: u32 = 3;

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), refused: false, closed: false }
    }

    fn refused(message: impl Into<String>) -> Self {
        Self { message: message.into(), refused: true, closed: false }
    }

    /// What a connection that just ended may mean, where it was `accepted` by the broker or not, after so many in a row
    /// that lived shortly: rumqttc passes over a DISCONNECT or CONNACK without properties, which would say it.
    pub(super) fn in_context(self, accepted: bool, short_lived: u32) -> Self {
        let hint = match (self.closed, accepted) {
            (true, false) => " before it answered: does it speak MQTT 5?",
            (true, true) if short_lived >= SHORT_LIVED_MIN => {
                " again and again: does another client use this MQTT_CLIENT_ID?"
            }
            _ => return self,
        };
        Self { message: self.message + hint, ..self }
    }

    /// The wait before the next attempt, after so many `failures` in a row (from 1).
    pub(super) fn delay(&self, failures: u32, random: f64) -> Duration {
        let jittered = BACKOFF.delay(failures, random);
        if self.refused { REFUSED_WAIT + jittered } else { jittered }
    }
}

impl From<ConnectionError> for Fault {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ConnectionRefused(code) => connack(code),
            ConnectionError::MqttState(StateError::ConnFail { reason }) => connack(reason),
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
                disconnected(reason_code, reason_string)
            }
            ConnectionError::MqttState(StateError::ConnectionAborted) => {
                Self { closed: true, ..Self::new("the broker closed the connection") }
            }
            ConnectionError::MqttState(StateError::AwaitPingResp) => Self::new("the broker does not answer pings"),
            ConnectionError::NotConnAck(_) => {
                Self::new("the broker broke the protocol: its first packet is no CONNACK")
            }
            ConnectionError::Timeout(_) => Self::new("no connection in time"),
            ConnectionError::Tls(error) => Self::new(tls(&error)),
            other => Self::new(causes(&other)),
        }
    }
}

fn connack(code: ConnectReturnCode) -> Fault {
    use ConnectReturnCode as Code;
    match code {
        Code::BadUserNamePassword => {
            Fault::refused("the broker refused user or password: check HIVE_USER and HIVE_PSWD")
        }
        Code::NotAuthorized => Fault::refused(
            "the broker says not authorized: check HIVE_USER, HIVE_PSWD and the rights of MQTT_CLIENT_ID",
        ),
        Code::UnsupportedProtocolVersion | Code::RefusedProtocolVersion => {
            Fault::refused("the broker does not speak MQTT 5")
        }
        Code::ClientIdentifierNotValid | Code::BadClientId => {
            Fault::refused("the broker refused the client id: check MQTT_CLIENT_ID")
        }
        Code::Banned
        | Code::BadAuthenticationMethod
        | Code::QuotaExceeded
        | Code::UseAnotherServer
        | Code::ServerMoved => Fault::refused(format!("the broker refused the connection: {code:?}")),
        other => Fault::new(format!("the broker refused the connection: {other:?}")),
    }
}

fn disconnected(code: DisconnectReasonCode, reason: Option<String>) -> Fault {
    use DisconnectReasonCode as Code;
    let said = reason.map(|reason| format!(" ({})", shown(reason))).unwrap_or_default();
    match code {
        Code::SessionTakenOver => Fault::refused(format!(
            "another client connected with the same client id{said}: give each subscriber its own MQTT_CLIENT_ID"
        )),
        Code::NotAuthorized
        | Code::QuotaExceeded
        | Code::AdministrativeAction
        | Code::UseAnotherServer
        | Code::ServerMoved => Fault::refused(format!("the broker ended the connection: {code:?}{said}")),
        other => Fault::new(format!("the broker ended the connection: {other:?}{said}")),
    }
}

fn tls(error: &rumqttc::v5::TlsError) -> String {
    let text = causes(error);
    let hint = if text.contains("UnknownIssuer") {
        ": its authority is not trusted here; set MQTT_CA_FILE if it is your own"
    } else if text.contains("NotValidForName") {
        ": it is made out to another name than the host of BROKER_ADDR"
    } else {
        ""
    };
    format!("TLS with the broker failed: {text}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_mend_is_not_tried_in_a_hot_loop() {
        for code in
            [ConnectReturnCode::BadUserNamePassword, ConnectReturnCode::NotAuthorized, ConnectReturnCode::Banned]
        {
            let fault = Fault::from(ConnectionError::ConnectionRefused(code));
            assert!(fault.delay(1, 0.0) >= REFUSED_WAIT, "{code:?}");
        }
        let taken = ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            reason_string: None,
        });
        let fault = Fault::from(taken);
        assert!(fault.delay(1, 0.0) >= REFUSED_WAIT);
        assert!(fault.message.contains("MQTT_CLIENT_ID"), "{}", fault.message);
    }

    #[test]
    fn a_connection_that_is_closed_without_a_word_is_explained() {
        let closed = || Fault::from(ConnectionError::MqttState(StateError::ConnectionAborted));
        assert!(closed().in_context(false, 0).message.contains("MQTT 5"));
        assert_eq!(closed().in_context(true, SHORT_LIVED_MIN - 1), closed());
        assert!(closed().in_context(true, SHORT_LIVED_MIN).message.contains("MQTT_CLIENT_ID"));
        assert_eq!(Fault::new("x").in_context(false, 9), Fault::new("x"));
    }

    #[test]
    fn passing_faults_are_tried_again_soon() {
        let fault = Fault::from(ConnectionError::MqttState(StateError::ConnectionAborted));
        assert!(fault.delay(1, 1.0) <= Duration::from_millis(100));
        assert!(fault.delay(100, 1.0) <= Duration::from_secs(30));
    }
}

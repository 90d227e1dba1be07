//! Two short connections to the broker, to see what it allows; they leave the real session alone.
//!
//! They have a client id of their own, so that nobody is disconnected. The first asks for a session as long as the real
//! one, to hear what is granted, and subscribes to nothing. The second, of the same client id, ends that session by
//! beginning anew, subscribes, and leaves nothing behind: no retained message is asked for, nothing is acknowledged, and
//! a shared subscription is tried in a group of its own, since a member of the real one would take messages from it.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{ConnAck, Filter, Packet, RetainForwardRule, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use service::{Fatal, shown};

use super::fault::Fault;
use super::{options, subscribe};
use crate::config::Mqtt;

/// For all of it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the goodbye may take.
const PARTING_MAX: Duration = Duration::from_secs(1);
/// Messages that match may come before we are gone again: this is the most that are sent at once.
const RECEIVE_MAXIMUM: u16 = 1;

/// What the broker's CONNACK says (MQTT 5.0 §3.2.2.3); what it leaves out has MQTT's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Seconds that the session is kept, where it is not as asked.
    pub session_expiry_s: Option<u32>,
    /// 0 or 1; where absent, 2.
    pub qos_max: Option<u8>,
    /// The largest packet that the broker takes, in bytes.
    pub packet_bytes_max: Option<u32>,
    /// Whether it keeps retained messages.
    pub has_retained: bool,
    /// Whether filters may have `+` and `#`.
    pub has_wildcards: bool,
    /// Whether there are shared subscriptions.
    pub has_shared: bool,
    /// Seconds that it asks for instead of our own keep-alive.
    pub keep_alive_s: Option<u16>,
    /// The client id that it gives us instead of our own.
    pub client_id: Option<String>,
    /// Publishes with QoS above 0 that it takes before it has answered.
    pub receive_maximum: Option<u16>,
    /// Topic aliases that it takes from publishers.
    pub topic_aliases_max: Option<u16>,
}

/// What the broker made of one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The highest QoS that messages come with.
    Qos(u8),
    /// Its reason.
    Refused(Refusal),
}

/// Why a filter is refused (MQTT 5.0 §3.9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This user or client may not.
    NotAuthorized,
    /// More subscriptions than the broker allows.
    Quota,
    /// The broker takes no filter of this form.
    Filter,
    /// No shared subscriptions.
    Shared,
    /// No wildcards.
    Wildcards,
    /// No reason is given.
    Unsaid,
}

/// What both connections brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Of the first.
    pub limits: Limits,
    /// Of the second, one for each filter, in their order; else why there is none.
    pub grants: Result<Vec<Grant>, String>,
}

/// Asks the broker; else the fault in words. A bad setting (certificates) is [`Fatal`].
pub async fn ask(config: &Mqtt) -> Result<Result<Broker, String>, Fatal> {
    let client_id = client_id(config.client_id.as_deref(), fastrand::u32(..));
    let first = options::build(config, &client_id)?;
    let mut second = first.clone();
    second.set_clean_start(true).set_session_expiry_interval(Some(0)).set_receive_maximum(Some(RECEIVE_MAXIMUM));
    let both = async {
        let limits = limits(first).await?;
        Ok(Broker { limits, grants: grants(second, filters(config, &client_id)).await })
    };
    Ok(tokio::time::timeout(PATIENCE, both).await.unwrap_or_else(|_| Err("no answer in time".into())))
}

/// Ends the session of this client id: the broker forgets its subscriptions and what it has queued for it. Nobody may be
/// connected by this id. Else the fault in words.
pub async fn end_session(config: &Mqtt, client_id: &str) -> Result<(), String> {
    let mut options = options::build(config, client_id).map_err(|fatal| fatal.message)?;
    options.set_clean_start(true).set_session_expiry_interval(Some(0));
    let (client, mut eventloop) = AsyncClient::new(options, 8);
    let ending = async {
        connected(&mut eventloop).await?;
        part(&client, &mut eventloop).await;
        Ok(())
    };
    tokio::time::timeout(PATIENCE, ending).await.unwrap_or_else(|_| Err("no answer in time".into()))
}

/// Of its own, and one that rules for the real one's beginning allow too.
fn client_id(configured: Option<&str>, random: u32) -> String {
    match configured {
        Some(real) if !real.is_empty() => format!("{real}-check-{random:08x}"),
        _ => format!("ponte-check-{random:08x}"),
    }
}

fn filters(config: &Mqtt, client_id: &str) -> Vec<Filter> {
    // A group's name has no wildcard and no slash, which a client id may have.
    let group = client_id.replace(['/', '+', '#'], "-");
    let filter = |filter: &str, qos| Filter {
        retain_forward_rule: RetainForwardRule::Never,
        ..Filter::new(alone(filter, &group), subscribe::qos(qos))
    };
    config.subscriptions.iter().map(|wanted| filter(&wanted.filter, wanted.qos)).collect()
}

/// The filter, in another group where it is shared.
fn alone(filter: &str, group: &str) -> String {
    match filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/')) {
        Some((_, inner)) => format!("$share/{group}/{inner}"),
        None => filter.to_owned(),
    }
}

async fn limits(options: MqttOptions) -> Result<Limits, String> {
    let (client, mut eventloop) = AsyncClient::new(options, 8);
    let connack = connected(&mut eventloop).await?;
    part(&client, &mut eventloop).await;
    Ok(Limits::from(connack))
}

async fn grants(options: MqttOptions, filters: Vec<Filter>) -> Result<Vec<Grant>, String> {
    let (client, mut eventloop) = AsyncClient::new(options, 8);
    connected(&mut eventloop).await?;
    client.try_subscribe_many(filters).map_err(|error| error.to_string())?;
    let codes = loop {
        match eventloop.poll().await {
            Ok(Event::Incoming(Packet::SubAck(suback))) => break suback.return_codes,
            Ok(_) => {}
            Err(error) => return Err(Fault::from(error).message),
        }
    };
    part(&client, &mut eventloop).await;
    Ok(codes.into_iter().map(Grant::from).collect())
}

async fn connected(eventloop: &mut EventLoop) -> Result<ConnAck, String> {
    loop {
        match eventloop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(connack))) => return Ok(connack),
            Ok(_) => {}
            Err(error) => return Err(Fault::from(error).in_context(false, 0).message),
        }
    }
}

/// The goodbye goes out with the next polls, which end when the broker closes; how does not matter any more.
async fn part(client: &AsyncClient, eventloop: &mut EventLoop) {
    let _ = client.try_disconnect();
    let closed = async { while eventloop.poll().await.is_ok() {} };
    let _ = tokio::time::timeout(PARTING_MAX, closed).await;
}

impl From<ConnAck> for Limits {
    fn from(connack: ConnAck) -> Self {
        let is_available = |property: Option<u8>| property != Some(0);
        let Some(said) = connack.properties else {
            return Self { has_retained: true, has_wildcards: true, has_shared: true, ..Self::default() };
        };
        Self {
            session_expiry_s: said.session_expiry_interval,
            qos_max: said.max_qos,
            packet_bytes_max: said.max_packet_size,
            has_retained: is_available(said.retain_available),
            has_wildcards: is_available(said.wildcard_subscription_available),
            has_shared: is_available(said.shared_subscription_available),
            keep_alive_s: said.server_keep_alive,
            client_id: said.assigned_client_identifier.map(shown),
            receive_maximum: said.receive_max,
            topic_aliases_max: said.topic_alias_max,
        }
    }
}

impl From<SubscribeReasonCode> for Grant {
    fn from(code: SubscribeReasonCode) -> Self {
        use SubscribeReasonCode as Code;
        Self::Refused(match code {
            Code::Success(qos) => return Self::Qos(qos as u8),
            Code::NotAuthorized => Refusal::NotAuthorized,
            Code::QuotaExceeded => Refusal::Quota,
            Code::TopicFilterInvalid => Refusal::Filter,
            Code::SharedSubscriptionsNotSupported => Refusal::Shared,
            Code::WildcardSubscriptionsNotSupported => Refusal::Wildcards,
            _ => Refusal::Unsaid,
        })
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::v5::ConnectReturnCode;

    use super::*;

    #[test]
    fn what_a_connack_leaves_out_is_allowed() {
        let connack = ConnAck { session_present: false, code: ConnectReturnCode::Success, properties: None };
        let limits = Limits::from(connack);
        assert!(limits.has_retained && limits.has_wildcards && limits.has_shared);
        assert_eq!(limits.qos_max, None);
    }

    #[test]
    fn a_check_is_no_member_of_the_real_group() {
        for (filter, asked) in
            [("$share/ponte/casa/#", "$share/x/casa/#"), ("$share/ponte//a", "$share/x//a"), ("casa/#", "casa/#")]
        {
            assert_eq!(alone(filter, "x"), asked);
        }
    }

    #[test]
    fn a_check_has_a_client_id_of_its_own() {
        assert_eq!(client_id(None, 7), "ponte-check-00000007");
        assert_eq!(client_id(Some(""), 7), "ponte-check-00000007");
        assert_eq!(client_id(Some("lab"), 7), "lab-check-00000007");
    }
}

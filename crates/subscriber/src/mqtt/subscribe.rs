//! What is asked for in SUBSCRIBE and UNSUBSCRIBE, and whether the broker grants it.

use std::sync::Arc;

use rumqttc::v5::AsyncClient;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, RetainForwardRule, SubAck, SubscribeReasonCode, UnsubAck, UnsubAckReason};
use service::shown;
use tracing::{error, info, warn};

use crate::config::{Mqtt, Retained, Subscription};
use crate::session::subscriptions::Subscriptions;
use crate::status::Status;

/// Keeps the session's subscriptions as they are wanted.
///
/// All filters are asked for at every connection, and removed ones are unsubscribed only after that: in between a
/// message may match both, but none is missed.
pub(super) struct Subscriber {
    broker: String,
    client_id: String,
    wanted: Vec<Subscription>,
    retained: Retained,
    client: AsyncClient,
    recorded: Subscriptions,
    status: Arc<Status>,
    /// UNSUBACKs that are due on this connection, and whether all that came were good.
    unsubacks_due: usize,
    unsubscribed: bool,
}

impl Subscriber {
    pub(super) fn new(
        config: &Mqtt,
        client_id: &str,
        client: AsyncClient,
        recorded: Subscriptions,
        status: Arc<Status>,
    ) -> Self {
        Self {
            broker: config.broker.to_string(),
            client_id: client_id.to_owned(),
            wanted: config.subscriptions.clone(),
            retained: config.retained,
            client,
            recorded,
            status,
            unsubacks_due: 0,
            unsubscribed: true,
        }
    }

    /// Whether there was a session with this broker under this client id before.
    pub(super) fn knows_session(&self) -> bool {
        self.recorded.knows(&self.broker, &self.client_id)
    }

    /// CONNACK came: asks for everything.
    pub(super) fn connected(&mut self) {
        self.unsubacks_due = 0;
        if let Err(fault) = self.recorded.add(&self.broker, &self.client_id, &self.names()) {
            // Without the record a filter that is removed later would stay; without the subscription messages are lost.
            warn!(%fault, "the subscriptions cannot be recorded");
        }
        if let Err(fault) = self.client.try_subscribe_many(filters(&self.wanted, self.retained)) {
            error!(%fault, "the subscription found no room in the queue");
        }
    }

    /// SUBACK came: says what is missing, and unsubscribes what is no longer wanted.
    pub(super) fn subscribed(&mut self, suback: &SubAck) {
        let shortfalls = shortfalls(&self.wanted, &suback.return_codes);
        for shortfall in &shortfalls {
            error!(broker = self.broker, "MQTT_TOPICS: {shortfall}");
        }
        if shortfalls.is_empty() {
            info!(filters = self.wanted.len(), "subscribed");
        }
        self.status.subscribed(shortfalls);
        self.unsubscribed = true;
        for filter in self.recorded.unwanted(&self.names()) {
            info!(filter, "unsubscribing: MQTT_TOPICS has it no more");
            match self.client.try_unsubscribe(filter) {
                Ok(()) => self.unsubacks_due += 1,
                Err(fault) => error!(%fault, "the unsubscription found no room in the queue"),
            }
        }
    }

    /// UNSUBACK came; after the last of them the record is cleared up. What the broker refuses is tried at the next
    /// connection.
    pub(super) fn unsubscribed(&mut self, unsuback: &UnsubAck) {
        let gone =
            |reason: &UnsubAckReason| matches!(reason, UnsubAckReason::Success | UnsubAckReason::NoSubscriptionExisted);
        if !unsuback.reasons.iter().all(gone) {
            let reasons = shown(format_args!("{:?}", unsuback.reasons));
            warn!(broker = self.broker, reasons, "the broker refuses to unsubscribe");
            self.unsubscribed = false;
        }
        self.unsubacks_due = self.unsubacks_due.saturating_sub(1);
        if self.unsubacks_due == 0
            && self.unsubscribed
            && let Err(fault) = self.recorded.keep(&self.names())
        {
            warn!(%fault, "the subscriptions cannot be recorded");
        }
    }

    fn names(&self) -> Vec<String> {
        self.wanted.iter().map(|wanted| wanted.filter.clone()).collect()
    }
}

/// The filters as rumqttc sends them. Subscribing again is harmless: retained messages come for new subscriptions only.
fn filters(wanted: &[Subscription], retained: Retained) -> impl Iterator<Item = Filter> {
    let retain_forward_rule = match retained {
        Retained::Store => RetainForwardRule::OnNewSubscribe,
        Retained::Skip => RetainForwardRule::Never,
    };
    let filter = move |wanted: &Subscription| {
        let rule = retain_forward_rule.clone();
        Filter { retain_forward_rule: rule, ..Filter::new(&wanted.filter, qos(wanted.qos)) }
    };
    wanted.iter().map(filter)
}

/// What the broker grants less than it was asked for (MQTT 5.0 §3.9.3), in words; nothing where all is well.
fn shortfalls(wanted: &[Subscription], granted: &[SubscribeReasonCode]) -> Vec<String> {
    let mut shortfalls: Vec<_> = wanted.iter().zip(granted).filter_map(shortfall).collect();
    if granted.len() != wanted.len() {
        shortfalls.push(format!("the broker answers {} of {} filters", granted.len(), wanted.len()));
    }
    shortfalls
}

fn shortfall((wanted, granted): (&Subscription, &SubscribeReasonCode)) -> Option<String> {
    let Subscription { filter, qos } = wanted;
    match granted {
        SubscribeReasonCode::Success(granted) if *granted as u8 >= *qos => None,
        SubscribeReasonCode::Success(granted) => {
            Some(format!("the broker grants filter {filter:?} QoS {} instead of {qos}", *granted as u8))
        }
        refusal => Some(format!("the broker refuses filter {filter:?}: {refusal:?}")),
    }
}

pub(super) fn qos(level: u8) -> QoS {
    match level {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_downgrades_and_missing_answers_are_told() {
        let wanted = [("a", 0), ("b", 1), ("c", 2), ("d", 1)]
            .map(|(filter, qos)| Subscription { filter: filter.to_owned(), qos });
        let success = SubscribeReasonCode::Success;
        let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce].map(success);
        assert_eq!(shortfalls(&wanted, &all), Vec::<String>::new());
        let some = [success(QoS::AtMostOnce), SubscribeReasonCode::NotAuthorized, success(QoS::AtLeastOnce)];
        assert_eq!(
            shortfalls(&wanted, &some),
            [
                "the broker refuses filter \"b\": NotAuthorized",
                "the broker grants filter \"c\" QoS 1 instead of 2",
                "the broker answers 3 of 4 filters",
            ]
        );
    }
}

//! What is asked for in SUBSCRIBE, and whether SUBACK grants it.

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, RetainForwardRule, SubscribeReasonCode};

use crate::config::Subscription;

/// The filters as rumqttc sends them. Subscribing again is harmless: retained messages come for new subscriptions only.
pub(super) fn filters(wanted: &[Subscription]) -> impl Iterator<Item = Filter> {
    wanted.iter().map(|subscription| Filter {
        retain_forward_rule: RetainForwardRule::OnNewSubscribe,
        ..Filter::new(&subscription.filter, qos(subscription.qos))
    })
}

/// What the broker grants less than it was asked for (MQTT 5.0 §3.9.3), in words; nothing where all is well.
pub(super) fn shortfalls(wanted: &[Subscription], granted: &[SubscribeReasonCode]) -> Vec<String> {
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

fn qos(level: u8) -> QoS {
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

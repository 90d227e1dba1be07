//! The outage budget: for how long spool and broker hold what comes, and what would hold it longer.

use service::doctor::Finding;
use service::doctor::words::{grouped, rate, size, span};

use super::flow::{Flow, Weight};
use super::spool::Left;
use crate::config::BrokerQueue;
use crate::spool::MESSAGE_ALONE_BYTES;

const SUBJECT: &str = "outage budget";
/// Messages that a broker keeps for an absent client, where `BROKER_QUEUE` says nothing else: no protocol tells.
const BROKER_MESSAGES: f64 = 1_000.0;
/// Topic and payload, where nobody knows better.
const BYTES_ASSUMED: f64 = 100.0;
/// A spool that holds less is a matter for today.
const HOLD_MIN_S: f64 = 3_600.0;
/// What a spool should hold: a week away from home.
const HOLD_WANTED_S: f64 = 7.0 * 86_400.0;
/// What a broker should hold: an update, a reboot, a change of disk.
const BROKER_WANTED_S: f64 = 3_600.0;
/// A setting is proposed in steps of this size.
const STEP_BYTES: f64 = (256u64 << 20) as f64;

/// What is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) flow: Option<Flow>,
    pub(super) weight: Option<Weight>,
    pub(super) bytes_max: u64,
    pub(super) left: Left,
    /// What the broker keeps, where it is known.
    pub(super) queue: Option<BrokerQueue>,
    /// Seconds that the broker keeps the session; none where it was not reached.
    pub(super) session_s: Option<u32>,
    /// Some filter asks for QoS 1 or 2: a broker need keep no others.
    pub(super) is_kept: bool,
}

/// How long what comes can be held.
pub(super) fn finding(known: &Known) -> Finding {
    let message = known.weight.as_ref().map_or(BYTES_ASSUMED, |weight| weight.bytes) + MESSAGE_ALONE_BYTES as f64;
    let left = known.left.bytes as f64;
    let Some(flow) = known.flow.as_ref().filter(|flow| flow.per_second > 0.0) else {
        let what = format!(
            "the spool holds about {} messages more; for how long, nobody can say yet: none were counted",
            grouped(left / message)
        );
        return Finding::ok(SUBJECT, what)
            .note("say how many come each second: ponte-subscriber check --rate 12")
            .note(weight_note(known, message));
    };
    let hold_s = left / (flow.per_second * message);
    let what = format!(
        "at {} the spool holds {}; the broker alone would hold {}",
        rate(flow.per_second),
        span(hold_s),
        broker_text(known, flow.per_second)
    );
    let mut finding = if hold_s < HOLD_MIN_S { Finding::warn(SUBJECT, what) } else { Finding::ok(SUBJECT, what) };
    finding = finding.note(format!("the rate: {}", flow.source)).note(weight_note(known, message));
    if hold_s < HOLD_WANTED_S {
        finding = finding.note(more_spool(known, flow.per_second * message));
    }
    broker_notes(known, flow.per_second).into_iter().fold(finding, Finding::note)
}

fn weight_note(known: &Known, message: f64) -> String {
    let (bytes, source) = match &known.weight {
        Some(weight) => (weight.bytes, weight.source.as_str()),
        None => (BYTES_ASSUMED, "an assumption"),
    };
    format!("the size: {} of topic and payload ({source}), {} on the disk", size(bytes), size(message))
}

/// What would hold for as long as wished.
fn more_spool(known: &Known, bytes_per_second: f64) -> String {
    let needed = bytes_per_second * HOLD_WANTED_S;
    let wished = span(HOLD_WANTED_S);
    if known.left.is_disk {
        return format!("the disk binds: {wished} need {} of free space", size(needed));
    }
    let used = known.bytes_max.saturating_sub(known.left.bytes) as f64;
    let setting = ((used + needed) / STEP_BYTES).ceil() * STEP_BYTES;
    format!("for {wished} set SPOOL_MAX_BYTES={}MiB, if the disk has it", (setting / f64::from(1u32 << 20)).round())
}

/// Messages that the broker keeps for an absent subscriber: up to its bound of messages or of bytes.
fn broker_messages(known: &Known) -> f64 {
    let Some(queue) = &known.queue else { return BROKER_MESSAGES };
    let bytes = known.weight.as_ref().map_or(BYTES_ASSUMED, |weight| weight.bytes).max(1.0);
    queue.bytes.map_or(f64::INFINITY, |bound| bound as f64 / bytes).min(queue.messages as f64)
}

/// Seconds that the broker holds messages for while no subscriber is there.
fn broker_s(known: &Known, per_second: f64) -> Option<f64> {
    let session_s = f64::from(known.session_s?);
    Some(if known.is_kept { session_s.min(broker_messages(known) / per_second) } else { 0.0 })
}

fn broker_text(known: &Known, per_second: f64) -> String {
    match broker_s(known, per_second) {
        None => "an unknown time (it does not answer)".to_owned(),
        Some(0.0) => "nothing".to_owned(),
        Some(seconds) => span(seconds),
    }
}

fn broker_notes(known: &Known, per_second: f64) -> Vec<String> {
    let Some(session_s) = known.session_s else { return Vec::new() };
    if !known.is_kept {
        return vec![
            "every filter asks for QoS 0, which no broker keeps: ask for QoS 1 in MQTT_TOPICS (casa/#:1)".to_owned(),
        ];
    }
    if session_s == 0 {
        return vec!["the broker keeps no session: see MQTT_SESSION_EXPIRY above".to_owned()];
    }
    let messages = broker_messages(known);
    let (session, count) = (span(session_s.into()), grouped(messages));
    let mut notes = vec![match known.queue {
        Some(_) => format!("the broker keeps the session for {session}, and {count} messages, as BROKER_QUEUE says"),
        None => format!(
            "the broker tells only that it keeps the session for {session}; how many messages, no broker tells: {count} are \
             assumed, the default of mosquitto (max_queued_messages) and HiveMQ; BROKER_QUEUE says another number"
        ),
    }];
    let wanted_s = BROKER_WANTED_S.min(session_s.into());
    if messages / per_second < wanted_s {
        notes.push(format!(
            "to stop the subscriber for {} without loss, the broker needs {} messages: max_queued_messages in mosquitto.conf",
            span(wanted_s),
            grouped((per_second * wanted_s).ceil())
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use service::doctor::Level;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn known(per_second: f64) -> Known {
        Known {
            flow: Some(Flow { per_second, source: "counted".into() }),
            weight: Some(Weight { bytes: 57.0, source: "measured".into() }),
            bytes_max: GIB,
            left: Left { bytes: GIB, is_disk: false },
            queue: None,
            session_s: Some(604_800),
            is_kept: true,
        }
    }

    fn notes(known: &Known) -> String {
        finding(known).notes.join("\n")
    }

    #[test]
    fn the_budget_is_a_sentence() {
        assert_eq!(MESSAGE_ALONE_BYTES, 43, "so that a message here has 100 bytes");
        let finding = finding(&known(12.0));
        assert_eq!(finding.what, "at 12 msg/s the spool holds 10 days; the broker alone would hold 83 s");
        assert_eq!(finding.level, Level::Ok);
        assert_eq!(finding.notes.len(), 4, "{finding:?}");
        assert!(finding.notes[3].contains("43,200 messages"), "{finding:?}");
    }

    #[test]
    fn a_queue_that_is_known_is_reckoned_with() {
        let of = |queue: &str, per_second| Known { queue: Some(queue.parse().unwrap()), ..known(per_second) };
        for (known, held) in [
            (of("1000000", 12.0), "hold 23 h"),
            (of("1000000:5700", 1.0), "hold 100 s"),
            (of("50:1GiB", 1.0), "hold 50 s"),
        ] {
            let what = finding(&known).what;
            assert!(what.ends_with(held), "{what}");
            assert!(notes(&known).contains("as BROKER_QUEUE says") && !notes(&known).contains("assumed"));
        }
    }

    #[test]
    fn a_slow_flow_is_bound_by_the_session() {
        let known = Known { session_s: Some(3_600), ..known(0.001) };
        assert_eq!(
            finding(&known).what,
            "at 3.6 msg/h the spool holds 340 years; the broker alone would hold 60 min"
                .replace("340 years", "more than 100 years")
        );
        assert!(!notes(&known).contains("max_queued_messages in"));
    }

    #[test]
    fn what_would_hold_longer_is_named() {
        let fast = known(1_000.0);
        assert_eq!(finding(&fast).level, Level::Ok);
        assert!(notes(&fast).contains("for 7 days set SPOOL_MAX_BYTES=57856MiB"), "{}", notes(&fast));
        let small = Known { left: Left { bytes: 10 << 20, is_disk: true }, ..known(1_000.0) };
        assert_eq!(finding(&small).level, Level::Warn);
        assert!(finding(&small).what.contains("the spool holds 105 s"), "{:?}", finding(&small));
        assert!(notes(&small).contains("the disk binds: 7 days need 56 GiB"), "{}", notes(&small));
    }

    #[test]
    fn what_a_broker_cannot_keep_is_said() {
        for (known, what, note) in [
            (Known { session_s: None, ..known(12.0) }, "an unknown time", ""),
            (Known { session_s: Some(0), ..known(12.0) }, "would hold nothing", "keeps no session"),
            (Known { is_kept: false, ..known(12.0) }, "would hold nothing", "QoS 0, which no broker keeps"),
        ] {
            assert!(finding(&known).what.contains(what), "{:?}", finding(&known));
            assert!(notes(&known).contains(note), "{}", notes(&known));
        }
    }

    #[test]
    fn without_a_rate_it_is_asked_for() {
        for flow in [None, Some(Flow { per_second: 0.0, source: String::new() })] {
            let known = Known { flow, weight: None, ..known(1.0) };
            let finding = finding(&known);
            assert!(finding.what.starts_with("the spool holds about 7,508,"), "{finding:?}");
            assert!(finding.notes[0].contains("--rate") && finding.notes[1].contains("an assumption"), "{finding:?}");
        }
    }
}

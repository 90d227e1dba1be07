//! What the broker lets us subscribe to, and whether anything ever came of it.

use dados::topic;
use service::Exit;
use service::doctor::Finding;

use crate::config::Subscription;
use crate::mqtt::probe::{Grant, Refusal};

const SUBJECT: &str = "MQTT_TOPICS";

/// What became of each filter.
pub(super) fn findings(wanted: &[Subscription], grants: &Result<Vec<Grant>, String>) -> Vec<Finding> {
    let grants = match grants {
        Ok(grants) if grants.len() == wanted.len() => grants,
        Ok(grants) => {
            let what = format!("the broker answers {} of {} filters", grants.len(), wanted.len());
            return vec![
                Finding::fail(Exit::Unavailable, SUBJECT, what).note("this is a fault of the broker: see its log"),
            ];
        }
        Err(fault) => {
            let what = format!("the broker did not answer the subscription: {fault}");
            return vec![Finding::fail(Exit::Unavailable, SUBJECT, what).note(
                "some brokers hang up instead of saying no: see the broker's log, and what this user may subscribe to",
            )];
        }
    };
    let faults: Vec<_> = wanted.iter().zip(grants).filter_map(fault).collect();
    match (faults.len(), wanted) {
        (0, [one]) => vec![Finding::ok(SUBJECT, format!("the broker grants {} with QoS {}", one.filter, one.qos))],
        (0, all) => vec![Finding::ok(SUBJECT, format!("the broker grants all {} filters as asked", all.len()))],
        _ => faults,
    }
}

fn fault((wanted, grant): (&Subscription, &Grant)) -> Option<Finding> {
    let Subscription { filter, qos } = wanted;
    let refusal = match grant {
        Grant::Qos(granted) if granted >= qos => return None,
        Grant::Qos(granted) => {
            let what = format!("the broker grants {filter} with QoS {granted} instead of {qos}");
            return Some(
                Finding::warn(SUBJECT, what)
                    .note(format!("write {filter}:{granted}; until then the subscriber says that it is not ready")),
            );
        }
        Grant::Refused(refusal) => refusal,
    };
    let (why, note) = match refusal {
        Refusal::NotAuthorized => (
            "this user may not subscribe to it",
            format!(
                "give HIVE_USER the right to subscribe to {filter}, in the broker's access list (HiveMQ Cloud: Access \
                 Management; mosquitto: acl_file or dynamic security), or ask for the topics that it may read"
            ),
        ),
        Refusal::Quota => {
            ("the broker allows no more subscriptions", "ask for fewer filters, or raise the broker's limit".into())
        }
        Refusal::Filter => {
            ("the broker takes no filter of this form", "look it up in the broker's documentation".into())
        }
        Refusal::Shared => ("the broker has no shared subscriptions", "leave MQTT_SHARED_GROUP out".into()),
        Refusal::Wildcards => ("the broker takes no + and #", "list the topics by their full names".into()),
        Refusal::Unsaid => {
            ("the broker does not say why", "see the broker's log, and what this user may subscribe to".into())
        }
    };
    Some(Finding::fail(Exit::Unavailable, SUBJECT, format!("the broker refuses {filter}: {why}")).note(note))
}

/// A filter without the group that it is shared in.
fn unshared(filter: &str) -> &str {
    let shared = filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/'));
    shared.map_or(filter, |(_, inner)| inner)
}

/// Filters of which nothing is stored, where `topics` are all that the API has. A broker may grant a subscription and
/// keep its messages back all the same: mosquitto does where an acl_file does not let the user read.
pub(super) fn silent<'a>(wanted: impl Iterator<Item = &'a Subscription>, topics: &[String]) -> Option<Finding> {
    let is_silent = |wanted: &&Subscription| !topics.iter().any(|name| topic::matches(unshared(&wanted.filter), name));
    let silent: Vec<_> = wanted.filter(is_silent).map(|wanted| wanted.filter.as_str()).collect();
    if silent.is_empty() {
        return None;
    }
    let what = format!("nothing is stored yet of {}", silent.join(", "));
    Some(Finding::warn("messages", what).note("publish something that matches and run this again").note(
        "if it does not come: do the topics differ (capitals, a leading slash)? does the broker let this user read \
                   them (mosquitto: acl_file)?",
    ))
}

#[cfg(test)]
mod tests {
    use service::doctor::Level;

    use super::*;

    fn wanted(filters: &[(&str, u8)]) -> Vec<Subscription> {
        filters.iter().map(|&(filter, qos)| Subscription { filter: filter.to_owned(), qos }).collect()
    }

    #[test]
    fn every_grant_is_told_by_what_it_means() {
        let fail = Level::Fail(Exit::Unavailable);
        let refused = Grant::Refused;
        for (grant, level, words) in [
            (Grant::Qos(1), Level::Ok, "grants a/# with QoS 1"),
            (Grant::Qos(2), Level::Ok, "grants a/# with QoS 1"),
            (Grant::Qos(0), Level::Warn, "QoS 0 instead of 1"),
            (refused(Refusal::NotAuthorized), fail, "may not subscribe"),
            (refused(Refusal::Quota), fail, "no more subscriptions"),
            (refused(Refusal::Filter), fail, "of this form"),
            (refused(Refusal::Shared), fail, "no shared"),
            (refused(Refusal::Wildcards), fail, "no + and #"),
            (refused(Refusal::Unsaid), fail, "does not say why"),
        ] {
            let findings = findings(&wanted(&[("a/#", 1)]), &Ok(vec![grant]));
            assert_eq!(findings.len(), 1);
            assert_eq!(findings[0].level, level);
            assert!(findings[0].what.contains(words), "{findings:?}");
            assert_eq!(findings[0].notes.len(), usize::from(level != Level::Ok));
        }
    }

    #[test]
    fn only_filters_with_a_fault_have_a_line_of_their_own() {
        let filters = wanted(&[("a", 1), ("b", 1), ("c", 1)]);
        let one = findings(&filters, &Ok(vec![Grant::Qos(1), Grant::Refused(Refusal::Quota), Grant::Qos(1)]));
        assert!(one.len() == 1 && one[0].what.contains("refuses b"), "{one:?}");
        assert!(findings(&filters, &Ok(vec![Grant::Qos(1); 3]))[0].what.contains("all 3 filters"));
        for bad in [Ok(vec![Grant::Qos(1)]), Err("gone".to_owned())] {
            assert_eq!(findings(&filters, &bad)[0].level, Level::Fail(Exit::Unavailable));
        }
    }

    #[test]
    fn a_filter_without_messages_is_named() {
        let topics = ["casa/sala".to_owned(), "lab/1/t".to_owned()];
        assert_eq!(silent(wanted(&[("casa/#", 1), ("$share/g/lab/+/t", 1)]).iter(), &topics), None);
        let finding = silent(wanted(&[("casa/#", 1), ("Casa/#", 1), ("/lab/#", 1)]).iter(), &topics).unwrap();
        assert_eq!(finding.what, "nothing is stored yet of Casa/#, /lab/#");
    }
}

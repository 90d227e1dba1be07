//! What follows from what the broker says when it takes a client in.

use service::Exit;
use service::doctor::Finding;
use service::doctor::words::{grouped, size, span};

use crate::config::{Mqtt, Retained};
use crate::mqtt::probe::Limits;

/// A keep-alive this long leaves a dead connection unnoticed for minutes.
const KEEP_ALIVE_LONG_S: u16 = 120;

/// A line for each limit that matters to these settings, and one for those that do not.
pub(super) fn findings(config: &Mqtt, limits: &Limits) -> Vec<Finding> {
    let mut all = vec![session(config.session_expiry_s, limits)];
    all.extend(
        [client_id(limits), qos(config, limits), wildcards(config, limits), shared(config, limits)]
            .into_iter()
            .flatten(),
    );
    all.extend(
        [keep_alive(config, limits), retained(config, limits), packets(limits), publishers(limits)]
            .into_iter()
            .flatten(),
    );
    all
}

fn session(asked_s: u32, limits: &Limits) -> Finding {
    let subject = "MQTT_SESSION_EXPIRY";
    let granted_s = limits.session_expiry_s.unwrap_or(asked_s);
    let text = |seconds: u32| span(seconds.into());
    if asked_s == 0 {
        return Finding::warn(subject, "no session is asked for: what comes while the subscriber is away is lost")
            .note("set it to the longest absence that should lose nothing, such as 7d");
    }
    if granted_s == 0 {
        return Finding::warn(
            subject,
            format!("the broker keeps no session, not the {} asked for: what comes while the subscriber is away is lost", text(asked_s)),
        )
        .note("allow sessions at the broker (mosquitto: persistent_client_expiration; HiveMQ: session expiry), and keep the subscriber running");
    }
    if granted_s < asked_s {
        return Finding::warn(
            subject,
            format!(
                "the broker keeps the session for {} after the subscriber has gone, not for the {} asked for: a longer absence loses messages",
                text(granted_s),
                text(asked_s)
            ),
        )
        .note("raise the limit at the broker, or be back sooner");
    }
    Finding::ok(
        subject,
        format!("the broker keeps the session for {}, as asked, while the subscriber is away", text(granted_s)),
    )
}

fn client_id(limits: &Limits) -> Option<Finding> {
    let given = limits.client_id.as_ref()?;
    let what = format!(
        "the broker gives its clients names of its own ({given}): the session cannot be found again after a restart"
    );
    Some(Finding::warn("MQTT_CLIENT_ID", what).note("let the broker take the client id that the subscriber names"))
}

fn qos(config: &Mqtt, limits: &Limits) -> Option<Finding> {
    let most = limits.qos_max.filter(|most| *most < 2)?;
    let above = config.subscriptions.iter().filter(|wanted| wanted.qos > most).count();
    let means = match most {
        0 => "messages may be lost whenever the network or a program stops",
        _ => "a message may come twice after a cut",
    };
    if above == 0 {
        return Some(Finding::ok(
            "quality of service",
            format!("the broker has at most QoS {most}, and no filter asks for more: {means}"),
        ));
    }
    let what = format!(
        "the broker has at most QoS {most}, and {above} of MQTT_TOPICS ask for more: they get {most}, so {means}"
    );
    Some(Finding::warn("quality of service", what).note(format!(
        "write :{most} behind those filters, such as casa/#:{most}; until then the subscriber says that it is not ready"
    )))
}

fn wildcards(config: &Mqtt, limits: &Limits) -> Option<Finding> {
    let inner = |filter: &str| filter.contains(['+', '#']);
    if limits.has_wildcards || !config.subscriptions.iter().any(|wanted| inner(&wanted.filter)) {
        return None;
    }
    Some(
        Finding::fail(Exit::Unavailable, "MQTT_TOPICS", "the broker takes no filter with + or #")
            .note("list every topic by its full name: MQTT_TOPICS=casa/sala,casa/cozinha"),
    )
}

fn shared(config: &Mqtt, limits: &Limits) -> Option<Finding> {
    if limits.has_shared || !config.subscriptions.iter().any(|wanted| wanted.filter.starts_with("$share/")) {
        return None;
    }
    Some(
        Finding::fail(Exit::Unavailable, "MQTT_SHARED_GROUP", "the broker has no shared subscriptions ($share/…)")
            .note("leave MQTT_SHARED_GROUP out, and run one subscriber only"),
    )
}

fn keep_alive(config: &Mqtt, limits: &Limits) -> Option<Finding> {
    let theirs = limits.keep_alive_s?;
    let ours = span(config.keep_alive.as_secs_f64());
    Some(match theirs {
        0 => Finding::ok(
            "MQTT_KEEP_ALIVE",
            format!("the broker asks for no signs of life; the subscriber gives one every {ours} all the same"),
        ),
        theirs => {
            let what =
                format!("the broker asks for a sign of life every {}, in place of our {ours}", span(theirs.into()));
            let is_long = theirs > KEEP_ALIVE_LONG_S && f64::from(theirs) > config.keep_alive.as_secs_f64();
            if is_long {
                Finding::warn("MQTT_KEEP_ALIVE", what).note("a connection that died without a word is noticed only after 2.5 times that: messages come late, none is \
                       lost")
            } else {
                Finding::ok("MQTT_KEEP_ALIVE", what)
            }
        }
    })
}

fn retained(config: &Mqtt, limits: &Limits) -> Option<Finding> {
    (!limits.has_retained && config.retained == Retained::Store).then(|| {
        Finding::ok(
            "MQTT_RETAINED",
            "the broker keeps no retained messages: a new filter begins with what is published from then on",
        )
    })
}

fn packets(limits: &Limits) -> Option<Finding> {
    let bytes = limits.packet_bytes_max?;
    Some(Finding::ok(
        "message size",
        format!("the broker takes packets up to {} from your sensors; it turns larger ones away", size(bytes.into())),
    ))
}

fn publishers(limits: &Limits) -> Option<Finding> {
    let mut said = Vec::new();
    said.extend(
        limits.receive_maximum.map(|most| format!("{} publishes at once (receive maximum)", grouped(most.into()))),
    );
    said.extend(limits.topic_aliases_max.map(|most| format!("{} topic aliases", grouped(most.into()))));
    (!said.is_empty()).then(|| {
        let what = format!(
            "it takes {} from a client; that binds those who publish, and the subscriber only listens",
            said.join(" and ")
        );
        Finding::ok("the broker's other limits", what)
    })
}

#[cfg(test)]
mod tests {
    use service::doctor::Level;

    use super::*;
    use crate::config::Settings;

    fn config(args: &[&str]) -> Mqtt {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            settings: Settings,
        }
        let args = [&["x", "--broker-addr", "mqtt://localhost"], args].concat();
        Cli::parse_from(args).settings.resolve().unwrap().mqtt
    }

    fn all() -> Limits {
        Limits { has_retained: true, has_wildcards: true, has_shared: true, ..Limits::default() }
    }

    /// The subjects and levels of what is said beside the session.
    fn rest(args: &[&str], limits: &Limits) -> Vec<(String, Level)> {
        findings(&config(args), limits).into_iter().skip(1).map(|it| (it.subject, it.level)).collect()
    }

    #[test]
    fn the_session_that_is_granted_is_compared_with_the_one_asked_for() {
        const H: u32 = 3_600;
        for (asked, granted, level, words) in [
            (7 * 24 * H, None, Level::Ok, "for 7 days, as asked"),
            (7 * 24 * H, Some(7 * 24 * H), Level::Ok, "for 7 days, as asked"),
            (7 * 24 * H, Some(4 * H), Level::Warn, "for 4 h after the subscriber has gone, not for the 7 days"),
            (7 * 24 * H, Some(0), Level::Warn, "keeps no session"),
            (0, None, Level::Warn, "no session is asked for"),
            (0, Some(0), Level::Warn, "no session is asked for"),
        ] {
            let finding = session(asked, &Limits { session_expiry_s: granted, ..all() });
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.what.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn a_broker_without_limits_has_nothing_more_said_of_it() {
        assert_eq!(rest(&["--mqtt-topics", "#:2"], &all()), []);
    }

    #[test]
    fn a_limit_matters_where_the_settings_meet_it() {
        let fail = Level::Fail(Exit::Unavailable);
        let limit = |change: &dyn Fn(&mut Limits)| {
            let mut limits = all();
            change(&mut limits);
            limits
        };
        let qos = |most| limit(&|it| it.qos_max = Some(most));
        let no_wildcards = limit(&|it| it.has_wildcards = false);
        let no_shared = limit(&|it| it.has_shared = false);
        let keep_alive = |s| limit(&|it| it.keep_alive_s = Some(s));
        for (args, limits, expected) in [
            (&["--mqtt-topics", "a:2,b:1"][..], qos(1), vec![("quality of service", Level::Warn)]),
            (&["--mqtt-topics", "a:1,b:0"], qos(1), vec![("quality of service", Level::Ok)]),
            (&["--mqtt-topics", "a:1"], qos(0), vec![("quality of service", Level::Warn)]),
            (&["--mqtt-topics", "a/#"], no_wildcards.clone(), vec![("MQTT_TOPICS", fail)]),
            (&["--mqtt-topics", "a"], no_wildcards, vec![]),
            (&["--mqtt-topics", "a", "--mqtt-shared-group", "g"], no_shared.clone(), vec![("MQTT_SHARED_GROUP", fail)]),
            (&["--mqtt-topics", "a"], no_shared, vec![]),
            (&[], keep_alive(60), vec![("MQTT_KEEP_ALIVE", Level::Ok)]),
            (&[], keep_alive(0), vec![("MQTT_KEEP_ALIVE", Level::Ok)]),
            (&[], keep_alive(600), vec![("MQTT_KEEP_ALIVE", Level::Warn)]),
            (&["--mqtt-keep-alive", "1h"], keep_alive(600), vec![("MQTT_KEEP_ALIVE", Level::Ok)]),
            (&[], limit(&|it| it.has_retained = false), vec![("MQTT_RETAINED", Level::Ok)]),
            (&["--mqtt-retained", "skip"], limit(&|it| it.has_retained = false), vec![]),
            (&[], limit(&|it| it.packet_bytes_max = Some(4096)), vec![("message size", Level::Ok)]),
            (&[], limit(&|it| it.client_id = Some("x".into())), vec![("MQTT_CLIENT_ID", Level::Warn)]),
            (&[], limit(&|it| it.receive_maximum = Some(20)), vec![("the broker's other limits", Level::Ok)]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(subject, level)| (subject.to_owned(), level)).collect();
            assert_eq!(rest(args, &limits), expected, "{args:?} {limits:?}");
        }
    }

    #[test]
    fn limits_for_publishers_are_told_as_such() {
        let limits = Limits { receive_maximum: Some(1_024), topic_aliases_max: Some(10), ..all() };
        let line = publishers(&limits).unwrap().what;
        assert!(
            line.starts_with("it takes 1,024 publishes at once (receive maximum) and 10 topic aliases from"),
            "{line}"
        );
    }
}

//! The subscriber that runs on this machine, if one does: how it is, by its own word.

use std::net::{SocketAddr, TcpListener};

use reqwest::Client;
use service::ask::reachable;
use service::doctor::Finding;
use service::doctor::words::grouped;
use service::{Exit, shown};

use super::flow::Flow;
use super::http::{Answer, ask};
use crate::status::Report;

/// What it told.
#[derive(Debug, Default)]
pub(super) struct Running {
    pub(super) report: Option<Report>,
    /// What it has captured since its start.
    pub(super) flow: Option<Flow>,
}

/// Asks whoever listens on `STATUS_ADDR`.
pub(super) async fn examine(http: &Client, addr: SocketAddr, is_locked: bool) -> (Finding, Running) {
    let subject = format!("STATUS_ADDR {addr}");
    let reached = reachable(addr);
    match ask(http.get(format!("http://{reached}/readyz"))).await {
        Err(_) => (absent(subject, addr, is_locked), Running::default()),
        Ok(answer) => match serde_json::from_str::<Report>(&answer.body) {
            Ok(report) => {
                let metrics = ask(http.get(format!("http://{reached}/metrics"))).await;
                let flow = metrics.ok().and_then(|Answer { body, after_ms, .. }| Flow::of_metrics(&body, after_ms));
                (told(subject, &report), Running { report: Some(report), flow })
            }
            Err(_) => {
                let what = "another program answers on this port, and no subscriber can";
                (
                    Finding::fail(Exit::Unavailable, subject, what).note("choose a free port for STATUS_ADDR"),
                    Running::default(),
                )
            }
        },
    }
}

fn absent(subject: String, addr: SocketAddr, is_locked: bool) -> Finding {
    if is_locked {
        return Finding::warn(subject, "a subscriber holds the spool, and does not answer here")
            .note("in Docker, ask where it runs: docker compose exec subscriber ponte-subscriber check")
            .note("else it has another STATUS_ADDR, or has stopped responding: see its log; a second one on this spool ends with code 75");
    }
    match TcpListener::bind(addr) {
        Ok(_) => Finding::ok(subject, "no subscriber runs here now, and the address is free for one"),
        Err(error) => Finding::fail(Exit::Unavailable, subject, format!("cannot listen there: {error}"))
            .note("choose another address or port"),
    }
}

fn told(subject: String, report: &Report) -> Finding {
    let count = |number: u64| grouped(number as f64);
    let spool = &report.spool;
    let counts =
        format!("{} messages captured so far, {} wait for the API", count(spool.captured), count(spool.waiting));
    let faults: Vec<_> =
        report.broker.fault.iter().chain(&report.broker.subscription_faults).chain(&spool.fault).collect();
    let mut finding = if report.ready {
        Finding::ok(subject, format!("the subscriber runs and is ready; {counts}"))
    } else {
        let faults: Vec<_> = faults.into_iter().map(shown).collect();
        Finding::warn(subject, format!("the subscriber runs and is not ready: {}; {counts}", faults.join("; ")))
    };
    if let Some(fault) = &report.api.fault {
        finding = finding.note(format!("it cannot deliver now: {}", shown(fault)));
    }
    if spool.damaged > 0 {
        finding = finding.note(format!(
            "{} messages were lost on the spool's disk: files were removed, or are damaged (see its log, and corrupt/ in SPOOL_DIR)",
            count(spool.damaged)
        ));
    }
    if spool.quarantined > 0 {
        finding = finding.note(format!(
            "{} messages that the API refused wait in quarantine: ponte-subscriber quarantine list",
            count(spool.quarantined)
        ));
    }
    finding
}

#[cfg(test)]
mod tests {
    use service::doctor::Level;

    use super::*;

    fn report(ready: bool, fault: Option<&str>, quarantined: u64) -> Report {
        serde_json::from_value(serde_json::json!({
            "ready": ready,
            "broker": {"connected": ready, "session_resumed": true, "fault": fault, "subscription_faults": []},
            "spool": {"producer": uuid::Uuid::nil(), "captured": 12_345, "waiting": 2, "bytes": 0, "bytes_max": 1,
                      "quarantined": quarantined, "damaged": quarantined, "fault": null},
            "api": {"fault": null, "missing": 0}
        }))
        .unwrap()
    }

    #[test]
    fn a_running_subscriber_is_told_by_its_own_word() {
        let finding = told("x".into(), &report(true, None, 0));
        assert_eq!((finding.level, finding.notes.len()), (Level::Ok, 0));
        assert!(finding.what.contains("12,345 messages captured so far, 2 wait"), "{finding:?}");
        let finding = told("x".into(), &report(false, Some("no broker"), 3));
        assert_eq!((finding.level, finding.notes.len()), (Level::Warn, 2));
        assert!(finding.what.contains("not ready: no broker"), "{finding:?}");
    }

    #[test]
    fn where_nobody_answers_the_lock_and_the_port_are_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        assert_eq!(absent("x".into(), addr, true).level, Level::Warn);
        assert_eq!(absent("x".into(), addr, false).level, Level::Fail(Exit::Unavailable));
        drop(taken);
        assert_eq!(absent("x".into(), "127.0.0.1:0".parse().unwrap(), false).level, Level::Ok);
    }
}

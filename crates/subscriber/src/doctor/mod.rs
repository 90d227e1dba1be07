//! The subcommand `check`: is everything as the subscriber needs it, why not, and how long is there? It changes nothing.
//!
//! - [`spool`]: the directory, its disk and its room
//! - [`connack`], [`rights`]: what the broker allows
//! - [`api`]: where messages go; [`http`]: one question to it
//! - [`running`]: the subscriber that runs here, by its own word
//! - [`flow`], [`budget`]: how much comes, and for how long it can be held

mod api;
mod budget;
mod connack;
mod flow;
mod http;
mod rights;
mod running;
mod spool;

use std::net::SocketAddr;

use dados::Timestamp;
use service::commands::print_settings;
use service::doctor::{Finding, clock, report};
use service::settings::Source;
use service::{Exit, Fatal};

use crate::config::{BrokerQueue, Config, Mqtt, Settings};
use crate::forward::post;
use crate::mqtt::probe::{self, Broker, Grant};
use budget::Known;
use flow::{Flow, Weight};

/// What a refusal may mean that concerns the check alone.
const OTHER_ID: &str = "this check names itself otherwise (…-check-…), so as not to disconnect the subscriber: where the \
                        broker allows one client id only, ask the running subscriber instead (STATUS_ADDR)";

/// Prints the settings, then looks at spool, broker, API and a subscriber that runs; the first failure is the end's.
pub async fn check(settings: Settings, rate: Option<f64>, sources: &[Source]) -> Result<(), Fatal> {
    print_settings(sources);
    let (status_addr, queue) = (settings.status_addr, settings.broker_queue.clone());
    let config: Config = settings.resolve()?;
    let queue = queue.filter(|queue| queue.is_of(&config.mqtt.broker));
    report(&Box::pin(examine(&config, status_addr, queue, rate)).await?)
}

async fn examine(
    config: &Config,
    status_addr: SocketAddr,
    queue: Option<BrokerQueue>,
    rate: Option<f64>,
) -> Result<Vec<Finding>, Fatal> {
    let http = post::http(&config.api)?;
    // The token is the API's alone.
    let plain = post::http(&crate::config::Api { token: None, ..config.api.clone() })?;
    let is_locked = crate::spool::is_locked(&config.spool.dir);
    let (broker, api, (status, running)) = tokio::join!(
        probe::ask(&config.mqtt),
        api::examine(&http, &config.api),
        running::examine(&plain, status_addr, is_locked),
    );
    let broker = broker?;
    let used = running.report.as_ref().map(|report| report.spool.bytes);
    // After the others, so that they do not slow down what is measured.
    let (settings, is_qos2) = (config.spool.clone(), config.mqtt.is_qos2());
    let examined = tokio::task::spawn_blocking(move || spool::examine(&settings, is_qos2, used)).await;
    let (spool, left) = examined.map_err(|error| Fatal::new(Exit::Software, error))?;

    let mut findings = vec![clock::sane(Timestamp::now().as_ms())];
    findings.extend(spool);
    findings.extend(of_broker(&config.mqtt, &broker));
    findings.extend(api.findings);
    findings.extend(silent(&config.mqtt, &broker, api.topics.as_deref()));
    findings.push(status);
    if let Some(left) = left {
        let asked = rate.map(|per_second| Flow { per_second, source: "as --rate says".to_owned() });
        let now_ms = Timestamp::now().as_ms();
        findings.push(budget::finding(&Known {
            flow: asked.or(running.flow).or_else(|| Flow::of_rows(&api.rows, now_ms)),
            weight: Weight::of_rows(&api.rows),
            bytes_max: config.spool.bytes_max,
            left,
            queue,
            session_s: session_s(&config.mqtt, &broker),
            is_kept: config.mqtt.subscriptions.iter().any(|wanted| wanted.qos > 0),
        }));
    }
    Ok(findings)
}

fn of_broker(config: &Mqtt, broker: &Result<Broker, String>) -> Vec<Finding> {
    let subject = format!("BROKER_ADDR {}", config.broker);
    match broker {
        Err(fault) => {
            let finding = Finding::fail(Exit::Unavailable, subject, fault).note(
                "nothing is captured until this is mended; the broker keeps what it can for a session that exists",
            );
            // A broker may let in certain client ids only.
            let is_about_id = fault.contains("MQTT_CLIENT_ID");
            vec![if is_about_id { finding.note(OTHER_ID) } else { finding }]
        }
        Ok(Broker { limits, grants }) => {
            let mut findings = vec![Finding::ok(subject, "connected with MQTT 5")];
            findings.extend(readable_password(config));
            findings.extend(connack::findings(config, limits));
            findings.extend(rights::findings(&config.subscriptions, grants));
            findings
        }
    }
}

/// Of what the broker grants, that of which nothing ever came.
fn silent(config: &Mqtt, broker: &Result<Broker, String>, topics: Option<&[String]>) -> Option<Finding> {
    let grants = broker.as_ref().ok()?.grants.as_ref().ok()?;
    let granted = config.subscriptions.iter().zip(grants).filter(|(_, grant)| matches!(grant, Grant::Qos(_)));
    rights::silent(granted.map(|(wanted, _)| wanted), topics?)
}

/// A password that others on the network can read.
fn readable_password(config: &Mqtt) -> Option<Finding> {
    let is_here = config.broker.host == "localhost"
        || config.broker.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    (config.credentials.is_some() && !config.broker.transport.is_tls() && !is_here).then(|| {
        Finding::warn(
            "HIVE_PSWD",
            "the password crosses the network as it is: without TLS anybody on the way can read it",
        )
        .note("where the broker has TLS, use mqtts:// in BROKER_ADDR")
    })
}

/// What the broker keeps the session for; none where it was not reached.
fn session_s(config: &Mqtt, broker: &Result<Broker, String>) -> Option<u32> {
    let limits = &broker.as_ref().ok()?.limits;
    Some(limits.session_expiry_s.unwrap_or(config.session_expiry_s))
}

//! How the subscriber is: what its parts report, and the HTTP endpoint that tells.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use service::http::hosts::Hosts;
use service::metrics::http::Counted;
use uuid::Uuid;

use crate::metrics::{Counts, metrics};
use crate::spool::{AppendError, Gauge, Usage};

/// What the parts report; shared between them.
pub struct Status {
    /// What is counted.
    pub(crate) counts: Counts,
    gauge: Gauge,
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    /// None: connected and subscribed.
    broker_fault: Option<String>,
    connected: bool,
    session_resumed: bool,
    subscription_faults: Vec<String>,
    spool_fault: Option<String>,
    api_fault: Option<String>,
    /// What the API's ledger says is missing of this producer.
    missing: Option<i64>,
    /// In quarantine now.
    quarantined: u64,
}

/// What metrics show of the parts.
#[derive(Debug)]
pub(crate) struct Levels {
    pub(crate) usage: Usage,
    pub(crate) ready: bool,
    pub(crate) connected: bool,
    pub(crate) quarantined: u64,
    pub(crate) missing: Option<i64>,
}

/// The body of `/readyz`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Whether messages are taken and kept.
    pub(crate) ready: bool,
    pub(crate) broker: Broker,
    pub(crate) spool: Spool,
    pub(crate) api: Api,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Broker {
    pub(crate) connected: bool,
    pub(crate) session_resumed: bool,
    pub(crate) fault: Option<String>,
    pub(crate) subscription_faults: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spool {
    /// Names this spool in the API's ledger.
    pub(crate) producer: Uuid,
    /// Messages stored since the spool was made.
    pub(crate) captured: u64,
    pub(crate) waiting: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_max: u64,
    pub(crate) quarantined: u64,
    /// Messages that were removed from the disk, or that it gave back damaged.
    #[serde(default)]
    pub(crate) damaged: u64,
    pub(crate) fault: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Api {
    pub(crate) fault: Option<String>,
    /// Messages of this producer that are neither stored nor accounted for otherwise; null before the API was asked.
    pub(crate) missing: Option<i64>,
}

impl Status {
    /// Nothing is connected yet.
    pub fn new(gauge: Gauge) -> Arc<Self> {
        let parts = Parts { broker_fault: Some("not connected yet".into()), ..Parts::default() };
        Arc::new(Self { counts: Counts::default(), gauge, parts: Mutex::new(parts) })
    }

    pub(crate) fn broker_connected(&self, session_resumed: bool, session_lost: bool) {
        self.counts.connects.inc();
        self.counts.sessions_lost.inc_by(session_lost.into());
        let mut parts = self.parts();
        parts.connected = true;
        parts.session_resumed = session_resumed;
        parts.broker_fault = Some("not subscribed yet".into());
    }

    pub(crate) fn subscribed(&self, faults: Vec<String>) {
        let mut parts = self.parts();
        parts.broker_fault = None;
        parts.subscription_faults = faults;
    }

    pub(crate) fn broker_lost(&self, fault: String) {
        let mut parts = self.parts();
        parts.connected = false;
        parts.broker_fault = Some(fault);
    }

    pub(crate) fn spool_failed(&self, fault: &AppendError) {
        self.counts.commits_failed.inc();
        self.parts().spool_fault = Some(fault.to_string());
    }

    pub(crate) fn spool_recovered(&self) {
        self.parts().spool_fault = None;
    }

    pub(crate) fn api_failed(&self, fault: String) {
        self.parts().api_fault = Some(fault);
    }

    pub(crate) fn api_recovered(&self) {
        self.parts().api_fault = None;
    }

    /// What the API's ledger says is missing; whether that is news.
    pub(crate) fn missing(&self, missing: i64) -> bool {
        self.parts().missing.replace(missing) != Some(missing)
    }

    pub(crate) fn quarantined(&self, messages: u64) {
        self.parts().quarantined = messages;
    }

    pub(crate) fn levels(&self) -> Levels {
        let usage = self.gauge.usage();
        let parts = self.parts();
        Levels {
            usage,
            ready: parts.is_ready(),
            connected: parts.connected,
            quarantined: parts.quarantined,
            missing: parts.missing,
        }
    }

    /// Whether the broker is connected, and why messages do not come or are not kept, where that is so.
    pub(crate) fn intake(&self) -> (bool, Option<String>) {
        let parts = self.parts();
        let fault = parts.broker_fault.as_ref().or(parts.subscription_faults.first()).or(parts.spool_fault.as_ref());
        (parts.connected, fault.cloned())
    }

    /// An API that is away does not make the subscriber unready: it takes messages and keeps them.
    fn report(&self) -> Report {
        let usage = self.gauge.usage();
        let parts = self.parts();
        Report {
            ready: parts.is_ready(),
            broker: Broker {
                connected: parts.connected,
                session_resumed: parts.session_resumed,
                fault: parts.broker_fault.clone(),
                subscription_faults: parts.subscription_faults.clone(),
            },
            spool: Spool {
                producer: usage.progress.producer,
                captured: usage.next_sequence - 1,
                waiting: usage.waiting,
                bytes: usage.bytes,
                bytes_max: usage.bytes_max,
                quarantined: parts.quarantined,
                damaged: usage.progress.damaged,
                fault: parts.spool_fault.clone(),
            },
            api: Api { fault: parts.api_fault.clone(), missing: parts.missing },
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().expect("no holder of the status panics")
    }
}

impl Parts {
    fn is_ready(&self) -> bool {
        self.broker_fault.is_none() && self.subscription_faults.is_empty() && self.spool_fault.is_none()
    }
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status").finish_non_exhaustive()
    }
}

/// `/healthz`: the process runs. `/readyz`: 200 while messages are taken and kept, else 503; the same body. `/metrics`:
/// for Prometheus. No page of another site reads any of it.
pub fn router(status: Arc<Status>, hosts: Hosts) -> Counted {
    let metrics = Arc::new(metrics(&status));
    let scraped = metrics.clone();
    let routes = [
        ("/healthz", get(|| async { "ok\n" })),
        ("/readyz", get(readyz).with_state(status)),
        ("/metrics", get(async move || scraped.answer())),
    ];
    Counted::new(routes, metrics, hosts)
}

async fn readyz(State(status): State<Arc<Status>>) -> Response {
    let report = status.report();
    let code = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(report)).into_response()
}

//! Counts answers by method, route and status, and how long they took: one look-up and a few atomics a request.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use foldhash::fast::RandomState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use tower_service::Service as _;

use super::Metrics;
use super::templates::Templates;
use crate::http::hosts::{self, Hosts};
use crate::http::{Answer, once};

/// Upper bounds of the latency's buckets: from an answer out of memory to one that waited for a slow disk.
const LATENCY_BUCKETS_S: [f64; BUCKETS] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, f64::INFINITY];
const BUCKETS: usize = 15;

/// Whatever clients send, there are only so many of these: methods of HTTP, routes of ours, statuses that we answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    route: Route,
    status: u16,
}

/// The route's template, never the path; none where no route fits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Route(Option<Arc<str>>);

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.0.as_deref().unwrap_or("unmatched"))
    }
}

/// The answers of one method, route and status.
#[derive(Debug, Default)]
struct Answers {
    by_latency: [AtomicU64; BUCKETS],
    total_us: AtomicU64,
}

impl Answers {
    fn observe(&self, elapsed: Duration) {
        let elapsed_s = elapsed.as_secs_f64();
        let bucket = LATENCY_BUCKETS_S.iter().position(|bound| elapsed_s <= *bound).unwrap_or(BUCKETS - 1);
        self.by_latency[bucket].fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(elapsed.as_micros() as u64, Ordering::Relaxed);
    }

    fn buckets(&self) -> [(f64, u64); BUCKETS] {
        std::array::from_fn(|bucket| (LATENCY_BUCKETS_S[bucket], self.by_latency[bucket].load(Ordering::Relaxed)))
    }
}

/// All answers. A request takes the lock for writing only when it is the first of its kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Http {
    answers: Arc<RwLock<HashMap<Labels, Answers, RandomState>>>,
}

impl Http {
    fn observe(&self, labels: Labels, elapsed: Duration) {
        let known = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(answers) = known.get(&labels) {
            return answers.observe(elapsed);
        }
        drop(known);
        self.answers.write().unwrap_or_else(PoisonError::into_inner).entry(labels).or_default().observe(elapsed);
    }
}

impl Collector for Http {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<_> = answers
            .iter()
            .map(|(labels, answers)| {
                let buckets = answers.buckets();
                let count = buckets.iter().map(|(_, count)| count).sum::<u64>();
                (labels, buckets, count, answers.total_us.load(Ordering::Relaxed))
            })
            .collect();
        let help = "Answers by method, route and status";
        let mut family = encoder.encode_descriptor("ponte_http_responses", help, None, MetricType::Counter)?;
        for (labels, _, count, _) in &taken {
            family.encode_family(*labels)?.encode_counter::<NoLabelSet, u64, f64>(count, None)?;
        }
        let help = "From a request's head to its answer's";
        let (name, unit) = ("ponte_http_response_duration", Some(&Unit::Seconds));
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (labels, buckets, count, total_us) in &taken {
            let total_s = *total_us as f64 / 1e6;
            family.encode_family(*labels)?.encode_histogram::<NoLabelSet>(total_s, *count, buckets, None)?;
        }
        Ok(())
    }
}

impl Metrics {
    /// Counts an answer, for a program that measures by itself; `route` is the template of its route.
    pub fn observe(&self, method: &Method, route: Option<Arc<str>>, status: StatusCode, elapsed: Duration) {
        self.http.observe(Labels { method: known(method), route: Route(route), status: status.as_u16() }, elapsed);
    }
}

/// Routes of a server without tokens, whose answers are counted, those too where none fits. A page of another site is
/// refused.
#[derive(Debug)]
pub struct Counted {
    router: Router,
    metrics: Arc<Metrics>,
    templates: Templates,
    hosts: Hosts,
}

impl Counted {
    /// Each route's template, and what answers there; under which names.
    pub fn new<const ROUTES: usize>(
        routes: [(&str, MethodRouter); ROUTES],
        metrics: Arc<Metrics>,
        hosts: Hosts,
    ) -> Self {
        let templates = Templates::new(routes.each_ref().map(|(template, _)| *template));
        let mount = |router: Router, (template, methods): (&str, MethodRouter)| router.route(template, methods);
        Self { router: routes.into_iter().fold(Router::new(), mount), metrics, templates, hosts }
    }

    /// Why a request is refused.
    fn refusal(&self, request: &Request) -> Option<Response> {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        if let Some(name) = once::repeated(headers) {
            return Some((StatusCode::BAD_REQUEST, format!("expected one header {name}\n")).into_response());
        }
        let denied = hosts::decide(self.hosts, method, uri, headers, false).err()?;
        Some((StatusCode::FORBIDDEN, format!("{denied}\n")).into_response())
    }
}

impl Answer for Counted {
    fn answer(&self, request: Request, _: SocketAddr) -> impl Future<Output = Result<Response, Infallible>> + Send {
        let started = Instant::now();
        let (method, route) = (request.method().clone(), self.templates.of(request.uri().path()));
        let answering = match self.refusal(&request) {
            Some(refusal) => Err(refusal),
            // A router is always ready.
            None => Ok(self.router.clone().call(request)),
        };
        async move {
            let response = match answering {
                Ok(answering) => answering.await?,
                Err(refusal) => refusal,
            };
            self.metrics.observe(&method, route, response.status(), started.elapsed());
            Ok(response)
        }
    }
}

/// The method's name, if it is one of RFC 9110 or PATCH: clients can make up others without end.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "CONNECT" => "CONNECT",
        "OPTIONS" => "OPTIONS",
        "TRACE" => "TRACE",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_in_the_first_bucket_that_holds_it() {
        let answers = Answers::default();
        for ms in [0, 1, 2, 1000, 60_000] {
            answers.observe(Duration::from_millis(ms));
        }
        let filled: Vec<(f64, u64)> = answers.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.0005, 1), (0.001, 1), (0.0025, 1), (1.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(answers.total_us.load(Ordering::Relaxed), 61_003_000);
    }
}

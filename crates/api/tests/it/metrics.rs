//! `GET /metrics`: sound OpenMetrics, numbers that move by what was done, and no more series than there are routes.

use std::collections::{BTreeMap, BTreeSet};

use dados::Relato;
use dados::novo::{FIRST_SEQUENCE, PRODUCER};
use reqwest::Method;
use service::metrics::MEDIA_TYPE;

use crate::{App, FORM, JSON, NDJSON, spawn_app};

const PRODUCER_ID: &str = "0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10";

/// One answer: every sample by its name and labels, as they stand there.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    async fn take(app: &App) -> Self {
        let response = app.get("/metrics").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], MEDIA_TYPE);
        Self::read(&response.text().await.unwrap())
    }

    /// Reads an answer and checks its form: every sample belongs to the family that HELP and TYPE have just named.
    fn read(text: &str) -> Self {
        let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
        let (mut family, mut kind, mut helped) = ("", "", "");
        let text = text.strip_suffix("# EOF\n").expect("the answer ends with its mark");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                helped = help.split(' ').next().unwrap();
            } else if let Some(typed) = line.strip_prefix("# TYPE ") {
                (family, kind) = typed.split_once(' ').unwrap();
                assert_eq!(family, helped, "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(families.insert(family.to_owned()), "{family} is there twice");
            } else if let Some(unit) = line.strip_prefix("# UNIT ") {
                let (name, unit) = unit.split_once(' ').unwrap();
                assert!(name == family && name.ends_with(unit), "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} follows {family}"));
                let known: &[&str] = match kind {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    _ => &["_bucket", "_count", "_sum"],
                };
                assert!(known.contains(&suffix), "{line}");
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
                assert!(samples.insert(series.to_owned(), value).is_none(), "{series} is there twice");
            }
        }
        Self(samples)
    }

    /// The value of a series; one that is not there yet has counted nothing.
    fn value(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }

    fn assert_has(&self, series: &str) {
        assert!(self.0.contains_key(series), "{series} is missing from {:?}", self.0.keys());
    }
}

/// Posts the sequences `first..first + count` and one key twice, and reports.
async fn work(app: &App) {
    let batch = |first: u64, count: u64| {
        let lines: String = (0..count).map(|n| format!("{{\"valor\":{n}}}\n")).collect();
        app.post(NDJSON, lines).header(PRODUCER, PRODUCER_ID).header(FIRST_SEQUENCE, first).send()
    };
    assert_eq!(batch(1, 5).await.unwrap().status(), 201);
    assert_eq!(batch(4, 4).await.unwrap().status(), 201);
    assert_eq!(batch(1, 3).await.unwrap().status(), 200);
    for (valor, status) in [(1, 201), (1, 201), (2, 409)] {
        let post = app.post(JSON, format!("{{\"valor\":{valor}}}")).header("idempotency-key", "k");
        assert_eq!(post.send().await.unwrap().status(), status);
    }
    assert_eq!(app.post(FORM, "topico=x").send().await.unwrap().status(), 422);
    // Of ten that went before, the API has seven.
    let relato = Relato { recebidas: 12, confirmadas: 10, ..Relato::default() };
    let put = app.client.put(app.url(&format!("/produtores/{PRODUCER_ID}"))).json(&relato);
    assert_eq!(put.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn counters_move_by_what_was_done() {
    let app = spawn_app().await;
    let before = Scrape::take(&app).await;
    work(&app).await;
    let after = Scrape::take(&app).await;
    for (series, moved) in [
        ("ponte_api_rows_stored_total", 8.0),
        ("ponte_api_duplicates_dropped_total", 5.0),
        ("ponte_api_batches_total", 4.0),
        ("ponte_api_keys_replayed_total", 1.0),
        ("ponte_api_transactions_failed_total{kind=\"unexpected\"}", 0.0),
        ("ponte_api_commit_duration_seconds_count", 6.0),
        ("ponte_api_commit_rows_count", 6.0),
        ("ponte_api_commit_rows_sum", 8.0),
        ("ponte_api_producers", 1.0),
        ("ponte_api_missing_messages", 3.0),
        ("ponte_api_producers_with_difference", 1.0),
        ("ponte_http_responses_total{method=\"POST\",route=\"/dados\",status=\"201\"}", 4.0),
        ("ponte_http_responses_total{method=\"POST\",route=\"/dados\",status=\"200\"}", 1.0),
        ("ponte_http_responses_total{method=\"POST\",route=\"/dados\",status=\"409\"}", 1.0),
        ("ponte_http_responses_total{method=\"POST\",route=\"/dados\",status=\"422\"}", 1.0),
        ("ponte_http_responses_total{method=\"PUT\",route=\"/produtores/{uuid}\",status=\"200\"}", 1.0),
        ("ponte_http_responses_total{method=\"GET\",route=\"/metrics\",status=\"200\"}", 1.0),
        ("ponte_http_response_duration_seconds_count{method=\"PUT\",route=\"/produtores/{uuid}\",status=\"200\"}", 1.0),
    ] {
        assert_eq!(after.value(series) - before.value(series), moved, "{series}");
    }
}

#[tokio::test]
async fn levels_are_those_of_now() {
    let app = spawn_app().await;
    work(&app).await;
    let scrape = Scrape::take(&app).await;
    for (series, value) in [
        ("ponte_api_queue_length", 0.0),
        ("ponte_api_queue_length_max", 1024.0),
        ("ponte_api_body_memory_bytes", 0.0),
        ("ponte_api_writer_healthy", 1.0),
        ("ponte_api_unindexed_rows", 8.0),
    ] {
        scrape.assert_has(series);
        assert_eq!(scrape.value(series), value, "{series}");
    }
    for series in [
        "ponte_api_body_memory_max_bytes",
        "ponte_api_database_bytes",
        "ponte_api_wal_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
    ] {
        assert!(scrape.value(series) > 0.0, "{series}");
    }
    for kind in ["full", "busy", "disk", "unexpected"] {
        scrape.assert_has(&format!("ponte_api_transactions_failed_total{{kind=\"{kind}\"}}"));
    }
    let version = env!("CARGO_PKG_VERSION");
    scrape.assert_has(&format!("ponte_build_info{{product=\"ponte-api\",version=\"{version}\"}}"));
}

#[tokio::test]
async fn no_client_can_make_series() {
    let app = spawn_app().await;
    let probe = async |number: u32| {
        let method = Method::from_bytes(format!("FANCY{number}").as_bytes()).unwrap();
        for (method, path) in [
            (Method::GET, format!("/random/{number}")),
            (Method::GET, format!("/dados/{}", number + 1000)),
            (Method::GET, format!("/dados/{number}/x?topico=casa/{number}")),
            (Method::GET, format!("/produtores/{}", uuid::Uuid::from_u128(number.into()))),
            (method.clone(), "/dados".to_owned()),
            (method, format!("/random/{number}")),
        ] {
            assert!(app.client.request(method, app.url(&path)).send().await.unwrap().status().is_client_error());
        }
    };
    probe(0).await;
    Scrape::take(&app).await;
    let before: Vec<String> = Scrape::take(&app).await.0.into_keys().collect();
    for number in 1..50 {
        probe(number).await;
    }
    let after = Scrape::take(&app).await;
    assert_eq!(after.0.keys().cloned().collect::<Vec<_>>(), before);
    for (labels, count) in [
        ("method=\"GET\",route=\"unmatched\",status=\"404\"", 100.0),
        ("method=\"other\",route=\"unmatched\",status=\"404\"", 50.0),
        ("method=\"other\",route=\"/dados\",status=\"405\"", 50.0),
        ("method=\"GET\",route=\"/dados/{id}\",status=\"404\"", 50.0),
    ] {
        assert_eq!(after.value(&format!("ponte_http_responses_total{{{labels}}}")), count, "{labels}");
    }
}

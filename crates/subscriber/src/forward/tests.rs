//! The forwarder against an API that keeps watermarks as the real one does, and can be late, away or picky.

use std::collections::HashMap;
use std::path::Path as File;
use std::sync::Mutex;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use dados::{Inseridos, Produtor};
use uuid::Uuid;

use dados::novo::{FIRST_SEQUENCE, PRODUCER};

use super::*;
use crate::spool::{self, Durability, Entry, Message, Writer};

#[derive(Default)]
struct Kept {
    watermark: u64,
    rows: Vec<String>,
    relato: Relato,
}

#[derive(Default)]
struct Fake {
    producers: HashMap<Uuid, Kept>,
    /// Stored as soon as the ledger was read: a POST of an earlier run that was still under way.
    late: Option<(Uuid, Vec<String>)>,
    /// So many POSTs are answered 503, and then these rows of another copy are stored under the same name.
    away: Option<(u32, Vec<String>)>,
    /// What was missing whenever a POST came.
    missing: Vec<i64>,
}

type Shared = Arc<Mutex<Fake>>;

impl Fake {
    fn store(&mut self, producer: Uuid, first: u64, rows: Vec<String>) -> Inseridos {
        let kept = self.producers.entry(producer).or_default();
        let count = rows.len() as u64;
        let duplicates = (kept.watermark + 1).saturating_sub(first).min(count);
        kept.rows.extend(rows.into_iter().skip(duplicates as usize));
        kept.watermark = kept.watermark.max(first + count - 1);
        Inseridos { inseridos: count - duplicates, duplicados: duplicates, primeiro_id: None, ultimo_id: None }
    }

    fn ledger(&self, producer: Uuid) -> Option<Produtor> {
        let kept = self.producers.get(&producer)?;
        let (stored, relato) = (kept.rows.len() as u64, &kept.relato);
        let accounted = kept.watermark.max(relato.confirmadas);
        Some(Produtor {
            produtor: producer,
            nome: None,
            recebidas: relato.recebidas.max(accounted),
            armazenadas: stored,
            quarentena: relato.quarentena,
            danificadas: relato.danificadas,
            esperando: 0,
            faltando: accounted as i64 - (stored + relato.quarentena + relato.danificadas) as i64,
            ultima_sequencia: kept.watermark,
            primeira_vez: None,
            visto_em: None,
            estado: None,
        })
    }

    fn rows(&self) -> Vec<String> {
        let mut all: Vec<_> = self.producers.values().flat_map(|kept| kept.rows.clone()).collect();
        all.sort();
        all
    }
}

fn problem(status: u16) -> Response {
    let body = format!("{{\"type\":\"about:blank\",\"title\":\"no\",\"status\":{status}}}");
    (StatusCode::from_u16(status).unwrap(), [("content-type", dados::problem::MEDIA_TYPE)], body).into_response()
}

async fn create(State(fake): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers[name].to_str().unwrap();
    let (producer, first) = (text(PRODUCER).parse().unwrap(), text(FIRST_SEQUENCE).parse().unwrap());
    let rows: Vec<_> = std::str::from_utf8(&body)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["valor"].as_str().unwrap().to_owned())
        .collect();
    let mut fake = fake.lock().unwrap();
    let missing = fake.ledger(producer).map_or(0, |ledger| ledger.faltando);
    fake.missing.push(missing);
    if let Some((left, others)) = fake.away.take() {
        if left > 1 {
            fake.away = Some((left - 1, others));
        } else {
            fake.store(producer, first, others);
        }
        return problem(503);
    }
    if rows.iter().any(|row| row == "bad") {
        return problem(422);
    }
    Json(fake.store(producer, first, rows)).into_response()
}

async fn read(State(fake): State<Shared>, Path(producer): Path<Uuid>) -> Response {
    let mut fake = fake.lock().unwrap();
    let answer = fake.ledger(producer).map_or_else(|| problem(404), |ledger| Json(ledger).into_response());
    if let Some((producer, rows)) = fake.late.take() {
        fake.store(producer, 1, rows);
    }
    answer
}

async fn report(State(fake): State<Shared>, Path(producer): Path<Uuid>, Json(relato): Json<Relato>) -> Response {
    // It is an API from before there was `estado`: those that know it are met with real brokers, in the harness.
    if relato.estado.is_some() {
        return problem(422);
    }
    let mut fake = fake.lock().unwrap();
    fake.producers.entry(producer).or_default().relato = relato;
    Json(fake.ledger(producer).unwrap()).into_response()
}

fn open(dir: &File) -> (Writer, Reader, Gauge) {
    let settings = spool::Settings { dir: dir.to_owned(), bytes_max: 1 << 20, durability: Durability::Write };
    let (writer, reader, gauge, _) = spool::open(settings).unwrap();
    (writer, reader, gauge)
}

fn append(writer: &mut Writer, texts: &[String]) {
    for text in texts {
        let message = Message {
            topic: Bytes::from_static(b"t"),
            payload: Bytes::copy_from_slice(text.as_bytes()),
            qos: 2,
            retain: false,
            dup: false,
            captured_ms: 1,
            clock: Default::default(),
        };
        writer.append([Entry::Message(&message)].into_iter()).unwrap();
    }
}

fn texts(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number:03}")).collect()
}

/// Forwards until nothing waits.
async fn drain(dir: &File, reader: Reader, gauge: Gauge, fake: &Shared) {
    let router = axum::Router::new()
        .route("/dados", post(create))
        .route("/produtores/{uuid}", get(read).put(report))
        .with_state(fake.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async { axum::serve(listener, router).await });
    let (status, quarantine) = (Status::new(gauge.clone()), Quarantine::of_spool(dir));
    let forwarder =
        Forwarder::new(reader, gauge.clone(), &Api { url, token: None, ca_file: None }, quarantine, status, "test")
            .unwrap();
    let token = CancellationToken::new();
    let mut forwarding = tokio::task::JoinSet::new();
    forwarding.spawn(forwarder.run(token.clone()));
    while gauge.usage().waiting > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    token.cancel();
    forwarding.join_next().await.unwrap().unwrap();
}

/// A first run that reached the API, then one that opens with all of `texts` waiting.
fn with_a_backlog(dir: &File, texts: &[String]) -> (Reader, Gauge) {
    let (mut writer, mut reader, gauge) = open(dir);
    reader.verified().unwrap();
    append(&mut writer, texts);
    drop((writer, reader, gauge));
    let (_, reader, gauge) = open(dir);
    (reader, gauge)
}

/// The API stores what it was handed though its client is gone, and the ledger is read past the writer's queue.
#[tokio::test]
async fn what_an_earlier_run_had_under_way_is_no_other_copys() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts("x", 10);
    let (reader, gauge) = with_a_backlog(dir.path(), &texts);
    let late = Some((gauge.usage().progress.producer, texts.clone()));
    let fake = Shared::new(Mutex::new(Fake { late, ..Fake::default() }));
    drain(dir.path(), reader, gauge, &fake).await;
    assert_eq!(fake.lock().unwrap().rows(), texts, "exactly once");
}

/// Two clones, and an API that refuses both for a while: neither has stored anything by having tried.
#[tokio::test]
async fn what_was_tried_in_vain_is_not_taken_for_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut reader, gauge) = open(dir.path());
    reader.verified().unwrap();
    let (ours, others) = (texts("ours", 10), texts("others", 10));
    append(&mut writer, &ours);
    let fake = Shared::new(Mutex::new(Fake { away: Some((2, others.clone())), ..Fake::default() }));
    drain(dir.path(), reader, gauge, &fake).await;
    assert_eq!(fake.lock().unwrap().rows(), [others, ours].concat(), "the messages of both");
}

#[tokio::test]
async fn the_sums_are_even_whenever_a_batch_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut texts = texts("x", 8);
    texts[0] = "bad".into();
    let (reader, gauge) = with_a_backlog(dir.path(), &texts);
    let fake = Shared::default();
    drain(dir.path(), reader, gauge, &fake).await;
    let fake = fake.lock().unwrap();
    assert_eq!(fake.rows(), texts[1..]);
    assert!(fake.missing.iter().all(|missing| *missing == 0), "{:?}", fake.missing);
}

//! The forwarder against an API that keeps watermarks as the real one does, and can be late, away or picky.

use std::collections::HashMap;
use std::path::Path as File;
use std::sync::Mutex;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use dados::{Dado, Inseridos, Produtor, Relato};
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
    /// Rows are not shown to this token.
    is_blind: bool,
    /// POSTs that began behind a gap without a report.
    unreported: u32,
    /// Everything is forgotten when the first POST comes.
    forgets: bool,
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
            token: None,
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
    let body =
        format!("{{\"type\":\"about:blank\",\"title\":\"no\",\"status\":{status},\"field\":\"{FIRST_SEQUENCE}\"}}");
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
    if std::mem::take(&mut fake.forgets) {
        fake.producers.clear();
    }
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
    let accounted = fake.producers.get(&producer).map_or(0, |kept| kept.watermark.max(kept.relato.confirmadas));
    if first > accounted + 1 {
        fake.unreported += 1;
        return problem(409);
    }
    if rows.iter().any(|row| row == "bad") {
        return problem(422);
    }
    Json(fake.store(producer, first, rows)).into_response()
}

/// A page has one row, whatever is asked for.
async fn rows(State(fake): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let fake = fake.lock().unwrap();
    if fake.is_blind {
        return problem(403);
    }
    assert_eq!((query["topico"].as_str(), query["limite"].as_str()), ("t", "1"));
    assert_eq!(query["desde"], "1970-01-01T00:00:00.001Z");
    let all = fake.rows();
    let at: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    let row = |valor: &String| Dado {
        id: 1,
        topico: None,
        valor: Some(valor.clone()),
        timestamp: None,
        qos: None,
        retido: None,
        dup: None,
        hora_corrigida: None,
        formato: None,
    };
    let page: Vec<Dado> = all.iter().skip(at).take(1).map(row).collect();
    let link = format!("</dados?topico=t&desde={}&limite=1&cursor={}>; rel=\"next\"", query["desde"], at + 1);
    if at + 1 < all.len() { ([("link", link)], Json(page)).into_response() } else { Json(page).into_response() }
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
        .route("/dados", post(create).get(rows))
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

/// Somebody who knows the name takes sequences of messages that wait, while the subscriber is down: with rows of their
/// own behind what an earlier run had delivered, and far ahead of it.
#[tokio::test]
async fn what_others_took_while_it_was_down_is_sent_under_a_new_name() {
    for (delivered, others, ahead) in [(0, 3, 0), (4, 3, 0), (4, 60, 0), (0, 0, 1_000_000_000), (4, 0, 1_000_000_000)] {
        let dir = tempfile::tempdir().unwrap();
        let ours = texts("x", 10);
        let (reader, gauge) = with_a_backlog(dir.path(), &ours);
        let producer = gauge.usage().progress.producer;
        let fake = Shared::default();
        {
            let mut fake = fake.lock().unwrap();
            fake.store(producer, 1, ours[..delivered].to_vec());
            fake.store(producer, delivered as u64 + 1, texts("others", others));
            let kept = fake.producers.get_mut(&producer).unwrap();
            kept.watermark = kept.watermark.max(ahead);
        }
        drain(dir.path(), reader, gauge, &fake).await;
        let expected = [texts("others", others), ours].concat();
        assert_eq!(fake.lock().unwrap().rows(), expected, "{delivered} delivered, {others} others, {ahead} ahead");
    }
}

/// A token that may only write: then ours alone can have sent under our name, and nothing is repeated.
#[tokio::test]
async fn without_the_right_to_read_a_repetition_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts("x", 10);
    let (reader, gauge) = with_a_backlog(dir.path(), &texts);
    let fake = Shared::new(Mutex::new(Fake { is_blind: true, ..Fake::default() }));
    fake.lock().unwrap().store(gauge.usage().progress.producer, 1, texts.clone());
    drain(dir.path(), reader, gauge, &fake).await;
    assert_eq!(fake.lock().unwrap().rows(), texts);
}

#[tokio::test]
async fn a_gap_of_damaged_messages_is_reported_before_the_next_batch() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts("x", 9);
    let (reader, gauge) = with_a_backlog(dir.path(), &texts);
    let segment = dir.path().join(format!("{:020}.seg", 1));
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(4).position(|window| window == b"x004").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let fake = Shared::default();
    drain(dir.path(), reader, gauge, &fake).await;
    let fake = fake.lock().unwrap();
    assert_eq!(fake.rows(), [&texts[..4], &texts[5..]].concat());
    assert_eq!(fake.unreported, 0, "an honest subscriber is never refused");
    assert!(fake.missing.iter().all(|missing| *missing == 0), "{:?}", fake.missing);
}

/// The API's database was put back from an older copy: the batch is behind a gap that only a report explains.
#[tokio::test]
async fn an_api_that_forgot_is_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts("x", 9);
    let (mut writer, mut reader, gauge) = open(dir.path());
    reader.verified().unwrap();
    append(&mut writer, &texts);
    let fake = Shared::new(Mutex::new(Fake { forgets: true, ..Fake::default() }));
    reader.ack_with(4, |_| {}).unwrap();
    drain(dir.path(), reader, gauge, &fake).await;
    let fake = fake.lock().unwrap();
    assert_eq!((fake.rows().as_slice(), fake.unreported), (&texts[4..], 1));
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

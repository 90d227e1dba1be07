//! A producer's batches: whatever is sent again, each row is stored once.

use dados::novo::{FIRST_SEQUENCE, PRODUCER};
use dados::{Inseridos, Relato};
use reqwest::RequestBuilder;

use crate::{App, FORM, JSON, NDJSON, problem, spawn_app};

const UUID: &str = "0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10";

/// Rows whose `valor` is their sequence.
fn batch(app: &App, first: u64, count: u64) -> RequestBuilder {
    let lines: String = (first..first + count).map(|n| format!("{{\"valor\":{n}}}\n")).collect();
    app.post(NDJSON, lines).header(PRODUCER, UUID).header(FIRST_SEQUENCE, first)
}

async fn send(request: RequestBuilder) -> (u16, Inseridos) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn answer(inseridos: u64, duplicados: u64, ids: Option<(i64, i64)>) -> Inseridos {
    Inseridos { inseridos, duplicados, primeiro_id: ids.map(|ids| ids.0), ultimo_id: ids.map(|ids| ids.1) }
}

#[tokio::test]
async fn repeated_and_overlapping_batches_store_each_row_once() {
    let app = spawn_app().await;
    assert_eq!(send(batch(&app, 1, 10)).await, (201, answer(10, 0, Some((1, 10)))));
    assert_eq!(send(batch(&app, 1, 10)).await, (200, answer(0, 10, None)));
    assert_eq!(send(batch(&app, 4, 2)).await, (200, answer(0, 2, None)));
    assert_eq!(send(batch(&app, 6, 10)).await, (201, answer(5, 5, Some((11, 15)))));
    // A gap: the producer quarantined 16 to 19.
    report(&app, 19).await;
    assert_eq!(send(batch(&app, 20, 1)).await, (201, answer(1, 0, Some((16, 16)))));
    assert_eq!(send(batch(&app, 16, 4)).await, (200, answer(0, 4, None)));
    let mut valores: Vec<u64> = app.rows().await.into_iter().map(|row| row.valor.unwrap().parse().unwrap()).collect();
    valores.reverse();
    assert_eq!(valores, (1..=15).chain([20]).collect::<Vec<_>>());
}

/// The producer reports that all up to `confirmed` is accounted for.
async fn report(app: &App, confirmed: u64) {
    let relato = Relato { recebidas: confirmed, confirmadas: confirmed, ..Relato::default() };
    let put = app.client.put(app.url(&format!("/produtores/{UUID}"))).json(&relato);
    assert_eq!(put.send().await.unwrap().status(), 200);
}

/// What a batch that begins far ahead would do: the messages before it would look like repetitions, and vanish.
#[tokio::test]
async fn a_batch_begins_no_further_than_what_was_reported() {
    let mut app = spawn_app().await;
    // A new producer begins with 1.
    for (stored, confirmed) in [(0, 0), (3, 0), (3, 2), (3, 7)] {
        if stored > 0 {
            send(batch(&app, 1, stored)).await;
            report(&app, confirmed).await;
        }
        let next = stored.max(confirmed) + 1;
        for first in [next + 1, 1_000_000_000] {
            let problem = problem(batch(&app, first, 2).send().await.unwrap()).await;
            assert_eq!((problem.status, problem.field.as_deref()), (409, Some(FIRST_SEQUENCE)), "{problem:?}");
        }
        assert_eq!(app.rows().await.len() as u64, stored);
        app = crate::spawn_with(app.stop().await, |_| {}).await;
    }
    assert_eq!(send(batch(&app, 8, 2)).await, (201, answer(2, 0, Some((4, 5)))));
    assert_eq!(send(batch(&app, 4, 6)).await, (200, answer(0, 6, None)));
}

#[tokio::test]
async fn a_refused_batch_makes_no_producer() {
    let app = spawn_app().await;
    assert_eq!(batch(&app, 2, 1).send().await.unwrap().status(), 409);
    assert_eq!(app.get("/produtores").send().await.unwrap().text().await.unwrap(), "[]");
}

#[tokio::test]
async fn the_watermark_outlives_a_restart() {
    let app = spawn_app().await;
    send(batch(&app, 1, 3)).await;
    let app = crate::spawn_with(app.stop().await, |_| {}).await;
    assert_eq!(send(batch(&app, 2, 3)).await, (201, answer(1, 2, Some((4, 4)))));
}

#[tokio::test]
async fn two_producers_do_not_meet() {
    let app = spawn_app().await;
    send(batch(&app, 1, 3)).await;
    let other = app.post(NDJSON, "{\"valor\":1}").header(PRODUCER, uuid::Uuid::new_v4().to_string());
    assert_eq!(send(other.header(FIRST_SEQUENCE, 1)).await.0, 201);
    assert_eq!(app.rows().await.len(), 4);
}

#[tokio::test]
async fn half_a_mark_is_refused() {
    let app = spawn_app().await;
    let one = || app.post(NDJSON, "{\"valor\":1}");
    for (request, field) in [
        (one().header(PRODUCER, UUID), FIRST_SEQUENCE),
        (one().header(FIRST_SEQUENCE, 1), PRODUCER),
        (one().header(PRODUCER, "me").header(FIRST_SEQUENCE, 1), PRODUCER),
        (one().header(PRODUCER, UUID).header(FIRST_SEQUENCE, 0), FIRST_SEQUENCE),
        (one().header(PRODUCER, UUID).header(FIRST_SEQUENCE, i64::MAX), FIRST_SEQUENCE),
        (one().header(PRODUCER, UUID).header(FIRST_SEQUENCE, 1).header("idempotency-key", "k"), "idempotency-key"),
        (app.post(JSON, "{\"valor\":1}").header(PRODUCER, UUID).header(FIRST_SEQUENCE, 1), PRODUCER),
        (app.post(FORM, "valor=1").header(PRODUCER, UUID).header(FIRST_SEQUENCE, 1), PRODUCER),
    ] {
        let problem = problem(request.send().await.unwrap()).await;
        assert_eq!((problem.status, problem.field.as_deref()), (400, Some(field)), "{problem:?}");
    }
    assert_eq!(app.rows().await.len(), 0);
}

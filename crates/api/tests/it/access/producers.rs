//! Whose a producer is, and whose an idempotency key: the token's that used it first, by its name.

use std::time::Duration;

use dados::novo::{FIRST_SEQUENCE, PRODUCER};
use dados::{Inseridos, Produtor, Relato};
use reqwest::Response;
use tempfile::TempDir;
use uuid::Uuid;

use crate::access::{READ, WRITE, entry};
use crate::{App, NDJSON, problem, spawn_with};

const OTHER: &str = "ponte_others";
const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

/// Two tokens that write, by these names, and one that reads.
async fn spawn(dir: TempDir, writer: &str, other: &str) -> App {
    let entries = [entry(writer, "write", WRITE), entry(other, "write", OTHER), entry("reader", "read", READ)];
    spawn_with(dir, |config| config.access.api_tokens = Some(entries.join(",").into())).await
}

async fn post(app: &App, token: &str, producer: Uuid, first: u64, count: usize) -> Response {
    let post = app.post(NDJSON, "{\"valor\":1}\n".repeat(count)).header(PRODUCER, producer.to_string());
    post.header(FIRST_SEQUENCE, first).bearer_auth(token).send().await.unwrap()
}

async fn put(app: &App, token: &str, producer: Uuid, confirmed: u64) -> Response {
    let relato = Relato { recebidas: confirmed, confirmadas: confirmed, ..Relato::default() };
    let put = app.client.put(app.url(&format!("/produtores/{producer}"))).json(&relato);
    put.bearer_auth(token).send().await.unwrap()
}

async fn ledger(app: &App, producer: Uuid) -> Produtor {
    let get = app.get(&format!("/produtores/{producer}")).bearer_auth(READ);
    get.send().await.unwrap().json().await.unwrap()
}

async fn is_refused(response: Response) {
    let problem = problem(response).await;
    assert_eq!((problem.status, problem.field.as_deref()), (403, Some(PRODUCER)), "{problem:?}");
}

/// The attack: another token with `write` makes a producer's messages look like repetitions.
#[tokio::test]
async fn another_token_can_neither_send_nor_report_as_a_producer() {
    let mut app = spawn(tempfile::tempdir().unwrap(), "writer", "other").await;
    assert_eq!(post(&app, WRITE, A, 1, 10).await.status(), 201);
    assert_eq!(put(&app, WRITE, B, 3).await.status(), 200);
    for _ in 0..2 {
        let before = [ledger(&app, A).await, ledger(&app, B).await];
        for producer in [A, B] {
            for first in [1, 4, 11, 1_000_000_000] {
                is_refused(post(&app, OTHER, producer, first, 1).await).await;
            }
            is_refused(put(&app, OTHER, producer, 1_000_000_000).await).await;
        }
        assert_eq!([ledger(&app, A).await, ledger(&app, B).await], before);
        assert_eq!(before.map(|ledger| ledger.token), [Some("writer".to_owned()), Some("writer".to_owned())]);
        // With a restart, and without what the writer had in memory.
        app = spawn(app.stop().await, "writer", "other").await;
    }
    let answer: Inseridos = post(&app, WRITE, A, 11, 200).await.json().await.unwrap();
    assert_eq!((answer.inseridos, answer.duplicados), (200, 0));
}

#[tokio::test]
async fn a_producer_goes_to_the_next_token_once_its_own_is_gone() {
    // Without tokens it is nobody's.
    let app = spawn_with(tempfile::tempdir().unwrap(), |_| {}).await;
    let lines = app.post(NDJSON, "{\"valor\":1}").header(PRODUCER, A.to_string()).header(FIRST_SEQUENCE, 1);
    assert_eq!(lines.send().await.unwrap().status(), 201);
    let anonymous: Produtor = app.get(&format!("/produtores/{A}")).send().await.unwrap().json().await.unwrap();
    assert_eq!(anonymous.token, None);
    // The first token that uses it gets it.
    let app = spawn(app.stop().await, "writer", "other").await;
    assert_eq!(put(&app, WRITE, A, 1).await.status(), 200);
    is_refused(post(&app, OTHER, A, 2, 1).await).await;
    assert_eq!(post(&app, WRITE, A, 2, 1).await.status(), 201);
    // The token is renamed: its old name is in force no more.
    let app = spawn(app.stop().await, "renamed", "other").await;
    assert_eq!(post(&app, WRITE, A, 3, 1).await.status(), 201);
    is_refused(post(&app, OTHER, A, 4, 1).await).await;
    assert_eq!(ledger(&app, A).await.token.as_deref(), Some("renamed"));
    // A token with another secret under the same name has its producers.
    let app = spawn(app.stop().await, "other", "renamed").await;
    assert_eq!(post(&app, OTHER, A, 4, 1).await.status(), 201);
    is_refused(post(&app, WRITE, A, 5, 1).await).await;
    assert_eq!(ledger(&app, A).await.armazenadas, 4);
}

#[tokio::test]
async fn a_token_that_is_taken_out_of_the_file_frees_its_producers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    let (writer, other) = (entry("writer", "write", WRITE), entry("other", "write", OTHER));
    std::fs::write(&path, format!("{writer}\n{other}\n")).unwrap();
    let app = spawn_with(dir, |config| config.access.api_tokens_file = Some(path.clone())).await;
    assert_eq!(post(&app, WRITE, A, 1, 1).await.status(), 201);
    is_refused(post(&app, OTHER, A, 2, 1).await).await;
    std::fs::write(&path, format!("{other}\n")).unwrap();
    while post(&app, OTHER, A, 2, 1).await.status() == 403 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(post(&app, OTHER, A, 3, 1).await.status(), 201);
}

#[tokio::test]
async fn a_key_is_its_tokens_own() {
    let app = spawn(tempfile::tempdir().unwrap(), "writer", "other").await;
    let post = async |token: &str| {
        let post = app.post(NDJSON, "{\"valor\":1}").header("idempotency-key", "1").bearer_auth(token);
        let response = post.send().await.unwrap();
        (response.headers().contains_key("idempotency-replayed"), response.json::<Inseridos>().await.unwrap())
    };
    let (first, second) = (post(WRITE).await, post(OTHER).await);
    assert_eq!((first.0, first.1.primeiro_id, second.0, second.1.primeiro_id), (false, Some(1), false, Some(2)));
    let (first, second) = (post(WRITE).await, post(OTHER).await);
    assert_eq!((first.0, first.1.primeiro_id, second.0, second.1.primeiro_id), (true, Some(1), true, Some(2)));
}

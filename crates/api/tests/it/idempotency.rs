//! `Idempotency-Key`: a request that is sent again is stored once and answered alike.

use dados::{Dado, Inseridos};

use crate::{FORM, JSON, problem, spawn_app};

#[tokio::test]
async fn a_repeated_request_is_answered_as_the_first() {
    let app = spawn_app().await;
    let post = || app.post(JSON, r#"{"valor":1,"topico":"a"}"#).header("idempotency-key", "k1").send();
    let first = post().await.unwrap();
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let first: Dado = first.json().await.unwrap();
    let again = post().await.unwrap();
    assert_eq!(again.status(), 201);
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.headers()["location"], "/dados/1");
    assert_eq!(again.json::<Dado>().await.unwrap(), first);

    let many = || app.post(JSON, r#"[{"valor":1},{"valor":2}]"#).header("idempotency-key", "k2").send();
    let first: Inseridos = many().await.unwrap().json().await.unwrap();
    let again = many().await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.json::<Inseridos>().await.unwrap(), first);
    assert_eq!(app.rows().await.len(), 3);
}

#[tokio::test]
async fn a_key_is_good_for_one_request() {
    let app = spawn_app().await;
    app.post(FORM, "valor=1").header("idempotency-key", "k").send().await.unwrap();
    let other = problem(app.post(FORM, "valor=2").header("idempotency-key", "k").send().await.unwrap()).await;
    assert_eq!((other.status, other.field.as_deref()), (409, Some("idempotency-key")));
    for key in ["", " ", "a b", &"k".repeat(256)] {
        let bad = problem(app.post(FORM, "valor=1").header("idempotency-key", key).send().await.unwrap()).await;
        assert_eq!(bad.status, 400, "{key:?} was taken");
    }
    assert_eq!(app.rows().await.len(), 1);
}

#[tokio::test]
async fn of_many_at_once_one_inserts() {
    let app = spawn_app().await;
    let posts = (0..20).map(|_| app.post(FORM, "valor=1").header("idempotency-key", "k").send());
    let responses = futures_util::future::join_all(posts).await;
    let replayed =
        responses.iter().flatten().filter(|response| response.headers().contains_key("idempotency-replayed"));
    assert_eq!(replayed.count(), 19);
    for response in responses {
        assert_eq!(response.unwrap().json::<Dado>().await.unwrap().id, 1);
    }
    assert_eq!(app.rows().await.len(), 1);
}

//! Tokens: who has none, a wrong one, or one for something else, is told so and nothing more.

use std::time::Duration;

use crate::access::{READ, WRITE, entry, spawn_guarded};
use crate::{FORM, NDJSON, problem, spawn_with};

#[tokio::test]
async fn every_route_wants_its_scope_and_none_tells_what_exists() {
    let app = spawn_guarded(|_| {}).await;
    for path in ["/dados", "/dados/1", "/topicos", "/produtores", "/metrics", "/no/such/path", "/dados/../metrics"] {
        let refused = app.get(path).send().await.unwrap();
        assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"ponte\"", "{path}");
        assert_eq!(problem(refused).await.status, 401, "{path}");
        let refused = app.get(path).bearer_auth(WRITE).send().await.unwrap();
        let challenge = "Bearer realm=\"ponte\", error=\"insufficient_scope\", scope=\"read\"";
        assert_eq!(refused.headers()["www-authenticate"], challenge, "{path}");
        assert_eq!(problem(refused).await.status, 403, "{path}");
    }
    assert_eq!(app.get("/dados").bearer_auth(READ).send().await.unwrap().status(), 200);
    assert_eq!(app.get("/metrics").bearer_auth(READ).send().await.unwrap().status(), 200);
    assert_eq!(app.get("/no/such/path").bearer_auth(READ).send().await.unwrap().status(), 404);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(app.get(path).send().await.unwrap().status(), 200, "{path}");
    }
    let refused = app.post(FORM, "valor=1").bearer_auth(READ).send().await.unwrap();
    let challenge = "Bearer realm=\"ponte\", error=\"insufficient_scope\", scope=\"write\"";
    assert_eq!(refused.headers()["www-authenticate"], challenge);
    assert_eq!(problem(refused).await.status, 403);
    assert_eq!(app.post(FORM, "valor=1").bearer_auth(WRITE).send().await.unwrap().status(), 201);
    let id = "0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10";
    let ledger = app.get(&format!("/produtores/{id}")).bearer_auth(WRITE);
    assert_eq!(ledger.send().await.unwrap().status(), 404, "a producer may ask for its own ledger");
    let stored = app.get("/dados").bearer_auth(READ).send().await.unwrap().text().await.unwrap();
    assert_eq!(stored.matches("\"id\"").count(), 1);
}

#[tokio::test]
async fn unknown_and_expired_are_one_answer() {
    let app = spawn_guarded(|config| {
        config.access.api_tokens = Some(format!("{}:2020-01-31", entry("old", "read", "ponte_old")).into());
    })
    .await;
    let mut answers = Vec::new();
    for token in ["ponte_old", "ponte_none", &"x".repeat(4096)] {
        let refused = app.get("/dados").bearer_auth(token).send().await.unwrap();
        assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"ponte\", error=\"invalid_token\"");
        let problem = problem(refused).await;
        answers.push((problem.status, problem.detail, problem.field));
    }
    assert_eq!(answers[0].0, 401);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    for headers in [&["Basic eDp5"][..], &["Bearer "]] {
        let get = headers.iter().fold(app.get("/dados"), |get, value| get.header("authorization", *value));
        assert_eq!(problem(get.send().await.unwrap()).await.status, 401, "{headers:?}");
    }
    // A token in the URL is none.
    assert_eq!(app.get("/dados?access_token=ponte_old").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_file_of_tokens_is_read_again_and_never_fails_open() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    std::fs::write(&file, format!("# devices\n{}\n", entry("esp32", "write", "ponte_esp32"))).unwrap();
    let app = spawn_with(dir, |config| config.access.api_tokens_file = Some(file.clone())).await;
    let post = async |token: &str| app.post(FORM, "valor=1").bearer_auth(token).send().await.unwrap().status().as_u16();
    let becomes = async |token: &str, status: u16| {
        while post(token).await != status {
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
    };
    assert_eq!(post("ponte_esp32").await, 201);
    // Malformed: the last good ones stay.
    std::fs::write(&file, "esp32:write:half").unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(post("ponte_esp32").await, 201);
    std::fs::write(&file, entry("other", "write", "ponte_other")).unwrap();
    becomes("ponte_other", 201).await;
    assert_eq!(post("ponte_esp32").await, 401, "revoked");
    // Gone: the same.
    std::fs::remove_file(&file).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(post("ponte_other").await, 201);
    assert_eq!(post("ponte_esp32").await, 401);
    std::fs::write(&file, "").unwrap();
    becomes("ponte_other", 401).await;
    assert_eq!(app.get("/dados").send().await.unwrap().status(), 401, "no tokens let nobody in");
}

#[tokio::test]
async fn a_form_of_another_site_has_no_token() {
    let app = spawn_guarded(|_| {}).await;
    for body in [("text/plain", "valor=1"), (FORM, "valor=1"), (NDJSON, "{\"valor\":1}")] {
        let post = app.post(body.0, body.1).header("origin", "http://evil.example");
        assert_eq!(problem(post.header("sec-fetch-site", "cross-site").send().await.unwrap()).await.status, 401);
    }
    // What another name asks for is refused for want of a token, not for its name: a proxy may use any.
    let get = app.get("/dados").header("host", "ponte.example").bearer_auth(READ);
    assert_eq!(get.send().await.unwrap().status(), 200);
}

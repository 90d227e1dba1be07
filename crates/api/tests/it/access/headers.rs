//! What every answer says to a browser, and the request's id.

use crate::access::{READ, spawn_guarded};
use crate::{JSON, problem, spawn_app};

#[tokio::test]
async fn every_answer_is_nothing_to_run_frame_or_share() {
    let app = spawn_app().await;
    let answers = [
        app.get("/dados").send().await.unwrap(),
        app.get("/healthz").send().await.unwrap(),
        app.get("/metrics").send().await.unwrap(),
        app.get("/no/such/path").send().await.unwrap(),
        app.post(JSON, "{").send().await.unwrap(),
        app.get("/dados").header("host", "evil.example").send().await.unwrap(),
    ];
    for answer in answers {
        let headers = answer.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{answer:?}");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
        assert_eq!(headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
        assert!(!headers.contains_key("strict-transport-security"), "no TLS here");
        assert!(!headers.contains_key("cache-control"), "{answer:?}");
    }
}

#[tokio::test]
async fn what_a_token_opens_is_stored_nowhere() {
    let app = spawn_guarded(|_| {}).await;
    let answer = app.get("/dados").bearer_auth(READ).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let refused = app.get("/dados").send().await.unwrap();
    assert_eq!(refused.headers()["cache-control"], "no-store");
    assert!(!app.get("/healthz").send().await.unwrap().headers().contains_key("cache-control"));
}

#[tokio::test]
async fn a_problem_has_the_id_of_its_request() {
    let app = spawn_app().await;
    for request in [app.get("/no/such/path"), app.get("/dados?limite=x"), app.post("image/png", "x")] {
        let response = request.send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(problem(response).await.request_id, Some(id));
    }
    let response = app.get("/no/such/path").header("x-request-id", "mine-\"7\"").send().await.unwrap();
    assert_eq!(problem(response).await.request_id.as_deref(), Some("mine-\"7\""));
}

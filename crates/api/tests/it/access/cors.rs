//! Other sites' pages: closed by default, and open to those that are named.

use reqwest::Method;

use crate::access::{READ, WRITE, spawn_guarded};
use crate::{FORM, JSON, spawn_app, spawn_with};

const ORIGIN: &str = "https://painel.example";

#[tokio::test]
async fn nobody_is_let_in_unless_named() {
    let app = spawn_app().await;
    let answer = app.get("/dados").header("origin", ORIGIN).send().await.unwrap();
    assert!(!answer.headers().keys().any(|name| name.as_str().starts_with("access-control")));
    let ask = app.client.request(Method::OPTIONS, app.url("/dados")).header("origin", ORIGIN);
    let answer = ask.header("access-control-request-method", "POST").send().await.unwrap();
    assert_eq!(answer.status(), 204, "{answer:?}");
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_named_site_asks_with_a_token_and_reads_the_answer() {
    for (setting, allowed) in [(ORIGIN, ORIGIN), ("*", "*")] {
        let app = spawn_guarded(|config| config.access.api_cors_origins = setting.parse().unwrap()).await;
        let ask = app.client.request(Method::OPTIONS, app.url("/dados")).header("origin", ORIGIN);
        let ask = ask.header("access-control-request-headers", "authorization,content-type");
        let answer = ask.header("access-control-request-method", "POST").send().await.unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()["access-control-allow-origin"], allowed);
        for (name, values) in [
            ("access-control-allow-methods", &["GET", "POST", "PUT"][..]),
            ("access-control-allow-headers", &["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"]),
            ("vary", &["Origin"]),
        ] {
            let header = answer.headers()[name].to_str().unwrap();
            assert!(values.iter().all(|value| header.contains(value)), "{name}: {header}");
        }
        assert!(answer.headers().contains_key("access-control-max-age"));

        let answer = app.post(JSON, "{\"valor\":1}").bearer_auth(WRITE).header("origin", ORIGIN);
        let answer = answer.header("sec-fetch-site", "cross-site").send().await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers()["access-control-allow-origin"], allowed);
        let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap();
        for name in ["Link", "Location", "Retry-After", "X-Request-Id", "ETag"] {
            assert!(exposed.contains(name), "{exposed}");
        }
        // A page may read why it was refused.
        let refused = app.get("/dados").header("origin", ORIGIN).send().await.unwrap();
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["access-control-allow-origin"]),
            (401, &allowed.parse().unwrap())
        );
        if setting != "*" {
            let other = app.get("/dados").bearer_auth(READ).header("origin", "https://evil.example");
            let other = other.send().await.unwrap();
            assert!(!other.headers().contains_key("access-control-allow-origin"));
            assert!(other.headers().get_all("vary").iter().any(|vary| vary == "Origin"), "{other:?}");
        }
    }
}

#[tokio::test]
async fn without_tokens_a_named_site_writes_and_others_do_not() {
    let change = |config: &mut ponte_api::config::Config| config.access.api_cors_origins = ORIGIN.parse().unwrap();
    let app = spawn_with(tempfile::tempdir().unwrap(), change).await;
    let post =
        |origin: &str| app.post(FORM, "valor=1").header("origin", origin).header("sec-fetch-site", "cross-site").send();
    assert_eq!(post(ORIGIN).await.unwrap().status(), 201);
    assert_eq!(post("https://evil.example").await.unwrap().status(), 403);
    assert_eq!(post("null").await.unwrap().status(), 403);
    assert_eq!(app.rows().await.len(), 1);
}

//! How often: 429 with `Retry-After`, by token, by address, and for who tries tokens.

use reqwest::Response;

use crate::access::{READ, spawn_guarded};
use crate::{FORM, problem, spawn_with};

async fn too_often(response: Response) {
    let after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(after > 0);
    assert_eq!(problem(response).await.status, 429);
}

#[tokio::test]
async fn a_token_and_an_address_have_their_rates() {
    let app = spawn_guarded(|config| config.access.api_rate_per_token = Some("1/h:2".parse().unwrap())).await;
    for _ in 0..2 {
        assert_eq!(app.get("/dados").bearer_auth(READ).send().await.unwrap().status(), 200);
    }
    too_often(app.get("/dados").bearer_auth(READ).send().await.unwrap()).await;

    let app = spawn_with(tempfile::tempdir().unwrap(), |config| {
        config.access.api_rate_per_address = Some("1/h:2".parse().unwrap());
        config.access.api_trusted_proxies = "127.0.0.0/8".parse().unwrap();
    })
    .await;
    let post = |client: &str| app.post(FORM, "valor=1").header("x-forwarded-for", client).send();
    for client in ["1.2.3.4", "6.6.6.6, 1.2.3.4"] {
        assert_eq!(post(client).await.unwrap().status(), 201);
    }
    too_often(post("7.7.7.7, 1.2.3.4").await.unwrap()).await;
    assert_eq!(post("1.2.3.5").await.unwrap().status(), 201);
    for _ in 0..5 {
        assert_eq!(app.get("/healthz").header("x-forwarded-for", "1.2.3.4").send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_address_that_nobody_vouches_for_cannot_be_made_up() {
    let app = spawn_with(tempfile::tempdir().unwrap(), |config| {
        config.access.api_rate_per_address = Some("1/h:1".parse().unwrap());
    })
    .await;
    let get = |client: &str| app.get("/dados").header("x-forwarded-for", client).send();
    assert_eq!(get("1.2.3.4").await.unwrap().status(), 200);
    too_often(get("1.2.3.5").await.unwrap()).await;
}

#[tokio::test]
async fn who_tries_tokens_is_stopped() {
    let app = spawn_guarded(|_| {}).await;
    let mut refused = 0;
    loop {
        let response = app.get("/dados").bearer_auth("guess").send().await.unwrap();
        if response.status() == 429 {
            too_often(response).await;
            break;
        }
        assert_eq!(response.status(), 401);
        refused += 1;
        assert!(refused < 100, "nobody stops it");
    }
    assert!(refused >= 20, "{refused}");
    // One device with a wrong token must not hold up those beside it.
    assert_eq!(app.get("/dados").bearer_auth(READ).send().await.unwrap().status(), 200);
    assert_eq!(app.get("/readyz").send().await.unwrap().status(), 200);
}

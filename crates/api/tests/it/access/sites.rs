//! Other sites' pages: they write nothing and cannot borrow a name.

use crate::{FORM, JSON, problem, spawn_app, spawn_with};

#[tokio::test]
async fn a_page_of_another_site_is_refused() {
    let app = spawn_app().await;
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("host", "evil.example"),
        ("host", "api:8080"),
    ] {
        let problem = problem(app.post(FORM, "valor=1").header(name, value).send().await.unwrap()).await;
        assert_eq!((problem.status, problem.field.as_deref()), (403, Some(name)), "{value}");
    }
    for (name, value) in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site"), ("host", "evil.example")]
    {
        let put = app.client.put(app.url("/produtores/0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10")).header(name, value);
        let sound = r#"{"recebidas":1,"confirmadas":1,"quarentena":0,"danificadas":0}"#;
        let problem = problem(put.header("content-type", JSON).body(sound).send().await.unwrap()).await;
        assert_eq!((problem.status, problem.field.as_deref()), (403, Some(name)), "{value}");
    }
    assert_eq!(app.get("/produtores").send().await.unwrap().text().await.unwrap(), "[]");
    assert_eq!(problem(app.get("/dados").header("host", "evil.example").send().await.unwrap()).await.status, 403);
    assert_eq!(app.rows().await.len(), 0);
    let own = format!("http://{}", app.addr);
    let response = app.post(FORM, "valor=1").header("origin", own).header("sec-fetch-site", "same-origin");
    assert_eq!(response.send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_private_network_has_names_without_dots() {
    let app = spawn_with(tempfile::tempdir().unwrap(), |config| config.api_allow_anonymous = true).await;
    assert_eq!(app.get("/dados").header("host", "api:8080").send().await.unwrap().status(), 200);
    assert_eq!(app.get("/dados").header("host", "evil.example").send().await.unwrap().status(), 403);
}

//! `GET /` and its files: what they are sent with.

use reqwest::{Method, StatusCode};

use crate::spawn_app;

#[tokio::test]
async fn the_page_and_its_files_are_served_and_asked_about() {
    let app = spawn_app().await;
    let page = app.get("/").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let html = page.text().await.unwrap();
    let paths = html.split('"').filter(|text| text.starts_with("/assets/"));
    for path in paths.chain(["/assets/config.json"]) {
        let got = app.get(path).send().await.unwrap();
        assert_eq!((got.status(), &got.headers()["cache-control"]), (StatusCode::OK, &"no-cache".parse().unwrap()));
        let etag = got.headers()["etag"].clone();
        let length = got.bytes().await.unwrap().len();
        let again = app.get(path).header("if-none-match", &etag).send().await.unwrap();
        assert_eq!((again.status(), &again.headers()["etag"]), (StatusCode::NOT_MODIFIED, &etag), "{path}");
        assert_eq!(again.bytes().await.unwrap().len(), 0);
        let head = app.client.request(Method::HEAD, app.url(path)).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], length.to_string(), "{path}");
        assert_eq!(head.bytes().await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn nothing_else_is_there() {
    let app = spawn_app().await;
    for path in [
        "/assets/",
        "/assets/nothing.js",
        "/assets/vendor",
        "/assets/%2e%2e/page.rs",
        "/assets/main.js/",
        "/index.html",
    ] {
        assert_eq!(app.get(path).send().await.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
    }
    let post = app.client.post(app.url("/")).send().await.unwrap();
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
}

//! The API describes itself, shows it on a page that needs nobody else, and is as it says: schemathesis tries.

use std::path::Path;
use std::process::Stdio;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use serde_json::Value;
use tokio::process::Command;

use crate::program::skipped;
use crate::{App, FORM, JSON, NDJSON, problem, spawn_app};

/// Where schemathesis is, if not on the PATH.
const SCHEMATHESIS: &str = "PONTE_SCHEMATHESIS";
/// Requests that it makes up for each operation and phase.
const EXAMPLES: &str = "30";
/// The same requests every time.
const SEED: &str = "20261123";

async fn document(app: &App) -> Value {
    app.get("/openapi.json").send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn the_description_is_kept_until_it_changes() {
    let app = spawn_app().await;
    let response = app.get("/openapi.json").send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()[CONTENT_TYPE]), (200, &JSON.parse().unwrap()));
    let etag = response.headers()[ETAG].clone();
    let text = response.text().await.unwrap();
    assert_eq!(text, include_str!("../../openapi.json"));
    let again = app.get("/openapi.json").header(IF_NONE_MATCH, &etag).send().await.unwrap();
    assert_eq!((again.status().as_u16(), &again.headers()[ETAG]), (304, &etag));
    assert_eq!(app.get("/openapi.json").header(IF_NONE_MATCH, "\"x\"").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_methods_of_each_path_are_those_described() {
    let app = spawn_app().await;
    for (path, item) in document(&app).await["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "1").replace("{uuid}", "0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10");
        let mut described: Vec<_> = item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        if described.iter().any(|method| method == "GET") {
            described.push("HEAD".into());
            let (get, head) = (app.get(&path), app.client.head(app.url(&path)));
            assert_eq!(get.send().await.unwrap().status(), head.send().await.unwrap().status(), "{path}");
        }
        described.sort();
        let options = app.client.request(reqwest::Method::OPTIONS, app.url(&path)).send().await.unwrap();
        assert_eq!(options.status(), 204, "{path}");
        let refused = app.client.request(reqwest::Method::TRACE, app.url(&path)).send().await.unwrap();
        for answer in [&options, &refused] {
            let mut allowed: Vec<_> = answer.headers()["allow"].to_str().unwrap().split(',').collect();
            allowed.sort_unstable();
            assert_eq!(allowed, described, "{path}");
        }
        assert_eq!(problem(refused).await.status, 405);
    }
}

#[tokio::test]
async fn a_parameter_that_no_route_has_is_named() {
    let app = spawn_app().await;
    app.post(FORM, "valor=1").send().await.unwrap();
    for path in ["/dados/1", "/produtores/0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10", "/openapi.json", "/docs"] {
        let problem = problem(app.get(&format!("{path}?p%C3%A1gina=1")).send().await.unwrap()).await;
        assert_eq!((problem.status, problem.field.as_deref()), (400, Some("página")), "{path}");
    }
    let post = app.client.post(app.url("/dados?valor=2")).header(CONTENT_TYPE, FORM).body("valor=2");
    assert_eq!(problem(post.send().await.unwrap()).await.field.as_deref(), Some("valor"));
    assert_eq!(app.rows().await.len(), 1);
}

#[tokio::test]
async fn the_page_has_all_that_it_needs_and_nothing_inline() {
    let app = spawn_app().await;
    let response = app.get("/docs").send().await.unwrap();
    let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = response.text().await.unwrap();
    assert!(!page.contains("://") && !page.contains("<style") && !page.contains(" style="), "{page}");
    let parts: Vec<_> = page.split('"').filter(|part| part.starts_with("/docs/")).collect();
    assert_eq!(parts, ["/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/docs.js"]);
    for part in parts {
        let packed = app.get(part).header(ACCEPT_ENCODING, "br, gzip").send().await.unwrap();
        let plain = app.get(part).send().await.unwrap();
        assert_eq!((packed.status().as_u16(), plain.status().as_u16()), (200, 200), "{part}");
        assert!(!plain.headers().contains_key(CONTENT_ENCODING), "{part}");
        assert_eq!(packed.headers()[CONTENT_TYPE], plain.headers()[CONTENT_TYPE], "{part}");
        let etag = plain.headers()[ETAG].clone();
        let same = app.get(part).header(IF_NONE_MATCH, etag).send().await.unwrap();
        assert_eq!(same.status(), 304, "{part}");
        let is_packed = packed.headers().contains_key(CONTENT_ENCODING);
        let (packed, plain) = (packed.bytes().await.unwrap(), plain.bytes().await.unwrap());
        if is_packed {
            let mut unpacked = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
            assert!(unpacked == plain, "{part}");
        } else {
            assert_eq!(packed, plain, "{part}");
        }
    }
    assert_eq!(problem(app.get("/docs/docs.html").send().await.unwrap()).await.status, 404);
}

/// All checks in all phases, with requests that the document allows and with such as it does not.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    let program = std::env::var(SCHEMATHESIS).unwrap_or_else(|_| "schemathesis".to_owned());
    let mut version = Command::new(&program);
    let found = version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if !found.is_ok_and(|status| status.success()) {
        return skipped("schemathesis is not installed: see .ci/run, or name it in PONTE_SCHEMATHESIS");
    }
    let app = spawn_app().await;
    app.post(FORM, "valor=23.5&topico=casa/sala").send().await.unwrap();
    app.post(NDJSON, "{\"valor\": {\"temperatura\": 21.5}, \"topico\": \"casa/sala\"}\n").send().await.unwrap();

    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/schemathesis");
    let dir = tempfile::tempdir().unwrap();
    let mut run = Command::new(&program);
    // What it keeps between runs would make them differ.
    run.current_dir(dir.path()).env("PYTHONPATH", &ours).env("SCHEMATHESIS_HOOKS", "hooks").kill_on_drop(true);
    run.env("PYTHONDONTWRITEBYTECODE", "1").arg("--config-file").arg(ours.join("schemathesis.toml"));
    run.args(["run", "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure"]);
    run.args(["--max-examples", EXAMPLES, "--seed", SEED, "--no-shrink"]).arg(app.url("/openapi.json"));
    let output = run.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let summary = text.split_once("Test cases:").map_or("", |(_, rest)| rest.lines().nth(1).unwrap_or_default()).trim();
    println!("schemathesis: {summary}");
    // The server is sound after it.
    assert_eq!(app.get("/readyz").send().await.unwrap().status(), 200);
}

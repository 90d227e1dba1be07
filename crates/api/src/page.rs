//! `GET /`: the live page. Its files are in this program, and it asks no other host for anything.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::router::App;

/// Nothing but our own files and our own API; no script or style in the page's text, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What every file is sent with. A copy may be kept and is asked about each time: an update of the program must not meet
/// files of the one before.
const HEADERS: [(HeaderName, &str); 4] = [
    (CACHE_CONTROL, "no-cache"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CONTENT_SECURITY_POLICY, POLICY),
];

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const JSON: &str = "application/json";

const INDEX: &str = "index.html";
/// The one file that depends on the settings.
const CONFIG: &str = "config.json";

/// Name, type and content.
const FILES: [(&str, &str, &[u8]); 25] = [
    (INDEX, HTML, include_bytes!("page/index.html")),
    ("style.css", STYLE, include_bytes!("page/style.css")),
    ("icon.svg", IMAGE, include_bytes!("page/icon.svg")),
    ("main.js", SCRIPT, include_bytes!("page/main.js")),
    ("api.js", SCRIPT, include_bytes!("page/api.js")),
    ("chart.js", SCRIPT, include_bytes!("page/chart.js")),
    ("en.js", SCRIPT, include_bytes!("page/en.js")),
    ("export.js", SCRIPT, include_bytes!("page/export.js")),
    ("feed.js", SCRIPT, include_bytes!("page/feed.js")),
    ("fields.js", SCRIPT, include_bytes!("page/fields.js")),
    ("flow.js", SCRIPT, include_bytes!("page/flow.js")),
    ("form.js", SCRIPT, include_bytes!("page/form.js")),
    ("health.js", SCRIPT, include_bytes!("page/health.js")),
    ("i18n.js", SCRIPT, include_bytes!("page/i18n.js")),
    ("list.js", SCRIPT, include_bytes!("page/list.js")),
    ("past.js", SCRIPT, include_bytes!("page/past.js")),
    ("points.js", SCRIPT, include_bytes!("page/points.js")),
    ("pt.js", SCRIPT, include_bytes!("page/pt.js")),
    ("rhythm.js", SCRIPT, include_bytes!("page/rhythm.js")),
    ("sse.js", SCRIPT, include_bytes!("page/sse.js")),
    ("token.js", SCRIPT, include_bytes!("page/token.js")),
    ("topics.js", SCRIPT, include_bytes!("page/topics.js")),
    ("way.js", SCRIPT, include_bytes!("page/way.js")),
    ("vendor/uPlot.js", SCRIPT, include_bytes!("page/vendor/uPlot.js")),
    ("vendor/uPlot.css", STYLE, include_bytes!("page/vendor/uPlot.css")),
];

/// The files, each with the mark that tells its version.
#[derive(Debug)]
pub(crate) struct Page {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    name: &'static str,
    media_type: &'static str,
    etag: String,
    body: Vec<u8>,
}

/// What the page is told of the settings.
#[derive(Serialize)]
struct Facts<'a> {
    versao: &'static str,
    metabase: Option<&'a str>,
}

impl Page {
    pub(crate) fn new(metabase_link: Option<&str>) -> Self {
        let facts = Facts { versao: env!("CARGO_PKG_VERSION"), metabase: metabase_link };
        let facts = serde_json::to_vec(&facts).unwrap_or_default();
        let mut files: Vec<_> =
            FILES.iter().map(|&(name, media_type, body)| File::new(name, media_type, body.to_vec())).collect();
        files.push(File::new(CONFIG, JSON, facts));
        Self { files }
    }

    fn answer(&self, name: &str, headers: &HeaderMap) -> Response {
        let Some(file) = self.files.iter().find(|file| file.name == name) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let etag = [(ETAG, file.etag.as_str())];
        let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        if known.into_iter().any(|tags| is_among(tags, &file.etag)) {
            return (StatusCode::NOT_MODIFIED, HEADERS, etag).into_response();
        }
        (HEADERS, etag, [(CONTENT_TYPE, file.media_type)], file.body.clone()).into_response()
    }
}

impl File {
    fn new(name: &'static str, media_type: &'static str, body: Vec<u8>) -> Self {
        let digest = Sha256::digest(&body);
        let etag = digest.iter().take(12).fold("\"".to_owned(), |tag, byte| format!("{tag}{byte:02x}")) + "\"";
        Self { name, media_type, etag, body }
    }
}

/// Whether one of the tags of `If-None-Match` is this one, compared weakly as RFC 9110 §13.1.2 has it.
fn is_among(tags: &str, etag: &str) -> bool {
    tags.split(',').map(|tag| tag.trim()).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

pub(crate) async fn index(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    app.page.answer(INDEX, &headers)
}

pub(crate) async fn file(State(app): State<Arc<App>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    app.page.answer(&name, &headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &str, known: Option<&str>) -> StatusCode {
        let mut headers = HeaderMap::new();
        if let Some(known) = known {
            headers.insert(IF_NONE_MATCH, known.parse().unwrap());
        }
        Page::new(None).answer(name, &headers).status()
    }

    #[test]
    fn a_file_is_sent_once_until_it_changes() {
        let page = Page::new(None);
        let etag = page.answer("main.js", &HeaderMap::new()).headers()[ETAG].to_str().unwrap().to_owned();
        for (known, expected) in [
            (None, StatusCode::OK),
            (Some("\"other\""), StatusCode::OK),
            (Some(etag.as_str()), StatusCode::NOT_MODIFIED),
            (Some(&*format!("\"other\", W/{etag}")), StatusCode::NOT_MODIFIED),
            (Some("*"), StatusCode::NOT_MODIFIED),
        ] {
            assert_eq!(status("main.js", known), expected, "{known:?}");
        }
        for name in ["", "nothing.js", "../page.rs", "vendor", "vendor/", "Main.js"] {
            assert_eq!(status(name, Some("*")), StatusCode::NOT_FOUND, "{name}");
        }
    }

    #[test]
    fn every_file_of_the_page_is_in_the_program() {
        let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page");
        let names = |folder: &str| {
            let entries = std::fs::read_dir(sources.join(folder)).unwrap();
            entries
                .map(|entry| entry.unwrap())
                .filter(|entry| entry.file_type().unwrap().is_file())
                .map(move |entry| format!("{folder}{}", entry.file_name().into_string().unwrap()))
                .collect::<Vec<_>>()
        };
        // What a licence asks for goes with the sources, not to each reader.
        let mut there = [names(""), names("vendor/")].concat();
        there.retain(|name| !name.ends_with(".md") && !name.ends_with(".LICENSE"));
        there.sort();
        let mut sent: Vec<_> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        sent.sort();
        assert_eq!(sent, there);
    }

    #[test]
    fn the_page_is_told_where_metabase_is() {
        let page = Page::new(Some("http://localhost:3000"));
        let config = page.files.iter().find(|file| file.name == CONFIG).unwrap();
        let facts: serde_json::Value = serde_json::from_slice(&config.body).unwrap();
        assert_eq!(facts["metabase"], "http://localhost:3000");
        assert_ne!(config.etag, Page::new(None).files.last().unwrap().etag);
    }
}

//! `GET /`: the live page. Its files are in this program, and it asks no other host for anything.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::asset::Asset;
use crate::error::Error;
use crate::query::NoParameters;
use crate::router::App;

/// Nothing but our own files and our own API; no script or style in the page's text, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const JSON: &str = "application/json";

const INDEX: &str = "index.html";
/// The one file that depends on the settings.
const CONFIG: &str = "config.json";

/// Name, type and content.
const FILES: [(&str, &str, &[u8]); 26] = [
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
    ("interpret.js", SCRIPT, include_bytes!("page/interpret.js")),
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

/// The files by name.
pub(crate) struct Page {
    files: Vec<(&'static str, Asset)>,
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
        let of = |&(name, media_type, body): &(&'static str, &'static str, &'static [u8])| {
            (name, Asset::new(media_type, body.into()))
        };
        let mut files: Vec<_> = FILES.iter().map(of).collect();
        files.push((CONFIG, Asset::new(JSON, facts.into())));
        Self { files }
    }

    fn find(&self, name: &str) -> Option<&Asset> {
        self.files.iter().find(|(known, _)| *known == name).map(|(_, asset)| asset)
    }

    async fn answer(&self, name: &str, headers: &HeaderMap) -> Result<Response, Error> {
        let asset = self.find(name).ok_or_else(Error::nothing_here)?;
        Ok(([(CONTENT_SECURITY_POLICY, POLICY)], asset.answer(headers).await).into_response())
    }
}

pub(crate) async fn index(State(app): State<Arc<App>>, _: NoParameters, headers: HeaderMap) -> Result<Response, Error> {
    app.page.answer(INDEX, &headers).await
}

pub(crate) async fn file(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    app.page.answer(&name, &headers).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_nothing_but_the_files() {
        let page = Page::new(None);
        assert!(page.find("main.js").is_some() && page.find("vendor/uPlot.js").is_some());
        for name in ["", "nothing.js", "../page.rs", "vendor", "vendor/", "Main.js"] {
            assert!(page.find(name).is_none(), "{name}");
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
}

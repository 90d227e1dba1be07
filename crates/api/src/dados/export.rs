//! `GET /dados` as a file: the whole selection, read page by page while the client takes it.
//!
//! - [`form`]: rows as lines
//!
//! Each page is a short read of its own: one long read would keep the database's log from starting over. The newest row
//! at the begin is the last one that a file has, in either order. An error on the way breaks the connection, so that
//! nobody takes a part for the whole. A client that does not read holds one page, or a piece of a large value; `service::http` gives it up.

mod form;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

pub(super) use self::form::Form;
use super::answer::Parts;
use super::large::LargeText;
use super::query::Query;
use crate::csv;
use crate::error::Error;
use crate::limits::Memory;
use crate::router::App;
use crate::store::{Filter, Reader, Selection, StoreError, Wanted};

/// Files at the same time; one more is told to come back.
const EXPORTS_MAX: usize = 4;
/// Rows and text that are read at once.
const PAGE_ROWS: u32 = 1_000;
const PAGE_BYTES_MAX: usize = 256 << 10;

/// As many files are being sent as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyExports;

/// How many more files may be sent.
#[derive(Clone, Debug)]
pub(crate) struct Exports {
    free: Arc<Semaphore>,
}

impl Exports {
    pub(crate) fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(EXPORTS_MAX)) }
    }

    fn begin(&self) -> Result<OwnedSemaphorePermit, TooManyExports> {
        self.free.clone().try_acquire_owned().map_err(|_| TooManyExports)
    }
}

/// A file on its way.
struct Export {
    reader: Reader,
    memory: Memory,
    /// What is left of it; none after the last page.
    rest: Option<Selection>,
    /// Rows that are wanted still; all where the client does not say.
    rows_left: Option<u64>,
    form: Form,
    /// The last row of a page, where its value is large.
    large: Option<Parts>,
    /// Free again when the client has the file, or goes away.
    _permit: OwnedSemaphorePermit,
}

/// Sends the head once the first page is there: until then an error is an answer of its own.
pub(super) async fn start(app: &App, query: Query, form: Form) -> Result<Response, Error> {
    let permit = app.exports.begin()?;
    let newest_id = app.reader.newest_id().await?;
    let disposition = disposition(&query.filter, form);
    let rest = Selection {
        filter: query.filter,
        order: query.order,
        after_id: query.after_id,
        newest_id: Some(newest_id),
        limit: PAGE_ROWS,
        bytes_max: PAGE_BYTES_MAX,
    };
    let (reader, memory) = (app.reader.clone(), app.memory.clone());
    let (rest, rows_left) = (Some(rest), query.limit);
    let mut export = Export { reader, memory, rest, rows_left, form, large: None, _permit: permit };
    let mut first = form.head();
    first.push_str(&export.page().await?.unwrap_or_default());
    let head = [(CONTENT_TYPE, form.media_type()), (CONTENT_DISPOSITION, disposition.as_str())];
    Ok((head, Body::from_stream(stream::try_unfold((Some(first), export), next))).into_response())
}

/// The next piece of the file, and what comes after it.
async fn next(
    (read, mut export): (Option<String>, Export),
) -> Result<Option<(Bytes, (Option<String>, Export))>, StoreError> {
    if let Some(text) = read.filter(|text| !text.is_empty()) {
        return Ok(Some((text.into(), (None, export))));
    }
    loop {
        match export.part().await {
            Ok(None) => return Ok(None),
            // Many rows were looked at, and none is selected.
            Ok(Some(text)) if text.is_empty() => {}
            Ok(Some(text)) => return Ok(Some((text, (None, export)))),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "export broken off");
                return Err(error);
            }
        }
    }
}

impl Export {
    /// The next part of a row with a large value, or the next page; none after the last.
    async fn part(&mut self) -> Result<Option<Bytes>, StoreError> {
        if let Some(large) = &mut self.large {
            if let part @ Some(_) = large.next().await? {
                return Ok(part);
            }
            self.large = None;
        }
        Ok(self.page().await?.map(Bytes::from))
    }

    /// The rows of the next page but one whose value is large; none after the last.
    async fn page(&mut self) -> Result<Option<String>, StoreError> {
        let Some(mut selection) = self.rest.take() else { return Ok(None) };
        if let Some(rows) = self.rows_left {
            selection.limit = u32::try_from(rows).unwrap_or(PAGE_ROWS).min(PAGE_ROWS);
        }
        let page = self.reader.list(&selection).await?;
        self.rows_left = self.rows_left.map(|rows| rows - page.rows.len() as u64);
        if page.next_after_id.is_some() && self.rows_left != Some(0) {
            self.rest = Some(Selection { after_id: page.next_after_id, ..selection });
        }
        let mut text = String::new();
        let (rows, last) = page.rows.split_at(page.rows.len() - usize::from(page.large.is_some()));
        rows.iter().for_each(|row| self.form.push(&mut text, row));
        if let (Some(value), [row]) = (page.large, last) {
            let (line, at) = self.form.around_value(row);
            let value = LargeText::new(self.reader.clone(), self.memory.clone(), value, self.form.escape());
            self.large = Some(Parts::new(line, at, value));
        }
        Ok(Some(text))
    }
}

/// A name that says what is in the file.
fn disposition(filter: &Filter, form: Form) -> String {
    let name = match &filter.topics {
        Wanted::All => "dados".to_owned(),
        Wanted::Exactly(topic) | Wanted::Matching(topic) => format!("dados-{topic}"),
    };
    let times: Vec<String> = [filter.from, filter.until].iter().flatten().map(ToString::to_string).collect();
    let parts: Vec<&str> = std::iter::once(&name).chain(&times).map(String::as_str).collect();
    csv::disposition(&parts, form.extension())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_what_is_in_it() {
        let (from, until) = ("2026-11-22T03:21:45.678Z".parse().ok(), "2026-11-23T00:00:00Z".parse().ok());
        let topics = Wanted::Matching("casa/+".to_owned());
        for (filter, name) in [
            (Filter { topics: Wanted::All, from: None, until: None }, "dados.csv"),
            (Filter { topics: topics.clone(), from: None, until: None }, "dados-casa--.csv"),
            (Filter { topics, from, until }, "dados-casa--_2026-11-22T03-21-45.678Z_2026-11-23T00-00-00.000Z.csv"),
        ] {
            assert_eq!(disposition(&filter, Form::Csv), format!("attachment; filename=\"{name}\""));
        }
    }
}

//! An answer whose last row has a large value: what comes before it, the value as it is read, and what comes after it.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use dados::Dado;
use futures_util::stream;
use serde::Serialize;
use tracing::warn;

use super::large::{Escape, LargeText};
use crate::error::Error;
use crate::router::App;
use crate::store::{LargeValue, StoreError};

/// The placeholder in a row's JSON for a value that is streamed.
const EMPTY_VALUE: &str = "\"valor\":\"\"";

/// Texts and a large value between them.
pub(super) struct Parts {
    head: Option<Bytes>,
    value: Option<LargeText>,
    tail: Option<Bytes>,
}

impl Parts {
    /// The value stands at `at` in the text.
    pub(super) fn new(text: String, at: usize, value: LargeText) -> Self {
        let text = Bytes::from(text);
        Self { head: Some(text.slice(..at)), value: Some(value), tail: Some(text.slice(at..)) }
    }

    /// The next of them; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if let head @ Some(_) = self.head.take() {
            return Ok(head);
        }
        if let Some(value) = &mut self.value {
            if let part @ Some(_) = value.next().await? {
                return Ok(part);
            }
            self.value = None;
        }
        Ok(self.tail.take())
    }
}

/// Where the value of the last row is to stand in its JSON, which has an empty one.
pub(super) fn place_in_json(json: &str) -> Option<usize> {
    // A quote within a string is escaped: nothing else looks so.
    json.rfind(EMPTY_VALUE).map(|at| at + EMPTY_VALUE.len() - 1)
}

/// The row with the empty value that [`place_in_json`] finds.
pub(super) fn emptied(row: &mut Dado) {
    row.valor = Some(String::new());
}

/// JSON in which the last row's value is empty, and which is answered with that value, of unknown length and without a tag.
pub(super) fn streamed(app: &App, json: &impl Serialize, value: LargeValue) -> Result<Response, Error> {
    let json = serde_json::to_string(json).map_err(|_| Error::ours())?;
    let at = place_in_json(&json).ok_or_else(Error::ours)?;
    let value = LargeText::new(app.reader.clone(), app.memory.clone(), value, Escape::Json);
    let body = Body::from_stream(stream::try_unfold(Parts::new(json, at, value), |mut parts| async move {
        match parts.next().await {
            Ok(part) => Ok(part.map(|part| (part, parts))),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "answer broken off");
                Err(error)
            }
        }
    }));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

//! `GET /dados/ao-vivo`: new rows as server-sent events.
//!
//! - [`query`]: which rows, and after which one
//! - [`hub`]: has new rows encoded once for all readers, and who they are; [`pace`]: how often
//! - [`chunk`]: rows encoded once, and what a filter leaves of them; [`event`]: the text of each event
//! - [`ring`]: the newest chunks, and how a reader goes from its own pages to them without gap or repeat;
//!   [`waiting`]: who has everything, and what wakes them
//! - [`pages`]: what is older, a page at a time
//! - [`reader`]: the stream of one reader
//!
//! Nothing here is in the way of ingest: readers learn of a row once it is stored, from what its writer had in memory
//! or, where that is gone, by one connection that reads; and who does not keep up is told which rows it did not get.
//! What is in memory is bounded: the ring in bytes, and beyond it what slow readers still hold.

mod chunk;
mod event;
mod hub;
mod pace;
mod pages;
mod query;
mod reader;
mod ring;
mod waiting;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, Method};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

pub(crate) use self::hub::{JoinError, Limits, Live};
use crate::error::Error;
use crate::openapi::bodies;
use crate::openapi::parameters::FollowDados;
use crate::openapi::responses::{BadParameters, TooManyReaders};
use crate::router::App;

/// nginx and others gather an answer unless they are told not to.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Follow new rows
///
/// Server-sent events that never end by themselves. A row is an event without a name: its id, and the row as JSON. A
/// client that connects again with `Last-Event-ID` goes on without gap or repeat. Who reads too slowly is told by the
/// event `perdidos`, `{"de":…,"ate":…}`, which ids it did not get: `GET /dados` has them.
#[utoipa::path(
    get,
    path = "/dados/ao-vivo",
    operation_id = "followDados",
    tag = "dados",
    params(FollowDados),
    responses(
        (status = 200, description = "The events", content_type = "text/event-stream", body = String,
            headers(("Cache-Control" = String, description = "`no-store`"),
                ("X-Accel-Buffering" = String, description = "`no`: nginx passes it on as it comes.")),
            example = json!(bodies::EVENTS)),
        BadParameters,
        TooManyReaders,
    )
)]
pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    method: Method,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Result<Response, Error> {
    let wanted = query::parse(text.as_deref().unwrap_or_default())?;
    let after = query::last_event_id(&headers)?.or(wanted.after);
    let body = if method == Method::HEAD {
        // Of unknown length, as the stream itself.
        Body::from_stream(stream::empty::<Result<Bytes, Infallible>>())
    } else {
        let reader = app.live.join(wanted.topics, after).await?;
        Body::from_stream(stream::unfold(reader, |mut reader| async move {
            let text = reader.next().await?;
            Some((Ok::<_, Infallible>(text), reader))
        }))
    };
    let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")];
    Ok((head, body).into_response())
}

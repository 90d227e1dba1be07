//! `POST /dados`: parse all of it, hand it to the writer, answer what was stored.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use dados::{Inseridos, Timestamp};

use super::answer;
use super::body::{self, BodyError, Form};
use super::created::{created, emptied, json};
use super::fault::Fault;
use super::marks::Marks;
use super::parse::{Parsed, parse};
use crate::error::Error;
use crate::openapi::bodies::{self, Form as FormBody, Many, OneOrMany, Stored};
use crate::openapi::parameters;
use crate::openapi::responses::{BadRows, NotStored, NotYours};
use crate::query::NoParameters;
use crate::router::App;
use crate::store::{Batch, Failure, LARGE_VALUE_BYTES, Outcome, Row, Sender};

/// Where its route is.
pub(crate) const PATH: &str = "/dados";
/// Tells a replayed answer from a new one.
const REPLAYED: &str = "idempotency-replayed";
/// A larger body is parsed on a thread of its own, so that it holds up nobody else's.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Store one reading or many
///
/// A request is stored whole or not at all. An object is answered with its row, a list with how many were stored. A JSON
/// string is stored as its characters, any other JSON as its text.
#[utoipa::path(
    post,
    path = "/dados",
    operation_id = "createDados",
    tag = "dados",
    params(parameters::Marks),
    request_body(
        description = "What was measured",
        content(
            (OneOrMany = "application/json", examples(
                ("one" = (summary = "One", value = json!({"valor": 23.5, "topico": "casa/sala"}))),
                ("many" = (summary = "Many", value = json!([{"valor": 1}, {"valor": {"t": 21.5}, "topico": "casa/sala"}]))),
            )),
            (Many = "application/x-ndjson", example = json!(bodies::LINES)),
            (FormBody = "application/x-www-form-urlencoded", example = json!({"valor": "23.5", "topico": "casa/sala"})),
        ),
    ),
    responses(
        (status = 201, description = "Stored", body = Stored,
            headers(("Location" = String, description = "Where the row of an object is."),
                ("Idempotency-Replayed" = bool, description = "`true` where it had been stored before under this key.")),
            examples(("one" = (summary = "One", value = json!(bodies::row()))),
                ("many" = (summary = "Many", value = json!(bodies::count()))))),
        (status = 200, description = "All of it had been stored before, by its producer and sequence", body = Inseridos,
            example = json!({"inseridos": 0, "duplicados": 2, "primeiro_id": null, "ultimo_id": null})),
        BadRows,
        NotYours,
        NotStored,
    )
)]
pub(crate) fn create(
    State(app): State<Arc<App>>,
    _: NoParameters,
    request: Request,
) -> impl Future<Output = Result<Response, Error>> + Send {
    // Here, and not within the future: that would have room for the whole request. Of its head only the table is kept,
    // since a part of it would hold all that was read with it while its row is written.
    let (Parts { headers, mut extensions, .. }, body) = request.into_parts();
    let said = Said::read(&headers);
    let sender = extensions.remove().unwrap_or_default();
    store(app, said, sender, emptied(headers), body)
}

/// What the head says of the body.
struct Said {
    form: Form,
    marks: Marks,
}

impl Said {
    fn read(headers: &HeaderMap) -> Result<Self, Error> {
        Ok(Self { form: body::form(headers)?, marks: Marks::read(headers)? })
    }
}

/// `headers` are an empty table for those of the answer.
async fn store(
    app: Arc<App>,
    said: Result<Said, Error>,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let Said { form, marks } = said?;
    let mut held = app.memory.reserve();
    let body = body::collect(body, &mut held, app.body_bytes_max).await?;
    if form == Form::Urlencoded && matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return Err(BodyError::LooksLikeJson.into());
    }
    let parsing = app.memory.parsing(body.len()).await;
    let Parsed { rows, is_single } = parse_off_thread(form, body.clone()).await??;
    held.grow(rows.len() * Row::BYTES)?;
    let producer = marks.producer().map(|uuid| (uuid, sender.clone()));
    let origin = marks.origin(form, &body, is_single, sender)?;
    drop((body, parsing));
    let single = rows.first().filter(|_| is_single).cloned();
    let outcome = app.ingest.store(Batch { rows, origin }, held).await?;
    match (single, outcome) {
        // The answer of a large row waits for a client that may not take it: it is read again as it goes.
        (Some(row), Outcome::Stored { first_id, .. }) if row.valor.len() > LARGE_VALUE_BYTES => {
            drop(row);
            Box::pin(stored(&app, headers, first_id)).await
        }
        (Some(row), Outcome::Stored { first_id, .. }) => {
            let id = first_id.to_string();
            Ok(created(headers, &id, json(&id, &row)))
        }
        // Few need room for this, in the memory that each request has.
        (Some(_), Outcome::Replayed { first_id, .. }) => Box::pin(replayed(&app, headers, first_id)).await,
        (_, Outcome::Denied(denial)) => {
            if let Some((uuid, sender)) = producer {
                app.gate.denied(&sender, uuid, denial);
            }
            Err(denial.into())
        }
        (_, outcome) => answer_many(outcome),
    }
}

async fn parse_off_thread(form: Form, body: Bytes) -> Result<Result<Parsed, Fault>, Failure> {
    let now = Timestamp::now();
    if body.len() <= INLINE_BYTES_MAX {
        return Ok(parse(form, &body, now));
    }
    // It fails only if the parser panics, or at the very end of the program.
    tokio::task::spawn_blocking(move || parse(form, &body, now)).await.map_err(|_| Failure::Unexpected)
}

async fn replayed(app: &App, headers: HeaderMap, first_id: i64) -> Result<Response, Error> {
    Ok(([(REPLAYED, "true")], stored(app, headers, first_id).await?).into_response())
}

/// `201` with a row as the database has it.
async fn stored(app: &App, headers: HeaderMap, id: i64) -> Result<Response, Error> {
    let (mut row, large) = app.reader.get(id).await?.ok_or_else(Error::replay_gone)?;
    let Some(value) = large else {
        let json = serde_json::to_vec(&row).map_err(|_| Failure::Unexpected)?;
        return Ok(created(headers, &row.id.to_string(), json));
    };
    answer::emptied(&mut row);
    let created = created(headers, &row.id.to_string(), Vec::new());
    Ok((created.into_parts().0, answer::streamed(app, &row, value)?.into_body()).into_response())
}

fn answer_many(outcome: Outcome) -> Result<Response, Error> {
    match outcome {
        Outcome::Stored { first_id, inserted, duplicates } => {
            let status = if inserted > 0 { StatusCode::CREATED } else { StatusCode::OK };
            Ok((status, Json(inseridos(first_id, inserted, duplicates))).into_response())
        }
        Outcome::Replayed { first_id, inserted } => {
            let answer = (StatusCode::CREATED, [(REPLAYED, "true")], Json(inseridos(first_id, inserted, 0)));
            Ok(answer.into_response())
        }
        Outcome::KeyReused => Err(Error::key_reused()),
        Outcome::Denied(denial) => Err(denial.into()),
    }
}

fn inseridos(first_id: i64, inserted: u64, duplicates: u64) -> Inseridos {
    let any = inserted > 0;
    Inseridos {
        inseridos: inserted,
        duplicados: duplicates,
        primeiro_id: any.then_some(first_id),
        ultimo_id: any.then(|| first_id + inserted as i64 - 1),
    }
}

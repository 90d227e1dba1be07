//! Answers that several routes share. The examples of errors are made by the code that answers them.

use std::collections::BTreeMap;
use std::time::Duration;

use dados::{Problem, problem};
use utoipa::IntoResponses;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder, Schema};
use uuid::Uuid;

use crate::access::rate::TooOften;
use crate::access::scope::Needs;
use crate::access::{Denied, Refused};
use crate::dados::body::BodyError;
use crate::dados::fault::{Fault, Kind};
use crate::dados::marks::IDEMPOTENCY_KEY;
use crate::error::Error;
use crate::ingest::IngestError;
use crate::limits::OutOfMemory;
use crate::live::JoinError;
use crate::query::{BadParameter, BadQuery, NOT_BEFORE};
use crate::router::{HEADERS_MAX, URI_BYTES_MAX};
use crate::store::{Denial, Failure, FilePart, Misplaced};

type Responses = BTreeMap<String, RefOr<Response>>;

/// What any request may be answered, to whom it is open or not.
pub(super) fn anywhere(is_open: bool) -> Responses {
    let often = TooOften::after(Duration::from_secs(1));
    let mut all: Vec<(&str, Error)> = vec![
        ("A page of another site, or a name that is not ours", Refused::OtherSite(Denied::Origin).into()),
        ("The path with its query is too long", Error::uri_too_long(URI_BYTES_MAX)),
        ("There are too many headers", Error::too_many_headers(HEADERS_MAX)),
        ("An error of ours", Failure::Unexpected.into()),
    ];
    if !is_open {
        all.extend([
            ("No token, where the API has some", Refused::NoToken.into()),
            ("The token is unknown or has expired", Refused::InvalidToken.into()),
            ("The token may only read", Refused::Scope(Needs::Write).into()),
            ("The token asks too often", Refused::TokenRate(often).into()),
            ("The address sends too many wrong tokens", Refused::WrongTokens(often).into()),
        ]);
    }
    all.push(("The address asks too often", Refused::AddressRate(often).into()));
    errors(all)
}

/// Where no parameter is taken.
pub(crate) struct NoneTaken;

impl IntoResponses for NoneTaken {
    fn responses() -> Responses {
        errors([("A parameter is unknown", BadParameter::new("x", "unknown parameter; there are none here").into())])
    }
}

/// Where nothing is ever deleted.
pub(crate) struct NoRetention;

impl IntoResponses for NoRetention {
    fn responses() -> Responses {
        errors([("Nothing is ever deleted", Error::no_retention())])
    }
}

/// What the client has is still so.
pub(crate) struct Kept;

impl IntoResponses for Kept {
    fn responses() -> Responses {
        let tag = HeaderBuilder::new().description(Some("Names this state of it.")).schema(Some(text()));
        let response =
            ResponseBuilder::new().description("What you have is still so").header("ETag", required(tag.build()));
        BTreeMap::from([("304".to_owned(), response.build().into())])
    }
}

/// A query string that cannot be taken.
pub(crate) struct BadParameters;

impl IntoResponses for BadParameters {
    fn responses() -> Responses {
        errors([
            (
                "A parameter is out of range or malformed",
                BadParameter::new("limite", "expected an integer from 1 to 1000").into(),
            ),
            ("A parameter is unknown", BadParameter::new("pagina", "unknown parameter; there is limite").into()),
            ("A parameter is given twice", BadParameter::new("limite", "this parameter is given twice").into()),
        ])
    }
}

/// A range of time that cannot be answered.
pub(crate) struct BadRange;

impl IntoResponses for BadRange {
    fn responses() -> Responses {
        let detail = "an answer has at most 10000 points; the shortest passo that fits this range is 1h";
        errors([
            ("The range has too many steps", BadQuery::Together(BadParameter::new("passo", detail)).into()),
            ("The range ends before it begins", BadQuery::Together(BadParameter::new("desde", NOT_BEFORE)).into()),
        ])
    }
}

/// A span of time that ends before it begins.
pub(crate) struct BadSpan;

impl IntoResponses for BadSpan {
    fn responses() -> Responses {
        errors([("The span ends before it begins", BadQuery::Together(BadParameter::new("desde", NOT_BEFORE)).into())])
    }
}

/// No form of the answer that the client takes.
pub(crate) struct NotAcceptable;

impl IntoResponses for NotAcceptable {
    fn responses() -> Responses {
        errors([("None of the forms that there are is taken", Error::not_acceptable())])
    }
}

/// As many follow as may.
pub(crate) struct TooManyReaders;

impl IntoResponses for TooManyReaders {
    fn responses() -> Responses {
        errors([
            ("As many follow as may", JoinError::TooManyReaders.into()),
            ("The database is busy", Failure::Busy.into()),
        ])
    }
}

/// The database does not answer now.
pub(crate) struct NotNow;

impl IntoResponses for NotNow {
    fn responses() -> Responses {
        errors([("The database is busy", Failure::Busy.into()), ("The disk fails", Failure::Disk.into())])
    }
}

const MISPLACED: Misplaced = Misplaced { part: FilePart::Database, is_gone: false };

/// The writer takes nothing now.
pub(crate) struct NotStored;

impl IntoResponses for NotStored {
    fn responses() -> Responses {
        errors([
            ("Too much waits to be stored", IngestError::QueueFull.into()),
            ("Too many bytes are on their way", OutOfMemory.into()),
            ("The disk fails", Failure::Disk.into()),
            ("A file of the database was moved away", Failure::Misplaced(MISPLACED).into()),
            ("A trigger or a changed table keeps rows out", Failure::Refused.into()),
            ("The API ends", IngestError::Closed.into()),
            ("The disk is full", Failure::Full.into()),
        ])
    }
}

/// No row.
pub(crate) struct NoRow;

impl IntoResponses for NoRow {
    fn responses() -> Responses {
        errors([("No row has this id", Error::no_row(7)), ("This is no id", Error::bad_id())])
    }
}

/// No producer.
pub(crate) struct NoProducer;

impl IntoResponses for NoProducer {
    fn responses() -> Responses {
        errors([("No producer has this id", Error::no_producer(Uuid::nil()))])
    }
}

/// A path that names no producer.
pub(crate) struct BadProducer;

impl IntoResponses for BadProducer {
    fn responses() -> Responses {
        errors([("This is no id", Error::bad_uuid())])
    }
}

/// A body that cannot be taken, whatever it should be.
fn bad_body() -> [(&'static str, Error); 5] {
    let syntax = Fault::new(Kind::Syntax, "expected value").at(b"{\n\"valor\": }", 11);
    [
        ("The body is malformed", syntax.into()),
        ("The body ended early", BodyError::Broken.into()),
        ("The body came too slowly", BodyError::Timeout.into()),
        ("The body is too large", BodyError::TooLarge { bytes_max: 32 << 20 }.into()),
        ("The body is no UTF-8 by its own word", BodyError::Charset.into()),
    ]
}

/// A report that cannot be taken.
pub(crate) struct BadReport;

impl IntoResponses for BadReport {
    fn responses() -> Responses {
        let content = wrong(None, "nome", "nome is a text");
        let own = [
            ("This is no id", Error::bad_uuid()),
            ("The body has another form", BodyError::NotJson.into()),
            ("A field is missing, unknown or wrong", content.at(b"{\"nome\": 5}", 9).into()),
        ];
        errors(own.into_iter().chain(bad_body()))
    }
}

/// Another token's producer.
pub(crate) struct NotYours;

impl IntoResponses for NotYours {
    fn responses() -> Responses {
        errors([
            ("The producer belongs to another token", Denial::OtherToken.into()),
            ("The token has made as many producers as it may", Denial::TooManyProducers.into()),
        ])
    }
}

/// Rows that cannot be taken.
pub(crate) struct BadRows;

impl IntoResponses for BadRows {
    fn responses() -> Responses {
        let field = wrong(Some(1), "qos", "qos is 0, 1 or 2");
        let own = [
            ("A header is malformed", Error::header(IDEMPOTENCY_KEY, "expected 1 to 255 visible ASCII characters")),
            ("The key was used before", Error::key_reused()),
            ("The row was deleted since", Error::replay_gone()),
            (
                "A producer's batch leaves a gap that it has not reported",
                Denial::Unreported { first_sequence_max: 8 }.into(),
            ),
            ("The body has another form", BodyError::MediaType.into()),
            ("A field is missing, unknown or wrong", field.at(b"[{\"valor\":1},{\"valor\":2,\"qos\":3}]", 30).into()),
            ("There are too many rows", Fault::new(Kind::TooMany, "a request has at most 100000 rows").into()),
        ];
        errors(own.into_iter().chain(bad_body()))
    }
}

fn wrong(item: Option<usize>, field: &str, detail: &str) -> Fault {
    let mut fault = Fault::new(Kind::Content, detail);
    (fault.item, fault.field) = (item, Some(field.to_owned()));
    fault
}

/// One response a status, with an example for each of its errors.
fn errors(errors: impl IntoIterator<Item = (&'static str, Error)>) -> Responses {
    let mut by_status: BTreeMap<u16, Vec<(&str, Error)>> = BTreeMap::new();
    for (what, error) in errors {
        by_status.entry(error.problem().status).or_default().push((what, error));
    }
    by_status.into_iter().map(|(status, errors)| (status.to_string(), response(&errors).into())).collect()
}

fn response(errors: &[(&str, Error)]) -> Response {
    let description = errors.iter().map(|(what, _)| *what).collect::<Vec<_>>().join("; ");
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
    let content = match errors {
        [(_, error)] => content.example(Some(example(error.problem()))),
        errors => content.examples_from_iter(
            errors
                .iter()
                .map(|(what, error)| (*what, ExampleBuilder::new().value(Some(example(error.problem()))).build())),
        ),
    };
    let response = ResponseBuilder::new().description(description).content(problem::MEDIA_TYPE, content.build());
    if errors.iter().all(|(_, error)| error.says_when()) {
        return response.header("Retry-After", retry_after()).build();
    }
    if errors.iter().all(|(_, error)| error.says_how()) {
        return response.header("WWW-Authenticate", challenge()).build();
    }
    response.build()
}

fn example(problem: &Problem) -> serde_json::Value {
    serde_json::to_value(problem).unwrap_or_default()
}

fn retry_after() -> Header {
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    let header = HeaderBuilder::new().description(Some("Seconds until it is worth another try.")).schema(Some(seconds));
    required(header.example(Some(1.into())).build())
}

fn challenge() -> Header {
    let header = HeaderBuilder::new().description(Some("What is wanted (RFC 6750).")).schema(Some(text()));
    required(header.example(Some("Bearer realm=\"ponte\"".into())).build())
}

/// A header that is in every such answer. utoipa knows no `required` of headers.
pub(super) fn required(mut header: Header) -> Header {
    header.extensions = Some(Extensions::from_iter([("required", true)]));
    header
}

pub(super) fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

//! Query strings, paths and headers: each range is the constant that the handler checks.

use dados::topic::TOPIC_BYTES_MAX;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Required, Schema};

use super::bodies::UUID_EXAMPLE;
use crate::dados::marks::{FIRST_SEQUENCE_MAX, KEY_BYTES_MAX};
use crate::dados::query as dados_query;
use crate::producers::get as producers;
use crate::series::step::Step;
use crate::topics::query as topics;

/// `GET /dados`
pub(crate) struct ListDados;

impl IntoParams for ListDados {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let topic = "Only this topic, or those that an MQTT filter with `+` and `#` selects (no shared subscription).";
        let rows = "How many rows at most. Without it 100 in a page, and all in a file, which may have any number.";
        let cursor = "Rows beyond this one: the header `Link` of a page has it.";
        let limit = integer(1, i64::from(dados_query::LIMIT_MAX)).default(Some(json!(dados_query::LIMIT_DEFAULT)));
        vec![
            query("topico", topic, topic_filter_not_empty(), json!("casa/+")),
            query("desde", "Captured from when on. A day means its beginning.", moment(), json!("-24h")),
            query("ate", "Captured before when. A day means its end.", moment(), json!("2026-11-23")),
            query("ordem", "By id: newest first, or oldest first.", one_of(&["desc", "asc"]), json!("asc")),
            query("limite", rows, limit.into(), json!(10)),
            query("cursor", cursor, integer(i64::MIN, i64::MAX).into(), json!(42)),
            query(
                "formato",
                "The form of the answer; it wins over `Accept`.",
                one_of(&["json", "csv", "ndjson"]),
                json!("json"),
            ),
        ]
    }
}

/// `GET /dados/ao-vivo`
pub(crate) struct FollowDados;

impl IntoParams for FollowDados {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let topic = "Only this topic, or those that an MQTT filter with `+` and `#` selects (no shared subscription).";
        let after = "All rows after this one, then what is new. Without it, what is new.";
        let last = "The id of the last event: what an event source sends when it connects again. It wins over `apos`.";
        vec![
            query("topico", topic, topic_filter_not_empty(), json!("casa/+")),
            query("apos", after, integer(0, i64::MAX).into(), json!(42)),
            header("Last-Event-ID", last, integer(0, i64::MAX).into(), json!(42)),
        ]
    }
}

/// `GET /topicos`
pub(crate) struct ListTopicos;

impl IntoParams for ListTopicos {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let filter = "Only this topic, or those that an MQTT filter with `+` and `#` selects (no shared subscription). \
                      Empty: the messages without a topic.";
        let cursor = "Topics after this one: the header `Link` of a page has it.";
        vec![
            query("topico", filter, topic_filter(), json!("casa/+")),
            limit("topics", topics::LIMIT_DEFAULT, topics::LIMIT_MAX),
            query("cursor", cursor, string().into(), json!("casa/sala")),
        ]
    }
}

/// `GET /series`
pub(crate) struct OneSeries;

impl IntoParams for OneSeries {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let topic = "The topic. Empty: the messages without one.";
        let steps = "The length of a step. Without it, the shortest that gives at most 1,000 points.";
        let mut topic = query("topico", topic, name_or_nothing(), json!("casa/sala"));
        topic.required = Required::True;
        let field = string().default(Some(json!("valor"))).into();
        vec![
            topic,
            query("campo", "The field: `valor` where messages have none.", field, json!("temperatura")),
            query(
                "desde",
                "From when on. A day means its beginning. Without it, a day before `ate`.",
                moment(),
                json!("-7d"),
            ),
            query("ate", "Before when. A day means its end. Without it, now.", moment(), json!("2026-11-23")),
            query("passo", steps, one_of(&Step::ALL.map(Step::as_str)), json!("1h")),
            query("formato", "The form of the answer; it wins over `Accept`.", one_of(&["json", "csv"]), json!("json")),
        ]
    }
}

/// `GET /produtores`
pub(crate) struct ListProdutores;

impl IntoParams for ListProdutores {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let place = string().pattern(Some("^[0-9]{0,14}_[0-9]{1,18}$"));
        vec![
            limit("producers", producers::LIMIT_MAX, producers::LIMIT_MAX),
            query(
                "cursor",
                "Producers behind this one: the header `Link` of a page has it.",
                place.into(),
                json!("0_7"),
            ),
        ]
    }
}

/// The `{id}` of a row.
pub(crate) struct RowId;

impl IntoParams for RowId {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![path("id", "The row's id.", integer(i64::MIN, i64::MAX).into(), json!(1))]
    }
}

/// The `{uuid}` of a producer.
pub(crate) struct ProducerId;

impl IntoParams for ProducerId {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![path(
            "uuid",
            "The producer's id: the header `ponte-producer` of its batches.",
            uuid(),
            json!(UUID_EXAMPLE),
        )]
    }
}

/// The headers of `POST /dados`.
pub(crate) struct Marks;

impl IntoParams for Marks {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let key = "A key of your choice. The same request with the same key is stored once; its repetition within 24 \
                   hours is answered as the first was, with `Idempotency-Replayed: true`.";
        let producer = "Who sends this batch: a UUID that it keeps. It goes with `ponte-first-sequence`, with a list, and \
                        with no `Idempotency-Key`.";
        let sequence = "The sequence of the batch's first row; those after it count up by one. Rows up to the producer's \
                        highest sequence so far are skipped. A gap before the first row must have been reported as \
                        accounted for (`confirmadas`).";
        let key_schema = string().min_length(Some(1)).max_length(Some(KEY_BYTES_MAX)).pattern(Some("^[!-~]+$"));
        vec![
            header("Idempotency-Key", key, key_schema.into(), json!("2f1b5c8e-lote-7")),
            header("ponte-producer", producer, uuid(), json!(UUID_EXAMPLE)),
            header("ponte-first-sequence", sequence, integer(1, FIRST_SEQUENCE_MAX).into(), json!(1)),
            encoding(),
        ]
    }
}

/// The header of every body.
pub(crate) struct Encoding;

impl IntoParams for Encoding {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![encoding()]
    }
}

/// The request header of answers that can be kept.
pub(crate) struct Kept;

impl IntoParams for Kept {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let known = "The `ETag` of what you have: the answer is `304` where it is still so.";
        vec![header("If-None-Match", known, string().into(), json!("\"1f0c9a\""))]
    }
}

fn encoding() -> Parameter {
    header("Content-Encoding", "How the body is compressed.", one_of(&["gzip", "zstd"]), json!("gzip"))
}

fn limit(what: &str, default: u32, max: u32) -> Parameter {
    let schema = integer(1, i64::from(max)).default(Some(json!(default)));
    query("limite", &format!("How many {what} at most."), schema.into(), json!(10))
}

fn query(name: &str, description: &str, schema: RefOr<Schema>, example: Value) -> Parameter {
    parameter(ParameterIn::Query, name, description, schema, example)
}

fn header(name: &str, description: &str, schema: RefOr<Schema>, example: Value) -> Parameter {
    parameter(ParameterIn::Header, name, description, schema, example)
}

fn path(name: &str, description: &str, schema: RefOr<Schema>, example: Value) -> Parameter {
    let mut parameter = parameter(ParameterIn::Path, name, description, schema, example);
    parameter.required = Required::True;
    parameter
}

fn parameter(
    place: ParameterIn,
    name: &str,
    description: &str,
    mut schema: RefOr<Schema>,
    example: Value,
) -> Parameter {
    // Swagger UI would fill in a parameter's own example, and all of them at once are no sound request.
    match &mut schema {
        RefOr::T(Schema::Object(object)) => object.examples.push(example),
        RefOr::T(Schema::AnyOf(any)) => any.examples.push(example),
        _ => {}
    }
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .description(Some(description))
        .required(Required::False)
        .schema(Some(schema))
        .build()
}

pub(super) fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn integer(min: i64, max: i64) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(min)).maximum(Some(max))
}

fn one_of(values: &[&str]) -> RefOr<Schema> {
    string().enum_values(Some(values.iter().copied())).into()
}

fn uuid() -> RefOr<Schema> {
    string().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))).into()
}

/// A topic as one publishes to.
pub(super) fn topic_name() -> RefOr<Schema> {
    string().min_length(Some(1)).max_length(Some(TOPIC_BYTES_MAX)).pattern(Some(r"^[^+#\x00]+$")).into()
}

/// The same in a query string, where it may be empty.
fn name_or_nothing() -> RefOr<Schema> {
    string().pattern(Some(r"^[^+#\x00]*$")).into()
}

/// A topic, a filter, or nothing.
pub(super) fn topic_filter() -> RefOr<Schema> {
    let pattern = r"^(#|(\+|[^+#/\x00]*)(/(\+|[^+#/\x00]*))*(/#)?)$";
    string().pattern(Some(pattern)).into()
}

/// A topic or a filter.
fn topic_filter_not_empty() -> RefOr<Schema> {
    let pattern = r"^(#|(\+|[^+#/\x00]*)(/(\+|[^+#/\x00]*))*(/#)?)$";
    string().min_length(Some(1)).pattern(Some(pattern)).into()
}

/// What [`crate::query::bound`] reads.
pub(super) fn moment() -> RefOr<Schema> {
    let known = |format| string().format(Some(SchemaFormat::KnownFormat(format)));
    let description =
        "A time (RFC 3339, or `YYYY-MM-DD HH:MM:SS` in UTC), a day, or a time before now: `-30m`, `-24h`, `-7d`.";
    AnyOfBuilder::new()
        .item(known(KnownFormat::DateTime))
        .item(known(KnownFormat::Date))
        .item(string().pattern(Some("^-[0-9]{1,5}[mhd]$")))
        .description(Some(description))
        .into()
}

//! What can be sent and what comes back where no one type says it, and examples.

use dados::{Dado, Inseridos, NovoDado, Timestamp};
use serde_json::{Value, json};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::parameters::{string, topic_name};
use crate::dados::parse::ROWS_MAX;

pub(crate) const UUID_EXAMPLE: &str = "0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10";

/// NDJSON: an object a line.
pub(crate) const LINES: &str = "{\"valor\": 21.5, \"topico\": \"casa/sala\"}\n{\"valor\": {\"t\": 4, \"u\": 81}}\n";
/// A series for spreadsheets.
pub(crate) const CSV: &str = "inicio,n,media,minimo,maximo\r\n2026-11-23T03:00:00.000Z,60,21.4,20.9,22.0\r\n";
/// Rows as files.
pub(crate) const ROWS_CSV: &str =
    "id,topico,valor,timestamp,qos,retido,dup,formato\r\n1,casa/sala,23.5,2026-11-23T03:21:45.678Z,,,,\r\n";
pub(crate) const ROWS_NDJSON: &str =
    "{\"id\":1,\"topico\":\"casa/sala\",\"valor\":\"23.5\",\"timestamp\":\"2026-11-23T03:21:45.678Z\"}\n";
/// The first event says from where on, the second is a row, the third a comment that keeps the connection alive.
pub(crate) const EVENTS: &str = "id: 41\nretry: 2000\n\nid: 42\ndata: {\"id\":42,\"topico\":\"casa/sala\",\"valor\":\"23.5\",\"timestamp\":\"2026-11-23T03:21:45.678Z\"}\n\n:\n\n";
/// The first lines of what is counted.
pub(crate) const METRICS: &str = "# HELP ponte_build_info What is running; always 1.\n# TYPE ponte_build_info gauge\nponte_build_info{product=\"ponte-api\",version=\"0.1.0\"} 1\n# EOF\n";

/// `application/json` of `POST /dados`: an object, or an array of them.
pub(crate) struct OneOrMany;

impl PartialSchema for OneOrMany {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new().item(Ref::from_schema_name(NovoDado::name())).item(Many::schema()).into()
    }
}

impl ToSchema for OneOrMany {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Many::schemas(schemas);
    }
}

/// `application/x-ndjson`: the lines, of which none is an error.
pub(crate) struct Many;

impl PartialSchema for Many {
    fn schema() -> RefOr<Schema> {
        let items = Ref::from_schema_name(NovoDado::name());
        ArrayBuilder::new().items(items).min_items(Some(1)).max_items(Some(ROWS_MAX)).into()
    }
}

impl ToSchema for Many {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((NovoDado::name().into_owned(), NovoDado::schema()));
        NovoDado::schemas(schemas);
    }
}

/// `application/x-www-form-urlencoded`.
pub(crate) struct Form;

impl PartialSchema for Form {
    fn schema() -> RefOr<Schema> {
        let value = string().description(Some("What was measured, as text.")).examples([json!("23.5")]);
        ObjectBuilder::new()
            .property("valor", value)
            .property("topico", topic_name())
            .property("timestamp", Ref::from_schema_name(Timestamp::name()))
            .required("valor")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into()
    }
}

impl ToSchema for Form {}

/// 201 of `POST /dados`: the row of an object, the count of a list.
pub(crate) struct Stored;

impl PartialSchema for Stored {
    fn schema() -> RefOr<Schema> {
        let names = [Dado::name(), Inseridos::name()];
        names.into_iter().fold(OneOfBuilder::new(), |one, name| one.item(Ref::from_schema_name(name))).into()
    }
}

impl ToSchema for Stored {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Dado::name().into_owned(), Dado::schema()));
        schemas.push((Inseridos::name().into_owned(), Inseridos::schema()));
    }
}

pub(crate) fn row() -> Value {
    json!({"id": 1, "topico": "casa/sala", "valor": "23.5", "timestamp": "2026-11-23T03:21:45.678Z"})
}

pub(crate) fn count() -> Value {
    json!({"inseridos": 2, "duplicados": 0, "primeiro_id": 2, "ultimo_id": 3})
}

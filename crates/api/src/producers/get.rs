//! `GET /produtores` and `GET /produtores/{uuid}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use dados::Produtor;
use uuid::Uuid;

use crate::error::Error;
use crate::openapi::parameters::{ListProdutores, ProducerId};
use crate::openapi::responses::{BadParameters, BadProducer, NoProducer, NotNow};
use crate::query::{BadParameter, NoParameters, pairs};
use crate::router::App;
use crate::store::Kept;

/// Producers that one answer has at most, and where the client does not say.
pub(crate) const LIMIT_MAX: u32 = 1000;

/// List producers
#[utoipa::path(
    get,
    path = "/produtores",
    operation_id = "listProdutores",
    tag = "produtores",
    params(ListProdutores),
    responses((status = 200, description = "Their ledgers", body = Vec<Produtor>), BadParameters, NotNow)
)]
pub(crate) async fn list(State(app): State<Arc<App>>, RawQuery(text): RawQuery) -> Result<Json<Vec<Produtor>>, Error> {
    let limit = limit(text.as_deref().unwrap_or_default())?;
    let kept = app.reader.producers(limit).await?;
    Ok(Json(kept.into_iter().map(Kept::ledger).map(|ledger| app.vitals.of(ledger)).collect()))
}

/// Read one producer's ledger
#[utoipa::path(
    get,
    path = "/produtores/{uuid}",
    operation_id = "getProdutor",
    tag = "produtores",
    params(ProducerId),
    responses((status = 200, description = "The ledger", body = Produtor), BadProducer, NoProducer, NotNow)
)]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    _: NoParameters,
    Path(uuid): Path<String>,
) -> Result<Json<Produtor>, Error> {
    let uuid = Uuid::parse_str(&uuid).map_err(|_| Error::bad_uuid())?;
    let kept = app.reader.producer(uuid).await?.ok_or_else(|| Error::no_producer(uuid))?;
    Ok(Json(app.vitals.of(kept.ledger())))
}

/// Reads the query string.
fn limit(query: &str) -> Result<u32, BadParameter> {
    let mut limit = None;
    for pair in pairs(query) {
        let pair = pair?;
        match pair.name {
            "limite" => pair.keep(&mut limit, pair.limit(LIMIT_MAX)?)?,
            _ => return Err(pair.bad("unknown parameter; there is limite")),
        }
    }
    Ok(limit.unwrap_or(LIMIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_or_the_bad_parameter_is_named() {
        assert_eq!((limit(""), limit("limite=7")), (Ok(1000), Ok(7)));
        for (query, name) in [
            ("limite=0", "limite"),
            ("limite=1001", "limite"),
            ("limite=", "limite"),
            ("limite=1&limite=1", "limite"),
            ("cursor=1", "cursor"),
            ("n%C3%BAmero=1", "número"),
        ] {
            assert_eq!(limit(query).unwrap_err().name, name, "{query}");
        }
    }
}

//! `GET /produtores` and `GET /produtores/{uuid}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::LINK;
use axum::response::{IntoResponse as _, Response};
use dados::{Produtor, Timestamp};
use uuid::Uuid;

use crate::error::Error;
use crate::openapi::parameters::{ListProdutores, ProducerId};
use crate::openapi::responses::{BadParameters, BadProducer, NoProducer, NotNow};
use crate::query::{BadParameter, NoParameters, pairs};
use crate::router::App;
use crate::store::{Kept, Place, ProducerPage};

/// Producers that one answer has at most, and where the client does not say.
pub(crate) const LIMIT_MAX: u32 = 1000;

/// List producers
#[utoipa::path(
    get,
    path = "/produtores",
    operation_id = "listProdutores",
    tag = "produtores",
    params(ListProdutores),
    responses(
        (status = 200, description = "Their ledgers", body = Vec<Produtor>,
            headers(("Link" = String, description = "The next page, with `rel=\"next\"`; absent at the last."))),
        BadParameters,
        NotNow,
    )
)]
pub(crate) async fn list(State(app): State<Arc<App>>, RawQuery(text): RawQuery) -> Result<Response, Error> {
    let (limit, after) = parse(text.as_deref().unwrap_or_default())?;
    let ProducerPage { producers, next_after } = app.reader.producers(limit, after).await?;
    let ledgers: Vec<_> = producers.into_iter().map(Kept::ledger).map(|ledger| app.vitals.of(ledger)).collect();
    let mut response = Json(ledgers).into_response();
    if let Some(link) = next_after.and_then(|place| next_link(limit, &place).parse().ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
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

/// Reads the query string: how many at most, and where to go on.
fn parse(query: &str) -> Result<(u32, Option<Place>), BadParameter> {
    let (mut limit, mut after) = (None, None);
    for pair in pairs(query) {
        let pair = pair?;
        match pair.name {
            "limite" => pair.keep(&mut limit, pair.limit(LIMIT_MAX)?)?,
            "cursor" => {
                let place = place(&pair.value).ok_or_else(|| pair.bad("expected a cursor from the Link of a page"))?;
                pair.keep(&mut after, place)?;
            }
            _ => return Err(pair.bad("unknown parameter; there are limite and cursor")),
        }
    }
    Ok((limit.unwrap_or(LIMIT_MAX), after))
}

/// Milliseconds and id, or the id alone.
fn place(cursor: &str) -> Option<Place> {
    let (seen, id) = cursor.split_once('_')?;
    let last_seen = match seen {
        "" => None,
        ms => Some(Timestamp::from_ms(ms.parse().ok()?).ok()?),
    };
    Some(Place { last_seen, id: id.parse().ok()? })
}

/// The `Link` of a page whose last producer has this place. One that is heard of meanwhile moves to the front.
fn next_link(limit: u32, place: &Place) -> String {
    let seen = place.last_seen.map_or_else(String::new, |moment| moment.as_ms().to_string());
    format!("</produtores?limite={limit}&cursor={seen}_{}>; rel=\"next\"", place.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_or_the_bad_parameter_is_named() {
        assert_eq!((parse(""), parse("limite=7")), (Ok((1000, None)), Ok((7, None))));
        for place in [Place { last_seen: Timestamp::from_ms(7).ok(), id: 1 }, Place { last_seen: None, id: 2 }] {
            let link = next_link(5, &place);
            let query = link.strip_prefix("</produtores?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            assert_eq!(parse(query), Ok((5, Some(place))));
        }
        for (query, name) in [
            ("limite=0", "limite"),
            ("limite=1001", "limite"),
            ("limite=", "limite"),
            ("limite=1&limite=1", "limite"),
            ("cursor=1", "cursor"),
            ("cursor=x_1", "cursor"),
            ("cursor=1_", "cursor"),
            ("cursor=_1&cursor=_1", "cursor"),
            ("nome=1", "nome"),
            ("n%C3%BAmero=1", "número"),
        ] {
            assert_eq!(parse(query).unwrap_err().name, name, "{query}");
        }
    }
}

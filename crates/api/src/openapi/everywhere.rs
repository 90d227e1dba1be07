//! What all operations have in common: who may ask, the answers that any of them may give, the headers of every answer.

use serde_json::json;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, OpenApi, RefOr, Schema};

use super::responses::{self, required, text};

/// The name of the one way to show who one is.
const BEARER: &str = "bearer";
/// Open to everybody, whether there are tokens or not.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/openapi.json"];

/// Adds it to a document that has all routes.
pub(super) fn complete(document: &mut OpenApi) {
    let scheme = Http::builder().scheme(HttpAuthScheme::Bearer).description(Some("A token of this API.")).build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
    formato_binds_valor(components);
    for (path, item) in &mut document.paths.paths {
        for (scope, operation) in operations(item) {
            operation.security.get_or_insert_with(|| security(path, scope));
            for (status, response) in responses::anywhere(OPEN.contains(&path.as_str())) {
                operation.responses.responses.entry(status).or_insert(response);
            }
            for response in operation.responses.responses.values_mut() {
                let RefOr::T(response) = response else { continue };
                response.headers.insert("X-Request-Id".to_owned(), RefOr::T(request_id()));
            }
        }
    }
}

/// What `formato` says of `valor`, which utoipa has no word for.
fn formato_binds_valor(components: &mut Components) {
    let Some(RefOr::T(Schema::Object(novo))) = components.schemas.get_mut("NovoDado") else { return };
    let base64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
    // One key alone: their order is not kept.
    let bound = json!([{
        "if": {"properties": {"formato": {"const": "base64"}}, "required": ["formato"]},
        "then": {"properties": {"valor": {"type": "string", "contentEncoding": "base64", "pattern": base64}}}
    }]);
    novo.extensions = Some(Extensions::from_iter([("allOf", bound)]));
}

/// All operations of a path with the scope that each needs.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let scoped = [("read", get), ("write", put), ("write", post), ("write", delete), ("write", patch)];
    scoped.into_iter().filter_map(|(scope, operation)| Some((scope, operation.as_mut()?)))
}

/// Nothing is needed where the API has no tokens; where it has, one with the scope.
fn security(path: &str, scope: &str) -> Vec<SecurityRequirement> {
    if OPEN.contains(&path) {
        return Vec::new();
    }
    vec![SecurityRequirement::default(), SecurityRequirement::new(BEARER, [scope])]
}

fn request_id() -> Header {
    let header = HeaderBuilder::new().description(Some("Names this request in the log.")).schema(Some(text()));
    required(header.example(Some("6f1c0a2be94d8a370000000000000001".into())).build())
}

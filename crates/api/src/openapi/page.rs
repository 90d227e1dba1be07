//! `GET /docs`: Swagger UI on `/openapi.json`. Nothing comes from another host; no script or style stands in the page.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};

use crate::asset::Asset;
use crate::error::Error;
use crate::query::NoParameters;

/// A token that somebody types in can go nowhere but here.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

static PAGE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("text/html; charset=utf-8", include_bytes!("docs/docs.html").as_slice().into()));
static START: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("text/javascript; charset=utf-8", include_bytes!("docs/docs.js").as_slice().into()));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::gzip("text/javascript; charset=utf-8", include_bytes!("docs/swagger-ui-bundle.js.gz")));
static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::gzip("text/css; charset=utf-8", include_bytes!("docs/swagger-ui.css.gz")));

pub(crate) async fn page(_: NoParameters, headers: HeaderMap) -> Response {
    ([(CONTENT_SECURITY_POLICY, POLICY)], PAGE.answer(&headers).await).into_response()
}

/// What the page consists of.
pub(crate) async fn part(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    let asset: &Asset = match file.as_str() {
        "docs.js" => &START,
        "swagger-ui-bundle.js" => &SCRIPT,
        "swagger-ui.css" => &STYLE,
        _ => return Err(Error::nothing_here()),
    };
    Ok(asset.answer(&headers).await)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use sha2::{Digest as _, Sha256};

    /// What docs/README.md says of the vendored files.
    #[test]
    fn what_is_vendored_is_what_was_published() {
        let about = include_str!("docs/README.md");
        for packed in [
            include_bytes!("docs/swagger-ui-bundle.js.gz").as_slice(),
            include_bytes!("docs/swagger-ui.css.gz").as_slice(),
        ] {
            let mut file = Vec::new();
            flate2::read::GzDecoder::new(packed).read_to_end(&mut file).unwrap();
            let hash: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(about.contains(&hash), "docs/README.md does not know {hash}");
        }
    }
}

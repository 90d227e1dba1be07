//! Whether the API has a message of ours: asked where it says that it has had one, and we cannot know.

use std::time::Duration;

use dados::{Dado, Timestamp};
use reqwest::StatusCode;
use reqwest::header::LINK;
use service::causes;

use super::batch::Stored;
use super::post::{Client, body_within, token_hint};

/// Rows of one topic and millisecond that are looked through; a device sends far fewer.
const ROWS_MAX: usize = 10_000;
/// What a row's JSON has beside its texts, at most.
const ROW_BYTES_EXTRA: usize = 64 << 10;
/// JSON writes a byte of text with six at most.
const ESCAPED_BYTES: usize = 6;
/// A question is answered out of an index.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Client {
    /// Whether a row with this message's topic, time and payload is stored; none where our token may not read. Then only
    /// our token can send as our producer.
    pub(super) async fn has(&self, message: &Stored) -> Result<Option<bool>, String> {
        let wanted = message.novo_dado();
        let (Some(topic), Some(from)) = (&wanted.topico, wanted.timestamp) else { return Ok(None) };
        let Ok(until) = Timestamp::from_ms(from.as_ms() + 1) else { return Ok(None) };
        // A row at a time: one that is larger than ours need not be read to its end.
        let bytes_max = ROW_BYTES_EXTRA + ESCAPED_BYTES * (topic.len() + wanted.valor.0.len());
        let mut url = self.dados().clone();
        url.query_pairs_mut()
            .append_pair("topico", topic)
            .append_pair("desde", &from.to_string())
            .append_pair("ate", &until.to_string())
            .append_pair("limite", "1");
        // The API takes a plus sign in a query for what it is, and no space.
        let mut query = url.query().unwrap_or_default().replace('+', "%20");
        for _ in 0..ROWS_MAX {
            url.set_query(Some(&query));
            let request = self.http().get(url.clone()).timeout(TIMEOUT);
            let answer = request.send().await.map_err(|error| causes(&error))?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::FORBIDDEN => return Ok(None),
                status => return Err(format!("the API does not show a row: {status}{}", token_hint(&answer))),
            }
            let next = answer.headers().get(LINK).and_then(|link| next_query(link.to_str().ok()?)).map(str::to_owned);
            let rows: Vec<Dado> = match body_within(answer, bytes_max).await? {
                Some(text) => serde_json::from_str(&text)
                    .map_err(|_| "200 without the API's rows: is another server behind API_URL?".to_owned())?,
                None => Vec::new(),
            };
            let is_ours = |row: &Dado| {
                row.valor.as_deref() == Some(&*wanted.valor.0)
                    && row.formato.as_deref() == wanted.formato.map(|formato| formato.as_str())
            };
            if rows.iter().any(is_ours) {
                return Ok(Some(true));
            }
            match next {
                Some(next) => query = next,
                None => return Ok(Some(false)),
            }
        }
        Err(format!("the API has more than {ROWS_MAX} rows of one topic and millisecond"))
    }
}

/// The query of `<…>; rel="next"` (RFC 8288 §3).
fn next_query(link: &str) -> Option<&str> {
    let (target, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then(|| target.split_once('?').map(|(_, query)| query)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_next_page() {
        assert_eq!(next_query("</dados?limite=1&cursor=7>; rel=\"next\""), Some("limite=1&cursor=7"));
        assert_eq!(next_query("<http://a/b/dados?cursor=7>; rel=\"next\""), Some("cursor=7"));
        for other in ["", "</dados?a>; rel=\"prev\"", "</dados>; rel=\"next\"", "/dados?a"] {
            assert_eq!(next_query(other), None, "{other}");
        }
    }
}

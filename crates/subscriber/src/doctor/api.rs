//! The API as the subscriber meets it: whether it takes data, ours too, and what it has stored.

use dados::{Dado, Problem, Topico};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use service::doctor::words::grouped;
use service::doctor::{Finding, clock};
use service::{Exit, shown};
use url::Url;

use super::http::{Answer, ask};
use crate::config::Api;

/// Of these the rate and the size are reckoned.
const ROWS: u32 = 1_000;
/// Of more topics it is not said which filters have none.
const TOPICS_MAX: u32 = 1_000;
/// Nothing of this type is ever stored: the API says so after it has looked at the token.
const NO_TYPE_OF_OURS: &str = "application/x-ponte-check";

/// What it told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) findings: Vec<Finding>,
    /// The newest.
    pub(super) rows: Vec<Dado>,
    /// All that it has messages of, where these are not too many.
    pub(super) topics: Option<Vec<String>>,
}

/// What `/readyz` says.
#[derive(Deserialize)]
struct Ready {
    status: String,
    #[serde(default)]
    produtores: Option<Ledger>,
}

#[derive(Deserialize)]
struct Ledger {
    faltando: u64,
}

/// Asks the API everything; nothing is stored by it.
pub(super) async fn examine(http: &Client, api: &Api) -> Seen {
    let url = |path: &str| api.url.join(path).unwrap_or_else(|_| api.url.clone());
    let get = |path: &str| ask(http.get(url(path)));
    let answer = get("readyz").await;
    let ready = readiness(&api.url, &answer);
    let takes_data = matches!(ready.level, service::doctor::Level::Ok);
    let mut seen = Seen { findings: vec![ready], ..Seen::default() };
    if let Ok(Answer { date: Some(date), before_ms, after_ms, .. }) = &answer
        && let Some(theirs_ms) = clock::http_date(date)
    {
        seen.findings.push(clock::compared("the API", theirs_ms, *before_ms, *after_ms));
    }
    if !takes_data {
        return seen;
    }
    seen.findings.extend(missing(&answer));
    let write = ask(http.post(url("dados")).header(CONTENT_TYPE, NO_TYPE_OF_OURS)).await;
    let read = get("produtores").await;
    seen.findings.push(token(api.token.is_some(), &write, &read));
    seen.rows = parsed(get(&format!("dados?limite={ROWS}")).await).unwrap_or_default();
    if let Ok(page) = get(&format!("topicos?limite={TOPICS_MAX}")).await
        && !page.has_more
        && let Some(topics) = parsed::<Topico>(Ok(page))
    {
        // A topic is counted a moment after its message is stored.
        let named = topics.into_iter().filter_map(|topic| topic.topico);
        seen.topics = Some(named.chain(seen.rows.iter().filter_map(|row| row.topico.clone())).collect());
    }
    seen
}

fn parsed<T: serde::de::DeserializeOwned>(answer: Result<Answer, String>) -> Option<Vec<T>> {
    answer.ok().filter(|answer| answer.status == 200).and_then(|answer| serde_json::from_str(&answer.body).ok())
}

/// Whether it takes data.
fn readiness(url: &Url, answer: &Result<Answer, String>) -> Finding {
    let subject = format!("API_URL {url}");
    let failed = |what: String| Finding::fail(Exit::Unavailable, subject.clone(), what);
    match answer {
        Err(fault) => failed(fault.clone())
            .note("start ponte-api, or correct API_URL (in Docker: the service's name, http://api:8080)")
            .note("nothing is lost meanwhile: messages wait in the spool, see the outage budget"),
        Ok(answer) if answer.status == 200 => match serde_json::from_str::<Ready>(&answer.body) {
            Ok(Ready { status, .. }) if status == "ready" => Finding::ok(subject, "the API is ready to store messages"),
            _ => failed("another server answers there, and it is no ponte-api".to_owned())
                .note("correct API_URL: host and port where ponte-api listens (API_ADDR)"),
        },
        Ok(answer) => failed(format!("the API cannot store messages now: {}", reason(answer)))
            .note("ask it why: ponte-api check, where it runs; messages wait in the spool meanwhile"),
    }
}

/// What the ledger says.
fn missing(answer: &Result<Answer, String>) -> Option<Finding> {
    let ready: Ready = serde_json::from_str(&answer.as_ref().ok()?.body).ok()?;
    let missing = ready.produtores?.faltando;
    let what = format!("{} messages were delivered once and are not in the database", grouped(missing as f64));
    (missing > 0).then(|| {
        Finding::warn("ledger", what)
            .note("was the database put back from an older copy? GET /produtores shows whose they are (faltando)")
    })
}

/// What the API allows us, by a POST that it must refuse for its type alone, and by a GET.
fn token(is_set: bool, write: &Result<Answer, String>, read: &Result<Answer, String>) -> Finding {
    let subject = "API_TOKEN";
    let status = |answer: &Result<Answer, String>| answer.as_ref().map_or(0, |answer| answer.status);
    let why = |answer: &Result<Answer, String>| answer.as_ref().map_or_else(Clone::clone, reason);
    let denied = |what: String| {
        Finding::fail(Exit::Unavailable, subject, what).note(
            "set API_TOKEN to a token of this API that may write: ponte-api token new --name subscriber --scope write",
        )
    };
    match (status(write), status(read)) {
        (401, _) | (_, 401) if is_set => {
            denied("the API does not know this token: it is wrong, or no longer valid".to_owned())
        }
        (401, _) | (_, 401) => denied("the API wants a token, and none is set".to_owned()),
        (403, _) => denied(format!("the API does not let us write: {}", why(write))),
        // Its own ledger is open to any token.
        (400 | 413 | 415 | 422, 403) => Finding::ok(subject, "the API takes this token, to write"),
        (400 | 413 | 415 | 422, 200) if is_set => {
            Finding::ok(subject, "the API takes this token, to read and to write")
        }
        (400 | 413 | 415 | 422, 200) => Finding::ok(subject, "the API takes what we send; it asks for no token"),
        (400 | 413 | 415 | 422, _) => {
            Finding::warn(subject, format!("the API does not show its ledger: {}", why(read))).note("see its log")
        }
        _ => Finding::warn(subject, format!("whether we may write cannot be told: {}", why(write)))
            .note("see the API's log"),
    }
}

/// What an answer says is wrong: problem+json, or its beginning.
fn reason(answer: &Answer) -> String {
    match serde_json::from_str::<Problem>(&answer.body) {
        Ok(problem) => format!("{} ({})", shown(problem.detail.unwrap_or(problem.title)), answer.status),
        Err(_) => format!("it answers {} {}", answer.status, shown(answer.body.trim_end())).trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use service::doctor::Level;

    use super::*;

    const FAIL: Level = Level::Fail(Exit::Unavailable);

    fn answer(status: u16, body: &str) -> Result<Answer, String> {
        Ok(Answer { status, body: body.to_owned(), ..Answer::default() })
    }

    #[test]
    fn only_a_ponte_api_that_takes_data_is_ready() {
        let url = Url::parse("http://127.0.0.1:8080/").unwrap();
        for (answer, level, words) in [
            (answer(200, r#"{"status":"ready"}"#), Level::Ok, "ready to store"),
            (answer(200, "<html>"), FAIL, "no ponte-api"),
            (answer(200, r#"{"status":"fine"}"#), FAIL, "no ponte-api"),
            (answer(507, r#"{"title":"x","status":507,"detail":"the disk is full"}"#), FAIL, "the disk is full (507)"),
            (answer(502, "Bad\nGateway"), FAIL, "it answers 502 Bad\\nGateway"),
            (Err("nobody answers there".into()), FAIL, "nobody answers there"),
        ] {
            let finding = readiness(&url, &answer);
            assert_eq!(finding.level, level);
            assert!(finding.what.contains(words), "{finding:?}");
            assert_eq!(finding.notes.is_empty(), level == Level::Ok);
        }
    }

    #[test]
    fn a_token_that_is_missing_is_told_from_one_that_is_wrong() {
        let other = || answer(415, "");
        for (is_set, write, read, level, words) in [
            (false, other(), answer(200, "[]"), Level::Ok, "asks for no token"),
            (true, other(), answer(200, "[]"), Level::Ok, "takes this token"),
            (false, answer(401, ""), answer(401, ""), FAIL, "none is set"),
            (true, answer(401, ""), answer(401, ""), FAIL, "does not know this token"),
            (true, answer(403, ""), answer(200, "[]"), FAIL, "does not let us write"),
            (true, other(), answer(403, ""), Level::Ok, "to write"),
            (true, other(), answer(404, ""), Level::Warn, "ledger"),
            (true, answer(503, ""), answer(200, "[]"), Level::Warn, "cannot be told"),
            (true, Err("cut".into()), answer(200, "[]"), Level::Warn, "cut"),
        ] {
            let finding = token(is_set, &write, &read);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.what.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn what_the_ledger_misses_is_told() {
        assert_eq!(missing(&answer(200, r#"{"status":"ready"}"#)), None);
        assert_eq!(missing(&answer(200, r#"{"status":"ready","produtores":{"total":1,"faltando":0}}"#)), None);
        let finding = missing(&answer(200, r#"{"status":"ready","produtores":{"total":1,"faltando":1200}}"#)).unwrap();
        assert!(finding.what.starts_with("1,200 messages"), "{finding:?}");
    }
}

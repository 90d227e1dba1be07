//! Who listens on `API_ADDR`: nobody yet, this database's API, or another program.

use std::net::SocketAddr;

use dados::Problem;
use serde::Deserialize;
use service::doctor::Finding;
use service::{Exit, Fatal};

/// What `/readyz` of an API begins with.
#[derive(Deserialize)]
struct Ready {
    status: String,
}

/// What binding and asking say. `is_owned`: an API has the database open.
pub(super) fn finding(
    addr: SocketAddr,
    bound: Result<(), Fatal>,
    answer: Option<(u16, String)>,
    is_owned: bool,
) -> Finding {
    let subject = format!("API_ADDR {addr}");
    let failed = |what: &str| Finding::fail(Exit::Unavailable, subject.clone(), what);
    let fatal = match (bound, is_owned) {
        (Ok(()), false) => return Finding::ok(subject, "the address is free"),
        (Ok(()), true) => {
            return Finding::warn(subject, "a ponte-api has the database open, and does not listen here")
                .note("in Docker, ask where it runs: docker compose exec api ponte-api check")
                .note("else it listens elsewhere; a second one on this database ends with code 75");
        }
        (Err(fatal), _) => fatal,
    };
    let Some((status, body)) = answer.filter(|_| fatal.exit == Exit::Unavailable) else {
        let what = fatal.message.strip_prefix("API_ADDR: ").unwrap_or(&fatal.message).to_owned();
        return Finding::fail(fatal.exit, subject, what).note("choose another address or port, or stop what uses it");
    };
    let is_ready = serde_json::from_str::<Ready>(&body).is_ok_and(|ready| ready.status == "ready");
    match (is_ready, is_owned, serde_json::from_str::<Problem>(&body)) {
        (true, true, _) => Finding::ok(subject, "ponte-api runs there, and is ready to store messages"),
        (true, false, _) => failed("a ponte-api runs there with another database")
            .note("stop that one, or give this one another API_ADDR and DATABASE_URL"),
        (false, true, Ok(problem)) => failed(&format!(
            "ponte-api runs there, and cannot store messages: {} ({status})",
            problem.detail.unwrap_or(problem.title)
        ))
        .note("its log says more; it goes on by itself once the disk does"),
        _ => failed("another program listens there").note("stop it, or choose another port for API_ADDR"),
    }
}

#[cfg(test)]
mod tests {
    use service::doctor::Level;

    use super::*;

    #[test]
    fn the_address_is_free_ours_or_anothers() {
        let addr = "127.0.0.1:8080".parse().unwrap();
        let fail = Level::Fail(Exit::Unavailable);
        let ready = || Some((200, r#"{"status":"ready","leituras":{}}"#.to_owned()));
        let full = || Some((507, r#"{"title":"x","status":507,"detail":"the disk is full"}"#.to_owned()));
        let taken = || Err(Fatal::new(Exit::Unavailable, "API_ADDR: cannot listen on x: in use"));
        let open = || Err(Fatal::setting("API_ALLOW_ANONYMOUS", "reachable"));
        for (bound, answer, is_owned, level, words) in [
            (Ok(()), None, false, Level::Ok, "free"),
            (Ok(()), None, true, Level::Warn, "does not listen here"),
            (taken(), ready(), true, Level::Ok, "is ready"),
            (taken(), ready(), false, fail, "another database"),
            (taken(), full(), true, fail, "the disk is full (507)"),
            (taken(), full(), false, fail, "another program"),
            (taken(), Some((200, "<html>".into())), true, fail, "another program"),
            (taken(), None, false, fail, "cannot listen on x"),
            (open(), ready(), false, Level::Fail(Exit::Usage), "API_ALLOW_ANONYMOUS"),
        ] {
            let finding = finding(addr, bound, answer, is_owned);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.what.contains(words), "{finding:?}");
            assert_eq!(finding.notes.is_empty(), level == Level::Ok);
        }
    }
}

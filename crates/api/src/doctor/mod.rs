//! What `check` finds: the database, its disk, and the address; nothing of it is changed.
//!
//! - [`database`]: the file and what it holds
//! - [`growth`]: for how long the disk has room
//! - [`address`]: who listens on `API_ADDR`
//!
//! Tokens and TLS are looked at by `access` itself.

mod address;
mod database;
mod growth;

use std::path::Path;

use dados::Timestamp;
use service::ask::ask;
use service::doctor::{Finding, access, clock, disk, mounts};
use service::{Exit, Fatal};

use crate::access::new_token::lines;
use crate::config::{AccessSettings, Config};
use crate::ingest::group::GROUP_ROWS_MAX;
use crate::store::{self, Location};
use crate::{retention, server};

/// Looks at everything.
pub(crate) async fn examine(config: &Config) -> Vec<Finding> {
    let now_ms = Timestamp::now().as_ms();
    let mut findings = vec![clock::sane(now_ms)];
    let is_owned = match store::locate(&config.database_url) {
        Ok(location) => {
            findings.extend(of_database(config, &location, now_ms).await);
            store::is_owned(&location)
        }
        Err(error) => {
            let fatal = Fatal::from(error);
            findings.push(Finding::from(("DATABASE_URL".to_owned(), Err(fatal))));
            false
        }
    };
    findings.push(retention::in_words(config.ages()));
    findings.push(of_address(config, is_owned).await);
    findings.extend(of_access(&config.access));
    findings
}

/// Who may ask, and whether TLS can be served.
fn of_access(access: &AccessSettings) -> Vec<Finding> {
    let mut tried: Vec<(String, Result<String, Fatal>)> = Vec::new();
    if access.needs_tokens() {
        match access.all_tokens() {
            Ok(tokens) => {
                tried.extend(lines(&tokens, jiff::Timestamp::now()).map(|line| ("token".to_owned(), Ok(line))))
            }
            Err(fatal) => tried.push(("tokens".to_owned(), Err(fatal))),
        }
    }
    if let Some(served) = access.tls().transpose() {
        tried.push(("TLS".to_owned(), served.map(|_| "the certificate and its key can be served".to_owned())));
    }
    tried.extend(access.check().err().map(|fatal| ("API_CORS_ORIGINS".to_owned(), Err(fatal))));
    tried.into_iter().map(Finding::from).collect()
}

async fn of_database(config: &Config, location: &Location, now_ms: i64) -> Vec<Finding> {
    let subject = format!("DATABASE_URL {}", config.database_url);
    let (path, parent) = (location.path.clone(), location.directory());
    let probed = parent.clone();
    let measured = tokio::task::spawn_blocking(move || disk::measure(&probed)).await;
    let syncs = match measured {
        Ok(Ok(syncs)) => syncs,
        Ok(Err(error)) => return vec![access::failed(&subject, &parent, &error)],
        Err(error) => return vec![Finding::fail(Exit::Software, subject, error.to_string())],
    };
    let files = location.files();
    if let Some(path) = access::unwritable(&files).next() {
        return vec![unwritable(subject, path)];
    }
    // Before this program reads it too.
    let readers = store::log_readers(&path);
    let inspection = match store::inspect(location).await {
        Ok(inspection) => inspection,
        Err(error) => return vec![database::refused(subject, error.into())],
    };
    let mut findings = vec![database::found(subject, &path, inspection.as_ref())];
    findings.extend(mounts::of(&parent).and_then(|mount| database::lies_on(&mount)));
    findings.push(disk::speed("disk of the database", syncs, GROUP_ROWS_MAX as u64));
    if let Some(inspection) = &inspection {
        findings.extend(database::inside(inspection, now_ms));
        findings.extend(database::held_log(inspection.log_bytes, &readers));
    }
    if let Ok(room) = disk::room(&parent) {
        let keeps_all = config.ages().messages.is_none();
        findings.push(growth::finding(inspection.as_ref(), room.free, keeps_all));
    }
    findings
}

fn unwritable(subject: String, path: &Path) -> Finding {
    let what = format!("{} cannot be written: {}", path.display(), access::who(path));
    Finding::fail(Exit::CantCreate, subject, what).note(
        "did root open it once (sudo sqlite3, or the API)? give the database and the files beside it (-wal, -shm, \
               .lock) to the user of the API: chown",
    )
}

async fn of_address(config: &Config, is_owned: bool) -> Finding {
    let bound = server::bind(config).map(drop);
    let answer = match &bound {
        Ok(()) => None,
        Err(_) => ask(&config.server(), "GET", "/readyz").await.ok().map(|answer| (answer.status, answer.body)),
    };
    address::finding(config.api_addr, bound, answer, is_owned)
}

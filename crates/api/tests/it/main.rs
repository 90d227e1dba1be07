//! Black-box tests: the API on a free port with a fresh database, and a real HTTP client.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy.toml knows only functions marked #[test]"
)]

mod access;
mod backup;
mod by_topic;
mod disk;
mod export;
mod get;
mod idempotency;
mod large;
mod ledger;
mod limits;
mod live;
#[cfg(target_os = "linux")] // it reads a process's memory from /proc
mod memory;
mod metrics;
mod misplaced;
mod openapi;
mod page;
mod post;
#[cfg(target_os = "linux")] // it reads a process's memory from /proc
mod pressure;
mod process;
mod producer;
mod program;
mod projections;
mod retention;
mod series;
mod shutdown;
mod startup;
mod topics;
mod triggers;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Once;

use dados::{Dado, Problem};
use ponte_api::config::Config;
use reqwest::{Client, RequestBuilder, Response};
use service::Fatal;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const FORM: &str = "application/x-www-form-urlencoded";

/// A running API; dropping it stops it.
struct App {
    addr: SocketAddr,
    client: Client,
    dir: TempDir,
    token: CancellationToken,
    task: JoinHandle<Result<(), Fatal>>,
}

/// The settings of a test: a database in `dir`.
fn config(dir: &Path) -> Config {
    Config { database_url: format!("sqlite:{}", database(dir).display()), ..Config::default() }
}

fn database(dir: &Path) -> PathBuf {
    dir.join("dados.db")
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

async fn spawn_app() -> App {
    spawn_with(tempfile::tempdir().unwrap(), |_| {}).await
}

async fn spawn_with(dir: TempDir, change: impl FnOnce(&mut Config)) -> App {
    let mut config = config(dir.path());
    change(&mut config);
    let listener = listener();
    let addr = listener.local_addr().unwrap();
    let token = CancellationToken::new();
    let task = TaskTracker::new().spawn(ponte_api::run(config, listener, token.clone()));
    App { addr, client: client(), dir, token, task }
}

fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    // No connection is used twice: after a refusal the server may close the one whose body it did not read.
    Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap()
}

impl App {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    fn post(&self, media_type: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client.post(self.url("/dados")).header("content-type", media_type).body(body)
    }

    /// All rows, newest first.
    async fn rows(&self) -> Vec<Dado> {
        self.get("/dados?limite=10000").send().await.unwrap().json().await.unwrap()
    }

    /// The newest row's id, which counts the rows of a new database; 0 where there is none.
    async fn newest_id(&self) -> i64 {
        let newest: Vec<Dado> = self.get("/dados?limite=1").send().await.unwrap().json().await.unwrap();
        newest.first().map_or(0, |row| row.id)
    }

    /// Stops it as SIGTERM does and leaves its directory.
    async fn stop(self) -> TempDir {
        self.token.cancel();
        self.task.await.unwrap().unwrap();
        self.dir
    }
}

/// The problem of an error answer, whose form and status it checks.
async fn problem(response: Response) -> Problem {
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{response:?}");
    let status = response.status();
    let problem: Problem = response.json().await.unwrap();
    assert_eq!(problem.status, status.as_u16());
    assert_eq!(Some(problem.title.as_str()), status.canonical_reason());
    assert!(problem.detail.is_some());
    problem
}

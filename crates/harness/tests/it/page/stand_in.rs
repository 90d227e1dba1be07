//! An API that wants a token, in front of the real one, which need not: it passes on what it lets in.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Result;

pub(super) const READER: &str = "only-reads";
pub(super) const WRITER: &str = "writes-too";

const BODY_BYTES_MAX: usize = 16 << 20;

pub(super) struct StandIn {
    pub(super) addr: SocketAddr,
    /// The paths with their queries, as they were asked for.
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

#[derive(Clone)]
struct Gate {
    api: String,
    client: reqwest::Client,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    pub(super) async fn start(api: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let asked = Arc::default();
        let gate = Gate { api: api.to_owned(), client: reqwest::Client::new(), asked: Arc::clone(&asked) };
        let router = Router::new().fallback(pass).with_state(gate);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { addr, asked, _serving: serving })
    }
}

async fn pass(State(gate): State<Gate>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    gate.asked.lock().expect("no holder panics").push(request.uri().to_string());
    let is_open = path == "/" || path.starts_with("/assets/") || path == "/readyz";
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match token.and_then(|value| value.strip_prefix("Bearer ")) {
        _ if is_open => {}
        Some(WRITER) => {}
        Some(READER) if request.method() == Method::GET => {}
        Some(READER) => return problem(StatusCode::FORBIDDEN),
        _ => return problem(StatusCode::UNAUTHORIZED),
    }
    forward(gate, request).await.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
}

async fn forward(gate: Gate, request: Request) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    // The API guards itself against other sites: the real one is asked as itself.
    for name in [HOST, ORIGIN, AUTHORIZATION] {
        parts.headers.remove(name);
    }
    let body = to_bytes(body, BODY_BYTES_MAX).await?;
    let url = format!("{}{}", gate.api, parts.uri);
    let answer = gate.client.request(parts.method, url).headers(parts.headers).body(body).send().await?;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    // A stream goes on as it comes.
    Ok(response.body(Body::from_stream(answer.bytes_stream()))?)
}

fn problem(status: StatusCode) -> Response {
    let body = format!(r#"{{"title":"","status":{},"detail":"no"}}"#, status.as_u16());
    let headers = [(CONTENT_TYPE, "application/problem+json"), (WWW_AUTHENTICATE, "Bearer")];
    (status, headers, body).into_response()
}

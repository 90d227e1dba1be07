//! A server that parses a row and answers 201 but stores nothing: what HTTP and JSON alone cost.

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use harness::process::Process;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};

/// The hidden first argument of this program that makes it such a server.
const ARGUMENT: &str = "empty-server";

#[derive(Deserialize)]
struct Novo {
    topico: Option<String>,
    valor: Box<RawValue>,
}

/// Whether the command line asks for the server, and where.
pub(crate) fn asked(mut args: impl Iterator<Item = String>) -> Option<anyhow::Result<SocketAddr>> {
    (args.nth(1)? == ARGUMENT).then(|| args.next().context("no address")?.parse().context("an address"))
}

/// Serves until it is killed.
pub(crate) async fn serve(addr: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(addr).await.with_context(|| addr.to_string())?;
    let listener = listener.tap_io(|stream| {
        // As the API does. A connection on which it fails is about to end anyway.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, Router::new().route("/dados", post(create))).await?;
    Ok(())
}

async fn create(Json(novo): Json<Novo>) -> StatusCode {
    black_box((novo.topico, novo.valor));
    StatusCode::CREATED
}

/// Starts it and waits until it listens.
pub(super) async fn start(dir: &Path) -> anyhow::Result<(SocketAddr, Process)> {
    let addr = harness::free_addr()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ARGUMENT).arg(addr.to_string());
    let mut process = Process::start("the reference", command, &dir.join("reference.log"))?;
    let listens = async || {
        anyhow::ensure!(process.is_running(), "the reference has ended:\n{}", process.log());
        Ok(TcpStream::connect(addr).await.ok().map(drop))
    };
    harness::eventually("the reference listens", harness::PATIENCE, listens).await?;
    Ok((addr, process))
}

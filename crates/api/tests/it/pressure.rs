//! Hostile clients by the thousand: the memory of the process stays within bounds, and others go on being served.

use std::fs;
use std::io::Write as _;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::program::{LOOK_INTERVAL, PROGRAM, Running, command, set_limit};
use crate::{FORM, JSON, NDJSON, problem};

const CONNECTIONS: usize = 10_000;
/// Two tests with so many connections would take each other's descriptors.
pub(crate) static CROWD: Mutex<()> = Mutex::const_new(());
/// Descriptors that the tests beside this one may need.
const SPARE: usize = 2000;
/// Descriptors of an API that nobody talks to, and some more.
const DESCRIPTORS_IDLE_MAX: usize = 100;

/// What the API may have in RAM while it does nothing, in MiB; a debug build and the allocator's leftovers included.
const IDLE_MIB_MAX: u64 = 64;
/// What a connection may cost.
const CONNECTION_KIB_MAX: u64 = 16;
/// The defaults of `API_CONNECTIONS_MAX` and `API_BODY_BYTES_MAX`, and what all bodies may hold.
const CONNECTIONS_DEFAULT: u64 = 1024;
const BODY_MIB: u64 = 32;
const BODIES_MIB: u64 = 128;
/// Hostile clients at the same time, with more bytes in all than the API holds.
const HOSTS: usize = 16;

fn assert_peak(api: &Running, mib_max: u64) {
    let peak = api.peak_mib();
    assert!(peak <= mib_max, "{peak} MiB in RAM, of at most {mib_max}");
}

/// How many connections this process may open: it asks for more first, and says so out loud where it gets fewer.
pub(crate) fn affordable() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let numbers: Vec<usize> = line.split_ascii_whitespace().map_while(|number| number.parse().ok()).collect();
    let (soft, hard) = (numbers[0], numbers[1]);
    let has_hard = soft == hard || set_limit(std::process::id(), &format!("--nofile={hard}:{hard}"));
    let affordable = CONNECTIONS.min(if has_hard { hard } else { soft }.saturating_sub(SPARE));
    if affordable < CONNECTIONS {
        let _ = writeln!(std::io::stderr(), "ONLY {affordable} CONNECTIONS: the limit on descriptors allows no more");
    }
    affordable
}

async fn start(args: &[&str]) -> (Running, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut program = command(PROGRAM, &dir);
    program.args(["--api-addr", "127.0.0.1:0"]).args(args);
    (Running::start(program).await.unwrap(), dir)
}

/// Opens connections that say nothing.
async fn silent(api: &Running, count: usize) -> Vec<TcpStream> {
    let connect = (0..count).map(|_| TcpStream::connect(&api.addr));
    futures_util::stream::iter(connect).buffer_unordered(256).map(Result::unwrap).collect().await
}

/// Whether the server only ever closed, or said that it waited too long.
fn said_nothing(connection: &TcpStream) -> bool {
    let mut answer = [0; 13];
    match connection.try_read(&mut answer) {
        Ok(0) | Err(_) => true,
        Ok(_) => &answer == b"HTTP/1.1 408 ",
    }
}

/// Waits until the server has closed all that it held, of its own accord. It asks the server, because a connection that
/// the system dropped while it waited to be accepted looks open to its client for as long as that says nothing.
async fn freed(api: &Running) {
    while api.descriptors() >= DESCRIPTORS_IDLE_MAX {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

#[tokio::test]
async fn silent_connections_cost_little_and_others_are_served() {
    let (_crowd, count) = (CROWD.lock().await, affordable());
    let (api, _dir) = start(&["--api-connections-max", "20000"]).await;
    let connections = silent(&api, count).await;
    for _ in 0..20 {
        assert_eq!(api.post(FORM, "valor=1").send().await.unwrap().status(), 201);
    }
    freed(&api).await;
    assert!(connections.iter().all(said_nothing));
    assert_eq!(api.get("/dados").send().await.unwrap().status(), 200);
    assert_peak(&api, IDLE_MIB_MAX + count as u64 * CONNECTION_KIB_MAX / 1024);
}

#[tokio::test]
async fn silent_connections_beyond_the_cap_are_turned_away_and_the_rest_make_room() {
    let (_crowd, count) = (CROWD.lock().await, affordable());
    let (api, _dir) = start(&[]).await;
    let connections = silent(&api, count).await;
    api.recovers("/healthz").await;
    freed(&api).await;
    assert!(connections.iter().all(said_nothing));
    assert_eq!(api.post(FORM, "valor=1").send().await.unwrap().status(), 201);
    assert_peak(&api, IDLE_MIB_MAX + CONNECTIONS_DEFAULT * CONNECTION_KIB_MAX / 1024);
}

/// Sends a line that does not end until the server answers; the status.
async fn endless_line(addr: &str) -> u16 {
    let (mut answers, mut requests) = TcpStream::connect(addr).await.unwrap().into_split();
    let head = format!(
        "POST /dados HTTP/1.1\r\nhost: localhost\r\ncontent-type: {NDJSON}\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{{\"valor\"\r\n2\r\n:\"\r\n"
    );
    requests.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "0".repeat(1 << 16));
    let sending = async { while requests.write_all(chunk.as_bytes()).await.is_ok() {} };
    let mut status = [0; 12];
    let reading = answers.read_exact(&mut status);
    // The server may close what it does not read to the end: then sending ends first, and the answer is there.
    let (_, read) = tokio::join!(sending, reading);
    read.unwrap();
    String::from_utf8_lossy(&status[9..]).parse().unwrap()
}

#[tokio::test]
async fn lines_without_end_are_refused_within_bounds() {
    let (api, _dir) = start(&[]).await;
    assert_eq!(endless_line(&api.addr).await, 413);
    assert_peak(&api, IDLE_MIB_MAX + 2 * BODY_MIB);
    // Together they are more than all bodies may hold.
    let statuses = join_all((0..HOSTS).map(|_| endless_line(&api.addr))).await;
    assert!(statuses.iter().all(|status| [413, 503].contains(status)), "{statuses:?}");
    assert_peak(&api, IDLE_MIB_MAX + 2 * BODIES_MIB);
    assert_eq!(api.post(FORM, "valor=1").send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn bombs_are_refused_within_bounds() {
    let (api, _dir) = start(&[]).await;
    let zeros = vec![b'0'; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut zstd = zstd::Encoder::new(Vec::new(), 3).unwrap();
    // The largest window that RFC 9659 allows.
    zstd.window_log(23).unwrap();
    for _ in 0..512 {
        gzip.write_all(&zeros).unwrap();
        zstd.write_all(&zeros).unwrap();
    }
    let bombs = [("gzip", gzip.finish().unwrap()), ("zstd", zstd.finish().unwrap())];
    for (encoding, bomb) in &bombs {
        let response = api.post(JSON, bomb.clone()).header("content-encoding", *encoding).send().await.unwrap();
        assert_eq!(problem(response).await.status, 413, "{encoding}");
        let many = (0..HOSTS).map(|_| api.post(JSON, bomb.clone()).header("content-encoding", *encoding).send());
        for response in join_all(many).await {
            assert!([413, 503].contains(&problem(response.unwrap()).await.status), "{encoding}");
        }
    }
    assert_peak(&api, IDLE_MIB_MAX + 2 * BODIES_MIB);
    assert_eq!(api.post(FORM, "valor=1").send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_body_that_stalls_is_not_waited_for_forever() {
    let (api, _dir) = start(&[]).await;
    let mut stream = TcpStream::connect(&api.addr).await.unwrap();
    let head = format!(
        "POST /dados HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM}\r\ncontent-length: 100\r\n\r\nvalor=1"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 408");
    assert_eq!(api.get("/dados").send().await.unwrap().text().await.unwrap(), "[]");
}

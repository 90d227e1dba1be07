//! Memory of the real process while large rows are written and read by many who take nothing: bounded, and given back.

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::program::{LOOK_INTERVAL, PROGRAM, Running, command};
use crate::{FORM, NDJSON};

/// What the API may have in RAM whatever is asked of it together, with its default settings.
const PEAK_MIB_MAX: u64 = 256;
/// What it may keep once nobody asks any more.
const LEFT_MIB_MAX: u64 = 128;
/// The value of a large row: nearly the largest body.
const LARGE_BYTES: usize = 31 << 20;
const LARGE_ROWS: usize = 2;
/// Rows that make full pages, and the value of each.
const ROWS: usize = 20_000;
const ROW_BYTES: usize = 1_600;

async fn start() -> (Running, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut program = command(PROGRAM, &dir);
    // All come from one address.
    program.args(["--api-addr", "127.0.0.1:0", "--api-connections-per-address", "1000"]);
    (Running::start(program).await.unwrap(), dir)
}

fn large() -> String {
    format!("valor={}", "x".repeat(LARGE_BYTES))
}

/// Stores a body again and again until there is memory for it.
async fn store(api: &Running, media_type: &str, body: &str) {
    while api.post(media_type, body.to_owned()).send().await.unwrap().status() != 201 {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Asks, reads `bytes` of the answer and no more.
async fn stalled(api: &Running, path: String, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(&api.addr).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut read = 0;
    let mut buffer = vec![0; 64 << 10];
    while read < bytes {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => read += count,
        }
    }
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_rows_written_and_read_by_many_stay_within_bounds() {
    let (api, _dir) = start().await;
    let line = format!("{{\"valor\":\"{}\",\"topico\":\"t\"}}\n", "y".repeat(ROW_BYTES));
    for _ in 0..4 {
        store(&api, NDJSON, &line.repeat(ROWS / 4)).await;
    }
    for _ in 0..LARGE_ROWS {
        store(&api, FORM, &large()).await;
    }
    let first = ROWS + 1;
    let one = |number: usize| format!("/dados/{}", first + number % LARGE_ROWS);
    let mut held = Vec::new();
    held.extend(join_all((0..64).map(|number| stalled(&api, one(number), 12))).await);
    held.extend(join_all((0..8).map(|_| stalled(&api, "/dados/ao-vivo?apos=0".to_owned(), 12))).await);
    held.extend(join_all((0..4).map(|_| stalled(&api, "/dados?formato=ndjson".to_owned(), 12))).await);
    let newest = join_all((0..16).map(|_| stalled(&api, "/dados?limite=1".to_owned(), 1 << 20)));
    let pages = join_all((0..16).map(|_| async {
        let page = api.get(&format!("/dados?limite=10000&cursor={first}")).send().await.unwrap();
        (page.status().as_u16(), page.headers().contains_key("link"), page.bytes().await.unwrap().len())
    }));
    let topics = join_all((0..16).map(|_| stalled(&api, "/topicos".to_owned(), 12)));
    let bodies =
        join_all((0..4).map(|_| async { api.post(FORM, large()).send().await.map(|answer| answer.status().as_u16()) }));
    let (newest, pages, topics, bodies) = tokio::join!(newest, pages, topics, bodies);
    held.extend(newest.into_iter().chain(topics));
    let (peak, now) = (api.peak_mib(), api.resident_mib());
    assert!(pages.iter().all(|page| page.0 == 200 && page.1 && page.2 > 10_000), "{peak} MiB; {pages:?}");
    // A server that is full may close the connection whose body it does not read.
    assert!(bodies.iter().flatten().all(|status| [201, 503].contains(status)), "{bodies:?}");
    // While they hold what they have, others are served.
    assert_eq!(api.post(FORM, "valor=1").send().await.unwrap().status(), 201);
    assert_eq!(api.get("/dados/1").send().await.unwrap().status(), 200);
    let peak = peak.max(api.peak_mib());
    drop(held);
    assert!(peak <= PEAK_MIB_MAX, "{peak} MiB in RAM at most, {now} now; {PEAK_MIB_MAX} are allowed");
    while api.resident_mib() > LEFT_MIB_MAX {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

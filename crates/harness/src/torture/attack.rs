//! A client that sends under the subscriber's name, so that its messages would look like repetitions and vanish.

use std::time::Duration;

use anyhow::Context as _;
use dados::novo::{FIRST_SEQUENCE, PRODUCER};
use dados::{Produtor, Relato};
use reqwest::{Client, StatusCode};

/// What the attacker's rows are stored under.
pub const TOPIC: &str = "ataque";
/// Sequences that are taken one after the other, as the subscriber's own next messages would.
const NEXT_ROWS: u64 = 100;
/// A sequence that the subscriber never comes to.
const FAR: u64 = 1_000_000_000;
/// The API may be frozen.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Takes the next sequences of the producer that was heard of last, and then a far one: first without a report, which the
/// API must refuse, then with a forged one. Gives what the API answered. An error where it does not answer at all.
pub(super) async fn take_name(api: &str) -> anyhow::Result<[StatusCode; 3]> {
    let client = Client::builder().timeout(TIMEOUT).build()?;
    let text = client.get(format!("{api}/produtores?limite=1")).send().await?.error_for_status()?.text().await?;
    let producers: Vec<Produtor> = serde_json::from_str(&text)?;
    let Produtor { produtor, ultima_sequencia: last, .. } = producers.first().context("no producer yet")?;
    let post = async |first: u64, count: u64| {
        let lines = format!("{{\"valor\":1,\"topico\":\"{TOPIC}\"}}\n").repeat(count as usize);
        let post = client.post(format!("{api}/dados")).header("content-type", "application/x-ndjson").body(lines);
        let post = post.header(PRODUCER, produtor.to_string()).header(FIRST_SEQUENCE, first);
        anyhow::Ok(post.send().await?.status())
    };
    let next = post(last + 1, NEXT_ROWS).await?;
    let unreported = post(last + FAR, 1).await?;
    let relato = Relato { recebidas: last + FAR, confirmadas: last + FAR, ..Relato::default() };
    client.put(format!("{api}/produtores/{produtor}")).json(&relato).send().await?;
    let forged = post(last + FAR, 1).await?;
    Ok([next, unreported, forged])
}

//! Reads everything back through `GET /dados`, as a user would.

use anyhow::{Context as _, ensure};
use dados::{Dado, Produtor, Topico};
use reqwest::header::LINK;

use crate::{PATIENCE, eventually};

/// The most rows of one page.
const PAGE: usize = 10_000;
/// The most topics of one page.
const TOPICS_PAGE: usize = 1_000;

/// What an API serves.
#[derive(Clone, Debug)]
pub struct Rows {
    base: String,
    client: reqwest::Client,
}

impl Rows {
    /// Of the API at this base, without a final slash.
    pub fn new(base: &str) -> Self {
        Self { base: base.to_owned(), client: reqwest::Client::new() }
    }

    /// Every row, oldest first, following the pages' links.
    pub async fn all(&self) -> anyhow::Result<Vec<Dado>> {
        let mut rows: Vec<Dado> = Vec::new();
        self.newest_first(PAGE, |page| rows.extend(page)).await?;
        rows.reverse();
        Ok(rows)
    }

    /// Every row in pages of so many, newest first, each page gone before the next one is read.
    pub async fn newest_first(&self, page_rows: usize, mut take: impl FnMut(Vec<Dado>)) -> anyhow::Result<()> {
        let mut next = Some(format!("/dados?limite={page_rows}"));
        while let Some(path) = next {
            let response = self.client.get(format!("{}{path}", self.base)).send().await?;
            ensure!(response.status().is_success(), "{path}: {}", response.status());
            next = response.headers().get(LINK).map(|link| target(link.to_str().unwrap_or_default())).transpose()?;
            take(serde_json::from_str(&response.text().await?)?);
        }
        Ok(())
    }

    /// The stored values of one topic, oldest first.
    pub async fn values(&self, topic: &str) -> anyhow::Result<Vec<String>> {
        let of_topic = |row: Dado| (row.topico.as_deref() == Some(topic)).then_some(row.valor).flatten();
        Ok(self.all().await?.into_iter().filter_map(of_topic).collect())
    }

    /// How many messages the projections have counted, in all topics.
    pub async fn counted_messages(&self) -> anyhow::Result<u64> {
        let (mut counted, mut next) = (0, Some(format!("/topicos?limite={TOPICS_PAGE}")));
        while let Some(path) = next {
            let response = self.client.get(format!("{}{path}", self.base)).send().await?.error_for_status()?;
            next = response.headers().get(LINK).map(|link| target(link.to_str().unwrap_or_default())).transpose()?;
            let topics: Vec<Topico> = serde_json::from_str(&response.text().await?)?;
            counted += topics.iter().map(|topic| topic.mensagens).sum::<u64>();
        }
        Ok(counted)
    }

    /// The ledgers of all producers, most recently seen first.
    pub async fn producers(&self) -> anyhow::Result<Vec<Produtor>> {
        let response = self.client.get(format!("{}/produtores", self.base)).send().await?;
        Ok(serde_json::from_str(&response.error_for_status()?.text().await?)?)
    }

    /// The newest row's id; 0 where there is none. With one writer that never deletes it counts the rows.
    pub async fn newest_id(&self) -> anyhow::Result<i64> {
        let response = self.client.get(format!("{}/dados?limite=1", self.base)).send().await?;
        let rows: Vec<Dado> = serde_json::from_str(&response.error_for_status()?.text().await?)?;
        Ok(rows.first().map_or(0, |row| row.id))
    }

    /// Waits until so many rows are stored.
    pub async fn stored(&self, count: i64) -> anyhow::Result<()> {
        let enough = async || Ok((self.newest_id().await? >= count).then_some(()));
        eventually(&format!("{count} rows are stored"), PATIENCE, enough).await
    }

    /// Waits until a topic has this value.
    pub async fn stored_value(&self, topic: &str, value: &str) -> anyhow::Result<()> {
        let there = async || Ok(self.values(topic).await?.iter().any(|stored| stored == value).then_some(()));
        eventually(&format!("{value} is stored on {topic}"), PATIENCE, there).await
    }
}

/// The path and query of `<…>; rel="next"` (RFC 8288 §3).
fn target(link: &str) -> anyhow::Result<String> {
    let inner = link.strip_prefix('<').and_then(|rest| rest.split_once('>')).context("no target in Link")?;
    ensure!(inner.1.contains("rel=\"next\""), "another link: {link}");
    let target = inner.0;
    Ok(target.find("/dados").map_or(target, |at| &target[at..]).to_owned())
}

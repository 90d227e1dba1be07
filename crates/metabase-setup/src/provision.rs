//! What a run does, in order. Everything is looked up before it is made, so that a run may end anywhere.

use std::fmt::Display;

use service::{Exit, Fatal};
use tokio::time::sleep;
use tracing::{info, warn};
use url::Url;

use crate::cards::{Card, cards};
use crate::client::{Client, Fault};
use crate::config::Config;
use crate::dashboard::Placed;
use crate::tables::{RULES_VERSION, Tables};
use crate::text::{Words, words};
use crate::wire::{
    self, Collection, CollectionSettings, Dashboard, Item, Made, NewCollection, NewDashboard, Page, Setting,
};
use crate::{dashboard, database, fingerprint, mark, session};

/// Which of our things the collection is, in its mark.
const COLLECTION: &str = "colecao";
/// Notes in the collection's mark: the dashboard's number, and which version of the rules for columns was applied.
const NOTE_DASHBOARD: &str = "painel=";
const NOTE_RULES: &str = "campos=";

/// What a run has done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was made, by name.
    pub made: Vec<String>,
    /// What was as an earlier version had written it, and is now as this one does.
    pub updated: Vec<String>,
    /// What people have changed, moved or deleted, and what keeps it so.
    pub left: Vec<String>,
    /// The number of the dashboard, where there is one.
    pub dashboard: Option<u64>,
}

impl Report {
    /// Where people find the dashboard; it looks for news every minute.
    pub fn url(&self, config: &Config) -> Option<Url> {
        let host = match config.published {
            every if every.ip().is_unspecified() => format!("localhost:{}", every.port()),
            one => one.to_string(),
        };
        Url::parse(&format!("http://{host}/dashboard/{}#refresh=60", self.dashboard?)).ok()
    }

    fn made(&mut self, what: impl Display) {
        info!(%what, "made");
        self.made.push(what.to_string());
    }

    fn updated(&mut self, what: impl Display) {
        info!(%what, "updated");
        self.updated.push(what.to_string());
    }

    fn left(&mut self, what: impl Display, why: &str) {
        info!(%what, why, "left alone");
        self.left.push(format!("{what}: {why}"));
    }
}

/// Why an attempt ends.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Another attempt would end the same way.
    Fatal(Fatal),
    /// A request came to nothing.
    Fault(Fault),
}

impl From<Fatal> for Stop {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Waits for Metabase and gives it what it lacks. Where a request fails for a reason that may pass, everything is
/// looked up anew: whether a lost answer had made a card is seen then.
///
/// Fails with one line and its exit code: 64 where a setting is at fault, 69 where Metabase is.
pub async fn run(config: &Config) -> Result<Report, Fatal> {
    let mut client = Client::new(config)?;
    session::wait_until_ready(&client, config).await?;
    let mut report = Report::default();
    for attempt in 1.. {
        report.left.clear();
        let result =
            Run { config, client: &mut client, words: words(config.locale), report: &mut report }.attempt().await;
        client.leave().await;
        match result {
            Ok(()) => return Ok(report),
            Err(Stop::Fatal(fatal)) => return Err(fatal),
            Err(Stop::Fault(Fault::Passing(problem))) if attempt < config.waits.attempts_max => {
                warn!(problem, attempt, "trying again");
                sleep(config.waits.delay(attempt)).await;
            }
            Err(Stop::Fault(fault)) => return Err(Fatal::new(Exit::Unavailable, fault)),
        }
    }
    unreachable!("the loop ends only by returning")
}

struct Run<'a> {
    config: &'a Config,
    client: &'a mut Client,
    words: &'static Words,
    report: &'a mut Report,
}

/// Our collection, and what is noted in its mark.
struct Ours {
    id: u64,
    description: String,
    dashboard: Option<u64>,
    rules: u32,
}

impl Run<'_> {
    async fn attempt(&mut self) -> Result<(), Stop> {
        let homepage_free = session::sign_in(self.client, self.config).await?;
        let (database, added) = database::find_or_add(self.client, self.config).await?;
        if added {
            self.report.made(&self.config.database_name);
        }
        let tables = database::tables(self.client, self.config, database).await?;
        let ours = self.collection().await?;
        if ours.rules < RULES_VERSION {
            database::describe(self.client, &tables, ours.rules).await?;
        }
        let items = format!("api/collection/{}/items?models=card&models=dashboard", ours.id);
        let items: Page<Item> = self.client.get(&items).await?;
        let found = self.find_dashboard(&ours, &items.data).await?;
        let cards = self.cards(database, &tables, &ours, &items.data, found.as_ref()).await?;
        let id = self.dashboard(&ours, found, &cards).await?;
        self.report.dashboard = Some(id);
        if ours.dashboard != Some(id) {
            self.show_first(id, homepage_free).await?;
        }
        self.note(&ours, id).await
    }

    async fn collection(&mut self) -> Result<Ours, Stop> {
        let all: Vec<Collection> = self.client.get("api/collection").await?;
        for Collection { id, description } in all {
            let (Some(id), Some(description)) = (id.as_u64(), description) else { continue };
            let Some(mark) = mark::read(&description).filter(|mark| mark.key == COLLECTION) else { continue };
            let note = |name| mark.notes.iter().find_map(|note| note.strip_prefix(name));
            let dashboard = note(NOTE_DASHBOARD).and_then(|id| id.parse().ok());
            let rules = note(NOTE_RULES).and_then(|version| version.parse().ok()).unwrap_or(0);
            return Ok(Ours { id, dashboard, rules, description });
        }
        let title = self.words.collection;
        let description = mark::write(title.about, COLLECTION, []);
        let body = NewCollection { name: title.name, description: &description, parent_id: None };
        let made: Made = self.client.post("api/collection", &body).await?;
        self.report.made(title.name);
        Ok(Ours { id: made.id, description, dashboard: None, rules: 0 })
    }

    /// By its number where that was noted, so that it may be moved; else by its mark: a run may end before the note.
    async fn find_dashboard(&mut self, ours: &Ours, items: &[Item]) -> Result<Option<Dashboard>, Stop> {
        let marked = || items.iter().find(|item| item.model == "dashboard" && key(item) == Some(dashboard::KEY));
        let Some(id) = ours.dashboard.or_else(|| marked().map(|item| item.id)) else { return Ok(None) };
        match self.client.get(&format!("api/dashboard/{id}")).await {
            Ok(dashboard) => Ok(Some(dashboard)),
            Err(fault) if fault.is_missing() => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Those of our cards that are there.
    async fn cards(
        &mut self,
        database: u64,
        tables: &Tables,
        ours: &Ours,
        items: &[Item],
        dashboard: Option<&Dashboard>,
    ) -> Result<Vec<Placed>, Stop> {
        // Without its mark, nobody knows what a dashboard was given: then nothing is made for it either.
        let given = dashboard.map(|dashboard| if dashboard.archived { None } else { dashboard::given(dashboard) });
        let mut there = Vec::new();
        for card in cards(database, tables, self.words) {
            let item = items.iter().find(|item| item.model == "card" && key(item) == Some(card.key));
            let had = given.as_ref().is_some_and(|given| given.as_ref().is_none_or(|keys| keys.contains(&card.key)));
            match item {
                Some(item) => {
                    let current = self.refresh(&card, item.id, ours).await?;
                    there.push(Placed { card, id: item.id, current });
                }
                None if had => self.report.left(card.title.name, "it was moved or deleted"),
                None => {
                    let made: Made = self.client.post("api/card", &card.body(&card.description(), ours.id)).await?;
                    self.report.made(card.title.name);
                    there.push(Placed { card, id: made.id, current: true });
                }
            }
        }
        Ok(there)
    }

    /// Rewrites a card that is as an earlier version of this program, or another language, wrote it. Says whether it is
    /// now as this one writes it.
    async fn refresh(&mut self, card: &Card, id: u64, ours: &Ours) -> Result<bool, Stop> {
        let path = format!("api/card/{id}");
        let stored: wire::Card = self.client.get(&path).await?;
        let description = stored.description.as_deref().unwrap_or_default();
        let about = mark::without(description);
        let print = fingerprint::of(
            &stored.name,
            &about,
            &stored.display,
            &stored.dataset_query,
            &stored.visualization_settings,
        );
        if print == card.fingerprint() {
            return Ok(true);
        }
        let written = mark::read(description).is_some_and(|mark| mark.notes == [print.as_str()]);
        if !written {
            self.report.left(&stored.name, "it was edited");
            return Ok(false);
        }
        self.client.put(&path, &card.body(&card.description(), ours.id)).await?;
        self.report.updated(card.title.name);
        Ok(true)
    }

    /// The number of the dashboard, which is made where there is none, with the cards that it was never given.
    async fn dashboard(&mut self, ours: &Ours, found: Option<Dashboard>, cards: &[Placed]) -> Result<u64, Stop> {
        let title = self.words.dashboard;
        let dashboard = match found {
            Some(dashboard) => dashboard,
            None => {
                let description = mark::write(title.about, dashboard::KEY, []);
                let body = NewDashboard { name: title.name, description: &description, collection_id: ours.id };
                let made: Made = self.client.post("api/dashboard", &body).await?;
                self.report.made(title.name);
                Dashboard::new(made.id, description)
            }
        };
        if dashboard.archived {
            self.report.left(title.name, "it was deleted; Metabase's trash still has it");
        } else if dashboard::given(&dashboard).is_none() {
            self.report.left(title.name, "our mark is no longer in its description");
        } else if let Some(body) = dashboard::changes(&dashboard, cards, self.words) {
            self.client.put(&format!("api/dashboard/{}", dashboard.id), &body).await?;
            self.report.updated(title.name);
        }
        Ok(dashboard.id)
    }

    /// Makes a new dashboard what people see when they have signed in, unless they see another one already.
    async fn show_first(&mut self, dashboard: u64, homepage_free: bool) -> Result<(), Stop> {
        if !homepage_free {
            return Ok(());
        }
        let shown = async {
            self.client.put("api/setting/custom-homepage-dashboard", &Setting { value: dashboard }).await?;
            self.client.put("api/setting/custom-homepage", &Setting { value: true }).await
        };
        match shown.await {
            // Somebody has said in Metabase's environment what people see first.
            Err(Fault::Refused { reason, .. }) => warn!(reason, "the dashboard is not Metabase's homepage"),
            result => result?,
        }
        Ok(())
    }

    /// Notes at the collection what later runs go by. It comes last: until then, a run begins anew.
    async fn note(&mut self, ours: &Ours, dashboard: u64) -> Result<(), Stop> {
        if ours.dashboard == Some(dashboard) && ours.rules >= RULES_VERSION {
            return Ok(());
        }
        let notes = [format!("{NOTE_DASHBOARD}{dashboard}"), format!("{NOTE_RULES}{RULES_VERSION}")];
        let description = mark::write(&ours.description, COLLECTION, notes.iter().map(String::as_str));
        let path = format!("api/collection/{}", ours.id);
        self.client.put(&path, &CollectionSettings { description: &description }).await?;
        Ok(())
    }
}

fn key(item: &Item) -> Option<&str> {
    Some(mark::read(item.description.as_deref()?)?.key)
}

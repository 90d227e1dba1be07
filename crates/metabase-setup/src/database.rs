//! The database in Metabase: found or added, looked at until its tables are known, and described once.

use service::{Exit, Fatal};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::client::Client;
use crate::config::{self, Config};
use crate::provision::Stop;
use crate::tables::{RULES, TECHNICAL, Tables};
use crate::wire::{Database, Details, FieldSettings, Made, Metadata, NewDatabase, Page, TableSettings};

/// `SQLITE_OPEN_READONLY` (sqlite.org/c3ref/c_open_autoproxy.html).
const OPEN_READ_ONLY: u8 = 1;

impl config::Database {
    /// What Metabase calls this kind.
    fn engine(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
        }
    }

    fn details(&self) -> Details<'_> {
        match self {
            Self::Sqlite { path } => Details::Sqlite { db: path, read_only: true, open_mode: OPEN_READ_ONLY },
        }
    }

    /// Whether Metabase's entry is this very database, whatever it is called.
    fn is(&self, entry: &Database) -> bool {
        let detail = |name: &str| entry.details.as_ref()?.get(name)?.as_str();
        entry.engine.as_deref() == Some(self.engine())
            && match self {
                Self::Sqlite { path } => detail("db") == Some(path),
            }
    }
}

/// The number of the database, which is added where Metabase does not have it; and whether it was.
pub(crate) async fn find_or_add(client: &Client, config: &Config) -> Result<(u64, bool), Stop> {
    let entries: Page<Database> = client.get("api/database").await?;
    if let Some(entry) = entries.data.iter().find(|entry| config.database.is(entry)) {
        return Ok((entry.id, false));
    }
    if let Some(entry) = entries.data.iter().find(|entry| entry.name == config.database_name) {
        if entry.details.is_some() {
            // Somebody has set it up their own way: it may well be the same one.
            warn!(name = entry.name, engine = entry.engine, "a database of this name has other details; using it");
        }
        return Ok((entry.id, false));
    }
    let body = NewDatabase {
        name: &config.database_name,
        engine: config.database.engine(),
        details: config.database.details(),
        is_full_sync: true,
        is_on_demand: false,
        auto_run_queries: true,
    };
    let made: Made = client.post("api/database", &body).await?;
    Ok((made.id, true))
}

/// The tables, once Metabase knows all that cards read. It looks by itself when a database is added, and once an hour.
pub(crate) async fn tables(client: &Client, config: &Config, database: u64) -> Result<Tables, Stop> {
    let path = format!("api/database/{database}/metadata?include_hidden=true");
    let mut missing = match Tables::new(client.get::<Metadata>(&path).await?) {
        Ok(tables) => return Ok(tables),
        Err(missing) => missing,
    };
    client.trigger(&format!("api/database/{database}/sync_schema")).await?;
    info!("waiting for Metabase to look at the database");
    let start = Instant::now();
    for failures in 1.. {
        sleep(config.waits.delay(failures)).await;
        missing = match Tables::new(client.get::<Metadata>(&path).await?) {
            Ok(tables) => return Ok(tables),
            Err(missing) => missing,
        };
        if start.elapsed() >= config.waits.tables_max {
            break;
        }
    }
    let text = format!(
        "METABASE_DATABASE_PATH: Metabase sees no {} within {:?}; is the database of this version of ponte-api?",
        missing.join(", "),
        config.waits.tables_max
    );
    Err(Fatal::new(Exit::Unavailable, text).into())
}

/// Tells Metabase what columns mean, and hides the tables that are none of people's. Where an earlier version of the
/// rules was applied, only what is as that version left it changes: what people have set stays.
pub(crate) async fn describe(client: &Client, tables: &Tables, applied: u32) -> Result<(), Stop> {
    for rule in RULES {
        let field = tables.field(rule.table, rule.field);
        let shown = field.has_field_values.as_deref();
        // What is right already is sent too: `list` may be an `auto-list`.
        let settings = match applied {
            0 => FieldSettings {
                has_field_values: rule.values,
                semantic_type: rule.semantic.filter(|semantic| field.semantic_type.as_deref() != Some(semantic)),
            },
            _ => FieldSettings {
                has_field_values: rule.values.filter(|_| shown == rule.values_before),
                semantic_type: None,
            },
        };
        if settings.has_field_values.is_some() || settings.semantic_type.is_some() {
            client.put(&format!("api/field/{}", field.id), &settings).await?;
        }
    }
    for (table, since) in TECHNICAL {
        if let Some(id) = tables.visible(table).filter(|_| applied < *since) {
            client.put(&format!("api/table/{id}"), &TableSettings { visibility_type: "technical" }).await?;
        }
    }
    Ok(())
}

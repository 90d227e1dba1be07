//! What goes over the wire: the bodies that Metabase takes, and what we read of its answers.
//!
//! Here is what is about Metabase and the database; in [`content`], what people see.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod content;

pub(crate) use content::*;

/// `GET /api/health`
#[derive(Deserialize)]
pub(crate) struct Health {
    pub(crate) status: String,
}

/// `GET /api/session/properties`: what Metabase tells everybody.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Properties {
    /// Whether there is an administrator.
    pub(crate) has_user_setup: Option<bool>,
    /// What the first administrator is made with; gone once there is one.
    pub(crate) setup_token: Option<String>,
    /// Whether people land on a dashboard when they sign in.
    pub(crate) custom_homepage: Option<bool>,
}

/// `POST /api/setup`: the first administrator.
#[derive(Serialize)]
pub(crate) struct Setup<'a> {
    pub(crate) token: &'a str,
    pub(crate) user: User<'a>,
    pub(crate) prefs: Preferences<'a>,
}

#[derive(Serialize)]
pub(crate) struct User<'a> {
    pub(crate) first_name: &'a str,
    pub(crate) last_name: &'a str,
    pub(crate) email: &'a str,
    pub(crate) password: &'a str,
}

#[derive(Serialize)]
pub(crate) struct Preferences<'a> {
    pub(crate) site_name: &'a str,
    pub(crate) site_locale: &'a str,
}

/// `POST /api/session`
#[derive(Serialize)]
pub(crate) struct Credentials<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
}

#[derive(Deserialize)]
pub(crate) struct Session {
    pub(crate) id: String,
}

/// What Metabase says of something that it has just made.
#[derive(Deserialize)]
pub(crate) struct Made {
    pub(crate) id: u64,
}

/// A page of things; without a limit in the request it has them all.
#[derive(Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
}

/// `GET /api/database`
#[derive(Deserialize)]
pub(crate) struct Database {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) engine: Option<String>,
    /// Shown to administrators.
    #[serde(default)]
    pub(crate) details: Option<Map<String, Value>>,
}

/// `POST /api/database`
#[derive(Serialize)]
pub(crate) struct NewDatabase<'a> {
    pub(crate) name: &'a str,
    pub(crate) engine: &'static str,
    pub(crate) details: Details<'a>,
    pub(crate) is_full_sync: bool,
    pub(crate) is_on_demand: bool,
    pub(crate) auto_run_queries: bool,
}

/// How Metabase reaches a database; each kind has its own.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Details<'a> {
    Sqlite {
        db: &'a str,
        #[serde(rename = "read-only?")]
        read_only: bool,
        /// What SQLite opens the file as. Metabase hands it on to the driver, which lets no connection become read-only
        /// that was not opened so.
        open_mode: u8,
    },
}

/// `GET /api/database/:id/metadata?include_hidden=true`: cards read hidden tables too.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    #[serde(default)]
    pub(crate) tables: Vec<Table>,
}

#[derive(Deserialize)]
pub(crate) struct Table {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// None where people see it.
    pub(crate) visibility_type: Option<String>,
    #[serde(default)]
    pub(crate) fields: Vec<Field>,
}

#[derive(Deserialize)]
pub(crate) struct Field {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// `list` also where it is `auto-list`, which Metabase may change by itself.
    pub(crate) has_field_values: Option<String>,
    pub(crate) semantic_type: Option<String>,
}

/// `PUT /api/field/:id`
#[derive(Serialize)]
pub(crate) struct FieldSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) has_field_values: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) semantic_type: Option<&'static str>,
}

/// `PUT /api/table/:id`
#[derive(Serialize)]
pub(crate) struct TableSettings {
    pub(crate) visibility_type: &'static str,
}

/// `PUT /api/setting/:name`
#[derive(Serialize)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
}

//! Gives Metabase its database, cards and dashboard through its HTTP interface, so that nobody has to click.
//!
//! - [`config`]: the settings
//! - `provision`: what a run does, in order; `session`: signing in; `database`: the database, its tables and fields
//! - `client`: one request and what its answer means; `wire`: what goes over it; `mbql`: Metabase's query language
//! - `tables`: what charts read, and what Metabase is told of it; `cards`, `filters` and `dashboard`: what there is to
//!   see; `text`: their words, in Portuguese and English
//! - `mark` and `fingerprint`: what is ours, and whether somebody has changed it
//!
//! What a run may touch: only what carries our mark in its description, whatever it is called. A card is rewritten only
//! while it is as we wrote it. A card or dashboard that somebody moved or deleted stays so, and what they took off the
//! dashboard stays off. What a new version adds to filters and columns is applied once: an edit after that stays. All of
//! it is looked up anew at each run: nothing is kept elsewhere.

mod cards;
mod client;
pub mod config;
mod dashboard;
mod database;
mod filters;
mod fingerprint;
mod mark;
mod mbql;
mod provision;
mod session;
mod tables;
mod text;
mod wire;

pub use provision::{Report, run};

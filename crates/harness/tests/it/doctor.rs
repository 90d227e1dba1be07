//! `check` as a doctor: what it says of set-ups that are well and of broken ones, and that it disturbs nothing.
//!
//! - [`broker`]: refusals, rights and limits
//! - [`disks`]: directories that cannot be written, disks that are full
//! - [`beside`]: a check while everything runs
//! - [`database`]: the API's own

mod beside;
mod broker;
mod database;
mod disks;

use harness::binaries::binaries;
use harness::system::run;

use super::Result;

/// A finding's line: its level, and the rest.
fn lines(output: &str) -> Vec<(&str, &str)> {
    let levels = ["ok    ", "warn  ", "fail  "];
    output
        .lines()
        .filter_map(|line| levels.iter().find_map(|level| Some((level.trim(), line.strip_prefix(level)?))))
        .collect()
}

/// Asserts that some line of this level begins and goes on like this.
#[track_caller]
fn says(output: &str, level: &str, subject: &str, words: &str) {
    let found =
        lines(output).iter().any(|(of, rest)| *of == level && rest.starts_with(subject) && rest.contains(words));
    assert!(found, "no line `{level} {subject}… {words}` in\n{output}");
}

/// Runs the subscriber's check with these settings to its end.
fn check(dir: &std::path::Path, settings: &[(&str, &str)], args: &[&str]) -> Result<(i32, String)> {
    let settings: Vec<_> = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    run(&binaries()?.subscriber, dir, &[&["check"], args].concat(), &settings)
}

/// The same of the API.
fn check_api(dir: &std::path::Path, settings: &[(&str, &str)]) -> Result<(i32, String)> {
    let settings: Vec<_> = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    run(&binaries()?.api, dir, &["check"], &settings)
}

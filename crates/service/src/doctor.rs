//! What `check` of both products finds: lines of `ok`, `warn` and `fail`, each a sentence, and below it what to do.
//!
//! - [`disk`]: how fast a disk syncs, and how much room it has
//! - [`mounts`]: which file system a directory lies on, and what that means
//! - [`access`]: why a directory or file cannot be written
//! - [`clock`]: whether this machine's clock can be right
//! - [`words`]: numbers with their units

pub mod access;
pub mod clock;
pub mod disk;
pub mod locks;
pub mod mounts;
pub mod words;

use crate::commands::print;
use crate::{Exit, Fatal};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work; the code that says why.
    Fail(Exit),
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// The setting with its value, or the thing.
    pub subject: String,
    /// One sentence, without a full stop.
    pub what: String,
    /// What to do, or what else to know; a line each.
    pub notes: Vec<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject: subject.into(), what: what.into(), notes: Vec::new() }
    }

    /// Somebody should look at it.
    pub fn warn(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { level: Level::Warn, ..Self::ok(subject, what) }
    }

    /// It does not work.
    pub fn fail(exit: Exit, subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { level: Level::Fail(exit), ..Self::ok(subject, what) }
    }

    /// The same with what to do about it.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The line, and those of its notes.
    fn text(&self) -> String {
        let level = match self.level {
            Level::Ok => "ok   ",
            Level::Warn => "warn ",
            Level::Fail(_) => "fail ",
        };
        let mut text = format!("{level} {}: {}\n", self.subject, self.what);
        for note in &self.notes {
            text.push_str(&format!("      → {note}\n"));
        }
        text
    }
}

impl From<(String, Result<String, Fatal>)> for Finding {
    /// What was tried, by its result.
    fn from((subject, result): (String, Result<String, Fatal>)) -> Self {
        match result {
            Ok(line) => Self::ok(subject, line),
            Err(fatal) => {
                // Many a failure begins with the variable's name already.
                let what = fatal.message.strip_prefix(&format!("{subject}: ")).unwrap_or(&fatal.message).to_owned();
                Self::fail(fatal.exit, subject, what)
            }
        }
    }
}

/// Prints a line for each finding and one that sums them up; the first failure is the end's.
pub fn report(findings: &[Finding]) -> Result<(), Fatal> {
    print("\n");
    findings.iter().for_each(|finding| print(&finding.text()));
    print(&format!("\n{}\n", sum(findings)));
    let failed = |finding: &Finding| match finding.level {
        Level::Fail(exit) => Some(Fatal::new(exit, format_args!("{}: {}", finding.subject, finding.what))),
        Level::Ok | Level::Warn => None,
    };
    findings.iter().find_map(failed).map_or(Ok(()), Err)
}

fn sum(findings: &[Finding]) -> String {
    let warnings = findings.iter().filter(|finding| finding.level == Level::Warn).count();
    let failures = findings.iter().filter(|finding| matches!(finding.level, Level::Fail(_))).count();
    let several = |count, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    match (failures, warnings) {
        (0, 0) => "All is well.".to_owned(),
        (0, _) => format!("It works, with {} to look at.", several(warnings, "warning")),
        (_, 0) => format!("{}.", several(failures, "failure")),
        _ => format!("{} and {}.", several(failures, "failure"), several(warnings, "warning")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_what_to_do_stands_below_it() {
        let finding = Finding::warn("SPOOL_DIR spool", "there is little room").note("free some").note("or wait");
        assert_eq!(finding.text(), "warn  SPOOL_DIR spool: there is little room\n      → free some\n      → or wait\n");
        assert_eq!(Finding::ok("a", "b").text(), "ok    a: b\n");
        assert_eq!(Finding::fail(Exit::Io, "a", "b").text(), "fail  a: b\n");
    }

    #[test]
    fn a_result_becomes_a_finding_that_names_its_subject_once() {
        let failed = |message: &str| Finding::from(("A".to_owned(), Err(Fatal::new(Exit::Io, message))));
        assert_eq!(failed("A: broken"), Finding::fail(Exit::Io, "A", "broken"));
        assert_eq!(failed("broken"), Finding::fail(Exit::Io, "A", "broken"));
        assert_eq!(Finding::from(("A".to_owned(), Ok("fine".to_owned()))), Finding::ok("A", "fine"));
    }

    #[test]
    fn the_first_failure_is_the_end() {
        let (ok, warn) = (Finding::ok("a", "b"), Finding::warn("c", "d"));
        let fails = [Finding::fail(Exit::Unavailable, "e", "f"), Finding::fail(Exit::Io, "g", "h")];
        assert!(report(&[ok.clone(), warn.clone()]).is_ok());
        let fatal = report(&[ok.clone(), fails[0].clone(), fails[1].clone()]).unwrap_err();
        assert_eq!((fatal.exit, fatal.message.as_str()), (Exit::Unavailable, "e: f"));
        for (findings, expected) in [
            (vec![ok.clone()], "All is well."),
            (vec![warn.clone()], "It works, with 1 warning to look at."),
            (vec![warn.clone(), fails[0].clone()], "1 failure and 1 warning."),
            (fails.to_vec(), "2 failures."),
        ] {
            assert_eq!(sum(&findings), expected);
        }
    }
}

//! Which filters the session at the broker may have: what is no longer wanted must be unsubscribed, since a resumed
//! session keeps it.
//!
//! The record names at least what the broker has, up to a limit: filters are written down before SUBSCRIBE, and crossed
//! out after UNSUBACK. That is why SUBSCRIBE is sent for all filters at every connection, recorded or not: a session
//! may have been made anew by a connection that was cut before we heard of it. With Retain Handling 1 (MQTT 5.0
//! §3.8.3.1) it brings no retained message a second time.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

/// The most filters of a record: those of one session and of the lists before it that the broker has not confirmed
/// removed.
const FILTERS_MAX: usize = 1024;

/// The session as the broker knows it, with what was ever asked for in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    broker: String,
    client_id: String,
    filters: Vec<String>,
}

/// The file `subscriptions.json` in the spool's directory.
#[derive(Debug)]
pub struct Subscriptions {
    path: PathBuf,
    record: Option<Record>,
}

impl Subscriptions {
    /// Reads the record. One that cannot be read is as good as none: filters may then stay subscribed.
    pub fn open(spool: &Path) -> Self {
        let path = spool.join("subscriptions.json");
        let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        let record = match read {
            Ok(record) => Some(record),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                warn!(path = %path.display(), %error, "the recorded subscriptions cannot be read: removed filters may stay subscribed");
                None
            }
        };
        Self { path, record }
    }

    /// Whether there was a session with this broker under this client id before.
    pub fn knows(&self, broker: &str, client_id: &str) -> bool {
        self.record.as_ref().is_some_and(|record| record.broker == broker && record.client_id == client_id)
    }

    /// Writes down, before SUBSCRIBE, what this session may have from now on.
    pub fn add(&mut self, broker: &str, client_id: &str, wanted: &[String]) -> io::Result<()> {
        let mut filters = wanted.to_vec();
        if let Some(record) = self.record.as_ref().filter(|_| self.knows(broker, client_id)) {
            filters.extend(record.filters.iter().filter(|filter| !wanted.contains(filter)).cloned());
        }
        filters.truncate(FILTERS_MAX);
        self.write(Record { broker: broker.to_owned(), client_id: client_id.to_owned(), filters })
    }

    /// What the session may have and is no longer wanted.
    pub fn unwanted(&self, wanted: &[String]) -> Vec<String> {
        let recorded = self.record.iter().flat_map(|record| &record.filters);
        recorded.filter(|filter| !wanted.contains(filter)).cloned().collect()
    }

    /// Crosses out, after UNSUBACK, all but what is wanted.
    pub fn keep(&mut self, wanted: &[String]) -> io::Result<()> {
        match self.record.clone() {
            Some(record) => self.write(Record { filters: wanted.to_vec(), ..record }),
            None => Ok(()),
        }
    }

    fn write(&mut self, record: Record) -> io::Result<()> {
        if self.record.as_ref() == Some(&record) {
            return Ok(());
        }
        let draft = self.path.with_extension("new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(&record)?)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        self.record = Some(record);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_was_ever_asked_for_is_unsubscribed_once_it_is_not_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let mut subscriptions = Subscriptions::open(dir.path());
        assert!(!subscriptions.knows("b", "c"));
        subscriptions.add("b", "c", &names(&["x", "y"])).unwrap();
        let mut subscriptions = Subscriptions::open(dir.path());
        assert!(subscriptions.knows("b", "c"));
        subscriptions.add("b", "c", &names(&["y", "z"])).unwrap();
        assert_eq!(Subscriptions::open(dir.path()).unwanted(&names(&["y", "z"])), ["x"]);
        subscriptions.keep(&names(&["y", "z"])).unwrap();
        assert_eq!(Subscriptions::open(dir.path()).unwanted(&names(&["y", "z"])), Vec::<String>::new());
    }

    #[test]
    fn another_session_has_a_record_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut subscriptions = Subscriptions::open(dir.path());
        subscriptions.add("b", "c", &names(&["x"])).unwrap();
        assert!(!subscriptions.knows("b2", "c") && !subscriptions.knows("b", "c2"));
        subscriptions.add("b2", "c", &names(&["y"])).unwrap();
        assert_eq!(subscriptions.unwanted(&names(&["y"])), Vec::<String>::new());
    }

    #[test]
    fn a_record_that_cannot_be_read_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("subscriptions.json"), "{").unwrap();
        let mut subscriptions = Subscriptions::open(dir.path());
        subscriptions.add("b", "c", &names(&["x"])).unwrap();
        assert!(Subscriptions::open(dir.path()).knows("b", "c"));
    }
}

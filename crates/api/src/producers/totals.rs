//! What is said of all producers together, for `/readyz` and `/metrics`.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::warn;

use crate::ingest::Ingest;
use crate::store::{Reader, Totals};

/// How long a reading may hold up an answer, which then tells what was known before.
const TOTALS_TIMEOUT: Duration = Duration::from_secs(1);

/// The totals, read again only when asked for after a ledger has changed, and by one request at a time: under any load
/// of batches and of questions that is one pass over the few rows of `produtores` after another at most. Ingest pays an
/// addition a commit for it.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    ingest: Ingest,
    reader: Reader,
    known: Arc<Known>,
}

#[derive(Debug, Default)]
struct Known {
    reading: tokio::sync::Mutex<()>,
    /// The totals and the version of the ledger that they are at least of.
    totals: std::sync::Mutex<Option<(u64, Totals)>>,
}

impl Ledger {
    pub(crate) fn new(ingest: Ingest, reader: Reader) -> Self {
        Self { ingest, reader, known: Arc::default() }
    }

    /// The totals of now; where the database does not give them in time, those of before. None only before the first.
    pub(crate) async fn totals(&self) -> Option<Totals> {
        match tokio::time::timeout(TOTALS_TIMEOUT, self.refresh()).await {
            Ok(totals) => totals.or_else(|| self.known()),
            Err(_) => self.known(),
        }
    }

    /// What is known without a question to the database.
    pub(crate) fn known(&self) -> Option<Totals> {
        self.last().map(|(_, totals)| totals)
    }

    async fn refresh(&self) -> Option<Totals> {
        let _one_at_a_time = self.known.reading.lock().await;
        // Before the reading: what is committed during it may be in the totals or not, and is read again.
        let version = self.ingest.ledger_version();
        if let Some((_, totals)) = self.last().filter(|(known, _)| *known == version) {
            return Some(totals);
        }
        match self.reader.totals().await {
            Ok(totals) => {
                *self.known.totals.lock().unwrap_or_else(PoisonError::into_inner) = Some((version, totals));
                Some(totals)
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "the ledger cannot be read");
                None
            }
        }
    }

    fn last(&self) -> Option<(u64, Totals)> {
        *self.known.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

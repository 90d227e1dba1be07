//! Retention: what is older than the settings allow is deleted, piece by piece beside the batches.
//!
//! - [`look`]: the task that looks for what is too old, and deletes it
//! - [`trust`]: whether the clock can be believed
//! - [`apply`]: the subcommand `retention apply` and its route, by which an operator confirms
//!
//! Nothing is deleted while the clock is in doubt, and a look deletes at most 5 % of a table: a wrong clock or a
//! wrong setting must not empty the database before somebody has read the log.

pub mod apply;
mod look;
mod trust;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dados::Timestamp;
use serde::{Deserialize, Serialize};
use service::doctor::Finding;
use service::doctor::words::span;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::look::Task;
pub(crate) use self::trust::APART_MAX;
use crate::ingest::Ingest;
use crate::store::retention::Aged;
use crate::store::{Location, Reader};

/// How old rows may become; for ever where none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ages {
    pub(crate) messages: Option<Duration>,
    pub(crate) readings: Option<Duration>,
    pub(crate) minutes: Option<Duration>,
    pub(crate) hours: Option<Duration>,
}

impl Ages {
    fn of(self, aged: Aged) -> Option<Duration> {
        match aged {
            Aged::Messages => self.messages,
            Aged::Readings => self.readings,
            Aged::Minutes => self.minutes,
            Aged::Hours => self.hours,
        }
    }

    /// Whether anything is ever deleted.
    pub(crate) fn is_any(self) -> bool {
        self != Self::default()
    }
}

/// What goes when, for `check`.
pub(crate) fn in_words(ages: Ages) -> Finding {
    let all = [
        (ages.messages, "messages"),
        (ages.readings, "readings"),
        (ages.minutes, "readings by minute"),
        (ages.hours, "readings by hour"),
    ];
    let gone: Vec<_> =
        all.iter().filter_map(|(age, of)| Some(format!("{of} after {}", span((*age)?.as_secs_f64())))).collect();
    let what = match gone.is_empty() {
        true => "nothing is ever deleted".to_owned(),
        false => format!("deleted are {}; the rest stays", gone.join(", ")),
    };
    Finding::ok("retention", what)
}

/// What `/readyz` tells of retention.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Retencao)]
pub(crate) struct State {
    /// Rows deleted since the start.
    pub(crate) apagadas: u64,
    /// Rows that are too old and are kept for now; the log says why.
    pub(crate) em_espera: u64,
    /// How often an operator has confirmed since the start (`ponte-api retention apply`).
    pub(crate) aplicadas: u64,
}

/// What others see of retention, and tell it.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    ages: Ages,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    deleted: AtomicU64,
    applied: AtomicU64,
    /// By table, as of the last look.
    kept: Mutex<[u64; Aged::ALL.len()]>,
    is_confirmed: AtomicBool,
    confirmed: Notify,
}

impl Retention {
    pub(crate) fn new(ages: Ages) -> Self {
        Self { ages, shared: Arc::default() }
    }

    /// None where nothing is ever deleted.
    pub(crate) fn state(&self) -> Option<State> {
        let Shared { deleted, applied, kept, .. } = &*self.shared;
        let em_espera = kept.lock().expect("no holder panics").iter().sum();
        let state =
            State { apagadas: deleted.load(Ordering::Relaxed), em_espera, aplicadas: applied.load(Ordering::Relaxed) };
        self.ages.is_any().then_some(state)
    }

    /// An operator confirms: all that is too old by the clock goes now.
    pub(crate) fn confirm(&self) {
        self.shared.is_confirmed.store(true, Ordering::Relaxed);
        self.shared.confirmed.notify_one();
    }

    /// Looks again and again until the writer ends.
    pub(crate) async fn run(
        self,
        file_time: Option<Timestamp>,
        ingest: Ingest,
        reader: Reader,
        closing: CancellationToken,
    ) {
        if !self.ages.is_any() {
            closing.cancelled().await;
            return;
        }
        let task = Task::new(self, ingest, reader);
        closing.run_until_cancelled(task.run(file_time)).await;
    }
}

/// When the files of the database were written last, by our clock at that time: to be asked before it is opened. None
/// where it is new.
pub(crate) fn file_time(location: &Location) -> Option<Timestamp> {
    let times = location.files().into_iter().take(2).filter_map(|path| {
        let metadata = std::fs::metadata(path).ok().filter(|metadata| metadata.len() > 0)?;
        let since_epoch = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_ms(i64::try_from(since_epoch.as_millis()).ok()?).ok()
    });
    times.max()
}

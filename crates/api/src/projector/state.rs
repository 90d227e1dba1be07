//! How far the projector has come, and the order to begin anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::store::projection::Projected;

/// What others see of the projector, and tell it.
#[derive(Clone, Debug)]
pub(crate) struct Projection {
    shared: Arc<Shared>,
    newest: watch::Receiver<i64>,
}

/// How far readings, lists and charts are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Lag {
    /// Messages that are stored and not in them yet.
    pub(crate) atraso: u64,
    /// Messages that `reproject` has still to go through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) refazendo: Option<u64>,
    /// How often all was made anew since the start.
    pub(crate) refeitas: u64,
    /// Readings left out since the start, since their topics have too many fields, or too many new ones in a minute.
    #[serde(default)]
    pub(crate) omitidas: u64,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    current_id: AtomicI64,
    /// -1 where nothing is made anew.
    next_id: AtomicI64,
    pub(super) rebuilt: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) rebuild: Notify,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { next_id: AtomicI64::new(-1), ..Self::default() }
    }

    pub(super) fn tell(&self, at: &Projected) {
        self.current_id.store(at.current.last_id, Ordering::Relaxed);
        self.next_id.store(at.next.as_ref().map_or(-1, |next| next.at.last_id), Ordering::Relaxed);
    }
}

impl Projection {
    pub(super) fn new(shared: Arc<Shared>, newest: watch::Receiver<i64>) -> Self {
        Self { shared, newest }
    }

    /// Messages that are stored and not taken up yet, by ids.
    pub(crate) fn lag(&self) -> u64 {
        self.behind(self.shared.current_id.load(Ordering::Relaxed))
    }

    /// Messages that what is made anew has not taken up yet; none where nothing is.
    pub(crate) fn rebuild_lag(&self) -> Option<u64> {
        let id = self.shared.next_id.load(Ordering::Relaxed);
        (id >= 0).then(|| self.behind(id))
    }

    pub(crate) fn state(&self) -> Lag {
        let refeitas = self.shared.rebuilt.load(Ordering::Relaxed);
        let omitidas = self.shared.refused.load(Ordering::Relaxed);
        Lag { atraso: self.lag(), refazendo: self.rebuild_lag(), refeitas, omitidas }
    }

    /// Has all projections made anew, unless they are already.
    pub(crate) fn rebuild(&self) {
        self.shared.rebuild.notify_one();
    }

    fn behind(&self, id: i64) -> u64 {
        self.newest.borrow().saturating_sub(id).max(0).unsigned_abs()
    }
}

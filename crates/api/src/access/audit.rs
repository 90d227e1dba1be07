//! A log line for each refused access, as long as there are not too many: a flood of refusals must not fill the disk.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::Method;
use service::shown;
use tracing::warn;
use uuid::Uuid;

use super::rate::{Limiter, Rate};
use crate::store::Denial;

/// So many lines at once, then one every second: 17 MB a day at most.
const LINES: Rate = Rate::new(1, Duration::from_secs(1), 50);
/// Bytes of a path that are logged.
const PATH_BYTES_MAX: usize = 200;

/// Who was refused what, and why.
#[derive(Clone, Debug)]
pub(crate) struct Refusal<'a> {
    /// The token's name, where it is one of ours.
    pub(crate) token: Option<Arc<str>>,
    pub(crate) address: IpAddr,
    pub(crate) method: &'a Method,
    /// Without its query, which may hold a user's data.
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) why: &'a str,
}

/// The lines, and how many were left out since the last one.
#[derive(Debug)]
pub(crate) struct Audit {
    lines: Limiter<()>,
    left_out: AtomicU64,
}

impl Audit {
    pub(crate) fn new() -> Self {
        Self { lines: Limiter::new(LINES), left_out: AtomicU64::new(0) }
    }

    pub(crate) fn refused(&self, refusal: &Refusal<'_>, now: Instant) {
        let Some(left_out) = self.due(now) else { return };
        let Refusal { token, address, method, path, status, why } = refusal;
        let address = address.to_string();
        let token = token.as_deref().unwrap_or("none");
        let path = &path[..path.floor_char_boundary(PATH_BYTES_MAX)];
        let (method, why) = (shown(method), shown(why));
        warn!(target: "audit", token, address, method, path, status, why, left_out, "access refused");
    }

    /// A producer that is not this sender's to use.
    pub(crate) fn denied(&self, token: Option<&str>, producer: Uuid, denial: Denial, now: Instant) {
        let Some(left_out) = self.due(now) else { return };
        let token = token.unwrap_or("none");
        warn!(target: "audit", token, %producer, why = %denial, left_out, "access refused");
    }

    /// How many lines were left out before this one; none where this is left out too.
    fn due(&self, now: Instant) -> Option<u64> {
        if self.lines.take((), now).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let audit = Audit::new();
        let now = Instant::now();
        let written = (0..10_000).filter(|_| audit.due(now).is_some()).count();
        assert_eq!(written, 50);
        assert_eq!(audit.due(now + Duration::from_secs(2)), Some(9_950));
        assert_eq!(audit.due(now + Duration::from_secs(4)), Some(0));
    }
}

//! How each producer was at its last report, in memory alone: it is of no use once it is old.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dados::{Estado, Produtor, Timestamp};
use uuid::Uuid;

use crate::store::Report;

/// Producers of which it is kept: more than anybody has. Of further ones it is not known.
const PRODUCERS_MAX: usize = 1_000;
/// A report that repeats the last one is written to the database this often: a heartbeat every ten seconds would cost
/// an idle machine's disk a sync each.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// What one producer has said.
#[derive(Debug)]
struct Known {
    estado: Option<Estado>,
    seen: Option<Timestamp>,
    /// The report that the database has, and when it was written.
    written: Report,
    written_at: Instant,
}

/// What producers have said since the start.
#[derive(Debug, Default)]
pub(crate) struct Vitals(Mutex<HashMap<Uuid, Known>>);

impl Vitals {
    /// Whether the database has this report already, written less than a minute ago: then `heard` is enough.
    pub(crate) fn is_written(&self, report: &Report) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&report.uuid).is_some_and(|it| it.written == *report && it.written_at.elapsed() < WRITE_EVERY)
    }

    /// Takes a report that was written to the database.
    pub(crate) fn written(&self, report: Report, estado: Option<Estado>, seen: Option<Timestamp>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < PRODUCERS_MAX || known.contains_key(&report.uuid) {
            let written_at = Instant::now();
            known.insert(report.uuid, Known { estado, seen, written: report, written_at });
        }
    }

    /// Takes a report whose numbers the database has already.
    pub(crate) fn heard(&self, producer: Uuid, estado: Option<Estado>, now: Timestamp) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(it) = known.get_mut(&producer) {
            (it.estado, it.seen) = (estado, Some(now));
        }
    }

    /// A ledger with what is known of its producer.
    pub(crate) fn of(&self, ledger: Produtor) -> Produtor {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&ledger.produtor) {
            Some(it) => Produtor { estado: it.estado.clone(), visto_em: ledger.visto_em.max(it.seen), ..ledger },
            None => ledger,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(uuid: u128, received: i64) -> Report {
        Report { uuid: Uuid::from_u128(uuid), received, confirmed: 0, quarantined: 0, damaged: 0, name: None }
    }

    #[test]
    fn producers_are_bounded_and_the_known_ones_are_heard() {
        let (vitals, now) = (Vitals::default(), Timestamp::now());
        for number in 0..=PRODUCERS_MAX as u128 {
            vitals.written(report(number, 1), Some(Estado::default()), Some(now));
        }
        assert_eq!(vitals.0.lock().unwrap().len(), PRODUCERS_MAX);
        assert!(!vitals.is_written(&report(PRODUCERS_MAX as u128, 1)));
        vitals.heard(Uuid::nil(), Some(Estado { conectado: true, ..Estado::default() }), now);
        assert!(vitals.0.lock().unwrap()[&Uuid::nil()].estado.as_ref().unwrap().conectado);
        vitals.heard(Uuid::nil(), None, now);
        assert_eq!(vitals.0.lock().unwrap()[&Uuid::nil()].estado, None);
    }

    #[test]
    fn a_report_is_written_again_when_it_says_something_new_or_a_minute_has_passed() {
        let vitals = Vitals::default();
        assert!(!vitals.is_written(&report(1, 5)));
        vitals.written(report(1, 5), None, None);
        assert!(vitals.is_written(&report(1, 5)));
        assert!(!vitals.is_written(&report(1, 6)));
        vitals.0.lock().unwrap().get_mut(&Uuid::from_u128(1)).unwrap().written_at -= WRITE_EVERY;
        assert!(!vitals.is_written(&report(1, 5)));
    }
}

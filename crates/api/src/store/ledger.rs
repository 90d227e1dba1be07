//! What is kept of a producer, and what follows from it.

use dados::{Produtor, Timestamp};
use serde::Serialize;
use uuid::Uuid;

/// What a producer reports of itself; valid, and no number is negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) uuid: Uuid,
    pub(crate) received: i64,
    pub(crate) confirmed: i64,
    pub(crate) quarantined: i64,
    pub(crate) damaged: i64,
    /// Where absent, the name before stays.
    pub(crate) name: Option<String>,
}

/// Where a list of producers goes on: behind one that was heard of at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// None for those that nobody knows the moment of: they come last.
    pub(crate) last_seen: Option<Timestamp>,
    pub(crate) id: i64,
}

/// Some of the producers.
#[derive(Debug)]
pub(crate) struct ProducerPage {
    pub(crate) producers: Vec<Kept>,
    /// Where the next page begins; none after the last.
    pub(crate) next_after: Option<Place>,
}

/// One producer as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: i64,
    pub(crate) uuid: Uuid,
    pub(crate) name: Option<String>,
    /// Whose it is: the name of a token.
    pub(crate) token: Option<String>,
    pub(crate) last_sequence: i64,
    pub(crate) received: i64,
    pub(crate) confirmed: i64,
    pub(crate) stored: i64,
    pub(crate) quarantined: i64,
    pub(crate) damaged: i64,
    pub(crate) first_seen: Option<Timestamp>,
    pub(crate) last_seen: Option<Timestamp>,
}

/// What is said of all producers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Totals {
    /// Producers.
    pub(crate) total: u64,
    /// Messages that are missing, over all producers that miss some.
    pub(crate) faltando: u64,
    /// Producers whose sums do not come out even.
    pub(crate) com_diferenca: u64,
}

impl Kept {
    /// Up to this sequence nothing waits: the producer's word, or a stored row that says more.
    fn accounted(&self) -> i64 {
        self.last_sequence.max(self.confirmed)
    }

    /// Above zero: messages that are neither stored nor in quarantine nor damaged; below: rows that came in twice.
    pub(super) fn missing(&self) -> i64 {
        // Each is at most an i64, their sum need not be: a client may report any number.
        let found = i128::from(self.stored) + i128::from(self.quarantined) + i128::from(self.damaged);
        let missing = i128::from(self.accounted()) - found;
        missing.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// The wire's form, with what is derived.
    pub(crate) fn ledger(self) -> Produtor {
        let (accounted, missing) = (self.accounted(), self.missing());
        // A report is older than the rows that came after it.
        let received = self.received.max(accounted);
        let count = |number: i64| number.try_into().unwrap_or(0);
        Produtor {
            produtor: self.uuid,
            nome: self.name,
            token: self.token,
            recebidas: count(received),
            armazenadas: count(self.stored),
            quarentena: count(self.quarantined),
            danificadas: count(self.damaged),
            esperando: count(received - accounted),
            faltando: missing,
            ultima_sequencia: count(self.last_sequence),
            primeira_vez: self.first_seen,
            visto_em: self.last_seen,
            estado: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(last_sequence: i64, received: i64, confirmed: i64, found: [i64; 3]) -> Kept {
        let [stored, quarantined, damaged] = found;
        let (name, token, first_seen, last_seen) = (None, None, None, None);
        let (id, uuid) = (1, Uuid::nil());
        Kept {
            id,
            uuid,
            name,
            token,
            last_sequence,
            received,
            confirmed,
            stored,
            quarantined,
            damaged,
            first_seen,
            last_seen,
        }
    }

    #[test]
    fn the_sums_follow_from_what_is_kept() {
        for (what, kept, (received, waiting, missing)) in [
            ("nothing yet", kept(0, 0, 0, [0, 0, 0]), (0, 0, 0)),
            ("rows, and no report", kept(10, 0, 0, [10, 0, 0]), (10, 0, 0)),
            ("the rest waits", kept(10, 15, 10, [10, 0, 0]), (15, 5, 0)),
            ("rows after the report", kept(20, 15, 10, [20, 0, 0]), (20, 0, 0)),
            ("the last one is in quarantine", kept(9, 10, 10, [9, 1, 0]), (10, 0, 0)),
            ("a gap that no report explains yet", kept(10, 8, 8, [9, 0, 0]), (10, 0, 1)),
            ("quarantined and damaged", kept(10, 12, 10, [7, 2, 1]), (12, 2, 0)),
            ("an older copy, before new rows", kept(10, 25, 20, [10, 0, 0]), (25, 5, 10)),
            ("an older copy, after new rows", kept(25, 25, 20, [15, 0, 0]), (25, 0, 10)),
            ("rows came in twice", kept(10, 10, 10, [12, 0, 0]), (10, 0, -2)),
        ] {
            let produtor = kept.ledger();
            assert_eq!(
                (produtor.recebidas, produtor.esperando, produtor.faltando),
                (received, waiting, missing),
                "{what}"
            );
            let sum = [produtor.armazenadas, produtor.quarentena, produtor.danificadas, produtor.esperando];
            assert_eq!(sum.iter().sum::<u64>() as i64 + produtor.faltando, produtor.recebidas as i64, "{what}");
        }
    }

    #[test]
    fn no_number_is_too_large() {
        assert_eq!(kept(0, i64::MAX, i64::MAX, [0, 0, 0]).ledger().faltando, i64::MAX);
        assert_eq!(kept(0, 0, 0, [i64::MAX; 3]).ledger().faltando, i64::MIN);
        assert_eq!(kept(0, i64::MAX, 0, [0, 0, 0]).ledger().esperando, i64::MAX as u64);
    }
}

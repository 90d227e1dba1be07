//! The rows of the newest commits, for whoever follows new rows: as long as they keep up, nothing is read again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::{Outcome, Row};

/// What all kept rows may have in memory, and those of one request; beyond it they are in the database alone.
const BYTES_MAX: usize = 4 << 20;
const PIECE_BYTES_MAX: usize = 1 << 20;

/// Rows with one id after the other.
#[derive(Debug)]
pub(crate) struct Piece {
    first_id: i64,
    pub(crate) rows: Vec<Row>,
    bytes: usize,
}

impl Piece {
    fn new(first_id: i64, rows: Vec<Row>) -> Self {
        let bytes = rows.iter().map(|row| Row::BYTES + row.text_bytes()).sum();
        Self { first_id, rows, bytes }
    }

    /// The id of its last row.
    fn last_id(&self) -> i64 {
        self.first_id + self.rows.len() as i64 - 1
    }
}

/// What is known of the rows after some id.
#[derive(Debug)]
pub(crate) enum Taken {
    /// They are these, and no longer kept.
    Rows(Vec<Piece>),
    /// Nothing, up to this id at least.
    Unknown { until: i64 },
}

/// Rows that were committed and not taken yet, without a gap; none while nobody wants them.
#[derive(Debug, Default)]
pub(crate) struct Fresh(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    is_wanted: bool,
    pieces: VecDeque<Piece>,
    bytes: usize,
}

impl Fresh {
    /// Whether somebody follows.
    pub(crate) fn want(&self, is_wanted: bool) {
        let mut kept = self.lock();
        kept.is_wanted = is_wanted;
        if !is_wanted {
            kept.clear();
        }
    }

    /// The rows of one transaction, each batch with what became of it, before anyone is told of its newest id. Nothing
    /// is taken out of `batches` while nobody follows.
    pub(super) fn stored(&self, batches: impl Iterator<Item = (Outcome, Vec<Row>)>) {
        let mut kept = self.lock();
        if !kept.is_wanted {
            return;
        }
        for (outcome, rows) in batches {
            // Of a batch that had been stored in part the ids are not told row by row.
            if let Outcome::Stored { first_id, inserted, duplicates: 0 } = outcome
                && inserted == rows.len() as u64
                && inserted > 0
            {
                kept.push(Piece::new(first_id, rows));
            }
        }
    }

    /// The rows after one id and up to another, at least those of a request, and then no more than so many and of so
    /// many bytes of text.
    pub(crate) fn take(&self, (after, until): (i64, i64), rows_max: usize, bytes_max: usize) -> Taken {
        self.lock().take((after, until), rows_max, bytes_max)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push(&mut self, piece: Piece) {
        // Another program has stored rows between, or deleted the newest; or what came between was too large.
        if self.pieces.back().is_some_and(|last| last.last_id() + 1 != piece.first_id) {
            self.clear();
        }
        if piece.bytes > PIECE_BYTES_MAX {
            return;
        }
        self.bytes += piece.bytes;
        self.pieces.push_back(piece);
        while self.bytes > BYTES_MAX {
            self.pop();
        }
    }

    fn take(&mut self, (after, until): (i64, i64), rows_max: usize, bytes_max: usize) -> Taken {
        while self.pieces.front().is_some_and(|piece| piece.last_id() <= after) {
            self.pop();
        }
        match self.pieces.front_mut() {
            None => return Taken::Unknown { until },
            Some(first) if first.first_id > after + 1 => {
                return Taken::Unknown { until: until.min(first.first_id - 1) };
            }
            Some(first) => {
                let had = (after + 1 - first.first_id) as usize;
                first.rows.drain(..had);
                first.first_id = after + 1;
            }
        }
        let (mut taken, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while let Some(piece) = self.pieces.front()
            && piece.last_id() <= until
        {
            (rows, bytes) = (rows + piece.rows.len(), bytes + piece.bytes);
            if !taken.is_empty() && (rows > rows_max || bytes > bytes_max) {
                break;
            }
            taken.extend(self.pop());
        }
        if taken.is_empty() { Taken::Unknown { until } } else { Taken::Rows(taken) }
    }

    fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front();
        self.bytes -= piece.as_ref().map_or(0, |piece| piece.bytes);
        piece
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, bytes: usize) -> Vec<Row> {
        let valor = "0".repeat(bytes).into();
        let (timestamp, none) = ("".into(), None);
        let row = Row {
            valor,
            timestamp,
            topico: None,
            qos: None,
            retido: none,
            dup: none,
            formato: None,
            hora_corrigida: none,
        };
        vec![row; count]
    }

    fn stored(first_id: i64, count: usize) -> (Outcome, Vec<Row>) {
        (Outcome::Stored { first_id, inserted: count as u64, duplicates: 0 }, rows(count, 1))
    }

    fn wanted() -> Fresh {
        let fresh = Fresh::default();
        fresh.want(true);
        fresh
    }

    /// First and last id of each piece; what is unknown where it is none.
    fn taken(fresh: &Fresh, span: (i64, i64), rows_max: usize) -> Result<Vec<(i64, i64)>, i64> {
        match fresh.take(span, rows_max, usize::MAX) {
            Taken::Rows(pieces) => Ok(pieces.iter().map(|piece| (piece.first_id, piece.last_id())).collect()),
            Taken::Unknown { until } => Err(until),
        }
    }

    #[test]
    fn rows_are_taken_once_and_in_order() {
        let fresh = wanted();
        fresh.stored([stored(11, 2), stored(13, 1), stored(14, 3)].into_iter());
        assert_eq!(taken(&fresh, (10, 16), 3), Ok(vec![(11, 12), (13, 13)]));
        assert_eq!(taken(&fresh, (14, 16), 1), Ok(vec![(15, 16)]), "one request's, and what was had left out");
        assert_eq!(taken(&fresh, (16, 20), 9), Err(20));
        assert_eq!(fresh.lock().bytes, 0);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let fresh = wanted();
        fresh.stored([stored(11, 2)].into_iter());
        assert_eq!(taken(&fresh, (8, 12), 9), Err(10), "rows of another program before it");
        assert_eq!(taken(&fresh, (10, 11), 9), Err(11), "nobody has been told of the last one");
        fresh.stored([stored(14, 1)].into_iter());
        assert_eq!(taken(&fresh, (10, 14), 9), Err(13), "or between");
        fresh.stored([stored(12, 2)].into_iter());
        assert_eq!(taken(&fresh, (11, 13), 9), Ok(vec![(12, 13)]), "the ids have gone back");
    }

    #[test]
    fn batches_that_were_there_in_part_or_again_are_not_kept() {
        let fresh = wanted();
        let again = Outcome::Replayed { first_id: 11, inserted: 2 };
        let in_part = Outcome::Stored { first_id: 11, inserted: 1, duplicates: 1 };
        let not_at_all = Outcome::Stored { first_id: 0, inserted: 0, duplicates: 0 };
        fresh.stored([(again, rows(2, 1)), (in_part, rows(2, 1)), (not_at_all, Vec::new())].into_iter());
        assert_eq!(taken(&fresh, (10, 12), 9), Err(12));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let fresh = wanted();
        let of = |id: i64, bytes| (Outcome::Stored { first_id: id, inserted: 1, duplicates: 0 }, rows(1, bytes));
        fresh.stored([of(11, PIECE_BYTES_MAX), stored(12, 1)].into_iter());
        assert_eq!(taken(&fresh, (10, 12), 9), Err(11), "too large");
        fresh.stored((13..=33).map(|id| of(id, PIECE_BYTES_MAX / 2)));
        assert!(fresh.lock().bytes <= BYTES_MAX);
        let Err(until) = taken(&fresh, (12, 33), 9) else { panic!("more is kept than may be") };
        assert!((25..33).contains(&until), "{until}");
        assert_eq!(taken(&fresh, (until, 33), 1), Ok(vec![(until + 1, until + 1)]));
        fresh.want(false);
        assert_eq!(fresh.lock().bytes, 0);
        fresh.stored([stored(34, 1)].into_iter());
        assert_eq!(taken(&fresh, (33, 34), 9), Err(34), "nobody wants it");
    }
}

//! How often readers are given something under load, and how much: what they cost stays a small share of the
//! processors' time.

use std::time::{Duration, Instant};

/// Between two chunks at least: commits may be a thousand a second, and rows that come at once are cheaper together.
const GAP_MIN: Duration = Duration::from_millis(25);
/// For each reader that was woken: ten times what it takes to wake it and to write to it.
const READER_GAP: Duration = Duration::from_micros(100);
/// For each kibibyte that readers took of the chunk before: an eighth of a gibibyte a second for all of them.
const KIBIBYTE_GAP: Duration = Duration::from_micros(8);
/// Rows are read and encoded for so small a part of one processor's time: one in so many, and one more.
const READ_REST: u32 = 4;
/// Bytes of text of a chunk.
const CHUNK_BYTES_MAX: usize = 2 << 20;
/// What those who want everything are given of a chunk between them: more at once would be paid for later, and they
/// would hear nothing for seconds. Nor has it less than a part for each, since to wake them has its price too.
const BURST_BYTES_MAX: usize = 256 << 20;
const BURST_PART_BYTES: usize = 64 << 10;

/// How large a chunk may be that so many wait for.
pub(super) fn chunk_bytes_max(readers: usize) -> usize {
    (BURST_BYTES_MAX / readers.max(1)).clamp(BURST_PART_BYTES, CHUNK_BYTES_MAX)
}

/// What a chunk cost us, before anyone took it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// How long it was in the making.
    pub(super) took: Duration,
    /// The readers that it woke.
    pub(super) woken: usize,
}

/// When the last chunk was published, and what it cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    published: Instant,
    cost: Cost,
    /// What readers had taken by then.
    delivered: u64,
}

impl Pace {
    /// A chunk was published at this moment; `delivered` bytes had been taken before.
    pub(super) fn published(now: Instant, cost: Cost, delivered: u64) -> Self {
        Self { published: now, cost, delivered }
    }

    /// When the next may be begun. With nothing to do, that moment has passed: a single row goes at once.
    pub(super) fn due(&self, delivered: u64) -> Instant {
        let kibibytes = u32::try_from(delivered.saturating_sub(self.delivered) >> 10).unwrap_or(u32::MAX);
        let woken = u32::try_from(self.cost.woken).unwrap_or(u32::MAX);
        let gap = GAP_MIN.max(READER_GAP.saturating_mul(woken));
        self.published + gap + KIBIBYTE_GAP.saturating_mul(kibibytes) + self.cost.took.saturating_mul(READ_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_grows_with_what_readers_cost() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let gap = |took, woken, bytes: u64| Pace::published(now, Cost { took, woken }, 7).due(7 + bytes) - now;
        assert_eq!(gap(Duration::ZERO, 1, 0), GAP_MIN);
        assert_eq!(gap(Duration::ZERO, 1_000, 0), ms(100));
        assert_eq!(gap(ms(2), 1_000, 0), ms(108));
        assert_eq!(gap(ms(2), 1_000, 250 << 20), ms(108 + 2_048));
    }

    #[test]
    fn a_chunk_that_many_wait_for_is_smaller() {
        for (readers, bytes) in [(0, 2 << 20), (100, 2 << 20), (1_024, 256 << 10), (100_000, 64 << 10)] {
            assert_eq!(chunk_bytes_max(readers), bytes, "{readers}");
        }
    }
}

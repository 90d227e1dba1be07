//! Whether somebody else has been at work under our name: another copy of this spool, that was put back or runs on a cloned
//! machine, or a client that took the name.
//!
//! The API skips what it takes for a repetition. Two copies that go on from one point give the same sequences to
//! different messages, so the messages of one of them would be lost in silence. Both signs of it are decided here; the
//! remedy is a new name. What was told to be a repetition and may have been sent is looked up at the API.

use crate::spool::Progress;

/// At the first contact: whether the API knows newer messages under our name than this spool had when it was opened. They
/// were written by the original after the copy was made, or by somebody else.
pub(super) fn is_outdated(progress: &Progress, watermark: u64) -> bool {
    progress.unverified_from > 0 && progress.base + watermark >= progress.unverified_from
}

/// At every answer: the first and the last sequence of those that the API skipped although it does not have them.
///
/// `first` is the batch's first sequence, of which so many from there on are `duplicates`; `stored` is the highest sequence
/// of ours that the API has.
pub(super) fn taken_by_another(first: u64, duplicates: u64, stored: u64) -> Option<(u64, u64)> {
    let skipped_to = first + duplicates - 1;
    (duplicates > 0 && skipped_to > stored).then(|| (first.max(stored + 1), skipped_to))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_copy_is_outdated_when_the_api_is_ahead_of_what_it_had() {
        let progress = |base, unverified_from| Progress {
            producer: Uuid::nil(),
            base,
            acked: base,
            quarantined: 0,
            damaged: 0,
            unverified_from,
        };
        assert!(!is_outdated(&progress(0, 1), 0), "a new spool");
        assert!(!is_outdated(&progress(0, 501), 500), "all that it had is delivered");
        assert!(is_outdated(&progress(0, 501), 501));
        assert!(is_outdated(&progress(100, 501), 401), "under a name that began after 100 messages");
        assert!(!is_outdated(&progress(0, 0), 9_000), "the API has vouched for it");
    }

    #[test]
    fn what_was_never_sent_cannot_be_a_repetition() {
        assert_eq!(taken_by_another(11, 0, 10), None);
        assert_eq!(taken_by_another(11, 5, 15), None, "the answer to the first attempt was lost");
        assert_eq!(taken_by_another(11, 5, 10), Some((11, 15)));
        assert_eq!(taken_by_another(11, 5, 12), Some((13, 15)), "two were sent before");
    }
}

//! Whether rows came in the order in which their messages were published, and in which the broker sent them.

use super::ledger::Ledger;
use super::message::Id;
use super::stored::Stored;

/// Messages of a topic whose first row comes after the first row of one that was published later at the same QoS.
/// MQTT promises no order between one QoS and another.
pub(super) fn against_publishing(ledger: &Ledger, stored: &Stored, topic: usize) -> u64 {
    let mut newest = [0; 3];
    let is_late = |id: &Id| {
        let (row, newest) = (stored.first(*id), &mut newest[usize::from(id.qos())]);
        let is_late = row < *newest;
        *newest = row.max(*newest);
        is_late
    };
    stored_ids(ledger, stored, topic).filter(is_late).count() as u64
}

/// Messages of a topic whose first row comes after that of one which the broker had not yet sent when it sent them for
/// the last time. Which of several sends led to the row nobody knows, so any of them will do.
pub(super) fn against_the_wire(ledger: &Ledger, stored: &Stored, topic: usize) -> Vec<String> {
    let mut rows: Vec<_> = stored_ids(ledger, stored, topic).map(|id| (stored.first(id), id)).collect();
    rows.sort_unstable();
    let mut late = Vec::new();
    let mut newest = [(0, 0); 3];
    for (row, id) in rows {
        let Some((first, last)) = ledger.accounts[topic].sends(id.sequence) else { continue };
        let newest = &mut newest[usize::from(id.qos())];
        if last < newest.0 {
            late.push(format!("{id}: row {row} comes after row {}, which was sent later", newest.1));
        }
        *newest = (*newest).max((first, row));
    }
    late
}

fn stored_ids(ledger: &Ledger, stored: &Stored, topic: usize) -> impl Iterator<Item = Id> {
    let ids = (0..ledger.accounts[topic].issued).map(move |sequence| Id { topic, sequence });
    ids.filter(|id| stored.count(*id) > 0)
}

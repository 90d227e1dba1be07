//! Whether every promise was kept: a pure comparison of what was promised with what is stored.

use super::ledger::Ledger;
use super::message::Id;
use super::order;
use super::stored::Stored;

/// Examples that are kept of the rows' faults, and as many of the messages'.
const EXAMPLES_MAX: usize = 20;

/// What was found; all but the figures that say so must be zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Somebody sent under the subscriber's name: what it sent again comes in another order.
    pub attacked: bool,
    /// Rows in all. A figure.
    pub rows: u64,
    /// Not stored, though the subscriber told the broker that it has it (P1).
    pub missing_acknowledged: u64,
    /// Not stored, though the broker told the publisher that it has it.
    pub missing_confirmed: u64,
    /// Lost by the broker when it was killed, before the subscriber had it. A figure.
    pub lost_by_broker: u64,
    /// Rows that no message explains.
    pub never_issued: u64,
    /// Rows that say what was not sent.
    pub damaged: u64,
    /// QoS 1: rows beyond a message's first one. A figure, where each says so itself.
    pub repeated_qos_1: u64,
    /// QoS 1: rows beyond a message's first one that do not say so.
    pub unmarked: u64,
    /// QoS 2: rows beyond a message's first one that are ours to answer for.
    pub repeated_qos_2: u64,
    /// Rows beyond a message's first one for which the broker sent the message again in a way that it must not
    /// (MQTT 5.0 [MQTT-3.3.1-1], [MQTT-4.3.3-6]), so that nobody could know it. A figure for now.
    pub repeated_by_broker: u64,
    /// Messages whose first row comes after the first row of one that was published later, on the same topic and at the
    /// same QoS. A figure: brokers reorder what they queue.
    pub disordered: u64,
    /// Messages of one topic and QoS whose first row comes before that of another, though the broker had sent them only
    /// after it had sent the other for the last time.
    pub reordered: u64,
    /// Acknowledgements for what was not sent on that connection.
    pub stray_acknowledgements: u64,
    /// Parts of the conversation with the broker that could not be read: the verdict would be worth nothing.
    pub unreadable: u64,
    /// A few of the faults.
    pub examples: Vec<String>,
}

/// Compares.
pub fn judge(ledger: &Ledger, stored: &Stored) -> Verdict {
    let mut verdict = Verdict {
        rows: stored.rows,
        never_issued: stored.never_issued,
        damaged: stored.damaged,
        stray_acknowledgements: ledger.stray_acknowledgements,
        unreadable: ledger.unreadable,
        examples: stored.examples.clone(),
        ..Verdict::default()
    };
    let mut found = Vec::new();
    for id in ledger.ids() {
        let rows = stored.count(id);
        if rows == 0 {
            verdict.miss(ledger, id, &mut found);
            continue;
        }
        verdict.repeat(ledger, stored, id, &mut found);
    }
    for topic in 0..ledger.accounts.len() {
        verdict.disordered += order::against_publishing(ledger, stored, topic);
        let late = order::against_the_wire(ledger, stored, topic);
        verdict.reordered += late.len() as u64;
        found.extend(late);
    }
    found.truncate(EXAMPLES_MAX);
    verdict.examples.extend(found);
    verdict
}

impl Verdict {
    fn miss(&mut self, ledger: &Ledger, id: Id, found: &mut Vec<String>) {
        let account = &ledger.accounts[id.topic];
        let confirmed = account.confirmed.has(id.sequence);
        if account.acknowledged.has(id.sequence) {
            self.missing_acknowledged += 1;
            found.push(format!("{id} (QoS {}) is not stored, though it was acknowledged", id.qos()));
        } else if confirmed && id.sequence < account.at_risk {
            self.lost_by_broker += 1;
        } else if confirmed {
            self.missing_confirmed += 1;
            let sent = if account.sends(id.sequence).is_some() { "sent" } else { "never sent" };
            found.push(format!("{id} (QoS {}) is not stored; the broker has it, and has {sent} it", id.qos()));
        }
    }

    fn repeat(&mut self, ledger: &Ledger, stored: &Stored, id: Id, found: &mut Vec<String>) {
        let excess = stored.count(id) - 1;
        let by_broker = ledger.repeated_by_broker.get(&id).copied().unwrap_or_default();
        let faults = if id.qos() == 1 { stored.unmarked(id) } else { excess };
        let excused = faults.min(by_broker);
        let ours = u64::from(faults - excused);
        self.repeated_by_broker += u64::from(excused);
        if id.qos() == 1 {
            self.repeated_qos_1 += u64::from(excess);
            self.unmarked += ours;
        } else {
            self.repeated_qos_2 += ours;
        }
        if ours > 0 {
            let (qos, first) = (id.qos(), stored.first(id));
            found.push(format!("{id} (QoS {qos}) has {} rows, the first is {first}", excess + 1));
        }
    }

    /// Which promises were broken; none if the run passed.
    pub fn failures(&self) -> Vec<String> {
        let counted = [
            (self.missing_acknowledged, "acknowledged to the broker, but not stored"),
            (self.missing_confirmed, "in the broker, but neither stored nor lost by it"),
            (self.never_issued, "stored, but never issued"),
            (self.damaged, "stored otherwise than sent"),
            (self.repeated_qos_2, "QoS 2 rows too many"),
            (self.unmarked, "repeated QoS 1 rows that do not say so"),
            (if self.attacked { 0 } else { self.reordered }, "stored in another order than the broker sent them"),
            (self.stray_acknowledgements, "acknowledgements for something not sent on that connection"),
            (self.unreadable, "connections that the oracle could not read"),
        ];
        let broken = counted.into_iter().filter(|(count, _)| *count > 0);
        broken.map(|(count, what)| format!("{count} {what}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use dados::Dado;

    use super::super::message::TOPICS;
    use super::*;

    const SEED: u64 = 7;
    const COUNT: u32 = 10;
    /// QoS 1.
    const ONE: Id = Id { topic: 0, sequence: 4 };
    /// QoS 2.
    const TWO: Id = Id { topic: 1, sequence: 4 };

    /// A run in which everything went well: its ledger, and its rows, oldest first.
    fn sound() -> (Ledger, Vec<Dado>) {
        let mut ledger = Ledger::default();
        let mut rows = Vec::new();
        for topic in 0..TOPICS.len() {
            for _ in 0..COUNT {
                let id = ledger.issue(topic);
                let account = ledger.of(id);
                account.confirmed.set(id.sequence, true);
                account.acknowledged.set(id.sequence, true);
                ledger.sent(id);
                rows.push(row(id));
            }
        }
        (ledger, rows)
    }

    fn row(id: Id) -> Dado {
        let payload = id.payload(SEED);
        let (valor, formato) = match String::from_utf8(payload) {
            Ok(text) => (text, None),
            Err(error) => (STANDARD.encode(error.into_bytes()), Some("base64".to_owned())),
        };
        Dado {
            id: 0,
            topico: Some(TOPICS[id.topic].name.to_owned()),
            valor: Some(valor),
            timestamp: None,
            qos: Some(id.qos().into()),
            retido: Some(false),
            dup: Some(false),
            formato,
            hora_corrigida: None,
        }
    }

    fn verdict(ledger: &Ledger, rows: &[Dado]) -> Verdict {
        let mut stored = Stored::new(SEED, ledger);
        for (index, row) in rows.iter().enumerate().rev() {
            stored.take(&Dado { id: index as i64 + 1, ..row.clone() });
        }
        judge(ledger, &stored)
    }

    /// The place of a message's row in a sound run.
    fn place(id: Id) -> usize {
        id.topic * COUNT as usize + id.sequence as usize
    }

    #[test]
    fn a_sound_run_passes() {
        let (ledger, rows) = sound();
        let verdict = verdict(&ledger, &rows);
        assert_eq!(verdict, Verdict { rows: rows.len() as u64, ..Verdict::default() });
        assert_eq!(verdict.failures(), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_told_by_who_had_it() {
        let (mut ledger, mut rows) = sound();
        rows.remove(place(ONE));
        assert_eq!(verdict(&ledger, &rows).missing_acknowledged, 1);
        ledger.of(ONE).acknowledged.set(ONE.sequence, false);
        let found = verdict(&ledger, &rows);
        assert_eq!((found.missing_acknowledged, found.missing_confirmed), (0, 1));
        assert_eq!(found.failures().len(), 1);
        ledger.of(ONE).confirmed.set(ONE.sequence, false);
        assert!(verdict(&ledger, &rows).failures().is_empty(), "nobody was promised it");
    }

    #[test]
    fn a_killed_broker_may_lose_only_what_the_subscriber_had_not() {
        let (mut ledger, mut rows) = sound();
        rows.remove(place(ONE));
        ledger.broker_dies();
        assert_eq!(verdict(&ledger, &rows).missing_acknowledged, 1);
        ledger.of(ONE).acknowledged.set(ONE.sequence, false);
        let found = verdict(&ledger, &rows);
        assert_eq!((found.lost_by_broker, found.failures().len()), (1, 0));
    }

    #[test]
    fn a_changed_row_is_damaged() {
        let (ledger, sound_rows) = sound();
        let change = |change: fn(&mut Dado)| {
            let mut rows = sound_rows.clone();
            change(&mut rows[place(TWO)]);
            verdict(&ledger, &rows)
        };
        assert_eq!(change(|row| row.valor.as_mut().unwrap().push(' ')).damaged, 1);
        assert_eq!(change(|row| row.qos = Some(1)).damaged, 1);
        let nobodys = change(|row| row.valor = Some("x".into()));
        assert_eq!((nobodys.damaged, nobodys.missing_acknowledged), (1, 1));
        let elsewhere = change(|row| row.topico = Some("casa".into()));
        assert_eq!((elsewhere.never_issued, elsewhere.missing_acknowledged), (1, 1));
        assert_eq!(elsewhere.failures().len(), 2);
    }

    #[test]
    fn a_row_that_nobody_sent_is_found() {
        let (ledger, mut rows) = sound();
        rows.push(row(Id { sequence: COUNT, ..ONE }));
        let found = verdict(&ledger, &rows);
        assert_eq!((found.never_issued, found.failures().len()), (1, 1));
    }

    #[test]
    fn at_qos_1_a_repetition_says_so() {
        let (mut ledger, mut rows) = sound();
        rows.push(Dado { dup: Some(true), ..row(ONE) });
        let found = verdict(&ledger, &rows);
        assert_eq!((found.repeated_qos_1, found.unmarked, found.failures().len()), (1, 0, 0));
        rows.push(row(ONE));
        let found = verdict(&ledger, &rows);
        assert_eq!((found.repeated_qos_1, found.unmarked, found.failures().len()), (2, 1, 1));
        ledger.repeated_by_broker.insert(ONE, 1);
        let found = verdict(&ledger, &rows);
        assert_eq!((found.unmarked, found.repeated_by_broker), (0, 1), "the broker did not mark it");
    }

    #[test]
    fn at_qos_2_a_repetition_is_a_fault_marked_or_not() {
        let (mut ledger, mut rows) = sound();
        rows.push(Dado { dup: Some(true), ..row(TWO) });
        assert_eq!(verdict(&ledger, &rows).repeated_qos_2, 1);
        ledger.repeated_by_broker.insert(TWO, 1);
        let found = verdict(&ledger, &rows);
        assert_eq!((found.repeated_qos_2, found.repeated_by_broker, found.failures().len()), (0, 1, 0));
        rows.push(row(TWO));
        assert_eq!(verdict(&ledger, &rows).repeated_qos_2, 1, "one excuse for one row");
    }

    #[test]
    fn order_is_that_of_first_rows() {
        let (ledger, mut rows) = sound();
        rows.push(Dado { dup: Some(true), ..row(ONE) });
        assert_eq!(verdict(&ledger, &rows).disordered, 0, "a repetition changes nothing");
        rows.swap(place(ONE), place(ONE) + 1);
        let found = verdict(&ledger, &rows);
        assert_eq!((found.disordered, found.reordered, found.failures().len()), (1, 1, 1));
        let mut again = ledger.clone();
        again.sent(ONE);
        let found = verdict(&again, &rows);
        assert_eq!((found.disordered, found.reordered), (1, 0), "the broker sent it once more, after the other");
    }

    #[test]
    fn what_the_wire_showed_counts_too() {
        let (mut ledger, rows) = sound();
        (ledger.stray_acknowledgements, ledger.unreadable) = (1, 1);
        assert_eq!(verdict(&ledger, &rows).failures().len(), 2);
    }
}

//! What was promised to whom: a few bits for each message, whoever looks at it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::message::{Id, TOPICS};

/// One ledger for publishers, wire and verdict.
pub type Shared = Arc<Mutex<Ledger>>;

/// A set of small numbers, a bit for each.
#[derive(Clone, Debug, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Whether it is there.
    pub fn has(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Puts it in or takes it out.
    pub fn set(&mut self, number: u32, there: bool) {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if there { self.0[word] |= bit } else { self.0[word] &= !bit }
    }
}

/// What is known of one topic's messages.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// How many were handed to the broker, acknowledged or not.
    pub issued: u32,
    /// How many of them a kill of the broker may have taken.
    pub at_risk: u32,
    /// The broker told the publisher that it has them.
    pub confirmed: Bits,
    /// The subscriber told the broker that it has them.
    pub acknowledged: Bits,
    /// When the broker sent each first and last, counted in messages that it sent in all; zeros where it has not.
    sends: Vec<(u32, u32)>,
}

impl Account {
    /// When the broker sent a message first and last, counted in messages that it sent in all.
    pub fn sends(&self, sequence: u32) -> Option<(u32, u32)> {
        self.sends.get(sequence as usize).copied().filter(|(first, _)| *first > 0)
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// One for each of [`TOPICS`].
    pub accounts: Vec<Account>,
    /// How many messages the broker has sent, repetitions too.
    sent: u32,
    /// How often the broker sent a message again in a way that it must not: unmarked, or at QoS 2 after its PUBREL.
    pub repeated_by_broker: HashMap<Id, u32>,
    /// Acknowledgements for something that the broker had not sent on that connection.
    pub stray_acknowledgements: u64,
    /// Connections on which the broker had forgotten the session.
    pub sessions_lost: u64,
    /// Parts of the conversation that could not be read.
    pub unreadable: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            accounts: vec![Account::default(); TOPICS.len()],
            sent: 0,
            repeated_by_broker: HashMap::new(),
            stray_acknowledgements: 0,
            sessions_lost: 0,
            unreadable: 0,
        }
    }
}

impl Ledger {
    /// The next message of a topic, which counts as handed over from now on.
    pub fn issue(&mut self, topic: usize) -> Id {
        let account = &mut self.accounts[topic];
        account.issued += 1;
        Id { topic, sequence: account.issued - 1 }
    }

    /// The account of a message's topic.
    pub fn of(&mut self, id: Id) -> &mut Account {
        &mut self.accounts[id.topic]
    }

    /// The broker sends a message: whether it did so before.
    pub fn sent(&mut self, id: Id) -> bool {
        self.sent = self.sent.saturating_add(1);
        let (now, sends) = (self.sent, &mut self.accounts[id.topic].sends);
        let place = id.sequence as usize;
        if sends.len() <= place {
            sends.resize(place + 1, (0, 0));
        }
        let was_sent = sends[place].0 > 0;
        sends[place] = (if was_sent { sends[place].0 } else { now }, now);
        was_sent
    }

    /// The broker dies: what it has at this moment may be gone.
    pub fn broker_dies(&mut self) {
        for account in &mut self.accounts {
            account.at_risk = account.issued;
        }
    }

    /// Messages that the subscriber must still get: the broker has them for certain.
    pub fn owed(&self) -> u64 {
        let owed = |account: &Account| {
            let is_owed = |n: &u32| account.confirmed.has(*n) && !account.acknowledged.has(*n);
            (account.at_risk..account.issued).filter(is_owed).count() as u64
        };
        self.accounts.iter().map(owed).sum()
    }

    /// Every message that was handed to the broker.
    pub fn ids(&self) -> impl Iterator<Item = Id> {
        let of = |(topic, account): (usize, &Account)| (0..account.issued).map(move |sequence| Id { topic, sequence });
        self.accounts.iter().enumerate().flat_map(of)
    }
}

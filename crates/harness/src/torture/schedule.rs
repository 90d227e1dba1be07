//! What goes wrong and when: a pure function of a seed.

use std::time::Duration;

use fastrand::Rng;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// kill -9 of the subscriber; started again later.
    KillSubscriber,
    /// kill -9 of the API; started again later.
    KillApi,
    /// kill -9 of the broker, which loses what it had not written.
    KillBroker,
    /// SIGTERM to the subscriber; started again later.
    StopSubscriber,
    /// SIGTERM to the API; started again later.
    StopApi,
    /// SIGTERM to the broker, with nothing under way from the publishers; started again later.
    StopBroker,
    /// SIGSTOP, later SIGCONT.
    FreezeSubscriber,
    /// SIGSTOP, later SIGCONT.
    FreezeApi,
    /// SIGSTOP, later SIGCONT.
    FreezeBroker,
    /// Every connection between broker and subscriber ends.
    CutBroker,
    /// Every connection between subscriber and API ends.
    CutApi,
    /// Connections to the broker stay, but nothing passes.
    HoldBroker,
    /// Connections to the API stay, but nothing passes.
    HoldApi,
    /// The network to the API is slow.
    SlowApi,
    /// The spool's disk is full.
    FillSpool,
    /// The database's disk is full.
    FillDatabase,
    /// Somebody takes the subscriber's name at the API.
    TakeName,
    /// The same while the subscriber is down, by kill -9; started again later.
    TakeNameDown,
}

/// What a fault befalls; two faults never befall the same thing at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The process.
    Subscriber,
    /// The process.
    Api,
    /// The process.
    Broker,
    /// The network between broker and subscriber.
    BrokerLink,
    /// The network between subscriber and API.
    ApiLink,
    /// The spool's disk.
    SpoolDisk,
    /// The database's disk.
    DatabaseDisk,
    /// What the API knows of the subscriber.
    Name,
}

/// Which ways are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// From the subscriber.
    FromSubscriber,
    /// To the subscriber.
    ToSubscriber,
    /// Both.
    Both,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// When it begins, after the start.
    pub at: Duration,
    /// When it is over, after its beginning.
    pub lasts: Duration,
    /// For a network that is held: which ways.
    pub held: Held,
    /// For a network that is held: whether its connections end with it, or go on.
    pub then_cut: bool,
}

/// What may go wrong here.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// The disks are small ones of our own.
    pub full_disks: bool,
    /// The broker may be killed.
    pub broker_kill: bool,
    /// Somebody may take the subscriber's name.
    pub attacks: bool,
}

const KINDS: [Kind; 18] = [
    Kind::KillSubscriber,
    Kind::KillApi,
    Kind::KillBroker,
    Kind::StopSubscriber,
    Kind::StopApi,
    Kind::StopBroker,
    Kind::FreezeSubscriber,
    Kind::FreezeApi,
    Kind::FreezeBroker,
    Kind::CutBroker,
    Kind::CutApi,
    Kind::HoldBroker,
    Kind::HoldApi,
    Kind::SlowApi,
    Kind::FillSpool,
    Kind::FillDatabase,
    Kind::TakeName,
    Kind::TakeNameDown,
];
/// Between the end of one fault and the next.
const PAUSE_MS: std::ops::Range<u64> = 50..1200;
/// How often of 100 the next fault begins before this one is over.
const OVERLAPS_OF_100: u32 = 60;

impl Kind {
    /// For tables and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillSubscriber => "kill -9 subscriber",
            Self::KillApi => "kill -9 API",
            Self::KillBroker => "kill -9 broker",
            Self::StopSubscriber => "restart subscriber",
            Self::StopApi => "restart API",
            Self::StopBroker => "restart broker",
            Self::FreezeSubscriber => "freeze subscriber",
            Self::FreezeApi => "freeze API",
            Self::FreezeBroker => "freeze broker",
            Self::CutBroker => "cut broker link",
            Self::CutApi => "cut API link",
            Self::HoldBroker => "half-open broker link",
            Self::HoldApi => "half-open API link",
            Self::SlowApi => "slow API link",
            Self::FillSpool => "full spool disk",
            Self::FillDatabase => "full database disk",
            Self::TakeName => "take the name",
            Self::TakeNameDown => "take the name, kill -9",
        }
    }

    /// What it befalls.
    pub fn target(self) -> Target {
        match self {
            Self::KillSubscriber | Self::StopSubscriber | Self::FreezeSubscriber | Self::TakeNameDown => {
                Target::Subscriber
            }
            Self::KillApi | Self::StopApi | Self::FreezeApi => Target::Api,
            Self::KillBroker | Self::StopBroker | Self::FreezeBroker => Target::Broker,
            Self::CutBroker | Self::HoldBroker => Target::BrokerLink,
            Self::CutApi | Self::HoldApi | Self::SlowApi => Target::ApiLink,
            Self::FillSpool => Target::SpoolDisk,
            Self::FillDatabase => Target::DatabaseDisk,
            Self::TakeName => Target::Name,
        }
    }

    /// Milliseconds from beginning to end. A link must be held longer than two keep-alives now and then, to be noticed.
    fn lasts_ms(self) -> std::ops::Range<u64> {
        match self {
            Self::CutBroker | Self::CutApi | Self::TakeName => 0..1,
            Self::KillSubscriber | Self::TakeNameDown | Self::KillApi | Self::StopSubscriber | Self::StopApi => 0..2000,
            Self::KillBroker | Self::StopBroker => 0..1500,
            Self::FreezeSubscriber | Self::FreezeApi | Self::FreezeBroker => 1000..6000,
            Self::HoldBroker | Self::HoldApi => 500..13_000,
            Self::SlowApi | Self::FillSpool | Self::FillDatabase => 1000..5000,
        }
    }
}

/// Every fault that begins within `length`, in the order of beginning. Kinds are dealt like cards, so that each comes
/// as often as the others however short a run is.
pub fn schedule(seed: u64, length: Duration, allowed: Allowed) -> Vec<Fault> {
    let mut rng = Rng::with_seed(seed);
    let mut deck = Vec::new();
    let mut faults: Vec<Fault> = Vec::new();
    let mut at = Duration::from_millis(rng.u64(PAUSE_MS));
    loop {
        if deck.is_empty() {
            deck.extend(KINDS.into_iter().filter(|kind| allowed.allow(*kind)));
            rng.shuffle(&mut deck);
        }
        let Some(kind) = deck.pop() else { return faults };
        let is_same = |fault: &&Fault| fault.kind.target() == kind.target();
        let free = faults.iter().filter(is_same).map(|fault| fault.at + fault.lasts).max().unwrap_or_default();
        at = at.max(free);
        if at >= length {
            return faults;
        }
        // The square makes short ones usual, so that much happens in a short run.
        let range = kind.lasts_ms();
        let beyond = (range.end - range.start) as f64 * rng.f64().powi(2);
        let lasts = Duration::from_millis(range.start + beyond as u64);
        let held = [Held::FromSubscriber, Held::ToSubscriber, Held::Both][rng.usize(..3)];
        faults.push(Fault { kind, at, lasts, held, then_cut: rng.bool() });
        let pause = Duration::from_millis(rng.u64(PAUSE_MS));
        at += if rng.u32(..100) < OVERLAPS_OF_100 { pause.min(lasts) } else { lasts + pause };
    }
}

impl Allowed {
    fn allow(self, kind: Kind) -> bool {
        match kind {
            Kind::FillSpool | Kind::FillDatabase => self.full_disks,
            Kind::KillBroker => self.broker_kill,
            Kind::TakeName | Kind::TakeNameDown => self.attacks,
            _ => true,
        }
    }
}

/// A fault's beginning or end, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// It begins.
    Begin(usize),
    /// It is over.
    End(usize),
}

/// Beginnings and ends in the order of time; at the same moment, what was there first ends first.
pub fn edges(faults: &[Fault]) -> Vec<(Duration, Edge)> {
    let mut edges = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        edges.push((fault.at, Edge::Begin(index)));
        edges.push((fault.at + fault.lasts, Edge::End(index)));
    }
    edges.sort_by_key(|&(at, edge)| {
        let (Edge::Begin(index) | Edge::End(index)) = edge;
        (at, index)
    });
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const ALL: Allowed = Allowed { full_disks: true, broker_kill: true, attacks: true };

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        assert_eq!(schedule(7, HOUR, ALL), schedule(7, HOUR, ALL));
        assert_ne!(schedule(7, HOUR, ALL), schedule(8, HOUR, ALL));
        let short = schedule(7, HOUR / 10, ALL);
        assert_eq!(short, schedule(7, HOUR, ALL)[..short.len()], "a longer run begins like a shorter one");
    }

    #[test]
    fn every_kind_comes_and_none_that_is_not_allowed() {
        let kinds = |allowed| schedule(7, HOUR, allowed).iter().map(|fault| fault.kind).collect::<Vec<_>>();
        assert!(KINDS.iter().all(|kind| kinds(ALL).iter().filter(|found| *found == kind).count() > 20));
        let few = kinds(Allowed { full_disks: false, broker_kill: false, attacks: false });
        let disks = [Kind::FillSpool, Kind::FillDatabase];
        let left_out = [disks.as_slice(), &[Kind::KillBroker, Kind::TakeName, Kind::TakeNameDown]].concat();
        assert!(!few.is_empty() && few.iter().all(|kind| !left_out.contains(kind)));
    }

    #[test]
    fn faults_overlap_but_never_on_one_target() {
        let faults = schedule(7, HOUR, ALL);
        let mut overlaps = 0;
        for (index, fault) in faults.iter().enumerate() {
            let later = faults[index + 1..].iter().take_while(|later| later.at < fault.at + fault.lasts);
            for later in later {
                overlaps += 1;
                assert_ne!(fault.kind.target(), later.kind.target(), "{fault:?} {later:?}");
            }
        }
        assert!(overlaps > faults.len() / 10, "{overlaps} of {}", faults.len());
    }

    #[test]
    fn every_fault_begins_and_then_ends() {
        let faults = schedule(7, HOUR / 10, ALL);
        let edges = edges(&faults);
        assert!(edges.is_sorted_by_key(|(at, _)| *at));
        for index in 0..faults.len() {
            let place = |wanted| edges.iter().position(|(_, edge)| *edge == wanted).unwrap();
            assert!(place(Edge::Begin(index)) < place(Edge::End(index)));
        }
    }
}

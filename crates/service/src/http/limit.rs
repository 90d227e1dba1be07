//! How many connections there are, in all and of one address, and which of them ends to make room for a new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often at most a full server says so.
const FULL_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Connections beside all others, on which only health probes are answered.
const PROBES_MAX: usize = 16;
/// One address may have one in so many of all connections, and so many at least.
const ADDRESS_PART: u32 = 4;
const PER_ADDRESS_MIN: u32 = 32;

/// How many connections there may be.
pub struct Limits {
    connections_max: u32,
    per_address_max: u32,
    /// What counts as one address; none where many clients share it.
    address: Box<dyn Fn(IpAddr) -> Option<IpAddr> + Send>,
}

impl Limits {
    /// So many, whatever their addresses.
    pub fn new(connections_max: u32) -> Self {
        Self { connections_max, per_address_max: connections_max, address: Box::new(|_| None) }
    }

    /// Of one address at most so many; a quarter of all where that is not given. `address` says what counts as one, such as
    /// a network of IPv6, and gives none for those of proxies, whose connections are of many clients.
    pub fn per_address(
        self,
        per_address_max: Option<u32>,
        address: impl Fn(IpAddr) -> Option<IpAddr> + Send + 'static,
    ) -> Self {
        let part = (self.connections_max / ADDRESS_PART).max(PER_ADDRESS_MIN);
        let per_address_max = per_address_max.unwrap_or(part).min(self.connections_max);
        Self { per_address_max, address: Box::new(address), ..self }
    }
}

/// What a connection and the server know of each other.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    /// Only health probes are answered on it.
    pub(super) is_for_probes: bool,
    /// Whether it waits for a request: its handshake, or a head that has not come whole.
    is_idle: AtomicBool,
    /// Cancelled when it is to end, if it is idle then.
    pub(super) evicted: CancellationToken,
}

impl Seat {
    pub(super) fn new(id: u64, is_for_probes: bool) -> Self {
        Self { id, is_for_probes, is_idle: AtomicBool::new(true), evicted: CancellationToken::new() }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_idle.load(Ordering::Relaxed)
    }

    pub(super) fn set_idle(&self, is_idle: bool) {
        self.is_idle.store(is_idle, Ordering::Relaxed);
    }
}

/// The connections that there are, by age.
pub(super) struct ConnectionLimit {
    limits: Limits,
    next_id: u64,
    seats: BTreeMap<u64, (Arc<Seat>, Option<IpAddr>)>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
    probes: BTreeMap<u64, Arc<Seat>>,
    /// When it was logged last that there are too many.
    logged: Option<Instant>,
}

impl ConnectionLimit {
    pub(super) fn new(limits: Limits) -> Self {
        let (seats, by_address, probes) = (BTreeMap::new(), HashMap::new(), BTreeMap::new());
        Self { limits, next_id: 0, seats, by_address, probes, logged: None }
    }

    /// A seat for a new connection. Where there are too many, the idle one that is oldest ends: of its address, or of all.
    /// Where all are at work, the new one is for probes; of those the oldest idle one ends too, and none is given where
    /// there is none.
    pub(super) fn admit(&mut self, peer: IpAddr) -> Option<Arc<Seat>> {
        let address = (self.limits.address)(peer.to_canonical());
        let of_address = address.and_then(|address| self.by_address.get(&address));
        let evicted = if of_address.is_some_and(|ids| ids.len() >= self.limits.per_address_max as usize) {
            self.log("too many connections of one address", Some(peer));
            let ids = address.and_then(|address| self.by_address.get(&address)).into_iter().flatten();
            let mut seats = ids.filter_map(|id| self.seats.get(id)).map(|(seat, _)| seat);
            seats.find(|seat| seat.is_idle()).cloned()
        } else if self.seats.len() >= self.limits.connections_max as usize {
            self.log("too many connections", None);
            self.seats.values().map(|(seat, _)| seat).find(|seat| seat.is_idle()).cloned()
        } else {
            return Some(self.seat(address));
        };
        if let Some(evicted) = evicted {
            self.evict(&evicted);
            return Some(self.seat(address));
        }
        if self.probes.len() >= PROBES_MAX {
            let evicted = self.probes.values().find(|seat| seat.is_idle()).cloned()?;
            self.evict(&evicted);
        }
        let seat = Arc::new(Seat::new(self.id(), true));
        self.probes.insert(seat.id, seat.clone());
        Some(seat)
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self, id: u64) {
        self.probes.remove(&id);
        let Some((_, Some(address))) = self.seats.remove(&id) else { return };
        if let Some(ids) = self.by_address.get_mut(&address) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }

    fn seat(&mut self, address: Option<IpAddr>) -> Arc<Seat> {
        let seat = Arc::new(Seat::new(self.id(), false));
        self.seats.insert(seat.id, (seat.clone(), address));
        if let Some(address) = address {
            self.by_address.entry(address).or_default().insert(seat.id);
        }
        seat
    }

    fn evict(&mut self, seat: &Seat) {
        seat.evicted.cancel();
        self.leave(seat.id);
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn log(&mut self, what: &str, peer: Option<IpAddr>) {
        if self.logged.is_none_or(|logged| logged.elapsed() >= FULL_LOG_INTERVAL) {
            let Limits { connections_max, per_address_max, .. } = self.limits;
            let peer = peer.map(tracing::field::display);
            warn!(connections_max, per_address_max, peer, "{what}: the oldest idle ones are closed");
            self.logged = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    /// The addresses below 100 count.
    fn limit(connections_max: u32, per_address_max: Option<u32>) -> ConnectionLimit {
        let is_counted = |ip: IpAddr| (0..100).any(|last| ip == self::ip(last));
        let limits = Limits::new(connections_max);
        ConnectionLimit::new(limits.per_address(per_address_max, move |ip| is_counted(ip).then_some(ip)))
    }

    #[test]
    fn one_address_has_a_quarter_and_some_at_least() {
        for (connections_max, asked, expected) in [
            (1024, None, 256),
            (100, None, 32),
            (8, None, 8),
            (1024, Some(1000), 1000),
            (1024, Some(7), 7),
            (10, Some(20), 10),
        ] {
            let limits = Limits::new(connections_max).per_address(asked, Some);
            assert_eq!(limits.per_address_max, expected, "{connections_max} {asked:?}");
        }
    }

    #[test]
    fn the_oldest_idle_connection_of_an_address_makes_room() {
        let mut limit = limit(100, Some(3));
        let first: Vec<_> = (0..3).map(|_| limit.admit(ip(1)).unwrap()).collect();
        let other = limit.admit(ip(2)).unwrap();
        first[0].set_idle(false);
        let fourth = limit.admit(ip(1)).unwrap();
        let evicted: Vec<bool> = first.iter().map(|seat| seat.evicted.is_cancelled()).collect();
        assert_eq!(
            (evicted, fourth.is_for_probes, other.evicted.is_cancelled()),
            (vec![false, true, false], false, false)
        );
        // While all are at work, there is only room for probes, and others lose nothing.
        [&first[2], &fourth].iter().for_each(|seat| seat.set_idle(false));
        assert!(limit.admit(ip(1)).unwrap().is_for_probes && !limit.admit(ip(2)).unwrap().is_for_probes);
        limit.leave(fourth.id());
        assert!(!limit.admit(ip(1)).unwrap().is_for_probes);
    }

    #[test]
    fn an_address_of_many_clients_may_have_all() {
        let mut limit = limit(5, Some(1));
        let all: Vec<_> = (0..5).map(|_| limit.admit(ip(100)).unwrap()).collect();
        assert!(all.iter().all(|seat| !seat.is_for_probes && !seat.evicted.is_cancelled()));
        assert!(!limit.admit(ip(1)).unwrap().is_for_probes && all[0].evicted.is_cancelled());
    }

    #[test]
    fn probes_have_a_few_of_their_own() {
        let mut limit = limit(1, None);
        let only = limit.admit(ip(1)).unwrap();
        only.set_idle(false);
        let probes: Vec<_> = (0..PROBES_MAX).map(|_| limit.admit(ip(2)).unwrap()).collect();
        assert!(probes.iter().all(|seat| seat.is_for_probes));
        // One that says nothing makes room for one that may.
        let next = limit.admit(ip(3)).unwrap();
        assert!(next.is_for_probes && probes[0].evicted.is_cancelled() && !only.evicted.is_cancelled());
        probes.iter().chain([&next]).for_each(|seat| seat.set_idle(false));
        assert!(limit.admit(ip(3)).is_none());
        limit.leave(next.id());
        limit.leave(only.id());
        assert!(!limit.admit(ip(3)).unwrap().is_for_probes);
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let mut limit = limit(3, None);
        for last in 0..50 {
            let seat = limit.admit(ip(last)).unwrap();
            limit.leave(seat.id());
        }
        assert!(limit.seats.is_empty() && limit.by_address.is_empty() && limit.probes.is_empty());
    }
}

//! Leases and pings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often a peer is asked whether it is alive.
const PING_EVERY: Duration = Duration::from_millis(400);
/// OPTIONS in a row that a dead node has not answered.
const SILENT_PINGS: u32 = 3;
/// What was read of the leases counts for so long.
const FRESH: Duration = Duration::from_secs(1);

/// Another run of a node, as its lease tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub id: i64,
    pub node: String,
    /// Where it answers OPTIONS; `None` = nowhere, and its lease alone speaks for it.
    pub address: Option<SocketAddr>,
    pub region: Option<String>,
    pub is_draining: bool,
    /// How old its lease was when it was read.
    pub lease_age: Duration,
}

#[derive(Debug)]
struct Known {
    peer: Peer,
    /// Since the last answer, or since it is known.
    silent_pings: u32,
    pinged_at: Option<Instant>,
    answered_at: Option<Instant>,
}

/// What one node knows of the others.
#[derive(Debug)]
pub struct Membership {
    /// Our own node's name: an earlier run of it is dead, for its place is taken.
    node: String,
    lease_limit: Duration,
    peers: BTreeMap<i64, Known>,
    read_at: Option<Instant>,
}

impl Membership {
    /// A lease that was not renewed for `lease_limit` is lost.
    pub fn new(node: String, lease_limit: Duration) -> Self {
        Self { node, lease_limit, peers: BTreeMap::new(), read_at: None }
    }

    /// All leases but our own, as they were read at `now`. Who is not among them any more is forgotten.
    pub fn take_leases(&mut self, peers: Vec<Peer>, now: Instant) {
        self.read_at = Some(now);
        self.peers.retain(|id, _| peers.iter().any(|peer| peer.id == *id));
        for peer in peers {
            match self.peers.get_mut(&peer.id) {
                Some(known) => known.peer = peer,
                None => {
                    let known = Known { peer, silent_pings: 0, pinged_at: None, answered_at: None };
                    self.peers.insert(known.peer.id, known);
                }
            }
        }
    }

    /// Whom to send an OPTIONS to, until it is nobody.
    pub fn poll_ping(&mut self, now: Instant) -> Option<(i64, SocketAddr)> {
        let is_due =
            |known: &Known| known.pinged_at.is_none_or(|pinged_at| now >= pinged_at + PING_EVERY);
        let known = self.peers.values_mut().find(|known| {
            known.peer.address.is_some() && known.peer.node != self.node && is_due(known)
        })?;
        // The one before has had its time.
        known.silent_pings = match known.pinged_at {
            Some(pinged_at) if known.answered_at.is_none_or(|at| at < pinged_at) => {
                known.silent_pings.saturating_add(1)
            }
            Some(_) | None => 0,
        };
        known.pinged_at = Some(now);
        Some((known.peer.id, known.peer.address?))
    }

    /// A peer has answered, with whatever.
    pub fn handle_answer(&mut self, id: i64, now: Instant) {
        if let Some(known) = self.peers.get_mut(&id) {
            known.answered_at = Some(now);
            known.silent_pings = 0;
        }
    }

    /// The runs whose calls others are to go on with.
    pub fn dead(&self, now: Instant) -> Vec<i64> {
        if self.read_at.is_none_or(|read_at| now >= read_at + FRESH) {
            // Without the store nothing can be taken over, and nothing is known.
            return Vec::new();
        }
        let dead = self.peers.values().filter(|known| self.is_dead(known));
        dead.map(|known| known.peer.id).collect()
    }

    /// Whether requests for a run's calls can be sent there, and where.
    pub fn address_of_living(&self, id: i64) -> Option<SocketAddr> {
        let known = self.peers.get(&id)?;
        let is_there = known.peer.lease_age < self.lease_limit || known.silent_pings == 0;
        known.peer.address.filter(|_| is_there && known.peer.node != self.node)
    }

    /// Who may go on with calls that we give away: they are alive, take calls, and are of the region.
    pub fn heirs(&self, region: Option<&str>) -> impl Iterator<Item = &Peer> {
        let may_inherit = move |known: &&Known| {
            let peer = &known.peer;
            peer.lease_age < self.lease_limit
                && !peer.is_draining
                && peer.node != self.node
                && (peer.region.is_none() || region.is_none() || peer.region.as_deref() == region)
        };
        self.peers.values().filter(may_inherit).map(|known| &known.peer)
    }

    /// Somebody may have calls for us.
    pub fn is_anybody_draining(&self) -> bool {
        self.peers.values().any(|known| known.peer.is_draining)
    }

    /// Runs that are alive as far as is known, ours not counted.
    pub fn living(&self) -> usize {
        let is_alive = |known: &&Known| known.peer.lease_age < self.lease_limit;
        self.peers.values().filter(is_alive).count()
    }

    fn is_dead(&self, known: &Known) -> bool {
        let is_silent = known.peer.address.is_none()
            || known.silent_pings >= SILENT_PINGS
            || self.is_succeeded(&known.peer);
        known.peer.node == self.node || (known.peer.lease_age >= self.lease_limit && is_silent)
    }

    /// Another run of its node lives, and answers at its address in its stead.
    fn is_succeeded(&self, peer: &Peer) -> bool {
        self.peers.values().any(|Known { peer: other, .. }| {
            other.id != peer.id && other.node == peer.node && other.lease_age < self.lease_limit
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(1_600);

    #[test]
    fn condemns_a_node_whose_lease_is_lost_and_that_answers_nothing() {
        let mut world = World::new();
        world.lives(2_000, &[]);
        assert_eq!(world.dead(), [7]);
    }

    #[test]
    fn condemns_nobody_for_a_slow_store_alone() {
        let mut world = World::new();
        world.lives(2_000, &[7]);
        assert_eq!(world.dead(), [0_i64; 0]);
    }

    #[test]
    fn condemns_nobody_for_a_cut_between_two_nodes_alone() {
        let mut world = World::new();
        world.lives(100, &[]);
        assert_eq!(world.dead(), [0_i64; 0]);
    }

    #[test]
    fn condemns_a_run_whose_address_a_later_run_of_its_node_answers_at() {
        let mut world = World::new();
        world.lives(2_000, &[7]);
        let later = Peer { id: 8, ..peer(100) };
        world.membership.take_leases(vec![peer(2_000), later], world.now);
        assert_eq!(world.dead(), [7]);
    }

    #[test]
    fn condemns_nobody_without_the_store() {
        let mut world = World::new();
        world.lives(2_000, &[]);
        world.now += FRESH;
        assert_eq!(world.dead(), [0_i64; 0]);
    }

    #[test]
    fn sees_a_death_within_two_seconds() {
        let mut world = World::new();
        let mut age = 0;
        for _ in 0..10 {
            world.lives(100, &[7]);
        }
        let died_at = world.now;
        while world.dead().is_empty() {
            age += 200;
            world.read(age);
            world.step(Duration::from_millis(200), &[]);
            assert!(world.now - died_at < Duration::from_secs(2), "not seen");
        }
        assert!(world.now - died_at >= LIMIT);
    }

    #[test]
    fn takes_the_place_of_an_earlier_run_of_its_own_at_once() {
        let mut world = World::new();
        let earlier = Peer { id: 8, node: "a".to_owned(), ..peer(10) };
        world.membership.take_leases(vec![earlier], world.now);
        assert_eq!(world.dead(), [8]);
        assert_eq!(world.membership.poll_ping(world.now), None, "our own address answers");
    }

    #[test]
    fn gives_calls_only_to_a_living_node_of_their_region_that_takes_calls() {
        let mut world = World::new();
        let eu = Some("eu".to_owned());
        for (peer, region, is_heir) in [
            (peer(0), None, true),
            (peer(0), Some("eu"), true),
            (peer(1_600), None, false),
            (Peer { is_draining: true, ..peer(0) }, None, false),
            (Peer { region: eu.clone(), ..peer(0) }, Some("eu"), true),
            (Peer { region: eu.clone(), ..peer(0) }, Some("us"), false),
            (Peer { region: eu, ..peer(0) }, None, true),
            (Peer { node: "a".to_owned(), ..peer(0) }, None, false),
        ] {
            world.membership.take_leases(vec![peer.clone()], world.now);
            let heirs: Vec<&Peer> = world.membership.heirs(region).collect();
            assert_eq!(heirs, [&peer][..usize::from(is_heir)], "{region:?}");
        }
    }

    #[test]
    fn asks_each_node_two_and_a_half_times_a_second() {
        let mut world = World::new();
        world.read(0);
        let asked = world.membership.poll_ping(world.now);
        assert_eq!(asked, Some((7, "192.0.2.7:5060".parse().expect("an address"))));
        assert_eq!(world.membership.poll_ping(world.now), None);
        assert!(world.membership.poll_ping(world.now + PING_EVERY).is_some());
    }

    struct World {
        membership: Membership,
        now: Instant,
    }

    impl World {
        #[expect(clippy::disallowed_methods, reason = "a world begins at some time")]
        fn new() -> Self {
            let membership = Membership::new("a".to_owned(), LIMIT);
            Self { membership, now: Instant::now() }
        }

        /// Two seconds of pings, with a lease of this age at their end.
        fn lives(&mut self, age_ms: u64, answering: &[i64]) {
            for _ in 0..10 {
                self.read(age_ms);
                self.step(Duration::from_millis(200), answering);
            }
        }

        fn read(&mut self, age_ms: u64) {
            self.membership.take_leases(vec![peer(age_ms)], self.now);
        }

        fn step(&mut self, by: Duration, answering: &[i64]) {
            while let Some((id, _)) = self.membership.poll_ping(self.now) {
                if answering.contains(&id) {
                    self.membership.handle_answer(id, self.now);
                }
            }
            self.now += by;
        }

        fn dead(&self) -> Vec<i64> {
            self.membership.dead(self.now)
        }
    }

    fn peer(age_ms: u64) -> Peer {
        Peer {
            id: 7,
            node: "b".to_owned(),
            address: Some("192.0.2.7:5060".parse().expect("an address")),
            region: None,
            is_draining: false,
            lease_age: Duration::from_millis(age_ms),
        }
    }
}

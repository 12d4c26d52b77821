//! What an agent may use of its world: the time, the seed, the queue and the network.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use bytes::Bytes;
use holdfast::random::Random;

use super::ladder::Ladder;
use super::link::Link;
use super::plan::Step;

/// Microseconds: the unit of the world's time.
pub const MS: u64 = 1_000;
pub const S: u64 = 1_000 * MS;

/// What an agent does when its time comes. Acts are never taken back: whoever gets one asks first
/// whether it still means something.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Step(Step),
    Resend { client: usize, interval: u64 },
    GiveUp { client: usize },
    ResendFinal { server: usize, interval: u64, until: u64 },
    AnswerReinvite { server: usize },
    ResendReliable { rseq: u32, interval: u64 },
}

#[derive(Clone, Debug)]
pub enum Event {
    ToEngine { from: SocketAddr, bytes: Bytes },
    ToAgent { to: SocketAddr, bytes: Bytes },
    Unreachable { to: SocketAddr },
    Act { party: usize, act: Act },
    NewCall,
}

#[derive(Debug)]
pub struct Cx {
    pub now: u64,
    pub random: Random,
    pub engine: SocketAddr,
    pub link: Link,
    pub ladder: Ladder,
    /// Addresses that answer with "port unreachable".
    pub closed: HashSet<SocketAddr>,
    /// Branches of INVITEs that somebody has answered: no proxy rejects those (RFC 3261 §16.7).
    pub answered: HashSet<String>,
    /// Agents whose INVITE forks, and when the other branch answers.
    pub forks: Vec<(usize, u64)>,
    /// Calls whose caller another agent is to replace, and how that names its dialog.
    pub replacements: Vec<(usize, String)>,
    /// Agents have each other transferred.
    pub transfers: bool,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
}

impl Cx {
    pub fn new(seed: u64, engine: SocketAddr, link: Link) -> Self {
        Self {
            now: 0,
            random: Random::new(seed),
            engine,
            link,
            ladder: Ladder::default(),
            closed: HashSet::new(),
            answered: HashSet::new(),
            forks: Vec::new(),
            replacements: Vec::new(),
            transfers: false,
            queue: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }

    pub fn later(&mut self, after: u64, party: usize, act: Act) {
        self.at(self.now + after, Event::Act { party, act });
    }

    pub fn next_at(&self) -> Option<u64> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// The next event, once the world's time is its time.
    pub fn pop(&mut self) -> Option<Event> {
        self.queue.pop_first().map(|(_, event)| event)
    }

    /// An agent sends.
    pub fn agent_sends(&mut self, from: SocketAddr, bytes: Bytes) {
        let arrivals = self.link.pass(&mut self.random, self.engine, &bytes, self.now);
        if arrivals.is_empty() {
            self.ladder.note(self.now, from, "-x", &bytes);
        }
        for at in arrivals {
            self.at(at, Event::ToEngine { from, bytes: bytes.clone() });
        }
    }

    /// The engine sends.
    pub fn engine_sends(&mut self, to: SocketAddr, bytes: Bytes) {
        if self.closed.contains(&to) {
            self.ladder.note(self.now, to, "x-", &bytes);
            let at = self.now + 2 * MS;
            return self.at(at, Event::Unreachable { to });
        }
        let arrivals = self.link.pass(&mut self.random, to, &bytes, self.now);
        let mark = if arrivals.is_empty() { "x-" } else { "<-" };
        self.ladder.note(self.now, to, mark, &bytes);
        for at in arrivals {
            self.at(at, Event::ToAgent { to, bytes: bytes.clone() });
        }
    }

    /// A word that nobody else says.
    pub fn word(&mut self, prefix: &str) -> String {
        format!("{prefix}{:012x}", self.random.next_u64() >> 16)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.random.unit_f64() < probability
    }

    /// Even between two times in milliseconds.
    pub fn between_ms(&mut self, from: u64, to: u64) -> u64 {
        (from + self.random.below(to - from)) * MS
    }
}

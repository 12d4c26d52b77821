//! The clock, the seed, the queue of events, and the ladder.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast::random::Random;

use super::faults::Fault;
use super::link::{Link, Profile};
use super::store::{Op, Reply};
use super::text::Text;

/// Microseconds: the unit of the world's time.
pub const MS: u64 = 1_000;
pub const S: u64 = 1_000 * MS;

/// What an agent does when its time comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    Invite,
    Ring,
    Answer,
    Info,
    /// A new offer, or a mere UPDATE where the agent prefers those.
    Reinvite,
    /// The agent sends from, and wants to be reached at, another port.
    Move,
    Hangup,
    Resend {
        client: usize,
        interval: u64,
    },
    ResendFinal {
        server: usize,
        interval: u64,
        until: u64,
    },
    AnswerReinvite {
        server: usize,
    },
    GiveUp,
}

/// What happens to one run of a node.
#[derive(Debug)]
pub enum ToRun {
    Datagram {
        from: SocketAddr,
        bytes: Bytes,
    },
    Reply {
        token: u64,
        reply: Result<Reply, ()>,
    },
    /// The client waits for this answer of the store no more.
    TimedOut {
        token: u64,
    },
    /// The cluster task looks at the time.
    Tick,
    /// Something in the run that waits for a time.
    Wake(Wake),
}

/// What one run of a node waits for by itself.
#[derive(Debug)]
pub enum Wake {
    Linger,
    SpoolAgain,
    KeeperPing,
    KeepMissing { rounds: u32 },
    ClaimAgain,
    Find(super::glue::Lookup),
    EndOfHold,
    GoOn,
    KeptLate,
    Unsettled,
}

#[derive(Debug)]
pub enum Event {
    ToRun {
        node: usize,
        run: u64,
        what: ToRun,
    },
    /// To whatever run has the address by then.
    ToAddress {
        node: usize,
        from: SocketAddr,
        bytes: Bytes,
    },
    ToAgent {
        to: SocketAddr,
        bytes: Bytes,
    },
    ToStore {
        node: usize,
        run: u64,
        token: u64,
        op: Box<Op>,
    },
    Act {
        agent: usize,
        act: Act,
    },
    NewCall,
    Fault(Fault),
    EndOfFault(Fault),
    Check {
        call: usize,
        node: usize,
        run: u64,
    },
}

#[derive(Debug)]
pub struct Cx {
    pub now: u64,
    pub random: Random,
    pub link: Link,
    pub is_lossy: bool,
    pub ladder: Vec<Line>,
    /// Nodes that no peer reaches, and the other way round.
    pub cut_from_peers: [bool; 3],
    origin: Instant,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
}

/// One line of a ladder: of one dialog, or of the world.
#[derive(Debug)]
pub struct Line {
    at: u64,
    call_id: Option<String>,
    what: String,
}

impl Cx {
    pub fn new(seed: u64, profile: Profile) -> Self {
        Self {
            now: 0,
            random: Random::new(seed ^ 0xc105_7e12),
            link: Link::new(profile),
            is_lossy: profile.loss > 0.0,
            ladder: Vec::new(),
            cut_from_peers: [false; 3],
            origin: origin(),
            queue: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), event);
    }

    pub fn act(&mut self, after: u64, agent: usize, act: Act) {
        self.at(self.now + after, Event::Act { agent, act });
    }

    pub fn next_at(&self) -> Option<u64> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    pub fn pop(&mut self) -> Option<Event> {
        self.queue.pop_first().map(|(_, event)| event)
    }

    pub fn instant(&self) -> Instant {
        self.instant_of(self.now)
    }

    pub fn instant_of(&self, at: u64) -> Instant {
        self.origin + Duration::from_micros(at)
    }

    /// Rounded up: who waits until then has waited long enough.
    pub fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX - 1)
    }

    /// A peer sends to a node.
    pub fn agent_sends(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let Some(node) = node_at(to) else { return };
        let arrivals = match self.cut_from_peers[node] {
            true => Vec::new(),
            false => self.link.pass(&mut self.random, to, &bytes, self.now),
        };
        let mark = if arrivals.is_empty() { "x" } else { ">" };
        self.message(&format!("{from} -{mark} {}", name(node)), &bytes);
        for at in arrivals {
            self.at(at, Event::ToAddress { node, from, bytes: bytes.clone() });
        }
    }

    /// A node sends to a peer.
    pub fn node_sends(&mut self, node: usize, to: SocketAddr, bytes: Bytes) {
        let arrivals = match self.cut_from_peers[node] {
            true => Vec::new(),
            false => self.link.pass(&mut self.random, to, &bytes, self.now),
        };
        let mark = if arrivals.is_empty() { "x" } else { ">" };
        self.message(&format!("{} -{mark} {to}", name(node)), &bytes);
        for at in arrivals {
            self.at(at, Event::ToAgent { to, bytes: bytes.clone() });
        }
    }

    pub fn message(&mut self, way: &str, bytes: &Bytes) {
        let Some(text) = Text::parse(bytes) else { return };
        let what = match text.is_request() {
            true => text.method().to_owned(),
            false => text.start.trim_start_matches("SIP/2.0 ").to_owned(),
        };
        let branch = text.branch();
        let (seq, method) = (text.seq(), text.method());
        let tail = &branch[branch.len().saturating_sub(6)..];
        let what = format!("{way:<40} {what:<24} {seq} {method} {tail}");
        self.ladder.push(Line { at: self.now, call_id: Some(text.call_id().to_owned()), what });
    }

    /// Something that people should see in every ladder.
    pub fn note(&mut self, what: String) {
        self.ladder.push(Line { at: self.now, call_id: None, what: format!("-- {what}") });
    }

    /// The messages of these dialogs, and what happened to the world meanwhile.
    pub fn ladder_of(&self, call_ids: &[String]) -> String {
        let is_shown =
            |line: &&Line| line.call_id.as_ref().is_none_or(|call_id| call_ids.contains(call_id));
        let lines = self.ladder.iter().filter(is_shown);
        lines.map(|line| format!("{:>12.3} ms  {}\n", line.at as f64 / 1e3, line.what)).collect()
    }

    pub fn word(&mut self, prefix: &str) -> String {
        format!("{prefix}{:012x}", self.random.next_u64() >> 16)
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.random.unit_f64() < probability
    }

    /// Even between two times in milliseconds.
    pub fn between_ms(&mut self, from: u64, to: u64) -> u64 {
        (from * 1_000 + self.random.below((to - from) * 1_000)) * MS / 1_000
    }
}

pub fn name(node: usize) -> &'static str {
    ["a", "b", "c"][node]
}

pub fn address(node: usize) -> SocketAddr {
    format!("203.0.113.{}:5060", node + 1).parse().expect("an address")
}

/// Where a node's pings come from.
pub fn ping_address(node: usize) -> SocketAddr {
    format!("203.0.113.{}:40000", node + 1).parse().expect("an address")
}

pub fn node_at(to: SocketAddr) -> Option<usize> {
    (0..3).find(|node| address(*node).ip() == to.ip())
}

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn origin() -> Instant {
    Instant::now()
}

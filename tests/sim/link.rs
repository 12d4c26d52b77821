//! The network: delays, loses, doubles and overtakes, all from the world's seed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use bytes::Bytes;
use holdfast::random::Random;

/// Of any three copies of one datagram at least one arrives: what is to be tested is that lost
/// messages are repeated, not how likely ten losses in a row are.
const MAX_LOSSES_IN_A_ROW: u8 = 2;

/// How bad the network is; probabilities between 0 and 1, delays in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub name: &'static str,
    pub loss: f64,
    pub duplication: f64,
    pub reordering: f64,
    pub delay_us: u64,
    pub jitter_us: u64,
}

/// Longest time by which a reordered datagram comes late.
const MAX_DETOUR_US: u64 = 400_000;

pub const PROFILES: [Profile; 5] = [
    profile("clean", 0.0, 0.0, 0.0),
    profile("loss of 5 %", 0.05, 0.0, 0.0),
    profile("loss of 20 %", 0.2, 0.0, 0.0),
    profile("duplicates", 0.0, 0.2, 0.02),
    profile("everything", 0.1, 0.1, 0.1),
];

const fn profile(name: &'static str, loss: f64, duplication: f64, reordering: f64) -> Profile {
    Profile { name, loss, duplication, reordering, delay_us: 10_000, jitter_us: 20_000 }
}

#[derive(Debug)]
pub struct Link {
    profile: Profile,
    losses: HashMap<u64, u8>,
    /// When the last datagram to each address arrives: only detours overtake.
    last: HashMap<SocketAddr, u64>,
}

impl Link {
    pub fn new(profile: Profile) -> Self {
        Self { profile, losses: HashMap::new(), last: HashMap::new() }
    }

    /// When each copy of a datagram sent `now` arrives; none where it is lost.
    pub fn pass(
        &mut self,
        random: &mut Random,
        to: SocketAddr,
        bytes: &Bytes,
        now: u64,
    ) -> Vec<u64> {
        if self.loses(random, to, bytes) {
            return Vec::new();
        }
        let copies = if random.unit_f64() < self.profile.duplication { 2 } else { 1 };
        (0..copies).map(|_| self.arrival(random, to, now)).collect()
    }

    fn arrival(&mut self, random: &mut Random, to: SocketAddr, now: u64) -> u64 {
        let at = now + self.profile.delay_us + random.below(self.profile.jitter_us);
        if random.unit_f64() < self.profile.reordering {
            return at + random.below(MAX_DETOUR_US);
        }
        let last = self.last.entry(to).or_default();
        *last = at.max(*last);
        *last
    }

    fn loses(&mut self, random: &mut Random, to: SocketAddr, bytes: &Bytes) -> bool {
        if self.profile.loss == 0.0 {
            return false;
        }
        let is_unlucky = random.unit_f64() < self.profile.loss;
        let mut hasher = DefaultHasher::new();
        (to, &bytes[..]).hash(&mut hasher);
        let losses = self.losses.entry(hasher.finish()).or_default();
        *losses = if is_unlucky && *losses < MAX_LOSSES_IN_A_ROW { *losses + 1 } else { 0 };
        *losses > 0
    }
}

//! The timers of RFC 3261 Table 4 and RFC 6026, and the table of their deadlines.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// Round-trip estimate.
pub const T1: Duration = Duration::from_millis(500);
/// Longest interval between retransmissions of non-INVITE requests and of responses to INVITE.
pub const T2: Duration = Duration::from_millis(4_000);
/// How long a message stays in the network.
pub const T4: Duration = Duration::from_millis(5_000);
/// 64*T1: Timers B, F, H, J, L, M.
pub const TRANSACTION_LIMIT: Duration = Duration::from_millis(32_000);
/// Timer D over an unreliable transport (RFC 3261 §17.1.1.2: at least 32 s).
pub const TIMER_D: Duration = Duration::from_millis(32_000);

/// Named as in RFC 3261 Table 4 and RFC 6026 §7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    A,
    B,
    D,
    E,
    F,
    G,
    H,
    I,
    J,
    K,
    L,
    M,
}

/// When the timers of one machine (or call) fire; seldom more than two run at a time.
#[derive(Clone, Debug)]
pub struct Deadlines<T = Timer> {
    armed: SmallVec<[(Instant, T); 2]>,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self { armed: SmallVec::new() }
    }
}

impl<T: Copy + PartialEq> Deadlines<T> {
    /// Arms a timer, or moves it.
    pub fn arm(&mut self, timer: T, at: Instant) {
        self.stop(timer);
        self.armed.push((at, timer));
    }

    pub fn stop(&mut self, timer: T) {
        self.armed.retain(|(_, armed)| *armed != timer);
    }

    pub fn stop_all(&mut self) {
        self.armed.clear();
    }

    pub fn next(&self) -> Option<Instant> {
        self.armed.iter().map(|(at, _)| *at).min()
    }

    /// Takes the earliest timer that has fired by `now`; of two at one time the one armed first.
    pub fn take_expired(&mut self, now: Instant) -> Option<T> {
        let (index, _) = self
            .armed
            .iter()
            .enumerate()
            .filter(|(_, (at, _))| *at <= now)
            .min_by_key(|(_, (at, _))| *at)?;
        Some(self.armed.remove(index).1)
    }
}

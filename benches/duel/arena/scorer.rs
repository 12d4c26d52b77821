//! What a scorer is asked and told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::carrier::Class;
use holdfast::health::{PeerTarget, SavedTarget, View};
use holdfast::routing::{Candidate, Plan};

/// The end of one attempt, as seen from here.
#[derive(Clone, Debug)]
pub struct Ended {
    pub call: usize,
    pub carrier: usize,
    /// Of the final response; `None` when one of our timers ended it, or the caller.
    pub status_code: Option<u16>,
    /// One of our timers ended it.
    pub is_timeout: bool,
    pub class: Class,
    pub weight: f32,
    /// INVITE to first response, to 18x, to the end.
    pub trying: Option<Duration>,
    pub ringing: Option<Duration>,
    pub took: Duration,
    pub country: Option<u16>,
    /// It was made because another carrier had said that there is no such number.
    pub is_second_opinion: bool,
}

/// Orders the carriers for each call, and learns from how calls and probes end.
///
/// All scorers hunt alike, by Holdfast's failure rules and timers: what differs is the order alone.
pub trait Scorer {
    /// The carriers for a new call, the first one first.
    fn plan(&mut self, country: Option<u16>, now: Instant) -> Plan;

    /// What the hunt looks at before each attempt; those of the others have nothing of the kind.
    fn view(&self) -> Arc<View> {
        Arc::new(View::default())
    }

    /// Whether a candidate has room for a call now.
    fn has_room(&self, _candidate: &Candidate, _now: Instant) -> bool {
        true
    }

    /// An INVITE is sent.
    fn started(&mut self, _call: usize, _candidate: &Candidate, _now: Instant) {}

    /// The first provisional response came.
    fn responded(&mut self, _carrier: usize, _now: Instant) {}

    fn rang(&mut self, _carrier: usize, _now: Instant) {}

    fn ended(&mut self, ended: &Ended, now: Instant);

    /// An earlier attempt is seen in the light of a later one.
    fn revised(&mut self, _carrier: usize, _failures: f32, _country: Option<u16>, _now: Instant) {}

    /// Lets time pass; returns whom to send an OPTIONS now, and how long to wait for its end.
    fn wake(&mut self, now: Instant) -> Vec<(usize, Duration)>;

    fn wake_at(&self) -> Option<Instant>;

    /// `status_code`: `None` when nothing came in time.
    fn probed(&mut self, carrier: usize, status_code: Option<u16>, delay: Duration, now: Instant);

    /// Whether a carrier gets no calls, or next to none, for what is thought of it.
    fn is_away(&self, carrier: usize, now: Instant) -> bool;

    /// Taken every second, for the other nodes.
    fn save(&self, _now: Instant) -> Vec<SavedTarget> {
        Vec::new()
    }

    fn hear(&mut self, _peers: &[PeerTarget], _now: Instant) {}
}

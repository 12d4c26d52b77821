//! The outcome of a decision, complete enough to explain it afterwards.

use std::sync::Arc;
use std::time::Instant;

use super::text::PlanText;
use crate::carrier::class::spelled;
use crate::carrier::{Carrier, Gateway, Route};
use crate::health::{Reachability, Srv, Target, TargetView};

/// What the JSON of one candidate takes, or a little more.
const OCTETS_OF_ONE: usize = 448;

/// An ordered list of candidates, and why.
#[derive(Clone, Debug)]
pub struct Plan {
    pub route: Arc<Route>,
    /// The region the call must stay in, if any.
    pub region: Option<Arc<str>>,
    /// Country code of the called number, where it is one.
    pub country: Option<u16>,
    /// The `rn` that came with the called number (RFC 4694).
    pub routing_number: Option<Arc<str>>,
    pub tables_version: u64,
    /// What random draws were made from: the same query, tables, view and seed give the same plan.
    pub seed: u64,
    pub decided_at: Instant,
    /// Everything was down and the least bad are tried all the same.
    pub is_panic: bool,
    /// Of all targets that were measured.
    pub median_latency_ms: Option<f64>,
    pub median_ringing_ms: Option<f64>,
    pub candidates: Vec<Candidate>,
    /// Usable targets for which the plan had no place.
    pub candidates_beyond: usize,
    pub dropped: Vec<Dropped>,
    /// How many more were left out than are named.
    pub dropped_beyond: usize,
    /// Somebody could have the call but for want of capacity.
    pub is_short: bool,
}

/// One target to try.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub gateway: Arc<Gateway>,
    pub target: Target,
    /// Among the targets of its gateway.
    pub srv: Srv,
    /// Tier of the route: its `priority`.
    pub priority: u16,
    pub reachability: Reachability,
    /// Share of its calls that it gets back after it was down.
    pub ramp: f64,
    pub failure_rate: f64,
    /// Standard deviation of that estimate.
    pub deviation: f64,
    pub latency_ms: Option<f64>,
    pub ringing_ms: Option<f64>,
    /// What its carrier's way with calls to this country leaves of the score, 1.0 = all.
    pub destination_factor: f64,
    /// What its latency leaves of the score, 1.0 = all.
    pub latency_factor: f64,
    /// Free share of the tightest limit of the gateway and its carrier, above 0.0 and up to 1.0.
    pub headroom: f64,
    /// Drawn from what is believed of it; what it was sorted by within its tier. Higher is better.
    pub score: f64,
}

/// A target, or a gateway without one, that was left out.
#[derive(Clone, Debug)]
pub struct Dropped {
    pub gateway: Arc<Gateway>,
    /// Of the target; `None` where the gateway was left out before its targets were looked at.
    pub health: Option<Arc<TargetView>>,
    pub reason: Drop,
}

spelled! {
    /// Why a gateway is no candidate.
    Drop {
        CarrierDisabled = "carrier_disabled",
        GatewayOff = "gateway_off",
        GatewayDraining = "gateway_draining",
        /// Outside the region the call must stay in.
        Region = "region",
        /// Its carrier takes calls of this route at other hours.
        OutOfHours = "out_of_hours",
        /// The offer, or the route, asks for other media (plain or encrypted) than it takes.
        Media = "media",
        /// It takes none of the codecs offered.
        Codec = "codec",
        /// Its host name is not resolved.
        Unresolved = "unresolved",
        Down = "down",
        /// It answers, but too many of its calls failed.
        Ejected = "ejected",
        /// Its carrier made too many errors in a row.
        Held = "held",
        /// Half open, and already carrying its one call.
        HalfOpenBusy = "half_open_busy",
        /// As many calls as its limits, or its carrier's, allow.
        Capacity = "capacity",
        /// Asked us to stay away (Retry-After).
        RetryAfter = "retry_after",
        /// The call must go by TLS, and it is not reached so.
        NotSecure = "not_secure",
        /// We are registered with another address of the gateway.
        NotRegistered = "not_registered",
        /// The gateway's address family or transport has no listener here.
        NoListener = "no_listener",
    }
}

impl Candidate {
    /// Whose gateway it is.
    pub fn carrier(&self) -> &Arc<Carrier> {
        &self.gateway.carrier
    }
}

impl Plan {
    /// Whether somebody could have the call but for want of capacity.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// As `calls.decision` keeps it: the JSON of a [`DecisionRecord`](super::DecisionRecord).
    pub fn to_json(&self) -> String {
        let named = 1 + self.candidates.len() + self.dropped.len();
        let mut text = Vec::with_capacity(OCTETS_OF_ONE * named);
        serde_json::to_writer(&mut text, &PlanText::from(self))
            .expect("texts and numbers can be written");
        String::from_utf8(text).expect("JSON is UTF-8")
    }
}

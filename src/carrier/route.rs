//! Which carriers may take which calls.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::class::spelled;
use super::{CarrierId, CustomerId, Hours, RouteId};

/// The carriers for the calls of one customer (or any) to one prefix (or any).
///
/// The route of a call is the one with the customer's own id before one without, then the longest
/// `called_prefix`, then the lowest `id`.
#[derive(Clone, Debug)]
pub struct Route {
    pub id: RouteId,
    /// `None` = any customer.
    pub customer_id: Option<CustomerId>,
    /// Leading digits of the called number in E.164 without `+`; empty = any.
    pub called_prefix: Arc<str>,
    /// Only gateways of this region may take the call; `None` = the customer's region, if any.
    pub region: Option<Arc<str>>,
    /// Only gateways and offers with SRTP.
    pub needs_srtp: bool,
    /// Whatever is down, full or held is tried all the same, after everything else.
    pub is_emergency: bool,
    pub strategy: Strategy,
    pub reroute_after_ringing: RerouteAfterRinging,
    /// Ask one other carrier before a 404/410/484/604 is believed.
    pub verify_unallocated: bool,
    /// Time from the INVITE to the first 18x, over all attempts.
    pub setup_budget: Duration,
    /// Carriers tried at most for one call.
    pub max_carriers: u8,
    /// Attempts at most for one call.
    pub max_attempts: u8,
    /// How long a phone may ring (from the first 18x) before the call is cancelled and answered 480.
    pub max_ringing: Duration,
    /// By priority, then by carrier id.
    pub carriers: Vec<RouteCarrier>,
    /// Of those carriers that take calls at some hours only.
    pub hours: Vec<(CarrierId, Hours)>,
}

impl Route {
    /// Whether a carrier of the route takes calls at a time.
    pub fn is_open(&self, carrier_id: CarrierId, at: SystemTime) -> bool {
        let mut own = self.hours.iter().filter(|(id, _)| *id == carrier_id).peekable();
        own.peek().is_none() || own.any(|(_, hours)| hours.contain(at))
    }
}

/// A carrier's place in a route.
#[derive(Clone, Copy, Debug)]
pub struct RouteCarrier {
    pub carrier_id: CarrierId,
    /// Carriers of the lowest number come first; equal numbers form a tier.
    pub priority: u16,
    /// Share within a tier, 1 or more.
    pub weight: u32,
    /// Price per minute in millionths of the account's currency.
    pub cost_micros: u64,
}

spelled! {
    /// How a carrier is chosen within a tier.
    Strategy {
        /// The best score first.
        Healthiest = "healthiest",
        /// At random by weight, among the healthy.
        Weighted = "weighted",
        /// The cheapest whose failure rate is near the best one's.
        LeastCost = "least_cost",
        /// By weight, heaviest first, whatever the score of those that are up.
        Priority = "priority",
    }
}

spelled! {
    /// Whether an attempt that fails after the caller heard ringing may be followed by another.
    RerouteAfterRinging {
        Never = "never",
        CarrierFaultOnly = "carrier_fault_only",
    }
}

//! Which carriers may take which calls.

use std::sync::Arc;
use std::time::Duration;

use super::class::spelled;
use super::{CarrierId, CustomerId, RouteId};

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

//! The decision itself: filter, tiers, strategy, panic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Plan;
use crate::carrier::{Gateway, Route, Tables};
use crate::health::View;

/// What is asked.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    pub route: &'a Arc<Route>,
    /// The region the customer must stay in; the route's own comes first.
    pub customer_region: Option<&'a Arc<str>>,
    /// For every random draw of this decision.
    pub seed: u64,
    /// Whether one of our listeners reaches an address of a gateway.
    pub has_listener: &'a dyn Fn(&Gateway, SocketAddr) -> bool,
}

/// Chooses and orders the targets for one call.
pub fn decide(tables: &Tables, view: &View, query: &Query<'_>, now: Instant) -> Plan {
    let _ = (tables, view, query, now);
    todo!()
}

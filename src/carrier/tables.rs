//! The checked tables: an immutable snapshot that is swapped whole.

use std::net::IpAddr;
use std::sync::Arc;

use super::failure_rule::FailureRules;
use super::{Carrier, CarrierId, Customer, CustomerId, Gateway, GatewayId, Refusal, Route, Rows};

/// Everything a decision needs to know of the admin's wishes.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Grows by one with each new snapshot of a process; in logs and records.
    pub version: u64,
    pub failure_rules: FailureRules,
}

impl Tables {
    /// Checks everything and builds the snapshot, or says all that is wrong.
    pub fn check(rows: Rows, version: u64) -> Result<Self, Vec<Refusal>> {
        let _ = (rows, version);
        todo!()
    }

    pub fn carrier(&self, id: CarrierId) -> Option<&Arc<Carrier>> {
        let _ = id;
        todo!()
    }

    pub fn gateway(&self, id: GatewayId) -> Option<&Arc<Gateway>> {
        let _ = id;
        todo!()
    }

    pub fn customer(&self, id: CustomerId) -> Option<&Arc<Customer>> {
        let _ = id;
        todo!()
    }

    pub fn carriers(&self) -> impl Iterator<Item = &Arc<Carrier>> {
        std::iter::empty()
    }

    pub fn gateways(&self) -> impl Iterator<Item = &Arc<Gateway>> {
        std::iter::empty()
    }

    /// The gateways of a carrier, by priority, then id.
    pub fn gateways_of(&self, id: CarrierId) -> &[Arc<Gateway>] {
        let _ = id;
        todo!()
    }

    /// The customer whose longest address range holds the source. IPv4-mapped IPv6 counts as IPv4.
    pub fn customer_at(&self, source: IpAddr) -> Option<&Arc<Customer>> {
        let _ = source;
        todo!()
    }

    /// The route for a called number (see [`Route`] for which wins). `called` is the user part as
    /// it came; what is not a number matches only routes with an empty prefix.
    pub fn route_for(&self, customer: CustomerId, called: &str) -> Option<&Arc<Route>> {
        let _ = (customer, called);
        todo!()
    }
}

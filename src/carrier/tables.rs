//! The checked tables: an immutable snapshot that is swapped whole.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};
use ipnet::IpNet;

use super::check;
use super::failure_rule::FailureRules;
use super::number_rule::digits_of;
use super::{
    Carrier, CarrierCredentials, CarrierId, Customer, CustomerId, Gateway, GatewayId, Refusal,
    Registration, Roster, Route, Rows, Users,
};

/// Everything a decision needs to know of the admin's wishes.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Grows by one with each new snapshot of a process; in logs and records.
    pub version: u64,
    /// Rows that are in force, but hardly as they were meant.
    pub warnings: Vec<Refusal>,
    pub failure_rules: FailureRules,
    pub(super) gateways: HashMap<GatewayId, Arc<Gateway>>,
    /// One for each carrier.
    pub(super) rosters: HashMap<CarrierId, Roster>,
    pub(super) customers: HashMap<CustomerId, Arc<Customer>>,
    /// Longest prefix first.
    pub(super) addresses: Vec<(IpNet, CustomerId)>,
    pub(super) routes: HashMap<(Option<CustomerId>, Box<str>), Arc<Route>>,
    pub(super) longest_prefix: usize,
    pub(super) carrier_credentials: HashMap<CarrierId, Arc<CarrierCredentials>>,
    /// Users of customers that authenticate by digest.
    pub users: Users,
    pub(super) registrations: HashMap<GatewayId, Arc<Registration>>,
}

impl Tables {
    /// Checks everything and builds the snapshot, or says all that is wrong.
    pub fn check(rows: Rows, version: u64) -> Result<Self, Vec<Refusal>> {
        check::check(rows, version)
    }

    pub fn carrier(&self, id: CarrierId) -> Option<&Arc<Carrier>> {
        self.roster_of(id).map(|roster| &roster.carrier)
    }

    pub fn gateway(&self, id: GatewayId) -> Option<&Arc<Gateway>> {
        self.gateways.get(&id)
    }

    pub fn customer(&self, id: CustomerId) -> Option<&Arc<Customer>> {
        self.customers.get(&id)
    }

    pub fn carriers(&self) -> impl Iterator<Item = &Arc<Carrier>> {
        self.rosters.values().map(|roster| &roster.carrier)
    }

    pub fn gateways(&self) -> impl Iterator<Item = &Arc<Gateway>> {
        self.gateways.values()
    }

    /// The gateways of a carrier, by priority, then id.
    pub fn gateways_of(&self, id: CarrierId) -> &[Arc<Gateway>] {
        self.roster_of(id).map(|roster| roster.gateways.as_slice()).unwrap_or_default()
    }

    /// A carrier with them.
    pub fn roster_of(&self, id: CarrierId) -> Option<&Roster> {
        self.rosters.get(&id)
    }

    /// The customer whose longest address range holds the source. IPv4-mapped IPv6 counts as IPv4.
    pub fn customer_at(&self, source: IpAddr) -> Option<&Arc<Customer>> {
        let source = source.to_canonical();
        let (_, id) = self.addresses.iter().find(|(range, _)| range.contains(&source))?;
        self.customer(*id)
    }

    /// What a carrier knows us by; `None` where its challenges are not answered.
    pub fn credentials_of(&self, id: CarrierId) -> Option<&Arc<CarrierCredentials>> {
        self.carrier_credentials.get(&id)
    }

    /// Whether any carrier knows us by credentials.
    pub fn has_credentials(&self) -> bool {
        !self.carrier_credentials.is_empty()
    }

    /// How we register with a gateway; `None` where we do not.
    pub fn registration_of(&self, id: GatewayId) -> Option<&Arc<Registration>> {
        self.registrations.get(&id)
    }

    pub fn registrations(&self) -> impl Iterator<Item = (GatewayId, &Arc<Registration>)> {
        self.registrations.iter().map(|(id, registration)| (*id, registration))
    }

    /// Whether these came from a store; before that there is nobody and nothing in them.
    pub fn is_loaded(&self) -> bool {
        self.version > 0
    }

    /// The route for a called number (see [`Route`] for which wins). `called` is the user part as
    /// it came; what is not a number matches only routes with an empty prefix.
    pub fn route_for(&self, customer: CustomerId, called: &str) -> Option<&Arc<Route>> {
        let digits = digits_of(called).unwrap_or_default();
        [Some(customer), None].into_iter().find_map(|customer| {
            let longest = digits.len().min(self.longest_prefix);
            (0..=longest).rev().find_map(|len| self.routes.get(&RouteKey(customer, &digits[..len])))
        })
    }
}

/// Looks like the key of a route, and owns nothing.
#[derive(Hash)]
struct RouteKey<'a>(Option<CustomerId>, &'a str);

impl Equivalent<(Option<CustomerId>, Box<str>)> for RouteKey<'_> {
    fn equivalent(&self, (customer, prefix): &(Option<CustomerId>, Box<str>)) -> bool {
        self.0 == *customer && *self.1 == **prefix
    }
}

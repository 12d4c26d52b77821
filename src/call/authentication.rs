//! Who calls: told by a client certificate, by the address, by digest credentials, or by both of these (RFC 3261 §22.1,
//! §22.2).
//!
//! Only an INVITE that begins a call is challenged: what comes within a dialog is known by the dialog, and ACK and
//! CANCEL cannot be sent again. Nonces are checked without memory, so any node of a cluster takes another's; that a
//! nonce is not used twice with one count is seen by the shard that sees both.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::context::Context;
use super::recent::Recent;
use crate::carrier::{Customer, CustomerAuth};
use crate::digest::{Algorithm, Challenge, Credentials, Ha1, Hidden, Nonce};
use crate::sip::{HeaderName, Message};
use crate::transaction::Flow;

/// How long a nonce may be used.
const NONCE_LIFETIME: Duration = Duration::from_secs(300);
/// How far another node's clock may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Nonces whose counts a shard remembers, in each of two generations.
const MAX_NONCES: usize = 10_000;
/// So many wrong credentials of one address …
const MAX_FAILURES: u32 = 10;
/// … within about this time, and it is not listened to until it has passed.
const FAILURES_WITHIN: Duration = Duration::from_secs(60);
/// Addresses whose failures a shard counts, in each of two generations.
const MAX_SOURCES: usize = 10_000;
/// Characters of a wrong user's name that are put on record.
const MAX_NAME_CHARS: usize = 64;

/// What a shard remembers of those who authenticate.
#[derive(Debug)]
pub struct Authentication {
    /// The highest count that each nonce was used with.
    counts: Recent<Nonce, u32>,
    failures: Recent<IpAddr, u32>,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            counts: Recent::new(NONCE_LIFETIME, MAX_NONCES),
            failures: Recent::new(FAILURES_WITHIN, MAX_SOURCES),
        }
    }
}

/// Who sent an INVITE.
#[derive(Clone, Debug)]
pub enum Caller {
    Customer(Arc<Customer>),
    /// No customer has the address, and none authenticates.
    Stranger,
    /// To be asked for credentials. `is_stale`: they were right, but their nonce cannot be used any more.
    Unproven {
        is_stale: bool,
    },
    /// Wrong credentials.
    Wrong {
        detail: String,
    },
    /// Right credentials that are not enough.
    Misplaced {
        customer: Arc<Customer>,
        detail: &'static str,
    },
    /// Too many wrong credentials came from there.
    Blocked,
}

/// Finds out who sent an INVITE. A certificate says it beyond doubt (RFC 5922 §4), whatever the address.
pub fn identify(cx: &mut Context, invite: &Message, flow: Flow) -> Caller {
    let tables = cx.tables.clone();
    if let Some(customer) = flow.customer().and_then(|id| tables.customer(id)) {
        return Caller::Customer(customer.clone());
    }
    let source = flow.remote.ip();
    let by_address = tables.customer_at(source);
    if let Some(customer) = by_address.filter(|it| it.auth.is_content_with_address()) {
        return Caller::Customer(customer.clone());
    }
    if tables.users.is_empty() {
        let detail = "no user of a customer has credentials";
        let misplaced =
            |customer: &Arc<Customer>| Caller::Misplaced { customer: customer.clone(), detail };
        return by_address.map_or(Caller::Stranger, misplaced);
    }
    let source = network_of(source);
    let failures = cx.authentication.failures.get(source, cx.now);
    if failures >= MAX_FAILURES {
        return Caller::Blocked;
    }
    let caller = by_credentials(cx, invite, by_address);
    if let Caller::Wrong { .. } = caller {
        cx.authentication.failures.set(source, failures + 1, cx.now);
    }
    caller
}

fn by_credentials(
    cx: &mut Context,
    invite: &Message,
    by_address: Option<&Arc<Customer>>,
) -> Caller {
    let tables = cx.tables.clone();
    let users = &tables.users;
    let fields = invite.all(HeaderName::Authorization);
    let credentials = fields
        .filter_map(|header| Credentials::parse(header.value))
        .find(|credentials| credentials.is_of_realm(&users.realm));
    // RFC 3261 §22.4, 8: whoever read our challenge sends a qop, and a count with it.
    let unproven = Caller::Unproven { is_stale: false };
    let Some(credentials) = credentials else { return unproven };
    let Some(count) = credentials.count().filter(|_| !credentials.is_session) else {
        return unproven;
    };
    if !users.algorithms.contains(&credentials.algorithm) {
        return unproven;
    }
    let name = credentials.username();
    let user = name.as_deref().and_then(|name| users.get(name));
    let ha1 = user.and_then(|user| user.hashes.get(credentials.algorithm)).cloned();
    // A name that there is not takes as long as one that there is.
    let ha1 = ha1.unwrap_or_else(|| nobodys(credentials.algorithm));
    // RFC 8760 §2.6, 6: the URI may differ from the Request-URI; any is one that we accept requests for.
    let are_right = credentials.are_right(&ha1, invite.method_text(), invite.body());
    let Some(user) = user.filter(|_| are_right) else {
        return Caller::Wrong { detail: whose(name.as_deref()) };
    };
    if !is_fresh(cx, credentials.nonce, count) {
        return Caller::Unproven { is_stale: true };
    }
    let Some(customer) = tables.customer(user.customer_id).cloned() else { return unproven };
    let needs_address = customer.auth == CustomerAuth::Both;
    if !customer.auth.takes_digest() {
        let detail = "the customer is known by its address only";
        return Caller::Misplaced { customer, detail };
    }
    if needs_address && by_address.is_none_or(|it| it.id != customer.id) {
        return Caller::Misplaced { customer, detail: "the customer does not have this address" };
    }
    Caller::Customer(customer)
}

/// Whether a nonce is one of ours, not too old, and not used with this count before. Notes the count.
fn is_fresh(cx: &mut Context, nonce: &[u8], count: u32) -> bool {
    let Some(nonce) = cx.settings.nonce_key.read(nonce) else { return false };
    let now = unix_seconds(cx);
    let is_in_time = nonce.made_at <= now + CLOCK_SKEW.as_secs()
        && nonce.made_at + NONCE_LIFETIME.as_secs() > now;
    if !is_in_time || count <= cx.authentication.counts.get(nonce, cx.now) {
        return false;
    }
    cx.authentication.counts.set(nonce, count, cx.now);
    true
}

/// Whoever has one IPv6 address has its whole /64, and could guess from each of them.
pub fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

fn nobodys(algorithm: Algorithm) -> Ha1 {
    Ha1::of(algorithm, b"", b"", &Hidden::default())
}

fn whose(name: Option<&str>) -> String {
    match name.filter(|name| name.chars().count() <= MAX_NAME_CHARS) {
        Some(name) => format!("wrong credentials of user {name:?}"),
        None => "wrong credentials".to_owned(),
    }
}

fn unix_seconds(cx: &Context) -> u64 {
    let wall = cx.wall_at(cx.now);
    wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Context {
    /// The values of WWW-Authenticate, the best first (RFC 8760 §2.3); none where nobody authenticates.
    pub fn new_challenges(&mut self, is_stale: bool) -> Vec<String> {
        self.counters.challenges_sent += 1;
        let nonce = Nonce { made_at: unix_seconds(self), salt: self.ids.next_u64() };
        let nonce = self.settings.nonce_key.print(nonce);
        let users = &self.tables.users;
        let challenge =
            |algorithm: &Algorithm| Challenge::print(&users.realm, &nonce, *algorithm, is_stale);
        users.algorithms.iter().map(challenge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_failures_of_an_ipv4_address_and_of_an_ipv6_network() {
        let network = |text: &str| network_of(text.parse().expect("an address")).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}

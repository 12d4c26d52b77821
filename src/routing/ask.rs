//! From a customer and a number to a plan: the one way, for calls, dry runs and replays.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::{Drop, Plan, Query, Reach, decide};
use crate::carrier::number_rule::digits_of;
use crate::carrier::{Carrier, Customer, Gateway, Route, RoutedBy, Tables};
use crate::health::View;
use crate::sip::sdp::Audio;

/// A call that wants to be routed.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct Ask<'a> {
    pub customer: &'a Arc<Customer>,
    /// User part of the request URI.
    pub called: &'a str,
    /// The `rn` that came with it (RFC 4694).
    pub routing_number: Option<&'a str>,
    /// Country code of the called number, where it is one.
    pub country: Option<u16>,
    /// For the hours of carriers.
    pub wall: SystemTime,
    /// What audio the caller offers, as far as it is known.
    pub audio: Option<&'a Audio>,
    /// A `sips:` call: every hop must be by TLS.
    pub needs_tls: bool,
    pub seed: u64,
    /// What our listeners reach.
    pub reach: Reach,
    /// The free share of the tightest limit of a gateway and its carrier; 0.0 = no room for a call.
    pub headroom: &'a dyn Fn(&Carrier, &Gateway) -> f64,
    /// As in [`Query`].
    pub has_learned: bool,
}

/// Why there is no way for it.
#[derive(Clone, Debug)]
pub struct NoWay {
    pub status_code: u16,
    /// For the reason phrase, the record and the log.
    pub detail: String,
    /// No gateway in the region that it must stay in may take it.
    pub is_for_its_region: bool,
    pub route: Option<Arc<Route>>,
    pub plan: Option<Arc<Plan>>,
}

/// Finds route and candidates. A plan that comes back has a candidate, or is only short of capacity.
pub fn ask(
    tables: &Tables,
    view: &View,
    ask: &Ask<'_>,
    now: Instant,
) -> Result<Arc<Plan>, Box<NoWay>> {
    let no_way = |status_code, detail: &str| NoWay {
        status_code,
        detail: detail.to_owned(),
        is_for_its_region: false,
        route: None,
        plan: None,
    };
    if !ask.customer.is_enabled {
        return Err(Box::new(no_way(403, "the customer is disabled")));
    }
    let Some(route) = tables.route_for(ask.customer.id, routed_number(ask)) else {
        return Err(Box::new(no_way(404, "no route for this customer and number")));
    };
    let query = Query {
        route,
        customer_region: ask.customer.region.as_ref(),
        country: ask.country,
        wall: ask.wall,
        audio: ask.audio,
        needs_tls: ask.needs_tls,
        seed: ask.seed,
        reach: ask.reach,
        headroom: ask.headroom,
        has_learned: ask.has_learned,
    };
    let mut plan = decide(tables, view, &query, now);
    plan.routing_number = ask.routing_number.map(Into::into);
    let plan = Arc::new(plan);
    // What is only full may have room in a moment.
    if plan.candidates.is_empty() && !plan.is_short() {
        let (status_code, detail) = why_empty(&plan);
        let mut no_way = no_way(status_code, &detail);
        no_way.is_for_its_region = is_for_its_region(&plan);
        no_way.route = Some(route.clone());
        no_way.plan = Some(plan);
        return Err(Box::new(no_way));
    }
    Ok(plan)
}

/// The number whose route it takes.
fn routed_number<'a>(ask: &Ask<'a>) -> &'a str {
    match ask.customer.routed_by {
        RoutedBy::Called => ask.called,
        RoutedBy::RoutingNumber => {
            ask.routing_number.filter(|number| digits_of(number).is_some()).unwrap_or(ask.called)
        }
    }
}

fn is_for_its_region(plan: &Plan) -> bool {
    plan.region.is_some() && plan.dropped.iter().any(|dropped| dropped.reason == Drop::Region)
}

/// Region first: it is the one cause that no carrier can mend.
fn why_empty(plan: &Plan) -> (u16, String) {
    let has = |reason: Drop| plan.dropped.iter().any(|dropped| dropped.reason == reason);
    match &plan.region {
        Some(region) if is_for_its_region(plan) => (480, format!("no gateway in region {region}")),
        _ if has(Drop::NotSecure) => (480, "no gateway is reached by TLS, as sips asks".to_owned()),
        _ if has(Drop::Media) => (488, "no gateway takes the media offered".to_owned()),
        _ if has(Drop::Codec) => (488, "no gateway takes a codec offered".to_owned()),
        _ if has(Drop::OutOfHours) => (480, "no carrier takes calls at this hour".to_owned()),
        _ => (480, "no gateway of the route may take calls".to_owned()),
    }
}

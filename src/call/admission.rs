//! Whether a call may begin, and which way it may go.

use std::net::IpAddr;
use std::sync::Arc;

use super::attempt::Offer;
use super::context::Context;
use crate::carrier::{Customer, Route};
use crate::routing::{Drop, Plan, Query, decide};
use crate::sip::sdp;

/// A call that may begin.
#[derive(Debug)]
pub struct Admission {
    pub customer: Arc<Customer>,
    pub plan: Arc<Plan>,
}

/// A call that may not, with what is known of it for the record.
#[derive(Debug)]
pub struct Denial {
    pub status_code: u16,
    /// For the reason phrase, the record and the log.
    pub detail: String,
    pub customer: Option<Arc<Customer>>,
    pub route: Option<Arc<Route>>,
    pub plan: Option<Arc<Plan>>,
}

/// Finds customer, route and candidates for a call from `source`.
pub fn admit(cx: &mut Context, offer: &Offer, source: IpAddr) -> Result<Admission, Box<Denial>> {
    if cx.is_draining {
        return Err(Denial::new(503, "draining"));
    }
    let tables = cx.tables.clone();
    if !tables.is_loaded() {
        return Err(Denial::new(503, "no tables are in force yet"));
    }
    let Some(customer) = tables.customer_at(source) else {
        return Err(Denial::new(403, "no customer has this address"));
    };
    if !customer.is_enabled {
        return Err(Denial::new(403, "the customer is disabled").of(customer));
    }
    let Some(route) = tables.route_for(customer.id, &offer.called) else {
        return Err(Denial::new(404, "no route for this customer and number").of(customer));
    };
    let plan = plan_for(cx, route, customer.region.as_ref(), offer);
    // What is only full may have room in a moment.
    if plan.candidates.is_empty() && !plan.is_short() {
        let (status_code, detail) = why_empty(cx, &plan);
        let mut denial = Denial::new(status_code, &detail).of(customer);
        denial.route = Some(route.clone());
        denial.plan = Some(plan);
        return Err(denial);
    }
    Ok(Admission { customer: customer.clone(), plan })
}

/// Decides with what is known and in use now.
pub fn plan_for(
    cx: &mut Context,
    route: &Arc<Route>,
    customer_region: Option<&Arc<str>>,
    offer: &Offer,
) -> Arc<Plan> {
    let seed = cx.random.next_u64();
    let wall = cx.wall_at(cx.now);
    let audio = sdp::audio_of(&offer.invite);
    let (settings, capacity, now) = (&cx.settings, &cx.capacity, cx.now);
    let query = Query {
        route,
        customer_region,
        country: offer.country,
        wall,
        audio: audio.as_ref(),
        seed,
        has_listener: &|gateway, address| {
            settings.listener_for(gateway.transport, address).is_some()
        },
        headroom: &|carrier, gateway| capacity.headroom(carrier, gateway, now),
    };
    Arc::new(decide(&cx.tables, &cx.view, &query, now))
}

impl Denial {
    fn new(status_code: u16, detail: &str) -> Box<Self> {
        let detail = detail.to_owned();
        Box::new(Self { status_code, detail, customer: None, route: None, plan: None })
    }

    fn of(mut self: Box<Self>, customer: &Arc<Customer>) -> Box<Self> {
        self.customer = Some(customer.clone());
        self
    }
}

/// Region first: it is the one cause that no carrier can mend.
fn why_empty(cx: &mut Context, plan: &Plan) -> (u16, String) {
    let has = |reason: Drop| plan.dropped.iter().any(|dropped| dropped.reason == reason);
    match &plan.region {
        Some(region) if has(Drop::Region) => {
            cx.counters.calls_refused_region += 1;
            (480, format!("no gateway in region {region}"))
        }
        _ if has(Drop::Media) => (488, "no gateway takes the media offered".to_owned()),
        _ if has(Drop::Codec) => (488, "no gateway takes a codec offered".to_owned()),
        _ if has(Drop::OutOfHours) => (480, "no carrier takes calls at this hour".to_owned()),
        _ => (480, "no gateway of the route may take calls".to_owned()),
    }
}

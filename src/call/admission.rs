//! Whether a call may begin, and which way it may go.

use std::sync::Arc;

use super::attempt::Offer;
use super::authentication::Caller;
use super::context::Context;
use crate::carrier::{Customer, Route};
use crate::routing::{Ask, Plan, Query, ask, decide};
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

/// Finds route and candidates for a call.
pub fn admit(cx: &mut Context, offer: &Offer, caller: Caller) -> Result<Admission, Box<Denial>> {
    if cx.is_draining {
        return Err(Denial::new(503, "draining"));
    }
    if !cx.tables.is_loaded() {
        return Err(Denial::new(503, "no tables are in force yet"));
    }
    let customer = match caller {
        Caller::Customer(customer) => customer,
        Caller::Stranger => return Err(Denial::new(403, "no customer has this address")),
        Caller::Unproven { .. } => return Err(Denial::new(401, "no credentials")),
        Caller::Wrong { detail } => return Err(Denial::new(401, &detail)),
        Caller::Misplaced { customer, detail } => {
            return Err(Denial::new(403, detail).of(&customer));
        }
        Caller::Blocked => return Err(Denial::new(403, "too many wrong credentials")),
    };
    find_way(cx, offer, &customer)
}

/// Finds route and candidates for a call of this customer.
pub fn find_way(
    cx: &mut Context,
    offer: &Offer,
    customer: &Arc<Customer>,
) -> Result<Admission, Box<Denial>> {
    let tables = cx.tables.clone();
    let seed = cx.random.next_u64();
    let wall = cx.wall_at(cx.now);
    let audio = sdp::audio_of(&offer.invite);
    let (settings, capacity, now) = (&cx.settings, &cx.capacity, cx.now);
    let routing_number = offer.called.routing_number();
    let wanted = Ask {
        customer,
        called: &offer.called.user,
        routing_number: routing_number.as_deref(),
        country: offer.country,
        wall,
        audio: audio.as_ref(),
        needs_tls: offer.is_secure,
        seed,
        reach: settings.reach(),
        headroom: &|carrier, gateway| capacity.headroom(carrier, gateway, now),
        has_learned: capacity.has_learned(),
    };
    match ask(&tables, &cx.view, &wanted, now) {
        Ok(plan) => Ok(Admission { customer: customer.clone(), plan }),
        Err(no_way) => {
            cx.counters.calls_refused_region += u64::from(no_way.is_for_its_region);
            let mut denial = Denial::new(no_way.status_code, &no_way.detail).of(customer);
            denial.route = no_way.route;
            denial.plan = no_way.plan;
            Err(denial)
        }
    }
}

/// Decides anew with what is known and in use now, for a call that has its route.
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
        needs_tls: offer.is_secure,
        seed,
        reach: settings.reach(),
        headroom: &|carrier, gateway| capacity.headroom(carrier, gateway, now),
        has_learned: capacity.has_learned(),
    };
    let mut plan = decide(&cx.tables, &cx.view, &query, now);
    plan.routing_number = offer.called.routing_number().map(Into::into);
    Arc::new(plan)
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

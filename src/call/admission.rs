//! Whether a call may begin, and which way it may go.

use std::net::IpAddr;
use std::sync::Arc;

use super::attempt::Offer;
use super::context::Context;
use crate::carrier::{Customer, Route};
use crate::routing::{Drop, Plan, Query, decide};

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
        let mut denial = Denial::new(480, &why_empty(&plan)).of(customer);
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
    let (settings, capacity, now) = (&cx.settings, &cx.capacity, cx.now);
    let query = Query {
        route,
        customer_region,
        country: offer.country,
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
fn why_empty(plan: &Plan) -> String {
    match &plan.region {
        Some(region) if plan.dropped.iter().any(|dropped| dropped.reason == Drop::Region) => {
            format!("no gateway in region {region}")
        }
        _ => "no gateway of the route may take calls".to_owned(),
    }
}

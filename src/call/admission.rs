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
    let settings = &cx.settings;
    let query = Query {
        route,
        customer_region: customer.region.as_ref(),
        country: offer.country,
        seed: cx.random.next_u64(),
        has_listener: &|gateway, address| {
            settings.listener_for(gateway.transport, address).is_some()
        },
    };
    let plan = Arc::new(decide(&tables, &cx.view, &query, cx.now));
    if plan.candidates.is_empty() {
        let mut denial = Denial::new(480, &why_empty(&plan)).of(customer);
        denial.route = Some(route.clone());
        denial.plan = Some(plan);
        return Err(denial);
    }
    Ok(Admission { customer: customer.clone(), plan })
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

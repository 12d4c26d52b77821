//! From a customer and a number to a plan: the one way, for calls, dry runs and replays.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Drop, Plan, Query, decide};
use crate::carrier::{Carrier, Customer, Gateway, Route, Tables};
use crate::health::View;

/// A call that wants to be routed.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct Ask<'a> {
    pub customer: &'a Arc<Customer>,
    /// User part of the request URI.
    pub called: &'a str,
    /// Country code of the called number, where it is one.
    pub country: Option<u16>,
    pub seed: u64,
    /// Whether one of our listeners reaches an address of a gateway.
    pub has_listener: &'a dyn Fn(&Gateway, SocketAddr) -> bool,
    /// The free share of the tightest limit of a gateway and its carrier; 0.0 = no room for a call.
    pub headroom: &'a dyn Fn(&Carrier, &Gateway) -> f64,
}

/// Why there is no way for it.
#[derive(Clone, Debug)]
pub struct NoWay {
    pub status_code: u16,
    /// For the reason phrase, the record and the log.
    pub detail: String,
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
        route: None,
        plan: None,
    };
    if !ask.customer.is_enabled {
        return Err(Box::new(no_way(403, "the customer is disabled")));
    }
    let Some(route) = tables.route_for(ask.customer.id, ask.called) else {
        return Err(Box::new(no_way(404, "no route for this customer and number")));
    };
    let query = Query {
        route,
        customer_region: ask.customer.region.as_ref(),
        country: ask.country,
        seed: ask.seed,
        has_listener: ask.has_listener,
        headroom: ask.headroom,
    };
    let plan = Arc::new(decide(tables, view, &query, now));
    // What is only full may have room in a moment.
    if plan.candidates.is_empty() && !plan.is_short() {
        let mut no_way = no_way(480, &why_empty(&plan));
        no_way.route = Some(route.clone());
        no_way.plan = Some(plan);
        return Err(Box::new(no_way));
    }
    Ok(plan)
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

//! What the loss of a route's largest carrier would leave of what the route can carry.

use std::fmt;
use std::sync::Arc;

use super::{AdminState, Carrier, CarrierId, Route, RouteId, Tables};

/// One route without its largest carrier.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    pub route_id: RouteId,
    pub carrier: Arc<str>,
    /// Calls a second that the route's other carriers take.
    pub left: f64,
    /// Calls a second that all take together; `None` where the largest has no limit.
    pub all: Option<f64>,
}

impl Loss {
    /// Of every route whose carriers, but for the largest one at most, have a limit of calls a second; by
    /// the routes' ids.
    pub fn of(tables: &Tables) -> Vec<Self> {
        let mut losses: Vec<Self> =
            tables.routes.values().filter_map(|route| of_route(tables, route)).collect();
        losses.sort_by_key(|loss| loss.route_id);
        losses
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route_id, carrier, left, all } = self;
        write!(f, "route {route_id}: if {carrier} is lost, ")?;
        match all {
            Some(all) => write!(f, "the others carry {left} of {all} calls/s"),
            None => write!(f, "the others carry {left} calls/s"),
        }
    }
}

fn of_route(tables: &Tables, route: &Route) -> Option<Loss> {
    let mut carriers: Vec<(CarrierId, Option<f64>, Arc<str>)> = route
        .carriers
        .iter()
        .filter_map(|place| tables.carrier(place.carrier_id))
        .filter(|carrier| carrier.is_enabled)
        .map(|carrier| (carrier.id, cps(tables, carrier), carrier.name.clone()))
        .collect();
    // A carrier may stand in a route more than once.
    carriers.sort_by_key(|(id, ..)| *id);
    carriers.dedup_by_key(|(id, ..)| *id);
    carriers.sort_by(|(_, a, _), (_, b, _)| {
        b.unwrap_or(f64::INFINITY).total_cmp(&a.unwrap_or(f64::INFINITY))
    });
    let ((_, largest, name), others) = carriers.split_first()?;
    if largest.is_none() && others.is_empty() {
        return None;
    }
    let left = others.iter().map(|(_, cps, _)| *cps).sum::<Option<f64>>()?;
    let all = largest.map(|largest| rounded(largest + left));
    Some(Loss { route_id: route.id, carrier: name.clone(), left: rounded(left), all })
}

/// What a carrier takes: its own limit, and no more than its gateways together.
fn cps(tables: &Tables, carrier: &Carrier) -> Option<f64> {
    let gateways = tables.gateways_of(carrier.id);
    let on = gateways.iter().filter(|gateway| gateway.admin_state == AdminState::On);
    let of_gateways: Option<f64> = on.map(|gateway| gateway.limits.cps).sum();
    match (carrier.limits.cps, of_gateways) {
        (Some(own), Some(sum)) => Some(own.min(sum)),
        (own, None) => own,
        (None, sum) => sum,
    }
}

/// To thousandths, as a column holds it: sums of fractions are not to show what was lost in adding, and
/// the sum of nothing no sign.
fn rounded(cps: f64) -> f64 {
    (cps * 1_000.0).round() / 1_000.0 + 0.0
}

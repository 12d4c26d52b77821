//! Identities of rows, as newtypes over the tables' `bigint` keys.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! row_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

row_id! {
    /// `carriers.carrier_id`
    CarrierId,
    /// `gateways.gateway_id`
    GatewayId,
    /// `customers.customer_id`
    CustomerId,
    /// `routes.route_id`
    RouteId,
    /// `failure_rules.failure_rule_id`
    FailureRuleId,
}

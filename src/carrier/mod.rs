//! What an admin's tables say: carriers, gateways, customers, routes, failure rules, number rules, groups, credentials.

mod check;
pub mod class;
pub mod credentials;
pub mod customer;
pub mod failure_rule;
pub mod gateway;
pub mod group;
pub mod header_rule;
pub mod hours;
pub mod ids;
pub mod losses;
pub mod number_rule;
pub mod packs;
pub mod refusal;
pub mod rewrite;
pub mod roster;
pub mod route;
pub mod rows;
pub mod seed;
mod shadow;
pub mod tables;

pub use class::{Action, Class, Origin, Stage};
pub use credentials::{CarrierCredentials, CustomerAuth, Registration, User, Users};
pub use customer::{Customer, ReferPolicy, RoutedBy};
pub use failure_rule::{FailureRule, Observation, RuleMatch};
pub use gateway::{AdminState, Carrier, Dns, Gateway, Limits, Media, Transport};
pub use group::ErrorsInRow;
pub use header_rule::{Carry, HeaderRule, Identity};
pub use hours::Hours;
pub use ids::{CarrierId, CustomerId, FailureRuleId, GatewayId, RouteId};
pub use losses::Loss;
pub use number_rule::NumberRule;
pub use refusal::{Refusal, Severity};
pub use roster::{Post, Roster, Traits};
pub use route::{RerouteAfterRinging, Route, RouteCarrier, Strategy};
pub use rows::Rows;
pub use tables::Tables;

#[cfg(test)]
mod tests;

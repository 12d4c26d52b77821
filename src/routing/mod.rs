//! `decide(tables, view, query, now) -> Plan`: which targets a call tries, in which order, and why.

pub mod decide;
pub mod plan;

pub use decide::{Query, decide};
pub use plan::{Candidate, Drop, Dropped, Plan};

#[cfg(test)]
mod tests;

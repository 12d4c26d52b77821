//! `decide(tables, view, query, now) -> Plan`: which targets a call tries, in which order, and why.

pub mod ask;
mod bid;
pub mod decide;
mod filter;
pub mod plan;
mod ranking;
mod reach;
pub mod record;
mod text;

pub use ask::{Ask, NoWay, ask};
pub use decide::{Query, decide};
pub use plan::{Candidate, Drop, Dropped, Plan};
pub use reach::Reach;
pub use record::{CandidateRecord, DecisionRecord, DroppedRecord, HealthRecord};

#[cfg(test)]
mod tests;

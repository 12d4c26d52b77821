//! The B2BUA: two legs, one call.

pub mod record;

pub use record::{AttemptRecord, CallRecord, EndCause, EndedBy};

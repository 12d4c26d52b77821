//! Carriers that stand in for each other.

use std::time::Duration;

/// A carrier that has made so many errors in a row is left for a while (`carrier_groups`).
///
/// Such an error is a response 5xx, no response at all, a closed port, or whatever else a failure rule
/// counts whole (weight 1); always of a class that counts against the carrier. A success between two of
/// them begins the row anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorsInRow {
    /// 1 or more.
    pub count: u32,
    /// From the first of them to the last.
    pub within: Duration,
    /// How long new calls leave the carrier.
    pub hold: Duration,
}

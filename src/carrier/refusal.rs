//! Why a row of the tables is refused.

use std::fmt;

use super::class::spelled;

/// One thing that makes no sense in the tables. The last good tables stay in force, unless it is no more
/// than a warning (`Tables::warnings`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub table: &'static str,
    /// The row's primary key as text, e.g. `3` or `3/7`.
    pub row: String,
    pub column: &'static str,
    /// A sentence that says what is wrong and what would be right.
    pub reason: String,
}

spelled! {
    /// What a complaint about a row does.
    Severity {
        /// The tables do not come into force.
        Error = "error",
        /// They do, but hardly as they were meant.
        Warning = "warning",
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} row {}, column {}: {}", self.table, self.row, self.column, self.reason)
    }
}

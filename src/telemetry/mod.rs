//! What operators see: logs without people's numbers in them, and metrics.

pub mod log;
pub mod metrics;
pub mod redact;

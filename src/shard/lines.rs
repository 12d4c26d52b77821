//! What messages from outside may bring into the log.

use std::time::Instant;

use crate::allowance::Allowance;
use crate::engine::Event;
use crate::telemetry::redact;

/// Lines of one kind that messages from outside may bring into the log at once, and a second.
const LINES_BURST: u32 = 20;
const LINES_A_SECOND: u32 = 2;
/// How much outsiders may have written into the log.
pub(super) struct Lines {
    pub(super) refused: Allowance,
    pub(super) config: Allowance,
    pub(super) lost: Allowance,
}

impl Lines {
    pub(super) fn new(now: Instant) -> Self {
        let allowance = Allowance::new(LINES_BURST, LINES_A_SECOND, now);
        Self { refused: allowance.clone(), config: allowance.clone(), lost: allowance }
    }

    /// Writes a line, or counts it as left out: the next line of its kind says how many were.
    pub(super) fn log(&mut self, event: &Event, now: Instant) {
        match event {
            Event::ConfigRefusal { gateway, status_code, reason } => {
                let Some(left_out) = self.config.take(now) else { return };
                tracing::warn!(
                    gateway = %gateway,
                    status_code,
                    reason = redact::text(reason),
                    left_out,
                    "a carrier refuses what we send; look at its account and number_rules"
                );
            }
            Event::Registered { gateway, address: Some(address) } => {
                tracing::info!(gateway = %gateway, %address, "registered");
            }
            Event::Registered { gateway, address: None } => {
                tracing::info!(gateway = %gateway, "registered no more");
            }
            Event::NotRegistered { gateway, status_code, reason } => {
                let Some(left_out) = self.config.take(now) else { return };
                tracing::warn!(
                    gateway = %gateway,
                    status_code,
                    reason = redact::text(reason),
                    left_out,
                    "a registrar refuses us; look at registrations and carrier_credentials"
                );
            }
            Event::Refused { source, status_code, detail } => {
                let Some(left_out) = self.refused.take(now) else { return };
                tracing::info!(
                    %source,
                    status_code,
                    detail = %redact::text(detail),
                    left_out,
                    "call refused"
                );
            }
        }
    }
}

//! What is learned of gateways from requests within calls, and from the keep-alives of connections.

use std::time::{Duration, Instant};

use super::{Engine, Flow};
use crate::call::context::Owner;
use crate::health::{Evidence, Target};

/// A request of ours that has its end.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) owner: Owner,
    pub(super) flow: Flow,
    pub(super) at: Instant,
}

impl Engine {
    /// What became of a request within a call tells whether its gateway lives, and nothing of how well that carries
    /// calls. `status_code` is `None` for silence, and where it could not be sent.
    pub(super) fn note_asked(&mut self, asked: Asked, status_code: Option<u16>) {
        match asked.owner {
            Owner::Reinvite(..)
            | Owner::Relay { .. }
            | Owner::Refresh(..)
            | Owner::Bye(..)
            | Owner::Farewell(_) => {}
            // An attempt, and a probe, tell more than that themselves.
            Owner::Invite(_)
            | Owner::Stray(_)
            | Owner::Probe(_)
            | Owner::Register(_)
            | Owner::Nobody => {
                return;
            }
        }
        let waited = self.cx.now - asked.at;
        self.note_life(
            asked.flow,
            match status_code {
                Some(code) if !matches!(code, 408 | 503) => None,
                Some(_) | None => Some(waited),
            },
        );
    }

    /// A gateway's connection has answered a keep-alive, or has not for so long (RFC 5626 §4.4.1).
    pub(super) fn note_life(&mut self, flow: Flow, silent_for: Option<Duration>) {
        let cx = &mut self.cx;
        let Some(gateway) = flow.gateway.and_then(|id| cx.tables.gateway(id)) else { return };
        // A Contact, or a route set, may lead elsewhere: that is nobody's target.
        let target = Target { gateway_id: gateway.id, address: flow.remote };
        if cx.view.target(target).is_none() {
            return;
        }
        let carrier_id = gateway.carrier.id;
        let evidence = match silent_for {
            None => Evidence::Alive,
            Some(waited) => Evidence::Doubt { waited },
        };
        cx.emit_outcome(target, carrier_id, evidence);
    }
}

//! The two legs of an answered call.

use std::time::Instant;

use super::succession::Succession;
use crate::call::context::Context;
use crate::call::leg::Leg;
use crate::call::{EndedBy, Side};
use crate::health::Channel;

/// The two legs of an answered call. After a transfer both may lead to carriers.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) inbound: Leg,
    pub(super) outbound: Leg,
    pub(super) ends_at: Option<Instant>,
    /// Of each leg's gateway, where it has one; given back when the call is over, however long our BYE may take.
    pub(super) channels: [Option<Channel>; 2],
    /// Somebody is to take a peer's place.
    pub(super) succession: Option<Box<Succession>>,
    /// This peer has hung up, and the call waits for who takes its place.
    pub(super) gone: Option<Side>,
    /// Since when another node could go on with the call.
    pub(super) kept_at: Option<Instant>,
    /// What was last asked to be kept is not.
    pub(super) is_behind: bool,
    /// What the legs had been through when they were last asked to be kept.
    pub(super) kept_revision: Revision,
    /// Where the call was taken over: which peer is still to be told where we are, and when next.
    pub(super) moves: [Move; 2],
}

/// Counts what another node has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Revision {
    /// Targets, and session descriptions.
    terms: u32,
    /// Intervals of the session timers.
    intervals: u32,
}

/// Whether a peer knows where its call has gone: the caller, the callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It sends to us, or always has.
    Known,
    /// To be told then.
    Due(Instant),
    /// Being told.
    Told,
}

impl Talk {
    pub(super) fn new(
        inbound: Leg,
        outbound: Leg,
        ends_at: Option<Instant>,
        channels: [Option<Channel>; 2],
    ) -> Self {
        Self {
            inbound,
            outbound,
            ends_at,
            channels,
            succession: None,
            gone: None,
            kept_at: None,
            is_behind: false,
            kept_revision: Revision::default(),
            moves: [Move::Known; 2],
        }
    }

    pub(super) fn revision(&self) -> Revision {
        let (one, other) = (&self.inbound, &self.outbound);
        Revision {
            terms: one.terms().wrapping_add(other.terms()),
            intervals: one.session.intervals.wrapping_add(other.session.intervals),
        }
    }

    /// Whether what is kept is not what another node would have to know. An interval that has begun anew alone can wait
    /// until both peers know where the call has gone: that is kept anyhow.
    pub(super) fn has_news(&self) -> bool {
        let revision = self.revision();
        let is_settled = self.moves == [Move::Known; 2];
        revision.terms != self.kept_revision.terms
            || (is_settled && revision.intervals != self.kept_revision.intervals)
    }

    pub(super) fn release(&mut self, cx: &mut Context) {
        for channel in self.channels.iter_mut().filter_map(Option::take) {
            cx.capacity.release(channel);
        }
    }

    pub(super) fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::Inbound => &self.inbound,
            Side::Outbound => &self.outbound,
        }
    }

    /// The leg on `side`, and the other one.
    pub(super) fn legs(&mut self, side: Side) -> (&mut Leg, &mut Leg) {
        match side {
            Side::Inbound => (&mut self.inbound, &mut self.outbound),
            Side::Outbound => (&mut self.outbound, &mut self.inbound),
        }
    }

    /// Who it is that hangs up on `side`: whoever is behind a carrier was called.
    pub(super) fn party(&self, side: Side) -> EndedBy {
        match &self.leg(side).trunk {
            None => EndedBy::Caller,
            Some(_) => EndedBy::Callee,
        }
    }

    /// When the call wants time.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let succession = self.succession.as_ref().and_then(|it| it.poll_timeout());
        let own = [self.inbound.poll_timeout(), self.outbound.poll_timeout(), self.ends_at];
        own.into_iter().chain([succession]).chain(self.moves_due()).flatten().min()
    }
}

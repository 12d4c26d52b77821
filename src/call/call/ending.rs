//! How an answered call ends: whoever is there hears of it, and the record is written.

use std::time::Duration;

use super::talk::Talk;
use super::{Call, State, asked_by_us};
use crate::call::context::Context;
use crate::call::{Carried, EndCause, EndedBy, LegEvent, Side};

/// How long a record waits for our BYEs to be answered. Until it is written another node would go on with the call,
/// should this one die, and end the leg that was not told.
const RECORD_LIMIT: Duration = Duration::from_secs(5);

impl Call {
    /// Our BYE was answered. A peer that has seen higher CSeqs than we know of is told again beyond those
    /// (RFC 3261 §12.2.2).
    pub fn on_bye_answered(&mut self, cx: &mut Context, side: Side, status_code: u16) {
        let is_told_again = match &mut self.state {
            State::Ending { legs, .. } => status_code == 500 && legs.legs(side).0.end_again(cx),
            State::Setup(_) | State::Talk(_) | State::Over => false,
        };
        if !is_told_again {
            self.on_bye_done(cx);
        }
    }

    /// Our BYE was answered, or never will be.
    pub fn on_bye_done(&mut self, cx: &mut Context) {
        self.on_leg_done(cx);
    }

    /// Ends the call for `detail`'s sake.
    pub fn terminate(&mut self, cx: &mut Context, detail: &str) {
        match &mut self.state {
            State::Setup(setup) => {
                let next = setup.on_terminated(cx, &mut self.draft);
                self.go(cx, next);
            }
            State::Talk(_) => self.end_both(cx, EndCause::Terminated, detail),
            State::Ending { .. } | State::Over => {}
        }
    }

    /// The node ends: what is to be written is written now.
    pub fn give_out_record(&mut self, cx: &mut Context) {
        if let State::Ending { .. } = self.state {
            self.draft.give_out(cx);
        }
    }

    /// What legs tell while our BYEs are on their way: only whoever waits for an answer gets one, and
    /// a BYE that has waited for an ACK is sent.
    pub(super) fn on_late_event(&mut self, cx: &mut Context, side: Side, event: LegEvent<'_>) {
        let State::Ending { legs, .. } = &mut self.state else { return };
        let (leg, other) = legs.legs(side);
        match event {
            LegEvent::Replied { server, status_code, carried } => {
                other.reply(cx, server, asked_by_us(status_code), carried);
            }
            LegEvent::Asked { server, .. } | LegEvent::Referred { server, .. } => {
                cx.reject(server, 481, b"");
            }
            LegEvent::Acknowledged(_) | LegEvent::Unacknowledged => {
                if !leg.end_at_last(cx) {
                    self.on_leg_done(cx);
                }
            }
            LegEvent::Offered(_)
            | LegEvent::Progressed { .. }
            | LegEvent::Answered(_)
            | LegEvent::Failed { .. }
            | LegEvent::Withdrawn
            | LegEvent::Expired
            | LegEvent::Refreshed
            | LegEvent::RefreshFailed { .. }
            | LegEvent::Ended(_) => {}
        }
    }

    /// One peer hung up: the other is told.
    pub(super) fn end_by_peer(&mut self, cx: &mut Context, side: Side, carried: Carried<'_>) {
        self.abandon_succession(cx);
        let Some(mut talk) = self.take_talk() else { return };
        talk.release(cx);
        let (ended_by, gone) = (talk.party(side), talk.gone);
        let (leg, other) = talk.legs(side);
        leg.close(cx);
        let mut waits = u8::from(leg.is_unacknowledged());
        if gone != Some(side.other()) {
            other.end(cx, Some(carried));
            waits += 1;
        }
        self.draft.conclude(cx, None, EndCause::Completed, ended_by, "");
        self.wait_for_legs(cx, talk, waits);
    }

    pub(super) fn end_both(&mut self, cx: &mut Context, cause: EndCause, detail: &str) {
        self.end_with(cx, cause, None, detail);
    }

    /// Hangs up on whoever is there; `by`: who did so before.
    pub(super) fn end_with(
        &mut self,
        cx: &mut Context,
        cause: EndCause,
        by: Option<Side>,
        detail: &str,
    ) {
        self.abandon_succession(cx);
        let Some(mut talk) = self.take_talk() else { return };
        talk.release(cx);
        let ended_by = by.map_or(EndedBy::Holdfast, |side| talk.party(side));
        let mut waits = 0;
        for side in [Side::Inbound, Side::Outbound] {
            if talk.gone != Some(side) {
                talk.legs(side).0.end(cx, None);
                waits += 1;
            }
        }
        self.draft.conclude(cx, None, cause, ended_by, detail);
        self.wait_for_legs(cx, talk, waits);
    }

    /// The legs of an answered call, which is over without them; any other stays as it is.
    pub(super) fn take_talk(&mut self) -> Option<Box<Talk>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Talk(talk) => Some(talk),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The record waits, too, where another node could go on with the call.
    fn wait_for_legs(&mut self, cx: &mut Context, legs: Box<Talk>, waits: u8) {
        let record_by = legs.kept_at.map(|_| cx.now + RECORD_LIMIT);
        if record_by.is_none() {
            self.draft.give_out(cx);
        }
        self.state = State::Ending { legs, waits, record_by, lost: None };
        self.leave_if_done(cx);
    }

    /// One thing less to wait for.
    pub(super) fn on_leg_done(&mut self, cx: &mut Context) {
        if let State::Ending { waits, .. } = &mut self.state {
            *waits = waits.saturating_sub(1);
            self.leave_if_done(cx);
        }
    }

    /// Gives the record out and forgets the dialogs, once nothing more is to come.
    pub(super) fn leave_if_done(&mut self, cx: &mut Context) {
        if let State::Ending { legs, waits: 0, lost: None, .. } = &self.state {
            cx.dialogs.remove(&legs.inbound.dialog.local_tag);
            cx.dialogs.remove(&legs.outbound.dialog.local_tag);
            self.draft.give_out(cx);
            self.state = State::Over;
        }
    }
}

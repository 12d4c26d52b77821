//! Whose offer waits for its answer on a leg, and what that means for an UPDATE (RFC 3311 §5.2).

use super::context::Context;
use super::leg::Leg;
use crate::sip::{HeaderName, Message, Printer, sdp};
use crate::transaction::ServerKey;

/// The first offer of a dialog that is not answered yet, in a form that counts: a 2xx, a reliable 1xx, its
/// PRACK, or the ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstOffer {
    /// In our INVITE, or due in it.
    Ours,
    /// In the peer's INVITE, or due from it.
    Theirs,
}

impl Leg {
    /// Refuses an UPDATE that comes at the wrong time; `false` where it does not.
    pub(super) fn refuses_update(
        &mut self,
        cx: &mut Context,
        server: ServerKey,
        request: &Message,
    ) -> bool {
        if self.updating.is_some() {
            refuse_for_now(cx, server, b"Overlapping UPDATE");
            return true;
        }
        if !sdp::is_session_description(request) {
            return false;
        }
        if self.waits_for_answer() {
            cx.respond(server, 491, b"", None, |_, _| {}, b"");
        } else if self.owes_answer() {
            refuse_for_now(cx, server, b"Offer Not Answered Yet");
        } else {
            return false;
        }
        true
    }

    /// Neither side may make an offer now.
    pub(super) fn is_negotiating(&self) -> bool {
        self.waits_for_answer() || self.owes_answer() || self.updating.is_some()
    }

    /// An offer of ours has no answer yet.
    pub(super) fn waits_for_answer(&self) -> bool {
        self.offered.is_some()
            || self.first_offer == Some(FirstOffer::Ours)
            || self.has_invited_with_offer()
            || self.is_refreshing_by_invite()
    }

    /// An offer of the peer has no answer yet.
    fn owes_answer(&self) -> bool {
        self.first_offer == Some(FirstOffer::Theirs) || self.is_invited_with_offer()
    }
}

/// 500 with a Retry-After at random (RFC 3261 §14.2, RFC 3311 §5.2).
pub(super) fn refuse_for_now(cx: &mut Context, server: ServerKey, reason: &[u8]) {
    let seconds = cx.random.below(11);
    let write = |printer: &mut Printer, _: &Message| {
        printer.header_fmt(HeaderName::RetryAfter, format_args!("{seconds}"));
    };
    cx.respond(server, 500, reason, None, write, b"");
}

//! How a leg ends: with our BYE, with the peer's, or without a word.

use super::Leg;
use crate::call::context::{Context, Owner};
use crate::call::refresh::SEQ_LEAP;
use crate::call::{Carried, header_policy};
use crate::sip::{HeaderName, Method};
use crate::transaction::timer::TRANSACTION_LIMIT;

impl Leg {
    /// Gives up what is under way without a word to the peer, who hears from another node.
    pub fn fall_silent(&mut self, cx: &mut Context) {
        let received = self.received.take().map(|received| received.server);
        for server in received.into_iter().chain(self.asked.drain(..)) {
            cx.transactions.remove_server(server);
        }
        if let Some(sent) = self.sent.take() {
            let limit = cx.now + TRANSACTION_LIMIT;
            cx.with_client(sent.client, |client, _, _| client.machine.limit(limit));
        }
    }

    /// Hangs up: answers what is pending, acknowledges what is not, sends BYE.
    pub fn end(&mut self, cx: &mut Context, reason: Option<Carried<'_>>) {
        self.close(cx);
        if self.is_unacknowledged() {
            // RFC 3261 §15: a callee does not send BYE before its 2xx is acknowledged, or never will be.
            self.farewell = Some(reason.map(|carried| carried.0.clone()));
        } else {
            self.say_bye(cx, reason);
        }
    }

    /// The ACK that our BYE has waited for has come, or never will. Says whether a BYE did wait.
    pub fn end_at_last(&mut self, cx: &mut Context) -> bool {
        let Some(reason) = self.farewell.take() else { return false };
        self.say_bye(cx, reason.as_ref().map(Carried::of));
        true
    }

    /// Sends our BYE once more, with a CSeq far beyond the last; `false` where that has been tried.
    pub fn end_again(&mut self, cx: &mut Context) -> bool {
        if std::mem::replace(&mut self.has_leapt, true) {
            return false;
        }
        self.dialog.jump_seq(self.dialog.local_seq.saturating_add(SEQ_LEAP));
        self.say_bye(cx, None);
        true
    }

    /// The peer has hung up too: a BYE of ours that still waits is not needed any more.
    pub fn forgo_bye(&mut self) {
        self.farewell = None;
    }

    /// The 2xx that made the dialog is being repeated. That goes on after a BYE: one that the peer
    /// sent in the early dialog may have crossed it, and its INVITE needs its end (RFC 5407 §3.1.3).
    pub fn is_unacknowledged(&self) -> bool {
        self.received
            .as_ref()
            .is_some_and(|received| received.is_first && received.answer.is_some())
    }

    /// Hangs up, unless the peer has, and is done with it: its call goes on without.
    pub(in crate::call) fn dismiss(mut self, cx: &mut Context) {
        self.close(cx);
        cx.dialogs.remove(&self.dialog.local_tag);
        if !self.has_left {
            let owner = self.unawaited();
            self.send_bye(cx, owner, None);
        }
    }

    /// Owner of a request whose end changes nothing.
    pub(in crate::call) fn unawaited(&self) -> Owner {
        self.carrier_id().map_or(Owner::Nobody, Owner::Farewell)
    }

    fn say_bye(&mut self, cx: &mut Context, reason: Option<Carried<'_>>) {
        self.send_bye(cx, Owner::Bye(self.call, self.side), reason);
    }

    fn send_bye(&mut self, cx: &mut Context, owner: Owner, reason: Option<Carried<'_>>) {
        let flow = self.flow_out(cx);
        let of = self.carrier_id();
        let dialog = &mut self.dialog;
        cx.start_towards(of, Method::Bye, flow, owner, |branch, settings| {
            let listener = settings.listener(flow.listener);
            let mut printer = dialog.request(b"BYE", listener, branch);
            printer.header(HeaderName::UserAgent, settings.user_agent.as_bytes());
            if let Some(carried) = reason {
                header_policy::write(carried, &self.header_rule, &mut printer);
            }
            printer.finish(reason.map(header_policy::body).unwrap_or_default())
        });
    }

    /// Ends what is pending, without a BYE: the peer has hung up, or is about to be.
    pub fn close(&mut self, cx: &mut Context) {
        // RFC 3261 §15.1.2: pending requests are answered 487.
        if self.received.as_ref().is_some_and(|received| received.answer.is_none()) {
            self.refuse(cx, 487, None);
        }
        self.close_asked(cx);
        if !self.is_unacknowledged() {
            self.received = None;
        }
        self.acknowledge(cx, None);
        self.abandon_refresh(cx);
        self.session.begin(None);
        if let Some(sent) = &self.sent {
            let limit = cx.now + TRANSACTION_LIMIT;
            cx.with_client(sent.client, |client, _, _| client.machine.limit(limit));
        }
    }
}

//! The caller's INVITE until its final response (RFC 3261 §13.3).

use smallvec::SmallVec;

use super::attempt::write_contact;
use super::context::{ALLOW, CallKey, Context};
use super::leg::Leg;
use super::{Carried, Side, header_policy};
use crate::carrier::HeaderRule;
use crate::dialog::{Dialog, Tag};
use crate::sip::{HeaderName, Message, Printer};
use crate::transaction::{Flow, Listener, ServerKey};

/// Early dialogs that one caller sees at most; more share the last one's tag.
const MAX_EARLY_DIALOGS: usize = 8;

/// The UAS side of a call that is not answered yet.
#[derive(Debug)]
pub struct Inbound {
    pub server: ServerKey,
    /// Where the caller's messages come from.
    pub flow: Flow,
    /// One tag of ours for each early dialog of the carriers' side, so that the SDP of one is never
    /// mixed with another's (RFC 3960 §3.1).
    early: SmallVec<[EarlyDialog; 2]>,
}

#[derive(Debug)]
struct EarlyDialog {
    attempt: u8,
    remote_tag: Box<[u8]>,
    local_tag: Tag,
}

impl Inbound {
    pub fn new(server: ServerKey, flow: Flow) -> Self {
        Self { server, flow, early: SmallVec::new() }
    }

    /// Relays a provisional response other than 100.
    pub fn progress(
        &mut self,
        cx: &mut Context,
        call: CallKey,
        attempt: u8,
        status_code: u16,
        response: &Message,
    ) {
        let tag = self.tag_for(cx, call, attempt, response.to_tag().unwrap_or_default());
        let listener = cx.settings.listener(self.flow.listener).clone();
        let carried = Carried::of(response);
        let write = |printer: &mut Printer, invite: &Message| {
            write_dialog_headers(&listener, None, invite, printer);
            header_policy::write(carried, &HeaderRule::default(), printer);
        };
        let body = header_policy::body(carried);
        cx.respond(self.server, status_code, response.reason(), Some(tag), write, body);
    }

    /// Answers the caller; the leg repeats the 2xx until its ACK comes.
    pub fn answer(
        &mut self,
        cx: &mut Context,
        call: CallKey,
        attempt: u8,
        invite: &Message,
        response: &Message,
    ) -> Leg {
        let tag = self.tag_for(cx, call, attempt, response.to_tag().unwrap_or_default());
        for early in self.early.drain(..).filter(|early| early.local_tag != tag) {
            cx.dialogs.remove(&early.local_tag);
        }
        let mut dialog = Dialog::uas(invite, tag);
        dialog.note_source(invite, self.flow.remote.ip());
        let mut leg = Leg::new(call, Side::Inbound, dialog, self.flow);
        leg.hold_invite(self.server, invite);
        leg.answer(cx, response.status_code(), Carried::of(response));
        leg
    }

    /// Refuses the INVITE.
    pub fn refuse(
        &mut self,
        cx: &mut Context,
        status_code: u16,
        reason: &[u8],
        write: impl FnOnce(&mut Printer),
    ) {
        let tag = self.early.last().map(|early| early.local_tag);
        let tag = tag.unwrap_or_else(|| cx.new_tag());
        cx.respond(self.server, status_code, reason, Some(tag), |printer, _| write(printer), b"");
        self.forget(cx);
    }

    /// Takes the early dialogs out of the shard's map.
    pub fn forget(&mut self, cx: &mut Context) {
        for early in self.early.drain(..) {
            cx.dialogs.remove(&early.local_tag);
        }
    }

    fn tag_for(&mut self, cx: &mut Context, call: CallKey, attempt: u8, remote_tag: &[u8]) -> Tag {
        let known =
            |early: &&EarlyDialog| early.attempt == attempt && *early.remote_tag == *remote_tag;
        if let Some(early) = self.early.iter().find(known) {
            return early.local_tag;
        }
        if self.early.len() == MAX_EARLY_DIALOGS
            && let Some(early) = self.early.last()
        {
            return early.local_tag;
        }
        let tag = cx.new_tag();
        cx.dialogs.insert(tag, (call, Side::Inbound));
        self.early.push(EarlyDialog { attempt, remote_tag: remote_tag.into(), local_tag: tag });
        tag
    }
}

/// What every response that makes a dialog carries (RFC 3261 §12.1.1).
pub(super) fn write_dialog_headers(
    listener: &Listener,
    contact_user: Option<&str>,
    invite: &Message,
    printer: &mut Printer,
) {
    for header in invite.all(HeaderName::RecordRoute) {
        printer.copy(header);
    }
    write_contact(listener, contact_user, printer);
    printer.header(HeaderName::Allow, ALLOW);
}

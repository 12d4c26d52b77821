//! The caller's INVITE until its final response (RFC 3261 §13.3).

use bytes::Bytes;
use smallvec::SmallVec;

use super::contact::{OwnContact, replaces_for_customer};
use super::context::{CallKey, Context};
use super::leg::Leg;
use super::options::Options;
use super::reliable::{Origin, Provisionals, Wish};
use super::{Carried, Side, header_policy};
use crate::carrier::{HeaderRule, ReferPolicy};
use crate::dialog::{Dialog, Tag, has_sips_uri};
use crate::sip::{HeaderName, Message, Printer};
use crate::transaction::{Flow, ServerKey};

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
    wish: Wish,
    refer: ReferPolicy,
    pub provisionals: Provisionals,
}

#[derive(Debug)]
struct EarlyDialog {
    attempt: u8,
    remote_tag: Box<[u8]>,
    local_tag: Tag,
    /// Of the last provisional response that was sent reliably within it.
    rseq: Option<u32>,
}

impl Inbound {
    pub fn new(server: ServerKey, flow: Flow, invite: &Message, refer: ReferPolicy) -> Self {
        let (early, wish) = (SmallVec::new(), Wish::of(invite));
        Self { server, flow, early, wish, refer, provisionals: Provisionals::default() }
    }

    /// Relays a provisional response other than 100; says whether the caller's PRACK will come for it.
    pub fn progress(
        &mut self,
        cx: &mut Context,
        call: CallKey,
        origin: Origin,
        response: &Message,
    ) -> bool {
        let tag = self.tag_for(cx, call, origin.attempt, &origin.remote_tag);
        let is_reliable = match self.wish {
            Wish::Unreliably => false,
            Wish::AsItComes => origin.rseq.is_some(),
            Wish::Reliably => true,
        };
        if !is_reliable {
            self.tell(cx, tag, None, response);
        } else if self.provisionals.is_idle() {
            self.tell_reliably(cx, tag, origin, response);
        } else {
            self.provisionals.wait(tag, origin, response.clone());
        }
        is_reliable
    }

    /// Sends the provisional response whose turn has come.
    pub fn tell_next(&mut self, cx: &mut Context) {
        if let Some((tag, origin, response)) = self.provisionals.next_waiting() {
            self.tell_reliably(cx, tag, origin, &response);
        }
    }

    fn tell_reliably(&mut self, cx: &mut Context, tag: Tag, origin: Origin, response: &Message) {
        let Some(early) = self.early.iter_mut().find(|early| early.local_tag == tag) else {
            return;
        };
        // RFC 3262 §3: at random at first, below 2^31.
        let first = u32::try_from(1 + cx.random.below((1 << 31) - 2)).unwrap_or(1);
        let rseq = early.rseq.map_or(first, |last| last + 1);
        early.rseq = Some(rseq);
        if let Some(sent) = self.tell(cx, tag, Some(rseq), response) {
            self.provisionals.note_sent(cx.now, (tag, rseq), origin, response, sent);
        }
    }

    fn tell(
        &self,
        cx: &mut Context,
        tag: Tag,
        rseq: Option<u32>,
        response: &Message,
    ) -> Option<Bytes> {
        let listener = cx.settings.listener(self.flow.listener).clone();
        let carried = Carried::of(response);
        let replaces = replaces_for_customer(self.refer, &cx.settings);
        let write = |printer: &mut Printer, invite: &Message| {
            let is_secure = has_sips_uri(invite);
            let (user, refer) = (None, self.refer);
            let contact = OwnContact { is_secure, user, refer, replaces };
            contact.write_answer(&listener, invite, printer);
            if let Some(rseq) = rseq {
                Options::REL100.write(HeaderName::Require, printer);
                printer.header_fmt(HeaderName::RSeq, format_args!("{rseq}"));
            }
            header_policy::write(carried, &HeaderRule::default(), printer);
        };
        let (status_code, body) = (response.status_code(), header_policy::body(carried));
        cx.respond(self.server, status_code, response.reason(), Some(tag), write, body)
    }

    /// A leg of the dialog that our response under `tag` makes.
    pub fn leg(&self, call: CallKey, tag: Tag, invite: &Message) -> Leg {
        Leg::invited(call, Side::Inbound, tag, self.flow, invite, self.refer)
    }

    /// Answers the caller; the leg repeats the 2xx until its ACK comes. `early`: the leg of the early dialog,
    /// where there is one.
    pub fn answer(
        &mut self,
        cx: &mut Context,
        call: CallKey,
        attempt: u8,
        invite: &Message,
        response: &Message,
        early: Option<Leg>,
    ) -> Leg {
        let tag = self.tag_for(cx, call, attempt, response.to_tag().unwrap_or_default());
        for early in self.early.drain(..).filter(|early| early.local_tag != tag) {
            cx.dialogs.remove(&early.local_tag);
        }
        let mut leg = early.unwrap_or_else(|| self.leg(call, tag, invite));
        leg.hold_invite(self.server, invite);
        leg.unpracked =
            self.provisionals.finish().filter(|(by, _)| *by == tag).map(|(_, rseq)| rseq);
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
        self.provisionals.finish();
        self.forget(cx);
    }

    /// Takes the early dialogs out of the shard's map.
    pub fn forget(&mut self, cx: &mut Context) {
        for early in self.early.drain(..) {
            cx.dialogs.remove(&early.local_tag);
        }
    }

    pub fn tag_for(
        &mut self,
        cx: &mut Context,
        call: CallKey,
        attempt: u8,
        remote_tag: &[u8],
    ) -> Tag {
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
        self.early.push(EarlyDialog {
            attempt,
            remote_tag: remote_tag.into(),
            local_tag: tag,
            rseq: None,
        });
        tag
    }
}

impl Leg {
    /// A leg of the dialog that our response under `tag` to an INVITE makes.
    pub(super) fn invited(
        call: CallKey,
        side: Side,
        tag: Tag,
        flow: Flow,
        invite: &Message,
        refer: ReferPolicy,
    ) -> Self {
        let mut dialog = Dialog::uas(invite, tag);
        dialog.note_source(invite, flow.remote.ip());
        let mut leg = Self::new(call, side, dialog, flow);
        leg.refer = refer;
        leg.note_peer(invite);
        leg
    }
}

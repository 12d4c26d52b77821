//! How somebody comes to take a peer's place: by a REFER that we carry out, or by an INVITE with Replaces.

use super::{CallState, Newcomer, State, Succession};
use crate::call::Side;
use crate::call::admission::find_way;
use crate::call::attempt::Offer;
use crate::call::call::Call;
use crate::call::context::{CallKey, Context};
use crate::call::hunt::Hunt;
use crate::call::leg::Leg;
use crate::call::offer_answer::refuse_for_now;
use crate::call::setup::Setup;
use crate::call::transfer::{Fetch, Named, invite_to, refer_target};
use crate::sip::{Message, NameAddr, Replaces};
use crate::transaction::{Flow, ServerKey};

/// Attempts on record of one call beyond which it is transferred no more.
const MAX_ATTEMPTS: usize = 64;

/// What a Replaces names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    Confirmed,
    /// Our BYE is on its way, or the peer's has come.
    Terminated,
}

impl Call {
    /// Whether a Replaces names the confirmed dialog on `side`. An early dialog is none of those that may be replaced: the
    /// caller made it (RFC 3891 §3).
    pub fn replaced(&self, side: Side, replaces: &Replaces) -> Option<Replaced> {
        let (legs, replaced) = match &self.state {
            CallState::Talk(talk) => (talk, Replaced::Confirmed),
            CallState::Ending { legs, .. } => (legs, Replaced::Terminated),
            CallState::Setup(_) | CallState::Over => return None,
        };
        legs.leg(side).dialog.is_named_by(replaces).then_some(replaced)
    }

    /// What a REFER is told of the dialog on `side` of this call, `key`, that its Refer-To names.
    pub fn named(&self, key: CallKey, side: Side, replaces: &Replaces) -> Option<Named> {
        self.replaced(side, replaces).filter(|it| *it == Replaced::Confirmed)?;
        let CallState::Talk(talk) = &self.state else { return None };
        let beyond = &talk.leg(side.other()).dialog;
        Some(Named {
            call: key,
            side,
            target: beyond.remote_target.clone(),
            replaces: beyond.as_replaces(replaces.is_early_only),
        })
    }

    /// The peer on `side` wants the call transferred.
    pub(in crate::call::call) fn refer(
        &mut self,
        cx: &mut Context,
        side: Side,
        server: ServerKey,
        request: &Message,
    ) {
        let named = cx.named.take();
        let CallState::Talk(talk) = &mut self.state else { return };
        if talk.succession.is_some() {
            return cx.reject(server, 491, b"Being Transferred Already");
        }
        if talk.leg(side).is_unacknowledged() {
            return refuse_for_now(cx, server, b"Not Acknowledged Yet");
        }
        if self.draft.record().is_none_or(|record| record.attempts.len() >= MAX_ATTEMPTS) {
            return cx.reject(server, 403, b"Transferred Too Often");
        }
        let begun = match named {
            Some(named) if named.replaces.is_early_only => Err(486),
            Some(named) => {
                let wanted = Fetch { by: self.key, from: named.call, side: named.side.other() };
                Ok((State::joining(cx, Newcomer::Elsewhere(wanted)), String::new()))
            }
            None => self.hunt_for(cx, side, request),
        };
        let (state, called) = match begun {
            Ok(begun) => begun,
            Err(status_code) => return cx.reject(server, status_code, b""),
        };
        let CallState::Talk(talk) = &mut self.state else { return };
        let (leg, _) = talk.legs(side);
        let refer = leg.accept_refer(cx, server, request);
        if let Some(id) = refer {
            leg.notify(cx, id, 100, false);
        }
        let draft = self.draft.part();
        talk.succession = Some(Box::new(Succession { leaves: side, refer, called, draft, state }));
        let is_hunting = self.with_hunt(cx, |setup, cx, draft| setup.hunt(cx, draft));
        if !is_hunting {
            self.invite_the_one_who_stays(cx);
        }
    }

    /// Decides who calls the target of a REFER of `side`, as for a call of the customer. With whom it calls; or the code
    /// that refuses the REFER.
    fn hunt_for(
        &mut self,
        cx: &mut Context,
        side: Side,
        request: &Message,
    ) -> Result<(State, String), u16> {
        let CallState::Talk(talk) = &self.state else { return Err(500) };
        let leg = talk.leg(side);
        let target = refer_target(request).ok_or(400_u16)?;
        // What the one who stays said last is what we sent last to the other.
        let description = leg.description.as_deref().ok_or(488_u16)?;
        let record = self.draft.record().ok_or(500_u16)?;
        let caller = NameAddr::parse(&talk.inbound.dialog.remote)
            .filter(|_| talk.inbound.trunk.is_none())
            .map(|caller| [caller.display_name, b"<", caller.uri, b">"].concat());
        let own = &cx.settings.listener(leg.flow.listener).advertised;
        let caller = caller.unwrap_or_else(|| caller_of(&record.calling, own));
        let invite =
            invite_to(&target, &caller, &leg.dialog.call_id, description).ok_or(400_u16)?;
        let customer = record.customer.as_ref().and_then(|(id, _)| cx.tables.customer(*id));
        let customer = customer.cloned().ok_or(403_u16)?;
        let attempts = u8::try_from(record.attempts.len()).unwrap_or(u8::MAX);
        let (flow, refer) = (leg.flow, leg.refer);
        let offer = Offer::new(invite);
        let admission = find_way(cx, &offer, &customer).map_err(|denial| denial.status_code)?;
        let called = offer.called.user.clone();
        let hunt = Hunt::new(admission.plan);
        let setup = Setup::for_transfer(cx, self.key, flow, offer, hunt, refer, attempts);
        Ok((State::Calling(Box::new(setup)), called))
    }

    /// An INVITE with Replaces that names the dialog on `side` (RFC 3891 §3).
    pub fn replace(
        &mut self,
        cx: &mut Context,
        side: Side,
        server: ServerKey,
        flow: Flow,
        invite: &Message,
    ) {
        let CallState::Talk(talk) = &mut self.state else { return };
        if talk.succession.is_some() {
            return cx.reject(server, 491, b"Being Transferred Already");
        }
        if talk.leg(side).is_unacknowledged() {
            return cx.reject(server, 500, b"Not Acknowledged Yet");
        }
        let tag = cx.new_tag();
        cx.dialogs.insert(tag, (self.key, side));
        let mut leg = Leg::invited(self.key, side, tag, flow, invite, talk.leg(side).refer);
        leg.hold_invite(server, invite);
        let state = State::joining(cx, Newcomer::Invites(leg, invite.clone()));
        let draft = self.draft.part();
        talk.succession = Some(Box::new(Succession {
            leaves: side,
            refer: None,
            called: String::new(),
            draft,
            state,
        }));
        self.invite_the_one_who_stays(cx);
    }
}

/// The caller of a call that it has left, as the record has it.
fn caller_of(calling: &str, own: &str) -> Vec<u8> {
    let is_plain = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-_.".contains(&it))
    };
    let user = if is_plain(calling) { calling } else { "anonymous" };
    format!("<sip:{user}@{own}>").into_bytes()
}

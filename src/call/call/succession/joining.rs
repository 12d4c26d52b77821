//! Two legs become one call.

use uuid::Uuid;

use super::{CallState, MAX_TRIES, Newcomer, State, Step};
use crate::call::call::talk::Move;
use crate::call::call::{Call, asked_by_us};
use crate::call::context::Context;
use crate::call::leg::Leg;
use crate::call::{Carried, EndCause, LegEvent, Side};
use crate::health::Channel;
use crate::sip::sdp;
use crate::transaction::timer::T1;

impl Call {
    /// What the newcomer makes of the offer.
    pub(in crate::call::call) fn on_newcomers_event(
        &mut self,
        cx: &mut Context,
        event: LegEvent<'_>,
    ) {
        let CallState::Talk(talk) = &mut self.state else { return };
        let Some(succession) = &mut talk.succession else { return };
        let State::Joining(joining) = &mut succession.state else { return };
        let Step::Offering(offer) = &joining.step else { return };
        match event {
            LegEvent::Answered(answer) => {
                let (_, staying) = match succession.leaves {
                    Side::Inbound => (&mut talk.inbound, &mut talk.outbound),
                    Side::Outbound => (&mut talk.outbound, &mut talk.inbound),
                };
                staying.acknowledge(cx, Some(answer));
                self.succeed(cx);
            }
            LegEvent::Failed { status_code: 491, .. } if joining.tries < MAX_TRIES => {
                let pause = match &joining.newcomer {
                    Newcomer::Here(leg, _) => leg.pause_after_glare(&mut cx.random),
                    Newcomer::Elsewhere(_) | Newcomer::Invites(..) => T1,
                };
                joining.step = Step::WaitingToOffer(offer.clone(), cx.now + pause);
            }
            LegEvent::Failed { status_code, .. } => self.fail_succession(cx, status_code),
            // Provisional, or of an INVITE before.
            _ => {}
        }
    }

    /// Gives the leg on `side` to the call `to`, which a REFER with Replaces joins it with. The peer on the other side, who
    /// sent that, is done with this call. `None` where that cannot be done now, and nothing has changed.
    pub fn give_away(
        &mut self,
        cx: &mut Context,
        side: Side,
        to: Uuid,
    ) -> Option<(Leg, Option<Channel>)> {
        let CallState::Talk(talk) = &self.state else { return None };
        let is_ready = talk.succession.is_none()
            && talk.gone.is_none()
            && talk.leg(side).is_quiet()
            && !talk.leg(side.other()).is_unacknowledged();
        if !is_ready {
            return None;
        }
        let mut talk = self.take_talk()?;
        let by = talk.party(side.other());
        let channel = talk.channels[side as usize].take();
        talk.release(cx);
        let (given, other) = match side {
            Side::Inbound => (talk.inbound, talk.outbound),
            Side::Outbound => (talk.outbound, talk.inbound),
        };
        other.dismiss(cx);
        self.draft.end(cx, None, EndCause::Completed, by, &format!("joined with call {to}"));
        Some((given, channel))
    }

    /// Another call has given us the leg that we wanted of it, or could not.
    pub fn on_fetched(
        &mut self,
        cx: &mut Context,
        from: Option<Uuid>,
        fetched: Option<(Leg, Option<Channel>)>,
    ) {
        let key = self.key;
        let Some(succession) = self.succession() else {
            // It was wanted a moment ago, by this very call.
            return;
        };
        let leaves = succession.leaves;
        let State::Joining(joining) = &mut succession.state else { return };
        let Some((mut leg, channel)) = fetched else {
            if from.is_none() {
                return self.fail_succession(cx, 481);
            }
            if let Step::WaitingToOffer(_, until) = &mut joining.step {
                *until = cx.now + T1;
            }
            return;
        };
        (leg.call, leg.side) = (key, leaves);
        cx.dialogs.insert(leg.dialog.local_tag, (key, leaves));
        joining.newcomer = Newcomer::Here(leg, channel);
        let detail = from.map(|from| format!("joined with call {from}")).unwrap_or_default();
        self.draft.note(|record| record.detail = detail);
        self.offer_to_newcomer(cx);
    }

    /// Sends the one who stays the newcomer's offer, or asks for one.
    pub(super) fn invite_the_one_who_stays(&mut self, cx: &mut Context) {
        let CallState::Talk(talk) = &mut self.state else { return };
        let Some(mut succession) = talk.succession.take() else { return };
        if let State::Joining(joining) = &mut succession.state {
            let (_, staying) = talk.legs(succession.leaves);
            let offer = match &joining.newcomer {
                Newcomer::Invites(_, invite) => Some(Carried::of(invite)),
                Newcomer::Elsewhere(_) | Newcomer::Here(..) => None,
            };
            joining.step = match staying.modify(cx, offer) {
                true => Step::Inviting,
                false => Step::Waiting(cx.now + T1),
            };
        }
        talk.succession = Some(succession);
    }

    pub(super) fn on_answer_of_the_one_who_stays(
        &mut self,
        cx: &mut Context,
        carried: Carried<'_>,
    ) {
        let Some(succession) = self.succession() else { return };
        let State::Joining(joining) = &mut succession.state else { return };
        match &mut joining.newcomer {
            Newcomer::Invites(leg, _) => {
                leg.answer(cx, 200, carried);
                self.succeed(cx);
            }
            Newcomer::Here(..) | Newcomer::Elsewhere(_)
                if !sdp::is_session_description(carried.0) =>
            {
                self.fail_succession(cx, 488);
            }
            Newcomer::Here(..) | Newcomer::Elsewhere(_) => {
                joining.step = Step::WaitingToOffer(carried.0.clone(), cx.now);
                self.offer_to_newcomer(cx);
            }
        }
    }

    /// Sends the newcomer the offer of the one who stays; fetches it first, where it is in another call.
    pub(super) fn offer_to_newcomer(&mut self, cx: &mut Context) {
        let Some(succession) = self.succession() else { return };
        let State::Joining(joining) = &mut succession.state else { return };
        let Step::WaitingToOffer(offer, until) = &mut joining.step else { return };
        joining.tries += 1;
        if joining.tries > MAX_TRIES {
            return self.fail_succession(cx, 491);
        }
        *until = cx.now + T1;
        match &mut joining.newcomer {
            Newcomer::Elsewhere(wanted) => cx.fetches.push(*wanted),
            Newcomer::Here(leg, _) | Newcomer::Invites(leg, _) => {
                if leg.modify(cx, Some(Carried::of(offer))) {
                    joining.step = Step::Offering(offer.clone());
                }
            }
        }
    }

    /// The newcomer takes its place.
    pub(super) fn succeed(&mut self, cx: &mut Context) {
        let CallState::Talk(talk) = &mut self.state else { return };
        let Some(succession) = talk.succession.take() else { return };
        let leaves = succession.leaves;
        let State::Joining(joining) = succession.state else { return };
        let (leg, channel) = match joining.newcomer {
            Newcomer::Here(leg, channel) => (leg, channel),
            Newcomer::Invites(leg, _) => (leg, None),
            Newcomer::Elsewhere(_) => return,
        };
        self.draft.add(succession.draft, &succession.called);
        let (place, staying) = talk.legs(leaves);
        let mut leaving = std::mem::replace(place, leg);
        staying.close_asked(cx);
        if let Some(before) = std::mem::replace(&mut talk.channels[leaves as usize], channel) {
            cx.capacity.release(before);
        }
        if talk.gone.take().is_none() {
            // Who hears that it is done may be sure that another node knows it too.
            cx.sends_kept = cx.settings.replicates.then_some(self.key);
            if let Some(id) = succession.refer {
                leaving.notify(cx, id, 200, true);
            }
            leaving.dismiss(cx);
            cx.sends_kept = None;
        }
        talk.moves[leaves as usize] = Move::Known;
        cx.counters.transfers += 1;
        self.keep(cx);
    }

    /// The call stays as it was; where one peer is gone already, it is over.
    pub(super) fn fail_succession(&mut self, cx: &mut Context, status_code: u16) {
        let CallState::Talk(talk) = &mut self.state else { return };
        let Some(succession) = talk.succession.take() else { return };
        let (leaves, is_gone) = (succession.leaves, talk.gone.is_some());
        let (leaving, staying) = talk.legs(leaves);
        if let State::Joining(joining) = succession.state {
            match joining.step {
                // Its answer, which may come, is acknowledged like any other that nobody waits for.
                Step::Inviting => staying.withdraw(cx),
                Step::Offering(_) | Step::WaitingToOffer(..) => staying.acknowledge_as_it_was(cx),
                Step::Waiting(_) => {}
            }
            joining.newcomer.send_away(cx, status_code);
        }
        self.draft.add(succession.draft, &succession.called);
        if !is_gone {
            if let Some(id) = succession.refer {
                leaving.notify(cx, id, asked_by_us(status_code), true);
            }
            return;
        }
        let detail = format!("hung up during a transfer that failed with {status_code}");
        self.end_with(cx, EndCause::Completed, Some(leaves), &detail);
    }
}

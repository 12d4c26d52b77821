//! Somebody takes a peer's place in an answered call: the target of a transfer that we carry out (RFC 3515, RFC 5589), the
//! peer of another call (a REFER with Replaces), or who sends an INVITE with Replaces (RFC 3891).
//!
//! ```text
//!   REFER ──> Calling ── the target answers ──> Joining ──> who leaves gets BYE
//!                │                                 ^  └───> failed: the call is as it was
//!                └── no carrier is left ──> failed │
//!   REFER or INVITE with Replaces ─────────────────┘
//! ```
//!
//! Whoever answered, or talks already, is joined as RFC 3725 §4.3 has it: the one who stays is asked for an offer by an
//! INVITE without one, the newcomer gets that offer, and its answer goes back in the ACK. So keys, ICE and holds come out
//! right, and until the ACK nothing of the old session has changed. The offer of an INVITE with Replaces is sent to the one
//! who stays as any other.

mod beginning;
mod joining;

use std::time::{Duration, Instant};

pub use beginning::Replaced;

use super::{Call, State as CallState};
use crate::call::context::Context;
use crate::call::credentials::Challenged;
use crate::call::draft::Draft;
use crate::call::leg::{Leg, NotRelayed};
use crate::call::setup::{Next, Setup};
use crate::call::transfer::Fetch;
use crate::call::verdict::Failure;
use crate::call::{EndCause, LegEvent, Side};
use crate::health::Channel;
use crate::sip::{Message, Method};
use crate::transaction::{ClientKey, ServerKey};

/// How long two legs may take to be joined.
const JOIN_LIMIT: Duration = Duration::from_secs(30);
/// How often the newcomer is sent the offer, or another call asked for it.
const MAX_TRIES: u8 = 5;

/// Somebody is to take the place of a peer.
#[derive(Debug)]
pub(in crate::call) struct Succession {
    /// Whose place it is.
    leaves: Side,
    /// Id of that peer's REFER, where it wants to hear what comes of it.
    refer: Option<u32>,
    /// Whom the REFER named, for the record.
    called: String,
    /// The attempts made for it.
    draft: Draft,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Carriers are tried.
    Calling(Box<Setup>),
    Joining(Box<Joining>),
}

#[derive(Debug)]
struct Joining {
    newcomer: Newcomer,
    step: Step,
    tries: u8,
    give_up_at: Instant,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it stands in a box")]
enum Newcomer {
    /// Talks in another call, on the side of that.
    Elsewhere(Fetch),
    /// It has a dialog with us.
    Here(Leg, Option<Channel>),
    /// Its INVITE waits for the answer of the one who stays.
    Invites(Leg, Message),
}

#[derive(Debug)]
enum Step {
    /// The one who stays has an INVITE under way: looked at again then.
    Waiting(Instant),
    /// The one who stays has our INVITE.
    Inviting,
    /// The newcomer has the offer of the one who stays.
    Offering(Message),
    /// The newcomer cannot have it now: looked at again then.
    WaitingToOffer(Message, Instant),
}

impl Succession {
    pub(in crate::call) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Calling(setup) => setup.poll_timeout(),
            State::Joining(joining) => match joining.step {
                Step::Waiting(until) | Step::WaitingToOffer(_, until) => {
                    Some(until.min(joining.give_up_at))
                }
                Step::Inviting | Step::Offering(_) => Some(joining.give_up_at),
            },
        }
    }

    /// What is to go on record of it.
    pub(super) fn draft(&mut self) -> &mut Draft {
        &mut self.draft
    }

    /// Ends whatever was begun for it. Gives what is to go on record of it, and whom it called.
    pub(super) fn call_off(mut self, cx: &mut Context) -> (Draft, String) {
        match self.state {
            State::Calling(mut setup) => {
                setup.on_terminated(cx, &mut self.draft);
            }
            State::Joining(joining) => joining.newcomer.send_away(cx, 480),
        }
        (self.draft, self.called)
    }

    fn newcomer(&mut self) -> Option<&mut Leg> {
        match &mut self.state {
            State::Joining(joining) => joining.newcomer.leg(),
            State::Calling(_) => None,
        }
    }

    fn is_inviting_the_one_who_stays(&self) -> bool {
        matches!(&self.state, State::Joining(joining) if matches!(joining.step, Step::Inviting))
    }
}

impl Newcomer {
    fn leg(&mut self) -> Option<&mut Leg> {
        match self {
            Self::Here(leg, _) | Self::Invites(leg, _) => Some(leg),
            Self::Elsewhere(_) => None,
        }
    }

    /// Nobody needs it: what it waits for, or has, is ended.
    fn send_away(self, cx: &mut Context, status_code: u16) {
        match self {
            Self::Elsewhere(_) => {}
            Self::Here(leg, channel) => {
                leg.dismiss(cx);
                if let Some(channel) = channel {
                    cx.capacity.release(channel);
                }
            }
            Self::Invites(mut leg, _) => {
                leg.refuse(cx, super::asked_by_us(status_code), None);
                cx.dialogs.remove(&leg.dialog.local_tag);
            }
        }
    }
}

impl Call {
    /// Lets `act` work on the hunt for a transfer's target; `false` where there is none.
    pub(super) fn with_hunt(
        &mut self,
        cx: &mut Context,
        act: impl FnOnce(&mut Setup, &mut Context, &mut Draft) -> Next,
    ) -> bool {
        let Some(succession) = self.succession() else { return false };
        let State::Calling(setup) = &mut succession.state else { return false };
        let next = act(setup, cx, &mut succession.draft);
        match next {
            Next::Wait => {}
            Next::Reached(mut leg, channel) => {
                leg.side = succession.leaves;
                cx.dialogs.insert(leg.dialog.local_tag, (leg.call, leg.side));
                succession.state = State::joining(cx, Newcomer::Here(*leg, channel));
                self.invite_the_one_who_stays(cx);
            }
            Next::Over => {
                let ended = succession.draft.record().map(|record| record.status_code);
                self.fail_succession(cx, ended.unwrap_or(480));
            }
            // No caller of a transfer waits for an answer.
            Next::Answered(..) => {}
        }
        true
    }

    /// A response to our INVITE to the target of a transfer; `false` where it is none.
    pub(super) fn on_hunt_response(
        &mut self,
        cx: &mut Context,
        client: ClientKey,
        response: &Message,
    ) -> bool {
        self.is_hunting_by(client)
            && self.with_hunt(cx, |setup, cx, draft| setup.on_response(cx, draft, client, response))
    }

    /// Our INVITE to the target of a transfer was not answered, or not delivered; `false` where it was another.
    pub(super) fn on_hunt_failed(
        &mut self,
        cx: &mut Context,
        client: ClientKey,
        failure: Failure<'_>,
    ) -> bool {
        self.is_hunting_by(client)
            && self.with_hunt(cx, |setup, cx, draft| {
                setup.on_client_failed(cx, draft, client, failure)
            })
    }

    /// Our INVITE to the target of a transfer came back with 401 or 407; `false` where it is not sent again.
    pub(super) fn on_hunt_challenge(
        &mut self,
        cx: &mut Context,
        client: ClientKey,
        challenged: &Challenged,
        response: &Message,
    ) -> bool {
        let mut is_answered = false;
        let is_ours = self.is_hunting_by(client);
        is_ours
            && self.with_hunt(cx, |setup, cx, _| {
                is_answered = setup.on_challenge(cx, client, challenged, response);
                Next::Wait
            })
            && is_answered
    }

    /// The newcomer's leg, where our INVITE to it went out in this transaction.
    pub(super) fn newcomer_inviting_by(&mut self, client: ClientKey) -> Option<&mut Leg> {
        let newcomer = self.succession()?.newcomer()?;
        newcomer.is_inviting_by(client).then_some(newcomer)
    }

    /// A request of somebody who is not part of the call yet; `false` where it is not such a one.
    pub(super) fn on_newcomers_request(
        &mut self,
        cx: &mut Context,
        server: ServerKey,
        request: &Message,
    ) -> bool {
        let Some(succession) = self.succession() else { return false };
        let is_known = match &mut succession.state {
            State::Calling(setup) => setup.has_dialog(Side::Outbound, request),
            State::Joining(joining) => {
                joining.newcomer.leg().is_some_and(|leg| leg.dialog.matches(request))
            }
        };
        if !is_known {
            return false;
        }
        let newcomer = succession.newcomer().filter(|_| request.method() == Method::Bye);
        if let Some(newcomer) = newcomer {
            newcomer.has_left = true;
            cx.respond(server, 200, b"", None, |_, _| {}, b"");
            self.fail_succession(cx, 480);
        } else {
            cx.reject(server, 500, b"Not Connected Yet");
        }
        true
    }

    /// The newcomer takes its INVITE back; `false` where it is not the newcomer's.
    pub(super) fn on_newcomers_cancel(&mut self, cx: &mut Context, server: ServerKey) -> bool {
        let Some(succession) = self.succession() else { return false };
        if succession.newcomer().is_none_or(|leg| leg.on_cancel(server).is_none()) {
            return false;
        }
        let (leaves, is_inviting) = (succession.leaves, succession.is_inviting_the_one_who_stays());
        match &mut self.state {
            CallState::Talk(talk) if is_inviting => talk.legs(leaves).1.withdraw(cx),
            _ => self.fail_succession(cx, 487),
        }
        true
    }

    /// What happens on a leg while somebody is to take a peer's place. Gives back what goes its usual way.
    pub(super) fn on_event_meanwhile<'a>(
        &mut self,
        cx: &mut Context,
        side: Side,
        event: LegEvent<'a>,
    ) -> Option<LegEvent<'a>> {
        let CallState::Talk(talk) = &mut self.state else { return Some(event) };
        let Some(succession) = &mut talk.succession else { return Some(event) };
        let leaves = succession.leaves;
        let is_gone = talk.gone == Some(leaves);
        let is_inviting = succession.is_inviting_the_one_who_stays();
        let leg = match side {
            Side::Inbound => &mut talk.inbound,
            Side::Outbound => &mut talk.outbound,
        };
        match event {
            // Many hang up as soon as they know that the transfer is under way.
            LegEvent::Ended(_) if side == leaves => {
                leg.close(cx);
                cx.dialogs.remove(&leg.dialog.local_tag);
                talk.gone = Some(leaves);
                None
            }
            LegEvent::Offered(_) if is_gone => {
                leg.refuse(cx, 491, None);
                None
            }
            LegEvent::Asked { server, .. } if is_gone => {
                leg.turn_down(cx, server, NotRelayed::Alone);
                None
            }
            LegEvent::Progressed { .. } if side != leaves && is_inviting => None,
            LegEvent::Answered(carried) if side != leaves && is_inviting => {
                self.on_answer_of_the_one_who_stays(cx, carried);
                None
            }
            LegEvent::Failed { status_code: 491, .. } if side != leaves && is_inviting => {
                let pause = leg.pause_after_glare(&mut cx.random);
                if let State::Joining(joining) = &mut succession.state {
                    joining.step = Step::Waiting(cx.now + pause);
                }
                None
            }
            LegEvent::Failed { status_code, .. } if side != leaves && is_inviting => {
                self.fail_succession(cx, status_code);
                if super::is_dialog_gone(status_code) {
                    self.end_both(cx, EndCause::Terminated, "a leg did not know its dialog");
                }
                None
            }
            event => Some(event),
        }
    }

    pub(super) fn on_succession_timer(&mut self, cx: &mut Context) {
        if self.with_hunt(cx, Setup::on_timeout) {
            return;
        }
        let Some(succession) = self.succession() else { return };
        let State::Joining(joining) = &mut succession.state else { return };
        if joining.give_up_at <= cx.now {
            return self.fail_succession(cx, 504);
        }
        match &joining.step {
            Step::Waiting(until) if *until <= cx.now => self.invite_the_one_who_stays(cx),
            Step::WaitingToOffer(_, until) if *until <= cx.now => self.offer_to_newcomer(cx),
            Step::Waiting(_) | Step::WaitingToOffer(..) | Step::Inviting | Step::Offering(_) => {}
        }
    }

    /// Nobody takes anybody's place: the call is about to end.
    pub(super) fn abandon_succession(&mut self, cx: &mut Context) {
        let CallState::Talk(talk) = &mut self.state else { return };
        let Some(succession) = talk.succession.take() else { return };
        let (leaves, refer) = (succession.leaves, succession.refer);
        let (part, called) = succession.call_off(cx);
        self.draft.add(part, &called);
        if let Some(id) = refer.filter(|_| talk.gone != Some(leaves)) {
            talk.legs(leaves).0.notify(cx, id, 487, true);
        }
    }

    fn succession(&mut self) -> Option<&mut Succession> {
        match &mut self.state {
            CallState::Talk(talk) => talk.succession.as_deref_mut(),
            CallState::Setup(_) | CallState::Ending { .. } | CallState::Over => None,
        }
    }

    fn is_hunting_by(&mut self, client: ClientKey) -> bool {
        self.succession()
            .is_some_and(|it| matches!(&it.state, State::Calling(setup) if setup.is_trying(client)))
    }
}

impl State {
    fn joining(cx: &Context, newcomer: Newcomer) -> Self {
        let (step, give_up_at) = (Step::Waiting(cx.now), cx.now + JOIN_LIMIT);
        Self::Joining(Box::new(Joining { newcomer, step, tries: 0, give_up_at }))
    }
}

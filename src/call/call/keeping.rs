//! An answered call beyond its node: kept outside, gone on with elsewhere, let go.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::talk::{Move, Talk};
use super::{Call, State};
use crate::call::context::{CallKey, Context, Output, Owner};
use crate::call::draft::Draft;
use crate::call::leg::{Leg, SEQ_JUMP};
use crate::call::{EndCause, EndedBy, LegReplica, Replica, RingingReplica, Side};
use crate::carrier::{CustomerId, GatewayId, Transport};
use crate::dialog::{Dialog, Tag};
use crate::sip::{HeaderName, Message, Method, Printer, print};
use crate::transaction::Flow;

/// How long a peer that refuses to hear where its call has gone is left alone.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How long the CANCEL of a dead node's INVITE is repeated, and its BYEs.
const CANCEL_LIMIT: Duration = Duration::from_secs(4);
/// Why calls that rang are ended (RFC 3326).
const NODE_DIED: &[u8] = b"SIP;cause=503;text=\"Node Died\"";

impl Call {
    /// Asks for what is known of the call to be kept outside of this node.
    pub(super) fn keep(&mut self, cx: &mut Context) {
        if !cx.settings.replicates {
            return;
        }
        let (State::Talk(talk), Some(record)) = (&mut self.state, self.draft.record()) else {
            return;
        };
        talk.kept_revision = talk.revision();
        talk.is_behind = false;
        let held = |side| {
            let channel = talk.channels[side as usize].as_ref();
            channel.map(|held| (held.carrier_id, held.gateway_id))
        };
        let replica = Replica {
            record: record.clone(),
            ends_at: talk.ends_at.map(|at| cx.wall_at(at)),
            channel: held(Side::Outbound),
            inbound_channel: held(Side::Inbound),
            inbound: talk.inbound.replica(cx),
            outbound: talk.outbound.replica(cx),
        };
        cx.outputs.push_back(Output::Keep { call: self.key, replica: Box::new(replica) });
    }

    /// Asks again where nothing has come of it.
    pub fn keep_at_last(&mut self, cx: &mut Context) -> bool {
        let is_missing = matches!(&self.state, State::Talk(talk)
            if talk.kept_at.is_none() || talk.is_behind);
        if is_missing {
            self.keep(cx);
        }
        is_missing
    }

    /// Another node could go on with it from now on.
    pub fn on_kept(&mut self, cx: &mut Context) {
        if let State::Talk(talk) = &mut self.state {
            talk.kept_at.get_or_insert(cx.now);
        }
    }

    /// What it last asked to be kept is not: another node would go on with what was before.
    pub fn on_not_kept(&mut self) {
        match &mut self.state {
            State::Setup(setup) => setup.on_not_kept(),
            State::Talk(talk) => talk.is_behind = true,
            State::Ending { .. } | State::Over => {}
        }
    }

    /// The place where calls are kept is another one, which may know nothing of this call: that it is not there says
    /// nothing of whose it is.
    pub fn on_store_moved(&mut self) {
        self.on_not_kept();
        match &mut self.state {
            State::Setup(setup) => setup.on_store_moved(),
            State::Talk(talk) => talk.kept_at = None,
            State::Ending { .. } | State::Over => {}
        }
    }

    /// Goes on with a call that another node, or an earlier run, has had answered. Its legs want a target
    /// refresh at `refresh_at`: only then do the peers send to us. The call is over at once where no listener of
    /// ours reaches a peer.
    pub fn adopt(
        cx: &mut Context,
        key: CallKey,
        replica: Replica,
        refresh_at: [Instant; 2],
    ) -> Self {
        let Replica { mut record, ends_at, channel, inbound_channel, inbound, outbound } = replica;
        record.plan = None;
        let customer_id = record.customer.as_ref().map(|(id, _)| *id);
        let seat = customer_id.map(|id| cx.capacity.resume_seat(id, cx.now));
        let draft = Draft::of(record);
        let mut this = Self { key, draft, state: State::Over, seat, scheduled: None };
        let flows = (
            flow_to(cx, inbound.transport, inbound.peer, inbound.gateway),
            flow_to(cx, outbound.transport, outbound.peer, outbound.gateway),
        );
        let (Some(to_caller), Some(to_callee)) = flows else {
            let detail = "taken over, but no listener of this node reaches both sides";
            this.draft.end(cx, None, EndCause::Terminated, EndedBy::Holdfast, detail);
            return this;
        };
        let seq = seq_now(cx);
        let mut leg = |side, kept: LegReplica, flow| {
            cx.dialogs.insert(kept.dialog.local_tag, (key, side));
            Leg::restore(cx, key, side, kept, flow, seq)
        };
        let mut inbound = leg(Side::Inbound, inbound, to_caller);
        let mut outbound = leg(Side::Outbound, outbound, to_callee);
        let customer = customer_id.and_then(|id| cx.tables.customer(id));
        for leg in [&mut inbound, &mut outbound] {
            let carrier = leg.carrier_id().map(|id| cx.tables.carrier(id));
            let rule = match carrier {
                Some(carrier) => carrier.map(|carrier| &carrier.number_rule.headers),
                None => customer.map(|customer| &customer.headers),
            };
            if let Some(rule) = rule {
                leg.header_rule = rule.clone();
            }
        }
        let mut resume = |of: Option<_>| of.map(|of| cx.capacity.resume(of, cx.now));
        let channels = [resume(inbound_channel), resume(channel)];
        let ends_at = ends_at.map(|at| instant_of(cx, at));
        let mut talk = Talk::new(inbound, outbound, ends_at, channels);
        talk.kept_at = Some(cx.now);
        talk.moves = refresh_at.map(Move::Due);
        talk.kept_revision = talk.revision();
        this.state = State::Talk(Box::new(talk));
        cx.counters.calls_adopted += 1;
        this
    }

    /// Forgets the call without a word to anybody and without a record: another node goes on with it.
    pub fn release(&mut self, cx: &mut Context) {
        if matches!(self.state, State::Ending { .. } | State::Over) {
            // It has its end, and what is left of it is on its way.
            return;
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Setup(mut setup) => {
                setup.fall_silent(cx);
                cx.counters.calls_released += 1;
            }
            State::Talk(mut talk) => {
                talk.release(cx);
                if let Some(succession) = talk.succession.take() {
                    succession.call_off(cx);
                }
                talk.inbound.fall_silent(cx);
                talk.outbound.fall_silent(cx);
                cx.dialogs.remove(&talk.inbound.dialog.local_tag);
                cx.dialogs.remove(&talk.outbound.dialog.local_tag);
                cx.counters.calls_released += 1;
            }
            State::Ending { .. } | State::Over => {}
        }
        self.draft.discard();
    }

    /// Whether another node could go on with it, and nothing is under way that it would miss.
    pub fn is_ready_to_go(&self) -> bool {
        matches!(&self.state, State::Talk(talk)
            if talk.kept_at.is_some() && !talk.is_behind && talk.succession.is_none()
                && talk.inbound.is_quiet() && talk.outbound.is_quiet())
    }

    /// Since when another node could go on with it, or end it.
    pub fn kept_at(&self) -> Option<Instant> {
        match &self.state {
            State::Setup(setup) => setup.kept_at(),
            State::Talk(talk) => talk.kept_at,
            State::Ending { .. } | State::Over => None,
        }
    }

    /// Another node would end it, where it is not answered yet.
    pub fn on_ringing_kept(&mut self, cx: &mut Context) {
        if let State::Setup(setup) = &mut self.state {
            setup.on_kept(cx);
        }
    }

    /// Ends a call of a dead node that was not answered: the phone stops ringing, the caller is told to try again, the
    /// record is written.
    pub fn end_ringing(cx: &mut Context, replica: RingingReplica) {
        if let Some(carrier) = &replica.carrier
            && let Some(flow) = flow_to(cx, carrier.transport, carrier.peer, carrier.gateway)
        {
            let invite = Bytes::copy_from_slice(&carrier.invite.0);
            let cancel = print::cancel_for(&invite, Some(NODE_DIED));
            let client = cx.start_client(Method::Cancel, flow, Owner::Nobody, |_, _| cancel);
            // Its response finds no INVITE here, and may go to the dead node.
            let limit = cx.now + CANCEL_LIMIT;
            cx.with_client(client, |client, _, _| client.machine.limit(limit));
        }
        let invite = Message::parse(Bytes::copy_from_slice(&replica.caller.invite.0));
        if let Ok(invite) = invite
            && let Some(flow) = flow_to(cx, replica.caller.transport, replica.caller.peer, None)
        {
            // The caller's connection ended with its node: RFC 3261 §18.2.2 has us open one to its Via.
            let port = invite.top_via().and_then(|via| via.port);
            let port = port.unwrap_or(replica.caller.transport.default_port());
            let flow = Flow { fallback: Some(SocketAddr::new(flow.remote.ip(), port)), ..flow };
            let tag = Tag::derived(invite.call_id(), cx.settings.bucket_key).to_string();
            let tag = Some(tag.as_bytes());
            let mut printer = Printer::response_to(&invite, 503, b"", tag, flow.remote);
            let seconds = cx.settings.retry_after_s;
            printer
                .header_fmt(HeaderName::RetryAfter, format_args!("{seconds}"))
                .header(HeaderName::Reason, NODE_DIED)
                .header(HeaderName::Server, cx.settings.user_agent.as_bytes());
            cx.send(flow, printer.finish(b""));
        }
        let mut draft = Draft::of(replica.record);
        let detail = "its node died before it was answered";
        draft.end(cx, Some(503), EndCause::Terminated, EndedBy::Holdfast, detail);
        // It may have been answered since: whoever talks is told, and to whoever does not this is news of a dialog
        // that it does not know.
        if let (Some(dialogs), Some(carrier)) = (replica.dialogs, &replica.carrier) {
            for (dialog, end) in (*dialogs).into_iter().zip([&replica.caller, carrier]) {
                if let Some(flow) = flow_to(cx, end.transport, end.peer, end.gateway) {
                    say_bye(cx, dialog, flow);
                }
            }
        }
    }

    /// Whose call it is, until its record is given out.
    pub fn customer_id(&self) -> Option<CustomerId> {
        self.draft.record().and_then(|record| record.customer.as_ref()).map(|(id, _)| *id)
    }

    /// The region that it has to stay in.
    pub fn region(&self) -> Option<&str> {
        self.draft.record().and_then(|record| record.region.as_deref())
    }

    /// The call's number in records, until its record is given out.
    pub fn id(&self) -> Option<uuid::Uuid> {
        self.draft.record().map(|record| record.call_id)
    }
}

impl Talk {
    /// When a peer is to be told that its call has moved.
    pub(super) fn moves_due(&self) -> impl Iterator<Item = Option<Instant>> {
        self.moves.into_iter().map(|step| match step {
            Move::Due(at) => Some(at),
            Move::Known | Move::Told => None,
        })
    }

    /// Tells the peers where we are, when it is time.
    pub(super) fn tell_moves(&mut self, cx: &mut Context) {
        let legs = [&mut self.inbound, &mut self.outbound];
        for (leg, step) in legs.into_iter().zip(&mut self.moves) {
            if matches!(step, Move::Due(at) if *at <= cx.now) {
                *step = Move::Told;
                leg.refresh(cx);
            }
        }
    }

    /// A peer did not want to be told. Its call goes on as far as it can, and it is told again later.
    pub(super) fn tell_later(&mut self, cx: &Context, side: Side) {
        let step = &mut self.moves[side as usize];
        if *step == Move::Told {
            *step = Move::Due(cx.now + TELL_AGAIN_AFTER);
        }
    }

    /// A peer knows. Says whether both do now, and one did not before.
    pub(super) fn note_told(&mut self, side: Side) -> bool {
        let before = std::mem::replace(&mut self.moves[side as usize], Move::Known);
        before != Move::Known && self.moves == [Move::Known; 2]
    }
}

/// Ends a dialog of a dead node that nobody here has.
fn say_bye(cx: &mut Context, mut dialog: Dialog, flow: Flow) {
    dialog.jump_seq(seq_now(cx).max(dialog.local_seq.saturating_add(SEQ_JUMP)));
    let flow = cx.flow_towards(dialog.next_hop(), flow);
    let client = cx.start_client(Method::Bye, flow, Owner::Nobody, |branch, settings| {
        let listener = settings.listener(flow.listener);
        let mut printer = dialog.request(b"BYE", listener, branch);
        printer
            .header(HeaderName::Reason, NODE_DIED)
            .header(HeaderName::UserAgent, settings.user_agent.as_bytes());
        printer.finish(b"")
    });
    let limit = cx.now + CANCEL_LIMIT;
    cx.with_client(client, |client, _, _| client.machine.limit(limit));
}

fn flow_to(
    cx: &Context,
    transport: Transport,
    peer: SocketAddr,
    gateway: Option<GatewayId>,
) -> Option<Flow> {
    let listener = cx.settings.listener_for(transport, peer)?;
    Some(Flow::new(listener, peer).of_gateway(gateway))
}

/// Seconds of the wall clock: more than any node has counted to by sending requests.
fn seq_now(cx: &Context) -> u32 {
    let wall = cx.wall_at(cx.now).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Since the beginning of 2020, so that CSeq stays below 2^31 for decades.
    const SINCE: Duration = Duration::from_secs(1_577_836_800);
    let seconds = wall.saturating_sub(SINCE).as_secs();
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

fn instant_of(cx: &Context, wall: SystemTime) -> Instant {
    let now = cx.wall_at(cx.now);
    cx.now + wall.duration_since(now).unwrap_or_default()
}

//! The engine: what comes in, what goes out, and when it wants to be called again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use slotmap::SlotMap;

use super::registrar::Registrar;
use super::strangers::Strangers;
use crate::allowance::Allowance;
use crate::call::context::{Owner, Probe, TimerKey};
use crate::call::{
    Call, CallKey, Context, Counters, Output, Ownership, Replica, RingingReplica, Settings,
};
use crate::carrier::{GatewayId, Tables};
use crate::health::{Evidence, Target, View};
use crate::sip::{HeaderName, Message, Method, Printer, Subscriber};
use crate::transaction::{Branch, Flow};

use super::overload::Overload;

/// One datagram, or one framed message of a stream.
#[derive(Clone, Debug)]
pub struct Received {
    pub bytes: Bytes,
    pub flow: Flow,
}

/// What the world asks of an engine.
#[derive(Clone, Debug)]
pub enum Command {
    /// New tables are in force; calls in progress keep the decisions they have.
    Tables(Arc<Tables>),
    /// New health.
    View(Arc<View>),
    /// Send an OPTIONS probe; its end is an outcome within `timeout`.
    Probe { target: Target, timeout: Duration },
    /// The transport could not deliver to this address (ICMP unreachable, connection refused).
    Unreachable { flow: Flow },
    /// The peer of a connection has answered a keep-alive, or has not for so long.
    KeepAlive { flow: Flow, silent_for: Option<Duration> },
    /// Register with the gateways that want it; for one shard of a node, the one that sends its probes.
    Register,
    /// Answer new INVITEs and OPTIONS with 503 from now on, and end the registrations.
    Drain,
    /// End every call that is left: BYE or CANCEL on both legs.
    EndAllCalls,
    /// What these calls asked to be kept is kept.
    Kept(Vec<CallKey>),
    /// What these calls, which ring, asked to be kept is kept.
    RingingKept(Vec<CallKey>),
    /// What these calls last asked to be kept is not.
    NotKept(Vec<CallKey>),
    /// The place where calls are kept is back: ask again for what is missing there.
    KeepMissing,
    /// The place where calls are kept is another one, and may not have what was kept last: all of it is missing.
    KeepAgain,
    /// These calls cannot be kept, for other nodes have taken them.
    Lost(Vec<CallKey>),
    /// Go on with a call of another node; its legs want a target refresh at these times, the caller's first.
    Adopt { replica: Box<Replica>, refresh_at: [Instant; 2] },
    /// End a call of a dead node that was not answered.
    EndRinging(Box<RingingReplica>),
    /// Whose calls are whose, of those that were kept before `asked_at`: another node goes on with what is not ours.
    Owned { owned: Arc<Ownership>, asked_at: Instant },
    /// Let go of calls that the node with the lease `to` can go on with, this many at most: each gives an
    /// [`Output::Released`]. Only such as may be in its region; `None` = any.
    HandOver { to: i64, limit: usize, region: Option<Arc<str>> },
    /// The engine ends: what waits to be written is written.
    GiveOutRecords,
    /// A request that was [`Output::Unknown`], with the `looks` of that, once whoever it belongs to may be known here;
    /// `None`: it belongs to nobody.
    Again { request: Box<(Flow, Message)>, looks: Option<u8> },
    /// A request that was [`Output::Unknown`] belongs to the node that has this address.
    PassOn { request: Box<(Flow, Message)>, to: SocketAddr },
    /// The wall clock at an instant, for records; repeat about once a minute.
    WallClock { at: Instant, wall: SystemTime },
}

/// One shard's whole state.
///
/// After every `handle_*`, drain [`Engine::poll_output`] before the next one. Times never go back.
#[derive(Debug)]
pub struct Engine {
    pub(super) cx: Context,
    pub(super) calls: SlotMap<CallKey, Call>,
    pub(super) registrar: Registrar,
    pub(super) strangers: Strangers,
    pub(super) overload: Overload,
    /// Requests within dialogs of other nodes that are asked for.
    pub(super) lookups: Allowance,
    /// How often others have been asked about the request in hand; `None` = they do not know it either.
    pub(super) looks: Option<u8>,
}

/// Requests within unknown dialogs that other nodes are asked about at once, and a second: each costs a look into
/// the store, and anybody can send some. After a node's death there are many.
const LOOKUPS_BURST: u32 = 2_000;
const LOOKUPS_A_SECOND: u32 = 200;

impl Engine {
    /// `seed` feeds every random id; `wall` is the wall clock at `now`.
    pub fn new(settings: Settings, seed: u64, now: Instant, wall: SystemTime) -> Self {
        let strangers = Strangers::new(&settings, now);
        let overload = Overload::new(settings.overload_wait);
        let told_share = overload.told_share();
        let lookups = Allowance::new(LOOKUPS_BURST, LOOKUPS_A_SECOND, now);
        let mut cx = Context::new(settings, seed, now, wall);
        cx.overload_share = told_share;
        let registrar = Registrar::default();
        Self {
            cx,
            calls: SlotMap::with_key(),
            registrar,
            strangers,
            overload,
            lookups,
            looks: Some(0),
        }
    }

    /// One message from one flow.
    pub fn handle_received(&mut self, received: Received, now: Instant) {
        self.cx.now = now;
        self.cx.counters.messages_received += 1;
        match Message::parse(received.bytes) {
            Ok(message) if message.is_request() => self.on_request(message, received.flow),
            Ok(message) => self.on_response(&message),
            Err(_) => self.cx.counters.dropped_not_sip += 1,
        }
    }

    pub fn handle_command(&mut self, command: Command, now: Instant) {
        self.cx.now = now;
        match command {
            Command::Tables(tables) => {
                self.cx.capacity.retain(&tables);
                self.cx.challenges.retain(&tables);
                self.cx.tables = tables;
                self.sync_registrations();
            }
            Command::View(view) => {
                let shards = self.cx.settings.shards.max(1);
                self.cx.capacity.set_parts(shards.saturating_mul(view.nodes.max(1)));
                self.cx.view = view;
                self.move_registrations();
            }
            Command::Probe { target, timeout } => self.probe(target, timeout),
            Command::Unreachable { flow } => self.on_unreachable(flow),
            Command::KeepAlive { flow, silent_for } => self.note_life(flow, silent_for),
            Command::Register => self.start_registrar(),
            Command::Drain => {
                self.cx.is_draining = true;
                self.sync_registrations();
            }
            Command::EndAllCalls => {
                let keys: Vec<CallKey> = self.calls.keys().collect();
                for key in keys {
                    self.with_call(key, |call, cx| call.terminate(cx, "ended by us"));
                }
            }
            Command::WallClock { at, wall } => self.cx.wall = (at, wall),
            Command::Kept(calls) => {
                calls.into_iter().for_each(|call| self.with_call(call, Call::on_kept));
            }
            Command::RingingKept(calls) => {
                for call in calls {
                    self.with_call(call, Call::on_ringing_kept);
                }
            }
            Command::EndRinging(replica) => Call::end_ringing(&mut self.cx, *replica),
            Command::NotKept(calls) => {
                calls
                    .into_iter()
                    .for_each(|call| self.with_call(call, |call, _| call.on_not_kept()));
            }
            Command::KeepMissing => self.keep_missing(),
            Command::KeepAgain => self.calls.values_mut().for_each(Call::on_store_moved),
            Command::Lost(calls) => {
                calls.into_iter().for_each(|call| self.with_call(call, Call::release));
            }
            Command::Adopt { replica, refresh_at } => self.adopt(*replica, refresh_at),
            Command::Owned { owned, asked_at } => self.release_others(&owned, asked_at),
            Command::HandOver { to, limit, region } => {
                self.hand_over(to, limit, region.as_deref());
            }
            Command::GiveOutRecords => {
                let cx = &mut self.cx;
                self.calls.values_mut().for_each(|call| call.give_out_record(cx));
            }
            Command::Again { request, looks } => {
                let (flow, request) = *request;
                self.looks = looks;
                self.on_request(request, flow);
                self.looks = Some(0);
            }
            Command::PassOn { request, to } => self.pass_on(&request.1, request.0, to),
        }
    }

    /// Lets time pass. Call at [`poll_timeout`](Self::poll_timeout); earlier is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.cx.now = now;
        while let Some((at, key)) = self.cx.timers.pop_expired(now) {
            match key {
                TimerKey::Client(key) => self.on_client_timer(key, at),
                TimerKey::Server(key) => self.on_server_timer(key, at),
                TimerKey::Registration(key) => self.on_registration_timer(key),
                TimerKey::Call(key) => self.with_call(key, |call, cx| call.on_timer(cx)),
            }
        }
    }

    /// Whether it matters how long the messages that are read now have waited.
    pub fn wants_delay(&self) -> bool {
        self.overload.is_asking()
    }

    /// Messages that were read just now had waited for `delay`; where there were none, tell of no delay.
    pub fn note_delay(&mut self, delay: Duration, now: Instant) {
        self.overload.note_delay(delay, now);
        self.cx.overload_share = self.overload.told_share();
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.cx.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.cx.timers.next()
    }

    pub fn counters(&self) -> Counters {
        Counters {
            calls_now: self.calls.len() as u64,
            client_transactions_now: self.cx.transactions.clients_len() as u64,
            server_transactions_now: self.cx.transactions.servers_len() as u64,
            strays_now: self.cx.strays.len() as u64,
            dialogs_now: self.cx.dialogs.len() as u64,
            timers_now: self.cx.timers.len() as u64,
            registrations_now: self.registrar.len() as u64,
            channels_now: self.cx.capacity.channels_now(),
            ..self.cx.counters
        }
    }

    /// What is left of the limits of each gateway that has had calls of this shard.
    pub fn headrooms(&self, now: Instant) -> Vec<(GatewayId, f64)> {
        self.cx.capacity.headrooms(&self.cx.tables, now).collect()
    }

    /// Lets `act` work on a call, and drops the call once it is over.
    pub(super) fn with_call(&mut self, key: CallKey, act: impl FnOnce(&mut Call, &mut Context)) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let was_answered = call.is_answered();
        act(call, &mut self.cx);
        match (was_answered, call.is_answered()) {
            (false, true) => self.cx.counters.answered_now += 1,
            (true, false) => self.cx.counters.answered_now -= 1,
            (true, true) | (false, false) => {}
        }
        call.settle(&mut self.cx);
        if call.is_over() {
            self.calls.remove(key);
        } else {
            call.schedule(&mut self.cx);
        }
        if let Some(fetch) = self.cx.fetches.pop() {
            self.fetch(fetch);
        }
    }

    /// An OPTIONS to a target is an ordinary non-INVITE transaction, its end an ordinary outcome.
    fn probe(&mut self, target: Target, timeout: Duration) {
        let cx = &mut self.cx;
        let Some(gateway) = cx.tables.gateway(target.gateway_id).cloned() else { return };
        let carrier_id = gateway.carrier.id;
        let Some(listener) = cx.settings.listener_for(gateway.transport, target.address) else {
            return;
        };
        let flow = Flow::to_gateway(listener, target.address, gateway.id);
        // Nobody at its host: a carrier may answer nothing that does not name it.
        let rule = gateway.carrier.number_rule.clone();
        let uri = rule.request_uri(&Subscriber::default(), &gateway);
        let to = rule.to_uri(&Subscriber::default(), &gateway);
        let (tag, call_id) = (cx.new_tag(), cx.new_call_id(b""));
        let key = cx.probes.insert(Probe { target, carrier_id, sent_at: cx.now });
        let print = |branch: Branch, settings: &Settings| {
            let listener = settings.listener(flow.listener);
            let (transport, own) = (listener.via_transport(), &listener.advertised);
            let mut printer = Printer::request(b"OPTIONS", &uri);
            printer
                .header_fmt(
                    HeaderName::Via,
                    format_args!("SIP/2.0/{transport} {own};rport;branch={branch}"),
                )
                .header(HeaderName::MaxForwards, b"70")
                .header_fmt(HeaderName::From, format_args!("<sip:{own}>;tag={tag}"))
                .raw(b"To: <")
                .raw(&to)
                .raw(b">\r\n")
                .header(HeaderName::CallId, call_id.as_bytes())
                .header(HeaderName::CSeq, b"1 OPTIONS");
            crate::call::contact::write_contact(listener, false, None, &mut printer);
            printer
                .header(HeaderName::Accept, b"application/sdp")
                .header(HeaderName::UserAgent, settings.user_agent.as_bytes());
            printer.finish(b"")
        };
        let client = cx.start_client(Method::Options, flow, Owner::Probe(key), print);
        cx.counters.probes_sent += 1;
        let limit = cx.now + timeout;
        cx.with_client(client, |client, _, _| client.machine.limit(limit));
    }

    /// A probe has its end.
    pub(super) fn on_probe_done(&mut self, key: crate::call::ProbeKey, status_code: Option<u16>) {
        let Some(probe) = self.cx.probes.remove(key) else { return };
        let delay = self.cx.now - probe.sent_at;
        let evidence = Evidence::Probe { status_code, delay };
        self.cx.emit_outcome(probe.target, probe.carrier_id, evidence);
    }
}

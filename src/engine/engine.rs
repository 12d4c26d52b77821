//! The engine: what comes in, what goes out, and when it wants to be called again.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use slotmap::SlotMap;

use crate::allowance::Allowance;
use crate::call::context::{Owner, Probe, TimerKey};
use crate::call::{Call, CallKey, Context, Counters, Output, Settings};
use crate::carrier::{GatewayId, Tables};
use crate::health::{Evidence, Target, View};
use crate::sip::{HeaderName, Message, Method, Printer};
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
    /// Answer new INVITEs and OPTIONS with 503 from now on.
    Drain,
    /// End every call that is left: BYE or CANCEL on both legs.
    EndAllCalls,
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
    /// Refusals of callers that no customer has which are worth a transaction and a record.
    pub(super) strangers: Allowance,
    pub(super) overload: Overload,
}

/// Strangers that are put on record at once, and a second in the long run; the others are counted.
const STRANGERS_BURST: u32 = 500;
const STRANGERS_A_SECOND: u32 = 20;

impl Engine {
    /// `seed` feeds every random id; `wall` is the wall clock at `now`.
    pub fn new(settings: Settings, seed: u64, now: Instant, wall: SystemTime) -> Self {
        let strangers = Allowance::new(STRANGERS_BURST, STRANGERS_A_SECOND, now);
        let overload = Overload::new(settings.overload_wait, now);
        let cx = Context::new(settings, seed, now, wall);
        Self { cx, calls: SlotMap::with_key(), strangers, overload }
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
                self.cx.tables = tables;
            }
            Command::View(view) => {
                let shards = self.cx.settings.shards.max(1);
                self.cx.capacity.set_parts(shards.saturating_mul(view.nodes.max(1)));
                self.cx.view = view;
            }
            Command::Probe { target, timeout } => self.probe(target, timeout),
            Command::Unreachable { flow } => self.on_unreachable(flow),
            Command::Drain => self.cx.is_draining = true,
            Command::EndAllCalls => {
                let keys: Vec<CallKey> = self.calls.keys().collect();
                for key in keys {
                    self.with_call(key, |call, cx| call.terminate(cx, "ended by us"));
                }
            }
            Command::WallClock { at, wall } => self.cx.wall = (at, wall),
        }
    }

    /// Lets time pass. Call at [`poll_timeout`](Self::poll_timeout); earlier is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.cx.now = now;
        while let Some((at, key)) = self.cx.timers.pop_expired(now) {
            match key {
                TimerKey::Client(key) => self.on_client_timer(key, at),
                TimerKey::Server(key) => self.on_server_timer(key, at),
                TimerKey::Call(key) => self.with_call(key, |call, cx| call.on_timer(cx)),
            }
        }
    }

    /// Whether it is time to tell how long messages wait.
    pub fn wants_delay(&self, now: Instant) -> bool {
        self.overload.is_due(now)
    }

    /// Messages that were read just now had waited for `delay`; where none were, tell of no delay.
    pub fn note_delay(&mut self, delay: Duration, now: Instant) {
        self.overload.note_delay(delay, now);
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
        if call.is_over() {
            self.calls.remove(key);
        } else {
            call.schedule(&mut self.cx);
        }
    }

    /// An OPTIONS to a target is an ordinary non-INVITE transaction, its end an ordinary outcome.
    fn probe(&mut self, target: Target, timeout: Duration) {
        let cx = &mut self.cx;
        let Some(gateway) = cx.tables.gateway(target.gateway_id).cloned() else { return };
        let carrier_id = gateway.carrier_id;
        let Some(listener) = cx.settings.listener_for(gateway.transport, target.address) else {
            return;
        };
        let flow = Flow { listener, remote: target.address };
        let host = cx
            .tables
            .carrier(carrier_id)
            .and_then(|carrier| carrier.number_rule.request_uri_host.clone());
        let (tag, call_id) = (cx.new_tag(), cx.new_call_id(b""));
        let key = cx.probes.insert(Probe { target, carrier_id, sent_at: cx.now });
        let print = |branch: Branch, settings: &Settings| {
            let listener = settings.listener(flow.listener);
            let uri = match host {
                Some(host) => format!("sip:{host}"),
                None => format!("sip:{}", target.address),
            };
            let (transport, own) = (listener.via_transport(), &listener.advertised);
            let mut printer = Printer::request(b"OPTIONS", uri.as_bytes());
            printer
                .header_fmt(
                    HeaderName::Via,
                    format_args!("SIP/2.0/{transport} {own};rport;branch={branch}"),
                )
                .header(HeaderName::MaxForwards, b"70")
                .header_fmt(HeaderName::From, format_args!("<sip:{own}>;tag={tag}"))
                .header_fmt(HeaderName::To, format_args!("<{uri}>"))
                .header(HeaderName::CallId, call_id.as_bytes())
                .header(HeaderName::CSeq, b"1 OPTIONS");
            crate::call::attempt::write_contact(listener, &mut printer);
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

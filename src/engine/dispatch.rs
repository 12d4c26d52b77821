//! From messages and timers to the transactions and calls they belong to.

use std::net::SocketAddr;
use std::time::Instant;

use super::engine::Engine;
use super::evidence::Asked;
use crate::call::admission::admit;
use crate::call::attempt::Offer;
use crate::call::authentication::{Caller, identify};
use crate::call::context::{ALLOW, Owner};
use crate::call::credentials::Challenged;
use crate::call::options::{Options, unsupported};
use crate::call::session_timer::SessionTimer;
use crate::call::verdict::Failure;
use crate::call::{Call, Side, stray};
use crate::carrier::ReferPolicy;
use crate::dialog::Tag;
use crate::sip::name_addr::split_list;
use crate::sip::{HeaderName, Message, Method, Printer, Uri};
use crate::transaction::timer::TRANSACTION_LIMIT;
use crate::transaction::{ClientKey, Flow, Listener, MatchKey, ServerKey, ServerMachine};

/// Server transactions that may be there for each call that may be: its INVITE, what is asked within
/// it, and those of short calls that are over.
const SERVERS_A_CALL: usize = 8;
/// Server transactions beyond those, so that a small `max_calls` does not count against short calls.
const SPARE_SERVERS: usize = 10_000;
/// What we take to pass on: a datagram holds 65 507 octets, and what we write of our own must find room.
const MAX_RELAYED_OCTETS: usize = 60_000;

impl Engine {
    pub(super) fn on_response(&mut self, response: &Message) {
        let Some(key) = self.cx.transactions.client_of(response) else {
            if !self.pass_back(response) {
                self.cx.counters.stray_responses += 1;
            }
            return;
        };
        let Some(client) = self.cx.transactions.client(key) else { return };
        let (owner, flow, at) = (client.owner, client.flow, client.started);
        let challenged = self.cx.challenged(key, response);
        let turn = self.cx.with_client(key, |client, now, actions| {
            client.machine.on_response(response, now, actions);
        });
        match turn {
            Some(turn) if turn.is_delivered => {
                self.note_asked(Asked { owner, flow, at }, Some(response.status_code()));
                let is_answered = challenged
                    .is_some_and(|challenged| self.answer(owner, key, &challenged, response));
                if !is_answered {
                    self.deliver(owner, key, response);
                }
            }
            _ => self.cx.counters.retransmissions_received += 1,
        }
    }

    /// Answers a carrier's challenge; `false` where its response is one like any other.
    fn answer(
        &mut self,
        owner: Owner,
        client: ClientKey,
        challenged: &Challenged,
        response: &Message,
    ) -> bool {
        let mut is_answered = false;
        match owner {
            Owner::Invite(call)
            | Owner::Reinvite(call, _)
            | Owner::Refresh(call, _)
            | Owner::Relay { call, .. }
            | Owner::Bye(call, _) => self.with_call(call, |call, cx| {
                is_answered = call.on_challenge(cx, owner, client, challenged, response);
            }),
            Owner::Farewell(carrier_id) => {
                let seq = response.cseq().0 + 1;
                let cx = &mut self.cx;
                is_answered = cx.send_again(carrier_id, challenged, owner, seq, response).is_some();
            }
            Owner::Register(key) => is_answered = self.answer_registrar(key, challenged, response),
            // A probe has its answer: somebody is there. What a stray asks for nobody wants any more.
            Owner::Probe(_) | Owner::Stray(_) | Owner::Nobody => {}
        }
        is_answered
    }

    /// Hands a response to whom it concerns.
    fn deliver(&mut self, owner: Owner, client: ClientKey, response: &Message) {
        let is_final = response.status_code() >= 200;
        if let Owner::Invite(call) | Owner::Reinvite(call, _) | Owner::Refresh(call, _) = owner
            && !is_final
            && !self.calls.contains_key(call)
        {
            // A provisional response lifts the limit of its INVITE, and nobody is left to set another.
            let limit = self.cx.now + TRANSACTION_LIMIT;
            self.cx.with_client(client, |client, _, _| client.machine.limit(limit));
            return;
        }
        match owner {
            Owner::Invite(call) => {
                self.with_call(call, |call, cx| call.on_invite_response(cx, client, response));
            }
            Owner::Reinvite(call, side) => {
                self.with_call(call, |call, cx| {
                    call.on_reinvite_response(cx, side, client, response)
                });
            }
            Owner::Relay { call, side, server } => {
                self.with_call(call, |call, cx| {
                    call.on_relay_response(cx, side, server, Some(response));
                });
            }
            Owner::Refresh(call, side) => {
                self.with_call(call, |call, cx| {
                    call.on_refresh_response(cx, side, client, Ok(response));
                });
            }
            Owner::Bye(call, side) if is_final => {
                let status_code = response.status_code();
                self.with_call(call, |call, cx| call.on_bye_answered(cx, side, status_code));
            }
            Owner::Stray(stray) => {
                if let Some(origin) = stray::on_response(&mut self.cx, stray, response) {
                    self.with_call(origin.call, |call, _| call.note_late_answer(origin.attempt));
                }
            }
            Owner::Probe(probe) if is_final => {
                self.on_probe_done(probe, Some(response.status_code()));
            }
            Owner::Register(key) if is_final => self.on_registered(key, response),
            Owner::Bye(..)
            | Owner::Probe(_)
            | Owner::Register(_)
            | Owner::Farewell(_)
            | Owner::Nobody => {}
        }
    }

    pub(super) fn on_client_timer(&mut self, key: ClientKey, at: Instant) {
        let Some(client) = self.cx.transactions.client(key) else { return };
        if client.scheduled == Some(at) {
            client.scheduled = None;
        }
        let (owner, flow, at) = (client.owner, client.flow, client.started);
        let turn = self.cx.with_client(key, |client, now, actions| {
            client.machine.on_timeout(now, actions);
        });
        if turn.is_some_and(|turn| turn.is_timed_out) {
            self.note_asked(Asked { owner, flow, at }, None);
            self.on_client_failed(owner, key, Failure::Timeout);
        }
    }

    pub(super) fn on_server_timer(&mut self, key: ServerKey, at: Instant) {
        let Some(server) = self.cx.transactions.server(key) else { return };
        if server.scheduled == Some(at) {
            server.scheduled = None;
        }
        // An ACK that never came for a rejection changes nothing: the call has its record.
        self.cx.with_server(key, |server, now, actions| server.machine.on_timeout(now, actions));
    }

    /// Everything that waits on an address hears that it cannot be reached.
    pub(super) fn on_unreachable(&mut self, flow: Flow) {
        for key in self.cx.transactions.clients_on(flow) {
            let Some(client) = self.cx.transactions.client(key) else { continue };
            let (owner, flow, at) = (client.owner, client.flow, client.started);
            let turn = self.cx.with_client(key, |client, _, actions| {
                client.machine.on_transport_error(actions);
            });
            if turn.is_some_and(|turn| turn.is_timed_out) {
                self.note_asked(Asked { owner, flow, at }, None);
                self.on_client_failed(owner, key, Failure::Transport);
            }
        }
    }

    fn on_client_failed(&mut self, owner: Owner, client: ClientKey, failure: Failure<'_>) {
        match owner {
            Owner::Invite(call) => self.with_call(call, |call, cx| {
                call.on_invite_failed(cx, Side::Outbound, client, failure);
            }),
            Owner::Reinvite(call, side) => {
                self.with_call(call, |call, cx| call.on_invite_failed(cx, side, client, failure));
            }
            Owner::Relay { call, side, server } => {
                self.with_call(call, |call, cx| call.on_relay_response(cx, side, server, None));
            }
            Owner::Refresh(call, side) => self.with_call(call, |call, cx| {
                call.on_refresh_response(cx, side, client, Err(failure));
            }),
            Owner::Bye(call, _) => self.with_call(call, |call, cx| call.on_bye_done(cx)),
            Owner::Probe(probe) => self.on_probe_done(probe, None),
            Owner::Register(key) => self.on_register_failed(key),
            Owner::Stray(_) | Owner::Farewell(_) | Owner::Nobody => {}
        }
    }

    pub(super) fn on_request(&mut self, request: Message, flow: Flow) {
        if let Some(defect) = request.defect() {
            self.cx.counters.rejected_malformed += 1;
            if request.method() != Method::Ack {
                self.answer_statelessly(&request, flow, defect.status_code, defect.reason);
            }
            return;
        }
        let key = MatchKey::of(&request);
        if let Some(server) = self.cx.transactions.server_of(&key) {
            return self.on_known_request(server, &request);
        }
        match request.method() {
            Method::Ack => self.on_dialog_ack(&request, Some(flow)),
            Method::Cancel => self.on_cancel(request, flow),
            _ if request.to_tag().is_some() => self.on_dialog_request(request, flow),
            Method::Invite => self.on_new_invite(request, flow),
            method => self.on_other_request(method, &request, flow),
        }
    }

    /// A repeated request, or the ACK of a final response.
    fn on_known_request(&mut self, server: ServerKey, request: &Message) {
        if request.method() != Method::Ack {
            self.cx.counters.retransmissions_received += 1;
            self.cx.with_server(server, |server, _, actions| server.machine.on_request(actions));
            return;
        }
        let turn = self.cx.with_server(server, |server, now, actions| {
            if let ServerMachine::Invite(machine) = &mut server.machine {
                machine.on_ack(now, actions);
            }
        });
        if turn.is_some_and(|turn| turn.is_delivered) {
            // A peer that gives the ACK of a 2xx its INVITE's branch.
            self.on_dialog_ack(request, None);
        }
    }

    fn on_dialog_ack(&mut self, request: &Message, flow: Option<Flow>) {
        let Some(tag) = request.to_tag().and_then(Tag::parse) else { return };
        let Some((call, side)) = self.cx.dialogs.get(&tag).copied() else {
            if let Some(flow) = flow {
                self.ask_others(request, flow);
            }
            return;
        };
        self.with_call(call, |call, cx| call.on_ack(cx, side, request));
    }

    /// RFC 3261 §9.2
    fn on_cancel(&mut self, request: Message, flow: Flow) {
        let Some(invite) = self.cx.transactions.server_of(&MatchKey::of_invite(&request)) else {
            return self.answer_statelessly(&request, flow, 481, "");
        };
        let server = self.open_server(request.clone(), flow, false);
        let tag = self.cx.new_tag();
        self.cx.respond(server, 200, b"", Some(tag), |_, _| {}, b"");
        let owner = self.cx.transactions.server(invite).and_then(|server| server.owner);
        if let Some(Owner::Invite(call) | Owner::Reinvite(call, _)) = owner {
            self.with_call(call, |call, cx| call.on_cancel(cx, invite, &request));
        }
    }

    fn on_dialog_request(&mut self, request: Message, flow: Flow) {
        let tag = request.to_tag().and_then(Tag::parse);
        let found = tag.and_then(|tag| self.cx.dialogs.get(&tag).copied());
        let Some((call, side)) = found.filter(|(call, _)| self.calls.contains_key(*call)) else {
            if tag.is_some() && self.ask_others(&request, flow) {
                return;
            }
            return self.answer_statelessly(&request, flow, 481, "");
        };
        if is_too_large(&request) {
            return self.answer_statelessly(&request, flow, 513, "");
        }
        if let Some(unsupported) = unsupported(&request) {
            return self.refuse_extension(&request, flow, &unsupported);
        }
        let server = self.open_server(request.clone(), flow, false);
        if request.method() == Method::Invite
            && let Some(server) = self.cx.transactions.server(server)
        {
            server.owner = Some(Owner::Reinvite(call, side));
        }
        if request.method() == Method::Refer {
            self.cx.named = self.named_for(call, &request);
        }
        self.with_call(call, |call, cx| call.on_request(cx, side, server, &request));
        self.cx.named = None;
    }

    fn on_new_invite(&mut self, request: Message, flow: Flow) {
        // Before all else, so that it costs little: the callers that are taken need the time.
        if self.overload.share() > 0.0 && self.cx.random.unit_f64() < self.overload.share() {
            self.cx.counters.calls_refused_overload += 1;
            return self.answer_statelessly(&request, flow, 503, "");
        }
        if self.cx.transactions.is_merged(&request) {
            return self.answer_statelessly(&request, flow, 482, "");
        }
        if let Some((status_code, reason)) = refusal(&request) {
            return self.answer_statelessly(&request, flow, status_code, reason);
        }
        if is_too_large(&request) {
            return self.answer_statelessly(&request, flow, 513, "");
        }
        if let Some(unsupported) = unsupported(&request) {
            return self.refuse_extension(&request, flow, &unsupported);
        }
        let session = self.cx.settings.session;
        if SessionTimer::is_too_small(&request, session) {
            return self.answer_with(&request, flow, 422, "", |printer| {
                SessionTimer::write_refusal(session, printer);
            });
        }
        if self.is_full() {
            self.cx.counters.calls_over_limit += 1;
            return self.answer_statelessly(&request, flow, 503, "");
        }
        let caller = self.caller(&request, flow);
        if let Some((status_code, is_stale)) = self.turned_away(&caller) {
            return match status_code {
                401 => self.challenge(&request, flow, is_stale),
                _ => self.answer_statelessly(&request, flow, status_code, ""),
            };
        }
        if let Caller::Customer(customer) = &caller
            && customer.is_enabled
            && request.first(HeaderName::Replaces).is_some()
        {
            match customer.refer {
                ReferPolicy::Relay | ReferPolicy::Local => {
                    let customer = customer.clone();
                    return self.on_replacing_invite(request, flow, &customer);
                }
                ReferPolicy::Refuse
                    if Options::of(&request, HeaderName::Require).has(Options::REPLACES) =>
                {
                    return self.refuse_extension(&request, flow, b"replaces");
                }
                // To who does not know it, the field says nothing.
                ReferPolicy::Refuse => {}
            }
        }
        let server = self.open_server(request.clone(), flow, true);
        let offer = Offer::new(request);
        match admit(&mut self.cx, &offer, caller) {
            Err(denial) => Call::refuse(&mut self.cx, server, flow, &offer, *denial),
            Ok(admission) => {
                self.cx.respond(server, 100, b"", None, |_, _| {}, b"");
                let cx = &mut self.cx;
                let key = self.calls.insert_with_key(|key| {
                    if let Some(server) = cx.transactions.server(server) {
                        server.owner = Some(Owner::Invite(key));
                    }
                    Call::begin(cx, key, server, flow, offer, admission)
                });
                self.with_call(key, |_, _| {});
            }
        }
    }

    /// As many calls as may be, or more transactions than those calls can account for: calls that are
    /// refused, or over, keep one for half a minute.
    fn is_full(&self) -> bool {
        let max_calls = self.cx.settings.max_calls;
        let max_servers = max_calls.saturating_mul(SERVERS_A_CALL).saturating_add(SPARE_SERVERS);
        self.calls.len() >= max_calls || self.cx.transactions.servers_len() >= max_servers
    }

    /// Who sent an INVITE. While nobody is let in anyway, nobody is asked either.
    fn caller(&mut self, invite: &Message, flow: Flow) -> Caller {
        match self.cx.is_draining || !self.cx.tables.is_loaded() {
            true => self
                .cx
                .tables
                .customer_at(flow.remote.ip())
                .cloned()
                .map_or(Caller::Stranger, Caller::Customer),
            false => identify(&mut self.cx, invite, flow.remote.ip()),
        }
    }

    /// The code for callers that are answered without a transaction and a record: those that are only asked who they
    /// are, and nobody's customers beyond what is put on record of such. With it, whether a nonce was stale.
    fn turned_away(&mut self, caller: &Caller) -> Option<(u16, bool)> {
        let is_loaded = self.cx.tables.is_loaded();
        let (cx, strangers) = (&mut self.cx, &mut self.strangers);
        let counters = &mut cx.counters;
        match caller {
            Caller::Customer(_) | Caller::Misplaced { .. } => None,
            Caller::Unproven { is_stale } => Some((401, *is_stale)),
            Caller::Blocked => {
                counters.authentications_blocked += 1;
                Some((403, false))
            }
            Caller::Wrong { .. } => {
                counters.authentications_failed += 1;
                strangers.take(cx.now).is_none().then(|| {
                    counters.strangers_unrecorded += 1;
                    (401, false)
                })
            }
            Caller::Stranger if !is_loaded => None,
            Caller::Stranger => strangers.take(cx.now).is_none().then(|| {
                counters.strangers_unrecorded += 1;
                (403, false)
            }),
        }
    }

    /// Asks who sent an INVITE, without a transaction (RFC 3261 §8.2.7): whoever says nothing leaves nothing behind.
    fn challenge(&mut self, invite: &Message, flow: Flow, is_stale: bool) {
        let challenges = self.cx.new_challenges(is_stale);
        self.answer_with(invite, flow, 401, "", |printer| {
            for challenge in &challenges {
                printer.header(HeaderName::WwwAuthenticate, challenge.as_bytes());
            }
        });
    }

    /// A request that begins no call.
    fn on_other_request(&mut self, method: Method, request: &Message, flow: Flow) {
        let (status_code, reason) = match method {
            Method::Other => (501, ""),
            Method::Options => match refusal(request) {
                // §11: OPTIONS is answered by us; Max-Forwards does not concern whom it has reached.
                Some((status_code, reason)) if status_code == 416 => (status_code, reason),
                _ if self.cx.is_draining || !self.cx.tables.is_loaded() => (503, ""),
                _ => (200, ""),
            },
            Method::Bye | Method::Info | Method::Update | Method::Notify | Method::Prack => {
                (481, "")
            }
            Method::Message
            | Method::Refer
            | Method::Subscribe
            | Method::Register
            | Method::Publish
            | Method::Invite
            | Method::Ack
            | Method::Cancel => (405, ""),
        };
        if status_code == 200
            && let Some(unsupported) = unsupported(request)
        {
            return self.refuse_extension(request, flow, &unsupported);
        }
        self.answer_statelessly(request, flow, status_code, reason);
    }

    pub(super) fn open_server(
        &mut self,
        request: Message,
        flow: Flow,
        is_merge_checked: bool,
    ) -> ServerKey {
        let listener = self.cx.settings.listener(flow.listener);
        let (reply, is_reliable) = (reply_flow(&request, flow, listener), listener.is_reliable());
        self.cx.transactions.open_server(request, reply, flow.remote, is_reliable, is_merge_checked)
    }

    /// Answers without a transaction (RFC 3261 §8.2.7): the same request gets the same answer.
    pub(super) fn answer_statelessly(
        &mut self,
        request: &Message,
        flow: Flow,
        status_code: u16,
        reason: &str,
    ) {
        self.answer_with(request, flow, status_code, reason, |_| {});
    }

    /// RFC 3261 §8.2.2.3
    fn refuse_extension(&mut self, request: &Message, flow: Flow, unsupported: &[u8]) {
        self.answer_with(request, flow, 420, "", |printer| {
            printer.header(HeaderName::Unsupported, unsupported);
        });
    }

    fn answer_with(
        &mut self,
        request: &Message,
        flow: Flow,
        status_code: u16,
        reason: &str,
        write: impl FnOnce(&mut Printer),
    ) {
        let settings = &self.cx.settings;
        let tag = Tag::derived(request.call_id(), settings.bucket_key).to_string();
        let mut printer = Printer::response_to(
            request,
            status_code,
            reason.as_bytes(),
            Some(tag.as_bytes()),
            flow.remote,
        );
        match status_code {
            200 => {
                printer
                    .header(HeaderName::Allow, ALLOW)
                    .header(HeaderName::Accept, b"application/sdp");
                Options::ALL.write(HeaderName::Supported, &mut printer);
            }
            405 | 501 => {
                printer.header(HeaderName::Allow, ALLOW);
            }
            406 => {
                printer.header(HeaderName::Accept, b"application/sdp");
            }
            503 => {
                let seconds = settings.retry_after_s;
                printer.header_fmt(HeaderName::RetryAfter, format_args!("{seconds}"));
            }
            _ => {}
        }
        write(&mut printer);
        printer.header(HeaderName::Server, settings.user_agent.as_bytes());
        let response = printer.finish(b"");
        let reply = reply_flow(request, flow, settings.listener(flow.listener));
        self.cx.send(reply, response);
    }
}

/// Where the response to a request goes (RFC 3261 §18.2.2, RFC 3581 §4). A `maddr` is not followed:
/// it would let anybody aim our responses at anybody. A connection that is closed by then is opened anew to the port of
/// the Via.
fn reply_flow(request: &Message, flow: Flow, listener: &Listener) -> Flow {
    let Some(via) = request.top_via() else { return flow };
    let port = via.port.unwrap_or(listener.transport.default_port());
    let sent_by = SocketAddr::new(flow.remote.ip(), port);
    match listener.is_reliable() {
        true => Flow { fallback: Some(sent_by), ..flow },
        false if via.has_rport => flow,
        false => Flow { remote: sent_by, ..flow },
    }
}

/// What RFC 3261 §8.2 has us refuse an INVITE or OPTIONS for, before anybody's tables are asked.
fn refusal(request: &Message) -> Option<(u16, &'static str)> {
    let uri = Uri::parse(request.request_uri());
    let scheme = uri.map(|uri| uri.scheme).unwrap_or_default();
    let is_known =
        [&b"sip"[..], b"sips", b"tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if !is_known {
        return Some((416, ""));
    }
    if request.max_forwards() == Some(0) {
        return Some((483, ""));
    }
    if !accepts_sdp(request) {
        return Some((406, ""));
    }
    None
}

/// What the other leg's transport could not carry must not look like that peer's silence.
fn is_too_large(request: &Message) -> bool {
    request.bytes().len() > MAX_RELAYED_OCTETS
}

/// Whether the caller can read an answer. Without an Accept it can; an empty one accepts nothing (RFC 3261 §20.1).
fn accepts_sdp(request: &Message) -> bool {
    if request.first(HeaderName::Accept).is_none() {
        return true;
    }
    let mut accepted = request.all(HeaderName::Accept).flat_map(|header| split_list(header.value));
    accepted.any(|range| {
        let end = range.iter().position(|octet| *octet == b';').unwrap_or(range.len());
        let range = range[..end].trim_ascii();
        [&b"application/sdp"[..], b"application/*", b"*/*", b"multipart/mixed"]
            .iter()
            .any(|known| range.eq_ignore_ascii_case(known))
    })
}

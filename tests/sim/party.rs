//! One agent's side of one dialog: what its plan has it do, and what it sends. Callers and carriers
//! are the same machine with other plans; `hearing.rs` is what they make of what they hear.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;

use super::cx::{Act, Cx, MS};
use super::plan::{Plan, Step};
use super::reliable::Unacknowledged;
use super::text::Text;

pub const T1: u64 = 500 * MS;
pub const T2: u64 = 4_000 * MS;
/// 64*T1
pub const LIMIT: u64 = 32_000 * MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Caller,
    Carrier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The INVITE has no final response.
    Early,
    /// Answered, and nobody has hung up.
    Confirmed,
    /// Rejected, hung up, or never begun.
    Ended,
}

/// What the checkers want to know of an agent.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Final responses to the INVITE that began the call: code and To tag.
    pub finals: BTreeSet<(u16, String)>,
    pub answered_at: Option<u64>,
    /// Body of the 2xx that was sent or received.
    pub answer: String,
    pub is_acknowledged: bool,
    /// Body of the ACK that a carrier got.
    pub ack_body: String,
    pub has_sent_bye: bool,
    pub has_received_bye: bool,
    pub has_cancelled: bool,
    pub is_vanished: bool,
    /// Reliable provisional responses that were acknowledged.
    pub pracks: u32,
    pub ended_at: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct Party {
    pub id: usize,
    pub call: usize,
    pub side: Side,
    pub address: SocketAddr,
    pub call_id: String,
    pub local_tag: String,
    pub state: State,
    pub facts: Facts,
    pub plan: Plan,
    /// Another branch of a forked INVITE: answers, and leaves the rest to the first.
    pub is_fork: bool,
    pub(super) remote_tag: String,
    pub(super) local: String,
    pub(super) remote: String,
    pub(super) target: String,
    seq: u32,
    pub(super) remote_seq: u32,
    pub(super) clients: Vec<Client>,
    pub(super) servers: Vec<Server>,
    pub(super) is_leaving: bool,
    pub(super) version: u32,
    pub(super) rseq: u32,
    pub(super) unacknowledged: Option<Unacknowledged>,
    /// To tags and RSeqs.
    pub(super) acknowledged: BTreeSet<(String, String)>,
}

#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) method: &'static str,
    pub(super) branch: String,
    pub(super) seq: u32,
    pub(super) request: Text,
    pub(super) has_offer: bool,
    pub(super) state: ClientState,
    pub(super) ack: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientState {
    Trying,
    Proceeding,
    Done,
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) request: Text,
    pub(super) response: Option<Bytes>,
    pub(super) status: u16,
    pub(super) is_acknowledged: bool,
}

impl Party {
    pub fn caller(cx: &mut Cx, id: usize, call: usize, address: SocketAddr, plan: Plan) -> Self {
        let (tag, call_id) = (cx.word("clr"), format!("{}@{address}", cx.word("clr")));
        let mut this = Self::new(id, call, Side::Caller, address, plan);
        this.local_tag = tag;
        this.call_id = call_id;
        this.local = format!("\"Caller {call}\" <sip:+49301{call:05}@{address}>");
        this.remote = format!("<sip:+1415555{call:04}@{}>", cx.engine);
        this.target = format!("sip:+1415555{call:04}@{}", cx.engine);
        this
    }

    /// The agent that an INVITE reaches.
    pub fn carrier(
        cx: &mut Cx,
        id: usize,
        address: SocketAddr,
        invite: &Text,
        plan: Plan,
    ) -> Option<Self> {
        let call = invite.sim_call()?;
        let mut this = Self::new(id, call, Side::Carrier, address, plan);
        this.local_tag = cx.word("krr");
        this.call_id = invite.call_id().to_owned();
        this.remote_tag = invite.tag_of_from().to_owned();
        this.local = invite.get("To")?.to_owned();
        this.remote = invite.get("From")?.split_once(";tag=")?.0.to_owned();
        this.target = invite.contact()?.to_owned();
        this.remote_seq = invite.seq();
        Some(this)
    }

    /// Another branch of this agent's INVITE.
    pub fn fork(&self, cx: &mut Cx, id: usize, plan: Plan) -> Self {
        let servers = self.servers[..1].iter().map(|server| Server {
            request: server.request.clone(),
            response: None,
            status: 0,
            is_acknowledged: false,
        });
        Self {
            id,
            local_tag: cx.word("krr"),
            is_fork: true,
            unacknowledged: None,
            state: State::Early,
            facts: Facts::default(),
            servers: servers.collect(),
            plan,
            ..self.clone()
        }
    }

    fn new(id: usize, call: usize, side: Side, address: SocketAddr, plan: Plan) -> Self {
        Self {
            id,
            call,
            side,
            address,
            call_id: String::new(),
            local_tag: String::new(),
            state: State::Early,
            facts: Facts::default(),
            plan,
            is_fork: false,
            remote_tag: String::new(),
            local: String::new(),
            remote: String::new(),
            target: String::new(),
            seq: 0,
            remote_seq: 0,
            clients: Vec::new(),
            servers: Vec::new(),
            is_leaving: false,
            version: 0,
            rseq: 0,
            unacknowledged: None,
            acknowledged: BTreeSet::new(),
        }
    }

    pub fn begin(&mut self, cx: &mut Cx) {
        for (after, step) in self.plan.before.clone() {
            cx.later(after, self.id, Act::Step(step));
        }
    }

    pub fn act(&mut self, cx: &mut Cx, act: Act) {
        if self.facts.is_vanished {
            return;
        }
        match act {
            Act::Resend { client, interval } => self.resend(cx, client, interval),
            Act::GiveUp { client } => self.give_up(cx, client),
            Act::ResendFinal { server, interval, until } => {
                self.resend_final(cx, server, interval, until);
            }
            Act::AnswerReinvite { server } => self.answer_reinvite(cx, server),
            Act::ResendReliable { rseq, interval } => self.resend_reliable(cx, rseq, interval),
            Act::Step(step) => self.step(cx, step),
        }
    }

    pub fn receive(&mut self, cx: &mut Cx, text: Text) {
        if self.facts.is_vanished {
            return;
        }
        match text.is_request() {
            true => self.on_request(cx, text),
            false => self.on_response(cx, &text),
        }
    }

    fn step(&mut self, cx: &mut Cx, step: Step) {
        match step {
            Step::Invite => {
                let body = if self.plan.is_late_offer { String::new() } else { self.sdp(true) };
                self.request(cx, "INVITE", body);
            }
            Step::Cancel => self.take_back(cx),
            Step::EarlyBye => {
                let is_early = self.clients[0].state == ClientState::Proceeding;
                if is_early && !self.remote_tag.is_empty() {
                    self.is_leaving = true;
                    self.facts.has_cancelled = true;
                    self.request(cx, "BYE", String::new());
                } else {
                    self.take_back(cx);
                }
            }
            Step::Trying => self.respond_first(cx, 100, "Trying", ""),
            Step::Progress { status, has_media } => {
                let body = if has_media { self.sdp(true) } else { String::new() };
                self.respond_first(cx, status, "Progress", &body);
            }
            Step::Fork { answers_after } => {
                if self.state == State::Early {
                    cx.forks.push((self.id, answers_after));
                }
            }
            Step::Answer if self.must_wait() => cx.later(100 * MS, self.id, Act::Step(step)),
            Step::Answer => {
                let body = self.sdp(true);
                self.respond_first(cx, 200, "OK", &body);
            }
            Step::ChangeTag => {
                if self.state == State::Early {
                    self.local_tag = cx.word("krr");
                }
            }
            Step::Reject { status, reason } => self.respond_first(cx, status, reason, ""),
            Step::Reinvite { has_offer } => {
                let is_busy =
                    self.clients.iter().any(|client| {
                        client.method == "INVITE" && client.state != ClientState::Done
                    }) || self.servers.iter().any(|server| {
                        server.request.method() == "INVITE" && !server.is_acknowledged
                    });
                if self.state == State::Confirmed && !is_busy {
                    self.version += 1;
                    let body = if has_offer { self.sdp(false) } else { String::new() };
                    self.request(cx, "INVITE", body);
                }
            }
            Step::Info => {
                if self.state == State::Confirmed {
                    self.request(cx, "INFO", String::new());
                }
            }
            Step::Refer => {
                let is_ready = self.side == Side::Caller || self.facts.is_acknowledged;
                if self.state == State::Confirmed && is_ready {
                    let target = format!("<sip:+1999{:04}@{}>", self.call, cx.engine);
                    self.request_with(cx, "REFER", String::new(), &[("Refer-To", target)]);
                }
            }
            Step::Replace => {
                if self.state == State::Confirmed && self.side == Side::Caller {
                    let (call_id, to, from) = (&self.call_id, &self.remote_tag, &self.local_tag);
                    let replaces = format!("{call_id};to-tag={to};from-tag={from}");
                    cx.replacements.push((self.call, replaces));
                }
            }
            Step::Hangup => self.hang_up(cx),
            Step::Vanish { is_closed } => {
                self.facts.is_vanished = true;
                if is_closed && self.side == Side::Caller {
                    cx.closed.insert(self.address);
                }
            }
        }
    }

    /// CANCEL as soon as that is allowed, or BYE where it is too late.
    pub(super) fn take_back(&mut self, cx: &mut Cx) {
        self.is_leaving = true;
        match (self.state, self.clients[0].state) {
            (State::Early, ClientState::Proceeding) if !self.facts.has_cancelled => {
                self.facts.has_cancelled = true;
                let invite = &self.clients[0];
                let mut cancel = Text::new(invite.request.start.replace("INVITE ", "CANCEL "));
                for (name, value) in &invite.request.headers {
                    if ["Via", "Max-Forwards", "From", "To", "Call-ID"].contains(&name.as_str()) {
                        cancel = cancel.with(name, value.clone());
                    }
                }
                let cancel = cancel.with("CSeq", format!("{} CANCEL", invite.seq));
                let branch = invite.branch.clone();
                self.start(cx, "CANCEL", branch, invite.seq, cancel);
            }
            (State::Early, _) => {}
            (State::Confirmed, _) => self.hang_up(cx),
            (State::Ended, _) => {}
        }
    }

    pub(super) fn hang_up(&mut self, cx: &mut Cx) {
        if self.state != State::Confirmed {
            return;
        }
        // RFC 3261 §15: the callee waits for the ACK.
        if self.side == Side::Carrier && !self.facts.is_acknowledged {
            self.is_leaving = true;
            return;
        }
        self.facts.has_sent_bye = true;
        self.request(cx, "BYE", String::new());
        self.end(cx);
    }

    pub(super) fn end(&mut self, cx: &mut Cx) {
        self.state = State::Ended;
        self.facts.ended_at.get_or_insert(cx.now);
    }

    /// A response to the INVITE that came first.
    pub(super) fn respond_first(
        &mut self,
        cx: &mut Cx,
        status: u16,
        reason: &'static str,
        body: &str,
    ) {
        if self.state != State::Early || self.servers[0].status >= 200 {
            return;
        }
        if status >= 200 {
            self.facts.finals.insert((status, self.local_tag.clone()));
        }
        if (200..300).contains(&status) {
            self.state = State::Confirmed;
            self.facts.answered_at = Some(cx.now);
            self.facts.answer = body.to_owned();
        }
        self.respond(cx, 0, status, reason, body);
    }

    pub(super) fn respond(
        &mut self,
        cx: &mut Cx,
        server: usize,
        status: u16,
        reason: &str,
        body: &str,
    ) {
        let is_invite = self.servers[server].request.method() == "INVITE";
        if is_invite && self.side == Side::Carrier && server == 0 {
            let branch = self.servers[0].request.branch();
            if (200..300).contains(&status) {
                cx.answered.insert(branch.to_owned());
            } else if status >= 300 && cx.answered.contains(branch) {
                return self.end(cx);
            }
        }
        let mut response =
            self.servers[server].request.response_to(status, reason, &self.local_tag);
        if is_invite && (101..300).contains(&status) {
            response = response.with("Contact", format!("<sip:agent@{}>", self.address));
            if self.plan.records_route && server == 0 {
                response = response.with("Record-Route", format!("<sip:{};lr>", self.address));
            }
        }
        if status == 503 {
            response = response.with("Retry-After", "2");
        }
        response.body = body.to_owned();
        if is_invite && server == 0 && (101..200).contains(&status) {
            response = self.make_reliable(cx, response);
        }
        let response = response.print();
        let slot = &mut self.servers[server];
        slot.status = status;
        slot.response = Some(response.clone());
        cx.agent_sends(self.address, response);
        if is_invite && status >= 200 {
            let until = cx.now + LIMIT;
            cx.later(T1, self.id, Act::ResendFinal { server, interval: T1, until });
            if server == 0 && status >= 300 && self.side == Side::Carrier {
                self.end(cx);
            }
        }
    }

    fn resend_final(&mut self, cx: &mut Cx, server: usize, interval: u64, until: u64) {
        let slot = &self.servers[server];
        let is_2xx = (200..300).contains(&slot.status);
        if slot.is_acknowledged || (is_2xx && self.state == State::Ended) {
            return;
        }
        if cx.now >= until {
            if is_2xx {
                // RFC 3261 §13.3.1.4: without an ACK the dialog stands, and is to be ended.
                self.facts.is_acknowledged |= server == 0;
                let has_been_acknowledged = server > 0;
                self.hang_up(cx);
                self.facts.is_acknowledged &= has_been_acknowledged;
            }
            return;
        }
        if let Some(response) = slot.response.clone() {
            cx.agent_sends(self.address, response);
        }
        let interval = T2.min(2 * interval);
        cx.later(interval, self.id, Act::ResendFinal { server, interval, until });
    }

    /// A request in the dialog, or the one that begins it.
    pub(super) fn request(&mut self, cx: &mut Cx, method: &'static str, body: String) {
        self.request_with(cx, method, body, &[]);
    }

    pub(super) fn request_with(
        &mut self,
        cx: &mut Cx,
        method: &'static str,
        body: String,
        more: &[(&str, String)],
    ) {
        self.seq += 1;
        let branch = cx.word("z9hG4bK");
        let mut request = self.text(method, self.seq, &branch);
        if method == "INVITE" {
            request = request
                .with("Contact", format!("<sip:agent@{}>", self.address))
                .with("X-Sim-Call", self.call.to_string());
        }
        if let Some(header) = self.plan.reliability.filter(|_| method == "INVITE" && self.seq == 1)
        {
            request = request.with(header, "100rel");
        }
        if let Some(replaces) = self.plan.replaces.clone().filter(|_| self.seq == 1) {
            request = request.with("Replaces", replaces);
        }
        for (name, value) in more {
            request = request.with(name, value.clone());
        }
        request.body = body;
        self.start(cx, method, branch, self.seq, request);
    }

    pub(super) fn text(&self, method: &str, seq: u32, branch: &str) -> Text {
        let to = match &*self.remote_tag {
            "" => self.remote.clone(),
            tag => format!("{};tag={tag}", self.remote),
        };
        Text::new(format!("{method} {} SIP/2.0", self.target))
            .with("Via", format!("SIP/2.0/UDP {};branch={branch};rport", self.address))
            .with("Max-Forwards", "70")
            .with("From", format!("{};tag={}", self.local, self.local_tag))
            .with("To", to)
            .with("Call-ID", self.call_id.clone())
            .with("CSeq", format!("{seq} {method}"))
    }

    fn start(
        &mut self,
        cx: &mut Cx,
        method: &'static str,
        branch: String,
        seq: u32,
        request: Text,
    ) {
        let client = self.clients.len();
        cx.agent_sends(self.address, request.print());
        cx.later(T1, self.id, Act::Resend { client, interval: T1 });
        cx.later(LIMIT, self.id, Act::GiveUp { client });
        let has_offer = !request.body.is_empty();
        let state = ClientState::Trying;
        self.clients.push(Client { method, branch, seq, request, has_offer, state, ack: None });
    }

    fn resend(&mut self, cx: &mut Cx, index: usize, interval: u64) {
        let client = &self.clients[index];
        if client.state != ClientState::Trying {
            return;
        }
        cx.agent_sends(self.address, client.request.print());
        let interval = match client.method {
            "INVITE" => 2 * interval,
            _ => T2.min(2 * interval),
        };
        if interval < LIMIT {
            cx.later(interval, self.id, Act::Resend { client: index, interval });
        }
    }

    /// 64*T1 are over.
    fn give_up(&mut self, cx: &mut Cx, index: usize) {
        let client = &mut self.clients[index];
        if client.state != ClientState::Trying {
            return;
        }
        client.state = ClientState::Done;
        match client.method {
            "INVITE" if index == 0 && self.side == Side::Caller => self.end(cx),
            "BYE" | "CANCEL" => {}
            _ => self.hang_up(cx),
        }
    }

    /// Names its author and its version; `is_active` or on hold.
    pub(super) fn sdp(&self, is_active: bool) -> String {
        let direction = if is_active { "sendrecv" } else { "sendonly" };
        let (host, id, version) = (self.address.ip(), self.id, self.version);
        format!(
            "v=0\r\no=- {id} {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
             m=audio 40000 RTP/AVP 0\r\na={direction}\r\n"
        )
    }
}

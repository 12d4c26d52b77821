//! A caller or a callee: one side of one dialog, written down nowhere else.

use std::net::SocketAddr;

use bytes::Bytes;

use super::cx::{Act, Cx, MS, S};
use super::text::Text;

pub const T1: u64 = 500 * MS;
const T2: u64 = 4 * S;
/// 64*T1
const LIMIT: u64 = 32 * S;
/// A caller whose INVITE has no final response by then gives up.
const PATIENCE: u64 = 60 * S;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Caller,
    Callee,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Early,
    Confirmed,
    Ended,
}

/// What is drawn for an agent before the call begins.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// After the answer.
    pub acts: Vec<(u64, Act)>,
    /// INVITE to ringing, and to the answer.
    pub rings_after: u64,
    pub answers_after: u64,
    pub allows_update: bool,
    /// Asks for changes by UPDATE, where the other side allows it.
    pub prefers_update: bool,
    /// What the first request that changes the session or the target is answered.
    pub refuses_once: Option<u16>,
}

#[derive(Clone, Debug)]
pub struct Client {
    pub method: &'static str,
    pub branch: String,
    pub seq: u32,
    pub sent_at: u64,
    /// The status of its final response, 0 before.
    pub status: u16,
    is_proceeding: bool,
    /// Where it was sent.
    pub to: SocketAddr,
    request: Text,
    ack: Option<Bytes>,
}

#[derive(Clone, Debug)]
struct Server {
    request: Text,
    status: u16,
    response: Option<Bytes>,
    is_acknowledged: bool,
}

/// What the world looks at once it has been said.
#[derive(Clone, Debug)]
pub enum Report {
    /// A BYE came.
    Ended { agent: usize },
    /// A request within the dialog was answered as if that were not there.
    Unknown { agent: usize, method: &'static str },
}

#[derive(Clone, Debug)]
pub struct Agent {
    pub id: usize,
    pub call: usize,
    pub side: Side,
    pub address: SocketAddr,
    /// Where it was before, and is reached too until the other side knows better.
    pub former: Option<SocketAddr>,
    pub call_id: String,
    pub state: State,
    pub plan: Plan,
    pub clients: Vec<Client>,
    /// The ACK of the 2xx that made the dialog was sent, or came.
    pub is_acknowledged: bool,
    pub confirmed_at: Option<u64>,
    pub ended_at: Option<u64>,
    pub has_hung_up: bool,
    pub has_got_bye: bool,
    /// When it last answered 491, or had a request under way.
    pub was_busy_at: u64,
    pub has_refused: bool,
    pub target: SocketAddr,
    /// When what it sends its requests to was last said.
    pub targeted_at: u64,
    local_tag: String,
    remote_tag: String,
    local: String,
    remote: String,
    target_uri: String,
    seq: u32,
    remote_seq: u32,
    servers: Vec<Server>,
    version: u32,
    peer_allows_update: bool,
}

impl Agent {
    pub fn caller(
        cx: &mut Cx,
        id: usize,
        call: usize,
        address: SocketAddr,
        node: SocketAddr,
        plan: Plan,
    ) -> Self {
        let (tag, call_id) = (cx.word("clr"), cx.word("call"));
        let local = format!("<sip:+49301{call:05}@{address}>");
        let target = format!("sip:+1415555{call:04}@{node}");
        let remote = format!("<{target}>");
        Self::new(id, call, Side::Caller, address, plan, node)
            .with(tag, call_id, local, remote, target)
    }

    pub fn callee(cx: &mut Cx, id: usize, to: SocketAddr, invite: &Text, plan: Plan) -> Self {
        let call = invite.get("X-Sim-Call").and_then(|call| call.parse().ok()).unwrap_or(0);
        let target = invite.contact().unwrap_or_default().to_owned();
        let remote = invite.get("From").and_then(|from| from.split_once(";tag="));
        let remote = remote.map(|(from, _)| from.to_owned()).unwrap_or_default();
        let (tag, call_id) = (cx.word("cle"), invite.call_id().to_owned());
        let local = invite.get("To").unwrap_or_default().to_owned();
        let node = address_of(&target).unwrap_or(to);
        let mut this = Self::new(id, call, Side::Callee, to, plan, node)
            .with(tag, call_id, local, remote, target);
        this.remote_tag = invite.tag_of_from().to_owned();
        this.remote_seq = invite.seq();
        this.peer_allows_update = allows_update(invite);
        this
    }

    fn new(
        id: usize,
        call: usize,
        side: Side,
        address: SocketAddr,
        plan: Plan,
        target: SocketAddr,
    ) -> Self {
        Self {
            id,
            call,
            side,
            address,
            former: None,
            call_id: String::new(),
            state: State::Early,
            plan,
            clients: Vec::new(),
            is_acknowledged: false,
            confirmed_at: None,
            ended_at: None,
            has_hung_up: false,
            has_got_bye: false,
            was_busy_at: 0,
            has_refused: false,
            target,
            targeted_at: 0,
            local_tag: String::new(),
            remote_tag: String::new(),
            local: String::new(),
            remote: String::new(),
            target_uri: String::new(),
            seq: 0,
            remote_seq: 0,
            servers: Vec::new(),
            version: 0,
            peer_allows_update: false,
        }
    }

    fn with(
        self,
        local_tag: String,
        call_id: String,
        local: String,
        remote: String,
        target_uri: String,
    ) -> Self {
        Self { local_tag, call_id, local, remote, target_uri, ..self }
    }

    pub fn act(&mut self, cx: &mut Cx, act: Act) {
        match act {
            Act::Invite => {
                let body = self.sdp();
                self.request(cx, "INVITE", body);
                cx.act(PATIENCE, self.id, Act::GiveUp);
            }
            Act::Ring => self.respond(cx, 0, 180),
            Act::Answer => {
                if self.state == State::Early {
                    self.state = State::Confirmed;
                    self.respond(cx, 0, 200);
                }
            }
            Act::Resend { client, interval } => self.resend(cx, client, interval),
            Act::ResendFinal { server, interval, until } => {
                self.resend_final(cx, server, interval, until);
            }
            Act::GiveUp => {
                if self.state == State::Early {
                    self.end(cx);
                }
            }
            _ if self.state != State::Confirmed => {}
            Act::AnswerReinvite { server } => {
                if self.servers[server].response.is_none() {
                    self.version += 1;
                    self.respond(cx, server, 200);
                }
            }
            Act::Info => self.request(cx, "INFO", String::new()),
            Act::Reinvite => self.change(cx),
            Act::Move => {
                if !self.is_busy() && self.former.is_none() {
                    self.former = Some(self.address);
                    self.address.set_port(self.address.port() + 1_000);
                    self.change(cx);
                }
            }
            Act::Hangup => {
                self.has_hung_up = true;
                self.request(cx, "BYE", String::new());
                self.end(cx);
            }
        }
    }

    /// A re-INVITE, or an UPDATE, with a Contact and a new offer.
    fn change(&mut self, cx: &mut Cx) {
        if self.is_busy() {
            return;
        }
        self.version += 1;
        if self.plan.prefers_update && self.peer_allows_update {
            self.request(cx, "UPDATE", String::new());
        } else {
            let body = self.sdp();
            self.request(cx, "INVITE", body);
        }
    }

    /// An INVITE of either side has no end.
    pub fn is_busy(&self) -> bool {
        let is_invite = |client: &Client| client.method != "INFO" && client.method != "BYE";
        self.clients.iter().any(|client| is_invite(client) && client.status == 0)
            || self
                .servers
                .iter()
                .any(|server| server.request.method() == "INVITE" && !server.is_acknowledged)
    }

    fn end(&mut self, cx: &mut Cx) {
        self.state = State::Ended;
        self.ended_at.get_or_insert(cx.now);
    }

    fn request(&mut self, cx: &mut Cx, method: &'static str, body: String) {
        self.seq += 1;
        let branch = cx.word("z9hG4bK");
        let mut request = self.text(method, self.seq, &branch);
        if method == "INVITE" || method == "UPDATE" {
            request = request
                .with("Contact", format!("<sip:agent@{}>", self.address))
                .with("Allow", self.allow());
        }
        if method == "INVITE" {
            request = request.with("X-Sim-Call", self.call.to_string());
        }
        request.body = body;
        let bytes = request.print();
        let client = self.clients.len();
        self.clients.push(Client {
            method,
            branch,
            seq: self.seq,
            sent_at: cx.now,
            status: 0,
            is_proceeding: false,
            to: self.target,
            request,
            ack: None,
        });
        cx.agent_sends(self.address, self.target, bytes);
        cx.act(T1, self.id, Act::Resend { client, interval: T1 });
    }

    fn allow(&self) -> &'static str {
        match self.plan.allows_update {
            true => "INVITE, ACK, CANCEL, BYE, INFO, UPDATE",
            false => "INVITE, ACK, CANCEL, BYE, INFO",
        }
    }

    fn text(&self, method: &str, seq: u32, branch: &str) -> Text {
        let to = match &*self.remote_tag {
            "" => self.remote.clone(),
            tag => format!("{};tag={tag}", self.remote),
        };
        Text::new(format!("{method} {} SIP/2.0", self.target_uri))
            .with("Via", format!("SIP/2.0/UDP {};branch={branch};rport", self.address))
            .with("Max-Forwards", "70")
            .with("From", format!("{};tag={}", self.local, self.local_tag))
            .with("To", to)
            .with("Call-ID", self.call_id.clone())
            .with("CSeq", format!("{seq} {method}"))
    }

    fn resend(&mut self, cx: &mut Cx, index: usize, interval: u64) {
        let client = &mut self.clients[index];
        let is_invite = client.method == "INVITE";
        if client.status > 0 || (is_invite && client.is_proceeding) {
            return;
        }
        if cx.now >= client.sent_at + LIMIT {
            client.status = 408;
            if is_invite && index == 0 && self.side == Side::Caller {
                self.end(cx);
            }
            return;
        }
        cx.agent_sends(self.address, client.to, client.request.print());
        let interval = if is_invite { 2 * interval } else { T2.min(2 * interval) };
        let interval = interval.min((client.sent_at + LIMIT - cx.now).max(MS));
        cx.act(interval, self.id, Act::Resend { client: index, interval });
    }

    fn resend_final(&mut self, cx: &mut Cx, server: usize, interval: u64, until: u64) {
        let slot = &mut self.servers[server];
        if slot.is_acknowledged || self.state == State::Ended {
            return;
        }
        if cx.now >= until {
            slot.is_acknowledged = true;
            if server == 0 && self.side == Side::Callee {
                // RFC 3261 §13.3.1.4: without an ACK the dialog is to be ended.
                self.act(cx, Act::Hangup);
            }
            return;
        }
        if let Some(response) = slot.response.clone() {
            let from = self.address;
            let to = self.source_of(server);
            cx.agent_sends(from, to, response);
        }
        let interval = T2.min(2 * interval);
        cx.act(interval, self.id, Act::ResendFinal { server, interval, until });
    }

    /// Where the responses to a request go: what its topmost Via says.
    fn source_of(&self, server: usize) -> SocketAddr {
        let via = self.servers[server].request.get("Via").unwrap_or_default();
        let sent_by = via.split_whitespace().nth(1).unwrap_or_default();
        let host = sent_by.split(';').next().unwrap_or_default();
        host.parse().unwrap_or(self.target)
    }

    fn respond(&mut self, cx: &mut Cx, server: usize, status: u16) {
        let slot = &self.servers[server];
        if slot.status >= 200 {
            return;
        }
        let method = slot.request.method().to_owned();
        let mut response = slot.request.response_to(status, "Said", &self.local_tag);
        let is_target = method == "INVITE" || method == "UPDATE";
        if is_target && (101..300).contains(&status) {
            response = response
                .with("Contact", format!("<sip:agent@{}>", self.address))
                .with("Allow", self.allow());
        }
        if method == "INVITE" && status == 200 {
            response.body = self.sdp();
        }
        if status == 401 {
            response = response.with("WWW-Authenticate", "Digest realm=\"sim\", nonce=\"1\"");
        }
        let bytes = response.print();
        let slot = &mut self.servers[server];
        slot.status = status;
        slot.response = Some(bytes.clone());
        let (from, to) = (self.address, self.source_of(server));
        cx.agent_sends(from, to, bytes);
        if method == "INVITE" && status >= 200 {
            let until = cx.now + LIMIT;
            cx.act(T1, self.id, Act::ResendFinal { server, interval: T1, until });
        }
    }

    fn sdp(&self) -> String {
        let (host, id, version) = (self.address.ip(), self.id, self.version);
        format!(
            "v=0\r\no=- {id} {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
             m=audio 40000 RTP/AVP 0\r\n"
        )
    }

    fn take_target(&mut self, cx: &Cx, message: &Text) {
        if let Some(contact) = message.contact()
            && let Some(target) = address_of(contact)
        {
            self.target_uri = contact.to_owned();
            self.target = target;
            self.targeted_at = cx.now;
        }
        if message.get("Allow").is_some() {
            self.peer_allows_update = allows_update(message);
        }
    }

    pub fn receive(&mut self, cx: &mut Cx, text: &Text) -> Option<Report> {
        match text.is_request() {
            true => self.on_request(cx, text),
            false => self.on_response(cx, text),
        }
    }

    fn on_response(&mut self, cx: &mut Cx, response: &Text) -> Option<Report> {
        let index = self.clients.iter().position(|client| {
            client.branch == response.branch() && client.method == response.method()
        })?;
        let status = response.status();
        let client = &mut self.clients[index];
        if status < 200 {
            client.is_proceeding = true;
            return None;
        }
        let is_first = client.status == 0;
        client.status = status;
        let method = client.method;
        if matches!(method, "INVITE" | "UPDATE") && status < 300 {
            self.former = None;
        }
        let is_initial = index == 0 && self.side == Side::Caller;
        if method == "INVITE" {
            self.acknowledge(cx, index, is_initial, is_first, response);
        } else if method == "UPDATE" && status < 300 {
            self.take_target(cx, response);
        }
        let is_gone = is_first && matches!(status, 408 | 481) && !is_initial;
        (is_gone && self.state == State::Confirmed).then(|| {
            self.end(cx);
            Report::Unknown { agent: self.id, method }
        })
    }

    fn acknowledge(
        &mut self,
        cx: &mut Cx,
        index: usize,
        is_initial: bool,
        is_first: bool,
        response: &Text,
    ) {
        let status = response.status();
        let (address, to) = (self.address, self.clients[index].to);
        if status >= 300 {
            let invite = &self.clients[index];
            let mut ack = Text::new(invite.request.start.replace("INVITE ", "ACK "));
            for (name, value) in &invite.request.headers {
                if ["Via", "Max-Forwards", "From", "Call-ID"].contains(&name.as_str()) {
                    ack = ack.with(name, value.clone());
                }
            }
            let ack = ack
                .with("To", response.get("To").unwrap_or_default())
                .with("CSeq", format!("{} ACK", invite.seq));
            cx.agent_sends(address, to, ack.print());
            if is_initial && is_first {
                self.end(cx);
            }
            return;
        }
        if is_first {
            if is_initial && self.state == State::Early {
                self.state = State::Confirmed;
                self.remote_tag = response.tag_of_to().to_owned();
                self.confirm(cx);
            }
            self.take_target(cx, response);
            let (seq, branch) = (self.clients[index].seq, cx.word("z9hG4bK"));
            let ack = self.text("ACK", seq, &branch).print();
            self.clients[index].ack = Some(ack);
        }
        if let Some(ack) = self.clients[index].ack.clone() {
            cx.agent_sends(address, self.target, ack);
        }
    }

    fn confirm(&mut self, cx: &mut Cx) {
        self.is_acknowledged = true;
        self.confirmed_at = Some(cx.now);
        for (after, act) in self.plan.acts.clone() {
            cx.act(after, self.id, act);
        }
    }

    pub fn on_request(&mut self, cx: &mut Cx, request: &Text) -> Option<Report> {
        let method = request.method().to_owned();
        if method == "ACK" {
            self.on_ack(cx, request);
            return None;
        }
        let known = self.servers.iter().position(|server| {
            server.request.branch() == request.branch() && server.request.method() == method
        });
        if let Some(index) = known {
            let slot = &self.servers[index];
            if let Some(response) = slot.response.clone()
                && !(slot.is_acknowledged && method == "INVITE")
            {
                let (from, to) = (self.address, self.source_of(index));
                cx.agent_sends(from, to, response);
            }
            return None;
        }
        let server = self.servers.len();
        self.servers.push(Server {
            request: request.clone(),
            status: 0,
            response: None,
            is_acknowledged: method != "INVITE",
        });
        if request.tag_of_to().is_empty() && method == "INVITE" {
            let (rings, answers) = (self.plan.rings_after, self.plan.answers_after);
            cx.act(rings, self.id, Act::Ring);
            cx.act(answers, self.id, Act::Answer);
            return None;
        }
        if method == "CANCEL" {
            self.respond(cx, server, 200);
            if self.state == State::Early {
                self.respond(cx, 0, 487);
                self.end(cx);
            }
            return None;
        }
        let is_ours = request.tag_of_to() == self.local_tag
            && (self.remote_tag.is_empty() || request.tag_of_from() == self.remote_tag);
        if is_ours && self.state == State::Early && self.side == Side::Caller && method != "BYE" {
            // The answer is lost so far, and will come again.
            self.respond(cx, server, if method == "INFO" { 200 } else { 491 });
            return None;
        }
        if !is_ours || (self.state != State::Confirmed && method != "BYE") {
            self.respond(cx, server, 481);
            return None;
        }
        if request.seq() < self.remote_seq {
            self.respond(cx, server, 500);
            return None;
        }
        self.remote_seq = request.seq();
        if method == "BYE" {
            let was_up = self.state == State::Confirmed;
            self.respond(cx, server, 200);
            self.has_got_bye = true;
            self.end(cx);
            return was_up.then_some(Report::Ended { agent: self.id });
        }
        if method == "INVITE" || method == "UPDATE" {
            self.on_change(cx, server, &method, request);
        } else {
            self.respond(cx, server, 200);
        }
        None
    }

    fn on_change(&mut self, cx: &mut Cx, server: usize, method: &str, request: &Text) {
        self.servers[server].is_acknowledged = true;
        let is_busy = self.is_busy();
        self.servers[server].is_acknowledged = method != "INVITE";
        if let Some(status) = self.plan.refuses_once.take() {
            self.has_refused = true;
            return self.respond(cx, server, status);
        }
        if is_busy && (method == "INVITE" || !request.body.is_empty()) {
            self.was_busy_at = cx.now;
            return self.respond(cx, server, 491);
        }
        self.take_target(cx, request);
        if method == "INVITE" {
            self.respond(cx, server, 100);
            let after = cx.random.below(400) * MS;
            cx.act(after, self.id, Act::AnswerReinvite { server });
        } else {
            self.respond(cx, server, 200);
        }
    }

    fn on_ack(&mut self, cx: &mut Cx, ack: &Text) {
        let found = self.servers.iter().position(|server| {
            server.request.method() == "INVITE" && server.request.seq() == ack.seq()
        });
        let Some(index) = found else { return };
        let was = std::mem::replace(&mut self.servers[index].is_acknowledged, true);
        if !was && index == 0 && self.side == Side::Callee && self.state == State::Confirmed {
            self.confirm(cx);
        }
    }
}

fn allows_update(message: &Text) -> bool {
    message.get("Allow").is_some_and(|allow| allow.contains("UPDATE"))
}

/// Host and port of a URI.
pub fn address_of(uri: &str) -> Option<SocketAddr> {
    let rest = uri.split_once('@').map_or_else(|| uri.trim_start_matches("sip:"), |(_, host)| host);
    let host = rest.split([';', '?', '>']).next()?;
    host.parse().ok().or_else(|| format!("{host}:5060").parse().ok())
}

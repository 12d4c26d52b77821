//! What a call may use of its shard: the time, the transactions, the ways out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hashbrown::HashMap;
use slotmap::{SlotMap, new_key_type};
use uuid::Uuid;

use super::authentication::Authentication;
use super::credentials::Challenges;
use super::settings::Settings;
use super::stray::{Stray, StrayKey};
use super::transfer::{Fetch, Named};
use super::{CallRecord, Replica, RingingReplica, Side};
use crate::carrier::{CarrierId, ReferPolicy, Tables, Transport};
use crate::dialog::{NextHop, Tag};
use crate::health::{Capacity, Evidence, Outcome, Target, View};
use crate::random::{Ids, Random};
use crate::sip::{Feedback, HeaderName, Message, Method, Printer, peek};
use crate::timers::Timers;
use crate::transaction::{
    Action, Actions, Branch, Client, ClientKey, Flow, Server, ServerKey, Table,
};

new_key_type! {
    /// A call of this shard.
    pub struct CallKey;
}

/// Methods that we answer with something else than 405 or 501.
pub const ALLOW: &[u8] = b"INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, UPDATE, PRACK, NOTIFY";
/// With the one that a customer's policy may add.
const ALLOW_REFER: &[u8] =
    b"INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, UPDATE, PRACK, NOTIFY, REFER";

/// The methods that are let pass within a call of a customer with this policy.
pub fn write_allow(refer: ReferPolicy, printer: &mut Printer) {
    let allow = match refer {
        ReferPolicy::Refuse => ALLOW,
        ReferPolicy::Relay | ReferPolicy::Local => ALLOW_REFER,
    };
    printer.header(HeaderName::Allow, allow);
}

/// What an engine asks of the world.
#[derive(Debug)]
pub enum Output {
    Send {
        flow: Flow,
        bytes: Bytes,
    },
    /// To be sent once what `call` has last asked to be kept is kept, or cannot be in time.
    SendKept {
        call: CallKey,
        flow: Flow,
        bytes: Bytes,
    },
    /// Keep this outside of the node, and say so with [`Command::Kept`](crate::engine::Command::Kept).
    Keep {
        call: CallKey,
        replica: Box<Replica>,
    },
    /// Keep this of a call that has been ringing for a while, and say so with
    /// [`Command::RingingKept`](crate::engine::Command::RingingKept).
    KeepRinging {
        call: CallKey,
        replica: Box<RingingReplica>,
    },
    /// A call that the node with this lease is to go on with is forgotten here.
    Released {
        call_id: Uuid,
        to: i64,
    },
    /// A request within a dialog that this shard does not know: another node may. Asked for the `looks`th time.
    Unknown {
        request: Box<(Flow, Message)>,
        looks: u8,
    },
    Outcome(Outcome),
    /// Exactly one a call.
    Record(Box<CallRecord>),
    /// A line for people: something a log should say.
    Event(Event),
}

/// Something worth a log line.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A carrier complained about our (or its) configuration; raise an alert with its words.
    ConfigRefusal { gateway: Arc<str>, status_code: u16, reason: String },
    /// A registrar has accepted us, or does not have us any more (`address` is `None`).
    Registered { gateway: Arc<str>, address: Option<SocketAddr> },
    /// A registrar has refused us, or did not answer (408).
    NotRegistered { gateway: Arc<str>, status_code: u16, reason: String },
    /// A call was refused before any attempt.
    Refused { source: SocketAddr, status_code: u16, detail: String },
}

/// Numbers an operator watches. Monotonic but for the `*_now` gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub calls_now: u64,
    pub answered_now: u64,
    pub client_transactions_now: u64,
    pub server_transactions_now: u64,
    /// INVITEs that no call waits for any more: left behind, or answered and acknowledged.
    pub strays_now: u64,
    pub dialogs_now: u64,
    pub timers_now: u64,
    /// Channels of gateways that attempts, and the calls they became, hold.
    pub channels_now: u64,
    /// Registrations with carriers, those that are only wanted or being ended included.
    pub registrations_now: u64,
    pub messages_received: u64,
    pub messages_sent: u64,
    /// Datagrams that were not SIP or could not be answered.
    pub dropped_not_sip: u64,
    /// Requests answered with 400, 505 and the like for what they are.
    pub rejected_malformed: u64,
    /// Responses without a transaction of ours.
    pub stray_responses: u64,
    /// Calls offered: INVITEs that became calls, the refused ones included.
    pub calls: u64,
    pub calls_answered: u64,
    /// INVITEs answered 503 because `max_calls` were in progress.
    pub calls_over_limit: u64,
    /// INVITEs answered 503 because their customer had as many calls as it may, or as many a second.
    pub calls_over_customer_limit: u64,
    /// INVITEs answered 503 because the shard had more to do than it can.
    pub calls_refused_overload: u64,
    /// Calls refused because no gateway of their route had capacity in time.
    pub calls_without_capacity: u64,
    /// Calls refused since no gateway in their region could take them.
    pub calls_refused_region: u64,
    /// INVITEs of strangers that were answered 403 and are not on record, for there were too many.
    pub strangers_unrecorded: u64,
    /// Requests of unknown sources that were not answered since `unknown_sources` says so.
    pub unknown_dropped: u64,
    /// Requests of unknown sources that were not answered since those send too many.
    pub floods_dropped: u64,
    /// Requests of scanners.
    pub scanners_dropped: u64,
    /// Requests of unknown sources by UDP that were not answered since the answer would be longer.
    pub answers_too_long: u64,
    pub attempts: u64,
    /// Calls in which somebody has taken a peer's place: transfers that we carried out, and INVITEs with Replaces.
    pub transfers: u64,
    pub retransmissions_sent: u64,
    pub retransmissions_received: u64,
    /// Calls taken over from another node, or from an earlier run of this one.
    pub calls_adopted: u64,
    /// Calls that another node has taken over, or was given, forgotten here.
    pub calls_released: u64,
    /// Requests within dialogs of other nodes that were sent on to those.
    pub passed_on: u64,
    /// Answers of carriers that we had left, each ACKed and BYEd.
    pub late_answers: u64,
    pub probes_sent: u64,
    /// REGISTERs that were refused, or not answered.
    pub registrations_refused: u64,
    /// Requests sent again with the credentials that a carrier had asked for.
    pub challenges_answered: u64,
    /// INVITEs answered 401.
    pub challenges_sent: u64,
    /// INVITEs with wrong credentials.
    pub authentications_failed: u64,
    /// INVITEs of addresses that too many wrong credentials came from, answered 403 unread.
    pub authentications_blocked: u64,
}

/// Whom a transaction's news concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The INVITE from the caller (server), or the one to the carrier (client).
    Invite(CallKey),
    /// A re-INVITE that came from this side (server), or goes to it (client).
    Reinvite(CallKey, Side),
    /// Another request within the dialog, on its way to this side for the sake of `server`.
    Relay {
        call: CallKey,
        side: Side,
        server: ServerKey,
    },
    /// Our own PRACK to the carrier.
    Prack(CallKey),
    /// Our own target refresh of this side's dialog: UPDATE or re-INVITE.
    Refresh(CallKey, Side),
    /// Our BYE to this side.
    Bye(CallKey, Side),
    /// An attempt that was left behind.
    Stray(StrayKey),
    Probe(ProbeKey),
    /// A REGISTER of ours.
    Register(RegistrationKey),
    /// A request to this carrier whose end changes nothing: the BYE of a late answer, or of a leg that the call goes on
    /// without.
    Farewell(CarrierId),
    /// Nobody needs to know: CANCEL.
    Nobody,
}

new_key_type! {
    /// An OPTIONS probe on its way.
    pub struct ProbeKey;
    /// A registration of ours.
    pub struct RegistrationKey;
}

/// An OPTIONS probe on its way.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    pub target: Target,
    pub carrier_id: CarrierId,
    pub sent_at: Instant,
}

/// What a shard's timers look at.
#[derive(Clone, Copy, Debug)]
pub enum TimerKey {
    Client(ClientKey),
    Server(ServerKey),
    Call(CallKey),
    Registration(RegistrationKey),
}

/// What came of giving a client transaction a response or some time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    /// The message given is for the owner.
    pub is_delivered: bool,
    /// Nobody answered in time.
    pub is_timed_out: bool,
}

/// All of a shard but its calls.
#[derive(Debug)]
pub struct Context {
    pub settings: Settings,
    pub now: Instant,
    /// The wall clock at an instant.
    pub wall: (Instant, SystemTime),
    pub random: Random,
    pub ids: Ids,
    pub tables: Arc<Tables>,
    pub view: Arc<View>,
    /// What this shard's calls use of gateways and carriers.
    pub capacity: Capacity,
    pub is_draining: bool,
    /// The share of new calls that is refused, for there is too much to do; `None` where none ever is.
    pub overload_share: Option<f64>,
    /// The dialog that the Refer-To of the REFER in hand names by Replaces.
    pub named: Option<Named>,
    /// Legs that calls want of one another.
    pub fetches: Vec<Fetch>,
    /// What is sent now waits until this call is kept.
    pub sends_kept: Option<CallKey>,
    pub transactions: Table<Owner>,
    /// Who holds the dialog with a tag of ours.
    pub dialogs: HashMap<Tag, (CallKey, Side)>,
    pub strays: SlotMap<StrayKey, Stray>,
    pub probes: SlotMap<ProbeKey, Probe>,
    /// What carriers asked for last.
    pub challenges: Challenges,
    /// What is remembered of callers that authenticate.
    pub authentication: Authentication,
    pub timers: Timers<TimerKey>,
    pub outputs: std::collections::VecDeque<Output>,
    pub counters: Counters,
    actions: Actions,
}

impl Context {
    pub fn new(settings: Settings, seed: u64, now: Instant, wall: SystemTime) -> Self {
        let mut capacity = Capacity::default();
        capacity.set_parts(settings.shards);
        Self {
            settings,
            now,
            wall: (now, wall),
            random: Random::new(seed),
            ids: Ids::new(seed),
            tables: Arc::default(),
            view: Arc::default(),
            capacity,
            is_draining: false,
            overload_share: None,
            named: None,
            fetches: Vec::new(),
            sends_kept: None,
            transactions: Table::default(),
            dialogs: HashMap::new(),
            strays: SlotMap::with_key(),
            probes: SlotMap::with_key(),
            challenges: Challenges::default(),
            authentication: Authentication::default(),
            timers: Timers::default(),
            outputs: std::collections::VecDeque::new(),
            counters: Counters::default(),
            actions: Actions::default(),
        }
    }

    /// What senders that want to know are told of how much we can take; `None` where nothing is ever refused for that. The
    /// share is one of new calls: what belongs to calls in progress is not refused.
    pub fn feedback(&self) -> Option<Feedback> {
        let now = self.wall_at(self.now).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.overload_share.map(|share| Feedback::new(share, now))
    }

    /// The wall clock at `at`.
    pub fn wall_at(&self, at: Instant) -> SystemTime {
        let (instant, wall) = self.wall;
        match at.checked_duration_since(instant) {
            Some(later) => wall + later,
            None => wall - instant.duration_since(at),
        }
    }

    pub fn send(&mut self, flow: Flow, bytes: Bytes) {
        self.counters.messages_sent += 1;
        self.outputs.push_back(match self.sends_kept {
            Some(call) => Output::SendKept { call, flow, bytes },
            None => Output::Send { flow, bytes },
        });
    }

    pub fn emit_outcome(&mut self, target: Target, carrier_id: CarrierId, evidence: Evidence) {
        self.outputs.push_back(Output::Outcome(Outcome { target, carrier_id, evidence }));
    }

    pub fn emit_event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub fn new_tag(&mut self) -> Tag {
        Tag(self.ids.next_u64())
    }

    /// A branch for an ACK of a 2xx.
    pub fn new_branch(&mut self) -> Branch {
        Branch::without_transaction(self.ids.next_u64())
    }

    /// A fresh Call-ID in the bucket of `sibling`, so that both legs of a call, and every message
    /// of them, belong to one shard.
    pub fn new_call_id(&mut self, sibling: &[u8]) -> String {
        let key = self.settings.bucket_key;
        let bucket = peek::bucket(sibling, key);
        loop {
            if let Some(digits) = peek::call_id_within(bucket, key, self.ids.next_u64()) {
                return String::from_utf8_lossy(&digits).into_owned();
            }
        }
    }

    /// Sends a request in a new client transaction; `print` writes it with the branch it is given.
    pub fn start_client(
        &mut self,
        method: Method,
        flow: Flow,
        owner: Owner,
        print: impl FnOnce(Branch, &Settings) -> Bytes,
    ) -> ClientKey {
        let nonce = self.ids.next_u64();
        let is_reliable = self.settings.listener(flow.listener).is_reliable();
        let mut actions = std::mem::take(&mut self.actions);
        let settings = &self.settings;
        let key = self.transactions.open_client(
            method,
            flow,
            is_reliable,
            owner,
            nonce,
            self.now,
            &mut actions,
            |branch| print(branch, settings),
        );
        self.carry_out(&mut actions, flow);
        self.actions = actions;
        self.settle_client(key);
        key
    }

    /// Lets `act` work on a client transaction, carries out what it wants, and removes it once it
    /// has ended. `None` where there is no such transaction.
    pub fn with_client(
        &mut self,
        key: ClientKey,
        act: impl FnOnce(&mut Client<Owner>, Instant, &mut Actions),
    ) -> Option<Turn> {
        let mut actions = std::mem::take(&mut self.actions);
        let client = self.transactions.client(key)?;
        act(client, self.now, &mut actions);
        let flow = client.flow;
        let turn = self.carry_out(&mut actions, flow);
        self.actions = actions;
        self.settle_client(key);
        Some(turn)
    }

    /// As [`with_client`](Self::with_client), for a server transaction.
    pub fn with_server(
        &mut self,
        key: ServerKey,
        act: impl FnOnce(&mut Server<Owner>, Instant, &mut Actions),
    ) -> Option<Turn> {
        let mut actions = std::mem::take(&mut self.actions);
        let server = self.transactions.server(key)?;
        act(server, self.now, &mut actions);
        let flow = server.flow;
        let turn = self.carry_out(&mut actions, flow);
        self.actions = actions;
        self.settle_server(key);
        Some(turn)
    }

    /// Answers a request: status line and copied headers, what `write` adds, our Server, the body.
    /// Returns the octets, for a core that repeats its 2xx; `None` once the request has been answered.
    pub fn respond(
        &mut self,
        key: ServerKey,
        status_code: u16,
        reason: &[u8],
        to_tag: Option<Tag>,
        write: impl FnOnce(&mut Printer, &Message),
        body: &[u8],
    ) -> Option<Bytes> {
        let server = self.transactions.server(key)?;
        let source = server.source;
        let request = match status_code {
            100..200 => server.request.clone(),
            _ => server.request.take(),
        }?;
        let tag = to_tag.map(|tag| tag.to_string());
        let tag = tag.as_deref().map(str::as_bytes);
        let mut printer = Printer::response_telling(
            self.feedback().as_ref(),
            &request,
            status_code,
            reason,
            tag,
            source,
        );
        write(&mut printer, &request);
        if status_code > 100 {
            printer.header(HeaderName::Server, self.settings.user_agent.as_bytes());
        } else if let Some(timestamp) = request.all(HeaderName::Timestamp).next() {
            // RFC 3261 §8.2.6.1: a 100 carries the request's Timestamp.
            printer.copy(timestamp);
        }
        let response = printer.finish(body);
        let sent = response.clone();
        self.with_server(key, |server, now, actions| {
            server.machine.respond(status_code, sent, now, actions);
        });
        Some(response)
    }

    /// Answers a request with a status code and what that asks for. The To tag is drawn where none is there.
    pub fn reject(&mut self, key: ServerKey, status_code: u16, reason: &[u8]) {
        self.reject_with(key, status_code, reason, |_| {});
    }

    /// As [`reject`](Self::reject), with what `more` writes.
    pub fn reject_with(
        &mut self,
        key: ServerKey,
        status_code: u16,
        reason: &[u8],
        more: impl FnOnce(&mut Printer),
    ) {
        let tag = self.new_tag();
        let retry_after_s = self.settings.retry_after_s;
        let challenges = match status_code {
            401 => self.new_challenges(false),
            _ => Vec::new(),
        };
        let write = |printer: &mut Printer, _: &Message| {
            match status_code {
                401 => challenges.iter().for_each(|challenge| {
                    printer.header(HeaderName::WwwAuthenticate, challenge.as_bytes());
                }),
                405 | 501 => {
                    printer.header(HeaderName::Allow, ALLOW);
                }
                503 => {
                    printer.header_fmt(HeaderName::RetryAfter, format_args!("{retry_after_s}"));
                }
                _ => {}
            }
            more(printer);
        };
        self.respond(key, status_code, reason, Some(tag), write, b"");
    }

    /// Where requests of a dialog go: its next hop where that is an address we have a listener for,
    /// else where the peer's messages came from. A connection that those came on is used as long as it is open, for who
    /// opened it may not be reached by another; what came by TLS stays with TLS.
    pub fn flow_towards(&self, next_hop: Option<NextHop>, known: Flow) -> Flow {
        let Some(NextHop { address: remote, transport: wanted }) = next_hop else { return known };
        let listener = self.settings.listener(known.listener);
        let wanted = match (listener.transport, wanted) {
            (Transport::Tls, _) => Transport::Tls,
            (known, wanted) => wanted.unwrap_or(known),
        };
        let stays = wanted == listener.transport;
        if stays && listener.is_reliable() && remote.ip() == known.remote.ip() {
            return Flow { fallback: Some(remote), ..known };
        }
        let to = |listener| Flow { party: known.party, ..Flow::new(listener, remote) };
        if stays && listener.address.is_ipv4() == remote.is_ipv4() {
            return to(known.listener);
        }
        let by = |transport| self.settings.listener_for(transport, remote);
        by(wanted).or_else(|| by(listener.transport)).map_or(known, to)
    }

    fn carry_out(&mut self, actions: &mut Actions, flow: Flow) -> Turn {
        let mut turn = Turn::default();
        for action in actions.drain() {
            match action {
                Action::Send(bytes) => self.send(flow, bytes),
                Action::SendAgain(bytes) => {
                    self.counters.retransmissions_sent += 1;
                    self.send(flow, bytes);
                }
                Action::Deliver => turn.is_delivered = true,
                Action::TimeOut => turn.is_timed_out = true,
            }
        }
        turn
    }

    fn settle_client(&mut self, key: ClientKey) {
        let Some(client) = self.transactions.client(key) else { return };
        if !client.machine.is_terminated() {
            let wanted = client.machine.poll_timeout();
            self.timers.schedule(TimerKey::Client(key), wanted, &mut client.scheduled);
            return;
        }
        if let Some(client) = self.transactions.remove_client(key)
            && let Owner::Stray(stray) = client.owner
        {
            self.strays.remove(stray);
        }
    }

    fn settle_server(&mut self, key: ServerKey) {
        let Some(server) = self.transactions.server(key) else { return };
        if server.machine.is_terminated() {
            self.transactions.remove_server(key);
        } else {
            let wanted = server.machine.poll_timeout();
            self.timers.schedule(TimerKey::Server(key), wanted, &mut server.scheduled);
        }
    }
}

/// Whole milliseconds, as records keep them.
pub fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

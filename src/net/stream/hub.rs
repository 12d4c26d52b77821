//! The hub's thread: accepts, connects, reads, writes and closes.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::TryRecvError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use slotmap::{Key as _, KeyData, SlotMap, new_key_type};
use socket2::SockRef;

use super::connection::{Connection, Due, Heard, Opening};
use super::socket::{StreamListener, begin_connect, is_of_the_peer, source_of, tune};
use super::tls::TlsConfigs;
use super::{CloseReason, Door, Limits, Order, PeerName, StreamCounters, StreamMailbox};
use crate::allowance::Allowance;
use crate::carrier::Transport;
use crate::dialog::Tag;
use crate::engine::{Flow, ListenerId, Received};
use crate::net::poller::{Event, Interest, Poller};
use crate::sip::framing::FramingError;
use crate::sip::{HeaderName, Message, Method, Printer};

/// How often connections are looked at for what time asks of them.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How soon a message that found no room is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(2);
/// Connections accepted from one port before others get their turn.
const ACCEPTS_A_TURN: usize = 32;
/// Orders taken before connections get their turn.
const ORDERS_A_TURN: usize = 1_024;
const READ_OCTETS: usize = 64 * 1024;
/// How long a stop lets connections send what they have.
const STOP_LIMIT: Duration = Duration::from_millis(500);
/// How long nothing is accepted when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Lines that peers may bring into the log at once, and a second.
const LINES_BURST: u32 = 20;
const LINES_A_SECOND: u32 = 1;
/// Numbers under which the poller knows what is no connection; those of connections come nowhere near.
const WAKER: u64 = u64::MAX;
const FIRST_LISTENER: u64 = u64::MAX - 256;

new_key_type! {
    struct Token;
}

/// How a connection is found by what is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    transport: Transport,
    remote: SocketAddr,
    /// TLS: who the peer has proved to be, where we asked.
    name: Option<PeerName>,
}

/// Every connection of a node.
#[derive(Debug)]
pub struct Hub<D> {
    poller: Poller,
    mailbox: StreamMailbox,
    /// Those of the node that are TCP or TLS, by the number that engines know them by.
    listeners: Vec<(ListenerId, StreamListener)>,
    connections: SlotMap<Token, Connection>,
    by_key: HashMap<Key, Token>,
    by_source: HashMap<IpAddr, usize>,
    accepted_now: usize,
    limits: Limits,
    tls: Arc<ArcSwapOption<TlsConfigs>>,
    door: D,
    buffer: Box<[u8]>,
    /// Connections with a message that its shard has no room for.
    held: Vec<Token>,
    paused_until: Option<Instant>,
    lines: Allowance,
    user_agent: Arc<str>,
}

impl<D: Door> Hub<D> {
    /// A hub over bound ports; `tls` may be exchanged while it runs, for connections to come.
    pub fn new(
        listeners: Vec<(ListenerId, StreamListener)>,
        mailbox: StreamMailbox,
        limits: Limits,
        tls: Arc<ArcSwapOption<TlsConfigs>>,
        user_agent: Arc<str>,
        door: D,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        let read = Interest { read: true, write: false };
        poller.add(&*mailbox.waker, WAKER, read)?;
        for (at, (_, listener)) in (FIRST_LISTENER..).zip(&listeners) {
            poller.add(&listener.socket, at, read)?;
        }
        Ok(Self {
            poller,
            mailbox,
            listeners,
            connections: SlotMap::with_key(),
            by_key: HashMap::new(),
            by_source: HashMap::new(),
            accepted_now: 0,
            limits,
            tls,
            door,
            buffer: vec![0; READ_OCTETS].into(),
            held: Vec::new(),
            paused_until: None,
            lines: Allowance::new(LINES_BURST, LINES_A_SECOND, Instant::now()),
            user_agent,
        })
    }

    /// Runs it on a thread of its own, until it is told to stop.
    pub fn start(mut self) -> io::Result<JoinHandle<()>>
    where
        D: 'static,
    {
        std::thread::Builder::new().name("streams".to_owned()).spawn(move || self.run())
    }

    fn run(&mut self) {
        let mut events = Vec::new();
        let mut looked_at = Instant::now();
        let mut stop_at: Option<Instant> = None;
        while stop_at.is_none_or(|at| Instant::now() < at && self.has_unsent()) {
            let limit = if self.held.is_empty() { LOOK_EVERY } else { RETRY_EVERY };
            if let Err(error) = self.poller.wait(&mut events, limit) {
                tracing::error!(%error, "cannot wait for connections");
                std::thread::sleep(RETRY_EVERY);
            }
            let now = Instant::now();
            for event in &events {
                self.handle(*event, now);
            }
            self.deliver_held(now);
            if self.take_orders(now) {
                stop_at = Some(now + STOP_LIMIT);
            }
            if now >= looked_at + LOOK_EVERY {
                looked_at = now;
                self.look(now);
            }
        }
        let tokens: Vec<Token> = self.connections.keys().collect();
        for token in tokens {
            self.close(token, CloseReason::Stop);
        }
    }

    fn has_unsent(&self) -> bool {
        self.connections.values().any(|connection| connection.wanted().write)
    }

    fn handle(&mut self, event: Event, now: Instant) {
        if event.token == WAKER {
            return self.mailbox.waker.clear();
        }
        if event.token >= FIRST_LISTENER {
            return self.accept((event.token - FIRST_LISTENER) as usize, now);
        }
        let token = Token::from(KeyData::from_ffi(event.token));
        if event.is_writable
            && let Some(connection) = self.connections.get_mut(token)
            && let Err(reason) = connection.finish_connect(now)
        {
            return self.close(token, reason);
        }
        if event.is_readable {
            self.read(token, now);
        }
        self.flush(token, now);
    }

    /// Carries out what shards ask; `true` once that is to stop.
    fn take_orders(&mut self, now: Instant) -> bool {
        for _ in 0..ORDERS_A_TURN {
            match self.mailbox.orders.try_recv() {
                Ok(Order::Send { flow, bytes }) => self.send(flow, bytes, now),
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
            }
        }
        // The rest has no wake-up of its own any more.
        self.mailbox.waker.wake();
        false
    }

    fn send(&mut self, flow: Flow, bytes: Bytes, now: Instant) {
        let name = self.name_of(&flow);
        let token = match self.find(&flow, name.as_ref()) {
            Some(token) => token,
            None => match self.connect(flow, name, now) {
                Ok(token) => token,
                Err(error) => {
                    self.tell(&flow, &error.to_string(), now);
                    return self.door.unreachable(flow);
                }
            },
        };
        let limits = self.limits;
        let Some(connection) = self.connections.get_mut(token) else { return };
        if connection.push(flow, bytes, now, &limits) {
            self.flush(token, now);
        } else {
            self.close(token, CloseReason::SlowReader);
        }
    }

    fn transport_of(&self, listener: ListenerId) -> Option<&(ListenerId, StreamListener)> {
        self.listeners.iter().find(|(id, _)| *id == listener)
    }

    /// Who the peer of a flow must prove to be: its gateway, else whoever has its address.
    fn name_of(&self, flow: &Flow) -> Option<PeerName> {
        let (_, listener) = self.transport_of(flow.listener)?;
        let gateway = flow.gateway.filter(|_| listener.transport == Transport::Tls)?;
        self.door.name_of(gateway)
    }

    /// The connection to a flow's peer, or to where a new one would lead.
    fn find(&self, flow: &Flow, name: Option<&PeerName>) -> Option<Token> {
        let (_, listener) = self.transport_of(flow.listener)?;
        let key = |remote, name| Key { transport: listener.transport, remote, name };
        let at = |key| self.by_key.get(&key).copied();
        at(key(flow.remote, name.cloned())).or_else(|| {
            let remote = flow.fallback?;
            at(key(remote, name.cloned()))
        })
    }

    fn connect(
        &mut self,
        flow: Flow,
        name: Option<PeerName>,
        now: Instant,
    ) -> Result<Token, Box<dyn std::error::Error>> {
        let remote = flow.fallback.unwrap_or(flow.remote);
        if self.connections.len() - self.accepted_now >= self.limits.connections {
            return Err("max_connections of our own are open".into());
        }
        let (_, listener) = self.transport_of(flow.listener).ok_or("no listener of its kind")?;
        let (transport, local) = (listener.transport, listener.local);
        let tls = match transport {
            Transport::Tls => {
                let asked = name.clone().unwrap_or_else(|| PeerName {
                    host: remote.ip().to_string().into(),
                    allows_wildcard: false,
                });
                let configs = self.tls.load_full().ok_or("TLS is not set up")?;
                Some(configs.client(&asked)?)
            }
            Transport::Tcp | Transport::Udp => None,
        };
        let socket = begin_connect(local.ip(), remote)?;
        let seen = Flow { remote, fallback: None, ..flow };
        let opening = Opening { name: name.clone() };
        let connection = Connection::opening(socket, seen, opening, tls, now);
        let token = self.add(connection, Key { transport, remote, name })?;
        StreamCounters::count(&self.mailbox.counters.opened);
        Ok(token)
    }

    fn add(&mut self, connection: Connection, key: Key) -> io::Result<Token> {
        let interest = connection.wanted();
        let token = self.connections.insert(connection);
        let connection = &mut self.connections[token];
        connection.interest = interest;
        if let Err(error) = self.poller.add(&connection.socket, token.data().as_ffi(), interest) {
            self.connections.remove(token);
            return Err(error);
        }
        // A peer that comes from the port that we have a connection to keeps that one for what we begin.
        self.by_key.entry(key).or_insert(token);
        self.show_open();
        Ok(token)
    }

    fn show_open(&self) {
        let counters = &self.mailbox.counters;
        let opened = self.connections.len() - self.accepted_now;
        counters.accepted_now.store(self.accepted_now as u64, Ordering::Relaxed);
        counters.opened_now.store(opened as u64, Ordering::Relaxed);
    }

    fn accept(&mut self, index: usize, now: Instant) {
        if self.paused_until.is_some_and(|until| now < until) {
            std::thread::sleep(RETRY_EVERY);
            return;
        }
        for _ in 0..ACCEPTS_A_TURN {
            let Some((_, listener)) = self.listeners.get(index) else { return };
            match listener.socket.accept() {
                Ok((socket, remote)) => self.welcome(index, socket, remote, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections; is `ulimit -n` too low?");
                    self.paused_until = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, index: usize, socket: TcpStream, remote: SocketAddr, now: Instant) {
        let (id, listener) = &self.listeners[index];
        let flow = Flow::new(*id, remote);
        let source = source_of(remote.ip());
        let of_source = self.by_source.get(&source).copied().unwrap_or_default();
        if self.accepted_now >= self.limits.connections
            || of_source >= self.limits.connections_per_source
        {
            StreamCounters::count(&self.mailbox.counters.turned_away);
            return;
        }
        let transport = listener.transport;
        let tls = match transport {
            Transport::Tls => {
                let configs = self.tls.load_full();
                let config = configs.and_then(|configs| configs.server(listener.is_mutual));
                let made = config.map(rustls::ServerConnection::new);
                let Some(Ok(tls)) = made else { return };
                Some(tls)
            }
            Transport::Tcp | Transport::Udp => None,
        };
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        tune(&SockRef::from(&socket));
        let connection = Connection::accepted(socket, flow, tls, now);
        self.accepted_now += 1;
        *self.by_source.entry(source).or_default() += 1;
        if self.add(connection, Key { transport, remote, name: None }).is_err() {
            self.forget_source(source);
            return;
        }
        StreamCounters::count(&self.mailbox.counters.accepted);
    }

    fn forget_source(&mut self, source: IpAddr) {
        self.accepted_now -= 1;
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }

    fn read(&mut self, token: Token, now: Instant) {
        let mut reads = 0;
        loop {
            let Some(connection) = self.connections.get_mut(token) else { return };
            if !connection.wanted().read {
                return;
            }
            let heard = connection.hear(&mut self.buffer, &mut reads, now, &self.limits);
            if connection.has_shaken_hands() {
                let names = connection.peer_names();
                tracing::debug!(peer = %connection.remote(), ?names, "TLS is up");
            }
            match heard {
                Heard::Nothing => return,
                Heard::Message(bytes) => {
                    let received = Received { bytes, flow: connection.flow };
                    if let Err(received) = self.door.deliver(received) {
                        connection.held = Some(received);
                        self.held.push(token);
                        return;
                    }
                }
                Heard::Pong => {
                    let flow = connection.flow;
                    self.door.keep_alive(flow, None);
                }
                Heard::Unframed(error, head) => return self.refuse(token, error, head, now),
                Heard::Closed(reason) => return self.close(token, reason),
            }
        }
    }

    /// Tries messages again that found no room, and reads on where there is some now.
    fn deliver_held(&mut self, now: Instant) {
        for token in std::mem::take(&mut self.held) {
            let Some(connection) = self.connections.get_mut(token) else { continue };
            let Some(received) = connection.held.take() else { continue };
            if let Err(received) = self.door.deliver(received) {
                connection.held = Some(received);
                self.held.push(token);
            } else {
                self.read(token, now);
                self.flush(token, now);
            }
        }
    }

    /// RFC 3261 §18.3: where a message ends cannot be known, nor where the next begins. The sender is told, where that
    /// can be, and the connection closed.
    fn refuse(&mut self, token: Token, error: FramingError, head: Option<Bytes>, now: Instant) {
        let limits = self.limits;
        let Some(connection) = self.connections.get_mut(token) else { return };
        let request = head
            .and_then(|head| Message::parse(head).ok())
            .filter(|head| head.is_request() && head.method() != Method::Ack);
        let flow = connection.flow;
        self.tell(&flow, &error.to_string(), now);
        let Some(request) = request else { return self.close(token, CloseReason::Framing) };
        let tag = Tag::derived(request.call_id(), 0).to_string();
        let tag = tag.as_bytes();
        let mut printer =
            Printer::response_to(&request, 400, b"Bad Content-Length", Some(tag), flow.remote);
        printer.header(HeaderName::Server, self.user_agent.as_bytes());
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.push(flow, printer.finish(b""), now, &limits);
        connection.close_when_sent();
        self.flush(token, now);
    }

    fn flush(&mut self, token: Token, now: Instant) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let mut flushed = connection.flush(now);
        if flushed.is_ok() && connection.has_shaken_hands() {
            flushed = connection.flush(now);
        }
        if let Err(reason) = flushed {
            return self.close(token, reason);
        }
        let wanted = connection.wanted();
        if wanted != connection.interest {
            connection.interest = wanted;
            let changed = self.poller.change(&connection.socket, token.data().as_ffi(), wanted);
            if changed.is_err() {
                self.close(token, CloseReason::Error);
            }
        }
    }

    /// Pings, and closes what has had its time.
    fn look(&mut self, now: Instant) {
        let limits = self.limits;
        let door = &self.door;
        let due = |connection: &Connection| {
            let is_gateways =
                || connection.flow.gateway.is_some_and(|id| door.name_of(id).is_some());
            if connection.is_ours() && connection.is_unused_for(limits.idle, now) && !is_gateways()
            {
                return Some(Due::Close(CloseReason::Unused));
            }
            connection.due(now, &limits)
        };
        let due: Vec<(Token, Due)> = self
            .connections
            .iter()
            .filter_map(|(token, connection)| Some((token, due(connection)?)))
            .collect();
        for (token, due) in due {
            match due {
                Due::Close(reason) => self.close(token, reason),
                Due::Ping => {
                    let Some(connection) = self.connections.get_mut(token) else { continue };
                    StreamCounters::count(&self.mailbox.counters.pings);
                    if connection.ping(now, &limits) {
                        self.flush(token, now);
                    } else {
                        self.close(token, CloseReason::SlowReader);
                    }
                }
            }
        }
    }

    /// Closes a connection, and says so to whoever waits for something on it.
    fn close(&mut self, token: Token, reason: CloseReason) {
        let Some(connection) = self.connections.remove(token) else { return };
        if !connection.is_ours() {
            self.forget_source(source_of(connection.remote().ip()));
        }
        let transport =
            self.transport_of(connection.flow.listener).map(|(_, listener)| listener.transport);
        if let Some(transport) = transport {
            let name = connection.opened_for.as_ref().and_then(|opening| opening.name.clone());
            let key = Key { transport, remote: connection.remote(), name };
            if self.by_key.get(&key) == Some(&token) {
                self.by_key.remove(&key);
            }
        }
        self.mailbox.counters.count_closed(reason);
        self.show_open();
        let fault = connection.fault().unwrap_or(reason.as_str());
        tracing::debug!(
            peer = %connection.remote(),
            %reason,
            fault,
            ours = connection.is_ours(),
            "connection closed"
        );
        let is_failure = connection.is_ours() && !connection.is_open();
        if is_failure && reason != CloseReason::Stop {
            self.tell(&connection.flow, fault, Instant::now());
        }
        if reason == CloseReason::NoPong {
            self.door.keep_alive(connection.flow, Some(self.limits.pong_within));
        }
        for flow in connection.users() {
            self.door.unreachable(*flow);
        }
    }

    fn tell(&mut self, flow: &Flow, error: &str, now: Instant) {
        let Some(left_out) = self.lines.take(now) else { return };
        let peer = flow.fallback.unwrap_or(flow.remote);
        match flow.gateway {
            Some(gateway) => {
                tracing::warn!(%peer, gateway.id = %gateway, error, left_out,
                    "a gateway's connection fails");
            }
            None => tracing::info!(%peer, error, left_out, "a connection fails"),
        }
    }
}

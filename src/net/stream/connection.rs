//! One connection: its socket, its TLS, its frames, and what waits to be sent.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use super::{CloseReason, Limits, PeerName};
use crate::engine::{Flow, Received};
use crate::net::poller::Interest;
use crate::sip::framing::{Frame, Framer, FramingError};

/// Reads of one connection before others get their turn.
const READS_A_TURN: usize = 4;
/// Flows of one connection whose transactions are told of its end; more hear of it by their timers.
const MAX_USERS: usize = 64;
/// Octets given to TLS at a time.
const TLS_CHUNK_OCTETS: usize = 16 * 1024;
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

/// A connection, ours or theirs.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    /// What is received comes by this one.
    pub(super) flow: Flow,
    /// `None`: the peer opened it.
    pub(super) opened_for: Option<Opening>,
    tls: Option<Box<rustls::Connection>>,
    stage: Stage,
    framer: Framer,
    queue: VecDeque<Bytes>,
    queued_octets: usize,
    /// Flows that requests were sent on.
    users: SmallVec<[Flow; 2]>,
    /// A message that its shard has no room for: nothing more is read until it has.
    pub(super) held: Option<Received>,
    /// What the poller was told last.
    pub(super) interest: Interest,
    begun_at: Instant,
    heard_at: Instant,
    spoken_at: Instant,
    /// When the last message, of either side, passed.
    used_at: Instant,
    has_message: bool,
    /// Since when the front of a message waits for its rest.
    partial_since: Option<Instant>,
    pinged_at: Option<Instant>,
    /// The peer has answered a ping.
    has_ponged: bool,
    /// Closed once all is sent.
    is_closing: bool,
    /// What went wrong, for people.
    fault: Option<String>,
}

/// For whom we opened a connection.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    /// Who a TLS server must prove to be.
    pub(super) name: Option<PeerName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// TLS only.
    Handshaking,
    Open,
}

/// What came of reading a connection.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing more for now.
    Nothing,
    Message(Bytes),
    /// The answer to a ping of ours.
    Pong,
    /// What came cannot be framed; the head of it, where it can be answered.
    Unframed(FramingError, Option<Bytes>),
    /// It is over.
    Closed(CloseReason),
}

/// What time asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    Close(CloseReason),
}

impl Connection {
    /// One that a peer opened.
    pub(super) fn accepted(
        socket: TcpStream,
        flow: Flow,
        tls: Option<rustls::ServerConnection>,
        now: Instant,
    ) -> Self {
        Self::new(socket, flow, None, tls.map(Into::into), now)
    }

    /// One that we are opening.
    pub(super) fn opening(
        socket: TcpStream,
        flow: Flow,
        opening: Opening,
        tls: Option<rustls::ClientConnection>,
        now: Instant,
    ) -> Self {
        Self::new(socket, flow, Some(opening), tls.map(Into::into), now)
    }

    fn new(
        socket: TcpStream,
        flow: Flow,
        opened_for: Option<Opening>,
        tls: Option<rustls::Connection>,
        now: Instant,
    ) -> Self {
        let stage = match (&opened_for, &tls) {
            (Some(_), _) => Stage::Connecting,
            (None, Some(_)) => Stage::Handshaking,
            (None, None) => Stage::Open,
        };
        Self {
            socket,
            flow,
            opened_for,
            tls: tls.map(Box::new),
            stage,
            framer: Framer::default(),
            queue: VecDeque::new(),
            queued_octets: 0,
            users: SmallVec::new(),
            held: None,
            interest: Interest::default(),
            begun_at: now,
            heard_at: now,
            spoken_at: now,
            used_at: now,
            has_message: false,
            partial_since: None,
            pinged_at: None,
            has_ponged: false,
            is_closing: false,
            fault: None,
        }
    }

    /// No message has passed for so long.
    pub(super) fn is_unused_for(&self, time: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.used_at) >= time
    }

    pub(super) fn is_ours(&self) -> bool {
        self.opened_for.is_some()
    }

    /// The peer is there, and has proved who it is where it must.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// What went wrong, in the words of whoever noticed.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    pub(super) fn users(&self) -> &[Flow] {
        &self.users
    }

    /// The names in the certificate that a TLS peer has proved to own; none where it showed none.
    pub(super) fn peer_names(&self) -> Vec<String> {
        let certificates = self.tls.as_ref().and_then(|tls| tls.peer_certificates());
        let first = certificates.and_then(|certificates| certificates.first());
        first.map(super::tls::names_in).unwrap_or_default()
    }

    /// What to wait for.
    pub(super) fn wanted(&self) -> Interest {
        let has_tls_to_send = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        match self.stage {
            Stage::Connecting => Interest { read: false, write: true },
            Stage::Handshaking => Interest { read: true, write: has_tls_to_send },
            Stage::Open => Interest {
                read: self.held.is_none() && !self.is_closing,
                write: has_tls_to_send || !self.queue.is_empty(),
            },
        }
    }

    /// Queues a message; `false` where the peer is too far behind.
    pub(super) fn push(&mut self, flow: Flow, bytes: Bytes, now: Instant, limits: &Limits) -> bool {
        self.used_at = now;
        let is_request = !bytes.starts_with(b"SIP/2.0 ");
        if is_request && !self.users.contains(&flow) && self.users.len() < MAX_USERS {
            self.users.push(flow);
        }
        self.queue_up(bytes, limits)
    }

    pub(super) fn ping(&mut self, now: Instant, limits: &Limits) -> bool {
        self.pinged_at = Some(now);
        self.spoken_at = now;
        self.queue_up(Bytes::from_static(PING), limits)
    }

    fn queue_up(&mut self, bytes: Bytes, limits: &Limits) -> bool {
        self.queued_octets += bytes.len();
        self.queue.push_back(bytes);
        self.queued_octets <= limits.queue_octets
    }

    /// Closes it once what is queued is sent; reads no more.
    pub(super) fn close_when_sent(&mut self) {
        self.is_closing = true;
    }

    /// Sends what is queued, as far as the kernel takes it.
    pub(super) fn flush(&mut self, now: Instant) -> Result<(), CloseReason> {
        match self.stage {
            Stage::Connecting => return Ok(()),
            Stage::Handshaking | Stage::Open => {}
        }
        let written = match &mut self.tls {
            None => write_plain(&mut self.socket, &mut self.queue),
            Some(tls) => write_tls(&mut self.socket, tls, &mut self.queue),
        };
        match written {
            Ok(0) => {}
            Ok(octets) => {
                self.queued_octets -= octets;
                self.spoken_at = now;
            }
            Err(_) => return Err(CloseReason::Error),
        }
        let is_sent =
            self.queue.is_empty() && !self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        if self.is_closing && is_sent { Err(CloseReason::Framing) } else { Ok(()) }
    }

    /// The socket can be written for the first time: it is connected, or never will be.
    pub(super) fn finish_connect(&mut self, now: Instant) -> Result<(), CloseReason> {
        if self.stage != Stage::Connecting {
            return Ok(());
        }
        match self.socket.take_error() {
            Ok(None) if self.socket.peer_addr().is_ok() => {}
            // A spurious wake-up.
            Ok(None) => return Ok(()),
            Ok(Some(error)) | Err(error) => {
                self.fault = Some(error.to_string());
                return Err(CloseReason::Refused);
            }
        }
        self.stage = if self.tls.is_some() { Stage::Handshaking } else { Stage::Open };
        self.heard_at = now;
        Ok(())
    }

    /// Reads once more, or gives what has been read before; called until it says `Nothing` or `Closed`.
    pub(super) fn hear(
        &mut self,
        buffer: &mut [u8],
        reads: &mut usize,
        now: Instant,
        limits: &Limits,
    ) -> Heard {
        loop {
            match self.framer.next_frame() {
                Ok(Some(Frame::Message(bytes))) => {
                    self.has_message = true;
                    self.used_at = now;
                    self.partial_since = None;
                    self.pinged_at = None;
                    return Heard::Message(bytes);
                }
                Ok(Some(Frame::Pong)) if self.pinged_at.take().is_some() => {
                    self.has_ponged = true;
                    return Heard::Pong;
                }
                // Nobody asked for it.
                Ok(Some(Frame::Pong)) => {}
                // RFC 5626 §3.5.1: a ping is answered with one CRLF.
                Ok(Some(Frame::Ping)) => {
                    if !self.queue_up(Bytes::from_static(PONG), limits) {
                        return Heard::Closed(CloseReason::SlowReader);
                    }
                }
                Err(error) => return Heard::Unframed(error, self.framer.refused_head()),
                Ok(None) => {
                    let is_partial = self.framer.held_octets() > 0;
                    self.partial_since = is_partial.then(|| self.partial_since.unwrap_or(now));
                    if *reads >= READS_A_TURN {
                        return Heard::Nothing;
                    }
                    *reads += 1;
                    match self.read(buffer) {
                        Ok(0) => return Heard::Closed(CloseReason::Peer),
                        Ok(octets) => {
                            self.heard_at = now;
                            self.framer.push(&buffer[..octets]);
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            return Heard::Nothing;
                        }
                        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                            // The alert that says why may still go out.
                            if let Some(tls) = &mut self.tls {
                                let _ = tls.write_tls(&mut self.socket);
                            }
                            self.fault = Some(error.to_string());
                            return Heard::Closed(CloseReason::Tls);
                        }
                        Err(error) => {
                            self.fault = Some(error.to_string());
                            return Heard::Closed(CloseReason::Error);
                        }
                    }
                }
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(buffer) };
        loop {
            // What was decrypted before comes first.
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An end without close_notify: nothing is cut off that Content-Length did not announce.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            let octets = tls.read_tls(&mut self.socket)?;
            tls.process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if octets == 0 {
                return Ok(0);
            }
        }
    }

    /// `true` once, when a TLS handshake has just been finished.
    pub(super) fn has_shaken_hands(&mut self) -> bool {
        let is_done = self.stage == Stage::Handshaking
            && self.tls.as_ref().is_some_and(|tls| !tls.is_handshaking());
        if is_done {
            self.stage = Stage::Open;
        }
        is_done
    }

    /// What is to be done about it by now.
    pub(super) fn due(&self, now: Instant, limits: &Limits) -> Option<Due> {
        let over = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        if self.is_ours() && !self.is_open() && over(self.begun_at, limits.connect) {
            return Some(Due::Close(CloseReason::ConnectTimeout));
        }
        let is_unproved = !self.is_ours() && !self.has_message;
        let is_stuck = self.held.is_none()
            && self.partial_since.is_some_and(|since| over(since, limits.message));
        if is_stuck || is_unproved && over(self.begun_at, limits.message) {
            return Some(Due::Close(CloseReason::HalfOpen));
        }
        if self.is_closing && over(self.spoken_at, limits.message) {
            return Some(Due::Close(CloseReason::Framing));
        }
        if !self.is_ours() {
            let is_idle = over(self.heard_at.max(self.spoken_at), limits.idle);
            return is_idle.then_some(Due::Close(CloseReason::Idle));
        }
        match self.pinged_at {
            // A peer that has never answered one may not know pings; TCP itself then says whether it lives.
            Some(at) if self.has_ponged && over(at, limits.pong_within) => {
                Some(Due::Close(CloseReason::NoPong))
            }
            Some(at) if self.has_ponged || !over(at, limits.ping_after) => None,
            Some(_) | None => {
                let last = self.heard_at.max(self.spoken_at);
                (self.is_open() && over(last, limits.ping_after)).then_some(Due::Ping)
            }
        }
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.flow.remote
    }
}

/// Gives how many octets of the queue have gone.
fn write_plain(socket: &mut TcpStream, queue: &mut VecDeque<Bytes>) -> io::Result<usize> {
    let mut octets = 0;
    while let Some(front) = queue.front_mut() {
        match socket.write(front) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                octets += count;
                front.advance(count);
                if front.is_empty() {
                    queue.pop_front();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(octets)
}

/// As [`write_plain`]; nothing leaves the queue before the handshake is done and what was encrypted has gone.
fn write_tls(
    socket: &mut TcpStream,
    tls: &mut rustls::Connection,
    queue: &mut VecDeque<Bytes>,
) -> io::Result<usize> {
    let mut octets = 0;
    loop {
        while tls.wants_write() {
            match tls.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(octets),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let Some(front) = queue.front_mut().filter(|_| !tls.is_handshaking()) else {
            return Ok(octets);
        };
        let count = tls.writer().write(&front[..front.len().min(TLS_CHUNK_OCTETS)])?;
        octets += count;
        front.advance(count);
        if front.is_empty() {
            queue.pop_front();
        }
    }
}

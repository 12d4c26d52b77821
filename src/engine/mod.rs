//! One shard as a value: messages, commands and time in; sends, outcomes and records out.
//!
//! After every `handle_*`, drain [`Engine::poll_output`] before the next one.

pub mod settings;

pub use settings::{EngineSettings, Listener, ListenerId};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::call::CallRecord;
use crate::carrier::Tables;
use crate::health::{Outcome, Target, View};

/// A path to one peer: the listener it came in by and the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub listener: ListenerId,
    pub remote: SocketAddr,
}

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

/// What an engine asks of the world.
#[derive(Debug)]
pub enum Output {
    Send {
        flow: Flow,
        bytes: Bytes,
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
    ConfigRefusal {
        gateway: Arc<str>,
        status_code: u16,
        reason: String,
    },
    /// A call was refused before any attempt.
    Refused {
        source: SocketAddr,
        status_code: u16,
        detail: String,
    },
}

/// Numbers an operator watches. Monotonic but for the `*_now` gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub calls_now: u64,
    pub answered_now: u64,
    pub client_transactions_now: u64,
    pub server_transactions_now: u64,
    pub strays_now: u64,
    pub timers_now: u64,
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
    pub attempts: u64,
    pub retransmissions_sent: u64,
    pub retransmissions_received: u64,
    /// Answers of carriers that we had left, each ACKed and BYEd.
    pub late_answers: u64,
    pub probes_sent: u64,
}

/// One shard's whole state.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// `seed` feeds every random id; `wall` is the wall clock at `now`.
    pub fn new(settings: EngineSettings, seed: u64, now: Instant, wall: SystemTime) -> Self {
        let _ = (settings, seed, now, wall);
        todo!()
    }

    pub fn handle_received(&mut self, received: Received, now: Instant) {
        let _ = (received, now);
        todo!()
    }

    pub fn handle_command(&mut self, command: Command, now: Instant) {
        let _ = (command, now);
        todo!()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    pub fn counters(&self) -> Counters {
        todo!()
    }
}

//! Sources that no customer and no gateway has: who of them is heard, and what leaves a trace.
//!
//! They get nothing that is repeated by itself, and over UDP nothing that is longer than what they sent: whoever forges a
//! source's address cannot use us against it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashSet;

use super::engine::Engine;
use super::flood::Flood;
use crate::allowance::Allowance;
use crate::call::authentication::{Caller, network_of};
use crate::call::recent::Recent;
use crate::call::{Settings, UnknownSources};
use crate::carrier::Transport;
use crate::cluster::is_ping;
use crate::dialog::Tag;
use crate::health::View;
use crate::sip::{HeaderName, Message};
use crate::transaction::{Flow, MatchKey};

/// Strangers that are put on record at once, and a second in the long run; the others are counted.
const RECORDS_BURST: u32 = 500;
const RECORDS_A_SECOND: u32 = 20;
/// How long an INVITE may be repeated (RFC 3261 §17.1.1.2, Timer B).
const REPEATED_WITHIN: Duration = Duration::from_secs(32);
/// Refused INVITEs that are known again, in each of two generations: more than can be put on record meanwhile.
const MAX_REFUSED: usize = 2_000;

/// What a shard knows of whom nobody knows.
#[derive(Debug)]
pub(super) struct Strangers {
    /// Refusals which are worth a record.
    records: Allowance,
    flood: Flood,
    /// Addresses of gateways, and the view that they are of.
    gateways: (Arc<View>, HashSet<IpAddr>),
    /// Codes of INVITEs that were refused and put on record without a transaction, and may come again.
    refused: Recent<Tag, u16>,
}

impl Strangers {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            records: Allowance::new(RECORDS_BURST, RECORDS_A_SECOND, now),
            flood: Flood::new(settings.strangers.flood_per_s, settings.shards),
            gateways: (Arc::default(), HashSet::new()),
            refused: Recent::new(REPEATED_WITHIN, MAX_REFUSED),
        }
    }

    fn is_gateway(&mut self, view: &Arc<View>, source: IpAddr) -> bool {
        if !Arc::ptr_eq(&self.gateways.0, view) {
            let addresses = view.targets().iter().map(|it| it.target.address.ip().to_canonical());
            self.gateways = (view.clone(), addresses.collect());
        }
        self.gateways.1.contains(&source)
    }
}

/// What an answer may be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) octets: usize,
    /// Its receiver is somebody's, and may be told how we are.
    pub(super) is_known: bool,
}

impl Engine {
    /// Whether neither a customer's range nor a gateway has the address of a peer, nor a customer its certificate. Before
    /// there are tables, nobody is unknown.
    pub(super) fn is_unknown(&mut self, flow: Flow) -> bool {
        let source = flow.remote.ip().to_canonical();
        self.cx.tables.is_loaded()
            && flow.customer().is_none()
            && self.cx.tables.customer_at(source).is_none()
            && !self.strangers.is_gateway(&self.cx.view, source)
    }

    /// Whether an unknown source's INVITE is dropped before it is asked who that is. Counts it then.
    pub(super) fn is_dropped_unread(&mut self, invite: &Message, source: IpAddr) -> bool {
        let is_scanner = self.is_scanner(invite);
        let is_flood = !is_scanner && self.strangers.flood.is_over(network_of(source), self.cx.now);
        self.cx.counters.scanners_dropped += u64::from(is_scanner);
        self.cx.counters.floods_dropped += u64::from(is_flood);
        is_scanner || is_flood
    }

    /// How an answer to a request may be; `None` where it gets none, which is counted.
    pub(super) fn room_for_answer(
        &mut self,
        request: &Message,
        flow: Flow,
        status_code: u16,
    ) -> Option<Room> {
        if !self.is_unknown(flow) {
            return Some(Room { octets: usize::MAX, is_known: true });
        }
        let octets = match self.cx.settings.listener(flow.listener).transport {
            Transport::Udp => request.bytes().len(),
            Transport::Tcp | Transport::Tls => usize::MAX,
        };
        let room = Room { octets, is_known: false };
        // Whoever floods us from a node's address must not make that node look dead to us, nor us to it.
        if is_ping(request, self.cx.settings.bucket_key) {
            return Some(room);
        }
        if self.is_scanner(request) {
            self.cx.counters.scanners_dropped += 1;
            return None;
        }
        // A customer that authenticates must be asked to.
        if status_code != 401 && self.cx.settings.strangers.sources == UnknownSources::Drop {
            self.cx.counters.unknown_dropped += 1;
            return None;
        }
        let source = network_of(flow.remote.ip());
        if !self.strangers.flood.take(source, self.cx.now, &mut self.cx.random) {
            self.cx.counters.floods_dropped += 1;
            return None;
        }
        Some(room)
    }

    fn is_scanner(&self, request: &Message) -> bool {
        let scanners = &self.cx.settings.strangers.scanners;
        let is_of = |agent: &[u8], name: &str| {
            agent.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name.as_bytes()))
        };
        !scanners.is_empty()
            && request
                .all(HeaderName::UserAgent)
                .any(|agent| scanners.iter().any(|name| is_of(agent.value, name)))
    }

    /// An unknown source's INVITE that was refused and is on record; with the code.
    pub(super) fn known_refusal(&mut self, invite: &Message) -> Option<u16> {
        let print = self.print_of(invite);
        let status_code = self.strangers.refused.get(print, self.cx.now);
        (status_code > 0).then_some(status_code)
    }

    pub(super) fn note_refusal(&mut self, invite: &Message, status_code: u16) {
        let print = self.print_of(invite);
        self.strangers.refused.set(print, status_code, self.cx.now);
    }

    /// An unknown source has shown to be a customer's.
    pub(super) fn note_proof(&mut self, source: IpAddr) {
        self.strangers.flood.forgive(network_of(source));
    }

    fn print_of(&self, invite: &Message) -> Tag {
        Tag::derived(MatchKey::of(invite).octets(), self.cx.settings.bucket_key)
    }

    /// The code for callers that are answered without a record: those that are only asked who they are, those that are
    /// not to be answered, and nobody's customers beyond what is put on record of such. With it, whether a nonce was
    /// stale.
    pub(super) fn turned_away(&mut self, caller: &Caller, is_unknown: bool) -> Option<(u16, bool)> {
        let is_loaded = self.cx.tables.is_loaded();
        let is_silent = is_unknown && self.cx.settings.strangers.sources == UnknownSources::Drop;
        let (cx, records) = (&mut self.cx, &mut self.strangers.records);
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
                records.take(cx.now).is_none().then(|| {
                    counters.strangers_unrecorded += 1;
                    (401, false)
                })
            }
            Caller::Stranger if !is_loaded => None,
            Caller::Stranger if is_silent => Some((403, false)),
            Caller::Stranger => records.take(cx.now).is_none().then(|| {
                counters.strangers_unrecorded += 1;
                (403, false)
            }),
        }
    }
}

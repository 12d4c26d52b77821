//! What passed between Holdfast and the parties, as messages.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

use super::capture::{Capture, Datagram, Transport};
use super::sip_text::SipText;
use super::tls;

/// Which way a message went, seen from the party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Sent,
    Received,
}

/// One message between a party and whomever it talks to.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) party: String,
    pub(crate) way: Way,
    /// The other end is Holdfast itself, not another party.
    pub(crate) with_holdfast: bool,
    pub(crate) at: Instant,
    pub(crate) text: SipText,
    pub(crate) transport: Transport,
    /// Equal bytes passed before.
    pub(crate) is_repeat: bool,
}

impl Message {
    /// `> INVITE`, `< 200 INVITE`.
    pub(crate) fn label(&self) -> String {
        let arrow = match self.way {
            Way::Sent => ">",
            Way::Received => "<",
        };
        format!("{arrow} {}", self.text.label())
    }
}

/// Where the messages of one case are read from.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Each party's SIP address.
    parties: BTreeMap<String, SocketAddrV4>,
    /// Whose number it is.
    telephones: BTreeMap<String, SocketAddrV4>,
    holdfast: SocketAddrV4,
    /// `None` where this user may not capture: then SIPp's own traces must do.
    capture: Option<Capture>,
    traces: BTreeMap<String, PathBuf>,
    start: (Instant, SystemTime),
    /// Where captures are put down, and the secrets of Holdfast's TLS connections are.
    dir: PathBuf,
    /// How many packets of TLS connections were read last, and what they carried.
    tls: RefCell<(usize, Vec<Datagram>)>,
}

/// How long no packet of a TLS connection has come before they are read.
const QUIET: Duration = Duration::from_millis(40);

/// The file that Holdfast writes the secrets of its connections to.
pub(crate) const SECRETS: &str = "tls.secrets";

impl Wire {
    pub(crate) fn new(
        parties: BTreeMap<String, SocketAddrV4>,
        telephones: BTreeMap<String, SocketAddrV4>,
        holdfast: SocketAddrV4,
        traces: BTreeMap<String, PathBuf>,
        dir: &Path,
    ) -> Self {
        let mut ports: Vec<u16> = parties.values().map(|address| address.port()).collect();
        ports.push(holdfast.port());
        Self {
            parties,
            telephones,
            holdfast,
            capture: Capture::of_ports(&ports),
            traces,
            start: (Instant::now(), SystemTime::now()),
            dir: dir.to_owned(),
            tls: RefCell::default(),
        }
    }

    pub(crate) fn is_captured(&self) -> bool {
        self.capture.is_some()
    }

    /// Whether what passed at this party is known.
    pub(crate) fn knows(&self, party: &str) -> bool {
        self.is_captured() || self.traces.contains_key(party)
    }

    pub(crate) fn address(&self, party: &str) -> Result<SocketAddrV4> {
        let address = self.parties.get(party);
        address.copied().with_context(|| format!("there is no party {party}"))
    }

    /// All datagrams that Holdfast sent; nothing without a capture.
    pub(crate) fn sent_by_holdfast(&self) -> Vec<Datagram> {
        let mut datagrams = self.captured();
        datagrams.retain(|datagram| datagram.from == self.holdfast);
        datagrams
    }

    /// What was captured. Who opens a TCP connection has it from a port of its own: the sent-by of its first request
    /// there says who that is, or the number in its From where a telephone names that port as its own.
    fn captured(&self) -> Vec<Datagram> {
        let mut datagrams = self.capture.as_ref().map(Capture::datagrams).unwrap_or_default();
        let by_tls = self.by_tls();
        if !by_tls.is_empty() {
            datagrams.extend(by_tls);
            datagrams.sort_by_key(|datagram| datagram.at);
        }
        let is_known = |address: &SocketAddrV4| {
            *address == self.holdfast || self.parties.values().any(|party| party == address)
        };
        let mut owners: BTreeMap<SocketAddrV4, SocketAddrV4> = BTreeMap::new();
        for datagram in &mut datagrams {
            if !is_known(&datagram.from)
                && !owners.contains_key(&datagram.from)
                && let Some(owner) = sent_by(datagram.payload())
                    .filter(is_known)
                    .or_else(|| self.telephones.get(&from_number(datagram.payload())?).copied())
            {
                owners.insert(datagram.from, owner);
            }
            for address in [&mut datagram.from, &mut datagram.to] {
                *address = owners.get(address).copied().unwrap_or(*address);
            }
        }
        datagrams
    }

    /// Waits until all that has passed can be read.
    pub(crate) fn settle(&self) {
        if self.capture.as_ref().is_some_and(|capture| !capture.packets().is_empty()) {
            std::thread::sleep(2 * QUIET);
        }
    }

    /// What TLS carried, once nothing more has come for a moment: each look at it takes a process.
    fn by_tls(&self) -> Vec<Datagram> {
        let secrets = self.dir.join(SECRETS);
        let Some(capture) = self.capture.as_ref().filter(|_| secrets.exists()) else {
            return Vec::new();
        };
        let packets = capture.packets();
        let mut known = self.tls.borrow_mut();
        let is_quiet = packets.last().is_some_and(|last| last.at.elapsed() > QUIET);
        if is_quiet
            && packets.len() > known.0
            && let Ok(messages) = tls::messages(&packets, &secrets, &self.dir)
        {
            *known = (packets.len(), messages);
        }
        known.1.clone()
    }

    /// Everything so far, in order of time.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let mut messages = match &self.capture {
            Some(_) => self.captured().iter().flat_map(|one| self.seen(one)).collect(),
            None => self.traced(),
        };
        let mut before = HashSet::new();
        for (message, key) in &mut messages {
            message.is_repeat = !before.insert(std::mem::take(key));
        }
        messages.into_iter().map(|(message, _)| message).collect()
    }

    /// A datagram from each party's side: one between two parties is seen by both.
    fn seen(&self, datagram: &Datagram) -> Vec<(Message, Vec<u8>)> {
        let Some(text) = SipText::read(datagram.payload()) else {
            return Vec::new();
        };
        let is_at = |address: &SocketAddrV4, own: SocketAddrV4| *address == own;
        let sides = self.parties.iter().filter_map(|(party, address)| {
            let (way, peer) = if is_at(address, datagram.from) {
                (Way::Sent, datagram.to)
            } else if is_at(address, datagram.to) {
                (Way::Received, datagram.from)
            } else {
                return None;
            };
            let message = Message {
                party: party.clone(),
                way,
                with_holdfast: peer == self.holdfast,
                at: datagram.at,
                transport: datagram.transport,
                text: text.clone(),
                is_repeat: false,
            };
            let key = [party.as_bytes(), message.label().as_bytes(), datagram.payload()].concat();
            Some((message, key))
        });
        sides.collect()
    }

    /// What SIPp's `-trace_msg` files tell.
    fn traced(&self) -> Vec<(Message, Vec<u8>)> {
        let mut messages = Vec::new();
        for (party, path) in &self.traces {
            let text = std::fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            for entry in text.split("----------------------------------------------- ").skip(1) {
                messages.extend(self.traced_message(party, entry));
            }
        }
        messages.sort_by_key(|(message, _)| message.at);
        messages
    }

    /// `2026-11-23 08:00:00.123456\nUDP message sent (523 bytes):\n\nINVITE …`.
    fn traced_message(&self, party: &str, entry: &str) -> Option<(Message, Vec<u8>)> {
        let (time, rest) = entry.split_once('\n')?;
        let (what, bytes) = rest.split_once("\n\n")?;
        let way = if what.contains("sent") { Way::Sent } else { Way::Received };
        let message = Message {
            party: party.to_owned(),
            way,
            with_holdfast: true,
            transport: match what.starts_with("TCP") {
                true => Transport::Tcp,
                false => Transport::Udp,
            },
            at: self.instant_of(time)?,
            text: SipText::read(bytes.trim_end_matches('\n').as_bytes())?,
            is_repeat: false,
        };
        let key = format!("{party}{}{bytes}", message.label()).into_bytes();
        Some((message, key))
    }

    /// Only the time of day is read: a case does not last for a day.
    fn instant_of(&self, time: &str) -> Option<Instant> {
        let clock = time.split_whitespace().nth(1)?;
        let mut parts = clock.splitn(3, ':');
        let hours: f64 = parts.next()?.parse().ok()?;
        let minutes: f64 = parts.next()?.parse().ok()?;
        let seconds: f64 = parts.next()?.parse().ok()?;
        let of_day = hours * 3600.0 + minutes * 60.0 + seconds;
        let start = self.start.1.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let start_of_hour = start.as_secs_f64() % 3600.0;
        // SIPp writes local time: whole and half hours of the zone must not matter.
        let since = (of_day % 1800.0 - start_of_hour % 1800.0).rem_euclid(1800.0);
        Some(self.start.0 + Duration::from_secs_f64(since))
    }
}

/// Whom the top Via of a request names.
fn sent_by(payload: &[u8]) -> Option<SocketAddrV4> {
    let text = SipText::read(payload.trim_ascii_start())?;
    let via = text.header("via").filter(|_| text.status_code().is_none())?;
    via.split_whitespace().nth(1)?.split(';').next()?.parse().ok()
}

/// The user part of From.
fn from_number(payload: &[u8]) -> Option<String> {
    let text = SipText::read(payload.trim_ascii_start())?;
    let from = text.header("from").filter(|_| text.status_code().is_none())?;
    let (_, uri) = from.split_once("sip:").or_else(|| from.split_once("sips:"))?;
    Some(uri.split_once('@')?.0.to_owned())
}

/// `carrier-b < 200 INVITE#2`: the second such message, retransmissions not counted.
#[derive(Clone, Debug)]
pub(crate) struct Pick {
    party: String,
    label: String,
    index: usize,
}

impl Pick {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (name, index) = match text.rsplit_once('#') {
            Some((name, index)) => (name, index.trim().parse::<usize>()?),
            None => (text, 1),
        };
        let (party, label) =
            name.split_once(' ').with_context(|| format!("{text:?} names no message"))?;
        if !label.starts_with("> ") && !label.starts_with("< ") {
            bail!("{text:?}: after the party comes `>` (it sent) or `<` (it received)");
        }
        Ok(Self { party: party.to_owned(), label: label.trim().to_owned(), index })
    }

    pub(crate) fn matches(&self, message: &Message) -> bool {
        message.party == self.party && message.label() == self.label
    }

    pub(crate) fn find<'a>(&self, messages: &'a [Message]) -> Option<&'a Message> {
        messages
            .iter()
            .filter(|message| self.matches(message) && !message.is_repeat)
            .nth(self.index - 1)
    }
}

/// The messages as a person reads them: one line each, a column a party.
pub(crate) fn ladder(messages: &[Message]) -> String {
    const MAX_LINES: usize = 120;
    let mut out = String::new();
    let Some(first) = messages.first() else {
        return "(nothing passed)".to_owned();
    };
    for message in messages.iter().take(MAX_LINES) {
        let since = message.at.duration_since(first.at).as_millis();
        let repeat = if message.is_repeat { "  (again)" } else { "" };
        let line = format!("{since:>7} ms  {:<12} {}{repeat}", message.party, message.label());
        writeln!(out, "{line}").expect("a String takes all");
    }
    if messages.len() > MAX_LINES {
        writeln!(out, "… {} more", messages.len() - MAX_LINES).expect("a String takes all");
    }
    out
}

pub(crate) fn loopback(host: &str, port: u16) -> Result<SocketAddrV4> {
    let host: Ipv4Addr = host.parse().with_context(|| format!("{host} is no IPv4 address"))?;
    anyhow::ensure!(host.is_loopback(), "{host} is no loopback address");
    Ok(SocketAddrV4::new(host, port))
}

//! What must hold of every message on the wire, when it is sent; `verdicts.rs` says what must hold
//! of whole calls, once they are over.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;

use bytes::Bytes;
use holdfast::call::CallRecord;

use super::oracle;
use super::party::{LIMIT, Side};
use super::text::Text;
use super::world::{ENGINE, ms, side_of};

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The call it happened in, where that is known.
    pub call: Option<usize>,
    pub what: String,
}

/// Everything that was seen on the wire so far.
#[derive(Debug, Default)]
pub struct Checks {
    pub violations: Vec<Violation>,
    pub(super) legs: HashMap<String, Leg>,
    /// The Call-IDs of each call.
    by_call: HashMap<usize, Vec<String>>,
    /// Outbound Call-IDs of each call, in the order of their INVITEs.
    pub(super) attempts: HashMap<usize, Vec<String>>,
    pub(super) recorded: HashMap<String, usize>,
    record_ids: HashSet<String>,
    /// Repeated octets have been looked at.
    seen: HashSet<Bytes>,
}

/// One Call-ID as the wire shows it.
#[derive(Debug)]
pub struct Leg {
    pub side: Side,
    pub call: usize,
    /// The engine's INVITEs by branch.
    sent_invites: BTreeMap<String, SentInvite>,
    /// Requests of the agent: branch and method.
    pub received: BTreeSet<(String, String)>,
    /// Final responses of the engine by branch and method.
    pub finals: BTreeMap<(String, String), BTreeSet<(u16, String)>>,
    /// Highest CSeq of the engine's requests to each tag.
    seqs: BTreeMap<String, u32>,
    /// Branches of the engine's requests, to know the repeated ones.
    branches: BTreeSet<String>,
    /// 2xx of the agent to the engine's INVITEs.
    pub answers: BTreeMap<(String, u32), Answer>,
    /// Dialogs of the agent (by its tag) that somebody has sent a BYE in.
    pub byes: BTreeSet<String>,
    /// Tags of the engine on this leg.
    own_tags: BTreeSet<String>,
    /// The agent's ACK brought an answer, before its BYE.
    pub has_answer_in_ack: bool,
    /// Branch of the INVITE that began the call (callers).
    pub first_branch: String,
}

#[derive(Debug)]
struct SentInvite {
    at: u64,
    request: Text,
    has_provisional: bool,
    first_answer_at: Option<u64>,
    cancelled_at: Option<u64>,
}

/// A 2xx of an agent.
#[derive(Debug)]
pub struct Answer {
    pub is_acknowledged: bool,
    /// It came when the engine's transaction had ended: nobody could know it.
    pub is_too_late: bool,
}

impl Leg {
    fn new(side: Side, call: usize) -> Self {
        Self {
            side,
            call,
            sent_invites: BTreeMap::new(),
            received: BTreeSet::new(),
            finals: BTreeMap::new(),
            seqs: BTreeMap::new(),
            branches: BTreeSet::new(),
            answers: BTreeMap::new(),
            byes: BTreeSet::new(),
            own_tags: BTreeSet::new(),
            has_answer_in_ack: false,
            first_branch: String::new(),
        }
    }
}

impl Checks {
    pub fn complain(&mut self, call: Option<usize>, what: String) {
        self.violations.push(Violation { call, what });
    }

    /// An agent begins to use a Call-ID.
    pub fn knows(&mut self, call_id: &str, side: Side, call: usize) {
        if !self.legs.contains_key(call_id) {
            self.legs.insert(call_id.to_owned(), Leg::new(side, call));
            self.by_call.entry(call).or_default().push(call_id.to_owned());
        }
    }

    /// A message reached the engine.
    pub fn received(&mut self, at: u64, from: SocketAddr, bytes: &Bytes) {
        let Some(text) = Text::parse(bytes) else {
            return self.complain(None, format!("agent {from} sends what is no SIP"));
        };
        let Some(leg) = self.legs.get_mut(text.call_id()) else { return };
        if text.is_request() {
            if text.method() == "INVITE" && text.tag_of_to().is_empty() {
                leg.first_branch = text.branch().to_owned();
            }
            if text.method() == "BYE" {
                leg.byes.insert(text.tag_of_from().to_owned());
            }
            if text.method() == "ACK" && !text.body.is_empty() {
                leg.has_answer_in_ack |= leg.byes.is_empty();
            }
            leg.received.insert((text.branch().to_owned(), text.method().to_owned()));
            return;
        }
        if text.method() != "INVITE" {
            return;
        }
        let Some(invite) = leg.sent_invites.get_mut(text.branch()) else { return };
        let limit = LIMIT - 100_000;
        match text.status() {
            // After 64*T1 its transaction is gone.
            100..200 if at < invite.at + limit => invite.has_provisional = true,
            200..300 => {
                let is_over = |since: Option<u64>| since.is_some_and(|since| at > since + limit);
                let is_too_late = is_over(invite.cancelled_at)
                    || is_over(invite.first_answer_at)
                    || (!invite.has_provisional && is_over(Some(invite.at)))
                    // Only the call's dialog hung up: another INVITE's answer is as good as none.
                    || (invite.request.tag_of_to() != "" && leg.byes.contains(text.tag_of_to()));
                invite.first_answer_at.get_or_insert(at);
                let key = (text.tag_of_to().to_owned(), text.seq());
                leg.answers.entry(key).or_insert(Answer { is_acknowledged: false, is_too_late });
            }
            _ => {}
        }
    }

    /// The engine sends.
    pub fn sent(&mut self, at: u64, to: SocketAddr, bytes: &Bytes) {
        let Some(text) = Text::parse(bytes) else {
            return self.complain(None, format!("unreadable: {}", String::from_utf8_lossy(bytes)));
        };
        let call = self.legs.get(text.call_id()).map(|leg| leg.call);
        let call = call.or_else(|| text.sim_call());
        let is_new = self.seen.insert(bytes.clone());
        let mut complaints = Vec::new();
        if is_new {
            complaints.extend(is_well_formed(&text));
            complaints.extend(oracle::disagreement(bytes, &text));
            complaints.extend(self.leaks(to, &text, bytes, call));
        }
        complaints.extend(match text.is_request() {
            true => self.sent_request(at, to, text, call),
            false => self.sent_response(text),
        });
        for what in complaints {
            self.complain(call, format!("at {} ms to {to}: {what}", ms(at)));
        }
    }

    pub fn recorded(&mut self, record: &CallRecord) {
        let call = self.legs.get(&record.inbound_call_id).map(|leg| leg.call);
        let records = self.recorded.entry(record.inbound_call_id.clone()).or_default();
        *records += 1;
        if *records > 1 {
            self.complain(call, "a second record of one call".to_owned());
        }
        if !self.record_ids.insert(record.call_id.to_string()) {
            self.complain(call, format!("two records have the id {}", record.call_id));
        }
    }

    /// What of one side is seen on the other.
    fn leaks(
        &self,
        to: SocketAddr,
        text: &Text,
        bytes: &Bytes,
        call: Option<usize>,
    ) -> Option<String> {
        let head = std::str::from_utf8(Text::head(bytes)).unwrap_or_default();
        let side = side_of(to)?;
        let foreign: &[&str] = match side {
            Side::Caller => &["198.51.100.", "krr"],
            Side::Carrier => &["192.0.2.", "clr"],
        };
        if let Some(word) = foreign.iter().find(|word| head.contains(**word)) {
            return Some(format!("{} of the other side in {}", word, text.start));
        }
        for call_id in self.by_call.get(&call?)? {
            let leg = self.legs.get(call_id).filter(|leg| leg.side != side);
            let Some(leg) = leg else { continue };
            if head.contains(&**call_id) {
                return Some(format!("Call-ID {call_id} of the other side in {}", text.start));
            }
            if let Some(tag) = leg.own_tags.iter().find(|tag| head.contains(&***tag)) {
                return Some(format!("tag {tag} of the other side in {}", text.start));
            }
        }
        None
    }

    fn sent_request(
        &mut self,
        at: u64,
        to: SocketAddr,
        text: Text,
        call: Option<usize>,
    ) -> Vec<String> {
        let Some(call) = call else {
            let is_probe = text.method() == "OPTIONS";
            return if is_probe { Vec::new() } else { vec![format!("{} of no call", text.start)] };
        };
        let mut complaints = Vec::new();
        let (method, branch, seq) =
            (text.method().to_owned(), text.branch().to_owned(), text.seq());
        if method == "INVITE"
            && text.tag_of_to().is_empty()
            && !self.legs.contains_key(text.call_id())
        {
            if side_of(to) != Some(Side::Carrier) {
                complaints.push("a new INVITE to a caller".to_owned());
            }
            self.knows(text.call_id(), Side::Carrier, call);
            self.attempts.entry(call).or_default().push(text.call_id().to_owned());
        }
        let Some(leg) = self.legs.get_mut(text.call_id()) else { return complaints };
        leg.own_tags.insert(text.tag_of_from().to_owned());
        match &*method {
            "CANCEL" => complaints.extend(leg.cancels(at, &text)),
            "ACK" => complaints.extend(leg.acknowledges(&text)),
            _ if leg.branches.insert(branch.clone()) => {
                let highest = leg.seqs.entry(text.tag_of_to().to_owned()).or_default();
                if seq <= *highest {
                    complaints.push(format!("{method} has CSeq {seq} after {highest}"));
                }
                *highest = seq.max(*highest);
            }
            _ => {}
        }
        if method == "BYE" {
            leg.byes.insert(text.tag_of_to().to_owned());
        }
        if method == "INVITE" {
            leg.sent_invites.entry(branch).or_insert(SentInvite {
                at,
                request: text,
                has_provisional: false,
                first_answer_at: None,
                cancelled_at: None,
            });
        }
        complaints
    }

    fn sent_response(&mut self, text: Text) -> Vec<String> {
        let Some(leg) = self.legs.get_mut(text.call_id()) else {
            return vec!["a response to a Call-ID that nobody uses".to_owned()];
        };
        let key = (text.branch().to_owned(), text.method().to_owned());
        if !leg.received.contains(&key) {
            return vec![format!("{} to a {} that never came", text.start, text.method())];
        }
        if !text.tag_of_to().is_empty() && text.status() < 300 {
            leg.own_tags.insert(text.tag_of_to().to_owned());
        }
        if text.status() < 200 {
            if leg.finals.contains_key(&key) {
                return vec![format!("{} after a final response", text.start)];
            }
            return Vec::new();
        }
        let finals = leg.finals.entry(key).or_default();
        finals.insert((text.status(), text.tag_of_to().to_owned()));
        if finals.len() > 1 {
            return vec![format!("two final responses to one {}: {finals:?}", text.method())];
        }
        Vec::new()
    }
}

impl Leg {
    /// RFC 3261 §9.1
    fn cancels(&mut self, at: u64, cancel: &Text) -> Vec<String> {
        let Some(invite) = self.sent_invites.get_mut(cancel.branch()) else {
            return vec!["a CANCEL with the branch of no INVITE".to_owned()];
        };
        let mut complaints = Vec::new();
        invite.cancelled_at.get_or_insert(at);
        if !invite.has_provisional {
            complaints.push("a CANCEL before any provisional response".to_owned());
        }
        if invite.request.seq() != cancel.seq() {
            complaints.push("a CANCEL with another CSeq than its INVITE".to_owned());
        }
        if invite.request.request_uri() != cancel.request_uri() {
            complaints.push("a CANCEL with another Request-URI than its INVITE".to_owned());
        }
        for name in ["From", "To", "Via", "Route"] {
            if invite.request.get(name) != cancel.get(name) {
                complaints.push(format!("a CANCEL with another {name} than its INVITE"));
            }
        }
        complaints
    }

    fn acknowledges(&mut self, ack: &Text) -> Option<String> {
        if let Some(answer) = self.answers.get_mut(&(ack.tag_of_to().to_owned(), ack.seq())) {
            answer.is_acknowledged = true;
        }
        let is_known = self.sent_invites.values().any(|invite| invite.request.seq() == ack.seq());
        (!is_known).then(|| format!("an ACK with CSeq {} of no INVITE", ack.seq()))
    }
}

/// RFC 3261 §8.1.1, §8.2.6, §12.1.1
fn is_well_formed(text: &Text) -> Vec<String> {
    let mut needed = vec!["Via", "From", "To", "Call-ID", "CSeq"];
    let is_invite = text.method() == "INVITE";
    if text.is_request() {
        needed.push("Max-Forwards");
    }
    if is_invite && (text.is_request() || (101..300).contains(&text.status())) {
        needed.push("Contact");
    }
    let mut complaints: Vec<String> = needed
        .into_iter()
        .filter(|name| text.get(name).is_none())
        .map(|name| format!("{} without {name}", text.start))
        .collect();
    if text.is_request() && !text.branch().starts_with("z9hG4bK") {
        complaints.push("a branch without the magic cookie".to_owned());
    }
    if !text.is_request() && text.status() > 100 && text.tag_of_to().is_empty() {
        complaints.push(format!("{} without a To tag", text.start));
    }
    if let Some(contact) = text.contact()
        && !contact.contains(ENGINE)
    {
        complaints.push(format!("Contact {contact} is not ours"));
    }
    complaints
}

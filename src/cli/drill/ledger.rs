//! What both ends of every call of a drill have seen, and what that comes to. All times in ms since the drill began.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use super::figures::{Delay, Dropped, Failed, Figures, Records, delay};
use crate::cli::agents::{CallerNews, CarrierNews, End};
use crate::store::drills::DrillRecord;

/// Milliseconds since the drill began.
pub(super) type Ms = i64;

/// One end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Callee,
}

/// Why a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To see whether the nodes know the drill's rows.
    Trial,
    /// To be there when the fault comes, and until the end.
    Held,
    /// One of the stream.
    New,
}

/// One INVITE of a caller, and its call.
#[derive(Debug)]
struct Try {
    call: u64,
    node: SocketAddr,
    call_id: String,
    tried_at: Ms,
    rang_at: Option<Ms>,
    answered_at: Option<Ms>,
    refused: Option<u16>,
    /// It was given up, after something was heard or not.
    left: Option<bool>,
    /// The carrier that answered.
    carrier: Option<usize>,
    /// By side: since when its peer is another node.
    moved_at: [Option<Ms>; 2],
    ends: [Option<(Ms, End)>; 2],
    hung_up: Option<(Side, Ms)>,
}

#[derive(Debug)]
struct Call {
    purpose: Purpose,
    offered_at: Ms,
    tries: Vec<u64>,
    lost_at: Option<Ms>,
}

/// When what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moments {
    pub(super) fault_at: Ms,
    pub(super) undone_at: Ms,
    /// When the store showed that a node had noticed.
    pub(super) detected_at: Option<Ms>,
}

/// What a drill breaks, as far as its sums depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Peers of calls are told where these have gone.
    Node,
    /// Calls go to other carriers than the one of this index. Where it is deaf it does not hear of the end of its calls.
    Carrier {
        index: usize,
        is_deaf: bool,
    },
    Other,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    tries: BTreeMap<u64, Try>,
    calls: BTreeMap<u64, Call>,
}

impl Ledger {
    /// A call begins; its first INVITE is among the next news.
    pub(super) fn offer(&mut self, call: u64, purpose: Purpose, at: Ms) {
        let one = Call { purpose, offered_at: at, tries: Vec::new(), lost_at: None };
        self.calls.insert(call, one);
    }

    pub(super) fn note_caller(&mut self, at: Ms, number: u64, news: CallerNews) {
        if let CallerNews::Tried { call, node, call_id } = news {
            if let Some(call) = self.calls.get_mut(&call) {
                call.tries.push(number);
            }
            let one = Try {
                call,
                node,
                call_id,
                tried_at: at,
                rang_at: None,
                answered_at: None,
                refused: None,
                left: None,
                carrier: None,
                moved_at: [None; 2],
                ends: [None, None],
                hung_up: None,
            };
            self.tries.insert(number, one);
            return;
        }
        let Some(one) = self.tries.get_mut(&number) else { return };
        match news {
            CallerNews::Tried { .. } => {}
            CallerNews::Rang => one.rang_at = one.rang_at.or(Some(at)),
            CallerNews::Answered => {
                one.answered_at = Some(at);
                if one.left.is_some() {
                    // The caller is elsewhere, and ended it at once.
                    one.hung_up = Some((Side::Caller, at));
                }
            }
            CallerNews::Refused(code) => one.refused = Some(code),
            CallerNews::Left { was_heard } => one.left = Some(was_heard),
            CallerNews::Lost => {
                if let Some(call) = self.calls.get_mut(&one.call) {
                    call.lost_at = Some(at);
                }
            }
            CallerNews::Moved(_) => one.moved(Side::Caller, at),
            CallerNews::Ended(end) => one.ends[Side::Caller as usize] = Some((at, end)),
        }
    }

    pub(super) fn note_carrier(&mut self, at: Ms, carrier: usize, number: u64, news: CarrierNews) {
        let Some(one) = self.tries.get_mut(&number) else { return };
        match news {
            CarrierNews::Rang => {}
            CarrierNews::Answered => one.carrier = Some(carrier),
            CarrierNews::Moved(_) => one.moved(Side::Callee, at),
            CarrierNews::Ended(end) => one.ends[Side::Callee as usize] = Some((at, end)),
        }
    }

    /// A side was told to hang up.
    pub(super) fn note_hang_up(&mut self, at: Ms, number: u64, side: Side) {
        if let Some(one) = self.tries.get_mut(&number) {
            one.hung_up = one.hung_up.or(Some((side, at)));
        }
    }

    /// Calls of a purpose that were answered and have not been hung up: INVITE, carrier, and since when.
    pub(super) fn talking(&self, purpose: Purpose) -> Vec<(u64, usize, Ms)> {
        let mut talking = Vec::new();
        for (number, one) in &self.tries {
            let is_of = self.calls.get(&one.call).is_some_and(|call| call.purpose == purpose);
            let is_up = one.hung_up.is_none() && one.ends == [None, None];
            if let (Some(at), true) = (one.answered_at, is_of && is_up) {
                talking.push((*number, one.carrier.unwrap_or_default(), at));
            }
        }
        talking
    }

    /// Calls of a purpose that were neither answered nor lost yet.
    pub(super) fn pending(&self, purpose: Purpose) -> usize {
        let calls = self.calls.values().filter(|call| call.purpose == purpose);
        calls.filter(|call| call.lost_at.is_none() && self.answer(call).is_none()).count()
    }

    /// Calls of a purpose that nobody answered, and why the last one.
    pub(super) fn lost(&self, purpose: Purpose) -> (usize, Option<String>) {
        let calls = self.calls.values().filter(|call| call.purpose == purpose);
        let lost: Vec<&Call> = calls.filter(|call| call.lost_at.is_some()).collect();
        (lost.len(), lost.last().map(|call| self.why_lost(call)))
    }

    /// The node that answered the last call; `None` = nobody did.
    pub(super) fn last_answered_by(&self) -> Option<SocketAddr> {
        self.calls.values().next_back().and_then(|call| self.answer(call)).map(|one| one.node)
    }

    /// Whether an answered call is not over for both sides yet.
    pub(super) fn is_anything_up(&self) -> bool {
        self.tries.values().any(|one| one.answered_at.is_some() && one.ends.contains(&None))
    }

    /// Whether every leg of calls that were answered before a time, and are up, was told of another node since.
    pub(super) fn are_all_told(&self, fault_at: Ms) -> bool {
        self.tries.values().all(|one| {
            let was_up =
                one.is_in_flight(fault_at) && one.hung_up.is_none() && one.ends == [None, None];
            !was_up || one.moved_at.iter().all(Option::is_some)
        })
    }

    /// Call-IDs of which a node has spoken the last word, or that it has answered: each is to be on record, once.
    fn to_be_on_record(&self) -> impl Iterator<Item = &str> {
        let is_final = |one: &&Try| one.answered_at.is_some() || one.refused.is_some();
        self.tries.values().filter(is_final).map(|one| one.call_id.as_str())
    }

    pub(super) fn are_on_record(&self, records: &[DrillRecord]) -> bool {
        let there: HashSet<&str> =
            records.iter().map(|record| record.inbound_call_id.as_str()).collect();
        self.to_be_on_record().all(|call_id| there.contains(call_id))
    }

    pub(super) fn figures(
        &self,
        moments: Moments,
        target: Target,
        records: Option<&[DrillRecord]>,
    ) -> Figures {
        let fault_at = moments.fault_at;
        let in_flight: Vec<&Try> =
            self.tries.values().filter(|one| one.is_in_flight(fault_at)).collect();
        let why_dropped = |one: &Try| one.why_dropped(moments, target);
        // A call that is answered later, and lost, is no better.
        let since_then = self.tries.values().filter(|one| {
            one.left.is_none() && one.answered_at.is_some_and(|answered_at| answered_at >= fault_at)
        });
        let answered = in_flight.iter().copied().chain(since_then);
        let dropped: Vec<Dropped> =
            answered.filter_map(|one| Some(one.dropped(why_dropped(one)?, fault_at))).collect();
        let new: Vec<&Call> =
            self.calls.values().filter(|call| call.purpose == Purpose::New).collect();
        let is_before = |call: &&&Call| self.settled_at(call).is_some_and(|at| at < fault_at);
        let (before, since): (Vec<&Call>, Vec<&Call>) =
            new.iter().partition(|call| is_before(call));
        let failed: Vec<Failed> = since
            .iter()
            .filter(|call| self.answer(call).is_none())
            .map(|call| Failed {
                call_id: self.last_call_id(call),
                offered_ms: call.offered_at - fault_at,
                cause: self.why_lost(call),
            })
            .collect();
        let told: Vec<Ms> = in_flight.iter().flat_map(|one| one.moved_at).flatten().collect();
        let fails_for_ms = failed.iter().map(|failed| failed.offered_ms.max(0)).max();
        let first_told = told.iter().min().map(|at| at - fault_at);
        let last_told = told.iter().max().map(|at| at - fault_at);
        let is_told = target != Target::Node || (!told.is_empty() && self.are_all_told(fault_at));
        let decided_ms = match target {
            Target::Node => first_told,
            Target::Carrier { index, .. } => {
                self.first_elsewhere(index, fault_at).map(|at| at - fault_at)
            }
            Target::Other => None,
        };
        let delays = |from: Ms, to: Ms| -> Delay {
            let calls = new.iter().filter(|call| (from..to).contains(&call.offered_at));
            delay(calls.filter_map(|call| self.delay_of(call)).collect())
        };
        Figures {
            in_flight: in_flight.len(),
            survived: in_flight.iter().filter(|one| why_dropped(one).is_none()).count(),
            hung_up_before_told: in_flight.iter().filter(|one| one.ended_in_gap(fault_at)).count(),
            dropped,
            offered: since.len(),
            answered_by_next_node: since.iter().filter(|call| self.is_on_next_node(call)).count(),
            failed_before: before.iter().filter(|call| self.answer(call).is_none()).count(),
            recovered_ms: is_told.then(|| {
                let waits = [last_told, fails_for_ms, decided_ms];
                waits.into_iter().flatten().max().unwrap_or(0)
            }),
            fails_for_ms,
            failed,
            legs_told: told.len(),
            first_told_ms: first_told,
            last_told_ms: last_told,
            detected_ms: moments.detected_at.map(|at| at - fault_at),
            decided_ms,
            delay_before: delays(Ms::MIN, fault_at),
            delay_during: delays(fault_at, moments.undone_at),
            delay_after: delays(moments.undone_at, Ms::MAX),
            records: records.map(|records| self.records(records)),
        }
    }

    fn records(&self, records: &[DrillRecord]) -> Records {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for record in records {
            *times.entry(&record.inbound_call_id).or_default() += 1;
        }
        let expected: Vec<&str> = self.to_be_on_record().collect();
        let lost = expected.iter().filter(|call_id| !times.contains_key(*call_id));
        let doubled = times.iter().filter(|(_, times)| **times > 1);
        Records {
            expected: expected.len(),
            found: records.len(),
            lost: lost.map(|call_id| (*call_id).to_owned()).collect(),
            doubled: doubled.map(|(call_id, _)| (*call_id).to_owned()).collect(),
            wrong_region: records.iter().filter(|record| record.is_wrong_region).count(),
            taken_over: records.iter().filter(|record| record.taken_from.is_some()).count(),
        }
    }

    /// The INVITE that was answered while its caller waited.
    fn answer(&self, call: &Call) -> Option<&Try> {
        let tries = call.tries.iter().filter_map(|number| self.tries.get(number));
        tries.filter(|one| one.left.is_none()).find(|one| one.answered_at.is_some())
    }

    fn settled_at(&self, call: &Call) -> Option<Ms> {
        self.answer(call).and_then(|one| one.answered_at).or(call.lost_at)
    }

    fn is_on_next_node(&self, call: &Call) -> bool {
        self.answer(call).is_some_and(|one| {
            call.tries
                .first()
                .and_then(|first| self.tries.get(first))
                .is_some_and(|first| first.call_id != one.call_id)
        })
    }

    /// INVITE, the first of them, to ringing or answer.
    fn delay_of(&self, call: &Call) -> Option<Ms> {
        let one = self.answer(call)?;
        Some(one.rang_at.or(one.answered_at)? - call.offered_at)
    }

    fn first_elsewhere(&self, faulty: usize, fault_at: Ms) -> Option<Ms> {
        let others = self.tries.values().filter(|one| {
            one.tried_at >= fault_at && one.carrier.is_some_and(|carrier| carrier != faulty)
        });
        others.filter_map(|one| one.answered_at).min()
    }

    fn last_call_id(&self, call: &Call) -> String {
        let last = call.tries.last().and_then(|number| self.tries.get(number));
        last.map(|one| one.call_id.clone()).unwrap_or_default()
    }

    fn why_lost(&self, call: &Call) -> String {
        let last = call.tries.last().and_then(|number| self.tries.get(number));
        match last {
            Some(Try { refused: Some(code), .. }) => format!("refused with {code}"),
            Some(Try { left: Some(true), rang_at: Some(_), .. }) => {
                "rang, and was never answered".to_owned()
            }
            Some(Try { left: Some(true), .. }) => "got 100, and nothing more".to_owned(),
            Some(Try { left: Some(false), .. }) => "no node answered".to_owned(),
            Some(_) | None => "not answered by the end of the drill".to_owned(),
        }
    }
}

impl Try {
    fn moved(&mut self, side: Side, at: Ms) {
        self.moved_at[side as usize] = self.moved_at[side as usize].or(Some(at));
    }

    /// Answered, and neither hung up nor over at the time.
    fn is_in_flight(&self, at: Ms) -> bool {
        let is_since = |then: Ms| then >= at;
        self.answered_at.is_some_and(|answered| answered < at)
            && self.left.is_none()
            && self.hung_up.is_none_or(|(_, then)| is_since(then))
            && self.ends.iter().flatten().all(|(then, _)| is_since(*then))
    }

    /// Its side hung up while its peer was gone, and not told yet of another.
    fn ended_in_gap(&self, fault_at: Ms) -> bool {
        self.hung_up.is_some_and(|(side, at)| {
            at >= fault_at
                && self.moved_at[side as usize].is_none()
                && !matches!(self.end(side), Some(End::ByUs))
        })
    }

    fn is_hung_up_to_the_deaf(&self, moments: Moments, target: Target) -> bool {
        let deaf = match target {
            Target::Carrier { index, is_deaf: true } => Some(index),
            Target::Carrier { .. } | Target::Node | Target::Other => None,
        };
        let meanwhile = moments.fault_at..moments.undone_at;
        deaf.is_some()
            && self.carrier == deaf
            && self
                .hung_up
                .is_some_and(|(side, at)| side == Side::Caller && meanwhile.contains(&at))
    }

    fn end(&self, side: Side) -> Option<&End> {
        self.ends[side as usize].as_ref().map(|(_, end)| end)
    }

    fn dropped(&self, cause: String, fault_at: Ms) -> Dropped {
        let told = |side: Side| match self.moved_at[side as usize] {
            Some(at) => format!("told at {} ms", at - fault_at),
            None => "not told".to_owned(),
        };
        let state = format!(
            "answered at {} ms; caller {}, callee {}",
            self.answered_at.unwrap_or(fault_at) - fault_at,
            told(Side::Caller),
            told(Side::Callee)
        );
        Dropped { call_id: self.call_id.clone(), state, cause }
    }

    /// What went wrong with an answered call; `None` where it ended as it should.
    fn why_dropped(&self, moments: Moments, target: Target) -> Option<String> {
        let fault_at = moments.fault_at;
        // Whichever side heard a BYE before anybody wanted to hang up.
        for (side, name) in [(Side::Caller, "caller"), (Side::Callee, "callee")] {
            if let Some((at, End::ByPeer { reason })) = &self.ends[side as usize]
                && self.hung_up.is_none_or(|(_, hung_up)| *at < hung_up)
            {
                let reason = reason.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
                return Some(format!(
                    "the {name} got a BYE {} ms after the fault{reason}",
                    at - fault_at
                ));
            }
        }
        let Some((side, _)) = self.hung_up else {
            return Some("it was never hung up".to_owned());
        };
        let (other, one_name, other_name) = match side {
            Side::Caller => (Side::Callee, "caller", "callee"),
            Side::Callee => (Side::Caller, "callee", "caller"),
        };
        match (self.end(side), self.end(other)) {
            // Both sides hung up, or the node did so after the caller's BYE had gone to the dead one.
            (Some(End::ByUs | End::ByPeer { .. }), Some(End::ByPeer { .. })) => None,
            (Some(End::ByeUnanswered) | None, Some(End::ByPeer { .. }))
                if self.ended_in_gap(fault_at) =>
            {
                None
            }
            // The carrier could not be told, and the caller need not wait for it.
            (Some(End::ByUs), None) if self.is_hung_up_to_the_deaf(moments, target) => None,
            (Some(End::ByeRefused(code)), _) => Some(format!("the {one_name}'s BYE got {code}")),
            (Some(End::ByeUnanswered) | None, Some(_)) => {
                Some(format!("the {one_name}'s BYE got no answer"))
            }
            (Some(End::ByeUnanswered) | None, None) => {
                Some(format!("the {one_name}'s BYE got no answer, and the {other_name} none"))
            }
            (Some(End::ByUs | End::ByPeer { .. }), _) => {
                Some(format!("the {other_name} got no BYE"))
            }
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;

//! What must hold while a world goes on, and at its end.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::agent::{Agent, Report, Side, State};
use super::cx::{Event, MS, S, address, name};
use super::faults::Fault;
use super::world::World;

/// Peers hear of a takeover within this time: a few at once, but some requests are lost.
const TOLD_WITHIN: u64 = 4 * S;
const TOLD_WITHIN_WITH_LOSS: u64 = 10 * S;
/// A node that nothing has kept from it knows by then that a call is another's.
const KNOWN_AFTER: u64 = 2 * S;

#[derive(Clone, Debug)]
pub struct Violation {
    pub call: Option<usize>,
    pub what: String,
}

#[derive(Debug, Default)]
pub struct Checks {
    pub violations: Vec<Violation>,
    /// By call: the node that it began at.
    pub begun: Vec<usize>,
    /// What has happened, to see that worlds do not fall asleep.
    pub claims: usize,
    pub refreshed: usize,
    pub given: usize,
    /// Runs that calls were given to.
    pub heirs: BTreeSet<i64>,
    /// Caller's Call-IDs of calls that another node has ended as calls that rang.
    pub rang: BTreeSet<String>,
}

impl World {
    pub fn complain(&mut self, call: Option<usize>, what: String) {
        self.cx.note(format!("VIOLATION: {what}"));
        self.checks.violations.push(Violation { call, what });
    }

    /// The ladder of a violation.
    pub fn explain(&self, violation: &Violation) -> String {
        let of_call = |agent: &&Agent| Some(agent.call) == violation.call;
        let agents: Vec<&Agent> = self.agents.iter().filter(of_call).collect();
        let call_ids: Vec<String> = agents.iter().map(|agent| agent.call_id.clone()).collect();
        let mut text = format!("{}\n", violation.what);
        for agent in &agents {
            let (side, state, address) = (agent.side, agent.state, agent.address);
            text += &format!("  {side:?} {address} {state:?} {}\n", agent.call_id);
            text += &format!("    {:?}\n", agent.plan);
        }
        text + &self.cx.ladder_of(&call_ids)
    }

    /// Claims that the store has carried out.
    pub(super) fn look_at_store(&mut self) {
        for claim in std::mem::take(&mut self.store.claims) {
            let now = self.cx.now;
            let (from, to) = (self.lives[&claim.from].clone(), self.lives[&claim.to].clone());
            let (giver, taker) = (name(from.node), name(to.node));
            let verb = if claim.is_given { "is given" } else { "claims" };
            self.cx.note(format!("store: {taker} {verb} {} from {giver}", claim.call_id));
            let call = self.call_of(claim.call_id);
            if let Some(call_id) = self.ringing.get(&claim.call_id).filter(|_| !claim.is_answered) {
                self.checks.rang.insert(call_id.clone());
            }
            self.checks.claims += usize::from(!claim.is_given);
            self.checks.given += usize::from(claim.is_given);
            self.checks.heirs.extend(claim.is_given.then_some(claim.to));
            let region = &self.nodes[to.node].region;
            if claim.region.is_some() && region.is_some() && *region != claim.region {
                self.complain(call, format!("{taker} has a call of another region"));
            }
            let is_dead = from.died_at.is_some();
            let is_cut_off =
                self.was_troubled(now - 3 * S.min(now / 3), now, |fault| match fault {
                    Fault::CutNodes { nodes: (one, other), .. } => {
                        let pair = [*one, *other];
                        pair.contains(&from.node) && pair.contains(&to.node)
                    }
                    _ => false,
                }) && self.was_troubled(now.saturating_sub(4 * S), now, |fault| {
                    is_of_store(fault, from.node)
                });
            let was_frozen = self.was_troubled(now.saturating_sub(4 * S), now, |fault| {
                matches!(fault, Fault::Freeze { node, for_us } if *node == from.node
                    && *for_us >= 900 * MS)
            });
            if !claim.is_given && !is_dead && !is_cut_off && !was_frozen {
                self.complain(call, format!("{taker} takes a call of {giver}, which lives"));
            }
            if let Some(call) = call {
                let run = u64::try_from(claim.to).unwrap_or_default();
                let grace = if self.cx.is_lossy { TOLD_WITHIN_WITH_LOSS } else { TOLD_WITHIN };
                self.cx.at(now + grace + 500 * MS, Event::Check { call, node: to.node, run });
            }
        }
    }

    fn call_of(&self, call_id: Uuid) -> Option<usize> {
        let agent = self
            .agents
            .iter()
            .find(|agent| self.uuids.get(&agent.call_id).is_some_and(|known| *known == call_id));
        agent.map(|agent| agent.call)
    }

    /// Whether something of a kind was going on between two times.
    pub fn was_troubled(&self, from: u64, to: u64, is_it: impl Fn(&Fault) -> bool) -> bool {
        self.troubles
            .iter()
            .any(|(fault, begun, ended)| *begun <= to && *ended >= from && is_it(fault))
    }

    /// The peers of a call that was claimed a while ago know where it is.
    pub(super) fn check_refreshed(&mut self, call: usize, node: usize, run: u64) {
        let now = self.cx.now;
        let lease = i64::try_from(run).unwrap_or_default();
        let (caller, callee) = self.pair(call);
        let (Some(caller), Some(callee)) = (caller, callee) else { return };
        let row = self.uuids.get(&caller.call_id).and_then(|id| self.store.rows.get(id));
        let Some(row) = row.filter(|row| row.lease == lease) else { return };
        let since = row.since;
        if now < since + TOLD_WITHIN {
            // It has moved again.
            return;
        }
        let is_troubled = self.was_troubled(since, now, |fault| match fault {
            Fault::Freeze { node: of, .. }
            | Fault::CutFromPeers { node: of, .. }
            | Fault::CutFromStore { node: of, .. }
            | Fault::Drain { node: of }
            | Fault::Crash { node: of } => *of == node,
            Fault::Stall { .. } | Fault::LosesAnswers { .. } | Fault::Outage { .. } => true,
            Fault::Restart { .. } | Fault::CutNodes { .. } => false,
        });
        let is_ready = |agent: &Agent| {
            agent.state == State::Confirmed
                && agent.is_acknowledged
                && !agent.has_refused
                && agent.was_busy_at < since
                && !agent.is_busy()
                && !agent.clients.iter().any(|client| {
                    client.sent_at >= since.saturating_sub(32 * S) && client.status == 408
                })
        };
        if is_troubled {
            return;
        }
        let knows = |agent: &Agent| agent.target == address(node) && agent.targeted_at >= since;
        let ready: Vec<(Side, bool)> = [caller, callee]
            .into_iter()
            .filter(|agent| is_ready(agent))
            .map(|agent| (agent.side, knows(agent)))
            .collect();
        for (side, knows) in ready {
            if knows {
                self.checks.refreshed += 1;
            } else {
                let what = format!("the {side:?} was not told in time where its call is");
                self.complain(Some(call), what);
            }
        }
    }

    /// Nobody sends requests within the dialogs of another node's call once it can know whose that is.
    pub(super) fn check_request(&mut self, lease: i64, at: u64, call_id: &str, method: &str) {
        let Some(id) = self.uuids.get(call_id).copied() else { return };
        let node = self.lives[&lease].node;
        let since = match (self.store.rows.get(&id), self.store.calls.get(&id)) {
            (Some(row), _) if row.lease != lease => row.since,
            (None, Some(records)) if records.iter().all(|record| record.node != name(node)) => {
                // It is over; the record does not tell since when it was another's.
                at.saturating_sub(KNOWN_AFTER)
            }
            _ => return,
        };
        let is_troubled = |from: u64| self.was_troubled(from, at, |fault| is_of_store(fault, node));
        let thawed = self.troubles.iter().rev().find_map(|(fault, begun, ended)| match fault {
            Fault::Freeze { node: of, .. }
                if *of == node && ended - begun >= 1_300 * MS && *ended <= at && since < *ended =>
            {
                Some(*ended)
            }
            _ => None,
        });
        let could_know = match thawed {
            Some(thawed) => !is_troubled(thawed.saturating_sub(100 * MS)),
            None => {
                since + KNOWN_AFTER <= at
                    && !is_troubled(at - KNOWN_AFTER)
                    && !self.was_troubled(
                        at - KNOWN_AFTER,
                        at,
                        |fault| matches!(fault, Fault::Freeze { node: of, .. } if *of == node),
                    )
            }
        };
        if could_know {
            let call = self.call_of(id);
            let what = format!("{} sends {method} for a call that it has not", name(node));
            self.complain(call, what);
        }
    }

    pub(super) fn on_report(&mut self, report: &Report) {
        let (agent, what) = match report {
            Report::Ended { agent } => {
                (*agent, "a call was ended that nobody had hung up".to_owned())
            }
            Report::Unknown { agent, method } => {
                (*agent, format!("{method} within a call that is up was answered 481 or 408"))
            }
        };
        let call = self.agents[agent].call;
        let (Some(caller), Some(callee)) = self.pair(call) else { return };
        if caller.id != agent && callee.id != agent {
            // A carrier that was left, and has answered too late.
            return;
        }
        let is_hung_up = caller.has_hung_up || callee.has_hung_up;
        let was_up = caller.is_acknowledged && callee.is_acknowledged;
        let is_kept = self.uuids.contains_key(&caller.call_id);
        if is_hung_up || !was_up || !is_kept || self.was_cut {
            return;
        }
        self.complain(Some(call), what);
    }

    /// The world is over.
    pub(super) fn at_end(&mut self) {
        self.agents_have_ended();
        self.records_are_there();
        self.byes_are_answered();
        let left: Vec<Uuid> = self.store.rows.keys().copied().collect();
        for id in left {
            if self.has_heir(id) {
                let call = self.call_of(id);
                self.complain(call, format!("{id} is left in the store"));
            }
        }
        self.engines_rest();
    }

    /// Whether a node lives that may have a call which is left.
    fn has_heir(&self, id: Uuid) -> bool {
        let region = self.store.rows.get(&id).and_then(|row| row.region.clone());
        self.nodes
            .iter()
            .filter(|node| node.run.is_some())
            .any(|node| region.is_none() || node.region.is_none() || node.region == region)
    }

    fn agents_have_ended(&mut self) {
        for index in 0..self.agents.len() {
            let agent = &self.agents[index];
            if agent.state == State::Ended || self.is_lost(agent) {
                continue;
            }
            let what = format!("the {:?} was left {:?}", agent.side, agent.state);
            self.complain(Some(agent.call), what);
        }
    }

    /// A call that died with its node: it was not kept by then.
    fn is_lost(&self, agent: &Agent) -> bool {
        let (caller, _) = self.pair(agent.call);
        let Some(caller) = caller else { return true };
        let begun = self.checks.begun[agent.call];
        if self.checks.rang.contains(&caller.call_id) && self.cx.is_lossy {
            // Answered while the store was away: who took it could not know, where nobody had heard it ring.
            return true;
        }
        match self.uuids.get(&caller.call_id) {
            None => self.has_ended(begun),
            Some(id) => !self.store.calls.contains_key(id) && !self.has_heir(*id),
        }
    }

    /// A node's first run is over, or was stopped for so long that nothing is left of what was set up there.
    fn has_ended(&self, node: usize) -> bool {
        self.lives.values().any(|life| life.node == node && life.died_at.is_some())
    }

    fn records_are_there(&mut self) {
        let kept: Vec<Uuid> = self.store.ever_kept.keys().copied().collect();
        for id in kept {
            let count = self.store.calls.get(&id).map_or(0, Vec::len);
            if count != 1 && (count > 0 || self.has_heir(id)) {
                let call = self.call_of(id);
                self.complain(call, format!("a call that was kept has {count} records"));
            }
        }
        for call in 0..self.calls {
            let (Some(caller), _) = self.pair(call) else { continue };
            if self.has_ended(self.checks.begun[call]) || self.uuids.contains_key(&caller.call_id) {
                continue;
            }
            let call_id = caller.call_id.clone();
            let of_call = |record: &&super::store::Written| record.inbound_call_id == call_id;
            let count = self.store.calls.values().flatten().filter(of_call).count();
            let is_begun = caller.clients.first().is_some_and(|client| client.status != 408);
            if count != 1 && is_begun {
                self.complain(Some(call), format!("a call has {count} records"));
            }
        }
    }

    /// Where the node lived that it was sent to, and the call was kept.
    fn byes_are_answered(&mut self) {
        for index in 0..self.agents.len() {
            let agent = &self.agents[index];
            let Some(bye) = agent.clients.iter().find(|client| client.method == "BYE") else {
                continue;
            };
            let Some(node) = super::cx::node_at(bye.to) else { continue };
            let (from, to) = (bye.sent_at.saturating_sub(3 * S), bye.sent_at + 32 * S);
            let is_troubled = self.was_troubled(from, to, |fault| match fault {
                Fault::Crash { node: of }
                | Fault::Drain { node: of }
                | Fault::Freeze { node: of, .. }
                | Fault::CutFromPeers { node: of, .. }
                | Fault::CutFromStore { node: of, .. } => *of == node,
                Fault::CutNodes { .. }
                | Fault::Stall { .. }
                | Fault::LosesAnswers { .. }
                | Fault::Outage { .. } => true,
                Fault::Restart { .. } => false,
            });
            let is_up = agent.is_acknowledged && self.uuids.contains_key(&agent.call_id);
            if is_up && !is_troubled && bye.status != 200 && !agent.has_got_bye {
                let what = format!("the BYE of the {:?} was answered {}", agent.side, bye.status);
                self.complain(Some(agent.call), what);
            }
        }
    }

    fn engines_rest(&mut self) {
        let mut left = Vec::new();
        for run in self.nodes.iter().filter_map(|node| node.run.as_ref()) {
            let counters = run.engine.counters();
            for (what, count) in [
                ("calls_now", counters.calls_now),
                ("answered_now", counters.answered_now),
                ("client_transactions_now", counters.client_transactions_now),
                ("server_transactions_now", counters.server_transactions_now),
                ("strays_now", counters.strays_now),
                ("dialogs_now", counters.dialogs_now),
                ("timers_now", counters.timers_now),
                ("channels_now", counters.channels_now),
            ] {
                if count > 0 {
                    left.push(format!("{what} of {} is {count} at rest", name(run.node)));
                }
            }
        }
        left.into_iter().for_each(|what| self.complain(None, what));
    }
}

/// Whether it keeps a node and the store from each other.
fn is_of_store(fault: &Fault, node: usize) -> bool {
    match fault {
        Fault::CutFromStore { node: of, .. } => *of == node,
        Fault::Stall { .. } | Fault::LosesAnswers { .. } | Fault::Outage { .. } => true,
        Fault::Crash { .. }
        | Fault::Restart { .. }
        | Fault::Freeze { .. }
        | Fault::CutNodes { .. }
        | Fault::CutFromPeers { .. }
        | Fault::Drain { .. } => false,
    }
}

//! What must hold of whole calls once they are over, and of the engine once it is at rest.

use holdfast::call::{AttemptRecord, CallRecord, EndCause, EndedBy};
use holdfast::engine::Counters;

use super::checks::Checks;
use super::party::{Party, Side, State};

impl Checks {
    /// Nothing of any call is left, and the engine wants no more time.
    pub fn at_rest(&mut self, counters: Counters, is_asleep: bool) {
        let left = [
            ("calls_now", counters.calls_now),
            ("answered_now", counters.answered_now),
            ("client_transactions_now", counters.client_transactions_now),
            ("server_transactions_now", counters.server_transactions_now),
            ("strays_now", counters.strays_now),
            ("dialogs_now", counters.dialogs_now),
            ("timers_now", counters.timers_now),
            ("channels_now", counters.channels_now),
        ];
        for (name, count) in left.into_iter().filter(|(_, count)| *count > 0) {
            self.complain(None, format!("{name} is {count} at rest"));
        }
        if !is_asleep {
            self.complain(None, "the engine still waits for something at rest".to_owned());
        }
    }

    /// Every call has ended on both sides, and its record says what happened.
    pub fn calls_over(&mut self, parties: &[Party], records: &[CallRecord], calls: usize) {
        for party in parties {
            if party.state != State::Ended && !party.facts.is_vanished {
                let what = format!("agent {} was left {:?}", party.id, party.state);
                self.complain(Some(party.call), what);
            }
        }
        self.answers_are_ended();
        self.requests_are_answered();
        for call in 0..calls {
            let of_call: Vec<&Party> = parties.iter().filter(|party| party.call == call).collect();
            let Some(caller) = of_call.iter().find(|party| party.side == Side::Caller) else {
                continue;
            };
            self.finals_agree(caller);
            let record = records.iter().find(|record| record.inbound_call_id == caller.call_id);
            match record {
                Some(record) => self.record_agrees(record, caller, &of_call),
                None if self.reached_engine(caller) => {
                    self.complain(Some(call), "a call without a record".to_owned());
                }
                None => {}
            }
        }
    }

    /// Every 2xx of a carrier was acknowledged, and its dialog ended.
    fn answers_are_ended(&mut self) {
        let mut complaints = Vec::new();
        for leg in self.legs.values() {
            for ((tag, seq), answer) in leg.answers.iter().filter(|(_, answer)| !answer.is_too_late)
            {
                if !answer.is_acknowledged {
                    let what = format!("the 2xx of {tag} to INVITE {seq} was never acknowledged");
                    complaints.push((leg.call, what));
                }
                if !leg.byes.contains(tag) {
                    complaints.push((leg.call, format!("the dialog of {tag} was never ended")));
                }
            }
        }
        for (call, what) in complaints {
            self.complain(Some(call), what);
        }
    }

    /// Every request that reached the engine got a final response.
    fn requests_are_answered(&mut self) {
        let mut complaints = Vec::new();
        for leg in self.legs.values() {
            let unanswered = leg.received.iter().filter(|(_, method)| method != "ACK");
            for key in unanswered.filter(|key| !leg.finals.contains_key(*key)) {
                complaints.push((leg.call, format!("{} {} was never answered", key.1, key.0)));
            }
        }
        for (call, what) in complaints {
            self.complain(Some(call), what);
        }
    }

    /// The caller's INVITE had exactly one final response, and the caller got it.
    fn finals_agree(&mut self, caller: &Party) {
        let Some(leg) = self.legs.get(&caller.call_id) else { return };
        let key = (leg.first_branch.clone(), "INVITE".to_owned());
        let said = leg.finals.get(&key).cloned().unwrap_or_default();
        if said.len() != 1 && self.reached_engine(caller) {
            let what = format!("the caller's INVITE was answered by {said:?}");
            self.complain(Some(caller.call), what);
        }
        if caller.facts.finals != said && !caller.facts.is_vanished {
            let what = format!("the caller heard {:?}, not {said:?}", caller.facts.finals);
            self.complain(Some(caller.call), what);
        }
    }

    fn reached_engine(&self, caller: &Party) -> bool {
        self.legs.get(&caller.call_id).is_some_and(|leg| !leg.first_branch.is_empty())
    }

    fn record_agrees(&mut self, record: &CallRecord, caller: &Party, parties: &[&Party]) {
        let call = caller.call;
        let mut complaints = Vec::new();
        let tried = self.attempts.get(&call).cloned().unwrap_or_default();
        let recorded: Vec<String> =
            record.attempts.iter().map(|attempt| attempt.outbound_call_id.clone()).collect();
        if tried != recorded {
            complaints.push(format!("{recorded:?} are recorded as attempts, {tried:?} were made"));
        }
        let facts = &caller.facts;
        if let Some((status, _)) = facts.finals.first()
            && *status != record.status_code
        {
            let recorded = record.status_code;
            complaints.push(format!("the record says {recorded}, the caller heard {status}"));
        }
        let has_bye = |party: &&&Party| party.side == Side::Carrier && party.facts.has_sent_bye;
        let carrier_hung_up = parties.iter().any(|party| has_bye(&party));
        // Another one may have taken its place.
        let callers_hung_up =
            parties.iter().any(|party| party.side == Side::Caller && party.facts.has_sent_bye);
        let is_answered = (200..300).contains(&record.status_code);
        let agrees = match (record.end_cause, record.ended_by) {
            (EndCause::Completed, EndedBy::Caller) => {
                is_answered && (callers_hung_up || facts.has_cancelled)
            }
            (EndCause::Completed, EndedBy::Callee) => is_answered && carrier_hung_up,
            (EndCause::Cancelled, EndedBy::Caller) => {
                record.status_code == 487 && facts.has_cancelled
            }
            (EndCause::NoAck, EndedBy::Holdfast) => {
                is_answered && (caller.plan.never_acks || facts.is_vanished || is_torn(parties))
            }
            (EndCause::Failed, _) => record.status_code >= 300 && !facts.has_sent_bye,
            (EndCause::Refused, EndedBy::Holdfast) => {
                record.status_code >= 300 && record.attempts.is_empty()
            }
            (EndCause::Terminated, EndedBy::Holdfast) => is_answered,
            _ => false,
        };
        if !agrees {
            let (cause, by) = (record.end_cause, record.ended_by);
            complaints.push(format!("the record says {cause} by {by}, the agents know better"));
        }
        if is_answered && !facts.answer.is_empty() {
            complaints.extend(self.answer_agrees(record, caller, parties));
        }
        for what in complaints {
            self.complain(Some(call), what);
        }
    }

    /// The caller got the answer of the attempt that the record says was answered.
    fn answer_agrees(
        &self,
        record: &CallRecord,
        caller: &Party,
        parties: &[&Party],
    ) -> Option<String> {
        let is_first = |attempt: &&AttemptRecord| attempt.transferred_to.is_none();
        let answered = record.attempts.iter().rfind(is_first)?;
        let author = parties
            .iter()
            .find(|party| party.side == Side::Carrier && party.facts.answer == caller.facts.answer);
        let Some(author) = author else {
            return Some("the caller got an answer that no carrier gave".to_owned());
        };
        if author.call_id != answered.outbound_call_id {
            return Some("the caller got the answer of another attempt".to_owned());
        }
        let is_sent = self.legs.get(&caller.call_id).is_some_and(|leg| leg.has_answer_in_ack);
        let is_talking = author.facts.is_acknowledged && !is_torn(parties);
        if caller.plan.is_late_offer && is_sent && is_talking && author.facts.ack_body.is_empty() {
            return Some("the answer of the caller's ACK never reached the carrier".to_owned());
        }
        None
    }
}

/// Somebody went away, so that not everything could arrive.
fn is_torn(parties: &[&Party]) -> bool {
    parties.iter().any(|party| party.facts.is_vanished)
}

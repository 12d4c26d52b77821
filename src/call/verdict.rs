//! What an attempt's end means, and what the caller is told when no attempt is left.

use crate::carrier::{CarrierId, Class, Observation, Origin, RuleMatch, Stage, Tables};
use crate::health::Full;
use crate::sip::name_addr::{param, split_list};
use crate::sip::{HeaderName, Message};

/// How an attempt failed.
#[derive(Clone, Copy, Debug)]
pub enum Failure<'a> {
    /// The carrier's final response.
    Response(&'a Message),
    /// No response, or no ringing, in time.
    Timeout,
    /// The transport could not deliver.
    Transport,
}

/// What the caller will be told unless another attempt does better.
#[derive(Clone, Debug)]
pub struct FinalAnswer {
    /// Mapped, so that it does not make us look dead.
    pub status_code: u16,
    /// What the carrier, or our timer, really said.
    pub cause: u16,
    /// Its headers cross by the header policy.
    pub response: Option<Message>,
    rank: u8,
}

/// What an attempt's end says of its carrier, as far as the attempt after it may say otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blame {
    pub class: Class,
    /// What was counted as a failure, 0.0 to 1.0.
    pub weight: f32,
    /// Of the carrier's own final response.
    pub status_code: Option<u16>,
}

/// What two carriers count that fail alike: the number is bad, not they.
const ALIKE_WEIGHT: f32 = 0.2;

/// What a carrier counts that denied a number which another one reached: beyond doubt its own fault.
const DENIED_WEIGHT: f32 = 1.0;

/// How much the failures of two attempts for one call change in each other's light: of the earlier one, of the
/// later one, which is another carrier's.
///
/// Whoever completes a call that another failed shows that the number was good, even where the other had said that
/// there is no such number. Two that refuse it with one code show that it was not. A doubtful refusal is taken back
/// when the next one says that the number does not exist.
pub fn revise(earlier: &Blame, later: &Blame) -> (f32, f32) {
    let is_fault = |blame: &Blame| matches!(blame.class, Class::CarrierHard | Class::CarrierSoft);
    let is_reached = match later.class {
        Class::Answered => true,
        Class::Destination => !is_unallocated(later.status_code),
        Class::CarrierHard
        | Class::CarrierSoft
        | Class::Capacity
        | Class::Config
        | Class::PolicyBlock
        | Class::Caller => false,
    };
    if earlier.class == Class::Destination && is_unallocated(earlier.status_code) && is_reached {
        return (DENIED_WEIGHT, 0.0);
    }
    if !is_fault(earlier) || earlier.weight == 0.0 {
        return (0.0, 0.0);
    }
    match later.class {
        Class::Answered | Class::Destination if is_reached => (1.0 - earlier.weight, 0.0),
        Class::Answered | Class::Destination => match earlier.class {
            Class::CarrierSoft => (-earlier.weight, 0.0),
            _ => (0.0, 0.0),
        },
        Class::CarrierHard | Class::CarrierSoft => {
            let is_alike = later.status_code.is_some() && earlier.status_code == later.status_code;
            match is_alike && later.weight > 0.0 {
                // Never more than it counted: a third carrier weighs the second one again.
                true => (
                    (ALIKE_WEIGHT - earlier.weight).min(0.0),
                    (ALIKE_WEIGHT - later.weight).min(0.0),
                ),
                false => (0.0, 0.0),
            }
        }
        Class::Capacity | Class::Config | Class::PolicyBlock | Class::Caller => (0.0, 0.0),
    }
}

fn is_unallocated(status_code: Option<u16>) -> bool {
    matches!(status_code, Some(404 | 410 | 484 | 604))
}

/// Looks the rule up that speaks of this failure.
pub fn classify(
    tables: &Tables,
    carrier_id: CarrierId,
    stage: Stage,
    failure: Failure<'_>,
) -> RuleMatch {
    let response = match failure {
        Failure::Response(response) => Some(response),
        Failure::Timeout | Failure::Transport => None,
    };
    let header = |name: &str| response.and_then(|response| response.by_text(name));
    tables.failure_rules.classify(&Observation {
        carrier_id,
        origin: failure.origin(),
        stage,
        status_code: failure.status_code(),
        reason: response.map(Message::reason).unwrap_or_default(),
        q850_cause: response.and_then(q850_cause),
        header: &header,
    })
}

impl Failure<'_> {
    pub fn origin(&self) -> Origin {
        match self {
            Self::Response(_) => Origin::Remote,
            Self::Timeout => Origin::Timeout,
            Self::Transport => Origin::Transport,
        }
    }

    /// What a refusal for want of capacity says is full, by the words that carriers use.
    pub fn full(&self) -> Full {
        let reason = match self {
            Self::Response(response) => response.reason(),
            Self::Timeout | Self::Transport => b"",
        };
        let reason = String::from_utf8_lossy(reason).to_lowercase();
        let speaks_of = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        if speaks_of(&["channel", "concurrent", "simultaneous", "session"]) {
            Full::Channels
        } else if speaks_of(&["cps", "rate", "per second"]) {
            Full::Rate
        } else {
            Full::Unsaid
        }
    }

    /// RFC 3261 §8.1.3.1: a timeout counts as 408, a transport error as 503.
    pub fn status_code(&self) -> u16 {
        match self {
            Self::Response(response) => response.status_code(),
            Self::Timeout => 408,
            Self::Transport => 503,
        }
    }
}

impl FinalAnswer {
    pub fn new(failure: Failure<'_>, class: Class) -> Self {
        let cause = failure.status_code();
        let response = match failure {
            Failure::Response(response) => Some(response.clone()),
            Failure::Timeout | Failure::Transport => None,
        };
        let rank = rank(class, failure.origin());
        Self { status_code: mapped(failure.origin(), cause), cause, response, rank }
    }

    /// Keeps what says most about the called party: the last of the weightiest causes.
    pub fn better_of(kept: Option<Self>, new: Self) -> Self {
        match kept {
            Some(kept) if kept.rank > new.rank => kept,
            _ => new,
        }
    }
}

/// How much an end says about the called party; of several the weightiest is told, of equal ones the last.
pub fn rank(class: Class, origin: Origin) -> u8 {
    match (class, origin) {
        (_, Origin::Timeout | Origin::Transport) => 0,
        (Class::CarrierHard, Origin::Remote) => 1,
        (Class::CarrierSoft | Class::Capacity | Class::Config, Origin::Remote) => 2,
        (Class::Answered | Class::Destination | Class::PolicyBlock | Class::Caller, _) => 3,
    }
}

/// A carrier's refusal of *us*, and its own trouble, become a 502; silence becomes a 504: a
/// platform that hunts goes on after both, and neither says that we are overloaded.
pub fn mapped(origin: Origin, status_code: u16) -> u16 {
    match origin {
        Origin::Timeout => 504,
        Origin::Transport => 502,
        Origin::Remote => match status_code {
            300..400 | 401 | 403 | 407 | 503 => 502,
            408 => 504,
            // Nobody cancelled: the callee's side lost the call.
            487 => 480,
            // These speak of our request on that leg, not of the caller's.
            400 | 405 | 420 | 421 | 422 | 481 | 482 | 483 | 491 | 493 | 494 => 502,
            other => other,
        },
    }
}

/// The cause of `Reason: Q.850;cause=16` (RFC 3326 §2).
fn q850_cause(response: &Message) -> Option<u8> {
    response.all(HeaderName::Reason).flat_map(|header| split_list(header.value)).find_map(|value| {
        let (protocol, params) = value.split_at(value.iter().position(|octet| *octet == b';')?);
        if !protocol.trim_ascii().eq_ignore_ascii_case(b"Q.850") {
            return None;
        }
        std::str::from_utf8(param(params, "cause")?).ok()?.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;
    use crate::carrier::rows::{CarrierRow, FailureRuleRow};
    use crate::carrier::seed::seed_rules;
    use crate::carrier::{Action, Rows, packs};

    #[test]
    fn never_tells_the_caller_what_would_make_us_look_dead_or_ask_for_our_password() {
        for (carrier_said, caller_hears) in [
            (302, 502),
            (400, 502),
            (401, 502),
            (403, 502),
            (404, 404),
            (407, 502),
            (408, 504),
            (480, 480),
            (481, 502),
            (484, 484),
            (486, 486),
            (487, 480),
            (488, 488),
            (491, 502),
            (500, 500),
            (503, 502),
            (504, 504),
            (600, 600),
            (603, 603),
            (608, 608),
        ] {
            let response = response(carrier_said, "");
            let answer = FinalAnswer::new(Failure::Response(&response), Class::CarrierHard);
            assert_eq!((answer.cause, answer.status_code), (carrier_said, caller_hears));
        }
        assert_eq!(FinalAnswer::new(Failure::Timeout, Class::CarrierHard).status_code, 504);
        assert_eq!(FinalAnswer::new(Failure::Transport, Class::CarrierHard).status_code, 502);
    }

    #[test]
    fn judges_an_attempt_by_what_the_next_carrier_does_with_the_same_number() {
        let blame = |class, weight, status_code| Blame { class, weight, status_code };
        let hard = |code| blame(Class::CarrierHard, 0.5, Some(code));
        let soft = blame(Class::CarrierSoft, 0.5, Some(480));
        let answered = blame(Class::Answered, 0.0, Some(200));
        let busy = blame(Class::Destination, 0.0, Some(486));
        let unknown = blame(Class::Destination, 0.0, Some(404));
        let silent = blame(Class::CarrierHard, 1.0, None);
        assert_eq!(revise(&hard(503), &answered), (0.5, 0.0), "the number was good");
        assert_eq!(revise(&soft, &busy), (0.5, 0.0), "the callee was reached");
        assert_eq!(revise(&soft, &unknown), (-0.5, 0.0), "there is no such number");
        assert_eq!(revise(&hard(503), &unknown), (0.0, 0.0), "a 503 is no word on a number");
        assert_eq!(revise(&hard(500), &hard(500)), (0.2 - 0.5, 0.2 - 0.5), "both refuse it");
        assert_eq!(revise(&hard(500), &hard(503)), (0.0, 0.0));
        assert_eq!(revise(&silent, &silent), (0.0, 0.0), "silence says nothing of a number");
        assert_eq!(revise(&answered, &hard(503)), (0.0, 0.0));
        assert_eq!(revise(&busy, &answered), (0.0, 0.0), "it was not blamed");
        assert_eq!(revise(&unknown, &answered), (1.0, 0.0), "there was such a number");
        assert_eq!(revise(&unknown, &busy), (1.0, 0.0), "there was such a number");
        assert_eq!(revise(&unknown, &unknown), (0.0, 0.0), "they agree");
        let third = hard(500);
        let second = blame(Class::CarrierHard, ALIKE_WEIGHT, Some(500));
        assert_eq!(revise(&second, &third), (0.0, 0.2 - 0.5), "weighed already");
    }

    #[test]
    fn prefers_the_cause_that_speaks_of_the_called_party_then_the_later_one() {
        let not_found = response(404, "");
        let broken = response(500, "");
        let unavailable = response(503, "");
        let destination = FinalAnswer::new(Failure::Response(&not_found), Class::Destination);
        let first = FinalAnswer::new(Failure::Response(&broken), Class::CarrierHard);
        let second = FinalAnswer::new(Failure::Response(&unavailable), Class::CarrierHard);
        let silence = FinalAnswer::new(Failure::Timeout, Class::CarrierHard);
        let best = |answers: [&FinalAnswer; 3]| {
            answers
                .into_iter()
                .fold(None, |kept, new| Some(FinalAnswer::better_of(kept, new.clone())))
                .expect("three answers")
                .cause
        };
        assert_eq!(best([&destination, &first, &silence]), 404);
        assert_eq!(best([&first, &second, &silence]), 503);
        assert_eq!(best([&silence, &second, &first]), 500);
        assert_eq!(best([&silence, &silence, &silence]), 408);
    }

    #[test]
    fn reads_the_q850_cause_among_other_reasons() {
        for (line, cause) in [
            ("Reason: Q.850;cause=16;text=\"Terminated\"\r\n", Some(16)),
            ("Reason: SIP;cause=480, q.850 ; cause=34\r\n", Some(34)),
            ("Reason: SIP;cause=480\r\nReason: Q.850;cause=127\r\n", Some(127)),
            ("Reason: SIP;cause=16\r\n", None),
            ("Reason: Q.850;cause=999\r\n", None),
            ("Reason: Q.850\r\n", None),
            ("", None),
        ] {
            assert_eq!(q850_cause(&response(480, line)), cause, "{line}");
        }
    }

    #[derive(Debug, serde::Deserialize)]
    struct Vector {
        response: Vec<String>,
        rule: i64,
        class: Class,
        action: Action,
    }

    /// A pack's rules come with numbers from 1001, beside those that every store begins with.
    #[test]
    fn takes_each_vendors_words_by_the_rule_of_its_pack_that_is_for_them() {
        let vectors: BTreeMap<String, Vec<Vector>> =
            toml::from_str(include_str!("../carrier/packs/vectors.toml")).expect("vectors");
        for pack in packs::all() {
            let mut rows = Rows { failure_rules: seed_rules(), ..Rows::default() };
            rows.carriers.push(CarrierRow {
                carrier_id: 1,
                name: pack.name.to_owned(),
                probe_interval_ms: 0,
                ..CarrierRow::default()
            });
            let mut unseen: Vec<i64> = Vec::new();
            for (number, row) in (1..).zip(pack.rules_for(CarrierId(1))) {
                unseen.push(number);
                rows.failure_rules.push(FailureRuleRow { failure_rule_id: 1_000 + number, ..row });
            }
            let tables = Tables::check(rows, 1).expect("good rows");
            for vector in &vectors[pack.name] {
                let (start, lines) = vector.response.split_first().expect("a status line");
                let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
                let message = response_of(start, &lines);
                let seen = Failure::Response(&message);
                let found = classify(&tables, CarrierId(1), Stage::Trying, seen);
                let rule = found.rule_id.map_or(0, |id| id.0);
                let rule = (rule - 1_000).max(0);
                let found = (rule, found.class, found.action);
                assert_eq!(found, (vector.rule, vector.class, vector.action), "{vector:?}");
                unseen.retain(|number| *number != vector.rule);
            }
            assert_eq!(unseen, [0; 0], "{}: no response is for these", pack.name);
        }
    }

    fn response(status_code: u16, lines: &str) -> Message {
        response_of(&format!("SIP/2.0 {status_code} X"), lines)
    }

    fn response_of(start: &str, lines: &str) -> Message {
        let octets = format!(
            "{start}\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK0\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
             {lines}Content-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(octets)).expect("a response")
    }
}

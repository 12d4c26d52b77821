//! What an attempt's end means, and what the caller is told when no attempt is left.

use crate::carrier::{CarrierId, Class, Observation, Origin, RuleMatch, Stage, Tables};
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
        let rank = match (class, failure.origin()) {
            (_, Origin::Timeout | Origin::Transport) => 0,
            (Class::CarrierHard, Origin::Remote) => 1,
            (Class::CarrierSoft | Class::Capacity | Class::Config, Origin::Remote) => 2,
            (Class::Answered | Class::Destination | Class::PolicyBlock | Class::Caller, _) => 3,
        };
        Self { status_code: mapped(&failure), cause, response, rank }
    }

    /// Keeps what says most about the called party: the last of the weightiest causes.
    pub fn better_of(kept: Option<Self>, new: Self) -> Self {
        match kept {
            Some(kept) if kept.rank > new.rank => kept,
            _ => new,
        }
    }
}

/// A carrier's refusal of *us*, and its own trouble, become a 502; silence becomes a 504: a
/// platform that hunts goes on after both, and neither says that we are overloaded.
fn mapped(failure: &Failure<'_>) -> u16 {
    match failure {
        Failure::Timeout => 504,
        Failure::Transport => 502,
        Failure::Response(response) => match response.status_code() {
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

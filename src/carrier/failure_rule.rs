//! `failure_rules`: from what was seen at an attempt's end to a class and an action.

use std::fmt;
use std::sync::Arc;

use regex::bytes::Regex;

use super::{Action, CarrierId, Class, FailureRuleId, Origin, Stage};

/// One checked row. Every condition that is `Some` must hold.
#[derive(Clone, Debug)]
pub struct FailureRule {
    pub id: FailureRuleId,
    pub carrier_id: Option<CarrierId>,
    pub status: Option<StatusMatch>,
    pub reason: Option<Regex>,
    /// A header by name (any case); with a regex its value must match, without it must be there.
    pub header: Option<(Arc<str>, Option<Regex>)>,
    pub q850_cause: Option<u8>,
    pub origin: Option<Origin>,
    pub stage: Option<Stage>,
    pub class: Class,
    pub action: Action,
    pub weight: f32,
}

/// Which status codes a rule speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusMatch {
    Code(u16),
    /// The first digit: 5 for `5xx`.
    Class(u8),
}

/// What was seen at the end of an attempt.
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct Observation<'a> {
    pub carrier_id: CarrierId,
    pub origin: Origin,
    pub stage: Stage,
    /// The final response's code; 408 for our own timeouts, 503 for transport errors (RFC 3261 §8.1.3.1).
    pub status_code: u16,
    pub reason: &'a [u8],
    /// The cause of a `Reason: Q.850;cause=…` header.
    pub q850_cause: Option<u8>,
    /// Looks a header of the response up by name, in any case; the first one's value.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RuleMatch {
    /// `None` when no rule matched and the built-in default for the code's class was taken.
    pub rule_id: Option<FailureRuleId>,
    pub class: Class,
    pub action: Action,
    pub weight: f32,
}

/// All rules, most specific first.
///
/// The order: a carrier's own rules before general ones; then rules with a reason or header regex;
/// then with a Q.850 cause; then an exact code before a class of codes; then those with a stage or
/// origin; then the lowest id.
#[derive(Clone, Debug, Default)]
pub struct FailureRules {
    pub(super) rules: Vec<FailureRule>,
}

impl FailureRules {
    /// The most specific rule that matches, else the built-in default: 6xx and 4xx `destination`/`stop`,
    /// 5xx, timeouts and transport errors `carrier_hard`/`next_gateway` with weight 1.
    pub fn classify(&self, observation: &Observation<'_>) -> RuleMatch {
        let found = self.rules.iter().find(|rule| rule.matches(observation));
        match found {
            Some(rule) => RuleMatch {
                rule_id: Some(rule.id),
                class: rule.class,
                action: rule.action,
                weight: rule.weight,
            },
            None => default_for(observation),
        }
    }

    /// In the order in which they are tried.
    pub fn ids(&self) -> impl Iterator<Item = FailureRuleId> {
        self.rules.iter().map(|rule| rule.id)
    }

    /// What a rule says, for people; `None` where there is no such rule any more.
    pub fn text_of(&self, id: FailureRuleId) -> Option<String> {
        self.rules.iter().find(|rule| rule.id == id).map(ToString::to_string)
    }

    /// How much a rule counts; `None` where there is no such rule any more.
    pub fn weight_of(&self, id: FailureRuleId) -> Option<f32> {
        self.rules.iter().find(|rule| rule.id == id).map(|rule| rule.weight)
    }

    /// Sorts the rules into the documented order.
    pub fn new(mut rules: Vec<FailureRule>) -> Self {
        rules.sort_by_key(FailureRule::order);
        Self { rules }
    }
}

impl FailureRule {
    fn order(&self) -> (bool, bool, bool, u8, bool, i64) {
        let status = match self.status {
            Some(StatusMatch::Code(_)) => 0,
            Some(StatusMatch::Class(_)) => 1,
            None => 2,
        };
        (
            self.carrier_id.is_none(),
            self.reason.is_none() && self.header.is_none(),
            self.q850_cause.is_none(),
            status,
            self.stage.is_none() && self.origin.is_none(),
            self.id.0,
        )
    }

    fn matches(&self, seen: &Observation<'_>) -> bool {
        // A status is a response's: our own timeouts and the transport have none.
        let status_fits = match self.status {
            Some(_) if seen.origin != Origin::Remote => false,
            Some(StatusMatch::Code(code)) => code == seen.status_code,
            Some(StatusMatch::Class(class)) => u16::from(class) == seen.status_code / 100,
            None => true,
        };
        status_fits
            && self.carrier_id.is_none_or(|id| id == seen.carrier_id)
            && self.origin.is_none_or(|origin| origin == seen.origin)
            && self.stage.is_none_or(|stage| stage == seen.stage)
            && self.q850_cause.is_none_or(|cause| Some(cause) == seen.q850_cause)
            && self.reason.as_ref().is_none_or(|regex| regex.is_match(seen.reason))
            && self.header.as_ref().is_none_or(|(name, regex)| {
                (seen.header)(name)
                    .is_some_and(|value| regex.as_ref().is_none_or(|regex| regex.is_match(value)))
            })
    }
}

/// Its conditions in the words of the columns, then what it says:
/// `status 503, reason ~ "CPS" -> capacity, next_carrier`.
impl fmt::Display for FailureRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut conditions: Vec<String> = Vec::new();
        conditions.extend(self.carrier_id.map(|id| format!("carrier {id}")));
        conditions.extend(self.status.map(|status| match status {
            StatusMatch::Code(code) => format!("status {code}"),
            StatusMatch::Class(class) => format!("status {class}xx"),
        }));
        conditions.extend(self.reason.as_ref().map(|regex| format!("reason ~ \"{regex}\"")));
        conditions.extend(self.header.as_ref().map(|(name, regex)| match regex {
            Some(regex) => format!("header {name} ~ \"{regex}\""),
            None => format!("header {name}"),
        }));
        conditions.extend(self.q850_cause.map(|cause| format!("Q.850 cause {cause}")));
        conditions.extend(self.origin.map(|origin| format!("origin {origin}")));
        conditions.extend(self.stage.map(|stage| format!("stage {stage}")));
        if conditions.is_empty() {
            conditions.push("any end".to_owned());
        }
        write!(f, "{} -> {}, {}", conditions.join(", "), self.class, self.action)?;
        match self.class {
            Class::CarrierHard | Class::CarrierSoft => write!(f, ", weight {}", self.weight),
            Class::Answered
            | Class::Destination
            | Class::Capacity
            | Class::Config
            | Class::PolicyBlock
            | Class::Caller => Ok(()),
        }
    }
}

fn default_for(seen: &Observation<'_>) -> RuleMatch {
    let is_fault = seen.origin != Origin::Remote || (500..600).contains(&seen.status_code);
    let (class, action, weight) = match is_fault {
        true => (Class::CarrierHard, Action::NextGateway, 1.0),
        false => (Class::Destination, Action::Stop, 0.0),
    };
    RuleMatch { rule_id: None, class, action, weight }
}

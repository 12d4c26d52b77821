//! `failure_rules`: from what was seen at an attempt's end to a class and an action.

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusMatch {
    Code(u16),
    /// The first digit: 5 for `5xx`.
    Class(u8),
}

/// What was seen at the end of an attempt.
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
        let _ = observation;
        todo!()
    }
}

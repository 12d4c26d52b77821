//! Failure rules that are in force, but are never taken: hardly what an admin meant.

use super::failure_rule::{FailureRule, StatusMatch};
use super::{Origin, Refusal};

/// Rules that are compared at most, the most specific ones: each with all before it.
const MAX_COMPARED: usize = 2_000;

/// One for each rule that can never be taken; `rules` in the order in which they are tried.
pub(super) fn warnings(rules: &[FailureRule]) -> Vec<Refusal> {
    let mut warnings = Vec::new();
    for (index, rule) in rules.iter().take(MAX_COMPARED).enumerate() {
        let earlier = rules[..index].iter().find(|earlier| covers(earlier, rule));
        let reason = match earlier {
            _ if is_impossible(rule) => {
                "it is never taken: a status, a header or a Q.850 cause is a response's, whose origin \
                 is remote"
                    .to_owned()
            }
            None => continue,
            Some(earlier) => why_hidden(rule, earlier),
        };
        let (table, row) = ("failure_rules", rule.id.to_string());
        warnings.push(Refusal { table, row, column: "failure_rule_id", reason });
    }
    warnings
}

fn why_hidden(rule: &FailureRule, earlier: &FailureRule) -> String {
    let id = earlier.id;
    if !covers(rule, earlier) {
        return format!(
            "it is never taken: rule {id} holds wherever it does, and comes first; give it the higher \
             number, or change its conditions"
        );
    }
    match result(rule) == result(earlier) {
        true => format!("it says what rule {id} says; disable one of them"),
        false => format!(
            "rule {id} has the same conditions and is taken instead, with {} and {} where this one says \
             {} and {}; disable one of them",
            earlier.class, earlier.action, rule.class, rule.action
        ),
    }
}

fn result(rule: &FailureRule) -> (super::Class, super::Action, u32) {
    (rule.class, rule.action, rule.weight.to_bits())
}

/// Whether `general` matches whatever `special` matches, as far as can be told without looking into
/// regular expressions.
fn covers(general: &FailureRule, special: &FailureRule) -> bool {
    let status = match (general.status, special.status) {
        (None, _) => true,
        (Some(StatusMatch::Class(class)), Some(StatusMatch::Code(code))) => {
            u16::from(class) == code / 100
        }
        (own, other) => own == other,
    };
    let origin = match (general.origin, special.origin) {
        (None, _) => true,
        (Some(Origin::Remote), None) => is_response_only(special),
        (own, other) => own == other,
    };
    status
        && origin
        && covers_text(&general.reason, &special.reason)
        && general.header.as_ref().is_none_or(|(name, regex)| {
            special.header.as_ref().is_some_and(|(other_name, other_regex)| {
                name.eq_ignore_ascii_case(other_name) && covers_text(regex, other_regex)
            })
        })
        && general.carrier_id.is_none_or(|id| Some(id) == special.carrier_id)
        && general.q850_cause.is_none_or(|cause| Some(cause) == special.q850_cause)
        && general.stage.is_none_or(|stage| Some(stage) == special.stage)
}

fn covers_text(
    general: &Option<regex::bytes::Regex>,
    special: &Option<regex::bytes::Regex>,
) -> bool {
    let special = special.as_ref().map(regex::bytes::Regex::as_str);
    general.as_ref().is_none_or(|general| Some(general.as_str()) == special)
}

/// Only a response has these.
fn is_response_only(rule: &FailureRule) -> bool {
    rule.status.is_some() || rule.header.is_some() || rule.q850_cause.is_some()
}

fn is_impossible(rule: &FailureRule) -> bool {
    is_response_only(rule) && rule.origin.is_some_and(|origin| origin != Origin::Remote)
}

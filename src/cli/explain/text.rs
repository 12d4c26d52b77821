//! An explanation in lines for people.

use std::fmt::Write;

use super::explanation::{Attempt, Explanation, Told};
use crate::carrier::{Action, Class, Origin, Strategy};
use crate::cli::moment;
use crate::health::Reachability;
use crate::routing::{CandidateRecord, DecisionRecord, Drop, DroppedRecord, HealthRecord};

pub(super) fn of(explanation: &Explanation) -> String {
    let mut lines = Vec::new();
    heading(explanation, &mut lines);
    asked(explanation, &mut lines);
    if let Some(decision) = &explanation.decision {
        candidates(explanation, decision, &mut lines);
        left_out(decision, &mut lines);
    }
    attempts(explanation, &mut lines);
    outcome(explanation, &mut lines);
    lines.join("\n")
}

fn heading(explanation: &Explanation, lines: &mut Vec<String>) {
    if let Some(call) = &explanation.call {
        let at = moment::text(call.started_at);
        lines.push(format!("Call {} of {at}, on node {}.", call.call_id, call.node));
        lines.push(format!("Its Call-ID is {}.", call.inbound_call_id));
        match call.others {
            0 => {}
            1 => lines.push("An earlier call has the same Call-ID.".to_owned()),
            others => lines.push(format!("{others} earlier calls have the same Call-ID.")),
        }
    }
    if let Some(dry_run) = &explanation.dry_run {
        lines.push(
            "A dry run: no call is placed. The tables are those in the store now.".to_owned(),
        );
        lines.push(match dry_run.at {
            Some(at) => format!(
                "Health is that of {}, made from the {} attempts and {} probes of the quarter of an hour before.",
                moment::text(at),
                dry_run.attempts,
                dry_run.probes
            ),
            None => format!(
                "Health is what node {} saved last, or another node where it knows nothing.",
                dry_run.node
            ),
        });
    }
}

fn asked(explanation: &Explanation, lines: &mut Vec<String>) {
    let asked = &explanation.asked;
    let who = match (&asked.customer, asked.customer_id) {
        (Some(name), Some(id)) => format!("Customer {name} ({id})"),
        (Some(name), None) => format!("Customer {name}"),
        (None, Some(id)) => format!("Customer {id}"),
        (None, None) => "Nobody we know".to_owned(),
    };
    let at = match &explanation.call {
        Some(call) => format!(" at {}", call.source),
        None => String::new(),
    };
    let from = match asked.calling.as_str() {
        "" => String::new(),
        calling => format!(" from {calling}"),
    };
    let country = asked.country.map(|code| format!(" (country code {code})")).unwrap_or_default();
    lines.push(String::new());
    lines.push(format!("{who}{at} calls {}{country}{from}.", asked.called));
    let decision = explanation.decision.as_ref();
    if let Some(route_id) = asked.route_id {
        let prefix = match decision.and_then(|decision| decision.called_prefix.as_deref()) {
            Some("") => ", for any number".to_owned(),
            Some(prefix) => format!(", for numbers that begin with {prefix}"),
            None => String::new(),
        };
        let region = match &asked.region {
            Some(region) => format!(" The call must stay in region {region}."),
            None => " Any region will do.".to_owned(),
        };
        lines.push(format!("Route {route_id} takes it{prefix}.{region}"));
        if let Some(number) = decision.and_then(|decision| decision.routing_number.as_deref()) {
            lines.push(format!("The number is to be reached by the routing number {number}."));
        }
    }
}

fn candidates(explanation: &Explanation, decision: &DecisionRecord, lines: &mut Vec<String>) {
    lines.push(String::new());
    if decision.candidates.is_empty() {
        lines.push("There was no candidate.".to_owned());
        return;
    }
    if decision.is_panic {
        lines.push(
            "Nothing of the route could be used: the least bad are tried all the same.".to_owned(),
        );
    }
    let order = match decision.strategy {
        Some(Strategy::Healthiest) => "the best draw of a tier first",
        Some(Strategy::Weighted) => "by weight within a tier",
        Some(Strategy::LeastCost) => "the cheapest of a tier first",
        Some(Strategy::Priority) => "the heaviest of a tier first",
        None => "best first",
    };
    let strategy = decision.strategy.map_or("?", Strategy::as_str);
    let version = match explanation.call {
        Some(_) => format!("tables version {}, ", decision.tables_version),
        None => String::new(),
    };
    lines.push(format!(
        "Candidates in their order ({version}strategy {strategy}: {order}; seed {}):",
        decision.seed
    ));
    for (number, candidate) in (1..).zip(&decision.candidates) {
        lines.push(format!("  {number}. {}", candidate_line(candidate, decision.country)));
    }
    match decision.candidates_beyond {
        0 => {}
        beyond => lines.push(format!("  and {beyond} more that no attempt would come to")),
    }
}

fn candidate_line(candidate: &CandidateRecord, country: Option<u16>) -> String {
    let mut line = format!(
        "{} of {} at {}, tier {}: {}",
        candidate.gateway,
        candidate.carrier,
        candidate.address,
        candidate.priority,
        health(&candidate.health)
    );
    if candidate.destination_factor < 1.0 {
        let country = country.map(|code| code.to_string()).unwrap_or("?".to_owned());
        let factor = candidate.destination_factor;
        let _ = write!(line, "; {factor:.2} times that for country {country}");
    }
    if candidate.latency_factor < 1.0 {
        let _ = write!(line, "; {:.2} times that for being slow", candidate.latency_factor);
    }
    if candidate.headroom < 1.0 {
        let _ = write!(line, "; {:.0} % of its limits free", 100.0 * candidate.headroom);
    }
    let _ = write!(line, "; drew {:.3}", candidate.score);
    line
}

fn health(health: &HealthRecord) -> String {
    let state = match health.reachability {
        Reachability::Unknown => "never seen",
        Reachability::Up => "up",
        Reachability::Suspect => "suspect",
        Reachability::Down => "down",
        Reachability::HalfOpen => "half open",
    };
    let mut text = format!("{state}, {:.1} %", 100.0 * (1.0 - health.failure_rate));
    if health.deviation > 0.0 {
        let _ = write!(text, " ± {:.1} %", 100.0 * health.deviation);
    }
    text.push_str(" sure to do its work");
    if health.ramp < 1.0 {
        let _ = write!(text, ", gets {:.0} % of its calls back", 100.0 * health.ramp);
    }
    if let Some(latency_ms) = health.latency_ms {
        let _ = write!(text, ", responds in {latency_ms:.0} ms");
    }
    if let Some(ringing_ms) = health.ringing_ms {
        let _ = write!(text, ", rings in {ringing_ms:.0} ms");
    }
    text
}

fn left_out(decision: &DecisionRecord, lines: &mut Vec<String>) {
    if decision.dropped.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(match decision.is_panic {
        true => "Not to be used otherwise:".to_owned(),
        false => "Left out:".to_owned(),
    });
    for dropped in &decision.dropped {
        lines.push(format!("  - {}", dropped_line(dropped, decision.region.as_deref())));
    }
    match decision.dropped_beyond {
        0 => {}
        beyond => lines.push(format!("  - and {beyond} more")),
    }
}

fn dropped_line(dropped: &DroppedRecord, region: Option<&str>) -> String {
    let of = match dropped.carrier.as_str() {
        "" => String::new(),
        carrier => format!(" of {carrier}"),
    };
    let at = dropped.address.map(|address| format!(" at {address}")).unwrap_or_default();
    let why = match dropped.reason {
        Drop::CarrierDisabled => "its carrier is disabled".to_owned(),
        Drop::GatewayOff => "its admin_state is off".to_owned(),
        Drop::GatewayDraining => "its admin_state is draining".to_owned(),
        Drop::Region => format!("it is not in region {}", region.unwrap_or("?")),
        Drop::OutOfHours => "its carrier takes no calls of this route at that hour".to_owned(),
        Drop::Media => "it does not take the media offered, or asked for".to_owned(),
        Drop::Codec => "it takes none of the codecs offered".to_owned(),
        Drop::Held => "its carrier had too many errors in a row for its group".to_owned(),
        Drop::Unresolved => "no address of its host name is known".to_owned(),
        Drop::Down => "it is down".to_owned(),
        Drop::Ejected => "it answers, but too many of its calls failed".to_owned(),
        Drop::HalfOpenBusy => "it is half open, and has its one call already".to_owned(),
        Drop::Capacity => "it had as many calls as its limits, or its carrier's, allow".to_owned(),
        Drop::RetryAfter => "it asked to be left alone for a while (Retry-After)".to_owned(),
        Drop::NotSecure => "the call must go by TLS, and it is not reached so".to_owned(),
        Drop::NotRegistered => "we are registered with another address of it".to_owned(),
        Drop::NoListener => "no listener of ours reaches its address".to_owned(),
    };
    let known = match &dropped.health {
        Some(known) => format!(" ({})", health(known)),
        None => String::new(),
    };
    format!("{}{of}{at}: {why}{known}", dropped.gateway)
}

fn attempts(explanation: &Explanation, lines: &mut Vec<String>) {
    if explanation.attempts.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push("Attempts:".to_owned());
    let count = explanation.attempts.len();
    for (number, attempt) in (1..).zip(&explanation.attempts) {
        lines.push(format!(
            "  {number}. {} of {} at {}, {} ms after the call came (Call-ID {})",
            attempt.gateway,
            attempt.carrier,
            attempt.address,
            attempt.started_ms,
            attempt.outbound_call_id
        ));
        if let Some(called) = &attempt.transferred_to {
            lines.push(format!("     The call was to be transferred to {called}."));
        }
        lines.push(format!("     {}", timings(attempt)));
        if attempt.class != Some(Class::Answered) {
            lines.push(format!("     {}", judged(attempt)));
            lines.push(format!("     {}", followed(attempt, number == count)));
        }
        if attempt.late_answer {
            lines.push(
                "     It was answered after it had been left; that answer was hung up at once."
                    .to_owned(),
            );
        }
    }
}

fn timings(attempt: &Attempt) -> String {
    let first = match attempt.trying_ms {
        Some(ms) => format!("first response after {ms} ms, "),
        None => String::new(),
    };
    let ringing = match attempt.ringing_ms {
        Some(ms) if ms < attempt.ended_ms => format!("ringing after {ms} ms, "),
        Some(_) | None => String::new(),
    };
    let (ended_ms, code, reason) = (attempt.ended_ms, attempt.status_code, &attempt.reason);
    let end = match (attempt.class, attempt.origin) {
        (Some(Class::Answered), _) => format!("answered with {code} after {ended_ms} ms"),
        (Some(Class::Caller), _) => format!("given up after {ended_ms} ms: {reason}"),
        (_, Some(Origin::Timeout)) => format!("left after {ended_ms} ms: {reason}"),
        (_, Some(Origin::Transport)) => {
            format!("undeliverable after {ended_ms} ms: {reason}")
        }
        (_, Some(Origin::Remote) | None) => format!("{code} \"{reason}\" after {ended_ms} ms"),
    };
    sentence(&format!("{first}{ringing}{end}."))
}

fn judged(attempt: &Attempt) -> String {
    let meaning = match attempt.class {
        Some(Class::Answered | Class::Destination) => "the carrier did its work",
        Some(Class::CarrierHard) => "the carrier's fault",
        Some(Class::CarrierSoft) => "probably the carrier's fault",
        Some(Class::Capacity) => "the carrier is full, which says nothing of its health",
        Some(Class::Config) => {
            "our account or settings with the carrier, which somebody must look at"
        }
        Some(Class::PolicyBlock) => "a policy forbids the call, which no other carrier may evade",
        Some(Class::Caller) => {
            return "The caller's doing: it says nothing of the carrier.".to_owned();
        }
        None => "a class that this version does not know",
    };
    let counted = match attempt.weight {
        Some(weight) if weight > 0.0 => format!(", counted {weight}"),
        Some(_) | None => String::new(),
    };
    let by = match (attempt.failure_rule_id, &attempt.failure_rule) {
        (Some(id), Some(words)) if attempt.is_quoted_from_now => {
            format!("Rule {id} judged it (as it reads now): {words}")
        }
        (Some(id), Some(words)) => format!("Rule {id} judged it: {words}"),
        (Some(id), None) => format!("Rule {id} judged it, which is no more"),
        (None, _) => {
            let class = attempt.class.map_or("?", Class::as_str);
            let action = attempt.action.map_or("?", Action::as_str);
            format!("No rule fitted; the default for its kind: {class}, {action}")
        }
    };
    format!("{by}; that is {meaning}{counted}.")
}

fn followed(attempt: &Attempt, is_last: bool) -> String {
    let text = match (attempt.action, is_last) {
        (_, true) if attempt.class == Some(Class::Caller) => "No attempt followed.",
        (Some(Action::Stop), true) => "So no other was tried.",
        (Some(Action::VerifyOnce), true) => "No other carrier was asked to make sure.",
        (_, true) => "Another might have followed, but none was left, or it had rung already.",
        (Some(Action::NextGateway), false) => "So the next gateway was tried.",
        (Some(Action::NextCarrier), false) => "So the next carrier was tried.",
        (Some(Action::NextCarrierOnce), false) => "So one other carrier was tried.",
        (Some(Action::VerifyOnce), false) => "So one other carrier was asked, to make sure.",
        (Some(Action::Stop) | None, false) => "Another attempt followed.",
    };
    text.to_owned()
}

fn outcome(explanation: &Explanation, lines: &mut Vec<String>) {
    lines.push(String::new());
    if let Some(told) = &explanation.told {
        match explanation.call {
            Some(_) => lines.extend(told_lines(told, &explanation.attempts)),
            None => {
                let Told { status_code, detail, .. } = told;
                lines.push(format!("The caller would be told {status_code}: {detail}."));
            }
        }
        return;
    }
    let first = explanation.decision.as_ref().and_then(|decision| decision.candidates.first());
    if let Some(first) = first {
        let CandidateRecord { gateway, carrier, address, .. } = first;
        lines.push(format!("The first INVITE would go to {gateway} of {carrier} at {address}."));
    }
    if let Some(budget) = &explanation.budget {
        lines.push(format!(
            "The hunt may take {} attempts with {} carriers, and {} ms to the first ringing.",
            budget.max_attempts, budget.max_carriers, budget.setup_budget_ms
        ));
    }
}

fn told_lines(told: &Told, attempts: &[Attempt]) -> Vec<String> {
    let code = told.status_code;
    let after = |ms: Option<i64>| ms.map(|ms| format!(" after {ms} ms")).unwrap_or_default();
    let by = match told.ended_by.as_deref() {
        Some("caller") => "the caller",
        Some("callee") => "the called side",
        _ => "Holdfast",
    };
    let mut lines = Vec::new();
    if let Some(talk_ms) = told.talk_ms {
        let number = told.by_attempt.map(|n| format!(" by attempt {n}")).unwrap_or_default();
        lines.push(format!(
            "The caller was told {code}{}: it was answered{number}.",
            after(told.answered_ms)
        ));
        let talk = format!("{}.{:03} s", talk_ms / 1_000, talk_ms % 1_000);
        lines.push(match told.end_cause.as_deref() {
            Some("completed") => format!("They talked for {talk}, until {by} hung up."),
            Some("no_ack") => {
                format!("The caller never acknowledged; the call was ended after {talk}.")
            }
            _ => format!("The call was ended by {by} after {talk}."),
        });
    } else {
        let ended = after(told.ended_ms);
        lines.push(match (told.end_cause.as_deref(), told.by_attempt) {
            (Some("cancelled"), _) => format!("The caller gave up{ended}, and was told {code}."),
            (Some("refused"), _) => format!("The caller was told {code} at once."),
            (_, Some(number)) => {
                let why = why_told(told, number, &attempts[number - 1], attempts.len());
                format!("The caller was told {code}{ended}: {why}.")
            }
            (_, None) => format!("The caller was told {code}{ended}."),
        });
    }
    if !told.detail.is_empty() {
        lines.push(format!("Why: {}.", told.detail));
    }
    lines
}

fn why_told(told: &Told, number: usize, attempt: &Attempt, count: usize) -> String {
    let which = match count {
        1 => "that is how its attempt ended".to_owned(),
        _ => format!(
            "attempt {number} says most about the called party, or came last of those that do"
        ),
    };
    if attempt.status_code == told.status_code {
        return which;
    }
    let meant = match attempt.origin {
        Some(Origin::Timeout) => "silence is told as a 504".to_owned(),
        Some(Origin::Transport) => "an unreachable carrier is told as a 502".to_owned(),
        Some(Origin::Remote) | None => format!(
            "a carrier's {} speaks of us or of itself, so it is told as a {}",
            attempt.status_code, told.status_code
        ),
    };
    format!("{which}; {meant}, with the real cause in its Reason header")
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}

//! What there is to say of a call, or of a dry run, before it becomes text or JSON.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::call::verdict;
use crate::carrier::rows::FailureRuleRow;
use crate::carrier::{Action, Class, Customer, Origin, Rows, Stage, Tables};
use crate::routing::{DecisionRecord, NoWay, Plan};
use crate::store::record::{StoredAttempt, StoredCall};

/// Why a call went where it went, or would go.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Explanation {
    /// `None` in a dry run.
    pub(super) call: Option<Recorded>,
    pub(super) dry_run: Option<DryRun>,
    pub(super) asked: Asked,
    /// `None` when none was made (unknown caller, no route, draining).
    pub(super) decision: Option<DecisionRecord>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) told: Option<Told>,
    /// Of a dry run that found a way.
    pub(super) budget: Option<Budget>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Recorded {
    pub(super) call_id: Uuid,
    pub(super) node: String,
    pub(super) inbound_call_id: String,
    pub(super) source: SocketAddr,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) started_at: OffsetDateTime,
    /// Earlier calls with the same Call-ID.
    pub(super) others: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct DryRun {
    /// `None` = now.
    #[serde(with = "time::serde::rfc3339::option")]
    pub(super) at: Option<OffsetDateTime>,
    pub(super) node: String,
    pub(super) seed: u64,
    /// Attempts and probes of the quarter of an hour before.
    pub(super) attempts: usize,
    pub(super) probes: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Asked {
    pub(super) customer_id: Option<i64>,
    pub(super) customer: Option<String>,
    pub(super) calling: String,
    pub(super) called: String,
    pub(super) country: Option<u16>,
    pub(super) route_id: Option<i64>,
    pub(super) region: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Attempt {
    pub(super) carrier: String,
    pub(super) gateway: String,
    pub(super) address: SocketAddr,
    pub(super) outbound_call_id: String,
    /// Since the call came.
    pub(super) started_ms: i64,
    pub(super) trying_ms: Option<u32>,
    pub(super) ringing_ms: Option<u32>,
    pub(super) ended_ms: u32,
    pub(super) origin: Option<Origin>,
    pub(super) stage: Option<Stage>,
    pub(super) status_code: u16,
    pub(super) reason: String,
    pub(super) class: Option<Class>,
    pub(super) action: Option<Action>,
    /// How much it counted against the gateway.
    pub(super) weight: Option<f32>,
    pub(super) failure_rule_id: Option<i64>,
    pub(super) failure_rule: Option<String>,
    /// The rule is quoted as it is now; its words of then were not kept.
    pub(super) is_quoted_from_now: bool,
    pub(super) late_answer: bool,
    /// Whom it called for a transfer; `None` = whom the call was for.
    pub(super) transferred_to: Option<String>,
}

/// What the caller got.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Told {
    pub(super) status_code: u16,
    /// As `calls.end_cause`; `None` in a dry run.
    pub(super) end_cause: Option<String>,
    pub(super) ended_by: Option<String>,
    pub(super) detail: String,
    /// INVITE to the answer.
    pub(super) answered_ms: Option<i64>,
    /// INVITE to the end.
    pub(super) ended_ms: Option<i64>,
    pub(super) talk_ms: Option<i64>,
    /// The attempt, from 1, whose end was told.
    pub(super) by_attempt: Option<usize>,
}

/// How far a hunt may go.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Budget {
    pub(super) max_attempts: u8,
    pub(super) max_carriers: u8,
    pub(super) setup_budget_ms: u128,
}

impl Explanation {
    /// `others`: earlier calls with the same Call-ID. `rules`: as they are now.
    pub(super) fn of_call(call: &StoredCall, others: usize, rules: &[FailureRuleRow]) -> Self {
        let decision: Option<DecisionRecord> =
            call.decision.as_ref().and_then(|json| json.read().ok());
        let since = |at: OffsetDateTime| milliseconds(at - call.started_at);
        let attempts: Vec<Attempt> =
            call.attempts.iter().map(|attempt| Attempt::new(call, attempt, rules)).collect();
        let told = Told {
            status_code: call.status_code,
            end_cause: Some(call.end_cause.clone()),
            ended_by: Some(call.ended_by.clone()),
            detail: call.detail.clone(),
            answered_ms: call.answered_at.map(since),
            ended_ms: Some(since(call.ended_at)),
            talk_ms: call.answered_at.map(|at| milliseconds(call.ended_at - at)),
            by_attempt: told_by(call, &attempts),
        };
        Self {
            call: Some(Recorded {
                call_id: call.call_id,
                node: call.node.clone(),
                inbound_call_id: call.inbound_call_id.clone(),
                source: SocketAddr::new(call.source_address.addr(), call.source_port),
                started_at: call.started_at,
                others,
            }),
            dry_run: None,
            asked: Asked {
                customer_id: call.customer_id,
                customer: call.customer.clone(),
                calling: call.calling.clone(),
                called: call.called.clone(),
                country: call.country.and_then(|code| u16::try_from(code).ok()),
                route_id: call.route_id,
                region: call.region.clone(),
            },
            decision,
            attempts,
            told: Some(told),
            budget: None,
        }
    }

    pub(super) fn of_dry_run(
        dry_run: DryRun,
        customer: &Customer,
        called: &str,
        calling: String,
        decided: Result<Arc<Plan>, Box<NoWay>>,
    ) -> Self {
        let (plan, told) = match decided {
            Ok(plan) => (Some(plan), None),
            Err(no_way) => {
                let told = Told {
                    status_code: no_way.status_code,
                    end_cause: None,
                    ended_by: None,
                    detail: no_way.detail,
                    answered_ms: None,
                    ended_ms: None,
                    talk_ms: None,
                    by_attempt: None,
                };
                (no_way.plan, Some(told))
            }
        };
        let route = plan.as_ref().map(|plan| &plan.route);
        let budget = route.filter(|_| told.is_none()).map(|route| Budget {
            max_attempts: route.max_attempts,
            max_carriers: route.max_carriers,
            setup_budget_ms: route.setup_budget.as_millis(),
        });
        Self {
            call: None,
            dry_run: Some(dry_run),
            asked: Asked {
                customer_id: Some(customer.id.0),
                customer: Some(customer.name.to_string()),
                calling,
                called: called.to_owned(),
                country: crate::carrier::number_rule::country_of(called),
                route_id: route.map(|route| route.id.0),
                region: plan.as_ref().and_then(|plan| plan.region.as_deref()).map(str::to_owned),
            },
            decision: plan.as_deref().map(DecisionRecord::from),
            attempts: Vec::new(),
            told,
            budget,
        }
    }
}

impl Attempt {
    fn new(call: &StoredCall, attempt: &StoredAttempt, rules: &[FailureRuleRow]) -> Self {
        let kept = attempt.failure_rule.clone();
        let now = || words_of(rules, attempt.failure_rule_id?);
        let is_quoted_from_now = kept.is_none() && attempt.failure_rule_id.is_some();
        Self {
            carrier: attempt.carrier.clone(),
            gateway: attempt.gateway.clone(),
            address: SocketAddr::new(attempt.address.addr(), attempt.port),
            outbound_call_id: attempt.outbound_call_id.clone(),
            started_ms: milliseconds(attempt.started_at - call.started_at),
            trying_ms: attempt.trying_ms,
            ringing_ms: attempt.ringing_ms,
            ended_ms: attempt.ended_ms,
            origin: Origin::from_text(&attempt.origin),
            stage: Stage::from_text(&attempt.stage),
            status_code: attempt.status_code,
            reason: attempt.reason.clone(),
            class: Class::from_text(&attempt.class),
            action: Action::from_text(&attempt.action),
            weight: attempt.weight,
            failure_rule_id: attempt.failure_rule_id,
            failure_rule: kept.or_else(now),
            is_quoted_from_now,
            late_answer: attempt.late_answer,
            transferred_to: attempt.transferred_to.clone(),
        }
    }
}

/// A rule as it is now, where it makes sense by itself.
fn words_of(rules: &[FailureRuleRow], id: i64) -> Option<String> {
    let row = rules.iter().find(|row| row.failure_rule_id == id)?;
    let mut alone = FailureRuleRow { carrier_id: None, enabled: true, ..row.clone() };
    let of_carrier = row.carrier_id.map(|id| format!("carrier {id}, ")).unwrap_or_default();
    alone.failure_rule_id = id;
    let rows = Rows { failure_rules: vec![alone], ..Rows::default() };
    let tables = Tables::check(rows, 1).ok()?;
    let words = tables.failure_rules.text_of(crate::carrier::FailureRuleId(id))?;
    Some(format!("{of_carrier}{words}"))
}

/// The attempt whose end the caller was told: the answer, else the last of those that say most.
fn told_by(call: &StoredCall, attempts: &[Attempt]) -> Option<usize> {
    let numbered = (1..).zip(attempts).filter(|(_, attempt)| attempt.transferred_to.is_none());
    if call.answered_at.is_some() {
        let answered = numbered.filter(|(_, attempt)| attempt.class == Some(Class::Answered));
        return answered.last().map(|(number, _)| number);
    }
    if call.end_cause != "failed" {
        return None;
    }
    let ranked = numbered.filter_map(|(number, attempt)| {
        let (class, origin) = attempt.class.zip(attempt.origin)?;
        let told = verdict::mapped(origin, attempt.status_code);
        Some((verdict::rank(class, origin), number, told))
    });
    let (_, number, told) = ranked.max()?;
    // A limit of the route may have had the last word.
    (told == call.status_code).then_some(number)
}

fn milliseconds(duration: time::Duration) -> i64 {
    i64::try_from(duration.whole_milliseconds()).unwrap_or(i64::MAX)
}

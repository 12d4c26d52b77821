//! What the store knows of the targets: as nodes have saved it, or rebuilt from what was on record at a time.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use time::OffsetDateTime;

use crate::call::verdict::{self, Blame};
use crate::carrier::{CarrierId, Class, FailureRuleId, GatewayId, Origin, Rows, Stage, Tables};
use crate::health::{Board, BoardSettings, Evidence, Outcome, SavedTarget, Target, View};
use crate::server::Settings;
use crate::store::Store;
use crate::store::history::MAX_ROWS;
use crate::store::record::{StoredAttempt, StoredCall, StoredProbe};

/// The longest that health looks back.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long before its end in the window a call may have begun.
const LONGEST_SETUP: Duration = Duration::from_secs(10 * 60);
/// Views of a board that is rebuilt follow each other in this time.
const VIEW_EVERY: Duration = Duration::from_millis(250);

/// The tables in force in the store, checked.
pub(super) struct Now {
    pub(super) rows: Rows,
    pub(super) tables: Tables,
    saved: Vec<(SavedTarget, Duration)>,
}

/// Health at a time, and what it was made from.
pub(super) struct Rebuilt {
    pub(super) view: Arc<View>,
    /// The same moment for the view's own times.
    pub(super) now: Instant,
    pub(super) attempts: usize,
    pub(super) probes: usize,
}

impl Now {
    pub(super) async fn read(store: &Store, settings: &Settings) -> anyhow::Result<Self> {
        let rows = store.read_rows().await?;
        let tables = match Tables::check(rows.clone(), 1) {
            Ok(tables) => tables,
            Err(refusals) => {
                refusals.iter().for_each(|refusal| eprintln!("refused: {refusal}"));
                bail!("the tables make no sense, so no router would take them");
            }
        };
        let saved = store.load_health(&settings.node_name).await?;
        Ok(Self { rows, tables, saved })
    }

    /// The addresses of all gateways, as far as they are written down or a node has resolved them.
    pub(super) fn targets(&self) -> Vec<Target> {
        self.targets_with(&[], &[])
    }

    /// Health as this node has saved it; of targets that it does not know, as another one did last.
    pub(super) async fn as_saved(
        &self,
        store: &Store,
        settings: &Settings,
    ) -> anyhow::Result<Rebuilt> {
        // How carriers do in single countries is not saved, but can be counted.
        let counted = self.as_of(store, settings, OffsetDateTime::now_utc()).await?;
        let now = Instant::now();
        let mut board = board(settings);
        board.set_targets(&self.tables, &self.targets(), now);
        board.restore(self.saved.clone(), now);
        board.handle_timeout(now);
        let view = board.poll_view(now).unwrap_or_default();
        let view = View::clone(&view).with_destinations(counted.view.destinations().clone());
        Ok(Rebuilt { view: Arc::new(view), now, ..counted })
    }

    /// Health as the attempts and probes of the quarter of an hour before made it. What is not on record (a
    /// Retry-After, a sign of life within a call) is not in it.
    pub(super) async fn as_of(
        &self,
        store: &Store,
        settings: &Settings,
        at: OffsetDateTime,
    ) -> anyhow::Result<Rebuilt> {
        let from = at - WINDOW;
        let calls = store.calls_between(from - LONGEST_SETUP, at, MAX_ROWS).await?;
        let probes = store.probes_between(from, at).await?;
        let mut events = Vec::new();
        for call in &calls {
            events.extend(outcomes_of_call(&self.tables, call));
        }
        let attempts = |(when, outcome): &&(OffsetDateTime, Outcome)| {
            (from..=at).contains(when) && matches!(outcome.evidence, Evidence::Attempt { .. })
        };
        let attempts = events.iter().filter(attempts).count();
        events.extend(probes.iter().filter_map(|probe| outcome_of_probe(&self.tables, probe)));
        events.retain(|(when, _)| (from..=at).contains(when));
        events.sort_by_key(|(when, _)| *when);

        let begun = Instant::now();
        let instant = |when: OffsetDateTime| {
            begun + Duration::try_from(when - from).expect("it is within the window")
        };
        let mut board = board(settings);
        board.set_targets(&self.tables, &self.targets_with(&calls, &probes), begun);
        let mut view = board.poll_view(begun).unwrap_or_default();
        let mut viewed = begun;
        for (when, outcome) in &events {
            let now = instant(*when);
            let_pass(&mut board, now);
            board.handle_outcome(outcome, now);
            if now - viewed >= VIEW_EVERY {
                viewed = now;
                view = board.poll_view(now).unwrap_or(view);
            }
        }
        let now = instant(at);
        let_pass(&mut board, now);
        view = board.poll_view(now).unwrap_or(view);
        Ok(Rebuilt { view, now, attempts, probes: probes.len() })
    }

    fn targets_with(&self, calls: &[StoredCall], probes: &[StoredProbe]) -> Vec<Target> {
        let target = |gateway_id, address| Target { gateway_id: GatewayId(gateway_id), address };
        let mut known: BTreeSet<Target> =
            self.saved.iter().map(|(saved, _)| saved.target).collect();
        let attempts = calls.iter().flat_map(|call| &call.attempts);
        known.extend(attempts.map(|attempt| target(attempt.gateway_id, address_of(attempt))));
        known.extend(probes.iter().map(|probe| {
            target(probe.gateway_id, SocketAddr::new(probe.address.addr(), probe.port))
        }));
        let mut targets = Vec::new();
        for gateway in self.tables.gateways() {
            match gateway.host.parse::<IpAddr>() {
                Ok(ip) => targets.push(target(gateway.id.0, SocketAddr::new(ip, gateway.port))),
                Err(_) => {
                    let own = |known: &&Target| known.gateway_id == gateway.id;
                    targets.extend(known.iter().filter(own));
                }
            }
        }
        targets
    }
}

fn board(settings: &Settings) -> Board {
    let node = settings.node_name.as_str().into();
    Board::new(BoardSettings { node, probe_timeout: settings.probe_timeout }, 1)
}

/// Lets the board do what it does by itself until `now`. Its probes go nowhere: their ends are on record.
fn let_pass(board: &mut Board, now: Instant) {
    while let Some(due) = board.poll_timeout().filter(|due| *due <= now) {
        board.handle_timeout(due);
        while board.poll_probe(due).is_some() {}
        if board.poll_timeout() == Some(due) {
            break;
        }
    }
    board.handle_timeout(now);
}

/// What the attempts of a call told the board, each at its time.
fn outcomes_of_call(tables: &Tables, call: &StoredCall) -> Vec<(OffsetDateTime, Outcome)> {
    let country = call.country.and_then(|code| u16::try_from(code).ok());
    let mut outcomes = Vec::new();
    let mut before: Option<(Target, CarrierId, Blame)> = None;
    for attempt in &call.attempts {
        let target =
            Target { gateway_id: GatewayId(attempt.gateway_id), address: address_of(attempt) };
        let carrier_id = CarrierId(attempt.carrier_id);
        let (Some(class), Some(stage), Some(origin)) = (
            Class::from_text(&attempt.class),
            Stage::from_text(&attempt.stage),
            Origin::from_text(&attempt.origin),
        ) else {
            continue;
        };
        let after = |ms: u32| attempt.started_at + Duration::from_millis(ms.into());
        let ended_at = after(attempt.ended_ms);
        let mut push = |when, target, carrier_id, evidence| {
            outcomes.push((when, Outcome { target, carrier_id, evidence }));
        };
        push(attempt.started_at, target, carrier_id, Evidence::AttemptStarted);
        if let Some(ms) = attempt.trying_ms.filter(|_| stage >= Stage::Trying) {
            push(after(ms), target, carrier_id, Evidence::Alive);
        }
        if let Some(ms) = attempt.ringing_ms.filter(|_| stage >= Stage::Ringing) {
            push(after(ms), target, carrier_id, Evidence::Ringing);
        }
        let status_code =
            (origin == Origin::Remote && class != Class::Caller).then_some(attempt.status_code);
        let weight = weight_of(tables, attempt, class);
        let delay = |ms: Option<u32>| ms.map(|ms| Duration::from_millis(ms.into()));
        let evidence = Evidence::Attempt {
            class,
            weight,
            status_code,
            retry_after: None,
            trying_delay: delay(attempt.trying_ms),
            ringing_delay: delay(attempt.ringing_ms),
            country,
        };
        push(ended_at, target, carrier_id, evidence);
        let blame = Blame { class, weight, status_code };
        if let Some((earlier, earlier_carrier, earlier_blame)) =
            before.replace((target, carrier_id, blame))
            && earlier_carrier != carrier_id
        {
            let (of_earlier, of_later) = verdict::revise(&earlier_blame, &blame);
            for (target, carrier_id, failures) in
                [(earlier, earlier_carrier, of_earlier), (target, carrier_id, of_later)]
            {
                if failures != 0.0 {
                    let evidence = Evidence::Revised { failures, country };
                    push(ended_at, target, carrier_id, evidence);
                }
            }
        }
    }
    outcomes
}

fn outcome_of_probe(tables: &Tables, probe: &StoredProbe) -> Option<(OffsetDateTime, Outcome)> {
    let gateway = tables.gateway(GatewayId(probe.gateway_id))?;
    let address = SocketAddr::new(probe.address.addr(), probe.port);
    let delay = Duration::try_from_secs_f64(probe.delay_ms / 1_000.0).unwrap_or_default();
    let outcome = Outcome {
        target: Target { gateway_id: gateway.id, address },
        carrier_id: gateway.carrier.id,
        evidence: Evidence::Probe { status_code: probe.status_code, delay },
    };
    Some((probe.ended_at, outcome))
}

/// As it was kept; else what its rule says now.
fn weight_of(tables: &Tables, attempt: &StoredAttempt, class: Class) -> f32 {
    let by_rule = || {
        let rule = FailureRuleId(attempt.failure_rule_id?);
        tables.failure_rules.weight_of(rule)
    };
    match class {
        Class::CarrierHard => attempt.weight.or_else(by_rule).unwrap_or(1.0),
        Class::CarrierSoft => attempt.weight.or_else(by_rule).unwrap_or(0.5),
        Class::Answered
        | Class::Destination
        | Class::Capacity
        | Class::Config
        | Class::PolicyBlock
        | Class::Caller => 0.0,
    }
}

fn address_of(attempt: &StoredAttempt) -> SocketAddr {
    SocketAddr::new(attempt.address.addr(), attempt.port)
}

//! `holdfast drill`: a game day. Breaks something of running nodes under calls of its own, and says what came of it.
//!
//! | file | holds |
//! |---|---|
//! | `flags.rs` | the command line, and the plan that it makes |
//! | `fault.rs` | breaking things, and mending them |
//! | `stage.rs` | callers, callees and the clock: the drill itself |
//! | `watch.rs` | what nodes show of themselves in the store meanwhile |
//! | `ledger.rs` | what both ends of every call have seen, and its sums |
//! | `figures.rs`, `hypothesis.rs`, `report.rs` | the sums, what was expected of them, and how they are told |

mod fault;
mod figures;
mod flags;
mod hypothesis;
mod ledger;
mod report;
mod stage;
mod watch;

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use uuid::Uuid;

pub(super) use flags::DrillCommand;

use crate::store::Store;
use crate::store::drills::{CLEAN, DrillRow};
use flags::Plan;
use ledger::Ms;
use report::{Earlier, Report};
use stage::Played;

/// Earlier drills in a report.
const EARLIER: u32 = 5;

pub(super) fn run(command: &DrillCommand) -> anyhow::Result<ExitCode> {
    let plan = command.plan()?;
    super::runtime()?.block_on(async {
        let store = match &plan.database_url {
            Some(url) => Some(open(url).await?),
            None => None,
        };
        if let (Some(store), true) = (&store, plan.prepare) {
            let made = store.execute(&[plan.tables().sql()]).await;
            made.context("cannot write the drill's rows")?;
        }
        let played = tokio::select! {
            played = stage::play(&plan, store.as_ref()) => played,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("broken off")),
        };
        // Whatever happened: what was broken is mended, and the rows go.
        let mended = plan.fault.mend().await;
        if let (Some(store), true) = (&store, plan.clean) {
            store.execute(&[CLEAN.to_owned()]).await.context("cannot remove the drill's rows")?;
        }
        let played = played?;
        mended.context("cannot undo the fault")?;
        let report = report_of(&plan, store.as_ref(), played).await?;
        println!("{}", report.markdown());
        if let Some(folder) = &plan.report {
            write_files(folder, &report)?;
        }
        Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// The store, once it is known to have the tables of this program.
async fn open(url: &str) -> anyhow::Result<Store> {
    let store = Store::open(url)?;
    let pending = store.pending_migrations().await?;
    anyhow::ensure!(
        pending.is_empty(),
        "the store lacks migrations {pending:?}; run `holdfast migrate`"
    );
    Ok(store)
}

/// Judges what was played, and keeps it in the store.
async fn report_of(plan: &Plan, store: Option<&Store>, played: Played) -> anyhow::Result<Report> {
    let Played { started_at, ended_at, fault_lasted_ms, timeline, figures } = played;
    let checks = plan.hypothesis.check(&figures);
    let mut report = Report {
        drill_id: new_id().to_string(),
        scenario: plan.scenario.to_owned(),
        started_at,
        ended_at,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        nodes: plan.nodes.iter().map(ToString::to_string).collect(),
        carriers: plan.carriers.iter().map(ToString::to_string).collect(),
        fault: plan.fault.to_string(),
        fault_lasted_ms,
        hypothesis: plan.hypothesis.to_string(),
        passed: checks.iter().all(|check| check.holds),
        checks,
        timeline,
        figures,
        earlier: Vec::new(),
    };
    if let Some(store) = store {
        let earlier = store.drills(plan.scenario, EARLIER).await?;
        report.earlier = earlier.into_iter().map(earlier_of).collect();
        store.write_drill(&row_of(&report)?).await.context("cannot keep the drill")?;
    }
    Ok(report)
}

fn earlier_of(row: DrillRow) -> Earlier {
    Earlier {
        started_at: row.started_at,
        version: row.version,
        passed: row.passed,
        in_flight: row.calls_in_flight,
        dropped: row.calls_dropped,
        offered: row.calls_offered,
        failed: row.calls_failed,
        detected_ms: row.detected_ms,
        decided_ms: row.decided_ms,
        recovered_ms: row.recovered_ms,
        delay_during_p99_ms: row.delay_during_p99_ms,
    }
}

fn row_of(report: &Report) -> anyhow::Result<DrillRow> {
    let figures = &report.figures;
    let count = |count: usize| Ms::try_from(count).unwrap_or(Ms::MAX);
    let of_records =
        |of: fn(&figures::Records) -> usize| figures.records.as_ref().map(of).map(count);
    Ok(DrillRow {
        drill_id: report.drill_id.parse()?,
        scenario: report.scenario.clone(),
        started_at: report.started_at,
        ended_at: report.ended_at,
        nodes: report.nodes.join(","),
        version: report.version.clone(),
        hypothesis: report.hypothesis.clone(),
        passed: report.passed,
        calls_in_flight: count(figures.in_flight),
        calls_dropped: count(figures.dropped.len()),
        calls_offered: count(figures.offered),
        calls_failed: count(figures.failed.len()),
        fails_for_ms: figures.fails_for_ms,
        detected_ms: figures.detected_ms,
        decided_ms: figures.decided_ms,
        recovered_ms: figures.recovered_ms,
        delay_before_p99_ms: figures.delay_before.p99_ms,
        delay_during_p99_ms: figures.delay_during.p99_ms,
        delay_after_p99_ms: figures.delay_after.p99_ms,
        calls_wrong_region: of_records(|records| records.wrong_region),
        records_lost: of_records(|records| records.lost.len()),
        records_doubled: of_records(|records| records.doubled.len()),
        report: serde_json::to_string(report)?,
    })
}

/// A UUID of version 7: those of later drills sort behind it.
fn new_id() -> Uuid {
    let mut random = [0; 10];
    getrandom::fill(&mut random).expect("the system gives random numbers");
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let ms = u64::try_from(since.as_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
}

fn write_files(folder: &Path, report: &Report) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let stem = format!("{}-{}", report.scenario, report.started_at.unix_timestamp());
    let json = serde_json::to_string_pretty(report)?;
    for (ending, text) in [("md", report.markdown()), ("json", json)] {
        let path = folder.join(format!("{stem}.{ending}"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("written: {}", path.display());
    }
    Ok(())
}

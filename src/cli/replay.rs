//! `holdfast replay`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::flags::SettingsFlags;
use super::moment::{self, Moment};
use super::past::Now;
use crate::health::Target;
use crate::routing::{Ask, DecisionRecord, ask};
use crate::server::Settings;
use crate::store::Store;
use crate::store::history::MAX_ROWS;
use crate::store::record::StoredCall;

/// Refused calls that are listed.
const MAX_LISTED: usize = 20;
/// Where a call went that went nowhere.
const REFUSED: &str = "(refused)";

#[derive(Clone, Debug, Args)]
pub(super) struct ReplayFlags {
    /// How many of the last calls are decided again
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ROWS)))]
    last: u32,
    /// All calls since then instead: 2026-01-31T23:59:59Z, or an age such as 10m
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, conflicts_with = "last")]
    since: Option<Moment>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "Settings")]
    settings: SettingsFlags,
}

pub(super) fn run(flags: &ReplayFlags) -> anyhow::Result<ExitCode> {
    let settings = flags.settings.raw().check()?;
    super::runtime()?.block_on(async {
        let store = super::explain::open(&settings).await?;
        let replay = replay(flags, &settings, &store).await?;
        store.close().await;
        match flags.json {
            true => println!("{}", serde_json::to_string_pretty(&replay)?),
            false => println!("{}", replay.text()),
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn replay(flags: &ReplayFlags, settings: &Settings, store: &Store) -> anyhow::Result<Replay> {
    let now = OffsetDateTime::now_utc();
    let (from, limit) = match flags.since {
        Some(since) => (since.before(now), MAX_ROWS),
        None => (OffsetDateTime::UNIX_EPOCH, flags.last),
    };
    let calls = store.calls_between(from, now, limit).await?;
    let tables = Now::read(store, settings).await?;
    Ok(Replay::new(&calls, &tables, settings))
}

/// Calls decided again.
#[derive(Debug, Serialize)]
pub(super) struct Replay {
    calls: usize,
    #[serde(with = "time::serde::rfc3339::option")]
    first: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    last: Option<OffsetDateTime>,
    /// Calls that we refused for ourselves: draining, or over a limit.
    skipped: usize,
    /// Calls that would go elsewhere first.
    moved: usize,
    carriers: Vec<Share>,
    /// Carried then, refused now; the newest first.
    refused_now: Vec<RefusedNow>,
    refused_now_count: usize,
}

/// Calls that a carrier got first.
#[derive(Debug, Default, Serialize)]
struct Share {
    carrier: String,
    then: i64,
    now: i64,
    difference: i64,
}

#[derive(Debug, Serialize)]
struct RefusedNow {
    call_id: Uuid,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    customer: Option<String>,
    called: String,
    status_code: u16,
    why: String,
}

impl Replay {
    fn new(calls: &[StoredCall], now: &Now, settings: &Settings) -> Self {
        let targets = now.targets();
        let mut shares: BTreeMap<String, Share> = BTreeMap::new();
        let mut replay = Self {
            calls: 0,
            first: calls.last().map(|call| call.started_at),
            last: calls.first().map(|call| call.started_at),
            skipped: 0,
            moved: 0,
            carriers: Vec::new(),
            refused_now: Vec::new(),
            refused_now_count: 0,
        };
        for call in calls {
            if call.status_code == 503 && call.end_cause == "refused" {
                replay.skipped += 1;
                continue;
            }
            replay.calls += 1;
            let then = call.attempts.first().map(|attempt| attempt.carrier.clone());
            let decided = decide_again(call, now, &targets, settings);
            let carrier = decided.as_ref().ok().cloned();
            replay.moved += usize::from(then != carrier);
            let name = |carrier: &Option<String>| carrier.clone().unwrap_or(REFUSED.to_owned());
            shares.entry(name(&then)).or_default().then += 1;
            shares.entry(name(&carrier)).or_default().now += 1;
            if let (Some(_), Err((status_code, why))) = (then, decided) {
                replay.refused_now_count += 1;
                if replay.refused_now.len() < MAX_LISTED {
                    replay.refused_now.push(RefusedNow {
                        call_id: call.call_id,
                        started_at: call.started_at,
                        customer: call.customer.clone(),
                        called: call.called.clone(),
                        status_code,
                        why,
                    });
                }
            }
        }
        let share = |(carrier, share): (String, Share)| Share {
            carrier,
            difference: share.now - share.then,
            ..share
        };
        replay.carriers = shares.into_iter().map(share).collect();
        // Whoever had most first; who was refused last.
        replay.carriers.sort_by_key(|share| (share.carrier == REFUSED, -share.then, -share.now));
        replay
    }

    fn text(&self) -> String {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return "There is no call on record in that time.".to_owned();
        };
        let mut lines = vec![
            format!(
                "{} of {} to {}, decided again with the tables as they are now:",
                count(self.calls, "call"),
                moment::text(first),
                moment::text(last)
            ),
            String::new(),
        ];
        let width = self.carriers.iter().map(|share| share.carrier.chars().count());
        let width = width.chain(["first carrier".len()]).max().unwrap_or_default();
        lines.push(format!(
            "{:width$} {:>9} {:>9} {:>11}",
            "first carrier", "then", "now", "difference"
        ));
        for share in &self.carriers {
            let Share { carrier, then, now, difference } = share;
            lines.push(format!("{carrier:width$} {then:>9} {now:>9} {difference:>+11}"));
        }
        lines.push(String::new());
        lines.push(match self.moved {
            0 => "Every call would go first where it went.".to_owned(),
            moved => format!("{} would go elsewhere first.", count(moved, "call")),
        });
        if self.skipped > 0 {
            let skipped = count(self.skipped, "call");
            lines.push(format!("Left out: {skipped} refused while draining or over a limit."));
        }
        if self.refused_now_count > 0 {
            let refused = count(self.refused_now_count, "call");
            lines.push(String::new());
            lines.push(format!("{refused} would be refused now:"));
        }
        for refused in &self.refused_now {
            let customer = refused.customer.as_deref().unwrap_or("nobody known");
            lines.push(format!(
                "  {}  {customer} to {}: {} {}  ({})",
                moment::text(refused.started_at),
                refused.called,
                refused.status_code,
                refused.why,
                refused.call_id
            ));
        }
        if let Some(more @ 1..) = self.refused_now_count.checked_sub(self.refused_now.len()) {
            lines.push(format!("  and {more} more"));
        }
        lines.join("\n")
    }
}

fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

/// The carrier that would get the call first; else the code and the cause of its refusal.
fn decide_again(
    call: &StoredCall,
    now: &Now,
    targets: &[Target],
    settings: &Settings,
) -> Result<String, (u16, String)> {
    let customer = now
        .tables
        .customer_at(call.source_address.addr())
        .ok_or_else(|| (403, "no customer has this address".to_owned()))?;
    let decision: Option<DecisionRecord> = call.decision.as_ref().and_then(|json| json.read().ok());
    // A call that was refused before any decision had no seed.
    let seed = decision.as_ref().map_or(call.call_id.as_u128() as u64, |decision| decision.seed);
    let instant = Instant::now();
    let decision = decision.unwrap_or_default();
    let view = decision.view(targets, instant);
    let wanted = Ask {
        customer,
        called: &call.called,
        routing_number: decision.routing_number.as_deref(),
        country: crate::carrier::number_rule::country_of(&call.called),
        wall: call.started_at.into(),
        // What was offered is not on record.
        audio: None,
        needs_tls: false,
        seed,
        reach: settings.reach(),
        headroom: &|_, gateway| decision.headroom(gateway.id),
        has_learned: true,
    };
    match ask(&now.tables, &view, &wanted, instant) {
        Ok(plan) => match plan.candidates.first() {
            Some(first) => Ok(first.carrier().name.to_string()),
            None => Err((480, "no gateway of the route has capacity".to_owned())),
        },
        Err(no_way) => Err((no_way.status_code, no_way.detail.clone())),
    }
}

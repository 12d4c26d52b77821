//! `holdfast explain`

mod explanation;
#[cfg(test)]
mod tests;
mod text;

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::Args;
use time::OffsetDateTime;

use self::explanation::{DryRun, Explanation};
use super::flags::SettingsFlags;
use super::moment::Moment;
use super::past::{Now, Rebuilt};
use crate::carrier::number_rule::country_of;
use crate::carrier::{CustomerId, Rows};
use crate::routing::{Ask, ask};
use crate::server::Settings;
use crate::store::Store;

#[derive(Clone, Debug, Args)]
#[command(after_help = "A dry run (--to, --customer) places no call.")]
pub(super) struct ExplainFlags {
    /// A call: its call_id in the records, or the Call-ID header of either of its legs
    #[arg(value_name = "CALL_ID", required_unless_present = "to", conflicts_with = "to")]
    call_id: Option<String>,
    /// Dry run: the called number, perhaps with `;rn=` and its routing number
    #[arg(long, value_name = "NUMBER", requires = "customer")]
    to: Option<String>,
    /// Dry run: who calls
    #[arg(long, value_name = "NAME_OR_ID", requires = "to")]
    customer: Option<String>,
    /// Dry run: the calling number
    #[arg(long, value_name = "NUMBER", requires = "to")]
    from: Option<String>,
    /// Dry run: with the health of that time, 2026-01-31T23:59:59Z, or of an age such as 10m ago
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, requires = "to")]
    at: Option<Moment>,
    /// Dry run: what random draws are made from; drawn where it is not given
    #[arg(long, value_name = "NUMBER", requires = "to")]
    seed: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "Settings")]
    settings: SettingsFlags,
}

pub(super) fn run(flags: &ExplainFlags) -> anyhow::Result<ExitCode> {
    let settings = flags.settings.raw().check()?;
    super::runtime()?.block_on(async {
        let store = open(&settings).await?;
        let explanation = match (&flags.call_id, &flags.to, &flags.customer) {
            (Some(call_id), _, _) => recorded(&store, call_id).await?,
            (None, Some(to), Some(customer)) => {
                dry_run(flags, &settings, &store, to, customer).await?
            }
            (None, _, _) => bail!("name a call, or give --to and --customer"),
        };
        store.close().await;
        match flags.json {
            true => println!("{}", serde_json::to_string_pretty(&explanation)?),
            false => println!("{}", text::of(&explanation)),
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The store, once it is known to have the tables of this program.
pub(super) async fn open(settings: &Settings) -> anyhow::Result<Store> {
    let store = Store::open(&settings.database_url)?;
    let pending = store.pending_migrations().await?;
    if !pending.is_empty() {
        bail!("the store lacks migrations {pending:?}; run `holdfast migrate`");
    }
    Ok(store)
}

async fn recorded(store: &Store, call_id: &str) -> anyhow::Result<Explanation> {
    let calls = store.find_calls(call_id).await?;
    let Some((call, others)) = calls.split_first() else {
        bail!(
            "no call on record has the number or Call-ID {call_id}; a call is on record once it has ended"
        );
    };
    // Rules that judged before their words were kept are quoted as they are now.
    let rows = store.read_rows().await?;
    Ok(Explanation::of_call(call, others.len(), &rows.failure_rules))
}

async fn dry_run(
    flags: &ExplainFlags,
    settings: &Settings,
    store: &Store,
    to: &str,
    customer: &str,
) -> anyhow::Result<Explanation> {
    let now = Now::read(store, settings).await?;
    let id = customer_id(&now.rows, customer)
        .with_context(|| format!("there is no customer {customer}"))?;
    let customer = now.tables.customer(id).context("the customer is not in the tables")?;
    let at = flags.at.map(|at| at.before(OffsetDateTime::now_utc()));
    let known: Rebuilt = match at {
        Some(at) if at > OffsetDateTime::now_utc() => bail!("--at lies in the future"),
        Some(at) => now.as_of(store, settings, at).await?,
        None => now.as_saved(store, settings).await?,
    };
    let seed = match flags.seed {
        Some(seed) => seed,
        None => getrandom::u64().context("the system gives no random number")?,
    };
    let mut parts = to.split(';');
    let called = parts.next().unwrap_or_default();
    let wanted = Ask {
        customer,
        called,
        routing_number: parts.find_map(|part| part.strip_prefix("rn=")),
        country: country_of(called),
        wall: at.map_or_else(SystemTime::now, SystemTime::from),
        // Nobody has offered anything yet.
        audio: None,
        needs_tls: false,
        seed,
        reach: settings.reach(),
        // What is in use of each limit is known to the shards alone.
        headroom: &|_, _| 1.0,
        has_learned: false,
    };
    let decided = ask(&now.tables, &known.view, &wanted, known.now);
    let dry_run = DryRun {
        at,
        node: settings.node_name.clone(),
        seed,
        attempts: known.attempts,
        probes: known.probes,
    };
    let calling = flags.from.clone().unwrap_or_default();
    Ok(Explanation::of_dry_run(dry_run, customer, called, calling, decided))
}

/// By number, else by name in any case of letters.
fn customer_id(rows: &Rows, text: &str) -> Option<CustomerId> {
    let by_id = text
        .parse()
        .ok()
        .and_then(|id: i64| rows.customers.iter().find(|customer| customer.customer_id == id));
    let by_name =
        || rows.customers.iter().find(|row| row.name.to_lowercase() == text.to_lowercase());
    by_id.or_else(by_name).map(|customer| CustomerId(customer.customer_id))
}

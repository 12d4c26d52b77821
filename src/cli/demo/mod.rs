//! `holdfast demo`: the real router on an embedded store, three simulated carriers, a stream of calls.

mod caller;
mod carrier;
mod screen;
mod summary;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tokio::sync::watch;

use crate::health::View;
use crate::server::settings::Raw;
use crate::server::{self, Running};
use crate::telemetry::log;
use caller::{Stream, Tally};
use carrier::{Behaviour, Carrier};
use screen::{Line, Screen};

/// Flags of `holdfast demo`.
#[derive(Debug, Args)]
pub(super) struct DemoFlags {
    /// Calls begun each second
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rate: u32,
    /// Show what the router logs, too
    #[arg(long)]
    log: bool,
    /// Keep the database, here
    #[arg(long, value_name = "FILE")]
    keep: Option<std::path::PathBuf>,
}

/// What happens when, from the start.
const MENDED: Duration = Duration::from_secs(10);
const KILLED: Duration = Duration::from_secs(22);
const REVIVED: Duration = Duration::from_secs(32);
const LAST_CALL: Duration = Duration::from_secs(46);
/// How long calls talk.
const TALK: Duration = Duration::from_millis(1_500);
/// How long the last calls, and their records, may take.
const END_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn run(flags: &DemoFlags) -> anyhow::Result<ExitCode> {
    if flags.log {
        log::start(log::Format::Text, "info")?;
    }
    super::runtime()?.block_on(play(flags))
}

async fn play(flags: &DemoFlags) -> anyhow::Result<ExitCode> {
    let dir = TemporaryFolder::make().context("cannot make a folder for the demo")?;
    let database = match &flags.keep {
        Some(path) => path.clone(),
        None => dir.path.join("holdfast.db"),
    };
    let url = format!("sqlite:{}", database.display());
    let mut running = start(&url, &dir.path).await?;
    let carriers = [
        Carrier::start("alpha", Behaviour::Answers).await?,
        Carrier::start("bravo", Behaviour::Refuses).await?,
        Carrier::start("charlie", Behaviour::Swallows).await?,
    ];
    tell_tables(&url, &carriers).await.context("cannot write the demo's tables")?;
    running.ready().await;
    wait_for_tables(&running, &carriers).await?;
    let mut screen = Screen::new();
    println!(
        "Holdfast routes {} calls a second to three carriers on loopback; its store is {}\n",
        flags.rate,
        database.display()
    );
    let tally = Arc::new(Mutex::new(Tally::default()));
    let (stop, is_stopped) = watch::channel(false);
    let stream = Stream {
        router: running.sip_addresses()[0],
        every: Duration::from_secs(1) / flags.rate,
        talk: TALK,
    };
    let callers = tokio::spawn(caller::run(stream, is_stopped, tally.clone()));
    follow_script(&mut screen, &running, &carriers, &tally).await;
    stop.send_replace(true);
    let ended = tokio::time::timeout(END_LIMIT, callers).await;
    let begun_to_drain = running.drain(END_LIMIT, std::future::pending()).await;
    let lost_records = running.stop().await.records_lost;
    let tally = tally.lock().expect("nobody panics while holding it").clone();
    let is_whole = summary::print(&url, &tally).await?
        && ended.is_ok()
        && begun_to_drain == 0
        && lost_records == 0;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The same router that `serve` runs, on free ports.
async fn start(url: &str, dir: &std::path::Path) -> anyhow::Result<Running> {
    let mut raw = Raw::default();
    let spool = dir.join("spool");
    for (name, text) in [
        ("listen", "udp:127.0.0.1:0"),
        ("admin_listen", "127.0.0.1:0"),
        ("node_name", "demo"),
        ("database_url", url),
        ("probe_timeout_ms", "500"),
        ("spool_dir", &spool.display().to_string()),
    ] {
        raw.add_flag(name, text.to_owned());
    }
    Ok(server::start(raw.check()?).await?)
}

/// What an admin would write.
async fn tell_tables(url: &str, carriers: &[Carrier]) -> sqlx::Result<()> {
    let mut sql = String::from(
        "insert into customers (customer_id, name) values (1, 'platform');\n\
         insert into customer_addresses (address_range, customer_id) values ('127.0.0.1/32', 1);\n\
         insert into routes (route_id) values (1);\n",
    );
    for (id, carrier) in (1..).zip(carriers) {
        let (name, address) = (carrier.name, carrier.address);
        sql.push_str(&format!(
            "insert into carriers (carrier_id, name, probe_interval_ms) values ({id}, '{name}', 1000);\n\
             insert into gateways (gateway_id, carrier_id, name, host, port)\n\
             values ({id}, {id}, '{name}', '{}', {});\n\
             insert into route_carriers (route_id, carrier_id) values (1, {id});\n",
            address.ip(),
            address.port()
        ));
    }
    let mut connection = SqliteConnection::connect(url).await?;
    // One transaction: the router never sees half of it.
    sqlx::raw_sql(AssertSqlSafe(format!("begin;\n{sql}commit;"))).execute(&mut connection).await?;
    connection.close().await
}

/// The change acts within a second, like any other.
async fn wait_for_tables(running: &Running, carriers: &[Carrier]) -> anyhow::Result<()> {
    let limit = Instant::now() + Duration::from_secs(5);
    while running.shared().view.load().targets().len() < carriers.len() {
        anyhow::ensure!(Instant::now() < limit, "the demo's tables did not come into force");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn follow_script(
    screen: &mut Screen,
    running: &Running,
    carriers: &[Carrier; 3],
    tally: &Mutex<Tally>,
) {
    let [alpha, bravo, _] = carriers;
    let script = [
        (
            Duration::ZERO,
            alpha,
            Behaviour::Answers,
            "alpha answers, bravo refuses, charlie is silent: calls find out",
        ),
        (
            MENDED,
            bravo,
            Behaviour::Answers,
            "bravo is mended: it comes back once it has proved itself",
        ),
        (KILLED, alpha, Behaviour::Dead, "alpha is KILLED: its port is closed"),
        (REVIVED, alpha, Behaviour::Answers, "alpha is revived"),
    ];
    let mut script = script.into_iter().peekable();
    let begun = Instant::now();
    let every = Duration::from_millis(if screen.redraws() { 250 } else { 2_000 });
    let mut shown_at = None;
    while begun.elapsed() < LAST_CALL {
        let at = begun.elapsed();
        while let Some((_, carrier, behaviour, text)) = script.next_if(|(when, ..)| *when <= at) {
            carrier.behave(behaviour);
            screen.tell(at, text);
        }
        if shown_at.is_none_or(|shown_at| at - shown_at >= every) {
            shown_at = Some(at);
            let now = tally.lock().expect("nobody panics while holding it").clone();
            screen.show(at, &lines(carriers, &running.shared().view.load()), &now);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    screen.tell(begun.elapsed(), "the last call has begun; waiting for those in progress");
}

fn lines(carriers: &[Carrier], view: &View) -> Vec<Line> {
    let lines = carriers.iter().map(|carrier| {
        let seen = view.targets().iter().find(|seen| seen.target.address == carrier.address);
        let (invites, answers) = carrier.counts();
        Line {
            name: carrier.name,
            behaviour: carrier.behaviour(),
            reachability: seen.map_or("unknown".to_owned(), |seen| seen.reachability.to_string()),
            failure_rate: seen.map_or(0.0, |seen| seen.failure_rate),
            invites,
            answers,
        }
    });
    lines.collect()
}

/// Removed with what is in it when dropped.
struct TemporaryFolder {
    path: std::path::PathBuf,
}

impl TemporaryFolder {
    fn make() -> std::io::Result<Self> {
        let name = format!("holdfast-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

//! `holdfast demo`: the real router on an embedded store, three simulated carriers, a stream of calls.

mod screen;
mod summary;
mod tally;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::agents::{
    self, Behaviour, Caller, CallerSettings, Carrier, CarrierSettings, Running as Agent,
};
use crate::health::View;
use crate::server::settings::Raw;
use crate::server::{self, Running};
use crate::telemetry::log;
use screen::{Line, Screen};
use tally::Tally;

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
/// How long a call waits for any response.
const CALL_LIMIT: Duration = Duration::from_secs(20);
const TURN: Duration = Duration::from_millis(20);
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
        DemoCarrier::start("alpha", Behaviour::Answers).await?,
        DemoCarrier::start("bravo", Behaviour::Refuses).await?,
        DemoCarrier::start("charlie", Behaviour::Swallows).await?,
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
    let settings = CallerSettings {
        nodes: vec![running.sip_addresses()[0]],
        leave_after: CALL_LIMIT,
        prefix: "demo".to_owned(),
        calling: "+4930555000".to_owned(),
        called_prefix: "+4930".to_owned(),
    };
    let caller = agents::start(ANY_PORT, |own| Caller::new(own, settings)).await?;
    let mut calls =
        Calls { caller, every: Duration::from_secs(1) / flags.rate, tally: Tally::default() };
    follow_script(&mut screen, &running, &carriers, &mut calls).await;
    let is_ended = calls.see_through(END_LIMIT).await;
    let begun_to_drain = running.drain(END_LIMIT, std::future::pending()).await;
    let lost_records = running.stop().await.records_lost;
    let is_whole = summary::print(&url, &calls.tally).await?
        && is_ended
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
async fn tell_tables(url: &str, carriers: &[DemoCarrier]) -> sqlx::Result<()> {
    let mut sql = String::from(
        "insert into customers (customer_id, name) values (1, 'platform');\n\
         insert into customer_addresses (address_range, customer_id) values ('127.0.0.1/32', 1);\n\
         insert into routes (route_id, reroute_after_ringing) values (1, 'carrier_fault_only');\n",
    );
    for (id, carrier) in (1..).zip(carriers) {
        let (name, address) = (carrier.name, carrier.agent.address);
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
async fn wait_for_tables(running: &Running, carriers: &[DemoCarrier]) -> anyhow::Result<()> {
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
    carriers: &[DemoCarrier; 3],
    calls: &mut Calls,
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
    let (mut shown_at, mut next_call) = (None, begun);
    while begun.elapsed() < LAST_CALL {
        let at = begun.elapsed();
        calls.turn(Some(&mut next_call));
        while let Some((_, carrier, behaviour, text)) = script.next_if(|(when, ..)| *when <= at) {
            carrier.agent.with(|agent| agent.behave(behaviour));
            screen.tell(at, text);
        }
        if shown_at.is_none_or(|shown_at| at - shown_at >= every) {
            shown_at = Some(at);
            screen.show(at, &lines(carriers, &running.shared().view.load()), &calls.tally);
        }
        tokio::time::sleep(TURN).await;
    }
    screen.tell(begun.elapsed(), "the last call has begun; waiting for those in progress");
}

fn lines(carriers: &[DemoCarrier], view: &View) -> Vec<Line> {
    let lines = carriers.iter().map(|carrier| {
        let seen = view.targets().iter().find(|seen| seen.target.address == carrier.agent.address);
        let (behaviour, (invites, answers)) =
            carrier.agent.with(|agent| (agent.behaviour(), agent.counts()));
        Line {
            name: carrier.name,
            behaviour,
            reachability: seen.map_or("unknown".to_owned(), |seen| seen.reachability.to_string()),
            failure_rate: seen.map_or(0.0, |seen| seen.failure_rate),
            invites,
            answers,
        }
    });
    lines.collect()
}

const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

struct DemoCarrier {
    name: &'static str,
    agent: Agent<Carrier>,
}

impl DemoCarrier {
    async fn start(name: &'static str, behaviour: Behaviour) -> std::io::Result<Self> {
        let settings = CarrierSettings { behaviour, prefix: name.to_owned() };
        let agent = agents::start(ANY_PORT, |own| Carrier::new(own, settings)).await?;
        Ok(Self { name, agent })
    }
}

/// The stream of calls, and what has become of them.
struct Calls {
    caller: Agent<Caller>,
    every: Duration,
    tally: Tally,
}

impl Calls {
    /// Hangs up what has talked long enough, and makes a call when it is time for one.
    fn turn(&mut self, next_call: Option<&mut Instant>) {
        let (now, every) = (Instant::now(), self.every);
        let tally = &mut self.tally;
        self.caller.with(|caller| {
            while let Some((at, number, news)) = caller.poll_news() {
                tally.note(at, number, &news, at + TALK);
            }
            for number in tally.over_due(now) {
                caller.hang_up(number, now);
            }
            if let Some(next_call) = next_call.filter(|at| now >= **at) {
                *next_call = now + every;
                caller.call(0, now);
            }
        });
    }

    /// Says whether every call was over in time.
    async fn see_through(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while self.tally.completed + self.tally.lost < self.tally.offered {
            if Instant::now() >= until {
                return false;
            }
            self.turn(None);
            tokio::time::sleep(TURN).await;
        }
        true
    }
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

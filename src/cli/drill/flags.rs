//! The command line of a drill, and the plan that it makes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::{Args, Subcommand};

use super::fault::{Fault, What};
use super::hypothesis::Hypothesis;
use super::ledger::Target;
use crate::cli::agents::Behaviour;
use crate::store::drills::{DrillTables, ELSEWHERE};

/// What is broken; each scenario with its own default hypothesis.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DrillCommand {
    /// A node dies: its answered calls go on at another one, and new calls find that one
    #[command(after_help = NODE_LOSS)]
    NodeLoss {
        #[command(flatten)]
        how: PidOrCommand,
        #[command(flatten)]
        flags: DrillFlags,
    },
    /// A node stands still, and goes on later: by then its calls are another one's, and it says nothing about them
    #[command(after_help = NODE_FREEZE)]
    NodeFreeze {
        /// The process of the first node: it gets SIGSTOP, and SIGCONT
        #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(2..))]
        pid: u32,
        #[command(flatten)]
        flags: DrillFlags,
    },
    /// The first carrier's port is closed: calls go to the next one
    #[command(after_help = CARRIER)]
    CarrierLoss {
        #[command(flatten)]
        flags: DrillFlags,
    },
    /// The first carrier answers everything but new calls: these go to the next one
    #[command(after_help = CARRIER_SILENT)]
    CarrierSilent {
        #[command(flatten)]
        flags: DrillFlags,
    },
    /// The database is away: calls do not notice, and records come later
    #[command(after_help = STORE_LOSS)]
    StoreLoss {
        #[command(flatten)]
        how: PidOrCommand,
        #[command(flatten)]
        flags: DrillFlags,
    },
    /// Something is cut off from something, by commands of yours
    #[command(after_help = PARTITION)]
    Partition {
        /// What cuts, for the shell
        #[arg(long, value_name = "COMMAND")]
        run: String,
        /// What joins again, for the shell
        #[arg(long, value_name = "COMMAND")]
        undo: String,
        #[command(flatten)]
        flags: DrillFlags,
    },
}

macro_rules! hypothesis_of {
    ($name:ident, $default:ident, $text:literal) => {
        const $default: &str = $text;
        const $name: &str = concat!("Hypothesis unless another is given: ", $text);
    };
}
hypothesis_of!(NODE_LOSS, NODE_LOSS_DEFAULT, "dropped=0,fails_for_ms=5000,recovered_ms=12000");
hypothesis_of!(NODE_FREEZE, NODE_FREEZE_DEFAULT, "dropped=0,fails_for_ms=5000,recovered_ms=12000");
hypothesis_of!(CARRIER, CARRIER_DEFAULT, "dropped=0,fails_for_ms=0,delay_p99_ms=1000");
hypothesis_of!(CARRIER_SILENT, CARRIER_SILENT_DEFAULT, "dropped=0,failed=0,delay_p99_ms=4000");
hypothesis_of!(STORE_LOSS, STORE_LOSS_DEFAULT, "dropped=0,failed=0,delay_p99_ms=1000");
hypothesis_of!(PARTITION, PARTITION_DEFAULT, "dropped=0,fails_for_ms=5000");

/// How a process, or what stands for one, is taken away.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(in crate::cli) struct PidOrCommand {
    /// The process that it is done to (a node: SIGKILL; a store: SIGSTOP and SIGCONT)
    // 0 would be all of our own group.
    #[arg(long, value_name = "PID", conflicts_with = "run", value_parser = clap::value_parser!(u32).range(2..))]
    pid: Option<u32>,
    /// Instead of --pid: what does it, for the shell
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
    /// What undoes --run, for the shell
    #[arg(long, value_name = "COMMAND", requires = "run")]
    undo: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DrillFlags {
    /// SIP addresses of the nodes (UDP). Callers use the first one, and the next where it does not answer
    #[arg(long, value_name = "ADDRESS:PORT,…", value_delimiter = ',', required = true)]
    nodes: Vec<SocketAddr>,
    /// Where the drill's own callees listen (UDP); calls go to the first one while it is well
    #[arg(long, value_name = "ADDRESS:PORT,…", value_delimiter = ',', required = true)]
    carriers: Vec<SocketAddr>,
    /// Where the drill's callers are; the nodes know them by this address
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    caller: SocketAddr,
    /// Answered calls that are there before the fault, and stay until the end
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    calls: u32,
    /// New calls a second, from before the fault until after it
    #[arg(long, value_name = "RATE", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    cps: u32,
    /// How long each of them talks
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    talk: u32,
    /// How long all is well before the fault
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    before: u32,
    /// When the fault is undone, where it can be; it counts as lasting so long anyway
    #[arg(long, value_name = "SECONDS", default_value_t = 12)]
    fault_for: u32,
    /// How long new calls go on after that
    #[arg(long, value_name = "SECONDS", default_value_t = 8)]
    after: u32,
    /// Callers leave a node that does not answer an INVITE after this time
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 2_000)]
    next_node_ms: u32,
    /// What is expected: dropped, failed (calls), fails_for_ms, recovered_ms, delay_p99_ms; that records are neither
    /// lost nor doubled, and no call leaves its region, always is
    #[arg(long, value_name = "NAME=LIMIT,…", value_parser = Hypothesis::parse)]
    hypothesis: Option<Hypothesis>,
    /// Where the report goes as Markdown and as JSON, besides the screen
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// The nodes' store: records are counted, and the drill is kept in `drills` and compared with earlier ones [env:
    /// HOLDFAST_DATABASE_URL]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Write the rows that the drill needs, named drill-…; those of an earlier drill go
    #[arg(long)]
    prepare: bool,
    /// Remove the rows named drill-… at the end
    #[arg(long)]
    clean: bool,
    /// With --prepare: calls and carriers are of this region, and a carrier of another one stands by as a trap
    #[arg(long, value_name = "REGION", requires = "prepare")]
    region: Option<String>,
}

/// A drill, checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) scenario: &'static str,
    pub(super) fault: Fault,
    pub(super) target: Target,
    pub(super) hypothesis: Hypothesis,
    pub(super) nodes: Vec<SocketAddr>,
    pub(super) carriers: Vec<SocketAddr>,
    pub(super) caller: SocketAddr,
    pub(super) calls: u32,
    /// From one new call to the next.
    pub(super) every: Duration,
    pub(super) talk: Duration,
    pub(super) before: Duration,
    pub(super) fault_for: Duration,
    pub(super) after: Duration,
    pub(super) leave_after: Duration,
    pub(super) report: Option<PathBuf>,
    pub(super) database_url: Option<String>,
    pub(super) prepare: bool,
    pub(super) clean: bool,
    pub(super) region: Option<String>,
}

impl DrillCommand {
    pub(super) fn plan(&self) -> anyhow::Result<Plan> {
        let first_carrier = |is_deaf| Target::Carrier { index: 0, is_deaf };
        let (scenario, what, target, default, flags) = match self {
            Self::NodeLoss { how, flags } => {
                let what = how.what(|pid| What::Kill { pid })?;
                ("node-loss", what, Target::Node, NODE_LOSS_DEFAULT, flags)
            }
            Self::NodeFreeze { pid, flags } => {
                let what = What::Freeze { pid: *pid };
                ("node-freeze", what, Target::Node, NODE_FREEZE_DEFAULT, flags)
            }
            Self::CarrierLoss { flags } => {
                let what = What::Carrier(Behaviour::Dead);
                ("carrier-loss", what, first_carrier(true), CARRIER_DEFAULT, flags)
            }
            Self::CarrierSilent { flags } => {
                let what = What::Carrier(Behaviour::SwallowsCalls);
                ("carrier-silent", what, first_carrier(false), CARRIER_SILENT_DEFAULT, flags)
            }
            Self::StoreLoss { how, flags } => {
                let what = how.what(|pid| What::Freeze { pid })?;
                ("store-loss", what, Target::Other, STORE_LOSS_DEFAULT, flags)
            }
            Self::Partition { run, undo, flags } => {
                let what = What::Commands { run: run.clone(), undo: Some(undo.clone()) };
                ("partition", what, Target::Other, PARTITION_DEFAULT, flags)
            }
        };
        flags.check(target)?;
        let default = Hypothesis::parse(default).expect("a hypothesis of ours reads");
        let given = std::env::var("HOLDFAST_DATABASE_URL").ok();
        let database_url = flags.database_url.clone().or(given).filter(|url| !url.is_empty());
        if database_url.is_none() && (flags.prepare || flags.clean) {
            bail!("--prepare and --clean need the nodes' store: --database-url");
        }
        if matches!(self, Self::StoreLoss { .. }) && how_is_endless(&what) {
            bail!("a store that does not come back has no records to count: --run needs --undo");
        }
        let seconds = |count: u32| Duration::from_secs(count.into());
        Ok(Plan {
            scenario,
            fault: Fault::new(what),
            target,
            hypothesis: flags.hypothesis.unwrap_or(default),
            nodes: flags.nodes.clone(),
            carriers: flags.carriers.clone(),
            caller: flags.caller,
            calls: flags.calls,
            every: Duration::from_secs(1) / flags.cps,
            talk: seconds(flags.talk),
            before: seconds(flags.before),
            fault_for: seconds(flags.fault_for),
            after: seconds(flags.after),
            leave_after: Duration::from_millis(flags.next_node_ms.into()),
            report: flags.report.clone(),
            database_url,
            prepare: flags.prepare,
            clean: flags.clean,
            region: flags.region.clone(),
        })
    }
}

impl Plan {
    /// The rows without which the nodes know neither the callers nor the callees.
    pub(super) fn tables(&self) -> DrillTables {
        DrillTables {
            caller: self.caller.ip(),
            carriers: self.carriers.clone(),
            region: self.region.clone(),
        }
    }
}

impl PidOrCommand {
    fn what(&self, to_process: impl FnOnce(u32) -> What) -> anyhow::Result<What> {
        match (self.pid, &self.run) {
            (Some(pid), None) => Ok(to_process(pid)),
            (None, Some(run)) => Ok(What::Commands { run: run.clone(), undo: self.undo.clone() }),
            (Some(_), Some(_)) | (None, None) => bail!("give either --pid or --run"),
        }
    }
}

impl DrillFlags {
    fn check(&self, target: Target) -> anyhow::Result<()> {
        ensure!(
            !self.caller.ip().is_unspecified(),
            "--caller needs the address by which the nodes know it"
        );
        let family = self.caller.is_ipv4();
        let mut addresses = self.nodes.iter().chain(&self.carriers);
        ensure!(
            addresses.all(|address| address.is_ipv4() == family),
            "--caller, --nodes and --carriers must be of one address family"
        );
        match target {
            Target::Node => ensure!(
                self.nodes.len() > 1,
                "without a second node in --nodes nobody can go on with the calls"
            ),
            Target::Carrier { .. } => ensure!(
                self.carriers.len() > 1,
                "without a second carrier in --carriers calls have nowhere to go"
            ),
            Target::Other => {}
        }
        if let Some(region) = &self.region {
            let is_plain =
                |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
            ensure!(
                (1..=32).contains(&region.len())
                    && region.bytes().all(is_plain)
                    && region != ELSEWHERE,
                "--region is 1 to 32 lower case letters, digits and dashes"
            );
        }
        Ok(())
    }
}

fn how_is_endless(what: &What) -> bool {
    matches!(what, What::Commands { undo: None, .. })
}

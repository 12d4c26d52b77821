//! The command line: one file a command.

mod agents;
mod carriers;
mod check;
mod demo;
mod drill;
mod explain;
mod flags;
mod migrate;
mod moment;
mod past;
mod replay;
mod rules;
mod secret;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use flags::SettingsFlags;

/// A SIP back-to-back user agent that routes each call to the healthiest carrier and never lets go of it.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Settings come from flags, then HOLDFAST_… variables, then the file of --config, then \
                        defaults; `holdfast check` prints what holds and where it came from."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Route calls until SIGTERM, which lets calls in progress end first
    Serve(SettingsFlags),
    /// Check settings and tables, print the settings in force, and exit with 1 when something is wrong
    Check(SettingsFlags),
    /// Bring the store's tables up to date
    Migrate(SettingsFlags),
    /// Add a known vendor as a carrier with its gateways and rules, or list the vendors there are
    #[command(subcommand)]
    Carriers(carriers::CarriersCommand),
    /// Load failure rules in the words of a known vendor, or list the rules there are
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Print the hashes that the tables keep instead of a password, which comes by the standard input
    Secret(secret::SecretFlags),
    /// Say why a call went where it went, or where a call would go now
    Explain(explain::ExplainFlags),
    /// Decide the last calls again with the tables as they are now, and say what would be different
    Replay(replay::ReplayFlags),
    /// Show the router at work: three simulated carriers, one of which is killed before your eyes
    Demo(demo::DemoFlags),
    /// Break something of a running pair of nodes on purpose, and see whether calls survive it
    #[command(subcommand)]
    Drill(drill::DrillCommand),
}

/// Exit codes: 0 all is well, 1 something is wrong, 2 the command line makes no sense.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(flags) => serve::run(&flags),
        Command::Check(flags) => check::run(&flags),
        Command::Migrate(flags) => migrate::run(&flags),
        Command::Carriers(command) => carriers::run(&command),
        Command::Rules(command) => rules::run(&command),
        Command::Secret(flags) => secret::run(&flags),
        Command::Explain(flags) => explain::run(&flags),
        Command::Replay(flags) => replay::run(&flags),
        Command::Demo(flags) => demo::run(&flags),
        Command::Drill(command) => drill::run(&command),
    };
    result.unwrap_or_else(|error| {
        eprintln!("holdfast: {error:#}");
        ExitCode::FAILURE
    })
}

/// The runtime of everything but the shards, which have threads of their own.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

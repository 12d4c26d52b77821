//! What a call, a message and a decision cost in instructions, held against what they cost before.
//!
//! ```sh
//! cargo bench --profile guard --bench instructions                # compare; a rise of over 5 % fails
//! cargo bench --profile guard --bench instructions -- --accept    # take what was counted as the new figures
//! cargo bench --profile guard --bench instructions -- --must      # fail where valgrind is missing
//! ```
//!
//! Valgrind (cachegrind) counts instructions, so another program on the machine changes nothing. Each piece runs in
//! processes of its own, with two counts of rounds; the difference is what the rounds cost, without the start. The
//! figures are in `benches/instructions.toml`; they hold for x86-64, the toolchain of the day and the profile `guard`, and
//! a new compiler may move them: accept them in a commit of their own then.

#![allow(clippy::disallowed_methods, reason = "a measurement reads and writes files")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use holdfast::sip::Message;
use holdfast::store::record::StoredCall;

use decision::Decisions;
use invite::INVITE;
use world::World;

mod decision;
mod invite;
mod world;

/// A figure may rise by so much, which a change of the heap's layout can do by itself.
const TOLERANCE: f64 = 0.05;
/// Rounds of the two runs of a piece.
const FEW: u32 = 50;
const MANY: u32 = 250;
/// Before the first round, so that tables have grown and buffers are there.
const WARM_UP: u32 = 20;

/// Name, in `instructions.toml`, and what its rounds do.
#[expect(clippy::type_complexity, reason = "a name and what it measures")]
const PIECES: [(&str, fn(u32)); 5] = [
    ("call_through_the_engine", calls),
    ("record_of_a_call", records),
    ("parse_an_invite", parses),
    ("decision_among_10_carriers_of_4_gateways", |rounds| decisions(10, 4, rounds)),
    ("decision_among_1000_gateways", |rounds| decisions(1, 1_000, rounds)),
];

type Figures = BTreeMap<String, u64>;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let [flag, piece, rounds] = arguments.as_slice()
        && flag == "--piece"
    {
        let (_, work) = PIECES.iter().find(|(name, _)| name == piece).context("no such piece")?;
        work(rounds.parse()?);
        return Ok(ExitCode::SUCCESS);
    }
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("valgrind is missing, so nothing was counted (Debian: apt-get install valgrind)");
        return Ok(if has("--must") { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml");
    let before = read(&path)?;
    let mut now = Figures::new();
    let mut has_risen = false;
    for (piece, _) in PIECES {
        let count = count(piece)?;
        let known = before.get(piece).copied();
        let change = known.map(|known| count as f64 / known.max(1) as f64 - 1.0);
        let is_too_much = change.is_none_or(|change| change > TOLERANCE);
        has_risen |= is_too_much;
        let mark = if is_too_much { "  <- too much" } else { "" };
        let change = change.map_or("new".to_owned(), |it| format!("{:+.1} %", 100.0 * it));
        println!("{piece:<42} {count:>9} {change:>9}{mark}");
        now.insert(piece.to_owned(), count);
    }
    if has("--accept") {
        std::fs::write(&path, text(&now)).with_context(|| path.display().to_string())?;
        println!("these are the figures now: {}", path.display());
    } else if has_risen {
        eprintln!(
            "More instructions than {} allows. If they are worth it: cargo bench --profile guard --bench instructions -- --accept",
            path.display()
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Instructions of one round.
fn count(piece: &str) -> anyhow::Result<u64> {
    let (few, many) = (run(piece, FEW)?, run(piece, MANY)?);
    Ok(many.saturating_sub(few) / u64::from(MANY - FEW))
}

/// Instructions of a whole process.
fn run(piece: &str, rounds: u32) -> anyhow::Result<u64> {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{piece}.cachegrind"));
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no"])
        .arg(format!("--cachegrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["--piece", piece, &rounds.to_string()])
        .output()?;
    if !output.status.success() {
        bail!("{piece} under valgrind: {}", String::from_utf8_lossy(&output.stderr));
    }
    let counted = std::fs::read_to_string(&out).with_context(|| out.display().to_string())?;
    std::fs::remove_file(&out)?;
    let summary = counted.lines().find_map(|line| line.strip_prefix("summary:"));
    let sum = summary.and_then(|sum| sum.split_whitespace().next()).context("no summary")?;
    Ok(sum.parse()?)
}

fn read(path: &Path) -> anyhow::Result<Figures> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let figures: Figures = toml::from_str(&text)?;
    let unknown = figures.keys().find(|name| PIECES.iter().all(|(piece, _)| piece != name));
    ensure!(unknown.is_none(), "{}: there is no piece {unknown:?}", path.display());
    Ok(figures)
}

fn text(figures: &Figures) -> String {
    let mut text = String::from(
        "# Instructions of one round of each piece; written by: cargo bench --profile guard --bench instructions -- --accept\n",
    );
    for (piece, _) in PIECES {
        text += &format!("{piece} = {}\n", figures[piece]);
    }
    text
}

fn calls(rounds: u32) {
    let mut world = World::new();
    for _ in 0..WARM_UP + rounds {
        black_box(world.call());
    }
}

fn records(rounds: u32) {
    let mut world = World::new();
    let record = (0..WARM_UP).map(|_| world.call()).last().expect("a call");
    for _ in 0..rounds {
        black_box(StoredCall::new("node", black_box(&record)));
    }
}

fn parses(rounds: u32) {
    let invite = Bytes::from_static(INVITE.as_bytes());
    for _ in 0..rounds {
        let message = Message::parse(black_box(invite.clone())).expect("a sound INVITE");
        black_box(message.defect());
    }
}

fn decisions(carriers: i64, gateways: i64, rounds: u32) {
    let world = Decisions::new(carriers, gateways, "healthiest");
    for seed in 0..u64::from(rounds) {
        black_box(world.plan(black_box(seed)));
    }
}

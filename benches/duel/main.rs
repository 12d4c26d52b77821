//! Holdfast's carrier scoring against that of others, in virtual time. `sip-tests/duel`, or
//! `cargo bench --bench duel -- --help`

// A bench lives above the purity line: it reads arguments and writes files.
#![allow(clippy::disallowed_methods)]

mod arena;
mod report;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arena::Contender;
use arena::measure::{Figures, shares};
use arena::oracles::{ORACLES, Oracle};
use arena::world::{CALLS_A_SECOND, run};

const HELP: &str = "\
Runs each oracle against each scorer and prints a table.

    --seeds N       runs of each with another seed each (20)
    --oracle NAME   this one only; may be given more than once
    --scorer NAME   those whose name contains this
    --rate N        calls a second (50)
    --write FOLDER  also write duel.md and duel-*.svg into this folder
    --list          name the oracles
";

#[derive(Debug, Default)]
struct Arguments {
    seeds: Option<u64>,
    oracles: Vec<&'static Oracle>,
    scorer: Option<String>,
    rate: Option<f64>,
    folder: Option<String>,
    is_help: bool,
    is_list: bool,
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    if arguments.is_help {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    if arguments.is_list {
        for oracle in &ORACLES {
            println!("{:24} {}", oracle.name, oracle.about);
        }
        return ExitCode::SUCCESS;
    }
    let results = duel(&arguments);
    let page = report::page(&results, arguments.seeds(), arguments.rate());
    println!("{}", report::tables(&results, false));
    if let Some(folder) = &arguments.folder
        && let Err(error) = report::write(folder, &page, &results)
    {
        eprintln!("{folder}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

impl Arguments {
    fn seeds(&self) -> u64 {
        self.seeds.unwrap_or(20)
    }

    fn rate(&self) -> f64 {
        self.rate.unwrap_or(CALLS_A_SECOND)
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seeds" => {
                let number = value()?.parse().ok().filter(|number| *number > 0);
                arguments.seeds = Some(number.ok_or("--seeds needs a number above 0")?);
            }
            "--rate" => {
                let number = value()?.parse().ok().filter(|number| *number > 0.0);
                arguments.rate = Some(number.ok_or("--rate needs a number above 0")?);
            }
            "--oracle" => {
                let name = value()?;
                let oracle = Oracle::named(&name);
                arguments.oracles.push(oracle.ok_or(format!("there is no oracle {name}"))?);
            }
            "--scorer" => arguments.scorer = Some(value()?),
            "--write" => arguments.folder = Some(value()?),
            "--help" | "-h" => arguments.is_help = true,
            "--list" => arguments.is_list = true,
            // Cargo's.
            "--bench" => {}
            other => return Err(format!("{other} is not known")),
        }
    }
    if arguments.oracles.is_empty() {
        arguments.oracles = ORACLES.iter().collect();
    }
    Ok(arguments)
}

/// What one scorer did in one oracle, over all seeds.
struct Cell {
    oracle: &'static Oracle,
    contender: Contender,
    runs: Vec<Figures>,
    /// Of the first seed, for the plots.
    shares: Vec<f64>,
    fault_s: f64,
}

/// Every cell, on every core.
fn duel(arguments: &Arguments) -> Vec<Cell> {
    let is_wanted = |contender: &&Contender| {
        let name = contender.name().to_lowercase();
        arguments.scorer.as_ref().is_none_or(|part| name.contains(&part.to_lowercase()))
    };
    let contenders: Vec<Contender> = Contender::ALL.iter().filter(is_wanted).copied().collect();
    let pairs: Vec<(&'static Oracle, Contender)> = arguments
        .oracles
        .iter()
        .flat_map(|oracle| contenders.iter().map(|contender| (*oracle, *contender)))
        .collect();
    let next = AtomicUsize::new(0);
    let cells: Mutex<Vec<(usize, Cell)>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((oracle, contender)) = pairs.get(index).copied() else { return };
                    let cell = cell(oracle, contender, arguments);
                    cells.lock().unwrap_or_else(PoisonError::into_inner).push((index, cell));
                }
            });
        }
    });
    let mut cells = cells.into_inner().unwrap_or_else(PoisonError::into_inner);
    cells.sort_by_key(|(index, _)| *index);
    cells.into_iter().map(|(_, cell)| cell).collect()
}

fn cell(oracle: &'static Oracle, contender: Contender, arguments: &Arguments) -> Cell {
    let mut cell = Cell { oracle, contender, runs: Vec::new(), shares: Vec::new(), fault_s: 0.0 };
    for seed in 1..=arguments.seeds() {
        let oracle = oracle.with_seed(seed);
        let run = run(contender, &oracle, arguments.rate(), seed);
        if cell.shares.is_empty() {
            cell.shares = shares(&oracle, &run);
            cell.fault_s = oracle.fault_s;
        }
        cell.runs.push(Figures::of(&oracle, &run));
    }
    cell
}

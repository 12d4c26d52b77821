//! The SIP tests: each folder of `cases/` is one behaviour, told by `case.toml` (tables, parties,
//! steps, expected wire and expected record) and by SIPp scenarios beside it.
//!
//! Every case runs the real program, with real sockets on loopback, against agents that share no
//! code with it: SIPp, Kamailio, baresip. README.md in this folder says how to write one.

// The tests live above the purity line: they read clocks, start processes and open sockets.
#![allow(clippy::disallowed_methods)]

mod harness;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use harness::case::Case;
use harness::store::StoreKind;
use harness::telephone::missing;

/// Cases wait far more than they compute, so more of them run at a time than there are cores.
const DEFAULT_THREADS: usize = 5;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.test_threads.is_none() {
        arguments.test_threads = Some(DEFAULT_THREADS);
    }
    let cases = match Case::all() {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("the cases cannot be read: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let wanted = match StoreKind::wanted() {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let mut trials = Vec::new();
    for case in cases {
        for &store in case.stores.iter().filter(|store| wanted.contains(store)) {
            let missing = case.party.values().find_map(|party| missing(party.plays));
            let case = case.clone();
            let name = format!("{store}::{}", case.name);
            if let Some(package) = missing {
                eprintln!("SKIPPED: {name}, for {package} is not installed");
                harness::matrix::note_skipped(&case, store, package);
            }
            let trial = Trial::test(name, move || {
                harness::world::run(&case, store).map_err(|error| format!("{error:#}").into())
            });
            trials.push(trial.with_ignored_flag(missing.is_some()));
        }
    }
    // The long ones first, so that they do not run alone at the end.
    let conclusion = libtest_mimic::run(&arguments, trials);
    harness::store::stop_shared_servers();
    if let Err(error) = harness::matrix::write() {
        eprintln!("the page of the matrix cannot be written: {error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

//! Breaking things, and mending them.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::cli::agents::Behaviour;

/// What is done to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// SIGKILL; nothing brings it back.
    Kill { pid: u32 },
    /// SIGSTOP, and SIGCONT.
    Freeze { pid: u32 },
    /// Commands of the shell.
    Commands { run: String, undo: Option<String> },
    /// The drill's first carrier behaves like this.
    Carrier(Behaviour),
}

#[derive(Debug)]
pub(super) struct Fault {
    pub(super) what: What,
    is_broken: AtomicBool,
}

impl Fault {
    pub(super) fn new(what: What) -> Self {
        Self { what, is_broken: AtomicBool::new(false) }
    }

    /// Whether it can be done: a process must be there.
    pub(super) async fn check(&self) -> anyhow::Result<()> {
        match &self.what {
            What::Kill { pid } | What::Freeze { pid } => {
                shell(&format!("kill -s 0 {pid}")).await.context("--pid names no process of ours")
            }
            What::Commands { .. } | What::Carrier(_) => Ok(()),
        }
    }

    /// Does it, as far as it is done to others than the drill's own carriers.
    pub(super) async fn break_it(&self) -> anyhow::Result<()> {
        self.is_broken.store(true, Ordering::Relaxed);
        match &self.what {
            What::Kill { pid } => shell(&format!("kill -s KILL {pid}")).await,
            What::Freeze { pid } => shell(&format!("kill -s STOP {pid}")).await,
            What::Commands { run, .. } => shell(run).await,
            What::Carrier(_) => Ok(()),
        }
    }

    /// Undoes it, once, if it was done.
    pub(super) async fn mend(&self) -> anyhow::Result<()> {
        if !self.is_broken.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        match &self.what {
            What::Freeze { pid } => shell(&format!("kill -s CONT {pid}")).await,
            What::Commands { undo: Some(undo), .. } => shell(undo).await,
            What::Kill { .. } | What::Commands { undo: None, .. } | What::Carrier(_) => Ok(()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Kill { pid } => write!(f, "SIGKILL to process {pid}"),
            What::Freeze { pid } => write!(f, "SIGSTOP to process {pid}, then SIGCONT"),
            What::Commands { run, undo: None } => write!(f, "`{run}`"),
            What::Commands { run, undo: Some(undo) } => write!(f, "`{run}`, then `{undo}`"),
            What::Carrier(Behaviour::Dead) => f.write_str("the first carrier closes its port"),
            What::Carrier(_) => f.write_str("the first carrier says nothing to new calls"),
        }
    }
}

/// `kill` is one of the shell's own commands: it is there wherever a shell is.
async fn shell(command: &str) -> anyhow::Result<()> {
    let mut shell = Command::new("sh");
    // A drill that is broken off does not leave half a command running.
    shell.arg("-c").arg(command).kill_on_drop(true);
    let status = shell.status().await.with_context(|| format!("cannot run `{command}`"))?;
    ensure!(status.success(), "`{command}` failed: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(future)
    }

    #[test]
    fn is_undone_once_and_only_if_it_was_done() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("traces");
        let trace = |text: &str| format!("echo {text} >> {}", file.display());
        let what = What::Commands { run: trace("broken"), undo: Some(trace("mended")) };
        let fault = Fault::new(what);
        block_on(async {
            fault.mend().await.expect("nothing to do");
            assert!(!file.exists());
            fault.break_it().await.expect("it breaks");
            fault.mend().await.expect("it mends");
            fault.mend().await.expect("nothing to do");
        });
        assert_eq!(std::fs::read_to_string(&file).expect("traces"), "broken\nmended\n");
    }

    #[test]
    fn says_which_command_failed_and_mends_all_the_same() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("mended");
        let undo = Some(format!("touch {}", file.display()));
        let fault = Fault::new(What::Commands { run: "exit 3".to_owned(), undo });
        block_on(async {
            let error = fault.break_it().await.expect_err("it fails").to_string();
            assert!(error.starts_with("`exit 3` failed: exit status: 3"), "{error}");
            fault.mend().await.expect("it mends");
        });
        assert!(file.exists());
    }

    #[test]
    fn freezes_and_kills_processes_that_are_there() {
        let state = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
            stat.rsplit(')').next().expect("a state").trim_start().chars().next().expect("a letter")
        };
        block_on(async {
            let mut child =
                Command::new("sleep").arg("60").kill_on_drop(true).spawn().expect("it starts");
            let pid = child.id().expect("it runs");
            let frozen = Fault::new(What::Freeze { pid });
            frozen.check().await.expect("it is there");
            frozen.break_it().await.expect("it stops");
            while state(pid) != 'T' {
                tokio::task::yield_now().await;
            }
            frozen.mend().await.expect("it goes on");
            while state(pid) == 'T' {
                tokio::task::yield_now().await;
            }
            let killed = Fault::new(What::Kill { pid });
            killed.break_it().await.expect("it dies");
            assert!(!child.wait().await.expect("it ended").success());
            assert!(killed.check().await.is_err(), "nobody is there any more");
        });
    }
}

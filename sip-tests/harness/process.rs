//! A process that never outlives its owner, nor do those that it started.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often an awaited thing is looked at again.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Ended with its whole process group when dropped, also while panicking: Kamailio's workers do not
/// end with the process that forked them.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    child: Child,
    exit: Option<i32>,
    is_killed: bool,
    pub(crate) output: PathBuf,
}

impl Process {
    /// Starts `program` with both its outputs in `<dir>/<name>.log`.
    ///
    /// The kernel is asked to end it should this whole process be killed.
    pub(crate) fn start(
        name: &str,
        dir: &Path,
        program: &str,
        build: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let output = dir.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&output)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]);
        command.stdin(Stdio::null());
        forget_settings(&mut command);
        build(&mut command);
        let child = command
            .process_group(0)
            .current_dir(dir)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name} ({program})"))?;
        Ok(Self { name: name.to_owned(), child, exit: None, is_killed: false, output })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its input, once, where it was started with a pipe for it.
    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its exit code if it has ended; a signal counts as 128 + its number.
    pub(crate) fn exit_code(&mut self) -> Result<Option<i32>> {
        use std::os::unix::process::ExitStatusExt;
        if self.exit.is_none()
            && let Some(status) = self.child.try_wait()?
        {
            let code = status.code().or(status.signal().map(|signal| 128 + signal));
            self.exit = Some(code.unwrap_or(-1));
        }
        Ok(self.exit)
    }

    pub(crate) fn wait(&mut self, until: Instant) -> Result<i32> {
        loop {
            if let Some(code) = self.exit_code()? {
                return Ok(code);
            }
            if Instant::now() >= until {
                bail!("{} is still running", self.name);
            }
            sleep(POLL);
        }
    }

    /// Sends a signal by its name, e.g. `TERM`.
    pub(crate) fn signal(&mut self, signal: &str) -> Result<()> {
        if self.exit_code()?.is_some() {
            return Ok(());
        }
        let pid = self.pid().to_string();
        let status = Command::new("/bin/kill").args(["-s", signal, &pid]).status()?;
        anyhow::ensure!(status.success(), "cannot send {signal} to {}", self.name);
        Ok(())
    }

    pub(crate) fn kill(&mut self) {
        // Once: the number may be somebody else's later.
        if std::mem::replace(&mut self.is_killed, true) {
            return;
        }
        // An error of either means that nobody is left.
        let group = format!("-{}", self.pid());
        let _ = Command::new("/bin/kill")
            .args(["-s", "KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        if self.exit.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.exit = Some(128 + 9);
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read(&self.output)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last `count` lines of a text.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// What the tests are told by the environment is no setting of the program.
pub(crate) fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOLDFAST_") {
            command.env_remove(name);
        }
    }
}

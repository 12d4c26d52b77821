//! The program under test.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::process::{POLL, Process, forget_settings, tail};

/// How one case's Holdfast is run.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) sip: SocketAddrV4,
    pub(crate) admin: SocketAddrV4,
    dir: PathBuf,
    settings: BTreeMap<String, String>,
    process: Option<Process>,
}

impl Router {
    /// Nothing runs yet. `settings` come on top of the usual ones.
    pub(crate) fn new(
        dir: &Path,
        sip: SocketAddrV4,
        admin: SocketAddrV4,
        database_url: &str,
        settings: BTreeMap<String, String>,
    ) -> Self {
        let usual = [
            ("node_name", "test".to_owned()),
            ("listen", format!("udp:{sip}")),
            ("admin_listen", admin.to_string()),
            ("database_url", database_url.to_owned()),
            ("spool_dir", dir.join("spool").display().to_string()),
            ("log_filter", "info,holdfast=debug".to_owned()),
            // A case that leaves a call behind is told so by the exit code, and soon.
            ("drain_timeout_s", "8".to_owned()),
        ];
        let mut all: BTreeMap<String, String> =
            usual.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        all.extend(settings);
        Self { sip, admin, dir: dir.to_owned(), settings: all, process: None }
    }

    /// Settings reach it by its environment, and nothing of ours does: unknown names are refused.
    fn environment(&self, command: &mut Command) {
        forget_settings(command);
        for (key, value) in &self.settings {
            command.env(format!("HOLDFAST_{}", key.to_uppercase()), value);
        }
    }

    /// `holdfast migrate`, so that the case's rows find their tables.
    pub(crate) fn migrate(&self) -> Result<()> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.arg("migrate").current_dir(&self.dir);
        self.environment(&mut command);
        let output = command.output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "holdfast migrate failed: {told}");
        Ok(())
    }

    /// Starts it and waits until it takes calls.
    pub(crate) fn start(&mut self, is_ready: bool, until: Instant) -> Result<()> {
        let program = env!("CARGO_BIN_EXE_holdfast");
        let process = Process::start("holdfast", &self.dir, program, |command| {
            command.arg("serve");
            self.environment(command);
        })?;
        let process = self.process.insert(process);
        let path = if is_ready { "/readyz" } else { "/healthz" };
        loop {
            if let Some(code) = process.exit_code()? {
                bail!("holdfast ended with {code}: {}", tail(&process.log(), 20));
            }
            if get(self.admin, path).is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "holdfast did not get ready: {}",
                tail(&process.log(), 20)
            );
            sleep(POLL);
        }
    }

    fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("holdfast was not started")
    }

    pub(crate) fn signal(&mut self, signal: &str) -> Result<()> {
        self.process()?.signal(signal)
    }

    pub(crate) fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    pub(crate) fn is_running(&mut self) -> Result<bool> {
        match &mut self.process {
            Some(process) => Ok(process.exit_code()?.is_none()),
            None => Ok(false),
        }
    }

    /// Waits for its end, which must be a clean one.
    pub(crate) fn ended(&mut self, until: Instant) -> Result<()> {
        let code = self.process()?.wait(until)?;
        ensure!(code == 0, "holdfast ended with {code}");
        Ok(())
    }

    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}

/// One HTTP GET: status code and body.
pub(crate) fn get(address: SocketAddrV4, path: &str) -> Result<(u16, String)> {
    let limit = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address.into(), limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("no whole HTTP answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

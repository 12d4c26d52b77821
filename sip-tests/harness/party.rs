//! The parties of a case: who answers at each address.

use std::collections::BTreeMap;
use std::net::{SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::case::{self, Case, Role, plain};
use super::ports::{free_port, free_ports};
use super::process::{Process, tail};
use super::telephone::{Telephone, Told};
use super::template::Values;
use super::wire::loopback;

/// A party at its address, running or not.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) name: String,
    pub(crate) told: case::Party,
    pub(crate) address: SocketAddrV4,
    pub(crate) state: State,
    dir: PathBuf,
}

#[derive(Debug)]
pub(crate) enum State {
    Idle,
    Running(Process),
    /// Bound; nothing is ever read.
    Silent(#[expect(dead_code, reason = "held, so that the port stays bound")] UdpSocket),
    Datagrams(UdpSocket),
    Telephone(Telephone),
    /// Ran, and has been judged.
    Done,
}

impl Party {
    pub(crate) fn new(name: &str, told: &case::Party, dir: &Path) -> Result<Self> {
        // A telephone that speaks TLS takes the port before its own too.
        let port = match told.plays.is_telephone() {
            true => free_ports(2)? + 1,
            false => free_port()?,
        };
        let address = loopback(&told.address, port)?;
        Ok(Self {
            name: name.to_owned(),
            told: told.clone(),
            address,
            state: State::Idle,
            dir: dir.to_owned(),
        })
    }

    /// Where SIPp writes what it saw; `None` for the others.
    pub(crate) fn trace(&self) -> Option<PathBuf> {
        let is_sipp = matches!(self.told.plays, Role::Caller | Role::Carrier);
        is_sipp.then(|| self.dir.join(format!("{}.messages", self.name)))
    }

    /// Whether a step has to start it, or the end of the case must await it.
    pub(crate) fn is_caller(&self) -> bool {
        self.told.plays == Role::Caller
    }

    pub(crate) fn start(
        &mut self,
        case: &Case,
        values: &Values,
        target: SocketAddrV4,
        limit_s: u64,
    ) -> Result<()> {
        ensure!(
            matches!(self.state, State::Idle | State::Done),
            "{} is running already",
            self.name
        );
        let mut values = values.clone();
        for (name, value) in &self.told.values {
            values.set(name.clone(), plain(value));
        }
        values.set("own.host", self.address.ip());
        values.set("own.port", self.address.port());
        values.set("target", target);
        let transport = values.fill(&self.told.transport)?;
        values.set("own.transport", &transport);
        self.state = match self.told.plays {
            Role::Caller | Role::Carrier => {
                State::Running(self.sipp(case, &values, target, limit_s)?)
            }
            Role::Silent => State::Silent(UdpSocket::bind(self.address)?),
            Role::Datagrams => State::Datagrams(UdpSocket::bind(self.address)?),
            Role::Closed => State::Done,
            Role::Kamailio => State::Running(self.kamailio(case, &values)?),
            role @ (Role::Baresip | Role::Pjsua2 | Role::Linphone) => {
                State::Telephone(Telephone::start(
                    role,
                    &Told {
                        name: &self.name,
                        number: &self.told.called,
                        dir: &self.dir,
                        own: self.address,
                        outbound: target,
                        transport: &transport,
                        values: &values,
                    },
                )?)
            }
        };
        Ok(())
    }

    fn sipp(
        &self,
        case: &Case,
        values: &Values,
        target: SocketAddrV4,
        limit_s: u64,
    ) -> Result<Process> {
        let scenario = self.told.scenario.as_deref();
        let scenario = scenario.with_context(|| format!("{} has no scenario", self.name))?;
        let xml = values.fill(&std::fs::read_to_string(case.file(&format!("{scenario}.xml"))?)?)?;
        let path = self.dir.join(format!("{}.xml", self.name));
        std::fs::write(&path, xml)?;
        let trace = self.trace().context("SIPp has a trace")?;
        // Audio and video, each with a port for its reports.
        let (media_port, control_port) = (free_ports(4)?, free_port()?);
        Process::start(&self.name, &self.dir, "sipp", |command| {
            command.arg(target.to_string()).arg("-sf").arg(&path);
            command.args([
                "-i",
                &self.address.ip().to_string(),
                "-p",
                &self.address.port().to_string(),
            ]);
            command.args(["-mi", &self.address.ip().to_string(), "-mp", &media_port.to_string()]);
            command.args(["-ci", "127.0.0.1", "-cp", &control_port.to_string()]);
            command.args(["-s", &self.told.called, "-bind_local", "-nostdin", "-timer_resol", "2"]);
            command.args(["-timeout", &limit_s.to_string(), "-timeout_error", "-trace_err"]);
            command.arg("-error_file").arg(self.dir.join(format!("{}.errors", self.name)));
            command.arg("-trace_msg").arg("-message_file").arg(trace);
            command.args(["-r", &self.told.rate.to_string()]);
            if self.told.calls > 0 {
                command.args(["-m", &self.told.calls.to_string()]);
            }
            command.args(&self.told.options);
            command.env("TERM", "dumb");
        })
    }

    fn kamailio(&self, case: &Case, values: &Values) -> Result<Process> {
        let config = self.told.config.as_deref();
        let config = config.with_context(|| format!("{} has no config", self.name))?;
        let mut values = values.clone();
        if values.get("routes").is_none() {
            values.set("routes", "loose");
        }
        let text = values.fill(&std::fs::read_to_string(case.file(config)?)?)?;
        let path = self.dir.join(format!("{}.cfg", self.name));
        std::fs::write(&path, text)?;
        let run_dir = self.dir.join(format!("{}.run", self.name));
        std::fs::create_dir_all(&run_dir)?;
        Process::start(&self.name, &self.dir, "kamailio", |command| {
            // In the foreground, with its log on stderr; shared and private memory in MiB.
            command.args(["-DD", "-E", "-m", "32", "-M", "8"]).arg("-f").arg(&path);
            command.arg("-Y").arg(&run_dir);
        })
    }

    /// Awaits the end of a SIPp party and judges its exit code.
    pub(crate) fn wait(&mut self, until: Instant) -> Result<()> {
        let State::Running(process) = &mut self.state else {
            bail!("{} is not running", self.name);
        };
        let code = process.wait(until)?;
        self.state = State::Done;
        ensure!(
            code == self.told.exit,
            "{} (SIPp) ended with {code} instead of {}",
            self.name,
            self.told.exit
        );
        Ok(())
    }

    /// Awaits it if it is one that ends by itself.
    pub(crate) fn finish(&mut self, until: Instant) -> Result<()> {
        let ends = matches!(self.told.plays, Role::Caller | Role::Carrier) && self.told.calls > 0;
        match &self.state {
            State::Running(_) if ends => self.wait(until),
            State::Idle if ends => bail!("{} was never started", self.name),
            State::Running(_) | State::Idle | State::Done => Ok(()),
            State::Silent(_) | State::Datagrams(_) | State::Telephone(_) => Ok(()),
        }
    }

    pub(crate) fn kill(&mut self) {
        self.state = State::Done;
    }

    /// All that it wrote to its log.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(self.dir.join(format!("{}.log", self.name))).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// What SIPp has to say about itself, for a failed case.
    pub(crate) fn complaints(&self) -> String {
        let errors = self.dir.join(format!("{}.errors", self.name));
        let log = self.dir.join(format!("{}.log", self.name));
        let shown = match self.told.plays {
            Role::Caller | Role::Carrier => errors,
            Role::Kamailio | Role::Baresip | Role::Pjsua2 | Role::Linphone => log,
            Role::Silent | Role::Closed | Role::Datagrams => return String::new(),
        };
        let text = std::fs::read(&shown).unwrap_or_default();
        tail(&String::from_utf8_lossy(&text), 25)
    }
}

/// All parties by name.
pub(crate) type Parties = BTreeMap<String, Party>;

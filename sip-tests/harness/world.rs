//! One case from its first file to its last check.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddrV4;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;
use tempfile::TempDir;

use super::case::{Case, HoldfastStep, Role, Step, plain, root};
use super::name_server::NameServer;
use super::party::{Parties, Party, State};
use super::ports::free_port;
use super::process::{POLL, tail};
use super::router::Router;
use super::store::{Store, StoreKind};
use super::template::Values;
use super::wire::{SECRETS, Wire, ladder, loopback};
use super::{certificates, dissect, expect, hiding, matrix, records};

/// How long Holdfast may take to end once it was told to, its drain limit included.
const END_LIMIT: Duration = Duration::from_secs(20);
/// How long a party may take to bind its port.
const BIND_LIMIT: Duration = Duration::from_secs(10);

/// Everything that runs for one case. Dropping it ends every process.
#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) case: &'a Case,
    pub(crate) values: Values,
    pub(crate) parties: Parties,
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) wire: Wire,
    /// Answers as long as it is here.
    _name_server: Option<NameServer>,
    /// The case's own end.
    pub(crate) until: Instant,
}

/// Runs a case; an error says all that is wrong and shows what passed.
pub(crate) fn run(case: &Case, kind: StoreKind) -> Result<()> {
    let prefix = format!("holdfast-{}-", case.name);
    let mut dir = tempfile::Builder::new().prefix(&prefix).tempdir()?;
    if std::env::var_os("HOLDFAST_TEST_KEEP").is_some() {
        dir.disable_cleanup(true);
    }
    let mut world = World::new(case, kind, dir.path())?;
    let mut wrong = Vec::new();
    if let Err(error) = world.play() {
        wrong.push(format!("{error:#}"));
    }
    if let Err(error) = world.end(wrong.is_empty()) {
        wrong.push(format!("{error:#}"));
    }
    wrong.extend(world.checks(dir.path(), wrong.is_empty())?);
    if world.wire.is_captured() {
        matrix::note(case, kind, &world.wire.messages(), !wrong.is_empty());
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", world.report(&wrong, &dir))
}

/// With the case's records, where it has any.
fn name_server(case: &Case, values: &Values) -> Result<Option<NameServer>> {
    if case.dns.is_empty() {
        return Ok(None);
    }
    let server = NameServer::start();
    for (name, told) in &case.dns {
        let addresses: Vec<&str> = told.a.iter().map(String::as_str).collect();
        server.zone().a(name, &addresses);
        let filled: Result<Vec<String>> = told.srv.iter().map(|text| values.fill(text)).collect();
        let filled = filled?;
        let mut records = Vec::new();
        for text in &filled {
            let parts: Vec<&str> = text.split(' ').collect();
            let [priority, weight, port, host] = parts[..] else {
                bail!("'{text}' is not PRIORITY WEIGHT PORT HOST");
            };
            records.push((priority.parse()?, weight.parse()?, port.parse()?, host));
        }
        server.zone().srv(name, &records);
    }
    Ok(Some(server))
}

impl<'a> World<'a> {
    fn new(case: &'a Case, kind: StoreKind, dir: &Path) -> Result<Self> {
        let mut parties = Parties::new();
        let mut values = Values::default();
        values.add_parts(&root().join("scenarios/parts"))?;
        for (name, value) in &case.values {
            values.set(name.clone(), plain(value));
        }
        for (name, told) in &case.party {
            let party = Party::new(name, told, dir)?;
            values.set(name.clone(), party.address);
            values.set(format!("{name}.host"), party.address.ip());
            values.set(format!("{name}.port"), party.address.port());
            parties.insert(name.clone(), party);
        }
        let sip = match case.carriers.first() {
            Some(first) if is_direct() => parties[first].address,
            _ => loopback("127.0.0.1", free_port()?)?,
        };
        values.set("holdfast", sip);
        values.set("holdfast.host", sip.ip());
        values.set("holdfast.port", sip.port());
        let admin = loopback("127.0.0.1", free_port()?)?;
        let steps: Vec<_> = case.step.iter().filter_map(Step::of_store).collect();
        let store = Store::create(kind, dir, &case.name, &steps)?;
        certificates::write(dir, &mut values)?;
        let filled =
            |(key, value): (&String, &toml::Value)| Ok((key.clone(), values.fill(&plain(value))?));
        let mut settings: BTreeMap<String, String> =
            case.settings.iter().map(filled).collect::<Result<_>>()?;
        if settings.get("listen").is_some_and(|listen| listen.contains("tls:")) {
            settings.insert("tls_key_log".to_owned(), dir.join(SECRETS).display().to_string());
        }
        let name_server = name_server(case, &values)?;
        if let Some(server) = &name_server {
            settings.insert("name_servers".to_owned(), server.address.to_string());
        }
        let addresses = parties.iter().map(|(name, party)| (name.clone(), party.address));
        let telephones = parties.values().filter(|party| party.told.plays.is_telephone());
        let telephones = telephones.map(|party| (party.told.called.clone(), party.address));
        let traces =
            parties.iter().filter_map(|(name, party)| Some((name.clone(), party.trace()?)));
        Ok(Self {
            router: Router::new(dir, sip, admin, &store.url, settings),
            wire: Wire::new(addresses.collect(), telephones.collect(), sip, traces.collect(), dir),
            case,
            values,
            parties,
            store,
            _name_server: name_server,
            until: Instant::now() + Duration::from_secs(case.limit_s),
        })
    }

    pub(crate) fn party(&mut self, name: &str) -> Result<&mut Party> {
        let party = self.parties.get_mut(name);
        party.with_context(|| format!("there is no party {name}"))
    }

    pub(crate) fn holdfast_address(&self) -> SocketAddrV4 {
        self.router.sip
    }

    fn play(&mut self) -> Result<()> {
        if !is_direct() {
            self.router.migrate()?;
            self.store.execute(&self.values.fill(&self.tables())?)?;
        }
        let early: Vec<String> = self
            .parties
            .values()
            .filter(|party| !party.is_caller() && !party.told.late)
            .map(|party| party.name.clone())
            .collect();
        for name in &early {
            self.start_party(name)?;
        }
        let first = self.case.step.iter().find_map(|step| match step {
            Step::Holdfast(what) => Some(*what),
            _ => None,
        });
        if !is_direct() && !matches!(first, Some(HoldfastStep::Start | HoldfastStep::StartDegraded))
        {
            self.router.start(true, self.until)?;
        }
        if self.case.step.is_empty() {
            self.call_in_turn()?;
        }
        for (index, step) in self.case.step.iter().enumerate() {
            self.step(step).with_context(|| format!("step {}", index + 1))?;
        }
        Ok(())
    }

    fn call_in_turn(&mut self) -> Result<()> {
        let callers = self.parties.values().filter(|party| party.is_caller());
        let callers: Vec<String> = callers.map(|party| party.name.clone()).collect();
        for name in callers {
            self.start_party(&name)?;
            let until = self.until;
            self.party(&name)?.wait(until)?;
        }
        Ok(())
    }

    /// The rows that `carriers` stands for, then the case's own.
    fn tables(&self) -> String {
        let mut sql = String::new();
        if !self.case.carriers.is_empty() {
            sql.push_str(
                "insert into customers (customer_id, name) values (1, 'acme');\n\
                 insert into customer_addresses (address_range, customer_id) values ('127.0.0.1/32', 1);\n\
                 insert into routes (route_id, strategy) values (1, 'priority');\n",
            );
        }
        for (index, name) in self.case.carriers.iter().enumerate() {
            let id = index + 1;
            write!(
                sql,
                "insert into carriers (carrier_id, name, probe_interval_ms) values ({id}, '{name}', 0);\n\
                 insert into gateways (gateway_id, carrier_id, name, host, port)\n\
                 values ({id}, {id}, '{name}', '{{{{{name}.host}}}}', {{{{{name}.port}}}});\n\
                 insert into route_carriers (route_id, carrier_id, priority) values (1, {id}, {id});\n"
            )
            .expect("a String takes all");
        }
        sql + &self.case.sql
    }

    pub(crate) fn start_party(&mut self, name: &str) -> Result<()> {
        let told = &self.party(name)?.told;
        let (plays, via) = (told.plays, told.via.clone());
        let target = match via {
            Some(via) => self.wire.address(&via)?,
            None => self.holdfast_address(),
        };
        // SIPp ends by itself before we would call it too late.
        let left = self.until.saturating_duration_since(Instant::now());
        let limit_s = left.as_secs().max(1);
        let (case, values) = (self.case, self.values.clone());
        let party = self.party(name)?;
        party.start(case, &values, target, limit_s)?;
        match plays {
            Role::Closed | Role::Caller => Ok(()),
            Role::Carrier
            | Role::Silent
            | Role::Datagrams
            | Role::Kamailio
            | Role::Baresip
            | Role::Pjsua2
            | Role::Linphone => wait_until_bound(party),
        }
    }

    /// Awaits what ends by itself, then Holdfast, whose exit says whether a call was left over.
    fn end(&mut self, is_going_well: bool) -> Result<()> {
        let mut result = Ok(());
        if !is_going_well {
            // What still runs will hardly end by itself.
            self.until = self.until.min(Instant::now() + Duration::from_secs(1));
        }
        for party in self.parties.values_mut() {
            if result.is_ok() {
                result = party.finish(self.until);
            }
            if result.is_err() {
                party.kill();
            }
        }
        if self.router.is_running()? {
            self.router.signal("TERM")?;
            let ended = self.router.ended(Instant::now() + END_LIMIT);
            self.router.kill();
            result = result.and(ended);
        }
        for party in self.parties.values_mut() {
            party.kill();
        }
        result
    }

    /// All checks; those on the records only where the case came to its end.
    fn checks(&self, dir: &Path, came_to_its_end: bool) -> Result<Vec<String>> {
        if is_direct() {
            return Ok(Vec::new());
        }
        self.wire.settle();
        let mut wrong = expect::check(self.case, &self.values, &self.wire);
        wrong.extend(hiding::check(&self.wire, self.router.sip));
        wrong.extend(dissect::malformed(&self.wire.sent_by_holdfast(), dir)?);
        if came_to_its_end {
            wrong.extend(records::check(self.case, &self.values, &self.store));
        }
        let log = self.router.log();
        if log.contains("panicked at") {
            wrong.push("holdfast panicked".to_owned());
        }
        for pattern in &self.case.log {
            let pattern = Regex::new(&self.values.fill(pattern)?)?;
            if !pattern.is_match(&log) {
                wrong.push(format!("holdfast's log should match {pattern}"));
            }
        }
        Ok(wrong)
    }

    fn report(&self, wrong: &[String], dir: &TempDir) -> String {
        let mut out = format!("{}\n", self.case.about.trim());
        for line in wrong {
            out.push_str(&format!("  - {line}\n"));
        }
        out.push_str(&format!("\nwhat passed:\n{}", ladder(&self.wire.messages())));
        for party in self.parties.values() {
            let complaints = party.complaints();
            if !complaints.is_empty() {
                out.push_str(&format!("\n{} said:\n{complaints}\n", party.name));
            }
        }
        out.push_str(&format!("\nholdfast said:\n{}\n", tail(&self.router.log(), 30)));
        if std::env::var_os("HOLDFAST_TEST_KEEP").is_some() {
            out.push_str(&format!("\nkept: {}\n", dir.path().display()));
        }
        out
    }
}

/// Whether the callers are to talk to the first carrier without Holdfast between them, to try out
/// the scenarios themselves.
fn is_direct() -> bool {
    std::env::var_os("HOLDFAST_TEST_DIRECT").is_some()
}

/// Until the kernel lists its port, so that the first datagram finds somebody.
fn wait_until_bound(party: &mut Party) -> Result<()> {
    let until = Instant::now() + BIND_LIMIT;
    let port = format!(":{:04X} ", party.address.port());
    loop {
        let bound =
            std::fs::read_to_string("/proc/net/udp")? + &std::fs::read_to_string("/proc/net/tcp")?;
        if bound.lines().any(|line| line.contains(&port)) {
            return Ok(());
        }
        let code = match &mut party.state {
            State::Running(process) => process.exit_code()?,
            State::Telephone(telephone) => telephone.exit_code()?,
            State::Idle | State::Silent(_) | State::Datagrams(_) | State::Done => None,
        };
        if let Some(code) = code {
            bail!("{} ended with {code}: {}", party.name, party.complaints());
        }
        ensure!(Instant::now() < until, "{} does not bind its port", party.name);
        sleep(POLL);
    }
}

//! Carries out the steps of a case.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;

use super::case::{CommandStep, HoldfastStep, HttpStep, See, SendStep, Step, StoreStep, Told};
use super::datagrams;
use super::party::State;
use super::process::POLL;
use super::router::get;
use super::wire::Pick;
use super::world::World;

impl World<'_> {
    pub(crate) fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Start(party) => self.start_party(party),
            Step::Wait(party) => {
                let until = self.until;
                self.party(party)?.wait(until)
            }
            Step::Kill(party) => {
                self.party(party)?.kill();
                Ok(())
            }
            Step::SleepMs(ms) => {
                sleep(Duration::from_millis(*ms));
                Ok(())
            }
            Step::Sql(sql) => self.store.execute(&self.values.fill(sql)?),
            Step::Until(until) => {
                let sql = self.values.fill(&until.sql)?;
                self.store.until(&sql, &until.is, self.within(until.within_ms))
            }
            Step::See(see) => self.see(see),
            Step::Told(told) => self.told(told),
            Step::Holdfast(what) => self.holdfast(*what),
            Step::Store(StoreStep::Stop) => self.store.stop(),
            Step::Store(StoreStep::Start) => self.store.start(),
            Step::Store(StoreStep::Freeze) => self.store.freeze(),
            Step::Store(StoreStep::Thaw) => self.store.thaw(),
            Step::Store(StoreStep::Die) => self.store.die(),
            Step::Store(StoreStep::Promote) => self.store.promote(),
            Step::Send(send) => self.send(send),
            Step::Command(command) => self.command(command),
            Step::Http(http) => self.http(http),
        }
    }

    /// The end of a time that begins now, and of the case at the latest.
    fn within(&self, ms: u64) -> Instant {
        self.until.min(Instant::now() + Duration::from_millis(ms))
    }

    fn see(&self, see: &See) -> Result<()> {
        let pick = Pick::parse(&see.message)?;
        let until = self.within(see.within_ms);
        loop {
            if pick.find(&self.wire.messages()).is_some() {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "`{}` did not pass within {} ms",
                see.message,
                see.within_ms
            );
            sleep(POLL);
        }
    }

    fn told(&mut self, told: &Told) -> Result<()> {
        let until = self.within(told.within_ms);
        let pattern = Regex::new(&self.values.fill(&told.matches)?)?;
        while !pattern.is_match(&self.party(&told.party)?.log()) {
            ensure!(
                Instant::now() < until,
                "{} did not say {pattern} within {} ms",
                told.party,
                told.within_ms
            );
            sleep(POLL);
        }
        Ok(())
    }

    fn holdfast(&mut self, what: HoldfastStep) -> Result<()> {
        match what {
            HoldfastStep::Start => self.router.start(true, self.until),
            HoldfastStep::StartDegraded => self.router.start(false, self.until),
            HoldfastStep::Drain => self.router.signal("TERM"),
            HoldfastStep::Ended => self.router.ended(self.until),
            HoldfastStep::Kill => {
                self.router.kill();
                Ok(())
            }
        }
    }

    fn send(&mut self, step: &SendStep) -> Result<()> {
        let target = self.holdfast_address();
        let party = self.parties.get(&step.from).context("no such party")?;
        let State::Datagrams(socket) = &party.state else {
            bail!("{} does not play `datagrams`", step.from);
        };
        datagrams::send(step, self.case, &mut self.values, socket, target)
    }

    fn command(&mut self, step: &CommandStep) -> Result<()> {
        let params = self.values.fill(&step.params)?;
        match &mut self.party(&step.party)?.state {
            State::Telephone(telephone) => telephone.command(&step.command, &params),
            State::Idle
            | State::Running(_)
            | State::Silent(_)
            | State::Datagrams(_)
            | State::Done => {
                bail!("{} is no telephone that runs", step.party)
            }
        }
    }

    fn http(&self, step: &HttpStep) -> Result<()> {
        let until = self.within(step.within_ms);
        loop {
            let answer = get(self.router.admin, &step.path);
            if let Ok((status, body)) = &answer
                && *status == step.status
                && body.contains(&step.contains)
            {
                return Ok(());
            }
            if Instant::now() > until {
                bail!(
                    "{} should give {} and {:?}, and gives {answer:?}",
                    step.path,
                    step.status,
                    step.contains
                );
            }
            sleep(POLL);
        }
    }
}

//! The drill itself: calls are set up, something breaks, calls go on, all are hung up, records are counted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use time::OffsetDateTime;

use super::fault::What;
use super::figures::Figures;
use super::flags::Plan;
use super::ledger::{Ledger, Moments, Ms, Purpose, Side, Target};
use super::report::Moment;
use super::watch::Watch;
use crate::cli::agents::{
    self, Behaviour, Caller, CallerSettings, Carrier, CarrierSettings, Running,
};
use crate::store::Store;
use crate::store::drills::DrillRecord;

const TURN: Duration = Duration::from_millis(10);
/// Held calls are set up, and hung up, one after the other.
const RAMP_EVERY: Duration = Duration::from_millis(10);
/// How long the nodes may take to know rows that were just written, or those that are there.
const TRIAL_LIMIT: Duration = Duration::from_secs(20);
const TRIAL_LIMIT_UNPREPARED: Duration = Duration::from_secs(2);
const TRIAL_EVERY: Duration = Duration::from_millis(500);
/// How long calls may take to be answered before the drill begins.
const SETUP_LIMIT: Duration = Duration::from_secs(20);
/// How long calls may take to end after they were hung up.
const END_LIMIT: Duration = Duration::from_secs(15);
/// How long records may take.
const RECORDS_LIMIT: Duration = Duration::from_secs(30);
const RECORDS_EVERY: Duration = Duration::from_millis(250);
/// Clocks of the machines may differ so much.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) started_at: OffsetDateTime,
    pub(super) ended_at: OffsetDateTime,
    pub(super) fault_lasted_ms: Ms,
    pub(super) timeline: Vec<Moment>,
    pub(super) figures: Figures,
}

pub(super) async fn play(plan: &Plan, store: Option<&Store>) -> anyhow::Result<Played> {
    plan.fault.check().await?;
    let started_at = OffsetDateTime::now_utc();
    let mut stage = Stage::set(plan, store).await?;
    stage.try_nodes().await?;
    stage.ramp().await?;
    stage.tell(format!("{} calls are up; new ones begin", plan.calls));
    stage.next_call = Some(Instant::now());
    stage.go_on(plan.before, |_| false).await;

    let fault_at = stage.break_it().await?;
    stage.go_on(plan.fault_for.saturating_sub(fault_at.elapsed()), |_| false).await;
    let undone_at = stage.mend().await?;
    stage.go_on(plan.after, |_| false).await;
    let moments = Moments {
        fault_at: stage.ms(fault_at),
        undone_at: stage.ms(undone_at),
        detected_at: stage.detected_at,
    };

    stage.end_all().await;
    let prefix = stage.prefix.clone();
    let since = started_at - CLOCK_SKEW;
    let records = match store {
        Some(store) => Some(read_records(store, &stage.ledger, &prefix, since).await?),
        None => None,
    };
    let figures = stage.ledger.figures(moments, plan.target, records.as_deref());
    Ok(Played {
        started_at,
        ended_at: OffsetDateTime::now_utc(),
        fault_lasted_ms: moments.undone_at - moments.fault_at,
        timeline: stage.timeline(moments.fault_at, &figures),
        figures,
    })
}

struct Stage<'p> {
    plan: &'p Plan,
    begun: Instant,
    prefix: String,
    caller: Running<Caller>,
    carriers: Vec<Running<Carrier>>,
    watch: Option<Watch>,
    ledger: Ledger,
    /// While new calls are made.
    next_call: Option<Instant>,
    told: Vec<(Ms, String)>,
    is_broken: bool,
    detected_at: Option<Ms>,
}

impl<'p> Stage<'p> {
    async fn set(plan: &'p Plan, store: Option<&Store>) -> anyhow::Result<Self> {
        let salt = getrandom::u32().context("the system gives no random numbers")?;
        let prefix = format!("drill-{salt:08x}");
        let settings = CallerSettings {
            nodes: plan.nodes.clone(),
            leave_after: plan.leave_after,
            prefix: prefix.clone(),
            calling: "99900".to_owned(),
            // No country has this code.
            called_prefix: "999".to_owned(),
        };
        let caller = agents::start(plan.caller, |own| Caller::new(own, settings)).await;
        let caller = caller.with_context(|| format!("cannot bind --caller {}", plan.caller))?;
        let mut carriers = Vec::new();
        for (number, address) in (1..).zip(&plan.carriers) {
            let behaviour = Behaviour::Answers;
            let settings = CarrierSettings { behaviour, prefix: format!("{prefix}-c{number}") };
            let carrier = agents::start(*address, |own| Carrier::new(own, settings)).await;
            carriers.push(carrier.with_context(|| format!("cannot bind --carriers {address}"))?);
        }
        let nodes = plan.nodes.iter().map(ToString::to_string).collect();
        let carrier = match plan.target {
            Target::Carrier { index, .. } => plan.carriers.get(index).copied(),
            Target::Node | Target::Other => None,
        };
        Ok(Self {
            plan,
            begun: Instant::now(),
            prefix,
            caller,
            carriers,
            watch: store.map(|store| Watch::start(store.clone(), nodes, carrier)),
            ledger: Ledger::default(),
            next_call: None,
            told: Vec::new(),
            is_broken: false,
            detected_at: None,
        })
    }

    /// A call through each node: each must be up, and know the drill's rows.
    async fn try_nodes(&mut self) -> anyhow::Result<()> {
        for (index, node) in self.plan.nodes.iter().enumerate() {
            let limit = if self.plan.prepare { TRIAL_LIMIT } else { TRIAL_LIMIT_UNPREPARED };
            let limit = Instant::now() + limit;
            loop {
                self.offer(index, Purpose::Trial);
                self.go_on(SETUP_LIMIT, |ledger| ledger.pending(Purpose::Trial) == 0).await;
                if self.ledger.last_answered_by() == Some(*node) {
                    break;
                }
                ensure!(Instant::now() < limit, self.why_not_ready(*node));
                self.go_on(TRIAL_EVERY, |_| false).await;
            }
        }
        Ok(())
    }

    fn why_not_ready(&self, node: SocketAddr) -> String {
        let (_, why) = self.ledger.lost(Purpose::Trial);
        let why = why.unwrap_or_else(|| "no answer".to_owned());
        let mut text = format!("node {node} does not carry a trial call: {why}");
        if !self.plan.prepare {
            let sql = self.plan.tables().sql();
            text.push_str(&format!(
                "\nThe tables must have these rows (--prepare writes them):\n{sql}"
            ));
        }
        text
    }

    async fn ramp(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.plan.calls {
            self.offer(0, Purpose::Held);
            self.go_on(RAMP_EVERY, |_| false).await;
        }
        self.go_on(SETUP_LIMIT, |ledger| ledger.pending(Purpose::Held) == 0).await;
        let up = self.ledger.talking(Purpose::Held).len();
        if up < self.plan.calls as usize {
            let (_, why) = self.ledger.lost(Purpose::Held);
            let why = why.map(|why| format!("; the last one: {why}")).unwrap_or_default();
            bail!("only {up} of {} calls could be set up{why}", self.plan.calls);
        }
        Ok(())
    }

    /// Breaks what is to be broken, while calls go on.
    async fn break_it(&mut self) -> anyhow::Result<Instant> {
        // What was seen so far says nothing about the fault.
        self.turn(Instant::now());
        let fault_at = Instant::now();
        self.is_broken = true;
        self.tell(format!("fault: {}", self.plan.fault));
        if let (What::Carrier(behaviour), Some(carrier)) =
            (&self.plan.fault.what, self.carriers.first())
        {
            carrier.with(|agent| agent.behave(*behaviour));
        }
        let broken = self.while_calls_go_on(self.plan.fault.break_it()).await;
        broken.context("the fault could not be done")?;
        Ok(fault_at)
    }

    async fn mend(&mut self) -> anyhow::Result<Instant> {
        // What is noticed from now on is that it is over.
        self.is_broken = false;
        if let (What::Carrier(_), Some(carrier)) = (&self.plan.fault.what, self.carriers.first()) {
            carrier.with(|agent| agent.behave(Behaviour::Answers));
        }
        let mended = self.while_calls_go_on(self.plan.fault.mend()).await;
        mended.context("the fault could not be undone")?;
        match &self.plan.fault.what {
            What::Kill { .. } | What::Commands { undo: None, .. } => {}
            What::Freeze { .. } | What::Commands { undo: Some(_), .. } | What::Carrier(_) => {
                self.tell("the fault is undone".to_owned());
            }
        }
        Ok(Instant::now())
    }

    /// Hangs up what is left, from alternating sides, and sees every call to its end.
    async fn end_all(&mut self) {
        self.next_call = None;
        self.go_on(SETUP_LIMIT, |ledger| ledger.pending(Purpose::New) == 0).await;
        self.tell("all calls are hung up".to_owned());
        for purpose in [Purpose::Held, Purpose::New] {
            for (number, carrier, _) in self.ledger.talking(purpose) {
                self.hang_up(number, carrier, Instant::now());
                if purpose == Purpose::Held {
                    self.go_on(RAMP_EVERY, |_| false).await;
                }
            }
        }
        self.go_on(END_LIMIT, |ledger| !ledger.is_anything_up()).await;
    }

    async fn while_calls_go_on<T>(&mut self, done: impl Future<Output = T>) -> T {
        let mut done = std::pin::pin!(done);
        loop {
            tokio::select! {
                done = &mut done => return done,
                () = self.go_on(TURN, |_| false) => {}
            }
        }
    }

    /// Lets calls come and go for a time, or until something holds.
    async fn go_on(&mut self, limit: Duration, until: impl Fn(&Ledger) -> bool) {
        let end = Instant::now() + limit;
        loop {
            let now = Instant::now();
            self.turn(now);
            if now >= end || until(&self.ledger) {
                return;
            }
            tokio::time::sleep(TURN.min(end - now)).await;
        }
    }

    fn turn(&mut self, now: Instant) {
        let begun = self.begun;
        let ms = |at: Instant| ms_between(begun, at);
        let ledger = &mut self.ledger;
        self.caller.with(|caller| {
            while let Some((at, number, news)) = caller.poll_news() {
                ledger.note_caller(ms(at), number, news);
            }
        });
        for (index, carrier) in self.carriers.iter().enumerate() {
            carrier.with(|carrier| {
                while let Some((at, number, news)) = carrier.poll_news() {
                    ledger.note_carrier(ms(at), index, number, news);
                }
            });
        }
        for (at, seen) in self.watch.iter().flat_map(Watch::take) {
            if self.is_broken && seen.is_detection {
                self.detected_at = self.detected_at.or(Some(ms(at)));
            }
            self.told.push((ms(at), seen.what));
        }
        self.hang_up_due(now);
        while let Some(due) = self.next_call.filter(|due| *due <= now) {
            self.next_call = Some(due + self.plan.every);
            self.offer(0, Purpose::New);
        }
    }

    fn hang_up_due(&mut self, now: Instant) {
        for (number, carrier, _) in self.ledger.talking(Purpose::Trial) {
            self.hang_up(number, carrier, now);
        }
        let talk_ms = i64::try_from(self.plan.talk.as_millis()).unwrap_or(Ms::MAX);
        let now_ms = self.ms(now);
        for (number, carrier, since) in self.ledger.talking(Purpose::New) {
            if now_ms - since >= talk_ms {
                self.hang_up(number, carrier, now);
            }
        }
    }

    /// The caller hangs up every other call, its callee the ones between.
    fn hang_up(&mut self, number: u64, carrier: usize, now: Instant) {
        let side = if number.is_multiple_of(2) { Side::Caller } else { Side::Callee };
        match side {
            Side::Caller => self.caller.with(|agent| agent.hang_up(number, now)),
            Side::Callee => self.carriers[carrier].with(|agent| agent.hang_up(number, now)),
        };
        let at = self.ms(now);
        self.ledger.note_hang_up(at, number, side);
    }

    fn offer(&mut self, first_node: usize, purpose: Purpose) {
        let now = Instant::now();
        let call = self.caller.with(|agent| agent.call(first_node, now));
        let at = self.ms(now);
        self.ledger.offer(call, purpose, at);
    }

    fn ms(&self, at: Instant) -> Ms {
        ms_between(self.begun, at)
    }

    fn tell(&mut self, what: String) {
        let at = self.ms(Instant::now());
        eprintln!("{:7.1} s  {what}", self.begun.elapsed().as_secs_f64());
        self.told.push((at, what));
    }

    /// What was seen, and what the sums know of it, in its order.
    fn timeline(&self, fault_at: Ms, figures: &Figures) -> Vec<Moment> {
        let told = self.told.iter();
        let mut moments: Vec<Moment> =
            told.map(|(at, what)| Moment { ms: at - fault_at, what: what.clone() }).collect();
        moments.extend(moments_of(figures, self.plan.target));
        moments.sort_by_key(|moment| moment.ms);
        moments
    }
}

/// What the sums of a drill say about its time.
fn moments_of(figures: &Figures, target: Target) -> Vec<Moment> {
    let failed = figures.failed.iter().map(|failed| failed.offered_ms);
    let decided = match target {
        Target::Carrier { .. } => figures.decided_ms,
        Target::Node | Target::Other => None,
    };
    let legs = figures.legs_told;
    [
        (failed.clone().min(), "the first call that fails is offered".to_owned()),
        (failed.max(), format!("the last one of {} is", figures.failed.len())),
        (figures.first_told_ms, "the first leg is told of another node".to_owned()),
        (figures.last_told_ms, format!("the last of {legs} legs is told")),
        (decided, "the first new call is answered at another carrier".to_owned()),
    ]
    .into_iter()
    .filter_map(|(ms, what)| Some(Moment { ms: ms?, what }))
    .collect()
}

/// The records of the drill's calls, once all are there, or have had their time.
async fn read_records(
    store: &Store,
    ledger: &Ledger,
    prefix: &str,
    since: OffsetDateTime,
) -> anyhow::Result<Vec<DrillRecord>> {
    let limit = Instant::now() + RECORDS_LIMIT;
    let prefix = format!("{prefix}-");
    loop {
        let records = store.drill_records(&prefix, since).await;
        let is_late = Instant::now() >= limit;
        match records {
            Ok(records) if is_late || ledger.are_on_record(&records) => {
                // One that is doubled may come a little later.
                tokio::time::sleep(RECORDS_EVERY).await;
                return Ok(store.drill_records(&prefix, since).await?);
            }
            Ok(_) => {}
            Err(error) if is_late => return Err(error).context("records cannot be counted"),
            // It may have to find its feet again.
            Err(_) => {}
        }
        tokio::time::sleep(RECORDS_EVERY).await;
    }
}

fn ms_between(from: Instant, to: Instant) -> Ms {
    let ms = to.saturating_duration_since(from).as_millis();
    i64::try_from(ms).unwrap_or(Ms::MAX)
}

//! One node among others: its lease, its calls kept outside, and those of dead nodes taken over.

mod keeper;
mod ping;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::call::{CallKey, Ownership, Replica, RingingReplica};
use crate::cluster::{Membership, Peer, refresh_times, share};
use crate::engine::{Command, Flow};
use crate::shard::{Beyond, ClusterSink, ShardHandle};
use crate::sip::{Message, peek};
use crate::store::answered::{ClaimedCall, LEASE_LIMIT, Lease, Renewed};
use crate::store::{Store, StoreError, StoreKind};
use crate::telemetry::metrics;
use keeper::Keeper;
use ping::Pinger;

/// How often the lease is renewed, and the others' are read.
const RENEW_EVERY: Duration = Duration::from_millis(400);
/// How often the task looks at the time.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often what crossed its record on the way is cleared away.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Calls taken over in one transaction.
const CLAIM_BATCH: u32 = 2_000;
/// What shards ask, on its way to this task; and answers of the store.
const QUEUE_LEN: usize = 20_000;
/// How long a node that has given its calls away stays for the peers that do not know yet.
const SETTLE_LIMIT: Duration = Duration::from_secs(12);
/// How long a renewal or a claim may take: where a network swallows it, the next one must not wait for it.
const STORE_LIMIT: Duration = Duration::from_secs(2);
/// What was kept so shortly before the store was asked for our calls may not be among them.
const OWNED_MARGIN: Duration = Duration::from_millis(100);
/// A request is repeated for so long (RFC 3261 §17.1.2.2, Timer F).
const REQUEST_LIMIT: Duration = Duration::from_secs(32);
/// A request for a call that is being taken over waits so long before it is looked at again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What the cluster task is made of.
#[derive(Debug)]
pub(super) struct ClusterSettings {
    pub(super) node: String,
    pub(super) region: Option<String>,
    /// Where other nodes can ask us whether we are alive.
    pub(super) ping_address: Option<String>,
    pub(super) legs_per_s: u32,
    pub(super) bucket_key: u64,
}

/// The shards' ends of the queues.
#[derive(Clone, Debug)]
pub(super) struct ClusterQueues {
    keep: mpsc::Sender<Kept>,
    ask: mpsc::Sender<Beyond>,
    /// The store takes what is to be kept.
    is_keeping: Arc<AtomicBool>,
}

/// One call to be kept.
#[derive(Debug)]
struct Kept {
    shard: usize,
    call: CallKey,
    state: KeptState,
}

#[derive(Debug)]
enum KeptState {
    Answered(Box<Replica>),
    Ringing(Box<RingingReplica>),
}

/// The task's ends.
#[derive(Debug)]
pub(super) struct ClusterInbox {
    keep: mpsc::Receiver<Kept>,
    ask: mpsc::Receiver<Beyond>,
    is_keeping: Arc<AtomicBool>,
}

/// What a drain asks of the task: to give all calls away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    #[default]
    Not,
    /// Give calls to whoever takes them.
    HandOver,
    /// Keep what is left.
    Stay,
}

pub(super) fn queues() -> (ClusterQueues, ClusterInbox) {
    let (keep, kept) = mpsc::channel(QUEUE_LEN);
    let (ask, asked) = mpsc::channel(QUEUE_LEN);
    let is_keeping = Arc::new(AtomicBool::new(true));
    let queues = ClusterQueues { keep, ask, is_keeping: is_keeping.clone() };
    (queues, ClusterInbox { keep: kept, ask: asked, is_keeping })
}

impl ClusterQueues {
    /// What a shard calls.
    pub(super) fn sink(&self) -> ClusterSink {
        let this = self.clone();
        let keep = move |this: &Self, shard, call, state| {
            this.is_keeping.load(Ordering::Relaxed)
                && this.keep.try_send(Kept { shard, call, state }).is_ok()
        };
        Box::new(move |beyond| match beyond {
            Beyond::Keep { shard, call, replica } => {
                keep(&this, shard, call, KeptState::Answered(replica))
            }
            Beyond::KeepRinging { shard, call, replica } => {
                keep(&this, shard, call, KeptState::Ringing(replica))
            }
            other => this.ask.try_send(other).is_ok(),
        })
    }
}

/// Answers of the store.
#[derive(Debug)]
enum Answer {
    Renewed(Result<Renewed, StoreError>),
    Claimed {
        calls: Vec<ClaimedCall>,
        is_all: bool,
    },
    ClaimFailed(StoreError),
    /// The next claim may go.
    ClaimAgain,
    /// The calls that are ours, for one shard, or for all of them.
    Owned {
        shard: Option<usize>,
        owned: Option<Arc<Ownership>>,
        asked_at: Instant,
    },
    Found {
        lookup: Lookup,
        run: Result<Option<(Uuid, i64)>, StoreError>,
    },
    /// A call that was claimed by itself, and the request that asked for it.
    ClaimedFor {
        lookup: Lookup,
        calls: Vec<ClaimedCall>,
    },
    /// What a slow statement has kept may have been taken before we heard of it.
    KeptLate,
    Given {
        to: i64,
        calls: Vec<Uuid>,
        given: Result<(), StoreError>,
    },
    Unsettled(i64),
}

/// A request whose dialog its shard does not know.
#[derive(Debug)]
struct Lookup {
    shard: usize,
    request: Box<(Flow, Message)>,
    looks: u8,
}

pub(super) struct ClusterTask {
    store: Store,
    lease: Lease,
    shards: Vec<ShardHandle>,
    settings: ClusterSettings,
    membership: Membership,
    pinger: Option<Pinger>,
    answers: mpsc::Sender<Answer>,
    /// `None` = not at all: nobody else looks.
    renew_at: Option<Instant>,
    sweep_at: Instant,
    is_renewing: bool,
    /// A renewal failed, or whose our calls are could not be read when that was due.
    is_unsure: bool,
    is_claiming: bool,
    /// There may be more to claim.
    is_behind: bool,
    /// By our tag: where requests of dialogs were sent on to, and when last. Once the call is over nobody finds it any
    /// more, and the last request may still be repeated.
    passed_on: HashMap<Vec<u8>, (SocketAddr, Instant)>,
    /// Calls that shards have let go of, by the run that they are to be given to.
    released: BTreeMap<i64, Vec<Uuid>>,
    is_giving: bool,
    hand_over_at: Instant,
    /// How often the store had become another server when that was last looked at.
    moves: u64,
    /// Told once everything is given away and settled.
    settled: watch::Sender<bool>,
    is_asking_unsettled: bool,
    has_given: bool,
    settle_until: Option<Instant>,
}

/// Starts the task. The lease ends when it is stopped.
pub(super) fn start(
    store: Store,
    shards: Vec<ShardHandle>,
    settings: ClusterSettings,
    inbox: ClusterInbox,
    drain: watch::Receiver<Drain>,
    settled: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let lease = Lease {
        id: random_id(),
        node: settings.node.clone(),
        address: settings.ping_address.clone(),
        region: settings.region.clone(),
        is_draining: false,
    };
    let (answers, answered) = mpsc::channel(QUEUE_LEN);
    let keeper = Keeper {
        store: store.clone(),
        lease: lease.clone(),
        shards: shards.clone(),
        queue: inbox.keep,
        is_keeping: inbox.is_keeping,
        answers: answers.clone(),
    };
    tokio::spawn(async move {
        let keeping = tokio::spawn(keeper.run());
        let now = Instant::now();
        let moves = store.moves();
        let task = ClusterTask {
            membership: Membership::new(lease.node.clone(), LEASE_LIMIT),
            pinger: Pinger::bind(settings.bucket_key).await,
            store,
            lease,
            shards,
            settings,
            answers,
            renew_at: Some(now),
            sweep_at: now + SWEEP_EVERY,
            is_renewing: false,
            is_unsure: false,
            is_claiming: false,
            is_behind: true,
            passed_on: HashMap::new(),
            released: BTreeMap::new(),
            moves,
            is_giving: false,
            hand_over_at: now,
            settled,
            is_asking_unsettled: false,
            has_given: false,
            settle_until: None,
        };
        task.run(inbox.ask, answered, drain, stop).await;
        keeping.abort();
    })
}

impl ClusterTask {
    async fn run(
        mut self,
        mut asked: mpsc::Receiver<Beyond>,
        mut answered: mpsc::Receiver<Answer>,
        drain: watch::Receiver<Drain>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => break,
                Some(asked) = asked.recv() => self.on_asked(asked),
                Some(answer) = answered.recv() => self.on_answer(answer).await,
                Some(id) = ping::answered(&mut self.pinger) => {
                    self.membership.handle_answer(id, Instant::now());
                }
                _ = look.tick() => {
                    let wanted = *drain.borrow();
                    self.on_tick(wanted, Instant::now()).await;
                }
            }
        }
        // The others need not wait until it lapses.
        let end = self.store.end_lease(self.lease.id);
        let _ = tokio::time::timeout(LEASE_LIMIT, end).await;
    }

    fn on_asked(&mut self, asked: Beyond) {
        match asked {
            Beyond::Released { call_id, to } => self.released.entry(to).or_default().push(call_id),
            Beyond::StoodStill { shard } => self.check_ownership(Some(shard)),
            Beyond::Unknown { shard, request, looks } => {
                let (store, answers) = (self.store.clone(), self.answers.clone());
                tokio::spawn(async move {
                    let tag = request.1.to_tag().unwrap_or_default();
                    let tag = String::from_utf8_lossy(tag).into_owned();
                    let run = store.find_dialog(&tag).await;
                    let lookup = Lookup { shard, request, looks };
                    let _ = answers.send(Answer::Found { lookup, run }).await;
                });
            }
            // These go another way.
            Beyond::Keep { .. } | Beyond::KeepRinging { .. } => {}
        }
    }

    /// A store that has become another server may not have what was kept last.
    async fn look_where_store_is(&mut self) {
        let moves = self.store.moves();
        if std::mem::replace(&mut self.moves, moves) == moves {
            return;
        }
        tracing::info!("the store has moved: all calls are kept again");
        for shard in &self.shards {
            command(shard, Command::KeepAgain).await;
        }
        keeper::keep_missing(&self.shards);
    }

    async fn on_answer(&mut self, answer: Answer) {
        // Before anything that another server says of our calls.
        self.look_where_store_is().await;
        let now = Instant::now();
        match answer {
            Answer::Renewed(renewed) => {
                self.is_renewing = false;
                match renewed {
                    Ok(renewed) => self.on_renewed(renewed, now),
                    Err(error) => {
                        // It may be carried out late, and hide from the next one how old the lease had become.
                        self.is_unsure = true;
                        tracing::debug!(%error, "the lease is not renewed");
                    }
                }
            }
            Answer::Claimed { calls, is_all } => {
                self.is_behind = !is_all;
                self.adopt(&calls, now).await;
                // A dead run without calls is looked at no more than this often.
                let pause = if is_all { LOOK_AGAIN_AFTER } else { Duration::ZERO };
                self.confirm(&calls, pause);
            }
            Answer::ClaimAgain => self.is_claiming = false,
            Answer::ClaimFailed(error) => {
                // It may have been carried out all the same.
                self.is_behind = true;
                tracing::warn!(%error, "calls of dead nodes cannot be taken over now");
            }
            Answer::Owned { shard, owned, asked_at } => {
                self.is_unsure |= owned.is_none();
                for (index, handle) in self.shards.iter().enumerate() {
                    if shard.is_some_and(|shard| shard != index) {
                        continue;
                    }
                    if let Some(owned) = &owned {
                        let owned = owned.clone();
                        command(handle, Command::Owned { owned, asked_at }).await;
                    }
                    handle.go_on();
                }
            }
            Answer::Found { lookup, run } => self.on_found(lookup, run, now).await,
            Answer::ClaimedFor { lookup, calls } => {
                // What is not confirmed, or was not heard of, comes with the next claim.
                self.is_behind = true;
                self.adopt(&calls, now).await;
                self.look_again(lookup);
            }
            Answer::KeptLate => self.check_ownership(None),
            Answer::Given { to, calls, given } => {
                self.is_giving = false;
                match given {
                    Ok(()) => self.has_given = true,
                    Err(error) => {
                        tracing::error!(%error, "calls cannot be given away; that is tried again");
                        self.released.entry(to).or_default().extend(calls);
                    }
                }
            }
            Answer::Unsettled(count) => {
                self.is_asking_unsettled = false;
                if count == 0 {
                    self.settled.send_replace(true);
                }
            }
        }
    }

    fn on_renewed(&mut self, renewed: Renewed, now: Instant) {
        let is_late = renewed.own_age.is_none_or(|age| age >= LEASE_LIMIT / 2);
        if is_late || std::mem::take(&mut self.is_unsure) {
            // It was as good as lost for a while, or is cleared away: somebody may have taken our place.
            self.check_ownership(None);
        }
        let peers = renewed.peers.into_iter().map(|(lease, lease_age)| Peer {
            id: lease.id,
            node: lease.node,
            address: lease.address.and_then(|address| address.parse().ok()),
            region: lease.region,
            is_draining: lease.is_draining,
            lease_age,
        });
        self.membership.take_leases(peers.collect(), now);
        metrics::nodes(self.membership.living() + 1);
        self.claim_if_due(now);
    }

    async fn on_tick(&mut self, drain: Drain, now: Instant) {
        while let Some((id, address)) = self.membership.poll_ping(now) {
            if let Some(pinger) = &mut self.pinger {
                pinger.ask(id, address).await;
            }
        }
        if self.renew_at.is_some_and(|at| now >= at) && !self.is_renewing {
            self.renew_at = has_others(&self.store).then(|| now + RENEW_EVERY);
            self.renew(drain);
        }
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP_EVERY;
            self.passed_on.retain(|_, (_, at)| now < *at + REQUEST_LIMIT);
            let (store, id) = (self.store.clone(), self.lease.id);
            tokio::spawn(async move { store.sweep(id).await });
        }
        self.claim_if_due(now);
        if drain == Drain::HandOver {
            self.hand_over(now).await;
        }
    }

    fn renew(&mut self, drain: Drain) {
        self.lease.is_draining = drain != Drain::Not;
        self.is_renewing = true;
        let (store, lease) = (self.store.clone(), self.lease.clone());
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let renewed = in_time(store.renew(&lease)).await;
            let _ = answers.send(Answer::Renewed(renewed)).await;
        });
    }

    fn claim_if_due(&mut self, now: Instant) {
        let dead = self.membership.dead(now);
        let is_due = !dead.is_empty() || self.is_behind || self.membership.is_anybody_draining();
        if self.is_claiming || !is_due || self.lease.is_draining {
            return;
        }
        self.is_claiming = true;
        self.is_behind = false;
        let (store, lease) = (self.store.clone(), self.lease.clone());
        let answers = self.answers.clone();
        tokio::spawn(async move {
            match in_time(store.claim(&lease, &dead, None, CLAIM_BATCH)).await {
                Ok(calls) => {
                    let is_all = calls.len() < CLAIM_BATCH as usize;
                    let _ = answers.send(Answer::Claimed { calls, is_all }).await;
                }
                Err(error) => fail_to_claim(&answers, error).await,
            }
        });
    }

    /// Tells the store that claimed calls have come to their shards; the next claim may go a little later.
    fn confirm(&self, calls: &[ClaimedCall], pause: Duration) {
        let calls: Vec<Uuid> = calls.iter().map(|claimed| claimed.call_id).collect();
        let (store, id, answers) = (self.store.clone(), self.lease.id, self.answers.clone());
        tokio::spawn(async move {
            let told = match calls.is_empty() {
                true => Ok(()),
                false => in_time(store.adopted(id, &calls)).await,
            };
            match told {
                Ok(()) => {
                    tokio::time::sleep(pause).await;
                    let _ = answers.send(Answer::ClaimAgain).await;
                }
                Err(error) => fail_to_claim(&answers, error).await,
            }
        });
    }

    /// Has the shards of their calls go on with claimed ones.
    async fn adopt(&mut self, calls: &[ClaimedCall], now: Instant) {
        if calls.is_empty() {
            return;
        }
        let mut from: HashMap<&str, usize> = HashMap::new();
        let (answered, ringing): (Vec<_>, Vec<_>) =
            calls.iter().partition(|claimed| claimed.is_answered);
        let mut replicas = Vec::new();
        for claimed in answered {
            *from.entry(&claimed.taken_from).or_default() += 1;
            match claimed.replica() {
                Ok(replica) => replicas.push(replica),
                Err(error) => complain(claimed, &error),
            }
        }
        let expire_at: Vec<_> = replicas.iter().map(Replica::expires_at).collect();
        let times = refresh_times(&expire_at, self.settings.legs_per_s, now);
        for (replica, refresh_at) in replicas.into_iter().zip(times) {
            let shard = self.shard_of(&replica.inbound.dialog.call_id);
            let replica = Box::new(replica);
            command(shard, Command::Adopt { replica, refresh_at }).await;
        }
        for claimed in ringing {
            match claimed.ringing() {
                Ok(replica) => {
                    let shard = self.shard_of(replica.record.inbound_call_id.as_bytes());
                    command(shard, Command::EndRinging(Box::new(replica))).await;
                }
                Err(error) => complain(claimed, &error),
            }
        }
        for (node, calls) in from {
            tracing::warn!(from = node, calls, "calls are taken over");
        }
    }

    /// The shard that messages with this Call-ID belong to.
    fn shard_of(&self, call_id: &[u8]) -> &ShardHandle {
        let bucket = peek::bucket(call_id, self.settings.bucket_key);
        &self.shards[(bucket % self.shards.len() as u64) as usize]
    }

    /// What has become of a request's dialog. Only of one that nobody has it is said that it does not exist: while a call
    /// changes hands, or the store is away, whoever asks is kept waiting.
    async fn on_found(
        &mut self,
        lookup: Lookup,
        run: Result<Option<(Uuid, i64)>, StoreError>,
        now: Instant,
    ) {
        match run {
            Err(error) => {
                tracing::debug!(%error, "whose a dialog is cannot be looked up");
                self.look_again(lookup);
            }
            Ok(None) => self.on_nobodys(lookup, now).await,
            // On its way to the shard, or from it.
            Ok(Some((_, run))) if run == self.lease.id => self.look_again(lookup),
            Ok(Some((call_id, run))) if self.membership.dead(now).contains(&run) => {
                self.claim_one(lookup, call_id, run);
            }
            // Of one that is not dead yet, and cannot be reached, nothing is said: it will be sent again.
            Ok(Some((_, run))) => {
                if let Some(to) = self.membership.address_of_living(run) {
                    self.pass_on(lookup, to, now).await;
                }
            }
        }
    }

    async fn on_nobodys(&mut self, lookup: Lookup, now: Instant) {
        let tag = lookup.request.1.to_tag().unwrap_or_default();
        match self.passed_on.get(tag).copied() {
            Some((to, at)) if now < at + REQUEST_LIMIT => self.pass_on(lookup, to, now).await,
            Some(_) | None => {
                let again = Command::Again { request: lookup.request, looks: None };
                command(&self.shards[lookup.shard], again).await;
            }
        }
    }

    async fn pass_on(&mut self, lookup: Lookup, to: SocketAddr, now: Instant) {
        if let Some(tag) = lookup.request.1.to_tag()
            && self.passed_on.len() < QUEUE_LEN
        {
            self.passed_on.insert(tag.to_vec(), (to, now));
        }
        let handle = &self.shards[lookup.shard];
        command(handle, Command::PassOn { request: lookup.request, to }).await;
    }

    /// Gives the request to its shard once more, which may know its dialog by then.
    fn look_again(&self, lookup: Lookup) {
        let Lookup { shard, request, looks } = lookup;
        let handle = self.shards[shard].clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            command(&handle, Command::Again { request, looks: Some(looks) }).await;
        });
    }

    fn claim_one(&self, lookup: Lookup, call_id: Uuid, run: i64) {
        let (store, lease) = (self.store.clone(), self.lease.clone());
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let claimed = in_time(store.claim(&lease, &[run], Some(call_id), 1)).await;
            let calls = claimed.unwrap_or_default();
            let _ = answers.send(Answer::ClaimedFor { lookup, calls }).await;
        });
    }

    /// Reads which calls are ours, and has the shards forget the others.
    fn check_ownership(&self, shard: Option<usize>) {
        let (store, lease) = (self.store.clone(), self.lease.clone());
        let answers = self.answers.clone();
        let now = Instant::now();
        let asked_at = now.checked_sub(OWNED_MARGIN).unwrap_or(now);
        tokio::spawn(async move {
            // Waits for whoever is taking them just now, and bars whoever would.
            let read = async {
                store.renew(&lease).await?;
                store.owned(lease.id).await
            };
            let owned = match read.await {
                Ok(owned) => Some(Arc::new(owned)),
                Err(error) => {
                    tracing::warn!(%error, "whose our calls are cannot be read; going on");
                    None
                }
            };
            let _ = answers.send(Answer::Owned { shard, owned, asked_at }).await;
        });
    }

    /// Lets go of calls, and gives them to the living nodes, to each its share.
    async fn hand_over(&mut self, now: Instant) {
        let heirs = self.membership.heirs(self.settings.region.as_deref());
        let heirs: Vec<(i64, String, Option<Arc<str>>)> = heirs
            .map(|heir| (heir.id, heir.node.clone(), heir.region.as_deref().map(Arc::from)))
            .collect();
        if heirs.is_empty() {
            if !self.has_given {
                self.settled.send_replace(true);
            }
            return;
        }
        if self.settle_until.is_none() {
            self.settled.send_replace(false);
        }
        if now >= self.hand_over_at {
            self.hand_over_at = now + 2 * LOOK_EVERY;
            for shard in &self.shards {
                let calls = usize::try_from(shard.counters().calls_now).unwrap_or(usize::MAX);
                let limit = share(calls, heirs.len());
                for (to, _, region) in &heirs {
                    let region = region.clone();
                    shard.command(Command::HandOver { to: *to, limit, region });
                }
            }
        }
        if !self.is_giving
            && let Some((to, calls)) = self.released.pop_first()
        {
            self.is_giving = true;
            // Whoever was to have them may be gone since.
            let heir = heirs.iter().find(|(id, ..)| *id == to).unwrap_or(&heirs[0]);
            let (to, node) = (heir.0, &heir.1);
            tracing::info!(to = node, calls = calls.len(), "calls are handed over");
            let (store, from, answers) = (self.store.clone(), self.lease.id, self.answers.clone());
            tokio::spawn(async move {
                let given = store.give(from, to, &calls).await;
                let _ = answers.send(Answer::Given { to, calls, given }).await;
            });
        }
        let is_empty = self.released.is_empty() && !self.is_giving;
        let calls_now: u64 = self.shards.iter().map(|shard| shard.counters().calls_now).sum();
        if is_empty && calls_now == 0 && !self.is_asking_unsettled {
            let until = *self.settle_until.get_or_insert(now + SETTLE_LIMIT);
            if now >= until {
                self.settled.send_replace(true);
                return;
            }
            self.is_asking_unsettled = true;
            let (store, id, answers) = (self.store.clone(), self.lease.id, self.answers.clone());
            tokio::spawn(async move {
                let count = store.unsettled(id).await.unwrap_or(1);
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                let _ = answers.send(Answer::Unsettled(count)).await;
            });
        }
    }
}

async fn in_time<T>(
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let ended = tokio::time::timeout(STORE_LIMIT, operation).await;
    ended.unwrap_or(Err(StoreError::TimedOut(STORE_LIMIT)))
}

async fn fail_to_claim(answers: &mpsc::Sender<Answer>, error: StoreError) {
    let _ = answers.send(Answer::ClaimFailed(error)).await;
    tokio::time::sleep(RENEW_EVERY).await;
    let _ = answers.send(Answer::ClaimAgain).await;
}

fn complain(claimed: &ClaimedCall, error: &serde_json::Error) {
    tracing::error!(call.id = %claimed.call_id, %error,
        "a kept call cannot be read; is it of another version?");
}

/// Gives a shard a command that must not be lost.
async fn command(shard: &ShardHandle, command: Command) {
    const TRIES: u32 = 1_000;
    for _ in 0..TRIES {
        if shard.command(command.clone()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tracing::error!("a shard takes no commands");
}

fn random_id() -> i64 {
    // Above 0, and 0 itself once in 2^63 times.
    i64::from_ne_bytes(getrandom::u64().expect("the system gives random numbers").to_ne_bytes())
        & i64::MAX
}

/// Whether this store can have several nodes.
pub(super) fn has_others(store: &Store) -> bool {
    store.kind() == StoreKind::Postgres
}

/// The address that others can ask: a UDP listener whose advertised address is one.
pub(super) fn ping_address(listeners: &[crate::engine::Listener]) -> Option<String> {
    let udp = listeners.iter().filter(|l| l.transport == crate::carrier::Transport::Udp);
    let address = |listener: &crate::engine::Listener| {
        let advertised = listener.advertised.parse::<SocketAddr>().ok();
        advertised.or(Some(listener.address)).filter(|at| !at.ip().is_unspecified())
    };
    udp.filter_map(address).map(|address| address.to_string()).next()
}

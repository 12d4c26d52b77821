//! The one writer of health: outcomes and names in, views, probes and saved state out.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, block_in_place};

use super::health_file::{HealthFile, freshest};
use crate::carrier::Tables;
use crate::engine::Command;
use crate::health::{Board, Evidence, Outcome, PeerTarget, Resolved, SavedTarget};
use crate::net::dns::{Answer, Names, Question, Resolver};
use crate::shard::{ShardHandle, Shared};
use crate::store::Store;
use crate::store::record::{self, StoredProbe};
use crate::store::recorder::RecordSender;
use crate::telemetry::metrics;

/// How often the board's state is saved, and other nodes' is read.
const SHARE_EVERY: Duration = Duration::from_secs(1);
/// A node that has saved nothing for so long is none.
const PEER_LIMIT: Duration = Duration::from_secs(5);
/// How long a start waits for the store.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the last save may take.
const LAST_SAVE_LIMIT: Duration = Duration::from_secs(3);
/// Views follow each other no closer than this, however many outcomes come.
const VIEW_EVERY: Duration = Duration::from_millis(5);
/// The board looks at the time at least this often.
const IDLE: Duration = Duration::from_secs(1);
/// How long a start waits for the first answers of name servers.
const NAMES_PATIENCE: Duration = Duration::from_secs(2);
/// Answers of name servers that wait.
const ANSWERS_LEN: usize = 256;

/// What the board's task is made of.
#[derive(Debug)]
pub(super) struct BoardTask {
    pub(super) board: Board,
    pub(super) resolver: Option<Resolver>,
    pub(super) shared: Arc<Shared>,
    /// All shards; the one at `prober` sends the probes.
    pub(super) shards: Vec<ShardHandle>,
    pub(super) prober: usize,
    pub(super) outcomes: mpsc::Receiver<Vec<Outcome>>,
    /// Tables that make sense, to be put in force.
    pub(super) tables: watch::Receiver<Option<Arc<Tables>>>,
    /// Said once there are tables, and a view of their targets, as far as name servers told them in time.
    pub(super) is_ready: watch::Sender<bool>,
    pub(super) store: Store,
    pub(super) health_file: HealthFile,
    pub(super) node: String,
    pub(super) records: RecordSender,
}

/// What the task keeps while it runs.
struct Turn {
    names: Names,
    /// Ready by then, once there are tables.
    ready_by: Option<Instant>,
    share_at: Instant,
    view_at: Instant,
    is_changed: bool,
    sharing: Option<JoinHandle<()>>,
}

impl BoardTask {
    /// Runs until `stop` says true, then saves a last time.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let on_disk = self.on_disk();
        let mut is_restored = self.restore(on_disk).await;
        let (answer, mut answers) = mpsc::channel(ANSWERS_LEN);
        let (heard, mut hearing) = mpsc::channel::<Vec<PeerTarget>>(1);
        let now = Instant::now();
        let mut turn = Turn {
            names: Names::default(),
            ready_by: None,
            share_at: now + SHARE_EVERY,
            view_at: now,
            is_changed: true,
            sharing: None,
        };
        self.take_tables(&mut turn, now);
        self.shards[self.prober].command(Command::Register);
        loop {
            let wake_at = self.next_look(&turn).into();
            tokio::select! {
                biased;
                _ = stop.changed() => break,
                changed = self.tables.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.take_tables(&mut turn, Instant::now());
                }
                Some(outcomes) = self.outcomes.recv() => {
                    let now = Instant::now();
                    self.take_outcomes(&outcomes, now);
                    while let Ok(outcomes) = self.outcomes.try_recv() {
                        self.take_outcomes(&outcomes, now);
                    }
                    turn.is_changed = true;
                }
                Some(taken) = answers.recv() => {
                    let now = Instant::now();
                    if turn.names.take(taken, now) {
                        self.set_targets(&mut turn, now);
                    }
                }
                Some(peers) = hearing.recv() => {
                    if !is_restored {
                        is_restored = self.restore(Vec::new()).await;
                    }
                    self.board.merge_peers(&peers, Instant::now());
                    turn.is_changed = true;
                }
                () = tokio::time::sleep_until(wake_at) => {}
            }
            self.act(&mut turn, &answer, &heard, Instant::now());
        }
        let last = self.board.save(Instant::now());
        self.health_file.finish(last.clone(), SystemTime::now()).await;
        let saved = self.store.save_health(&self.node, &last);
        match tokio::time::timeout(LAST_SAVE_LIMIT, saved).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last state of health is not saved"),
            Err(_) => {
                tracing::warn!("the last state of health is not saved: the store does not answer")
            }
        }
    }

    /// What an earlier run has left on this disk.
    fn on_disk(&self) -> Vec<(SavedTarget, Duration)> {
        block_in_place(|| self.health_file.load(SystemTime::now())).unwrap_or_else(|error| {
            tracing::warn!(%error, "health on disk cannot be read");
            Vec::new()
        })
    }

    /// Takes over what an earlier run, or another node, has saved, there or on disk; `false` when the store does not
    /// say soon.
    async fn restore(&mut self, on_disk: Vec<(SavedTarget, Duration)>) -> bool {
        let loaded = tokio::time::timeout(PATIENCE, self.store.load_health(&self.node)).await;
        let (stored, is_answered) = match loaded {
            Ok(Ok(stored)) => (stored, true),
            Ok(Err(error)) => {
                tracing::warn!(%error, on_disk = on_disk.len(), "health of an earlier run cannot be read");
                (Vec::new(), false)
            }
            Err(_) => {
                tracing::warn!(
                    on_disk = on_disk.len(),
                    "health of an earlier run cannot be read: the store does not answer"
                );
                (Vec::new(), false)
            }
        };
        let saved = freshest(stored, on_disk);
        tracing::info!(targets = saved.len(), "health of an earlier run is taken over");
        self.board.restore(saved, Instant::now());
        is_answered
    }

    /// When something is due: time in the board, a name, a view that was held back, a save.
    fn next_look(&self, turn: &Turn) -> Instant {
        let idle = Instant::now() + IDLE;
        let view = turn.is_changed.then_some(turn.view_at);
        let ready = turn.ready_by.filter(|_| !*self.is_ready.borrow());
        [self.board.poll_timeout(), turn.names.next_due(), view, ready, Some(turn.share_at)]
            .into_iter()
            .flatten()
            .fold(idle, Instant::min)
    }

    fn take_tables(&mut self, turn: &mut Turn, now: Instant) {
        let Some(tables) = self.tables.borrow_and_update().clone() else { return };
        let questions = tables.gateways().filter_map(|gateway| Question::of(gateway));
        turn.names.set_questions(questions, now);
        self.set_targets(turn, now);
        // The view first: a call that meets the new tables finds their targets in it.
        self.publish(turn, now);
        metrics::tables(tables.version);
        tracing::info!(
            version = tables.version,
            carriers = tables.carriers().count(),
            gateways = tables.gateways().count(),
            "tables are in force"
        );
        self.shared.tables.store(tables);
        self.shards.iter().for_each(ShardHandle::wake);
        turn.ready_by.get_or_insert(now + NAMES_PATIENCE);
    }

    fn publish(&mut self, turn: &mut Turn, now: Instant) {
        turn.is_changed = false;
        if let Some(view) = self.board.poll_view(now) {
            turn.view_at = now + VIEW_EVERY;
            self.shared.view.store(view);
            self.shards.iter().for_each(ShardHandle::wake);
        }
    }

    fn set_targets(&mut self, turn: &mut Turn, now: Instant) {
        let Some(tables) = self.tables.borrow().clone() else { return };
        let targets: Vec<Resolved> =
            tables.gateways().flat_map(|gateway| turn.names.targets_of(gateway)).collect();
        self.board.set_targets(&tables, &targets, now);
        turn.is_changed = true;
    }

    fn take_outcomes(&mut self, outcomes: &[Outcome], now: Instant) {
        for outcome in outcomes {
            self.board.handle_outcome(outcome, now);
            if let Evidence::Probe { status_code, delay } = outcome.evidence {
                self.records.send_probe(StoredProbe {
                    node: self.node.clone(),
                    gateway_id: outcome.target.gateway_id.0,
                    address: record::address(outcome.target.address),
                    port: outcome.target.address.port(),
                    ended_at: record::wall(SystemTime::now()),
                    status_code,
                    delay_ms: delay.as_secs_f64() * 1_000.0,
                });
            }
        }
    }

    fn act(
        &mut self,
        turn: &mut Turn,
        answer: &mpsc::Sender<Answer>,
        heard: &mpsc::Sender<Vec<PeerTarget>>,
        now: Instant,
    ) {
        self.board.handle_timeout(now);
        while let Some(due) = self.board.poll_probe(now) {
            let command = Command::Probe { target: due.target, timeout: due.timeout };
            self.shards[self.prober].command(command);
        }
        if let Some(resolver) = &self.resolver {
            for question in turn.names.due(now) {
                let (resolver, answer) = (resolver.clone(), answer.clone());
                tokio::spawn(async move {
                    let _ = answer.send(resolver.ask(question).await).await;
                });
            }
        }
        if now >= turn.view_at {
            self.publish(turn, now);
        }
        let is_due = turn.ready_by.is_some_and(|by| now >= by || turn.names.are_answered());
        if is_due && !*self.is_ready.borrow() {
            self.publish(turn, now);
            self.is_ready.send_replace(true);
        }
        if now >= turn.share_at {
            turn.share_at = now + SHARE_EVERY;
            self.share(turn, heard, now);
        }
    }

    /// Saves the board, and reads what other nodes saved: beside the loop, and never twice at a time.
    fn share(&mut self, turn: &mut Turn, heard: &mpsc::Sender<Vec<PeerTarget>>, now: Instant) {
        // What a node believes that doubts itself is nobody's business.
        let targets = (!self.board.is_unfit()).then(|| self.board.save(now));
        if let Some(targets) = &targets {
            self.health_file.offer(targets, SystemTime::now(), now);
        }
        if turn.sharing.as_ref().is_some_and(|sharing| !sharing.is_finished()) {
            return;
        }
        let (store, node, heard) = (self.store.clone(), self.node.clone(), heard.clone());
        turn.sharing = Some(tokio::spawn(async move {
            let shared = async {
                if let Some(targets) = targets {
                    store.save_health(&node, &targets).await?;
                }
                store.load_peers(&node, PEER_LIMIT).await
            };
            match shared.await {
                Ok(peers) => {
                    let _ = heard.send(peers).await;
                }
                Err(error) => tracing::debug!(%error, "health is not shared"),
            }
        }));
    }
}

//! Everything started in its order, drained, and stopped in the reverse one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle as Thread;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::board::BoardTask;
use super::certificates::Certificates;
use super::cluster::{self, ClusterSettings, Drain};
use super::health_file::HealthFile;
use super::listeners::{self, Bound};
use super::measures;
use super::settings::Settings;
use super::snapshot::Snapshot;
use super::tables::TablesTask;
use crate::admin::{self, AdminState};
use crate::carrier::Tables;
use crate::digest::NonceKey;
use crate::engine::{Command, EngineSettings};
use crate::health::{Board, BoardSettings, View};
use crate::net::dns::Resolver;
use crate::net::stream::tls::TlsError;
use crate::net::stream::{self, Hub, StreamHandle};
use crate::shard::{self, ShardDoor, ShardHandle, ShardParts, Shared};
use crate::sip::peek;
use crate::store::spool::Spool;
use crate::store::{Store, StoreError, StoreKind, recorder};
use crate::telemetry::metrics;

/// Batches of outcomes that wait for the board.
const OUTCOMES_LEN: usize = 8_192;
/// How often a drain looks whether calls are left: no oftener than shards show it.
const LOOK_EVERY: Duration = Duration::from_millis(120);
/// How long calls that a drain has ended may take to say so to both sides.
const END_LIMIT: Duration = Duration::from_secs(3);
/// The last good tables, in `spool_dir`.
const TABLES_FILE: &str = "tables.json";
/// How long records that Postgres has taken can be sent again, should a standby that lacks them take its place.
const KEEP_STORED: Duration = Duration::from_secs(60);
/// How long the ends of registrations are waited for.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// How often old rows are deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// How often histogram samples are folded.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket or a folder; the text says which.
    #[error("{0}")]
    Io(String),
}

/// What a stop has to report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Calls that the drain's limit, or a second signal, cut short.
    pub calls_cut: u64,
    /// Records that neither store nor spool could take.
    pub records_lost: u64,
}

/// A running router.
#[derive(Debug)]
pub struct Running {
    sip_addresses: Vec<SocketAddr>,
    admin_address: SocketAddr,
    shared: Arc<Shared>,
    shards: Vec<ShardHandle>,
    threads: Vec<Thread<()>>,
    /// TCP and TLS, where a listener has them.
    streams: Option<StreamHandle>,
    hub: Option<Thread<()>>,
    is_ready: watch::Receiver<bool>,
    is_draining: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    board: JoinHandle<()>,
    /// `None` where calls are not replicated.
    cluster: Option<JoinHandle<()>>,
    drain: watch::Sender<Drain>,
    is_settled: watch::Receiver<bool>,
    recorder: JoinHandle<usize>,
    others: Vec<JoinHandle<()>>,
    store: Store,
}

/// Starts the router. Nothing is bound when the settings' store or folder cannot be used at all; a
/// store that is only away is waited for in the background.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let store = Store::open(&settings.database_url)?;
    prepare(&store).await?;
    let keep = match store.kind() {
        StoreKind::Sqlite => Duration::ZERO,
        StoreKind::Postgres => KEEP_STORED,
    };
    let spool = Spool::open(&settings.spool_dir, settings.spool_max_octets, keep, Instant::now())
        .map_err(|error| StartError::Io(in_folder(&settings, &error)))?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let shard_count = settings.shard_count(processors);
    let tls = Certificates::load(&settings.tls)?;
    if let Some(path) = &settings.tls.key_log {
        let file = path.display();
        tracing::warn!(%file, "tls_key_log is set: whoever has that file reads all that TLS carries");
    }
    let bound = listeners::bind(&settings.listeners, shard_count)
        .map_err(|error| StartError::Io(error.to_string()))?;
    let door = admin::bind(settings.admin_listen)
        .await
        .map_err(|error| StartError::Io(error.to_string()))?;
    let admin_address = door.local_addr().map_err(|error| StartError::Io(error.to_string()))?;
    let sip_addresses = bound.listeners.iter().map(|listener| listener.address).collect();
    let metrics = metrics::start();
    let shared = Arc::new(Shared {
        tables: ArcSwap::from_pointee(Tables::default()),
        view: ArcSwap::from_pointee(View::default()),
    });
    let (records, recorder) =
        recorder::start(store.clone(), spool, settings.node_name.clone(), settings.record_queue);
    let (outcomes, outcome_queue) = mpsc::channel(OUTCOMES_LEN);
    let engine_settings = engine_settings(&settings, &bound, shard_count);
    let bucket_key = engine_settings.bucket_key;
    let (streams, stream_mailbox) = (!bound.streams.is_empty())
        .then(stream::mailbox)
        .transpose()
        .map_err(|error| StartError::Io(error.to_string()))?
        .unzip();
    let (cluster_queues, cluster_inbox) = cluster::queues();
    let mut parts = Vec::new();
    for (index, sockets) in bound.sockets.into_iter().enumerate() {
        let (records, outcomes) = (records.clone(), outcomes.clone());
        parts.push(ShardParts {
            index,
            settings: engine_settings.clone(),
            sockets,
            streams: streams.clone(),
            shared: shared.clone(),
            records: Box::new(move |record| records.send(record)),
            outcomes: Box::new(move |batch| outcomes.try_send(batch).is_ok()),
            cluster: cluster_queues.sink(),
            keep_wait: settings.replicate_wait,
            seed: random_u64(),
        });
    }
    let started = shard::start(parts).map_err(|error| StartError::Io(error.to_string()))?;
    let (shards, threads): (Vec<_>, Vec<_>) = started.into_iter().unzip();
    let hub = match stream_mailbox {
        None => None,
        Some(mailbox) => {
            let door = ShardDoor::new(shards.clone(), shared.clone(), bucket_key);
            let agent = settings.user_agent.as_str().into();
            let (limits, configs) = (settings.streams, tls.configs());
            let hub = Hub::new(bound.streams, mailbox, limits, configs, agent, door);
            Some(hub.and_then(Hub::start).map_err(|error| StartError::Io(error.to_string()))?)
        }
    };
    let (good, tables) = watch::channel(None);
    let (ready, is_ready) = watch::channel(false);
    let (is_draining, draining) = watch::channel(false);
    let (stop, stopping) = watch::channel(false);
    let (drain, drained) = watch::channel(Drain::Not);
    let (settled, is_settled) = watch::channel(false);
    let cluster = settings.replicate.then(|| {
        let cluster_settings = ClusterSettings {
            node: settings.node_name.clone(),
            region: settings.region.clone(),
            ping_address: cluster::ping_address(&engine_settings.listeners),
            legs_per_s: settings.takeover_legs_per_s,
            bucket_key,
        };
        let stopping = stopping.clone();
        cluster::start(
            store.clone(),
            shards.clone(),
            cluster_settings,
            cluster_inbox,
            drained,
            settled,
            stopping,
        )
    });
    let board = BoardTask {
        board: Board::new(
            BoardSettings {
                node: settings.node_name.as_str().into(),
                probe_timeout: settings.probe_timeout,
            },
            random_u64(),
        ),
        resolver: resolver(&settings),
        shared: shared.clone(),
        shards: shards.clone(),
        // The shard that the Call-IDs of probes belong to.
        prober: (peek::bucket(b"", bucket_key) % shard_count as u64) as usize,
        outcomes: outcome_queue,
        tables,
        is_ready: ready,
        store: store.clone(),
        health_file: HealthFile::in_dir(&settings.spool_dir),
        node: settings.node_name.clone(),
        records,
    };
    let tables_task = TablesTask::new(
        store.clone(),
        settings.node_name.clone(),
        Snapshot::new(&settings.spool_dir, TABLES_FILE),
        good,
    );
    let admin_state = AdminState {
        shared: shared.clone(),
        shards: shards.clone(),
        streams: streams.clone(),
        metrics: metrics.clone(),
        is_ready: is_ready.clone(),
        is_draining: draining,
    };
    let others = vec![
        tokio::spawn(tables_task.run()),
        tokio::spawn(async move {
            if let Err(error) = admin::serve(door, admin_state).await {
                tracing::error!(%error, "the admin port is served no more");
            }
        }),
        tokio::spawn(prune(store.clone(), settings.clone())),
        tokio::spawn(measures::show(store.clone())),
        tokio::spawn(tls.keep_fresh()),
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP_EVERY).await;
                metrics.upkeep();
            }
        }),
    ];
    let board = tokio::spawn(board.run(stopping));
    Ok(Running {
        sip_addresses,
        admin_address,
        shared,
        shards,
        threads,
        streams,
        hub,
        is_ready,
        is_draining,
        stop,
        board,
        cluster,
        drain,
        is_settled,
        recorder,
        others,
        store,
    })
}

/// SQLite is ours alone and brought up to date at once. Postgres belongs to an admin: there a missing
/// migration is said, and is waited for.
async fn prepare(store: &Store) -> Result<(), StartError> {
    match store.kind() {
        StoreKind::Sqlite => {
            for version in store.migrate().await? {
                tracing::info!(version, "migration applied");
            }
        }
        StoreKind::Postgres => {
            // Beside the start: a server that does not answer must not hold it up.
            tokio::spawn(tell_pending(store.clone()));
        }
    }
    Ok(())
}

async fn tell_pending(store: Store) {
    match store.pending_migrations().await {
        Ok(pending) if pending.is_empty() => {}
        Ok(pending) => {
            tracing::error!(?pending, "the database lacks migrations; run `holdfast migrate`");
        }
        Err(error) => tracing::warn!(%error, "the store is away; starting without it"),
    }
}

fn engine_settings(settings: &Settings, bound: &Bound, shard_count: usize) -> EngineSettings {
    EngineSettings {
        listeners: bound.listeners.clone(),
        user_agent: settings.user_agent.as_str().into(),
        bucket_key: match &settings.cluster_key {
            Some(key) => peek::bucket_key(key.as_bytes()),
            None => random_u64(),
        },
        nonce_key: match &settings.cluster_key {
            Some(key) => NonceKey::derive(key.as_bytes()),
            None => NonceKey::derive(&[random_u64(), random_u64()].map(u64::to_be_bytes).concat()),
        },
        shards: u32::try_from(shard_count).unwrap_or(u32::MAX),
        max_calls: settings.max_calls.div_ceil(shard_count),
        max_call_duration: settings.max_call_duration,
        session: settings.session,
        retry_after_s: settings.retry_after_s,
        overload_wait: settings.overload_wait,
        replicates: settings.replicate,
    }
}

fn resolver(settings: &Settings) -> Option<Resolver> {
    match Resolver::new(&settings.name_servers) {
        Ok(resolver) => Some(resolver),
        Err(error) => {
            tracing::error!(
                error,
                "no name server can be asked: gateways need addresses, not names"
            );
            None
        }
    }
}

fn in_folder(settings: &Settings, error: &std::io::Error) -> String {
    format!("cannot use the folder spool_dir {}: {error}", settings.spool_dir.display())
}

fn random_u64() -> u64 {
    getrandom::u64().expect("the system gives random numbers")
}

/// Deletes old rows now and then.
async fn prune(store: Store, settings: Settings) {
    loop {
        let before = |age: Duration| OffsetDateTime::from(SystemTime::now()) - age;
        let calls_before = settings.keep_calls.map(before);
        match store.prune(before(settings.keep_probe_results), calls_before).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old rows deleted"),
            Err(error) => tracing::debug!(%error, "old rows cannot be deleted"),
        }
        tokio::time::sleep(PRUNE_EVERY).await;
    }
}

impl Running {
    /// Bound addresses, in the order of the settings' listeners.
    pub fn sip_addresses(&self) -> &[SocketAddr] {
        &self.sip_addresses
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn calls_now(&self) -> u64 {
        self.shards.iter().map(|shard| shard.counters().calls_now).sum()
    }

    /// Waits until tables are in force.
    pub async fn ready(&mut self) {
        let _ = self.is_ready.wait_for(|is_ready| *is_ready).await;
    }

    /// Refuses new calls and waits for those in progress, until `limit` is over or `hurry` is done;
    /// then ends what is left. Gives how many calls that cut short.
    pub async fn drain(&self, limit: Duration, hurry: impl Future<Output = ()>) -> u64 {
        self.is_draining.send_replace(true);
        self.command_all(&Command::Drain);
        self.drain.send_replace(Drain::HandOver);
        let cut = self.end_calls(limit, hurry).await;
        let _ = tokio::time::timeout(LEAVE_LIMIT, self.unregistered()).await;
        cut
    }

    async fn end_calls(&self, limit: Duration, hurry: impl Future<Output = ()>) -> u64 {
        tokio::select! {
            () = self.all_gone() => return 0,
            () = tokio::time::sleep(limit) => {}
            () = hurry => {}
        }
        self.drain.send_replace(Drain::Stay);
        let cut = self.calls_now();
        tracing::warn!(calls = cut, "calls are ended by the drain");
        self.command_all(&Command::EndAllCalls);
        let _ = tokio::time::timeout(END_LIMIT, self.idle()).await;
        cut
    }

    /// Stops everything; records and health are written or spooled before it returns.
    pub async fn stop(self) -> Ended {
        self.others.iter().for_each(JoinHandle::abort);
        self.shards.iter().for_each(ShardHandle::stop);
        let (threads, streams, hub) = (self.threads, self.streams, self.hub);
        let joined = tokio::task::spawn_blocking(move || {
            let shards = threads.into_iter().filter_map(|thread| thread.join().err()).count();
            // After the shards, whose last messages it sends.
            if let Some(streams) = streams {
                streams.stop();
            }
            shards + hub.and_then(|hub| hub.join().err()).iter().count()
        });
        if joined.await.is_ok_and(|panicked| panicked > 0) {
            tracing::error!("a thread of ours has panicked");
        }
        self.stop.send_replace(true);
        let _ = self.board.await;
        if let Some(cluster) = self.cluster {
            let _ = cluster.await;
        }
        let held = self.recorder.await.unwrap_or_default() as u64;
        let lost: u64 = self.shards.iter().map(|shard| shard.edge_counters().records_lost).sum();
        self.store.close().await;
        Ended { calls_cut: 0, records_lost: held + lost }
    }

    /// Until no call is left here, and those that were given away are settled where they went.
    async fn all_gone(&self) {
        self.idle().await;
        if self.cluster.is_some() {
            let mut is_settled = self.is_settled.clone();
            let _ = is_settled.wait_for(|is_settled| *is_settled).await;
        }
    }

    /// Until no call is left, twice in a row: what was on its way to a shard has come in between.
    async fn idle(&self) {
        let mut seen = 0;
        while seen < 2 {
            tokio::time::sleep(LOOK_EVERY).await;
            seen = if self.calls_now() == 0 { seen + 1 } else { 0 };
        }
    }

    /// Until no registration is left.
    async fn unregistered(&self) {
        while self.shards.iter().any(|shard| shard.counters().registrations_now > 0) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn command_all(&self, command: &Command) {
        for (index, shard) in self.shards.iter().enumerate() {
            if !shard.command(command.clone()) {
                tracing::error!(shard = index, ?command, "the shard has no room for a command");
            }
        }
    }
}

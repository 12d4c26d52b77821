//! Hears of changes by `notify`, within milliseconds, and notices a connection that died in silence.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;

use super::super::{ACQUIRE_LIMIT, StoreError, within};
use super::hosts::{Hosts, Place};

/// What the triggers on the admin tables notify.
const CHANNEL: &str = "holdfast_tables";
/// A connection that said nothing for this long is asked whether it still lives.
const SILENCE_LIMIT: Duration = Duration::from_secs(4);
/// How long it may take for its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// A connection of its own, made anew after each loss, to the server that everything else uses.
pub(in crate::store) struct PostgresWatch {
    hosts: Hosts,
    moves: watch::Receiver<u64>,
    /// `None` after a loss: the next call connects, and tells a possible change.
    listener: Option<Listener>,
}

struct Listener {
    listener: PgListener,
    place: Arc<Place>,
}

impl PostgresWatch {
    pub(super) async fn start(hosts: Hosts) -> Result<Self, StoreError> {
        let mut moves = hosts.moves();
        let listener = Some(listen(&hosts, &mut moves).await?);
        Ok(Self { hosts, moves, listener })
    }

    pub(in crate::store) async fn changed(&mut self) -> Result<(), StoreError> {
        let told = match &mut self.listener {
            Some(Listener { listener, .. }) => tokio::select! {
                told = told(listener) => told,
                // Somebody else found that the server is another one now.
                _ = self.moves.changed() => Ok(Told::Loss),
            },
            None => Ok(Told::Loss),
        };
        if matches!(told, Ok(Told::Change)) {
            return Ok(());
        }
        if let Some(lost) = self.listener.take() {
            lost.place.lose();
        }
        told?;
        self.listener = Some(listen(&self.hosts, &mut self.moves).await?);
        Ok(())
    }
}

enum Told {
    Change,
    Loss,
}

async fn told(listener: &mut PgListener) -> Result<Told, StoreError> {
    loop {
        match tokio::time::timeout(SILENCE_LIMIT, listener.try_recv()).await {
            Ok(Ok(Some(_))) => {
                // A transaction that changes eight tables is one change.
                while listener.next_buffered().is_some() {}
                return Ok(Told::Change);
            }
            Ok(Ok(None)) => return Ok(Told::Loss),
            Ok(Err(error)) => return Err(error.into()),
            Err(_silence) => {
                within(ANSWER_LIMIT, async {
                    sqlx::raw_sql("select 1").execute(&mut *listener).await?;
                    Ok(())
                })
                .await?;
            }
        }
    }
}

async fn listen(hosts: &Hosts, moves: &mut watch::Receiver<u64>) -> Result<Listener, StoreError> {
    hosts.find().await?;
    // A move from here on is one away from the server that is taken now.
    moves.mark_unchanged();
    let place = hosts.find().await?;
    let listening = within(ACQUIRE_LIMIT + ANSWER_LIMIT, connect(place.options())).await;
    match listening {
        Ok(listener) => Ok(Listener { listener, place }),
        Err(error) => {
            place.lose();
            Err(error)
        }
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgListener, StoreError> {
    // Never shared nor used twice: a lost connection takes its pool along.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_LIMIT)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    // A loss is ours to handle, so that it ends in an error while the server is away.
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

impl fmt::Debug for PostgresWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresWatch")
            .field("is_connected", &self.listener.is_some())
            .finish_non_exhaustive()
    }
}

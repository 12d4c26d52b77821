//! Hears of changes by `notify`, within milliseconds, and notices a connection that died in silence.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::super::{ACQUIRE_LIMIT, StoreError, within};

/// What the triggers on the admin tables notify.
const CHANNEL: &str = "holdfast_tables";
/// A connection that said nothing for this long is asked whether it still lives.
const SILENCE_LIMIT: Duration = Duration::from_secs(4);
/// How long it may take for its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// A connection of its own, made anew after each loss.
pub(in crate::store) struct PostgresWatch {
    options: PgConnectOptions,
    /// `None` after a loss: the next call connects, and tells a possible change.
    listener: Option<PgListener>,
}

impl PostgresWatch {
    pub(super) async fn start(options: PgConnectOptions) -> Result<Self, StoreError> {
        let listener = Some(listen(&options).await?);
        Ok(Self { options, listener })
    }

    pub(in crate::store) async fn changed(&mut self) -> Result<(), StoreError> {
        let Some(listener) = &mut self.listener else {
            self.listener = Some(listen(&self.options).await?);
            return Ok(());
        };
        let told = told(listener).await;
        if !matches!(told, Ok(Told::Change)) {
            self.listener = None;
        }
        match told? {
            Told::Change => Ok(()),
            Told::Loss => {
                self.listener = Some(listen(&self.options).await?);
                Ok(())
            }
        }
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

async fn listen(options: &PgConnectOptions) -> Result<PgListener, StoreError> {
    within(ACQUIRE_LIMIT + ANSWER_LIMIT, async {
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
    })
    .await
}

impl fmt::Debug for PostgresWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresWatch")
            .field("is_connected", &self.listener.is_some())
            .finish_non_exhaustive()
    }
}

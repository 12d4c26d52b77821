//! Reads the tables when they change, checks them, and hands those that make sense to the board.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::block_in_place;

use super::snapshot::Snapshot;
use crate::carrier::{Loss, Refusal, Rows, Severity, Tables};
use crate::store::{Store, StoreError};
use crate::telemetry::{metrics, redact};

/// How soon a store that is away is asked again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long a start waits for the store before it uses the tables on disk.
const PATIENCE: Duration = Duration::from_millis(500);
/// Changes that come closer together than this are read once.
const SETTLE: Duration = Duration::from_millis(20);
/// Refused rows that are logged one by one.
const MAX_LINES: usize = 20;
/// How often, and how many times at most, old tables are looked at for whether nobody uses them any more.
const RETIRE_EVERY: Duration = Duration::from_millis(50);
const RETIRE_TURNS: u32 = 1_200;

/// The one that reads the tables.
#[derive(Debug)]
pub(super) struct TablesTask {
    store: Store,
    node: String,
    snapshot: Snapshot,
    /// To the board, which puts them in force.
    good: watch::Sender<Option<Arc<Tables>>>,
    version: u64,
    good_rows: Option<Rows>,
    /// This node's rows in `config_errors` are to be replaced by these.
    unreported: Option<Vec<(Severity, Refusal)>>,
    /// Of the tables in force.
    warnings: Vec<Refusal>,
    is_away: bool,
}

impl TablesTask {
    pub(super) fn new(
        store: Store,
        node: String,
        snapshot: Snapshot,
        good: watch::Sender<Option<Arc<Tables>>>,
    ) -> Self {
        Self {
            store,
            node,
            snapshot,
            good,
            version: 0,
            good_rows: None,
            unreported: None,
            warnings: Vec::new(),
            is_away: false,
        }
    }

    /// Never returns; dropped at the end of the program.
    pub(super) async fn run(mut self) {
        // A store that is there answers within this time; one that is not must keep no call waiting.
        let is_read = tokio::time::timeout(PATIENCE, self.read()).await.is_ok();
        if !is_read || self.good_rows.is_none() {
            self.use_snapshot();
        }
        loop {
            match self.store.watch().await {
                Ok(mut changes) => loop {
                    // What changed before the watch began is read now.
                    self.read().await;
                    if let Err(error) = changes.changed().await {
                        self.note_away(Some(&error));
                        tokio::time::sleep(TRY_AGAIN_AFTER).await;
                    } else {
                        tokio::time::sleep(SETTLE).await;
                    }
                },
                Err(error) => self.note_away(Some(&error)),
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }

    async fn read(&mut self) {
        match self.store.read_rows().await {
            Ok(rows) => {
                self.note_away(None);
                self.take(rows);
                self.report().await;
            }
            // The store is there: it is what somebody wrote that cannot be understood.
            Err(StoreError::Unreadable(refusal)) => {
                self.note_away(None);
                self.refuse_rows(vec![refusal]);
                self.report().await;
            }
            Err(error) => self.note_away(Some(&error)),
        }
    }

    /// Puts rows in force, or says why not.
    fn take(&mut self, rows: Rows) {
        if self.good_rows.as_ref() == Some(&rows) {
            return self.refuse(Vec::new());
        }
        match block_in_place(|| Tables::check(rows.clone(), self.version + 1)) {
            Ok(tables) => {
                self.note_warnings(&tables);
                self.hand_on(tables);
                self.refuse(Vec::new());
                if let Err(error) = block_in_place(|| self.snapshot.save(&rows)) {
                    tracing::warn!(%error, "the tables cannot be kept on disk for a start without the store");
                }
                self.good_rows = Some(rows);
            }
            Err(refusals) => self.refuse_rows(refusals),
        }
    }

    fn refuse_rows(&mut self, refusals: Vec<Refusal>) {
        for refusal in refusals.iter().take(MAX_LINES) {
            tracing::error!(
                table = refusal.table,
                row = refusal.row,
                column = refusal.column,
                reason = redact::text(&refusal.reason),
                in_force = self.version,
                "a row is refused; the last good tables stay in force"
            );
        }
        if let Some(more) = refusals.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
            tracing::error!(more, "more rows are refused; config_errors has them all");
        }
        self.refuse(refusals);
    }

    fn note_warnings(&mut self, tables: &Tables) {
        self.warnings.clone_from(&tables.warnings);
        for warning in self.warnings.iter().take(MAX_LINES) {
            tracing::warn!(
                table = warning.table,
                row = warning.row,
                column = warning.column,
                reason = redact::text(&warning.reason),
                "a row is in force, but hardly as it was meant"
            );
        }
        if let Some(more) = self.warnings.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
            tracing::warn!(more, "more rows are hardly meant so; config_errors has them all");
        }
    }

    fn hand_on(&mut self, tables: Tables) {
        let losses = Loss::of(&tables);
        for loss in losses.iter().take(MAX_LINES) {
            tracing::info!("{loss}");
        }
        if let Some(more) = losses.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
            tracing::info!(
                more,
                "more routes have limits; `holdfast check` says what each can lose"
            );
        }
        self.version = tables.version;
        if let Some(old) = self.good.send_replace(Some(Arc::new(tables))) {
            tokio::spawn(retire(old));
        }
    }

    /// Notes what is wrong now, for `config_errors`.
    fn refuse(&mut self, refusals: Vec<Refusal>) {
        metrics::refusals(refusals.len(), self.warnings.len());
        let errors = refusals.into_iter().map(|refusal| (Severity::Error, refusal));
        let warnings = self.warnings.iter().cloned().map(|warning| (Severity::Warning, warning));
        self.unreported = Some(errors.chain(warnings).collect());
    }

    async fn report(&mut self) {
        let Some(complaints) = self.unreported.take() else { return };
        if let Err(error) = self.store.report(&self.node, &complaints).await {
            tracing::warn!(%error, "config_errors cannot be written");
            self.unreported = Some(complaints);
        }
    }

    fn use_snapshot(&mut self) {
        match block_in_place(|| self.snapshot.load::<Rows>()) {
            Ok(Some(rows)) => match Tables::check(rows, 1) {
                Ok(tables) => {
                    self.note_warnings(&tables);
                    tracing::warn!("the store is away: the last good tables on disk are used");
                    self.hand_on(tables);
                }
                Err(refusals) => {
                    tracing::error!(
                        count = refusals.len(),
                        "the tables on disk make no sense any more"
                    );
                }
            },
            Ok(None) => tracing::error!(
                "there are no tables: every call is refused until the store gives some"
            ),
            Err(error) => tracing::error!(%error, "the tables on disk cannot be read"),
        }
    }

    fn note_away(&mut self, error: Option<&StoreError>) {
        let was_away = std::mem::replace(&mut self.is_away, error.is_some());
        match error {
            Some(error) if !was_away => {
                tracing::warn!(%error, "the tables cannot be read; the last good ones stay in force");
            }
            None if was_away => tracing::info!("the tables can be read again"),
            Some(_) | None => {}
        }
    }
}

/// Holds old tables until nobody else does. To free a hundred thousand routes takes milliseconds, which whoever lets go
/// last has to spend; that must not be a shard.
async fn retire(old: Arc<Tables>) {
    for _ in 0..RETIRE_TURNS {
        if Arc::strong_count(&old) == 1 {
            break;
        }
        tokio::time::sleep(RETIRE_EVERY).await;
    }
    let _ = tokio::task::spawn_blocking(move || drop(old)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn old_tables_are_freed_here_and_not_where_they_were_used() {
        let old = Arc::new(Tables::default());
        let (shard, weak) = (old.clone(), Arc::downgrade(&old));
        let retired = tokio::spawn(retire(old));
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&shard), 2, "the shard is not the last one");
        drop(shard);
        retired.await.unwrap();
        assert!(weak.upgrade().is_none());
    }
}

//! Probe results to the store. They are samples: the next probe tells as much, so they never stand in a record's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::super::record::StoredProbe;
use super::{LINGER, MAX_BATCH, RecordStore};
use crate::telemetry::metrics;

/// Results that wait; more are dropped.
pub(super) const QUEUE_LEN: usize = 4_096;

/// Ends when nobody can send any more.
pub(super) async fn run<S: RecordStore>(
    store: S,
    mut queue: mpsc::Receiver<StoredProbe>,
    is_behind: Arc<AtomicBool>,
) {
    let mut probes = Vec::new();
    while let Some(probe) = queue.recv().await {
        probes.push(probe);
        tokio::time::sleep(LINGER).await;
        while probes.len() < MAX_BATCH
            && let Ok(probe) = queue.try_recv()
        {
            probes.push(probe);
        }
        if is_behind.load(Ordering::Relaxed) {
            metrics::probe_results_dropped(probes.len());
        } else if let Err(error) = store.write_probes(&probes).await {
            tracing::debug!(%error, "probe results are not stored");
            metrics::probe_results_dropped(probes.len());
        }
        probes.clear();
    }
}

//! One batch, or one file of the spool, into the store; beside the clerk, who keeps what comes meanwhile.

use std::io;
use std::time::{Duration, Instant};

use super::super::record::StoredCall;
use super::super::spool::{Contents, Waiting};
use super::{MAX_BATCH, RecordStore, WriteError};

/// What is delivered.
#[derive(Debug)]
pub(super) enum Load {
    /// A file of the spool.
    File(Waiting),
    /// Records from memory that the spool has too, up to this place in it.
    Spooled(Vec<StoredCall>, u64),
    /// Records from memory that the spool could not take.
    Held(Vec<StoredCall>),
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) load: Load,
    pub(super) outcome: Outcome,
    /// Records that the store will never take, and why; they count as delivered.
    pub(super) refused: Vec<(StoredCall, String)>,
    pub(super) written: usize,
    /// Lines of the file that are torn or spoilt.
    pub(super) unreadable: usize,
    pub(super) took: Duration,
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// All of it.
    Stored,
    /// Perhaps the first part.
    Away(String),
    /// The file cannot be opened.
    Unopened(io::Error),
}

pub(super) async fn deliver<S: RecordStore>(store: S, load: Load) -> Delivered {
    let begun = Instant::now();
    let mut delivered = Delivered {
        load,
        outcome: Outcome::Stored,
        refused: Vec::new(),
        written: 0,
        unreadable: 0,
        took: Duration::ZERO,
    };
    delivered.outcome = match read(&delivered.load).await {
        Err(error) => Outcome::Unopened(error),
        Ok(Some(contents)) => {
            delivered.unreadable = contents.unreadable;
            delivered.write_all(&store, &contents.calls).await
        }
        Ok(None) => {
            let calls = match &mut delivered.load {
                Load::File(_) => Vec::new(),
                Load::Spooled(calls, _) | Load::Held(calls) => std::mem::take(calls),
            };
            let outcome = delivered.write_all(&store, &calls).await;
            if let Load::Spooled(kept, _) | Load::Held(kept) = &mut delivered.load {
                *kept = calls;
            }
            outcome
        }
    };
    delivered.took = begun.elapsed();
    delivered
}

/// `None` where there is no file to be read.
async fn read(load: &Load) -> io::Result<Option<Contents>> {
    let Load::File(waiting) = load else { return Ok(None) };
    let path = waiting.path.clone();
    match tokio::task::spawn_blocking(move || Contents::read(&path)).await {
        Ok(contents) => contents.map(Some),
        Err(error) => Err(io::Error::other(error)),
    }
}

impl Delivered {
    async fn write_all<S: RecordStore>(&mut self, store: &S, calls: &[StoredCall]) -> Outcome {
        for batch in calls.chunks(MAX_BATCH) {
            if let Err(error) = self.write(store, batch).await {
                return Outcome::Away(error);
            }
        }
        Outcome::Stored
    }

    async fn write<S: RecordStore>(
        &mut self,
        store: &S,
        batch: &[StoredCall],
    ) -> Result<(), String> {
        match store.write_calls(batch).await {
            Ok(()) => {
                self.written += batch.len();
                Ok(())
            }
            Err(WriteError::Away(error)) => Err(error),
            Err(WriteError::Refused(error)) => match batch {
                [one] => {
                    self.refused.push((one.clone(), error));
                    Ok(())
                }
                // One of them is the cause: the others must not suffer for it.
                many => {
                    let (left, right) = many.split_at(many.len() / 2);
                    Box::pin(self.write(store, left)).await?;
                    Box::pin(self.write(store, right)).await
                }
            },
        }
    }
}

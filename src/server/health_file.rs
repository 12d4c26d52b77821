//! The last health on disk, for a start without the store.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::snapshot::Snapshot;
use crate::health::SavedTarget;

const FILE: &str = "health.json";
/// How often counts and delays alone are a reason to write; what changes the choice of a carrier is written at once.
const WRITE_EVERY: Duration = Duration::from_secs(5);

/// Where the board's state is kept beside the store.
#[derive(Debug)]
pub(super) struct HealthFile {
    snapshot: Snapshot,
    written: Vec<SavedTarget>,
    written_at: Option<Instant>,
    writing: Option<JoinHandle<()>>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(with = "time::serde::rfc3339")]
    saved_at: time::OffsetDateTime,
    /// Each by itself, so that another version of this program understands those that it can.
    targets: Vec<Value>,
}

impl HealthFile {
    pub(super) fn in_dir(dir: &Path) -> Self {
        let snapshot = Snapshot::new(dir, FILE);
        Self { snapshot, written: Vec::new(), written_at: None, writing: None }
    }

    /// Targets with their age. None when there is no file.
    pub(super) fn load(&self, now: SystemTime) -> io::Result<Vec<(SavedTarget, Duration)>> {
        let Some(saved) = self.snapshot.load::<Saved>()? else { return Ok(Vec::new()) };
        // A clock that was set back makes nothing younger than new.
        let age = now.duration_since(saved.saved_at.into()).unwrap_or_default();
        let known =
            saved.targets.into_iter().filter_map(|target| serde_json::from_value(target).ok());
        Ok(known.map(|target| (target, age)).collect())
    }

    /// Writes beside the caller what has changed, and never twice at a time.
    pub(super) fn offer(&mut self, targets: &[SavedTarget], at: SystemTime, now: Instant) {
        let is_free = self.writing.as_ref().is_none_or(JoinHandle::is_finished);
        let is_old = self.written_at.is_none_or(|written| now - written >= WRITE_EVERY);
        let is_due = is_verdict_changed(&self.written, targets)
            || (is_old && is_changed(&self.written, targets));
        if !is_free || !is_due {
            return;
        }
        self.written = targets.to_vec();
        self.written_at = Some(now);
        let (snapshot, targets) = (self.snapshot.clone(), targets.to_vec());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = write(&snapshot, &targets, at) {
                tracing::warn!(%error, "health cannot be kept on disk for a start without the store");
            }
        }));
    }

    /// Writes the last state, and waits for it.
    pub(super) async fn finish(&mut self, targets: Vec<SavedTarget>, at: SystemTime) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
        let snapshot = self.snapshot.clone();
        let written = tokio::task::spawn_blocking(move || write(&snapshot, &targets, at)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "the last state of health is not kept on disk");
        }
    }
}

/// Of each target what is fresher, in the order of the first list.
pub(super) fn freshest(
    mut one: Vec<(SavedTarget, Duration)>,
    other: Vec<(SavedTarget, Duration)>,
) -> Vec<(SavedTarget, Duration)> {
    for (saved, age) in other {
        match one.iter_mut().find(|(known, _)| known.target == saved.target) {
            Some(known) if age < known.1 => *known = (saved, age),
            Some(_) => {}
            None => one.push((saved, age)),
        }
    }
    one
}

fn write(snapshot: &Snapshot, targets: &[SavedTarget], at: SystemTime) -> io::Result<()> {
    let targets = targets.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    snapshot.save(&Saved { saved_at: at.into(), targets })
}

/// Whether a target is chosen otherwise than before.
fn is_verdict_changed(before: &[SavedTarget], now: &[SavedTarget]) -> bool {
    let verdict = |it: &SavedTarget| {
        let reachability = it.reachability;
        (it.target, reachability.state, reachability.is_ejected, reachability.is_held)
    };
    !before.iter().map(verdict).eq(now.iter().map(verdict))
}

/// Whether anything was learned; ages alone are nothing new.
fn is_changed(before: &[SavedTarget], now: &[SavedTarget]) -> bool {
    let learned =
        |it: &SavedTarget| (it.target, it.latency_ms, it.ringing_ms, it.reachability.downs);
    let is_counted = |it: &SavedTarget| it.buckets.iter().any(|counts| counts.attempts > 0.0);
    !before.iter().map(learned).eq(now.iter().map(learned)) || now.iter().any(is_counted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::GatewayId;
    use crate::health::reachability::SavedReachability;
    use crate::health::{Reachability, Target};

    fn target(id: i64, state: Reachability) -> SavedTarget {
        let address = "192.0.2.1:5060".parse().expect("an address");
        SavedTarget {
            target: Target { gateway_id: GatewayId(id), address },
            reachability: SavedReachability {
                state,
                downs: 1,
                pause_left_ms: 500,
                is_ejected: state == Reachability::Down,
                is_held: false,
                state_age_ms: 10,
            },
            failure_rate: 0.5,
            latency_ms: Some(20.0),
            ringing_ms: None,
            unusable_for_ms: 0,
            buckets: Vec::new(),
        }
    }

    #[tokio::test]
    async fn gives_back_what_was_saved_with_its_age() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let saved = [target(1, Reachability::Down), target(2, Reachability::Up)];
        let mut file = HealthFile::in_dir(dir.path());
        assert_eq!(file.load(at).expect("nothing is no error"), []);
        file.finish(saved.to_vec(), at).await;
        let minute = Duration::from_secs(60);
        let loaded = HealthFile::in_dir(dir.path()).load(at + minute).expect("readable");
        assert_eq!(loaded, saved.map(|target| (target, minute)));
        let back = file.load(at - minute).expect("readable");
        assert_eq!(back[0].1, Duration::ZERO, "the clock was set back");
    }

    #[test]
    fn understands_what_it_can_of_another_version() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = SystemTime::UNIX_EPOCH;
        let mut newer = serde_json::to_value(target(1, Reachability::Down)).expect("JSON");
        newer["colour"] = "red".into();
        let mut older = serde_json::to_value(target(2, Reachability::Up)).expect("JSON");
        older.as_object_mut().expect("an object").remove("buckets");
        let saved = Saved { saved_at: at.into(), targets: vec![older, newer] };
        Snapshot::new(dir.path(), FILE).save(&saved).expect("saved");
        let loaded = HealthFile::in_dir(dir.path()).load(at).expect("readable");
        assert_eq!(loaded, [(target(1, Reachability::Down), Duration::ZERO)]);
    }

    #[tokio::test]
    async fn writes_a_verdict_at_once_and_counts_now_and_then() {
        let dir = tempfile::tempdir().expect("a folder");
        let (at, now) = (SystemTime::UNIX_EPOCH, Instant::now());
        let mut file = HealthFile::in_dir(dir.path());
        let mut offer = async |targets: &[SavedTarget], after: Duration| {
            file.offer(targets, at, now + after);
            if let Some(writing) = file.writing.take() {
                writing.await.expect("written");
            }
            file.load(at).expect("readable").into_iter().map(|(saved, _)| saved).collect::<Vec<_>>()
        };
        let up = target(1, Reachability::Up);
        assert_eq!(
            offer(std::slice::from_ref(&up), Duration::ZERO).await,
            std::slice::from_ref(&up)
        );
        let slower = SavedTarget { latency_ms: Some(30.0), ..up.clone() };
        assert_eq!(offer(std::slice::from_ref(&slower), WRITE_EVERY / 2).await, [up]);
        assert_eq!(offer(std::slice::from_ref(&slower), WRITE_EVERY).await, [slower]);
        let down = target(1, Reachability::Down);
        assert_eq!(offer(std::slice::from_ref(&down), WRITE_EVERY).await, [down]);
    }

    #[test]
    fn of_two_memories_the_fresher_one_counts() {
        let of = |id, state, age| (target(id, state), Duration::from_secs(age));
        let store = vec![of(1, Reachability::Up, 60), of(2, Reachability::Up, 1)];
        let disk = vec![
            of(1, Reachability::Down, 5),
            of(2, Reachability::Down, 5),
            of(3, Reachability::Up, 5),
        ];
        assert_eq!(
            freshest(store, disk),
            [of(1, Reachability::Down, 5), of(2, Reachability::Up, 1), of(3, Reachability::Up, 5)]
        );
    }
}

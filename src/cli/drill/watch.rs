//! What nodes show of themselves in the store while a drill runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::store::Store;
use crate::store::answered::LEASE_LIMIT;
use crate::store::drills::DrillView;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A store that takes longer is away.
const LIMIT: Duration = Duration::from_secs(1);

/// Something that a look into the store showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) what: String,
    /// A node has noticed that something is wrong.
    pub(super) is_detection: bool,
}

/// Looks until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Arc<Mutex<Vec<(Instant, Seen)>>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// `carrier`: whose health is looked at.
    pub(super) fn start(store: Store, nodes: Vec<String>, carrier: Option<SocketAddr>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(look(store, nodes, carrier, seen.clone()));
        Self { seen, task }
    }

    /// What was seen since the last time.
    pub(super) fn take(&self) -> Vec<(Instant, Seen)> {
        std::mem::take(&mut self.seen.lock().expect("nobody panics while holding it"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(
    store: Store,
    nodes: Vec<String>,
    carrier: Option<SocketAddr>,
    seen: Arc<Mutex<Vec<(Instant, Seen)>>>,
) {
    let mut last: Option<DrillView> = None;
    let mut is_away = false;
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let asked_at = Instant::now();
        let view = tokio::time::timeout(LIMIT, store.drill_view(carrier)).await;
        let mut news = Vec::new();
        let was_away = is_away;
        is_away = !matches!(view, Ok(Ok(_)));
        match (was_away, is_away) {
            (false, true) => news.push(told(match &view {
                Ok(Err(error)) => format!("the store does not answer: {error}"),
                Ok(Ok(_)) | Err(_) => "the store does not answer".to_owned(),
            })),
            (true, false) => news.push(told("the store answers again")),
            (true, true) | (false, false) => {}
        }
        if let Ok(Ok(view)) = view {
            if let Some(last) = &last {
                news.extend(changes(last, &view, &nodes));
            }
            last = Some(view);
        }
        let news = news.into_iter().map(|news| (asked_at, news));
        seen.lock().expect("nobody panics while holding it").extend(news);
    }
}

/// What is different from one look to the next. Leases count of runs at the addresses `nodes`.
fn changes(before: &DrillView, now: &DrillView, nodes: &[String]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let of_us = |address: &Option<String>| address.as_ref().is_some_and(|at| nodes.contains(at));
    for (lease, age) in now.leases.iter().filter(|(lease, _)| of_us(&lease.address)) {
        let node = &lease.node;
        let earlier = before.leases.iter().find(|(earlier, _)| earlier.id == lease.id);
        let (was_lost, is_lost) =
            (earlier.map(|(_, age)| *age >= LEASE_LIMIT), *age >= LEASE_LIMIT);
        match (was_lost, is_lost) {
            (Some(false), true) => seen.push(detected(format!("the lease of node {node} is lost"))),
            (Some(true), false) => seen.push(told(format!("node {node} renews its lease again"))),
            (None, false) => seen.push(told(format!("a new run of node {node} has begun"))),
            (Some(true), true) | (Some(false), false) | (None, true) => {}
        }
    }
    // Calls come and go all the time. They change hands where a node has fewer, and another one more.
    let count = |view: &DrillView, node: &str| {
        view.calls.iter().find(|(other, _)| other == node).map_or(0, |(_, count)| *count)
    };
    let is_lost = |node: &str| {
        let mut runs = now.leases.iter().filter(|(lease, _)| lease.node == node);
        runs.all(|(_, age)| *age >= LEASE_LIMIT)
    };
    let has_fewer =
        before.calls.iter().any(|(node, earlier)| count(now, node) < *earlier && is_lost(node));
    let has_more = now.calls.iter().any(|(node, later)| count(before, node) < *later);
    if has_fewer && has_more {
        let counts: Vec<String> =
            now.calls.iter().map(|(node, count)| format!("{node} {count}")).collect();
        seen.push(told(format!("answered calls change hands; now: {}", counts.join(", "))));
    }
    for (node, state) in &now.states {
        let earlier = before.states.iter().find(|(earlier, _)| earlier == node);
        if earlier.is_some_and(|(_, earlier)| earlier != state) {
            let what = format!("node {node} sees the first carrier as {state}");
            let is_detection = matches!(state.as_str(), "suspect" | "down");
            seen.push(Seen { what, is_detection });
        }
    }
    seen
}

fn told(what: impl Into<String>) -> Seen {
    Seen { what: what.into(), is_detection: false }
}

fn detected(what: String) -> Seen {
    Seen { what, is_detection: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::answered::Lease;

    fn lease(id: i64, node: &str, age_ms: u64) -> (Lease, Duration) {
        let lease = Lease {
            id,
            node: node.to_owned(),
            address: Some(format!("192.0.2.{id}:5060")),
            region: None,
            is_draining: false,
        };
        (lease, Duration::from_millis(age_ms))
    }

    fn seen(before: &DrillView, now: &DrillView) -> Vec<String> {
        let nodes = ["192.0.2.1:5060".to_owned(), "192.0.2.2:5060".to_owned()];
        let mark =
            |seen: Seen| format!("{}{}", seen.what, if seen.is_detection { "!" } else { "" });
        changes(before, now, &nodes).into_iter().map(mark).collect()
    }

    #[test]
    fn tells_of_leases_that_are_lost_and_found() {
        let view = |leases| DrillView { leases, ..DrillView::default() };
        let well = view(vec![lease(1, "a", 300), lease(2, "b", 10)]);
        let ill = view(vec![lease(1, "a", 1_600), lease(2, "b", 10)]);
        assert_eq!(seen(&well, &ill), ["the lease of node a is lost!"]);
        assert_eq!(seen(&ill, &ill), Vec::<String>::new());
        assert_eq!(seen(&ill, &well), ["node a renews its lease again"]);
        let other = view(vec![lease(1, "a", 300), lease(2, "b", 10), lease(3, "c", 9_000)]);
        assert_eq!(seen(&well, &other), Vec::<String>::new(), "no node of the drill");
        assert_eq!(
            seen(&view(vec![]), &view(vec![lease(2, "b", 0)])),
            ["a new run of node b has begun"]
        );
    }

    #[test]
    fn tells_of_calls_that_leave_a_lost_node() {
        let view = |age_ms, a: i64, b: i64| DrillView {
            leases: vec![lease(1, "a", age_ms), lease(2, "b", 0)],
            calls: vec![("a".to_owned(), a), ("b".to_owned(), b)],
            ..DrillView::default()
        };
        assert_eq!(seen(&view(0, 9, 1), &view(0, 8, 1)), Vec::<String>::new(), "one was hung up");
        assert_eq!(
            seen(&view(2_000, 9, 1), &view(2_000, 0, 10)),
            ["answered calls change hands; now: a 0, b 10"]
        );
        assert_eq!(seen(&view(2_000, 9, 1), &view(2_000, 9, 2)), Vec::<String>::new());
        let mut again = view(2_000, 8, 2);
        again.leases.push(lease(3, "a", 0));
        assert_eq!(seen(&again, &again), Vec::<String>::new());
        let of_another_run = ["the lease of node a is lost!"];
        assert_eq!(seen(&view(0, 9, 1), &again), of_another_run, "its calls are its own still");
    }

    #[test]
    fn tells_how_a_node_sees_the_carrier() {
        let view = |state: &str| DrillView {
            states: vec![("a".to_owned(), state.to_owned())],
            ..DrillView::default()
        };
        assert_eq!(seen(&view("up"), &view("down")), ["node a sees the first carrier as down!"]);
        assert_eq!(seen(&view("down"), &view("up")), ["node a sees the first carrier as up"]);
    }
}

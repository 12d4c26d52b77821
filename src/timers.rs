//! When to look at what again: a queue of deadlines with lazy removal.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Deadlines for keys of type `K`. A key may stand in it more than once, and its deadline may have
/// moved meanwhile: whoever takes a key out asks its owner what is due.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, u64, Entry<K>)>>,
    /// Makes deadlines at one instant fire in the order they were set.
    sequence: u64,
}

/// Keeps the key out of the order.
#[derive(Debug)]
struct Entry<K>(K);

impl<K> PartialEq for Entry<K> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<K> Eq for Entry<K> {}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Entry<K> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }
}

impl<K> Timers<K> {
    /// Has `key` looked at by `wanted`, unless `scheduled` (when it will be looked at as it is) is
    /// early enough; keeps `scheduled` true.
    pub fn schedule(&mut self, key: K, wanted: Option<Instant>, scheduled: &mut Option<Instant>) {
        let Some(wanted) = wanted else { return };
        if scheduled.is_some_and(|scheduled| scheduled <= wanted) {
            return;
        }
        *scheduled = Some(wanted);
        self.sequence += 1;
        self.heap.push(Reverse((wanted, self.sequence, Entry(key))));
    }

    /// The next key whose time has come.
    pub fn pop_expired(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, Entry(key)))| (at, key))
    }

    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

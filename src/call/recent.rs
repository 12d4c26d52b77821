//! What was seen lately, in a bounded place that forgets by itself.

use std::hash::Hash;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

/// A map of two generations. What is not written any more is forgotten after one to two spans, or earlier where more
/// comes than there is room for.
#[derive(Debug)]
pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    turned_at: Option<Instant>,
    span: Duration,
    /// Entries of one generation.
    max: usize,
}

impl<K: Copy + Eq + Hash, V: Copy + Default> Recent<K, V> {
    /// `max` entries in each generation.
    pub fn new(span: Duration, max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), turned_at: None, span, max }
    }

    /// What is known of a key; the default where that is nothing.
    pub fn get(&mut self, key: K, now: Instant) -> V {
        self.turn(now);
        self.young.get(&key).or_else(|| self.old.get(&key)).copied().unwrap_or_default()
    }

    /// Learns, or learns anew.
    pub fn set(&mut self, key: K, value: V, now: Instant) {
        self.turn(now);
        if self.young.len() >= self.max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    fn turn(&mut self, now: Instant) {
        let turned_at = *self.turned_at.get_or_insert(now);
        let passed = now.saturating_duration_since(turned_at);
        if passed >= self.span {
            self.old = std::mem::take(&mut self.young);
            self.turned_at = Some(now);
        }
        if passed >= 2 * self.span {
            self.old.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(10);

    #[test]
    fn remembers_for_a_span_at_least_and_two_at_most() {
        let start = base();
        let mut recent = Recent::new(SPAN, 100);
        assert_eq!(recent.get(1, start), 0);
        recent.set(1, 7, start + SPAN - Duration::from_millis(1));
        assert_eq!(recent.get(1, start + SPAN), 7);
        assert_eq!(recent.get(1, start + 2 * SPAN - Duration::from_millis(1)), 7);
        assert_eq!(recent.get(1, start + 2 * SPAN), 0);
        recent.set(1, 7, start + 2 * SPAN);
        assert_eq!(recent.get(1, start + 9 * SPAN), 0);
    }

    #[test]
    fn forgets_the_older_half_when_there_is_no_room() {
        let start = base();
        let mut recent = Recent::new(SPAN, 10);
        (0..25).for_each(|key| recent.set(key, key + 1, start));
        assert!(recent.young.len() + recent.old.len() <= 20);
        assert_eq!((recent.get(24, start), recent.get(9, start)), (25, 0));
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn base() -> Instant {
        Instant::now()
    }
}

//! The first few of many, drawn at random by weight.

use super::decide::MAX_CANDIDATES;

/// How much faster than linearly a worse gateway of a carrier loses traffic.
const SCORE_EXPONENT: i32 = 8;

/// The first [`MAX_CANDIDATES`] of all that were offered: by rank, then by who has waited least.
pub(super) struct Ranking {
    /// Up to twice as many as are wanted, before the worse half is cut off again.
    kept: Vec<Ranked>,
    /// The last one that was wanted when it was last cut off: what comes behind it need not be drawn.
    last_rank: u64,
    last_waiting: f64,
}

/// What it is sorted by (rank, then the bits of the waiting time, which is not negative, then its number).
type Ranked = (u64, u64, u32);

/// Above all priorities of gateways, and of SRV records within them.
const SUSPECT: u64 = 1 << 32;

/// What comes before any waiting: the priority of a gateway, then that of its SRV records. A suspect goes behind
/// everybody else.
#[inline]
pub(super) fn rank_of(is_suspect: bool, priority: u16, srv_rank: u16) -> u64 {
    let suspicion = if is_suspect { SUSPECT } else { 0 };
    suspicion + (u64::from(priority) << 16) + u64::from(srv_rank)
}

impl Ranking {
    pub(super) fn new() -> Self {
        Self { kept: Vec::new(), last_rank: u64::MAX, last_waiting: f64::INFINITY }
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
        (self.last_rank, self.last_waiting) = (u64::MAX, f64::INFINITY);
    }

    /// Whether one of this rank is surely not among the first. `unit` is a random number, even over `0.0..1.0`;
    /// `weight` the highest that it may have.
    #[inline]
    pub(super) fn is_behind(&self, rank: u64, weight: f64, unit: f64) -> bool {
        // -ln(1 - u) >= u: most are behind by far, and need no logarithm.
        rank >= self.last_rank && (rank > self.last_rank || unit > self.last_waiting * weight)
    }

    #[inline(never)]
    pub(super) fn offer(&mut self, index: u32, rank: u64, weight: f64, unit: f64) {
        if self.is_behind(rank, weight, unit) {
            return;
        }
        if self.kept.len() == 2 * MAX_CANDIDATES {
            self.cut();
        }
        self.kept.push((rank, waiting(unit, weight).to_bits(), index));
    }

    /// The numbers, by priority, then by waiting time: who is a suspect decides only who stays.
    pub(super) fn ranked(&mut self) -> impl Iterator<Item = u32> {
        if self.kept.len() > MAX_CANDIDATES {
            self.cut();
        }
        for (rank, ..) in &mut self.kept {
            *rank &= SUSPECT - 1;
        }
        self.kept.sort_unstable();
        self.kept.iter().map(|(.., index)| *index)
    }

    fn cut(&mut self) {
        let (_, (rank, waiting, _), _) = self.kept.select_nth_unstable(MAX_CANDIDATES - 1);
        (self.last_rank, self.last_waiting) = (*rank, f64::from_bits(*waiting));
        self.kept.truncate(MAX_CANDIDATES);
    }
}

/// The one that a [`Ranking`] would name first.
#[derive(Default)]
pub(super) struct Leader {
    /// Among those that are suspects, and among those that are not.
    best: [Option<Leading>; 2],
}

/// Rank without suspicion, waiting time, number.
type Leading = (u64, f64, u32);

impl Leader {
    /// Whether one of this rank is surely not the first of its kind; as [`Ranking::is_behind`].
    #[inline]
    pub(super) fn is_behind(&self, rank: u64, weight: f64, unit: f64) -> bool {
        self.best[usize::from(rank & SUSPECT == 0)].is_some_and(|(best, waiting, _)| {
            let rank = rank & (SUSPECT - 1);
            rank >= best && (rank > best || unit > waiting * weight)
        })
    }

    #[inline(never)]
    pub(super) fn offer(&mut self, index: u32, rank: u64, weight: f64, unit: f64) {
        if self.is_behind(rank, weight, unit) {
            return;
        }
        let best = &mut self.best[usize::from(rank & SUSPECT == 0)];
        let (rank, waiting) = (rank & (SUSPECT - 1), waiting(unit, weight));
        if best.is_none_or(|(best, least, _)| (rank, waiting) < (best, least)) {
            *best = Some((rank, waiting, index));
        }
    }

    /// `plain`: how many were no suspects, whether they were offered or not. Those alone count where they fill a plan.
    pub(super) fn first(&self, plain: usize) -> Option<u32> {
        let [suspect, known] = self.best;
        let suspect = suspect.filter(|_| plain < MAX_CANDIDATES);
        let by_order =
            |a: &Leading, b: &Leading| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2));
        known.into_iter().chain(suspect).min_by(by_order).map(|(.., index)| index)
    }
}

/// A time whose lowest falls on each of several with a chance in proportion to its weight, as the first to come of
/// so many that come at random (Efraimidis and Spirakis): `-ln(1 - unit) / weight`.
pub(super) fn waiting(unit: f64, weight: f64) -> f64 {
    (1.0 - unit).ln().abs() / weight.max(f64::MIN_POSITIVE)
}

pub(super) fn sharpened(score: f64) -> f64 {
    score.powi(SCORE_EXPONENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn keeps_the_same_as_if_all_had_been_drawn_and_sorted() {
        let mut random = Random::new(1);
        for count in [0, 1, 2, 31, 32, 33, 64, 65, 100, 1_000] {
            let mut ranking = Ranking::new();
            let (mut leader, mut plain) = (Leader::default(), 0);
            let mut all = Vec::new();
            for index in 0..count {
                let is_suspect = random.below(3) == 0;
                let priority = (random.below(3) as u16, random.below(2) as u16);
                let (weight, unit) = (2.0 * random.unit_f64(), random.unit_f64());
                let rank = rank_of(is_suspect, priority.0, priority.1);
                ranking.offer(index, rank, weight, unit);
                leader.offer(index, rank, weight, unit);
                plain += usize::from(!is_suspect);
                all.push((is_suspect, priority, waiting(unit, weight), index));
            }
            all.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
            all.truncate(MAX_CANDIDATES);
            all.sort_by(|a, b| a.1.cmp(&b.1).then(a.2.total_cmp(&b.2)));
            let expected: Vec<u32> = all.into_iter().map(|(.., index)| index).collect();
            assert_eq!(ranking.ranked().collect::<Vec<_>>(), expected, "of {count}");
            assert_eq!(leader.first(plain), expected.first().copied(), "of {count}");
        }
    }
}

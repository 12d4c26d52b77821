//! The first few of many, drawn at random by weight.

use smallvec::SmallVec;

use super::decide::MAX_CANDIDATES;

/// How much faster than linearly a worse gateway of a carrier loses traffic.
const SCORE_EXPONENT: i32 = 8;

/// The first [`MAX_CANDIDATES`] of all that were offered: by rank, then by who has waited least.
pub(super) struct Ranking {
    /// Up to twice as many as are wanted, before the worse half is cut off again.
    kept: SmallVec<[Ranked; 2 * MAX_CANDIDATES]>,
    /// The last one that was wanted when it was last cut off: what comes behind it need not be drawn.
    last_rank: u64,
    last_waiting: f64,
}

/// What it is sorted by (rank, then the bits of the waiting time, which is not negative, then its number).
type Ranked = (u64, u64, u32);

/// Above all priorities of gateways, and of SRV records within them.
const SUSPECT: u64 = 1 << 32;

impl Ranking {
    pub(super) fn new() -> Self {
        Self { kept: SmallVec::new(), last_rank: u64::MAX, last_waiting: f64::INFINITY }
    }

    /// `unit` is a random number, even over `0.0..1.0`. A suspect goes behind everybody else.
    #[inline]
    pub(super) fn offer(
        &mut self,
        index: u32,
        is_suspect: bool,
        (priority, srv_rank): (u16, u16),
        weight: f64,
        unit: f64,
    ) {
        let rank = (u64::from(priority) << 16)
            + u64::from(srv_rank)
            + if is_suspect { SUSPECT } else { 0 };
        // -ln(1 - u) >= u: most are behind by far, and need no logarithm.
        if rank >= self.last_rank && (rank > self.last_rank || unit > self.last_waiting * weight) {
            return;
        }
        self.keep((rank, waiting(unit, weight).to_bits(), index));
    }

    fn keep(&mut self, ranked: Ranked) {
        if self.kept.len() == 2 * MAX_CANDIDATES {
            self.cut();
        }
        self.kept.push(ranked);
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
            let mut all = Vec::new();
            for index in 0..count {
                let is_suspect = random.below(3) == 0;
                let priority = (random.below(3) as u16, random.below(2) as u16);
                let (weight, unit) = (2.0 * random.unit_f64(), random.unit_f64());
                ranking.offer(index, is_suspect, priority, weight, unit);
                all.push((is_suspect, priority, waiting(unit, weight), index));
            }
            all.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
            all.truncate(MAX_CANDIDATES);
            all.sort_by(|a, b| a.1.cmp(&b.1).then(a.2.total_cmp(&b.2)));
            let expected: Vec<u32> = all.into_iter().map(|(.., index)| index).collect();
            assert_eq!(ranking.ranked().collect::<Vec<_>>(), expected, "of {count}");
        }
    }
}

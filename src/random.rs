//! Seeded generators: every random id and draw above the purity line comes from one of these.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Numbers that nobody can foretell who has seen earlier ones: tags, branches, Call-IDs
/// (RFC 3261 §19.3). The seed is the secret.
#[derive(Clone, Debug)]
pub struct Ids {
    generator: ChaCha8Rng,
}

impl Ids {
    pub fn new(seed: u64) -> Self {
        Self { generator: ChaCha8Rng::seed_from_u64(seed) }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.generator.next_u64()
    }
}

/// Draws among candidates, and jitter. SplitMix64: fast and well spread, but whoever sees one number
/// knows all that follow, so never for ids.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

/// From one state to the next: so the numbers far ahead are known without those between.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Even over `0..bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Passes over the next `count` numbers.
    pub fn skip(&mut self, count: u64) {
        self.state = self.state.wrapping_add(STEP.wrapping_mul(count));
    }

    /// What this one becomes `count` numbers from here.
    pub fn after(&self, count: u64) -> Self {
        let mut after = self.clone();
        after.skip(count);
        after
    }

    /// Nothing that [`normal_f64`](Self::normal_f64) draws is farther from 0.
    pub const NORMAL_MAX: f64 = 3.5;

    /// Near enough to a normal distribution with mean 0 and deviation 1: the sum of four 16-bit numbers,
    /// scaled.
    pub fn normal_f64(&mut self) -> f64 {
        const DEVIATION: f64 = 0.577_350_269_189_625_8; // of the sum of four even draws over 0..1
        let bits = self.next_u64();
        let part = |at: u32| u32::from((bits >> at) as u16);
        let sum = part(0) + part(16) + part(32) + part(48);
        (f64::from(sum) / 65_536.0 - 2.0) / DEVIATION
    }

    /// Even over `0.0..1.0`.
    pub fn unit_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_same_numbers_for_the_same_seed_and_others_for_another() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [(); 4].map(|()| random.next_u64())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn passes_over_numbers_as_if_it_had_drawn_them() {
        let mut random = Random::new(7);
        let mut ahead = random.after(3);
        random.skip(1);
        let drawn = [(); 3].map(|()| random.next_u64());
        assert_eq!(drawn[2], ahead.next_u64());
    }

    #[test]
    fn draws_the_same_ids_for_the_same_seed_and_others_for_another() {
        let draw = |seed| {
            let mut ids = Ids::new(seed);
            [(); 4].map(|()| ids.next_u64())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn draws_normally() {
        let mut random = Random::new(1);
        let drawn: Vec<f64> = (0..10_000).map(|_| random.normal_f64()).collect();
        let mean = drawn.iter().sum::<f64>() / 10_000.0;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 10_000.0;
        assert!(drawn.iter().all(|x| x.abs() <= Random::NORMAL_MAX));
        assert!(mean.abs() < 0.05 && (0.95..1.05).contains(&variance), "{mean} {variance}");
        let within = drawn.iter().filter(|x| x.abs() < 1.0).count();
        assert!((6_500..7_200).contains(&within), "{within} within one deviation");
    }

    #[test]
    fn stays_below_its_bound_and_reaches_both_ends() {
        let mut random = Random::new(1);
        let drawn: Vec<u64> = (0..200).map(|_| random.below(4)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&0), Some(&3)));
        assert_eq!(random.below(0), 0);
        assert!((0..200).all(|_| (0.0..1.0).contains(&random.unit_f64())));
    }
}

//! What is believed of a share of good attempts: a Beta distribution over what was counted.

use super::window::Counts;

/// Share of good attempts of a carrier of which nothing is known.
pub const PRIOR_MEAN: f64 = 0.98;
/// Attempts that a prior counts for at least, so that nothing is certain at first.
const STRENGTH_MIN: f64 = 4.0;
/// Attempts that a prior counts for at most, so that news are believed soon.
const STRENGTH_MAX: f64 = 20.0;

/// The distribution of θ, the chance that an attempt does not fail by the carrier's fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posterior {
    alpha: f64,
    beta: f64,
}

impl Posterior {
    /// `counts` seen, over a prior with this mean that itself rests on so many attempts.
    pub fn new(counts: Counts, prior_mean: f64, prior_attempts: f64) -> Self {
        let strength = prior_attempts.clamp(STRENGTH_MIN, STRENGTH_MAX);
        let failures = counts.failures.clamp(0.0, counts.attempts);
        let prior_mean = prior_mean.clamp(0.001, 0.999);
        Self {
            alpha: strength * prior_mean + counts.attempts - failures,
            beta: strength * (1.0 - prior_mean) + failures,
        }
    }

    pub fn mean(&self) -> f64 {
        self.alpha / (self.alpha + self.beta)
    }

    /// Standard deviation.
    pub fn deviation(&self) -> f64 {
        let sum = self.alpha + self.beta;
        (self.alpha * self.beta / (sum + 1.0)).sqrt() / sum
    }

    /// P(θ < `limit`).
    pub fn below(&self, limit: f64) -> f64 {
        regularized_beta(self.alpha, self.beta, limit.clamp(0.0, 1.0))
    }
}

/// The regularized incomplete beta function by its continued fraction (DLMF 8.17.22), evaluated by Lentz's method.
fn regularized_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front =
        (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    // The fraction converges fast on this side; the other one follows by symmetry.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * continued_fraction(a, b, x) / a
    } else {
        1.0 - front * continued_fraction(b, a, 1.0 - x) / b
    }
}

fn continued_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TERMS: u32 = 200;
    const PRECISION: f64 = 1e-10;
    let not_zero = |value: f64| if value.abs() < 1e-30 { 1e-30 } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / not_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for term in 1..TERMS {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for coefficient in [even, odd] {
            d = 1.0 / not_zero(1.0 + coefficient * d);
            c = not_zero(1.0 + coefficient / c);
            step = c * d;
            fraction *= step;
        }
        if (step - 1.0).abs() < PRECISION {
            break;
        }
    }
    fraction
}

/// Lanczos' approximation (g = 7, 9 terms), for positive arguments.
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let base = x + 7.5;
    let series =
        (1..9).fold(COEFFICIENTS[0], |sum, index| sum + COEFFICIENTS[index] / (x + index as f64));
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * base.ln() - base + series.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(attempts: f64, failures: f64) -> Counts {
        Counts { attempts, failures }
    }

    #[test]
    fn the_incomplete_beta_function_has_its_known_values() {
        // Uniform; symmetric; P(Bin(n, x) >= a) for whole numbers.
        for (a, b, x, expected) in [
            (1.0, 1.0, 0.3, 0.3),
            (2.0, 2.0, 0.5, 0.5),
            (2.0, 3.0, 0.4, 0.5248),
            (5.0, 1.0, 0.8, 0.8_f64.powi(5)),
            (20.0, 5.0, 0.8, 0.459_877),
        ] {
            let got = regularized_beta(a, b, x);
            assert!((got - expected).abs() < 1e-4, "I({a}, {b}, {x}) = {got}, not {expected}");
        }
    }

    #[test]
    fn believes_its_prior_until_it_has_seen_something() {
        let nothing = Posterior::new(counts(0.0, 0.0), 0.98, 0.0);
        assert!((nothing.mean() - 0.98).abs() < 1e-9);
        let much = Posterior::new(counts(1_000.0, 500.0), 0.98, 0.0);
        assert!((much.mean() - 0.5).abs() < 0.01);
        assert!(much.deviation() < nothing.deviation().max(0.02));
    }

    #[test]
    fn a_prior_weighs_no_more_than_twenty_attempts() {
        let twenty = Posterior::new(counts(20.0, 20.0), 1.0, 20.0);
        let million = Posterior::new(counts(20.0, 20.0), 1.0, 1e6);
        assert_eq!(twenty, million);
        assert!((0.45..0.55).contains(&million.mean()));
    }

    #[test]
    fn is_the_surer_of_a_bad_one_the_more_it_has_seen() {
        let sure =
            |attempts: f64| Posterior::new(counts(attempts, attempts / 2.0), 0.98, 4.0).below(0.8);
        assert!(sure(4.0) < sure(8.0) && sure(8.0) < sure(40.0));
        assert!(sure(40.0) > 0.99);
    }

    #[test]
    fn takes_more_failures_than_attempts_for_all_of_them() {
        let odd = Posterior::new(counts(2.0, 5.0), 0.98, 4.0);
        assert!(odd.mean() > 0.0 && odd.mean() < 1.0);
    }
}

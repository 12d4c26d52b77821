//! The arena: carriers that are models, calls that arrive at random, one scorer that orders carriers for
//! each call. No socket, no clock: the same seed gives the same run.

// Two programs share this: the bench, and the quick test of `tests/duel.rs`, which needs less of it.
#![allow(dead_code, missing_debug_implementations, unreachable_pub)]

pub mod breaker;
pub mod carriers;
pub mod dispatcher;
pub mod holdfast;
pub mod measure;
pub mod oracles;
pub mod qrouting;
pub mod scorer;
pub mod tables;
pub mod throttling;
pub mod world;

use self::scorer::Scorer;
use self::tables::Facts;

/// Who takes part, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    Holdfast,
    QroutingWeights,
    QroutingBest,
    Dispatcher,
    Throttling,
    Breaker,
}

impl Contender {
    pub const ALL: [Self; 6] = [
        Self::Holdfast,
        Self::QroutingWeights,
        Self::QroutingBest,
        Self::Dispatcher,
        Self::Throttling,
        Self::Breaker,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Holdfast => "Holdfast",
            Self::QroutingWeights => "qrouting, dynamic weights",
            Self::QroutingBest => "qrouting, best first",
            Self::Dispatcher => "dispatcher 13, cc",
            Self::Throttling => "Yeti throttling",
            Self::Breaker => "breaker, 5 in a row",
        }
    }

    /// A scorer as it is at the start, for node `node` of those that share the calls.
    pub fn scorer(self, facts: &Facts, node: usize, seed: u64) -> Box<dyn Scorer> {
        match self {
            Self::Holdfast => Box::new(holdfast::Holdfast::new(facts, node, seed)),
            Self::QroutingWeights => {
                Box::new(qrouting::Qrouting::new(facts, qrouting::Algorithm::DynamicWeights, seed))
            }
            Self::QroutingBest => {
                Box::new(qrouting::Qrouting::new(facts, qrouting::Algorithm::BestDestFirst, seed))
            }
            Self::Dispatcher => Box::new(dispatcher::Dispatcher::new(facts)),
            Self::Throttling => Box::new(throttling::Throttling::new(facts, seed)),
            Self::Breaker => Box::new(breaker::Breaker::new(facts)),
        }
    }
}

//! The twelve oracles, and a control: which carrier has which fault, and when.

use holdfast::random::Random;

use super::carriers::Fault;

/// Seconds before the fault, and after it.
pub const BEFORE_S: f64 = 60.0;
pub const AFTER_S: f64 = 90.0;
/// The fault lasts for at least this many seconds …
const FAULT_S: f64 = 50.0;
/// … and up to so many more, by seed, so that no scorer's pauses end with it by luck.
const FAULT_SPREAD_S: f64 = 30.0;

/// Who has a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Of the first carrier.
    First,
    /// Of every carrier.
    All,
    /// Of every carrier, as the second of two nodes sees them.
    AllFromSecondNode,
}

/// When a scorer has recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The first carrier has half its fair share of first attempts again.
    Share,
    /// Calls succeed again.
    Success,
    /// There is nothing to recover from.
    None,
}

#[derive(Clone, Copy, Debug)]
pub struct Oracle {
    pub name: &'static str,
    pub about: &'static str,
    pub fault: Option<Fault>,
    pub whose: Whose,
    /// On and off again for so many seconds each, while it lasts.
    pub flaps_s: Option<f64>,
    /// The fault is to be avoided: its carrier is worse than others.
    pub is_avoidable: bool,
    pub recovery: Recovery,
    /// How long it lasts.
    pub fault_s: f64,
    /// Its plot is in docs.
    pub has_plot: bool,
}

const ONE: Oracle = Oracle {
    name: "",
    about: "",
    fault: None,
    whose: Whose::First,
    flaps_s: None,
    is_avoidable: true,
    recovery: Recovery::Share,
    has_plot: false,
    fault_s: FAULT_S,
};

pub const ORACLES: [Oracle; 14] = [
    Oracle {
        name: "control",
        about: "nothing is wrong; each carrier fails half a percent of its calls",
        is_avoidable: false,
        recovery: Recovery::None,
        ..ONE
    },
    Oracle {
        name: "total-outage",
        has_plot: true,
        about: "one carrier is silent",
        fault: Some(Fault::Silent),
        ..ONE
    },
    Oracle {
        name: "half-lost",
        has_plot: true,
        about: "one carrier's link loses half of all datagrams",
        fault: Some(Fault::Loss(0.5)),
        ..ONE
    },
    Oracle {
        name: "slow-ringing",
        about: "one carrier takes three times as long to ring",
        fault: Some(Fault::Slow(3.0)),
        ..ONE
    },
    Oracle {
        name: "odd-probes",
        about: "one carrier answers OPTIONS with 404, and carries calls",
        fault: Some(Fault::AnswersProbes(404)),
        is_avoidable: false,
        recovery: Recovery::None,
        ..ONE
    },
    Oracle {
        name: "good-probes-bad-calls",
        has_plot: true,
        about: "one carrier answers OPTIONS with 200 and INVITEs with 503",
        fault: Some(Fault::Refuses { status_code: 503, cause: None }),
        ..ONE
    },
    Oracle {
        name: "capacity",
        about: "one carrier takes 5 new calls a second and refuses more with 503 \"CPS limit exceeded\"",
        fault: Some(Fault::Limited { calls_a_second: 5.0, reason: "CPS limit exceeded" }),
        is_avoidable: false,
        recovery: Recovery::Share,
        ..ONE
    },
    Oracle {
        name: "bad-destination",
        about: "a fifth of all calls go to numbers that every carrier answers with 500",
        fault: Some(Fault::BadNumbers { status_code: 500 }),
        whose: Whose::All,
        is_avoidable: false,
        recovery: Recovery::None,
        ..ONE
    },
    Oracle {
        name: "isolated-node",
        about: "the second of two nodes reaches no carrier",
        fault: Some(Fault::Silent),
        whose: Whose::AllFromSecondNode,
        is_avoidable: false,
        recovery: Recovery::Success,
        ..ONE
    },
    Oracle {
        name: "flapping",
        has_plot: true,
        about: "one carrier is silent for 10 s, well for 10 s, and so on",
        fault: Some(Fault::Silent),
        flaps_s: Some(10.0),
        is_avoidable: false,
        ..ONE
    },
    Oracle {
        name: "all-down",
        about: "every carrier is silent",
        fault: Some(Fault::Silent),
        whose: Whose::All,
        is_avoidable: false,
        recovery: Recovery::Success,
        ..ONE
    },
    Oracle {
        name: "404-no-circuit",
        about: "one carrier answers every INVITE with 404 and Q.850 cause 34",
        fault: Some(Fault::Refuses { status_code: 404, cause: Some(34) }),
        ..ONE
    },
    Oracle {
        name: "404-bare",
        has_plot: true,
        about: "one carrier answers every INVITE with 404 and says no more",
        fault: Some(Fault::Refuses { status_code: 404, cause: None }),
        ..ONE
    },
    Oracle {
        name: "soft-480",
        about: "one carrier answers every INVITE with 480 and gives no cause",
        fault: Some(Fault::Refuses { status_code: 480, cause: None }),
        ..ONE
    },
];

impl Oracle {
    pub fn named(name: &str) -> Option<&'static Self> {
        ORACLES.iter().find(|oracle| oracle.name == name)
    }

    /// The same with a fault as long as this seed has it.
    pub fn with_seed(&self, seed: u64) -> Self {
        let drawn = Random::new(seed ^ 0x0dd_ba11).unit_f64();
        Self { fault_s: FAULT_S + FAULT_SPREAD_S * drawn, ..*self }
    }

    pub fn nodes(&self) -> usize {
        match self.whose {
            Whose::AllFromSecondNode => 2,
            Whose::First | Whose::All => 1,
        }
    }

    /// What is wrong with a carrier at `at` seconds, as a node sees it.
    pub fn fault_of(&self, carrier: usize, node: usize, at: f64) -> Option<Fault> {
        let is_seen = match self.whose {
            Whose::First => carrier == 0,
            Whose::All => true,
            Whose::AllFromSecondNode => node == 1,
        };
        let into = at - BEFORE_S;
        let is_on = (0.0..self.fault_s).contains(&into)
            && self.flaps_s.is_none_or(|flaps| ((into / flaps) as u64).is_multiple_of(2));
        self.fault.filter(|_| is_seen && is_on)
    }

    /// Whether a carrier that is kept away from calls is kept away wrongly.
    pub fn is_well(&self, carrier: usize, node: usize, at: f64) -> bool {
        match self.fault_of(carrier, node, at) {
            None => {
                // A carrier that is back may take its time: that is measured as recovery.
                let was_ill = self.is_ill_ever(carrier, node) && at >= BEFORE_S;
                !was_ill
            }
            Some(fault) => is_harmless(fault),
        }
    }

    fn is_ill_ever(&self, carrier: usize, node: usize) -> bool {
        self.fault_of(carrier, node, BEFORE_S).is_some_and(|fault| !is_harmless(fault))
    }
}

/// Its carrier is as good as any other.
fn is_harmless(fault: Fault) -> bool {
    matches!(fault, Fault::AnswersProbes(_) | Fault::BadNumbers { .. })
}

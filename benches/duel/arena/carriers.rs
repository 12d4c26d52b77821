//! Carriers as models: what comes back of an INVITE or an OPTIONS, and when.

use std::time::Duration;

use holdfast::random::Random;

/// What is wrong with a carrier for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Nothing comes back.
    Silent,
    /// Each datagram is lost with this chance, in both directions.
    Loss(f64),
    /// Ringing takes this many times as long.
    Slow(f64),
    /// It answers OPTIONS with this code, and carries calls.
    AnswersProbes(u16),
    /// It answers OPTIONS with 200 and every INVITE so.
    Refuses { status_code: u16, cause: Option<u8> },
    /// It carries so many new calls a second and refuses what is above.
    Limited { calls_a_second: f64, reason: &'static str },
    /// It refuses calls to some numbers, which no carrier can reach.
    BadNumbers { status_code: u16 },
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    Answers,
    Busy,
    /// Rings until the caller gives up.
    Away,
    /// There is no such number: 404.
    Unallocated,
    /// Refused by every carrier while `Fault::BadNumbers` lasts.
    Bad,
}

/// A carrier in good health: medians, and how far values spread around them (of their logarithm).
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub trying_ms: f64,
    pub ringing_ms: f64,
    pub spread: f64,
    /// Share of calls that fail by its own fault all the same.
    pub failures: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status_code: u16,
    pub reason: &'static str,
    pub cause: Option<u8>,
}

/// What would come back if we waited for ever, from the INVITE on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Script {
    pub trying: Option<Duration>,
    pub ringing: Option<Duration>,
    pub last: Option<(Duration, Answer)>,
}

/// RFC 3261: an INVITE, and a final response, are repeated after so many milliseconds from the first.
const REPEATED_MS: [f64; 5] = [0.0, 500.0, 1_500.0, 3_500.0, 7_500.0];

impl Model {
    pub fn script(
        &self,
        fault: Option<Fault>,
        limit: &mut Limit,
        callee: Callee,
        at: f64,
        random: &mut Random,
    ) -> Script {
        let trying = self.around(self.trying_ms, random);
        let mut slower = 1.0;
        let refused = |answer: Answer| Script {
            trying: None,
            ringing: None,
            last: Some((millis(trying), answer)),
        };
        match fault {
            Some(Fault::Silent) => return Script::default(),
            Some(Fault::Loss(chance)) => return self.lossy(chance, callee, random),
            Some(Fault::Slow(times)) => slower = times,
            Some(Fault::Refuses { status_code, cause }) => {
                return refused(Answer { status_code, reason: "", cause });
            }
            Some(Fault::Limited { calls_a_second, reason }) if !limit.take(calls_a_second, at) => {
                return refused(Answer { status_code: 503, reason, cause: None });
            }
            Some(Fault::BadNumbers { status_code }) if callee == Callee::Bad => {
                return refused(Answer { status_code, reason: "", cause: None });
            }
            Some(Fault::AnswersProbes(_) | Fault::Limited { .. } | Fault::BadNumbers { .. })
            | None => {}
        }
        if random.unit_f64() < self.failures {
            return refused(Answer { status_code: 500, reason: "", cause: None });
        }
        self.good(trying, slower, callee, random)
    }

    fn good(&self, trying: f64, slower: f64, callee: Callee, random: &mut Random) -> Script {
        let reached = trying + slower * self.around(self.ringing_ms, random);
        let answer = |status_code| Answer { status_code, reason: "", cause: None };
        // Between two and about fifteen seconds.
        let answered = reached + 2_000.0 - 4_000.0 * (1.0 - random.unit_f64()).ln();
        let (ringing, last) = match callee {
            Callee::Answers | Callee::Bad => (Some(reached), Some((answered, answer(200)))),
            Callee::Away => (Some(reached), None),
            Callee::Busy => (None, Some((reached, answer(486)))),
            Callee::Unallocated => (None, Some((reached, answer(404)))),
        };
        Script {
            trying: Some(millis(trying)),
            ringing: ringing.map(millis),
            last: last.map(|(at, answer)| (millis(at), answer)),
        }
    }

    fn lossy(&self, chance: f64, callee: Callee, random: &mut Random) -> Script {
        let trying = self.around(self.trying_ms, random);
        let good = self.good(trying, 1.0, callee, random);
        let is_lost = |random: &mut Random| random.unit_f64() < chance;
        let mut script = Script::default();
        // The first INVITE that arrives begins the call; each one that does is answered with a 100.
        let mut begun = None;
        for repeated in REPEATED_MS {
            if is_lost(random) {
                continue;
            }
            begun = begun.or(Some(repeated));
            if !is_lost(random) {
                script.trying = Some(millis(repeated + trying));
                break;
            }
        }
        let Some(begun) = begun.map(millis) else { return script };
        script.ringing = good.ringing.filter(|_| !is_lost(random)).map(|at| begun + at);
        if let Some((at, answer)) = good.last {
            for repeated in REPEATED_MS {
                if !is_lost(random) {
                    script.last = Some((begun + at + millis(repeated), answer));
                    break;
                }
            }
        }
        script
    }

    /// The answer to an OPTIONS, and when; `None` when none ever comes.
    pub fn probe(&self, fault: Option<Fault>, random: &mut Random) -> Option<(Duration, u16)> {
        let delay = self.around(self.trying_ms, random);
        match fault {
            Some(Fault::Silent) => None,
            Some(Fault::Loss(chance)) => {
                // Lost if either direction loses it.
                let arrives = (1.0 - chance) * (1.0 - chance);
                let at = REPEATED_MS.iter().find(|_| random.unit_f64() < arrives)?;
                Some((millis(at + delay), 200))
            }
            Some(Fault::AnswersProbes(status_code)) => Some((millis(delay), status_code)),
            Some(
                Fault::Slow(_)
                | Fault::Refuses { .. }
                | Fault::Limited { .. }
                | Fault::BadNumbers { .. },
            )
            | None => Some((millis(delay), 200)),
        }
    }

    fn around(&self, median: f64, random: &mut Random) -> f64 {
        median * (self.spread * random.normal_f64()).exp()
    }
}

/// A bucket of tokens, one second deep.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    tokens: f64,
    at: f64,
}

impl Default for Limit {
    fn default() -> Self {
        Self { tokens: f64::MAX, at: 0.0 }
    }
}

impl Limit {
    /// `at`: seconds.
    fn take(&mut self, calls_a_second: f64, at: f64) -> bool {
        self.tokens = (self.tokens + (at - self.at) * calls_a_second).min(calls_a_second);
        self.at = at;
        let is_taken = self.tokens >= 1.0;
        if is_taken {
            self.tokens -= 1.0;
        }
        is_taken
    }
}

pub fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1_000.0)
}

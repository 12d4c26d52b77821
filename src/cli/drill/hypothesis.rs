//! What is expected of a drill, said before it begins, and whether it came true.

use std::fmt;

use serde::Serialize;

use super::figures::Figures;
use super::ledger::Ms;

/// Upper limits; `None` = anything will do. That no record is lost or doubled and that no call leaves its region is part of
/// every hypothesis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hypothesis {
    /// Answered calls that may end by themselves.
    pub(super) dropped: Option<Ms>,
    /// New calls that may fail.
    pub(super) failed: Option<Ms>,
    /// No call that is offered later than this may fail.
    pub(super) fails_for_ms: Option<Ms>,
    /// When all must be well again.
    pub(super) recovered_ms: Option<Ms>,
    /// INVITE to ringing, of 99 in 100 calls while the fault lasts.
    pub(super) delay_p99_ms: Option<Ms>,
}

/// One sentence of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) expected: String,
    pub(super) found: String,
    pub(super) holds: bool,
}

impl Hypothesis {
    const NAMES: [&str; 5] = ["dropped", "failed", "fails_for_ms", "recovered_ms", "delay_p99_ms"];

    /// Reads `dropped=0,fails_for_ms=5000`; names that are left out may be anything.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut this = Self::default();
        for part in text.split(',').map(str::trim) {
            let (name, limit) =
                part.split_once('=').ok_or_else(|| format!("'{part}' is not NAME=LIMIT"))?;
            let limit: u32 = limit
                .trim()
                .parse()
                .map_err(|_| format!("the limit of {name} is a whole number, not '{limit}'"))?;
            let at = Self::NAMES.iter().position(|known| *known == name.trim());
            let at = at.ok_or_else(|| {
                format!("there is no limit '{}'; there are {}", name.trim(), Self::NAMES.join(", "))
            })?;
            *this.limits_mut()[at] = Some(limit.into());
        }
        Ok(this)
    }

    fn limits(&self) -> [Option<Ms>; 5] {
        let Self { dropped, failed, fails_for_ms, recovered_ms, delay_p99_ms } = *self;
        [dropped, failed, fails_for_ms, recovered_ms, delay_p99_ms]
    }

    fn limits_mut(&mut self) -> [&mut Option<Ms>; 5] {
        let Self { dropped, failed, fails_for_ms, recovered_ms, delay_p99_ms } = self;
        [dropped, failed, fails_for_ms, recovered_ms, delay_p99_ms]
    }

    /// Every sentence with what was found.
    pub(super) fn check(&self, figures: &Figures) -> Vec<Check> {
        let mut checks = Vec::new();
        let mut check = |expected: String, found: String, holds: bool| {
            checks.push(Check { expected, found, holds });
        };
        check(
            "calls are in flight when the fault comes".to_owned(),
            figures.in_flight.to_string(),
            figures.in_flight > 0,
        );
        check(
            "no new call fails before it".to_owned(),
            count(figures.failed_before, "failed"),
            figures.failed_before == 0,
        );
        if let Some(limit) = self.dropped {
            let dropped = figures.dropped.len();
            let expected = match limit {
                0 => "every answered call survives".to_owned(),
                limit => format!("at most {limit} answered calls are dropped"),
            };
            check(expected, count(dropped, "dropped"), within(dropped, limit));
        }
        if let Some(limit) = self.failed {
            let failed = figures.failed.len();
            let expected = match limit {
                0 => "no new call fails".to_owned(),
                limit => format!("at most {limit} new calls fail"),
            };
            check(expected, count(failed, "failed"), within(failed, limit));
        }
        if let Some(limit) = self.fails_for_ms {
            let found = match figures.fails_for_ms {
                None => "none failed".to_owned(),
                Some(0) => "some failed that were being set up".to_owned(),
                Some(ms) => format!("the last one was offered after {ms} ms"),
            };
            let holds = figures.fails_for_ms.is_none_or(|ms| ms <= limit);
            let expected = match limit {
                0 => "no call that is offered after the fault fails".to_owned(),
                limit => format!("new calls fail for at most {limit} ms"),
            };
            check(expected, found, holds);
        }
        if let Some(limit) = self.recovered_ms {
            let found = figures
                .recovered_ms
                .map_or("it was never".to_owned(), |ms| format!("after {ms} ms"));
            let holds = figures.recovered_ms.is_some_and(|ms| ms <= limit);
            check(format!("all is well again within {limit} ms"), found, holds);
        }
        if let Some(limit) = self.delay_p99_ms {
            let p99 = figures.delay_during.p99_ms;
            let found = p99.map_or("no call rang".to_owned(), |ms| format!("{ms} ms"));
            let expected = format!("99 in 100 new calls ring within {limit} ms while it lasts");
            check(expected, found, p99.is_some_and(|ms| ms <= limit));
        }
        if let Some(records) = &figures.records {
            let (lost, doubled) = (records.lost.len(), records.doubled.len());
            check(
                "every call is on record once".to_owned(),
                format!("{lost} lost, {doubled} doubled of {}", records.expected),
                lost == 0 && doubled == 0,
            );
            check(
                "no call leaves its region".to_owned(),
                count(records.wrong_region, "did"),
                records.wrong_region == 0,
            );
        }
        checks
    }
}

/// As it is written on the command line.
impl fmt::Display for Hypothesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = Self::NAMES.into_iter().zip(self.limits());
        let given: Vec<String> =
            limits.filter_map(|(name, limit)| Some(format!("{name}={}", limit?))).collect();
        f.write_str(&given.join(","))
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("none {what}"),
        number => format!("{number} {what}"),
    }
}

fn within(number: usize, limit: Ms) -> bool {
    i64::try_from(number).is_ok_and(|number| number <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::drill::figures::{Delay, Dropped, Failed, Records};

    const STRICT: &str =
        "dropped=0,failed=2,fails_for_ms=5000,recovered_ms=12000,delay_p99_ms=3000";

    fn good() -> Figures {
        Figures {
            in_flight: 10,
            survived: 10,
            recovered_ms: Some(12_000),
            delay_during: Delay { calls: 3, p50_ms: Some(5), p99_ms: Some(3_000) },
            records: Some(Records { expected: 20, found: 20, ..Records::default() }),
            ..Figures::default()
        }
    }

    fn failed(offered_ms: Ms) -> Failed {
        Failed { call_id: "x".to_owned(), offered_ms, cause: "no node answered".to_owned() }
    }

    /// The sentences that do not hold.
    fn broken(figures: &Figures) -> Vec<String> {
        let checks = Hypothesis::parse(STRICT).expect("it reads").check(figures);
        checks.into_iter().filter(|check| !check.holds).map(|check| check.expected).collect()
    }

    #[test]
    fn is_read_as_it_is_written() {
        let read = Hypothesis::parse(STRICT).expect("it reads");
        assert_eq!(read.to_string(), STRICT);
        assert_eq!(Hypothesis::parse(" dropped = 3 ").expect("it reads").dropped, Some(3));
        for (text, says) in [
            ("dropped", "'dropped' is not NAME=LIMIT"),
            ("", "'' is not NAME=LIMIT"),
            ("dropped=few", "the limit of dropped is a whole number, not 'few'"),
            ("lost=1", "there is no limit 'lost'; there are dropped, failed,"),
        ] {
            let error = Hypothesis::parse(text).expect_err(text);
            assert!(error.starts_with(says), "{error}");
        }
    }

    #[test]
    fn holds_at_its_very_limits() {
        let figures =
            Figures { failed: vec![failed(0), failed(5_000)], fails_for_ms: Some(5_000), ..good() };
        assert_eq!(broken(&figures), Vec::<String>::new());
    }

    #[test]
    fn every_sentence_can_be_broken() {
        let dropped =
            Dropped { call_id: String::new(), state: String::new(), cause: String::new() };
        let records = |lost: usize, doubled: usize, wrong_region| {
            let many = |count| vec![String::new(); count];
            let (lost, doubled) = (many(lost), many(doubled));
            Some(Records { lost, doubled, wrong_region, ..Records::default() })
        };
        let slow = Delay { calls: 1, p50_ms: Some(1), p99_ms: Some(3_001) };
        for (figures, sentence) in [
            (Figures { in_flight: 0, ..good() }, "calls are in flight when the fault comes"),
            (Figures { failed_before: 1, ..good() }, "no new call fails before it"),
            (Figures { dropped: vec![dropped], ..good() }, "every answered call survives"),
            (Figures { failed: vec![failed(1); 3], ..good() }, "at most 2 new calls fail"),
            (Figures { fails_for_ms: Some(5_001), ..good() }, "new calls fail for at most 5000 ms"),
            (Figures { recovered_ms: None, ..good() }, "all is well again within 12000 ms"),
            (Figures { recovered_ms: Some(12_001), ..good() }, "all is well again within 12000 ms"),
            (
                Figures { delay_during: slow, ..good() },
                "99 in 100 new calls ring within 3000 ms while it lasts",
            ),
            (Figures { records: records(1, 0, 0), ..good() }, "every call is on record once"),
            (Figures { records: records(0, 1, 0), ..good() }, "every call is on record once"),
            (Figures { records: records(0, 0, 1), ..good() }, "no call leaves its region"),
        ] {
            assert_eq!(broken(&figures), [sentence]);
        }
    }

    #[test]
    fn asks_for_no_more_than_it_says() {
        let bad = Figures { failed: vec![failed(9)], records: None, ..good() };
        let checks = Hypothesis::parse("dropped=1").expect("it reads").check(&bad);
        assert!(checks.iter().all(|check| check.holds), "{checks:?}");
        assert_eq!(checks.len(), 3);
    }
}

//! From one run to its numbers, and from many runs to their median and worst.

use std::time::Duration;

use super::oracles::{AFTER_S, BEFORE_S, Oracle, Recovery, Whose};
use super::world::{CARRIERS, CallRecord, Run};

/// A fault counts as avoided once at most this share of calls begins with it …
const AVOIDED_SHARE: f64 = 0.02;
/// … over so many seconds.
const AVOIDED_S: f64 = 5.0;
/// Calls succeed again: this share of them, over so many seconds.
const SUCCESS_SHARE: f64 = 0.95;
const SUCCESS_S: f64 = 2.0;
const SHARE_S: f64 = 5.0;

/// The numbers of one run. Not a number: does not apply; infinite: never.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Seconds from the fault's beginning until new calls avoid it.
    pub avoided_s: f64,
    /// Attempts that brought nothing, per call that came while the fault lasted.
    pub wasted: f64,
    /// The most for one call.
    pub wasted_most: f64,
    /// Seconds that healthy carriers were kept away, and how often.
    pub away_s: f64,
    pub ejections: f64,
    /// Seconds from the fault's end until all is as before.
    pub recovered_s: f64,
    /// Per cent of the calls that came while the fault lasted, or after it.
    pub lost_percent: f64,
    /// Milliseconds to ringing, of 95 % of those calls that got so far while the fault lasted.
    pub reached_ms: f64,
}

pub const COLUMNS: usize = 8;

impl Figures {
    pub fn of(oracle: &Oracle, run: &Run) -> Self {
        let during = |call: &&CallRecord| in_span(call, BEFORE_S, oracle.fault_s);
        let affected =
            |call: &&CallRecord| in_span(call, BEFORE_S, oracle.fault_s + AFTER_S - 30.0);
        let calls: Vec<&CallRecord> = run.calls.iter().filter(during).collect();
        let after: Vec<&CallRecord> = run.calls.iter().filter(affected).collect();
        let wasted: u32 = calls.iter().map(|call| call.wasted).sum();
        let lost = after.iter().filter(|call| call.is_lost).count();
        let mut reached: Vec<f64> =
            calls.iter().filter_map(|call| call.reached.map(|it| it.as_secs_f64() * 1e3)).collect();
        reached.sort_by(f64::total_cmp);
        Self {
            avoided_s: match oracle.is_avoidable {
                true => avoided_s(oracle, run),
                false => f64::NAN,
            },
            wasted: f64::from(wasted) / calls.len().max(1) as f64,
            wasted_most: calls.iter().map(|call| f64::from(call.wasted)).fold(0.0, f64::max),
            away_s: run.away_s,
            ejections: f64::from(run.ejections),
            recovered_s: match oracle.recovery {
                Recovery::None => f64::NAN,
                Recovery::Share => share_recovered_s(oracle, run),
                Recovery::Success => success_recovered_s(oracle, run),
            },
            lost_percent: 100.0 * lost as f64 / after.len().max(1) as f64,
            reached_ms: reached.get(reached.len() * 95 / 100).copied().unwrap_or(f64::NAN),
        }
    }

    pub fn columns(&self) -> [f64; COLUMNS] {
        [
            self.avoided_s,
            self.wasted,
            self.wasted_most,
            self.away_s,
            self.ejections,
            self.recovered_s,
            self.lost_percent,
            self.reached_ms,
        ]
    }

    /// The median, or the worst, of each number by itself.
    pub fn over(runs: &[Self], pick: impl Fn(&[f64]) -> f64) -> Self {
        let column = |index: usize| {
            let mut values: Vec<f64> = runs.iter().map(|run| run.columns()[index]).collect();
            values.sort_by(f64::total_cmp);
            pick(&values)
        };
        Self {
            avoided_s: column(0),
            wasted: column(1),
            wasted_most: column(2),
            away_s: column(3),
            ejections: column(4),
            recovered_s: column(5),
            lost_percent: column(6),
            reached_ms: column(7),
        }
    }
}

pub fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

pub fn worst(sorted: &[f64]) -> f64 {
    sorted[sorted.len() - 1]
}

/// Per second of the run: the share of calls that begin with the first carrier.
pub fn shares(oracle: &Oracle, run: &Run) -> Vec<f64> {
    let seconds = (BEFORE_S + oracle.fault_s + AFTER_S) as usize;
    let mut counts = vec![(0.0, 0.0); seconds];
    for call in &run.calls {
        if let Some((first, all)) = counts.get_mut(call.at.as_secs() as usize) {
            *all += 1.0;
            *first += f64::from(u8::from(call.first == Some(0)));
        }
    }
    counts.into_iter().map(|(first, all): (f64, f64)| first / all.max(1.0)).collect()
}

fn in_span(call: &CallRecord, from_s: f64, length_s: f64) -> bool {
    let at = call.at.as_secs_f64();
    (from_s..from_s + length_s).contains(&at)
}

/// The share of calls in a span of time that `is_one` holds of.
fn share(
    calls: &[CallRecord],
    from_s: f64,
    length_s: f64,
    is_one: impl Fn(&CallRecord) -> bool,
) -> f64 {
    let from = calls.partition_point(|call| call.at < Duration::from_secs_f64(from_s));
    let span = calls[from..].iter().take_while(|call| in_span(call, from_s, length_s));
    let (all, ones) =
        span.fold((0, 0), |(all, ones), call| (all + 1, ones + u32::from(is_one(call))));
    f64::from(ones) / f64::from(all.max(1))
}

/// The first of the tenths of a second after `from_s`, up to `limit_s` later, of which `is_so` holds.
fn first_tenth(limit_s: f64, is_so: impl Fn(f64) -> bool) -> f64 {
    let tenths = (limit_s * 10.0) as u32;
    let found = (0..tenths).map(|tenth| f64::from(tenth) / 10.0).find(|after| is_so(*after));
    found.unwrap_or(f64::INFINITY)
}

fn avoided_s(oracle: &Oracle, run: &Run) -> f64 {
    first_tenth(oracle.fault_s - AVOIDED_S, |after| {
        let is_first = |call: &CallRecord| call.first == Some(0);
        share(&run.calls, BEFORE_S + after, AVOIDED_S, is_first) <= AVOIDED_SHARE
    })
}

fn share_recovered_s(oracle: &Oracle, run: &Run) -> f64 {
    first_tenth(AFTER_S - SHARE_S, |after| {
        let is_first = |call: &CallRecord| call.first == Some(0);
        let fair = 1.0 / CARRIERS as f64;
        share(&run.calls, BEFORE_S + oracle.fault_s + after, SHARE_S, is_first) >= fair / 2.0
    })
}

fn success_recovered_s(oracle: &Oracle, run: &Run) -> f64 {
    let node = match oracle.whose {
        Whose::AllFromSecondNode => 1,
        Whose::First | Whose::All => 0,
    };
    let calls: Vec<CallRecord> =
        run.calls.iter().filter(|call| call.node == node).copied().collect();
    first_tenth(AFTER_S - SUCCESS_S, |after| {
        let is_good = |call: &CallRecord| !call.is_lost;
        share(&calls, BEFORE_S + oracle.fault_s + after, SUCCESS_S, is_good) >= SUCCESS_SHARE
    })
}

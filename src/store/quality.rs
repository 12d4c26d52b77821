//! How the attempts of the last hour went: by carrier, by its gateways, and by the countries of the called numbers.

use std::collections::BTreeMap;

use super::StoreError;
use super::rows::{Columns, Line};

/// The slow measures of one carrier; of one of its gateways, or of its calls to one country, where they are named.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    pub of: Measured,
    /// Answered by attempts.
    pub asr: f64,
    /// Answered, or failed by the called party, by attempts.
    pub ner: f64,
    /// Average duration of the answered calls; `None` = there were none.
    pub acd_seconds: Option<f64>,
    /// INVITE to ringing or answer, on average; `None` = nothing rang.
    pub post_dial_delay_seconds: Option<f64>,
    /// Share of the answered calls that were over within 6 seconds; `None` = there were none.
    pub short_call_share: Option<f64>,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measured {
    pub carrier: String,
    pub gateway: Option<String>,
    /// Country code.
    pub country: Option<i32>,
}

/// What one gateway did for one country.
#[derive(Clone, Debug)]
pub(super) struct Part {
    carrier: String,
    gateway: String,
    country: Option<i32>,
    sums: Sums,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    attempts: i64,
    answered: i64,
    effective: i64,
    short: i64,
    rang: i64,
    talk_seconds: f64,
    ringing_ms: f64,
}

pub(super) fn part(row: &impl Columns) -> Result<Part, StoreError> {
    let line = Line { table: "call_attempts", row };
    let sums = Sums {
        attempts: line.get("attempts")?,
        answered: line.get("answered")?,
        effective: line.get("effective")?,
        short: line.get("short")?,
        rang: line.get("rang")?,
        talk_seconds: line.get("talk_seconds")?,
        ringing_ms: line.get("ringing_ms")?,
    };
    let (carrier, gateway) = (line.get("carrier")?, line.get("gateway")?);
    Ok(Part { carrier, gateway, country: line.get("country")?, sums })
}

/// The parts put together, in order.
pub(super) fn of(parts: Vec<Part>) -> Vec<Quality> {
    let mut all: BTreeMap<Measured, Sums> = BTreeMap::new();
    for part in parts {
        let Part { carrier, gateway, country, sums } = part;
        let of_country = country.map(|country| (None, Some(country)));
        let levels = [(None, None), (Some(gateway), None)];
        for (gateway, country) in levels.into_iter().chain(of_country) {
            let of = Measured { carrier: carrier.clone(), gateway, country };
            all.entry(of).or_default().add(sums);
        }
    }
    all.into_iter().map(|(of, sums)| sums.quality(of)).collect()
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.answered += other.answered;
        self.effective += other.effective;
        self.short += other.short;
        self.rang += other.rang;
        self.talk_seconds += other.talk_seconds;
        self.ringing_ms += other.ringing_ms;
    }

    fn quality(self, of: Measured) -> Quality {
        let by = |sum: f64, count: i64| (count > 0).then(|| sum / count as f64);
        let of_attempts = |count: i64| by(count as f64, self.attempts).unwrap_or_default();
        Quality {
            of,
            asr: of_attempts(self.answered),
            ner: of_attempts(self.effective),
            acd_seconds: by(self.talk_seconds, self.answered),
            post_dial_delay_seconds: by(self.ringing_ms / 1_000.0, self.rang),
            short_call_share: by(self.short as f64, self.answered),
        }
    }
}

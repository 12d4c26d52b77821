//! Times as people give them, and as they are printed.

use std::time::Duration;

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

const TO_SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const TO_MINUTES: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]");
const TO_MILLISECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]");

/// A moment on the command line: one in time, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Moment {
    At(OffsetDateTime),
    Ago(Duration),
}

impl Moment {
    /// Reads `2026-01-31T23:59:59Z` (any offset), `2026-01-31 23:59` (UTC), or an age such as `10m`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self::At(at));
        }
        let plain = text.replacen('T', " ", 1);
        let read = [TO_SECONDS, TO_MINUTES]
            .iter()
            .find_map(|format| PrimitiveDateTime::parse(plain.trim_end_matches('Z'), format).ok());
        if let Some(at) = read {
            return Ok(Self::At(at.assume_utc()));
        }
        let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
        let age = units.iter().find_map(|(unit, seconds)| {
            let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
            Some(Duration::from_secs(u64::from(count) * seconds))
        });
        age.map(Self::Ago).ok_or_else(|| {
            "give a time such as 2026-01-31T23:59:59Z, or an age such as 90s, 10m, 2h or 1d"
                .to_owned()
        })
    }

    pub(super) fn before(self, now: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::At(at) => at,
            Self::Ago(age) => now - age,
        }
    }
}

/// To the millisecond, in UTC.
pub(super) fn text(at: OffsetDateTime) -> String {
    let text = at.to_utc().format(TO_MILLISECONDS).expect("a date and time have all parts of it");
    format!("{text} UTC")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn reads_times_and_ages() {
        for (given, at) in [
            ("2026-01-31T23:59:59Z", datetime!(2026-01-31 23:59:59 UTC)),
            ("2026-01-31T23:59:59+01:00", datetime!(2026-01-31 22:59:59 UTC)),
            ("2026-01-31 23:59:59", datetime!(2026-01-31 23:59:59 UTC)),
            ("2026-01-31T23:59", datetime!(2026-01-31 23:59 UTC)),
        ] {
            assert_eq!(Moment::parse(given), Ok(Moment::At(at)), "{given}");
        }
        for (given, seconds) in [("90s", 90), ("10m", 600), ("2h", 7_200), ("1d", 86_400)] {
            let age = Duration::from_secs(seconds);
            assert_eq!(Moment::parse(given), Ok(Moment::Ago(age)), "{given}");
        }
        for given in ["", "yesterday", "10", "-5m", "5000000000s", "2026-13-01 00:00"] {
            assert!(Moment::parse(given).is_err(), "{given}");
        }
    }

    #[test]
    fn prints_a_time_in_utc() {
        assert_eq!(text(datetime!(2026-01-31 23:59:59.1239 +1)), "2026-01-31 22:59:59.123 UTC");
    }
}

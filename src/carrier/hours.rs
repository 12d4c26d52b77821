//! When a carrier of a route takes its calls.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Seconds of a day on which no clock is put forward or back.
const DAY_S: u32 = 86_400;
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A time of the day on some days of the week, by the clocks of a time zone.
#[derive(Clone, Debug)]
pub struct Hours {
    days: Days,
    from_s: u32,
    /// Not equal to `from_s`; before it, the time ends on the next day.
    until_s: u32,
    zone: TimeZone,
}

/// A set of weekdays; bit 0 is Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Days(u8);

impl Hours {
    /// Reads the columns of `route_carrier_hours`; `Err` names the column and says what is wrong.
    pub(super) fn parse(
        days: &str,
        from: &str,
        until: &str,
        zone: &str,
        zones: &TimeZoneDatabase,
    ) -> Result<Self, (&'static str, String)> {
        let days = Days::parse(days).ok_or_else(|| {
            ("days", format!("'{days}' must be weekdays such as mon-fri or mon,wed,sat-sun"))
        })?;
        let time = |column, text: &str| {
            let wrong = || (column, format!("'{text}' must be a time of the day such as 08:30"));
            seconds_of_day(text).ok_or_else(wrong)
        };
        let from_s = time("from_time", from)?;
        let until_s = time("until_time", until)?;
        if from_s == until_s || from_s == DAY_S {
            return Err((
                "until_time",
                "it must not be from_time; a whole day is 00:00 to 24:00".into(),
            ));
        }
        let zone = zones.get(zone).map_err(|_| {
            ("time_zone", format!("'{zone}' is no time zone known here, such as Europe/Berlin"))
        })?;
        Ok(Self { days, from_s, until_s, zone })
    }

    /// Whether `at` lies within them.
    pub fn contain(&self, at: SystemTime) -> bool {
        let Ok(at) = Timestamp::try_from(at) else { return false };
        let local = self.zone.to_datetime(at);
        let of_day = [(local.hour(), 3_600), (local.minute(), 60), (local.second(), 1)];
        let second: u32 =
            of_day.map(|(count, unit)| u32::from(count.unsigned_abs()) * unit).iter().sum();
        let today = usize::from(local.weekday().to_monday_zero_offset().unsigned_abs());
        let has_begun = self.days.have(today) && second >= self.from_s;
        if self.from_s < self.until_s {
            return has_begun && second < self.until_s;
        }
        has_begun || (self.days.have((today + 6) % 7) && second < self.until_s)
    }
}

impl Days {
    /// Names and ranges between commas; a range may go over Sunday.
    fn parse(text: &str) -> Option<Self> {
        let day = |name: &str| WEEKDAYS.iter().position(|known| *known == name);
        let mut days = 0;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (day(first)?, day(last)?);
            let count = (last + 7 - first) % 7;
            days |= (0..=count).fold(0, |days, next| days | 1 << ((first + next) % 7));
        }
        Some(Self(days))
    }

    fn have(self, day: usize) -> bool {
        self.0 & 1 << day != 0
    }
}

/// `HH:MM` or `HH:MM:SS`, up to `24:00`.
fn seconds_of_day(text: &str) -> Option<u32> {
    let mut fields = text.split(':');
    let mut field = |most: u32| {
        let field = fields.next()?;
        let is_two_digits = field.len() == 2 && field.bytes().all(|octet| octet.is_ascii_digit());
        field.parse().ok().filter(|value| is_two_digits && *value <= most)
    };
    let (hour, minute) = (field(24)?, field(59)?);
    let second = if text.len() > 5 { field(59)? } else { 0 };
    let seconds = hour * 3_600 + minute * 60 + second;
    (fields.next().is_none() && seconds <= DAY_S).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn reads_days_one_by_one_and_as_ranges_over_the_end_of_the_week() {
        for (text, days) in [
            ("mon-fri", Some(0b001_1111)),
            ("sat,sun", Some(0b110_0000)),
            ("sat-mon", Some(0b110_0001)),
            ("mon,wed,fri-sun", Some(0b111_0101)),
            ("mon-sun", Some(0b111_1111)),
            ("", None),
            ("mon-", None),
            ("Mon", None),
            ("mon, tue", None),
            ("monday", None),
        ] {
            assert_eq!(Days::parse(text).map(|days| days.0), days, "{text}");
        }
    }

    #[test]
    fn reads_times_as_both_stores_write_them() {
        for (text, seconds) in [
            ("00:00", Some(0)),
            ("08:30", Some(30_600)),
            ("08:30:05", Some(30_605)),
            ("24:00", Some(86_400)),
            ("24:00:00", Some(86_400)),
            ("24:01", None),
            ("8:30", None),
            ("08:60", None),
            ("08", None),
            ("08:30:", None),
            ("08:30:00:00", None),
            ("+8:30", None),
        ] {
            assert_eq!(seconds_of_day(text), seconds, "{text}");
        }
    }

    #[test]
    fn contain_the_first_second_and_not_the_last() {
        let hours = hours("mon-fri", "08:00", "18:00", "UTC");
        // Monday, 2 March 2026.
        for (time, expected) in [
            ("2026-03-02T07:59:59Z", false),
            ("2026-03-02T08:00:00Z", true),
            ("2026-03-02T17:59:59Z", true),
            ("2026-03-02T18:00:00Z", false),
            ("2026-03-06T12:00:00Z", true),
            ("2026-03-07T12:00:00Z", false),
        ] {
            assert_eq!(hours.contain(at(time)), expected, "{time}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let hours = hours("fri", "22:00", "06:00", "UTC");
        for (time, expected) in [
            ("2026-03-06T05:00:00Z", false),
            ("2026-03-06T22:00:00Z", true),
            ("2026-03-07T05:59:59Z", true),
            ("2026-03-07T06:00:00Z", false),
            ("2026-03-07T22:00:00Z", false),
        ] {
            assert_eq!(hours.contain(at(time)), expected, "{time}");
        }
    }

    #[test]
    fn follow_the_clocks_of_their_zone_through_summer_time() {
        let hours = hours("mon-sun", "08:00", "24:00", "Europe/Berlin");
        assert!(!hours.contain(at("2026-03-28T06:59:59Z")));
        assert!(hours.contain(at("2026-03-28T07:00:00Z")));
        // From 29 March on, two hours before UTC.
        assert!(hours.contain(at("2026-03-30T06:00:00Z")));
        assert!(!hours.contain(at("2026-03-30T22:00:00Z")), "midnight there");
    }

    #[test]
    fn say_which_column_makes_no_sense() {
        let column = |days, from, until, zone| {
            let zones = TimeZoneDatabase::bundled();
            Hours::parse(days, from, until, zone, &zones).map(|_| ()).map_err(|(column, _)| column)
        };
        assert_eq!(column("mon-fri", "00:00", "24:00", "America/New_York"), Ok(()));
        assert_eq!(column("x", "00:00", "24:00", "UTC"), Err("days"));
        assert_eq!(column("mon", "x", "24:00", "UTC"), Err("from_time"));
        assert_eq!(column("mon", "00:00", "25:00", "UTC"), Err("until_time"));
        assert_eq!(column("mon", "08:00", "08:00:00", "UTC"), Err("until_time"));
        assert_eq!(column("mon", "00:00", "24:00", "Middle/Earth"), Err("time_zone"));
    }

    fn hours(days: &str, from: &str, until: &str, zone: &str) -> Hours {
        let zones = TimeZoneDatabase::bundled();
        Hours::parse(days, from, until, zone, &zones).expect("they make sense")
    }

    fn at(text: &str) -> SystemTime {
        let at: Timestamp = text.parse().expect("a time");
        SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_second().unsigned_abs())
    }
}

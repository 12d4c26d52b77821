//! `number_rules`: how numbers and identities are written towards a carrier.

use std::sync::Arc;

use super::class::spelled;

/// One checked row; [`NumberRule::default`] holds where a carrier has none.
#[derive(Clone, Debug)]
pub struct NumberRule {
    pub called_format: NumberFormat,
    /// Put before the called number after formatting (a tech prefix).
    pub called_prefix: Arc<str>,
    pub calling_format: NumberFormat,
    /// Digits of the country whose numbers `national` shortens, e.g. `49`.
    pub country_code: Arc<str>,
    /// Host of the request URI and of To; `None` = the gateway's host.
    pub request_uri_host: Option<Arc<str>>,
    /// Host of From; `None` = our advertised host.
    pub from_host: Option<Arc<str>>,
    pub identity: Identity,
}

spelled! {
    NumberFormat {
        /// As it came.
        Unchanged = "unchanged",
        /// `+` and digits.
        E164 = "e164",
        /// Digits without `+`.
        Digits = "digits",
        /// `0` and the national number for `country_code`, `00` and digits for others.
        National = "national",
    }
}

spelled! {
    /// What becomes of P-Asserted-Identity, P-Preferred-Identity and Remote-Party-ID (RFC 3325).
    Identity {
        /// Handed on as they came: the carrier is inside our trust domain.
        Pass = "pass",
        /// Taken away.
        Strip = "strip",
        /// Replaced by a P-Asserted-Identity with the calling number.
        Assert = "assert",
    }
}

impl Default for NumberRule {
    fn default() -> Self {
        Self {
            called_format: NumberFormat::Unchanged,
            called_prefix: "".into(),
            calling_format: NumberFormat::Unchanged,
            country_code: "".into(),
            request_uri_host: None,
            from_host: None,
            identity: Identity::Strip,
        }
    }
}

/// A user part with visual separators taken out: `+` kept, digits kept; anything else (a name,
/// letters, `*`, `#`) makes it not a number.
///
/// `+4930123`, `004930123` (with `00` as international prefix) and `4930123` all give digits
/// `4930123`; the first two are known to be international.
pub fn digits_of(user: &str) -> Option<String> {
    let has_plus = user.starts_with('+');
    let mut digits = String::with_capacity(16);
    for character in user.chars().skip(usize::from(has_plus)) {
        match character {
            '0'..='9' if digits.len() < MAX_DIGITS => digits.push(character),
            // RFC 3966 §5.1.1: visual separators.
            '-' | '.' | '(' | ')' | ' ' => {}
            _ => return None,
        }
    }
    let without_prefix = digits.strip_prefix("00").map(str::to_owned);
    let digits = without_prefix.filter(|_| !has_plus).unwrap_or(digits);
    (!digits.is_empty()).then_some(digits)
}

/// The country code that a called number begins with (ITU-T E.164 annex to its operational bulletins: one digit for
/// zones 1 and 7, two for those listed, else three). `None` for what is no number, or has no country in it: short
/// numbers, and those with a trunk prefix.
pub fn country_of(user: &str) -> Option<u16> {
    const TWO_DIGITS: [u16; 44] = [
        20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55,
        56, 57, 58, 60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98,
    ];
    const SHORTEST: usize = 7;
    let digits = digits_of(user)?;
    if digits.len() < SHORTEST || digits.starts_with('0') {
        return None;
    }
    if digits.starts_with(['1', '7']) {
        return digits[..1].parse().ok();
    }
    let two = digits[..2].parse().ok()?;
    if TWO_DIGITS.contains(&two) { Some(two) } else { digits[..3].parse().ok() }
}

/// Digits of an E.164 number (ITU-T E.164 §6) with some room for prefixes, at most.
const MAX_DIGITS: usize = 32;

impl NumberRule {
    /// Writes the user part of the called party's URI for this carrier.
    pub fn write_called(&self, user: &str) -> String {
        let formatted = self.write(self.called_format, user);
        format!("{}{formatted}", self.called_prefix)
    }

    /// Writes the user part of the caller's URI for this carrier.
    pub fn write_calling(&self, user: &str) -> String {
        self.write(self.calling_format, user)
    }

    fn write(&self, format: NumberFormat, user: &str) -> String {
        let Some(digits) = digits_of(user) else { return user.to_owned() };
        match format {
            NumberFormat::Unchanged => user.to_owned(),
            NumberFormat::E164 => format!("+{digits}"),
            NumberFormat::Digits => digits,
            NumberFormat::National => match digits.strip_prefix(&*self.country_code) {
                Some(national) if !self.country_code.is_empty() => format!("0{national}"),
                _ => format!("00{digits}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_country_of_a_number_however_it_is_written() {
        for (user, country) in [
            ("+14155550100", Some(1)),
            ("+49 30 123456", Some(49)),
            ("004930123456", Some(49)),
            ("+353123456789", Some(353)),
            ("+79991234567", Some(7)),
            ("+85212345678", Some(852)),
            ("112", None),
            ("030123456", None),
            ("alice", None),
        ] {
            assert_eq!(country_of(user), country, "{user}");
        }
    }

    #[test]
    fn reads_digits_out_of_what_people_write_and_nothing_out_of_names() {
        for (user, digits) in [
            ("+49 (30) 123-456", Some("4930123456")),
            ("004930123456", Some("4930123456")),
            ("4930123456", Some("4930123456")),
            ("+0049", Some("0049")),
            ("alice", None),
            ("*21#", None),
            ("", None),
            ("+", None),
        ] {
            assert_eq!(digits_of(user).as_deref(), digits, "{user}");
        }
        assert_eq!(digits_of(&"1".repeat(MAX_DIGITS + 1)), None);
    }

    #[test]
    fn writes_numbers_as_a_carrier_wants_them() {
        let rule = |format| NumberRule {
            called_format: format,
            calling_format: format,
            country_code: "49".into(),
            ..NumberRule::default()
        };
        for (format, given, written) in [
            (NumberFormat::Unchanged, "0049 30 1", "0049 30 1"),
            (NumberFormat::E164, "0049301", "+49301"),
            (NumberFormat::Digits, "+49301", "49301"),
            (NumberFormat::National, "+49301", "0301"),
            (NumberFormat::National, "+43512", "0043512"),
            (NumberFormat::E164, "alice", "alice"),
        ] {
            assert_eq!(rule(format).write_called(given), written, "{format}");
            assert_eq!(rule(format).write_calling(given), written, "{format}");
        }
        let prefixed = NumberRule { called_prefix: "9#".into(), ..rule(NumberFormat::Digits) };
        assert_eq!(prefixed.write_called("+49301"), "9#49301");
        assert_eq!(prefixed.write_calling("+49301"), "49301");
    }
}

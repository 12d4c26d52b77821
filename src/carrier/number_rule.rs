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

//! What a neighbour says in a Via of how much it can take: overload control of the class "loss" (RFC 7339 §4).

use std::fmt;
use std::time::Duration;

use super::Via;

/// The parameters of a Via that are about it.
pub(super) const PARAMS: [&str; 4] = ["oc", "oc-algo", "oc-validity", "oc-seq"];
/// The one algorithm that everybody knows.
const LOSS: &[u8] = b"loss";
/// How long feedback holds that does not say so.
const VALID_FOR_MS: u32 = 500;

/// Feedback to whoever sends requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The share of requests that are not to be sent, 0 to 100.
    pub percent: u8,
    /// How long that holds.
    pub valid_for: Duration,
    /// Later feedback has a higher one.
    pub seq: Duration,
}

impl Feedback {
    /// What a request's Via has that announces that we take feedback (RFC 7339 §5.1).
    pub const ANNOUNCED: &str = ";oc;oc-algo=\"loss\"";

    /// What a response's Via says (RFC 7339 §4); `None` where it says nothing that we understand.
    pub fn read(via: &Via<'_>) -> Option<Self> {
        let percent = number(via.param("oc")?)?;
        let percent = u8::try_from(percent).ok().filter(|percent| *percent <= 100)?;
        if !via.param("oc-algo").is_none_or(|algorithm| algorithm.eq_ignore_ascii_case(LOSS)) {
            return None;
        }
        let valid_for_ms = via.param("oc-validity").map_or(Some(VALID_FOR_MS.into()), number)?;
        let seq = via.param("oc-seq").map_or(Some(Duration::ZERO), sequence)?;
        Some(Self { percent, valid_for: Duration::from_millis(valid_for_ms), seq })
    }

    /// A share of 0.0 to 1.0, `now` as time since some beginning. Where there is none, there is nothing to be held to.
    pub fn new(share: f64, now: Duration) -> Self {
        // At most 100, and never less than is refused.
        let percent = (share.clamp(0.0, 1.0) * 100.0).ceil() as u8;
        let valid_for_ms = if percent > 0 { VALID_FOR_MS } else { 0 };
        let valid_for = Duration::from_millis(valid_for_ms.into());
        Self { percent, valid_for, seq: now }
    }

    /// Whether who sent a request takes feedback (RFC 7339 §5.1): `oc` without a value, and "loss" among its algorithms.
    pub fn is_wanted(via: &Via<'_>) -> bool {
        let algorithms = via.param("oc-algo").unwrap_or_default();
        via.param("oc") == Some(b"")
            && algorithms
                .split(|octet| *octet == b',')
                .any(|name| name.trim_ascii().eq_ignore_ascii_case(LOSS))
    }
}

/// Up to twelve digits.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = (1..=12).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

/// `1282321615.782`
fn sequence(text: &[u8]) -> Option<Duration> {
    let point = text.iter().position(|octet| *octet == b'.')?;
    let (whole, part) = (number(&text[..point])?, &text[point + 1..]);
    let digits = u32::try_from(part.len()).ok().filter(|digits| *digits <= 5)?;
    let micros = number(part)? * 10_u64.pow(6 - digits);
    Some(Duration::from_secs(whole) + Duration::from_micros(micros))
}

/// As parameters of a Via, each with its `;`.
impl fmt::Display for Feedback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, valid_for_ms) = (self.percent, self.valid_for.as_millis());
        let (seconds, part) = (self.seq.as_secs(), self.seq.subsec_micros() / 10);
        write!(
            f,
            ";oc={percent};oc-algo=\"loss\";oc-validity={valid_for_ms};oc-seq={seconds}.{part:05}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_wanted_by_who_announces_it_and_knows_the_algorithm() {
        for (params, is_wanted) in [
            (";oc;oc-algo=\"loss\"", true),
            (";oc;oc-algo=\"rate, LOSS\";branch=z9hG4bK1", true),
            (";OC-ALGO=\"loss,A\";OC", true),
            (";oc", false),
            (";oc-algo=\"loss\"", false),
            (";oc;oc-algo=\"rate\"", false),
            (";oc=20;oc-algo=\"loss\"", false),
            ("", false),
        ] {
            let value = format!("SIP/2.0/UDP 192.0.2.9{params}");
            let via = Via::parse(value.as_bytes()).expect("a Via");
            assert_eq!(Feedback::is_wanted(&via), is_wanted, "{params}");
        }
    }

    #[test]
    fn reads_what_it_writes_and_takes_what_is_missing_as_the_rfc_says() {
        let said = |params: &str| {
            let value = format!("SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1{params}");
            Feedback::read(&Via::parse(value.as_bytes()).expect("a Via"))
        };
        let own = Feedback::new(0.37, Duration::from_micros(1_282_321_615_782_010));
        assert_eq!(said(&own.to_string()), Some(own));
        let brief =
            Feedback { percent: 20, valid_for: Duration::from_millis(500), seq: Duration::ZERO };
        assert_eq!(said(";oc=20"), Some(brief));
        let seq = said(";oc=20;oc-seq=7.5").map(|feedback| feedback.seq);
        assert_eq!(seq, Some(Duration::from_millis(7_500)));
        for nonsense in [
            "",
            ";oc",
            ";oc;oc-algo=\"loss\"",
            ";oc=101",
            ";oc=-1",
            ";oc=x",
            ";oc=20;oc-algo=\"rate\"",
            ";oc=20;oc-validity=x",
            ";oc=20;oc-seq=1",
            ";oc=20;oc-seq=1.123456",
            ";oc=20;oc-seq=1234567890123.1",
        ] {
            assert_eq!(said(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn says_how_much_is_not_to_be_sent_and_for_how_long() {
        let now = Duration::from_micros(1_282_321_615_782_019);
        let said = |share| Feedback::new(share, now).to_string();
        let rest = ";oc-seq=1282321615.78201";
        assert_eq!(said(0.2), format!(";oc=20;oc-algo=\"loss\";oc-validity=500{rest}"));
        assert_eq!(said(0.001), format!(";oc=1;oc-algo=\"loss\";oc-validity=500{rest}"));
        assert_eq!(said(1.0), format!(";oc=100;oc-algo=\"loss\";oc-validity=500{rest}"));
        assert_eq!(said(0.0), format!(";oc=0;oc-algo=\"loss\";oc-validity=0{rest}"));
    }
}

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

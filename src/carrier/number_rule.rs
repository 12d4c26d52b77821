//! `number_rules`: how numbers and identities are written towards a carrier.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::class::spelled;
use super::header_rule::{Carry, HeaderRule};
use super::rewrite::Rewrite;
use super::{Dns, Gateway, Transport};
use crate::sip::subscriber::{self, Subscriber};

/// One checked row; [`NumberRule::default`] holds where a carrier has none.
#[derive(Clone, Debug)]
pub struct NumberRule {
    pub called: PartyRule,
    /// Put before the called number after formatting and rewriting (a tech prefix).
    pub called_prefix: Arc<str>,
    pub calling: PartyRule,
    /// Digits of the country whose numbers `national` shortens, e.g. `49`.
    pub country_code: Arc<str>,
    /// What becomes of `rn`, `npdi`, `cic` and their contexts (RFC 4694).
    pub portability: Carry,
    pub user_phone: UserPhone,
    /// Host of the request URI and of To; `None` = the gateway's host.
    pub request_uri_host: Option<Arc<str>>,
    /// Host of From; `None` = our advertised host.
    pub from_host: Option<Arc<str>>,
    pub headers: Arc<HeaderRule>,
}

/// How the number of one party is written.
#[derive(Clone, Debug)]
pub struct PartyRule {
    pub format: NumberFormat,
    /// After formatting.
    pub rewrite: Option<Rewrite>,
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
    /// Whether URIs say that their user part is a telephone number (RFC 3261 §19.1.1).
    UserPhone {
        /// Where it came so, a tel URI included.
        AsReceived = "as_received",
        /// With every number.
        On = "on",
        Off = "off",
    }
}

/// Parameters of a number that tell networks how to reach it (RFC 4694 §4), lower case.
const PORTABILITY: [&[u8]; 5] = [b"rn", b"rn-context", b"npdi", b"cic", b"cic-context"];

impl Default for NumberRule {
    fn default() -> Self {
        let unchanged = || PartyRule { format: NumberFormat::Unchanged, rewrite: None };
        Self {
            called: unchanged(),
            called_prefix: "".into(),
            calling: unchanged(),
            country_code: "".into(),
            portability: Carry::Pass,
            user_phone: UserPhone::AsReceived,
            request_uri_host: None,
            from_host: None,
            headers: Arc::default(),
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

/// RFC 3323 §4.1.1.3.
const ANONYMOUS_HOST: &str = "anonymous.invalid";

impl NumberRule {
    /// `sip:{number}@{host}`, its parameters by rule, and by which transport where that is not UDP.
    pub fn request_uri(&self, called: &Subscriber, gateway: &Gateway) -> Vec<u8> {
        let mut uri = self.to_uri(called, gateway);
        uri.extend_from_slice(match gateway.transport {
            Transport::Udp => b"",
            Transport::Tcp => b";transport=tcp",
            Transport::Tls => b";transport=tls",
        });
        uri
    }

    /// The URI of To: the same, for no way in particular (RFC 3261 §19.1.1, table 1).
    pub fn to_uri(&self, called: &Subscriber, gateway: &Gateway) -> Vec<u8> {
        self.uri(&self.called, &self.called_prefix, called, &self.host_of(gateway))
    }

    /// The URI of From. `host` = that of the URI that came, `own_host` = ours.
    pub fn from_uri(&self, calling: &Subscriber, host: &[u8], own_host: &str) -> Vec<u8> {
        // RFC 3323 §4.1.1.3: the caller's anonymity is not ours to undo.
        let host = match host.eq_ignore_ascii_case(ANONYMOUS_HOST.as_bytes()) {
            true => ANONYMOUS_HOST,
            false => self.from_host.as_deref().unwrap_or(own_host),
        };
        self.uri(&self.calling, "", calling, host)
    }

    /// `host` or `host:port` of what is sent to a gateway. SRV records say the port where they are asked for
    /// (RFC 3263 §4.2): a URI with a port would say that they are not.
    pub fn host_of<'a>(&'a self, gateway: &'a Gateway) -> Cow<'a, str> {
        if let Some(host) = &self.request_uri_host {
            return Cow::Borrowed(host);
        }
        let host = match gateway.host.parse() {
            Ok(IpAddr::V6(address)) => Cow::Owned(format!("[{address}]")),
            _ => Cow::Borrowed(&*gateway.host),
        };
        match gateway.dns {
            Dns::Address if gateway.port != gateway.transport.default_port() => {
                Cow::Owned(format!("{host}:{}", gateway.port))
            }
            Dns::Address | Dns::Srv => host,
        }
    }

    fn uri(&self, rule: &PartyRule, prefix: &str, whom: &Subscriber, host: &str) -> Vec<u8> {
        let text = match whom.user.as_str() {
            "" => String::new(),
            _ => format!("{prefix}{}", self.write(rule, whom)),
        };
        let mut uri = b"sip:".to_vec();
        self.push_user(&mut uri, whom, &text);
        if uri.last() != Some(&b':') {
            uri.push(b'@');
        }
        uri.extend_from_slice(host.as_bytes());
        let is_phone = match self.user_phone {
            UserPhone::AsReceived => whom.is_phone,
            UserPhone::On => whom.is_local() || digits_of(&text).is_some(),
            UserPhone::Off => false,
        };
        if is_phone {
            uri.extend_from_slice(b";user=phone");
        }
        uri
    }

    /// The octets that came where the rule changed nothing, so that nothing in them is lost. What a rule wrote is
    /// escaped: the text it was written from may hold anything, line ends included.
    fn push_user(&self, uri: &mut Vec<u8>, whom: &Subscriber, text: &str) {
        let is_changed = text != whom.user;
        match is_changed {
            false => uri.extend_from_slice(whom.written_user()),
            true => text.bytes().for_each(|octet| subscriber::push_escaped(uri, octet)),
        }
        for param in whom.params() {
            let name = subscriber::name_of(param);
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            let is_portability = PORTABILITY.iter().any(|known| is(known));
            let is_dropped = match self.portability {
                Carry::Strip if is_portability => true,
                // The context is that of the number as it came.
                Carry::Pass | Carry::Strip => is_changed && is(b"phone-context"),
            };
            if !is_dropped {
                uri.push(b';');
                uri.extend_from_slice(param);
            }
        }
    }

    fn write(&self, rule: &PartyRule, whom: &Subscriber) -> String {
        let formatted = match digits_of(&whom.user) {
            Some(digits) if !whom.is_local() => self.formatted(rule.format, digits, &whom.user),
            Some(_) | None => whom.user.clone(),
        };
        rule.rewrite.as_ref().and_then(|it| it.apply(&formatted)).unwrap_or(formatted)
    }

    fn formatted(&self, format: NumberFormat, digits: String, user: &str) -> String {
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
    use std::time::Duration;

    use super::*;
    use crate::carrier::{AdminState, Carrier, CarrierId, GatewayId, Limits, Media};
    use crate::sip::Uri;

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

    fn rule(format: NumberFormat) -> NumberRule {
        let party = || PartyRule { format, rewrite: None };
        NumberRule {
            called: party(),
            calling: party(),
            country_code: "49".into(),
            ..NumberRule::default()
        }
    }

    fn gateway(host: &str, port: u16, dns: Dns) -> Gateway {
        Gateway {
            id: GatewayId(1),
            carrier: Arc::new(Carrier {
                id: CarrierId(1),
                name: "a".into(),
                is_enabled: true,
                errors_in_row: None,
                probe_interval: None,
                no_response: Duration::ZERO,
                no_ringing: Duration::ZERO,
                limits: Limits::default(),
                number_rule: NumberRule::default(),
                tls_wildcard: false,
            }),
            name: "g".into(),
            host: host.into(),
            port,
            transport: Transport::Udp,
            dns,
            large_by_tcp: false,
            media: Media::Both,
            codecs: None,
            admin_state: AdminState::On,
            region: None,
            priority: 0,
            weight: 1,
            limits: Limits::default(),
        }
    }

    /// The request URI that a received one becomes.
    fn called(rule: &NumberRule, uri: &str) -> String {
        let subscriber = Subscriber::parse(uri.as_bytes());
        let gateway = gateway("c.example", 5060, Dns::Address);
        String::from_utf8(rule.request_uri(&subscriber, &gateway)).expect("text")
    }

    /// The From URI that a received one becomes.
    fn calling(rule: &NumberRule, uri: &str) -> String {
        let read = Uri::parse(uri.as_bytes()).expect("a URI");
        let uri = rule.from_uri(&Subscriber::of(&read), read.host, "own.example");
        String::from_utf8(uri).expect("text")
    }

    #[test]
    fn writes_numbers_in_each_format_and_leaves_what_is_no_number() {
        for (format, given, written) in [
            (NumberFormat::Unchanged, "0049-30-1", "0049-30-1"),
            (NumberFormat::E164, "0049301", "+49301"),
            (NumberFormat::Digits, "+49(30)1", "49301"),
            (NumberFormat::National, "+49301", "0301"),
            (NumberFormat::National, "+43512", "0043512"),
            (NumberFormat::E164, "alice", "alice"),
            (NumberFormat::E164, "%41lice;x=%42", "%41lice;x=%42"),
            (NumberFormat::E164, "*21%23", "*21%23"),
        ] {
            let rule = rule(format);
            assert_eq!(
                called(&rule, &format!("sip:{given}@a.example")),
                format!("sip:{written}@c.example")
            );
            assert_eq!(
                calling(&rule, &format!("sip:{given}@a.example")),
                format!("sip:{written}@own.example")
            );
        }
        let prefixed = NumberRule { called_prefix: "9#".into(), ..rule(NumberFormat::Digits) };
        assert_eq!(called(&prefixed, "sip:+49301@a.example"), "sip:9%2349301@c.example");
        assert_eq!(calling(&prefixed, "sip:+49301@a.example"), "sip:49301@own.example");
        assert_eq!(called(&prefixed, "sip:a.example"), "sip:c.example", "nobody is called");
    }

    #[test]
    fn a_tel_uri_becomes_a_sip_uri_that_says_so() {
        let unchanged = NumberRule::default();
        let uri = called(&unchanged, "tel:+358-555-1234567;POSTD=PP22");
        assert_eq!(uri, "sip:+358-555-1234567;postd=pp22@c.example;user=phone");
        let uri = called(&rule(NumberFormat::E164), "tel:+49-30-1;ext=5");
        assert_eq!(uri, "sip:+49301;ext=5@c.example;user=phone");
        assert_eq!(calling(&unchanged, "tel:+491"), "sip:+491@own.example;user=phone");
    }

    #[test]
    fn a_local_number_keeps_its_form_and_its_context() {
        let uri = called(&rule(NumberFormat::E164), "tel:7042;phone-context=example.com");
        assert_eq!(uri, "sip:7042;phone-context=example.com@c.example;user=phone");
        let prefixed = NumberRule { called_prefix: "9".into(), ..NumberRule::default() };
        let uri = called(&prefixed, "tel:7042;phone-context=example.com");
        assert_eq!(uri, "sip:97042@c.example;user=phone", "the context is not of this number");
    }

    #[test]
    fn portability_is_kept_or_stripped_and_nothing_else_with_it() {
        let keep = rule(NumberFormat::E164);
        let strip = NumberRule { portability: Carry::Strip, ..keep.clone() };
        let uri = "sip:0049301;npdi;RN=+49699;cic=+1-6789;isub=1@a.example;user=phone";
        let kept = "sip:+49301;npdi;RN=+49699;cic=+1-6789;isub=1@c.example;user=phone";
        assert_eq!(called(&keep, uri), kept);
        assert_eq!(called(&strip, uri), "sip:+49301;isub=1@c.example;user=phone");
        let as_it_came = NumberRule { portability: Carry::Strip, ..NumberRule::default() };
        assert_eq!(called(&as_it_came, "tel:+49301;npdi"), "sip:+49301@c.example;user=phone");
    }

    #[test]
    fn says_user_phone_as_it_came_always_or_never() {
        let with = |user_phone| NumberRule { user_phone, ..NumberRule::default() };
        for (user_phone, plain, phone, name) in [
            (UserPhone::AsReceived, "", ";user=phone", ""),
            (UserPhone::On, ";user=phone", ";user=phone", ""),
            (UserPhone::Off, "", "", ""),
        ] {
            let rule = with(user_phone);
            let number = "sip:+49301@a.example";
            assert_eq!(called(&rule, number), format!("sip:+49301@c.example{plain}"));
            assert_eq!(
                called(&rule, "sip:+49301@a.example;user=phone"),
                format!("sip:+49301@c.example{phone}")
            );
            assert_eq!(called(&rule, "sip:alice@a.example"), format!("sip:alice@c.example{name}"));
            assert_eq!(calling(&rule, number), format!("sip:+49301@own.example{plain}"));
        }
    }

    #[test]
    fn rewrites_after_formatting_and_before_the_prefix() {
        let rewrite = Rewrite::new(r"^\+49(\d+)$", "0$1").expect("it makes sense");
        let mut rule = NumberRule { called_prefix: "9*".into(), ..rule(NumberFormat::E164) };
        rule.called.rewrite = Some(rewrite.clone());
        assert_eq!(called(&rule, "sip:0049301@a.example"), "sip:9*0301@c.example");
        assert_eq!(calling(&rule, "sip:0049301@a.example"), "sip:+49301@own.example");
        rule.calling.rewrite = Some(rewrite);
        assert_eq!(calling(&rule, "sip:0049301@a.example"), "sip:0301@own.example");
        let project = Rewrite::new("^.*$", "proj_1").expect("it makes sense");
        rule.called = PartyRule { format: NumberFormat::E164, rewrite: Some(project) };
        rule.called_prefix = "".into();
        assert_eq!(called(&rule, "sip:+49301;npdi@a.example"), "sip:proj_1;npdi@c.example");
    }

    #[test]
    fn the_host_is_the_rules_else_the_gateways_with_a_port_that_dns_does_not_say() {
        let host = |rule: &NumberRule, gateway: &Gateway| rule.host_of(gateway).into_owned();
        let rule = NumberRule::default();
        for (gateway, written) in [
            (gateway("c.example", 5060, Dns::Address), "c.example"),
            (gateway("c.example", 5070, Dns::Address), "c.example:5070"),
            (gateway("c.example", 5070, Dns::Srv), "c.example"),
            (gateway("2001:db8::1", 5070, Dns::Address), "[2001:db8::1]:5070"),
        ] {
            assert_eq!(host(&rule, &gateway), written);
            let own = NumberRule { request_uri_host: Some("r:1".into()), ..rule.clone() };
            assert_eq!(host(&own, &gateway), "r:1");
        }
    }

    #[test]
    fn the_request_uri_says_the_transport_and_to_does_not() {
        let rule = NumberRule::default();
        let called = Subscriber::parse(b"sip:1@a.example;user=phone");
        for (transport, port, host, params) in [
            (Transport::Udp, 5060, "c.example", ""),
            (Transport::Tcp, 5060, "c.example", ";transport=tcp"),
            (Transport::Tls, 5061, "c.example", ";transport=tls"),
            (Transport::Tls, 5060, "c.example:5060", ";transport=tls"),
        ] {
            let gateway = Gateway { transport, ..gateway("c.example", port, Dns::Address) };
            let to = format!("sip:1@{host};user=phone");
            assert_eq!(rule.to_uri(&called, &gateway), to.as_bytes());
            let request_uri = format!("{to}{params}");
            assert_eq!(rule.request_uri(&called, &gateway), request_uri.as_bytes());
        }
    }

    #[test]
    fn from_has_the_host_of_the_rule_but_where_the_caller_is_anonymous() {
        let rule = NumberRule { from_host: Some("f.example".into()), ..NumberRule::default() };
        assert_eq!(calling(&rule, "sip:+491@a.example"), "sip:+491@f.example");
        let uri = "sip:anonymous@anonymous.invalid";
        assert_eq!(calling(&rule, uri), uri);
    }
}

//! Whom a URI names: a user, or a telephone number with its parameters (RFC 3261 §19.1.6, RFC 3966 §3).

use super::Uri;

/// The user part of a sip URI, or the number of a tel URI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriber {
    /// Without parameters, escapes resolved; a number with its visual separators. Empty where there is none.
    pub user: String,
    /// It came as a telephone number: in a tel URI, or with `user=phone`.
    pub is_phone: bool,
    /// As a sip URI may carry it, with what follows its first `;`.
    written: Vec<u8>,
    user_len: usize,
}

impl Subscriber {
    /// Of a sip, sips or tel URI; nobody for any other.
    ///
    /// A tel URI's parameters are folded to lower case and ordered as RFC 3261 §19.1.6 has it; a sip URI's user part
    /// stays as it came.
    pub fn of(uri: &Uri<'_>) -> Self {
        let Some(user) = uri.user else { return Self::default() };
        let is_phone = !uri.is_sip()
            || uri.param("user").is_some_and(|value| value.eq_ignore_ascii_case(b"phone"));
        let mut written = Vec::with_capacity(user.len());
        let user_len = if uri.is_sip() {
            written.extend_from_slice(user);
            user.iter().position(|&octet| octet == b';').unwrap_or(user.len())
        } else {
            user.iter().for_each(|&octet| push_tel(&mut written, octet));
            let user_len = written.len();
            for param in ordered(uri.params) {
                written.push(b';');
                param.iter().for_each(|&octet| push_tel(&mut written, octet));
            }
            user_len
        };
        Self { user: uri.user_text().unwrap_or_default(), is_phone, written, user_len }
    }

    /// Reads a URI; nobody where there is none.
    pub fn parse(uri: &[u8]) -> Self {
        Uri::parse(uri).map(|uri| Self::of(&uri)).unwrap_or_default()
    }

    /// The user part without parameters, escapes kept.
    pub fn written_user(&self) -> &[u8] {
        &self.written[..self.user_len]
    }

    /// Its parameters as they are written, each without its `;`.
    pub fn params(&self) -> impl Iterator<Item = &[u8]> {
        self.written[self.user_len..].split(|&octet| octet == b';').skip(1)
    }

    /// What a portability database has it reached by: the value of its `rn`, escapes resolved (RFC 4694 §4).
    pub fn routing_number(&self) -> Option<String> {
        let param = self.params().find(|param| name_of(param).eq_ignore_ascii_case(b"rn"))?;
        let value = param.get(b"rn=".len()..)?;
        Uri::parse(&[b"sip:", value, b"@rn"].concat())?.user_text()
    }

    /// A number that means something only within its `phone-context`, which is no prefix of it (RFC 3966 §5.1.5).
    pub fn is_local(&self) -> bool {
        !self.user.starts_with('+')
            && self.params().any(|param| name_of(param).eq_ignore_ascii_case(b"phone-context"))
    }
}

/// The name of a parameter, as it is written.
pub fn name_of(param: &[u8]) -> &[u8] {
    let end = param.iter().position(|&octet| octet == b'=').unwrap_or(param.len());
    &param[..end]
}

/// The subaddress and the extension come first (RFC 3966 §3), then the others by name.
fn ordered(params: &[u8]) -> Vec<Vec<u8>> {
    let params = params.split(|&octet| octet == b';').filter(|param| !param.is_empty());
    let mut params: Vec<Vec<u8>> = params.map(<[u8]>::to_ascii_lowercase).collect();
    let place = |param: &[u8]| match name_of(param) {
        b"isub" => 0,
        b"ext" | b"postd" => 1,
        _ => 2,
    };
    params.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| name_of(a).cmp(name_of(b))));
    params
}

/// Writes an octet into a user part, escaped where it must be (RFC 3261 §25.1: `unreserved` and `user-unreserved` stand
/// for themselves).
pub fn push_escaped(uri: &mut Vec<u8>, octet: u8) {
    if octet.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&octet) {
        uri.push(octet);
    } else {
        uri.extend_from_slice(format!("%{octet:02X}").as_bytes());
    }
}

/// What is escaped in a tel URI stays so.
fn push_tel(uri: &mut Vec<u8>, octet: u8) {
    match octet {
        b'%' => uri.push(octet),
        _ => push_escaped(uri, octet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(subscriber: &Subscriber) -> (String, Vec<String>) {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (text(subscriber.written_user()), subscriber.params().map(text).collect())
    }

    #[test]
    fn reads_a_tel_uri_with_its_parameters_in_their_order() {
        let uri = b"tel:+358-555-1234567;TSP=A.b;ext=12;phone-context=5;ISUB=1411;npdi";
        let subscriber = Subscriber::parse(uri);
        assert_eq!(subscriber.user, "+358-555-1234567");
        assert!(subscriber.is_phone);
        let (user, params) = texts(&subscriber);
        assert_eq!(user, "+358-555-1234567");
        assert_eq!(params, ["isub=1411", "ext=12", "npdi", "phone-context=5", "tsp=a.b"]);
    }

    #[test]
    fn escapes_what_a_tel_uri_may_hold_and_a_user_part_may_not() {
        let (user, params) = texts(&Subscriber::parse(b"tel:*21#;phone-context=[x]:1;y=%20"));
        assert_eq!(user, "*21%23");
        assert_eq!(params, ["phone-context=%5Bx%5D%3A1", "y=%20"]);
    }

    #[test]
    fn leaves_the_user_part_of_a_sip_uri_as_it_came() {
        let uri = b"sip:%2B1555;Npdi;rn=+1666@a.example;user=PHONE";
        let subscriber = Subscriber::parse(uri);
        assert_eq!((subscriber.user.as_str(), subscriber.is_phone), ("+1555", true));
        let (user, params) = texts(&subscriber);
        assert_eq!(user, "%2B1555");
        assert_eq!(params, ["Npdi", "rn=+1666"]);
        assert!(!Subscriber::parse(b"sip:+1555@a.example").is_phone);
    }

    #[test]
    fn a_number_is_local_by_its_context() {
        for (uri, is_local) in [
            (&b"tel:7042;phone-context=example.com"[..], true),
            (b"sip:7042;Phone-Context=+49@a.example", true),
            (b"tel:+49301", false),
            (b"sip:7042@a.example", false),
            (b"tel:+1;phone-context=+1", false),
        ] {
            assert_eq!(Subscriber::parse(uri).is_local(), is_local);
        }
    }

    #[test]
    fn nobody_is_named_without_a_user_part_or_by_another_scheme() {
        for uri in [&b"sip:a.example"[..], b"urn:service:sos", b"", b"sip:"] {
            assert_eq!(Subscriber::parse(uri), Subscriber::default());
        }
    }
}

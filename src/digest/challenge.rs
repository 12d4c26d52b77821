//! What a server asks for: the value of a WWW-Authenticate or Proxy-Authenticate field (RFC 7616 §3.3).

use super::Algorithm;
use super::params::{Params, escaped, unescaped};

/// What a response proves (RFC 7616 §3.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    Auth,
    /// The body as well.
    AuthInt,
}

impl Qop {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        [Self::Auth, Self::AuthInt]
            .into_iter()
            .find(|qop| text.eq_ignore_ascii_case(qop.as_str().as_bytes()))
    }
}

/// One challenge that can be answered. Texts are as they stood between their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub realm: Box<[u8]>,
    pub nonce: Box<[u8]>,
    pub opaque: Option<Box<[u8]>>,
    /// The credentials were right, but their nonce was too old.
    pub is_stale: bool,
    pub algorithm: Algorithm,
    /// The `-sess` variant.
    pub is_session: bool,
    /// The challenge named its algorithm; an answer then does, too.
    pub names_algorithm: bool,
    /// `None` where none was offered, as before RFC 2617.
    pub qop: Option<Qop>,
}

impl Challenge {
    /// `None` for another scheme, an algorithm or a protection that we do not know, and for broken ones: a client
    /// must ignore what it does not understand (RFC 8760 §2.4).
    pub fn parse(field: &[u8]) -> Option<Self> {
        let params = Params::parse(field)?;
        let algorithm = params.get("algorithm");
        let (known, is_session) = match algorithm {
            Some(name) => Algorithm::parse(name)?,
            None => (Algorithm::Md5, false),
        };
        let qop = match params.get("qop") {
            // RFC 7616 §3.3: unknown options are ignored, so long as one is known.
            Some(options) => Some(chosen_qop(options)?),
            None => None,
        };
        if is_session && qop.is_none() {
            // RFC 3261 §22.4, 8: it needs a cnonce, which needs a qop.
            return None;
        }
        let texts = ["realm", "nonce", "opaque"].map(|name| params.get(name).unwrap_or_default());
        if texts.iter().any(|text| text.contains(&b'\r') || text.contains(&b'\n')) {
            // What is hashed must be what is sent, and that is on one line.
            return None;
        }
        let is_stale = params.get("stale").is_some_and(|it| it.eq_ignore_ascii_case(b"true"));
        Some(Self {
            realm: params.get("realm")?.into(),
            nonce: params.get("nonce")?.into(),
            opaque: params.get("opaque").map(Into::into),
            is_stale,
            algorithm: known,
            is_session,
            names_algorithm: algorithm.is_some(),
            qop,
        })
    }

    /// Whether this is the realm's name.
    pub fn is_of_realm(&self, realm: &str) -> bool {
        *unescaped(&self.realm) == *realm.as_bytes()
    }

    /// A challenge of ours: the field's value, for `qop="auth"`.
    pub fn print(realm: &str, nonce: &str, algorithm: Algorithm, is_stale: bool) -> String {
        let realm = escaped(realm.as_bytes());
        let realm = String::from_utf8_lossy(&realm);
        let stale = if is_stale { ", stale=true" } else { "" };
        let algorithm = algorithm.as_str();
        format!(
            "Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}"
        )
    }
}

/// `auth` where it is offered: a body may be changed on its way, as by a gateway that anchors media.
fn chosen_qop(options: &[u8]) -> Option<Qop> {
    let offered = |wanted: Qop| {
        options.split(|octet| *octet == b',').any(|it| Qop::parse(it.trim_ascii()) == Some(wanted))
    };
    [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| offered(*qop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_can_be_answered() {
        let field = br#"Digest realm="carrier \"one\"", nonce="abc", opaque="", stale=TRUE, algorithm=SHA-256-sess, qop="x,auth-int , auth", charset=UTF-8"#;
        let challenge = Challenge::parse(field).unwrap();
        let expected = Challenge {
            realm: br#"carrier \"one\""#.as_slice().into(),
            nonce: b"abc".as_slice().into(),
            opaque: Some(b"".as_slice().into()),
            is_stale: true,
            algorithm: Algorithm::Sha256,
            is_session: true,
            names_algorithm: true,
            qop: Some(Qop::Auth),
        };
        assert_eq!(challenge, expected);
        assert!(challenge.is_of_realm("carrier \"one\"") && !challenge.is_of_realm("carrier"));
    }

    #[test]
    fn takes_md5_and_no_protection_where_none_are_named() {
        let challenge = Challenge::parse(br#"Digest realm="a",nonce="b",stale=maybe"#).unwrap();
        assert_eq!((challenge.algorithm, challenge.is_session), (Algorithm::Md5, false));
        assert_eq!((challenge.qop, challenge.is_stale), (None, false));
        assert!(!challenge.names_algorithm);
        let challenge = Challenge::parse(br#"Digest realm="a",nonce="b",qop=auth-int"#).unwrap();
        assert_eq!(challenge.qop, Some(Qop::AuthInt));
    }

    #[test]
    fn ignores_what_it_does_not_understand() {
        for field in [
            r#"Basic realm="a""#,
            r#"Digest nonce="b""#,
            r#"Digest realm="a""#,
            r#"Digest realm="a", nonce="b", algorithm=AKAv1-MD5"#,
            r#"Digest realm="a", nonce="b", qop="token""#,
            r#"Digest realm="a", nonce="b", qop="""#,
            r#"Digest realm="a", nonce="b", algorithm=MD5-sess"#,
            "Digest realm=\"a\r\n b\", nonce=\"b\"",
        ] {
            assert_eq!(Challenge::parse(field.as_bytes()), None, "{field}");
        }
    }

    #[test]
    fn prints_what_it_can_read() {
        let text = Challenge::print("our \"realm\"", "n1", Algorithm::Sha256, true);
        let read = Challenge::parse(text.as_bytes()).unwrap();
        assert!(read.is_of_realm("our \"realm\"") && read.is_stale);
        assert_eq!((read.algorithm, read.qop), (Algorithm::Sha256, Some(Qop::Auth)));
        assert!(!Challenge::print("r", "n", Algorithm::Md5, false).contains("stale"));
    }
}

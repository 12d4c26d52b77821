//! What a client answers with: the value of an Authorization or Proxy-Authorization field (RFC 7616 §3.4).

use subtle::ConstantTimeEq;

use super::params::{Params, escaped, unescaped};
use super::{Algorithm, Challenge, Ha1, Qop, Secret};

/// What a request's response is computed from, besides A(1).
#[derive(Clone, Copy)]
struct Hashed<'a> {
    algorithm: Algorithm,
    is_session: bool,
    nonce: &'a [u8],
    /// With its nonce count as written, and the cnonce.
    qop: Option<(Qop, &'a [u8], &'a [u8])>,
    /// The request's method, and the URI as the field says it.
    method: &'a [u8],
    uri: &'a [u8],
    body: &'a [u8],
}

impl Hashed<'_> {
    /// RFC 7616 §3.4.1; without a qop as in RFC 2069.
    fn response(&self, ha1: &Ha1) -> String {
        let hash = |parts: &[&[u8]]| self.algorithm.hash(parts);
        let ha1 = match self.qop {
            Some((_, _, cnonce)) if self.is_session => {
                hash(&[ha1.reveal().as_bytes(), self.nonce, cnonce])
            }
            Some(_) | None => ha1.reveal().to_owned(),
        };
        let ha2 = match self.qop {
            Some((Qop::AuthInt, ..)) => {
                hash(&[self.method, self.uri, hash(&[self.body]).as_bytes()])
            }
            Some((Qop::Auth, ..)) | None => hash(&[self.method, self.uri]),
        };
        let (ha1, ha2) = (ha1.as_bytes(), ha2.as_bytes());
        match self.qop {
            Some((qop, nc, cnonce)) => {
                hash(&[ha1, self.nonce, nc, cnonce, qop.as_str().as_bytes(), ha2])
            }
            None => hash(&[ha1, self.nonce, ha2]),
        }
    }
}

/// A request to be sent with credentials.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub challenge: &'a Challenge,
    pub username: &'a str,
    pub method: &'a [u8],
    /// The Request-URI.
    pub uri: &'a [u8],
    pub body: &'a [u8],
    /// How often the nonce has been used, this time included.
    pub count: u32,
    /// Drawn for this nonce; no quotes in it.
    pub cnonce: &'a str,
}

impl Answer<'_> {
    /// The field's value; `None` where the secret has no hash for the challenge's algorithm.
    pub fn print(&self, secret: &Secret) -> Option<Vec<u8>> {
        let challenge = self.challenge;
        let username = escaped(self.username.as_bytes());
        let ha1 = secret.ha1(challenge.algorithm, &username, &challenge.realm)?;
        let count = format!("{:08x}", self.count);
        let hashed = Hashed {
            algorithm: challenge.algorithm,
            is_session: challenge.is_session,
            nonce: &challenge.nonce,
            qop: challenge.qop.map(|qop| (qop, count.as_bytes(), self.cnonce.as_bytes())),
            method: self.method,
            uri: self.uri,
            body: self.body,
        };
        let response = hashed.response(&ha1);
        let mut value = b"Digest username=\"".to_vec();
        value.extend_from_slice(&username);
        let mut quoted = |name: &str, content: &[u8]| {
            value.extend_from_slice(b"\", ");
            value.extend_from_slice(name.as_bytes());
            value.extend_from_slice(b"=\"");
            value.extend_from_slice(content);
        };
        quoted("realm", &challenge.realm);
        quoted("nonce", &challenge.nonce);
        quoted("uri", self.uri);
        quoted("response", response.as_bytes());
        if let Some(opaque) = &challenge.opaque {
            quoted("opaque", opaque);
        }
        if challenge.qop.is_some() {
            quoted("cnonce", self.cnonce.as_bytes());
        }
        value.push(b'"');
        if challenge.names_algorithm {
            let session = if challenge.is_session { "-sess" } else { "" };
            let text = format!(", algorithm={}{session}", challenge.algorithm.as_str());
            value.extend_from_slice(text.as_bytes());
        }
        if let Some(qop) = challenge.qop {
            // RFC 7616 §3.4: these two are not quoted.
            value.extend_from_slice(format!(", qop={}, nc={count}", qop.as_str()).as_bytes());
        }
        Some(value)
    }
}

/// Credentials as they came, all of one field. Texts are as they stand between their quotes.
#[derive(Clone, Debug)]
pub struct Credentials<'a> {
    username: &'a [u8],
    pub realm: &'a [u8],
    pub nonce: &'a [u8],
    pub uri: &'a [u8],
    response: &'a [u8],
    pub algorithm: Algorithm,
    pub is_session: bool,
    qop: Option<(Qop, &'a [u8], &'a [u8])>,
}

impl<'a> Credentials<'a> {
    /// `None` for another scheme, and for what is broken or cannot be checked.
    pub fn parse(field: &'a [u8]) -> Option<Self> {
        let params = Params::parse(field)?;
        let (algorithm, is_session) = match params.get("algorithm") {
            Some(name) => Algorithm::parse(name)?,
            None => (Algorithm::Md5, false),
        };
        let qop = match params.get("qop") {
            Some(qop) => {
                let nc = params.get("nc").filter(|nc| nc.len() == 8)?;
                Some((Qop::parse(qop)?, nc, params.get("cnonce")?))
            }
            None => None,
        };
        Some(Self {
            username: params.get("username")?,
            realm: params.get("realm")?,
            nonce: params.get("nonce")?,
            uri: params.get("uri")?,
            response: params.get("response")?,
            algorithm,
            is_session,
            qop,
        })
    }

    /// The user's name, escapes resolved; `None` where it is no text.
    pub fn username(&self) -> Option<String> {
        String::from_utf8(super::params::unescaped(self.username).into_owned()).ok()
    }

    /// Whether they are for this realm.
    pub fn is_of_realm(&self, realm: &str) -> bool {
        *unescaped(self.realm) == *realm.as_bytes()
    }

    /// The nonce count; `None` without a qop, or where it is no number (RFC 7616 §3.4: eight hex digits).
    pub fn count(&self) -> Option<u32> {
        let (_, nc, _) = self.qop?;
        u32::from_str_radix(std::str::from_utf8(nc).ok()?, 16).ok()
    }

    /// Whether whoever wrote them knows the secret. Takes the same time whatever is wrong with the response.
    pub fn are_right(&self, ha1: &Ha1, method: &[u8], body: &[u8]) -> bool {
        let hashed = Hashed {
            algorithm: self.algorithm,
            is_session: self.is_session,
            nonce: self.nonce,
            qop: self.qop,
            method,
            uri: self.uri,
            body,
        };
        let expected = hashed.response(ha1);
        self.response.to_ascii_lowercase().ct_eq(expected.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests;

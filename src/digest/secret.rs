//! What proves who somebody is. Nothing here shows it: `Debug` hides it, and there is no `Display`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Algorithm;

/// Text that is never shown: a password, or a hash that is as good as one.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for hashing and storing only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A(1) of RFC 7616 §3.4.2, hashed: `H(username:realm:password)` in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ha1(Hidden);

impl Ha1 {
    /// Takes what a column holds: hex digits of the algorithm's length, in any case.
    pub fn from_hex(algorithm: Algorithm, text: &str) -> Option<Self> {
        let is_hash =
            text.len() == algorithm.hex_len() && text.bytes().all(|it| it.is_ascii_hexdigit());
        is_hash.then(|| Self(Hidden::new(text.to_ascii_lowercase())))
    }

    /// `username` and `realm` as they stand between their quotes.
    pub fn of(algorithm: Algorithm, username: &[u8], realm: &[u8], password: &Hidden) -> Self {
        Self(Hidden::new(algorithm.hash(&[username, realm, password.0.as_bytes()])))
    }

    /// The hash itself, for computing and storing only.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// A user's hashes for one realm, by algorithm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ha1s {
    pub md5: Option<Ha1>,
    pub sha256: Option<Ha1>,
    pub sha512_256: Option<Ha1>,
}

impl Ha1s {
    pub fn get(&self, algorithm: Algorithm) -> Option<&Ha1> {
        match algorithm {
            Algorithm::Md5 => self.md5.as_ref(),
            Algorithm::Sha256 => self.sha256.as_ref(),
            Algorithm::Sha512_256 => self.sha512_256.as_ref(),
        }
    }
}

/// What is kept of a user to answer challenges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// Answers any algorithm.
    Password(Hidden),
    /// Answers the algorithms that there is a hash for, in the realm they were made for.
    Ha1s(Ha1s),
}

impl Secret {
    /// `None` where there is no hash for this algorithm.
    pub fn ha1(&self, algorithm: Algorithm, username: &[u8], realm: &[u8]) -> Option<Ha1> {
        match self {
            Self::Password(password) => Some(Ha1::of(algorithm, username, realm, password)),
            Self::Ha1s(hashes) => hashes.get(algorithm).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_of_a_secret() {
        let password = Hidden::new("open sesame".to_owned());
        let ha1 = Ha1::of(Algorithm::Md5, b"u", b"r", &password);
        let hashes = Ha1s { md5: Some(ha1.clone()), ..Ha1s::default() };
        for secret in [Secret::Password(password), Secret::Ha1s(hashes)] {
            let shown = format!("{secret:?}");
            assert!(!shown.contains("sesame") && !shown.contains(ha1.reveal()), "{shown}");
            assert!(shown.contains("***"));
        }
    }

    #[test]
    fn takes_hashes_of_the_right_length_only() {
        let hex = "A".repeat(32);
        let read = Ha1::from_hex(Algorithm::Md5, &hex).unwrap();
        assert_eq!(read.reveal(), "a".repeat(32));
        assert_eq!(Ha1::from_hex(Algorithm::Sha256, &hex), None);
        assert_eq!(Ha1::from_hex(Algorithm::Md5, &"g".repeat(32)), None);
    }
}

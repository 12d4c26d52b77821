//! Hash functions by their names in the `algorithm` parameter (RFC 8760 §2.1).

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

/// A hash function, weaker ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Md5,
    Sha256,
    Sha512_256,
}

impl Algorithm {
    /// All that we know, the strongest first.
    pub const ALL: [Self; 3] = [Self::Sha512_256, Self::Sha256, Self::Md5];

    /// As the parameter writes it, without `-sess`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// Digits of a hash in hex.
    pub const fn hex_len(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha256 | Self::Sha512_256 => 64,
        }
    }

    /// Reads the parameter in any case; with it whether it is the `-sess` variant. `None` = not one of ours.
    pub fn parse(text: &[u8]) -> Option<(Self, bool)> {
        let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
        Self::ALL.into_iter().find_map(|algorithm| {
            let name = algorithm.as_str();
            match is(name) {
                true => Some((algorithm, false)),
                false => is(&format!("{name}-sess")).then_some((algorithm, true)),
            }
        })
    }

    /// The hash of `parts` with colons between them, in lower-case hex.
    pub fn hash(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Md5 => hash_with::<Md5>(parts),
            Self::Sha256 => hash_with::<Sha256>(parts),
            Self::Sha512_256 => hash_with::<Sha512_256>(parts),
        }
    }
}

fn hash_with<D: Digest>(parts: &[&[u8]]) -> String {
    let mut hasher = D::new();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

/// Lower-case hex.
pub(super) fn hex(octets: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    octets.iter().flat_map(|octet| [digit(octet >> 4), digit(octet & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_the_standards_examples_do() {
        let hash = |algorithm: Algorithm, text: &str| algorithm.hash(&[text.as_bytes()]);
        // RFC 1321 §A.5, FIPS 180-4's examples.
        assert_eq!(hash(Algorithm::Md5, "abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            hash(Algorithm::Sha256, "abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hash(Algorithm::Sha512_256, "abc"),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
        assert_eq!(Algorithm::Md5.hash(&[b"a", b"b"]), hash(Algorithm::Md5, "a:b"));
    }

    #[test]
    fn knows_its_names_in_any_case_and_their_session_variants() {
        assert_eq!(Algorithm::parse(b"md5"), Some((Algorithm::Md5, false)));
        assert_eq!(Algorithm::parse(b"MD5-sess"), Some((Algorithm::Md5, true)));
        assert_eq!(Algorithm::parse(b"sha-256-SESS"), Some((Algorithm::Sha256, true)));
        assert_eq!(Algorithm::parse(b"SHA-512-256"), Some((Algorithm::Sha512_256, false)));
        for unknown in ["SHA-512", "AKAv1-MD5", "", "MD5-", "MD5-sess-sess"] {
            assert_eq!(Algorithm::parse(unknown.as_bytes()), None, "{unknown}");
        }
        assert!(Algorithm::ALL.windows(2).all(|pair| pair[0] > pair[1]));
        assert!(Algorithm::ALL.iter().all(|it| it.hash(&[]).len() == it.hex_len()));
    }
}

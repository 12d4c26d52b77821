//! Nonces that say themselves when they were made, and by whom: any node with the key can check one, and none has
//! to remember it (RFC 7616 §3.3 proposes such).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::algorithm::hex;

/// Octets of the time, the salt and the proof.
const TIME: usize = 8;
const SALT: usize = 8;
const PROOF: usize = 16;

/// What nonces are made and checked with, the same on every node of a cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct NonceKey([u8; 32]);

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey(***)")
    }
}

/// What a nonce of ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce {
    /// Seconds since 1970.
    pub made_at: u64,
    pub salt: u64,
}

impl NonceKey {
    /// From a secret that all nodes know, which has other uses, too.
    pub fn derive(secret: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"holdfast nonce\0");
        hasher.update(secret);
        Self(hasher.finalize().into())
    }

    /// Writes a nonce: hex digits only.
    pub fn print(&self, nonce: Nonce) -> String {
        let plain = plain(nonce);
        let mut octets = [0; TIME + SALT + PROOF];
        octets[..TIME + SALT].copy_from_slice(&plain);
        octets[TIME + SALT..].copy_from_slice(&self.proof(&plain));
        hex(&octets)
    }

    /// `None` for what was not made with this key.
    pub fn read(&self, text: &[u8]) -> Option<Nonce> {
        let octets: [u8; TIME + SALT + PROOF] = unhex(text)?;
        let (plain, proof) = octets.split_at(TIME + SALT);
        let (time, salt) = plain.split_at(TIME);
        let is_ours: bool = self.proof(plain).ct_eq(proof).into();
        is_ours.then_some(Nonce {
            made_at: u64::from_be_bytes(time.try_into().ok()?),
            salt: u64::from_be_bytes(salt.try_into().ok()?),
        })
    }

    fn proof(&self, plain: &[u8]) -> [u8; PROOF] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(plain);
        let whole = mac.finalize().into_bytes();
        let mut proof = [0; PROOF];
        proof.copy_from_slice(&whole[..PROOF]);
        proof
    }
}

fn plain(nonce: Nonce) -> [u8; TIME + SALT] {
    let mut plain = [0; TIME + SALT];
    plain[..TIME].copy_from_slice(&nonce.made_at.to_be_bytes());
    plain[TIME..].copy_from_slice(&nonce.salt.to_be_bytes());
    plain
}

fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut octets = [0; N];
    for (octet, digits) in octets.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        *octet = u8::try_from(16 * digit(0)? + digit(1)?).ok()?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_nonces_and_no_others() {
        let key = NonceKey::derive(b"secret");
        let nonce = Nonce { made_at: 1_790_000_000, salt: 7 };
        let text = key.print(nonce);
        assert_eq!(text.len(), 64);
        assert_eq!(key.read(text.as_bytes()), Some(nonce));
        assert_eq!(NonceKey::derive(b"secret").read(text.as_bytes()), Some(nonce));
        assert_eq!(NonceKey::derive(b"other").read(text.as_bytes()), None);
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(key.read(&forged), None, "digit {at}");
        }
        for broken in [&b""[..], b"xyz", &text.as_bytes()[1..], &[b'g'; 64]] {
            assert_eq!(key.read(broken), None);
        }
        assert_eq!(format!("{key:?}"), "NonceKey(***)");
    }
}

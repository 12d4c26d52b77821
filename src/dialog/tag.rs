//! The tags that we give (RFC 3261 §19.3): 64 random bits in hex.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::random::Random;

/// Our part of a dialog's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u64);

impl Tag {
    /// The tag of a response without a transaction: the same for the same Call-ID (RFC 3261 §8.2.7).
    pub fn derived(call_id: &[u8], key: u64) -> Self {
        let mut hash = Random::new(key);
        let folded = call_id.chunks(8).fold(hash.next_u64(), |folded, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            Random::new(folded ^ u64::from_le_bytes(word)).next_u64()
        });
        Self(folded)
    }

    /// Reads a tag that we gave; `None` for any other text.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != 16 || text.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        if text.starts_with('+') {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("16 hex digits are expected");
        Self::parse(text.as_bytes()).ok_or_else(wrong)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_the_same_tag_for_the_same_call_and_another_for_another() {
        assert_eq!(Tag::derived(b"a84b4c76e66710", 1), Tag::derived(b"a84b4c76e66710", 1));
        assert_ne!(Tag::derived(b"a84b4c76e66710", 1), Tag::derived(b"a84b4c76e66711", 1));
        assert_ne!(Tag::derived(b"a84b4c76e66710", 1), Tag::derived(b"a84b4c76e66710", 2));
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let tag = Tag(0x00ab_cdef_0123_4567);
        assert_eq!(tag.to_string(), "00abcdef01234567");
        assert_eq!(Tag::parse(tag.to_string().as_bytes()), Some(tag));
        for other in
            ["", "00abcdef0123456", "00ABCDEF01234567", "+0abcdef01234567", "00abcdef0123456g"]
        {
            assert_eq!(Tag::parse(other.as_bytes()), None, "{other}");
        }
    }
}

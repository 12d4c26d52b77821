//! Octets of a message in JSON: as text where they are UTF-8, else as a list of numbers.

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Octets that are kept byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Octets(pub Box<[u8]>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}

/// For `#[serde(with)]` on a field of octets.
pub fn serialize<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(octets) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => {
            let mut list = serializer.serialize_seq(Some(octets.len()))?;
            for octet in octets {
                list.serialize_element(octet)?;
            }
            list.end()
        }
    }
}

/// For `#[serde(with)]` on a field of octets.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[u8]>, D::Error> {
    deserializer.deserialize_any(Either)
}

/// Several of them.
pub type List = Box<[Box<[u8]>]>;

/// The same for a list of them.
pub mod list {
    use super::{List, Octets};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(list: &[Box<[u8]>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|octets| Octets(octets.clone())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<List, D::Error> {
        let list = Vec::<Octets>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|octets| octets.0).collect())
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Box<[u8]>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text or a list of octets")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.as_bytes().into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut octets = Vec::with_capacity(list.size_hint().unwrap_or_default());
        while let Some(octet) = list.next_element()? {
            octets.push(octet);
        }
        Ok(octets.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_octet_and_shows_text_as_text() {
        for (octets, json) in [
            (&b"\"M\xc3\xbcller\" <sip:a@b>"[..], r#""\"Müller\" <sip:a@b>""#),
            (b"\xff\x00", "[255,0]"),
            (b"", "\"\""),
        ] {
            let written = serde_json::to_string(&Octets(octets.into())).expect("written");
            assert_eq!(written, json);
            let read: Octets = serde_json::from_str(&written).expect("read");
            assert_eq!(&*read.0, octets);
        }
    }
}

//! The Call-ID scan: who owns a message, without parsing it.

use super::HeaderName;
use super::scan::{fields, line_end, skip_empty_lines};

/// Shares of the Call-ID space; a shard owns `bucket % shards`.
pub const BUCKETS: u64 = 64;

/// Finds the value of the first Call-ID header (or `i`), any case, in a raw message.
pub fn call_id(message: &[u8]) -> Option<&[u8]> {
    let start = line_end(message, skip_empty_lines(message))?.next;
    fields(message, start)
        .find(|field| field.name == HeaderName::CallId)
        .map(|field| &message[field.value_start..field.value_end])
}

/// The bucket of a Call-ID under the cluster's hash key, below [`BUCKETS`]. A fast keyed hash, stable across
/// versions and platforms (nodes of different versions must agree).
///
/// It spreads; whoever knows the key can aim at a bucket, nobody else.
pub fn bucket(call_id: &[u8], key: u64) -> u64 {
    let mut hash = BucketHash::new(call_id.len(), key);
    let (words, tail) = call_id.as_chunks::<8>();
    for word in words {
        hash.add(*word);
    }
    hash.bucket(tail)
}

/// Sixteen hex digits that fall into `bucket`: those of `random`, but for the last two, which are the first
/// that fit from those of `random` on. `None` where none of their 256 values fits; draw again then (once in
/// 56 times).
pub fn call_id_within(bucket: u64, key: u64, random: u64) -> Option<[u8; 16]> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u32| DIGITS[(random >> shift & 0xf) as usize];
    let mut digits: [u8; 16] = std::array::from_fn(|at| digit(60 - 4 * at as u32));
    let (first, last) = digits.split_at_mut(8);
    let mut hash = BucketHash::new(16, key);
    hash.add(first.try_into().expect("half of 16"));
    let start = random as u8;
    for step in 0..=u8::MAX {
        let value = start.wrapping_add(step);
        last[6] = DIGITS[usize::from(value >> 4)];
        last[7] = DIGITS[usize::from(value & 0xf)];
        let mut hash = hash;
        hash.add((&*last).try_into().expect("half of 16"));
        if hash.bucket(b"") == bucket {
            return Some(digits);
        }
    }
    None
}

/// The bucket's hash on its way through a Call-ID.
#[derive(Clone, Copy)]
struct BucketHash {
    state: u64,
    key: u64,
}

impl BucketHash {
    // 64 bits after the point of pi and of e, made odd: nothing hidden in them.
    const PI: u64 = 0x243f_6a88_85a3_08d3;
    const E: u64 = 0xb7e1_5162_8aed_2a6b;

    const fn new(len: usize, key: u64) -> Self {
        Self { state: fold(key ^ Self::PI, Self::E ^ len as u64), key }
    }

    const fn add(&mut self, word: [u8; 8]) {
        self.state = fold(self.state ^ u64::from_le_bytes(word), Self::E);
    }

    /// `tail` is what is left of the Call-ID: fewer than eight octets.
    fn bucket(self, tail: &[u8]) -> u64 {
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        let state = fold(self.state ^ u64::from_le_bytes(last), Self::PI);
        fold(state, Self::E ^ self.key) % BUCKETS
    }
}

/// The hash key that a secret text stands for, the same on every node that is told it.
pub fn bucket_key(secret: &[u8]) -> u64 {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    secret
        .iter()
        .fold(SPREAD, |key, octet| fold(key ^ u64::from(*octet), SPREAD | 1) ^ key.rotate_left(29))
}

/// The 128-bit product folded onto itself; no operand that could make it stick at zero is in the caller's hand
/// without the key.
const fn fold(left: u64, right: u64) -> u64 {
    let product = (left as u128) * (right as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_call_id_as_it_may_be_written() {
        for head in [
            "INVITE sip:b SIP/2.0\r\nCall-ID: one@x\r\n\r\n",
            "\r\n\r\nINVITE sip:b SIP/2.0\r\nTo: Call-ID\r\nX:\r\n Call-ID: no\r\ni :\r\n one@x \r\n\r\n",
            "SIP/2.0 200 OK\r\nCALL-id\t:one@x\r\ni: two\r\n",
        ] {
            assert_eq!(call_id(head.as_bytes()), Some(&b"one@x"[..]), "{head}");
        }
    }

    #[test]
    fn gives_one_key_for_one_secret_and_another_for_another() {
        assert_eq!(bucket_key(b"secret"), bucket_key(b"secret"));
        let keys =
            [bucket_key(b""), bucket_key(b"secret"), bucket_key(b"secreu"), bucket_key(b"terces")];
        assert!((1..keys.len()).all(|n| !keys[..n].contains(&keys[n])), "{keys:?}");
    }

    #[test]
    fn a_body_or_a_broken_head_holds_no_call_id() {
        for message in [
            &b"INVITE sip:b SIP/2.0\r\n\r\nCall-ID: no\r\n\r\n"[..],
            b"INVITE sip:b SIP/2.0\r\nCall-ID: no",
            b"Call-ID: no\r\n",
            b"\x00\x01\x00\x00",
            b"",
        ] {
            assert_eq!(call_id(message), None);
        }
    }

    #[test]
    fn buckets_are_the_same_on_every_node_for_ever() {
        for (call_id, key, expected) in VECTORS {
            assert_eq!(bucket(call_id, key), expected, "{}", String::from_utf8_lossy(call_id));
        }
    }

    #[test]
    fn buckets_spread_evenly_and_differ_by_key() {
        let mut counts = [0u32; 64];
        let mut moved = 0;
        for at in 0..64_000 {
            let call_id = format!("{at}@host.example");
            let at = bucket(call_id.as_bytes(), 7);
            counts[usize::try_from(at).unwrap()] += 1;
            moved += u32::from(at != bucket(call_id.as_bytes(), 8));
        }
        assert!(counts.iter().all(|&count| (850..1150).contains(&count)), "{counts:?}");
        assert!(moved > 62_000);
    }

    #[test]
    fn makes_call_ids_for_every_bucket_that_keep_what_was_drawn() {
        let mut random = crate::random::Random::new(1);
        let (mut seen, mut none) = (std::collections::HashSet::new(), 0);
        for at in 0..64_000 {
            let (wanted, drawn) = (at % BUCKETS, random.next_u64());
            let Some(call_id) = call_id_within(wanted, 7, drawn) else {
                none += 1;
                continue;
            };
            assert_eq!(bucket(&call_id, 7), wanted);
            assert_eq!(call_id[..14], format!("{drawn:016x}").as_bytes()[..14]);
            seen.insert(call_id);
        }
        // (63 / 64)^256 of them find no digits that fit: 1.8 %.
        assert!((800..1_500).contains(&none), "{none}");
        assert_eq!(seen.len(), 64_000 - none);
    }

    const VECTORS: [(&[u8], u64, u64); 8] = [
        (b"", 0, 21),
        (b"a", 0, 37),
        (b"a", 1, 8),
        (b"a84b4c76e66710@pbx.example", 0, 31),
        (b"a84b4c76e66710@pbx.example", u64::MAX, 60),
        (b"12345678", 42, 53),
        (b"1234567890123456", 42, 20),
        (b"\x00\xff@[2001:db8::7]", 42, 34),
    ];
}

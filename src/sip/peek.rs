//! The Call-ID scan: who owns a message, without parsing it.

/// Shares of the Call-ID space; a shard owns `bucket % shards`.
pub const BUCKETS: u64 = 64;

/// Finds the value of the first Call-ID header (or `i`), any case, in a raw message.
pub fn call_id(message: &[u8]) -> Option<&[u8]> {
    let _ = message;
    todo!()
}

/// The bucket of a Call-ID under the cluster's hash key, below [`BUCKETS`]. A fast keyed hash, stable across
/// versions and platforms (nodes of different versions must agree).
pub fn bucket(call_id: &[u8], key: u64) -> u64 {
    let _ = (call_id, key);
    todo!()
}

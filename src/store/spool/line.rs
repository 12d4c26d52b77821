//! One record as a line: `checksum json`, where the checksum is FNV-1a of the JSON, in hex.

use std::io::{self, BufRead, Write};

use super::super::record::StoredCall;

/// The longest line that is believed.
const MAX_OCTETS: usize = 4 * 1024 * 1024;
/// The checksum and a blank.
const HEAD: usize = 17;

pub(super) enum Read {
    Call(Box<StoredCall>),
    Unreadable,
}

pub(super) fn write(out: &mut Vec<u8>, call: &StoredCall) -> io::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[b' '; HEAD]);
    serde_json::to_writer(&mut *out, call)?;
    let sum = checksum(&out[start + HEAD..]);
    write!(&mut out[start..start + HEAD], "{sum:016x}")?;
    out.push(b'\n');
    Ok(())
}

/// The next line; `None` at the end of the file.
pub(super) fn read(from: &mut impl BufRead, octets: &mut Vec<u8>) -> io::Result<Option<Read>> {
    if from.read_until(b'\n', octets)? == 0 {
        return Ok(None);
    }
    Ok(Some(parse(octets).map_or(Read::Unreadable, |call| Read::Call(Box::new(call)))))
}

pub(super) fn parse(line: &[u8]) -> Option<StoredCall> {
    let line = line.strip_suffix(b"\n").filter(|line| line.len() <= MAX_OCTETS)?;
    let (sum, json) = line.split_at_checked(HEAD)?;
    let sum = std::str::from_utf8(sum).ok()?.strip_suffix(' ')?;
    (u64::from_str_radix(sum, 16).ok()? == checksum(json))
        .then(|| serde_json::from_slice(json).ok())?
}

/// FNV-1a, 64 bits: finds every single wrong bit.
pub(super) fn checksum(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

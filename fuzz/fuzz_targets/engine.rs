//! Any sequence of datagrams and moments: no panic, every message counted, nothing left when all calls are ended.
//!
//! An input is a list of messages, each behind four octets: what to do with it (bits: from the carrier; fill in the
//! branch, tags and Call-ID of the last INVITE that was sent), how much time passes before it, and its length.

#![no_main]

#[path = "../../tests/one_engine/mod.rs"]
mod one_engine;

use std::time::Duration;

use bytes::Bytes;
use holdfast::sip::{HeaderName, Message};
use libfuzzer_sys::fuzz_target;
use one_engine::{CALLER, CARRIER, Sent, World, response};

const FROM_CARRIER: u8 = 1;
const AS_RESPONSE: u8 = 2;
const IN_DIALOG: u8 = 4;
/// Milliseconds a unit of an input's time octet stands for.
const UNIT_MS: u64 = 50;

fuzz_target!(|input: &[u8]| {
    let mut world = World::new(1);
    let mut rest = input;
    let mut received = 0;
    // What the engine sent last: its INVITE to the carrier, its answer to the caller.
    let (mut invite, mut answer) = (None, None);
    while let Some(([what, time, high, low], tail)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (octets, behind) = tail.split_at(len);
        rest = behind;
        let passed = world.pass(Duration::from_millis(u64::from(*time) * UNIT_MS));
        note(&passed, &mut invite, &mut answer);
        let from = if what & FROM_CARRIER > 0 { CARRIER } else { CALLER };
        let bytes = match (&invite, &answer) {
            (Some(invite), _) if what & AS_RESPONSE > 0 => response(invite, octets, b""),
            (_, Some(answer)) if what & IN_DIALOG > 0 => in_dialog(answer, octets),
            _ => Bytes::copy_from_slice(octets),
        };
        let sent = world.receive(from, bytes);
        received += 1;
        note(&sent, &mut invite, &mut answer);
    }
    assert_eq!(world.counters().messages_received, received);
    world.run_dry();
});

fn note(sent: &[Sent], invite: &mut Option<Message>, answer: &mut Option<Message>) {
    for (_, bytes) in sent {
        match Message::parse(bytes.clone()) {
            Ok(message) if message.is_request() => *invite = Some(message),
            Ok(message) => *answer = Some(message),
            Err(_) => {}
        }
    }
}

/// These octets, with the fields of the dialog that an answer makes behind their first line.
fn in_dialog(answer: &Message, octets: &[u8]) -> Bytes {
    let mut bytes = Vec::new();
    for part in octets.split_inclusive(|&octet| octet == b'\n') {
        bytes.extend_from_slice(part);
        if bytes.len() == part.len() {
            for name in [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId] {
                for header in answer.all(name) {
                    bytes.extend_from_slice(header.line);
                }
            }
        }
    }
    bytes.into()
}

//! Any stream: the same frames whether it comes whole, octet by octet, or cut at places that the input chooses.

#![no_main]

use holdfast::sip::framing::{Frame, Framer, FramingError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (cuts, stream) = input.split_at(input.len().min(4));
    let whole = frames(stream, &[stream.len()]);
    assert_eq!(frames(stream, &[1]), whole);
    let cuts: Vec<usize> = cuts.iter().map(|&octet| usize::from(octet)).collect();
    assert_eq!(frames(stream, &cuts), whole);
    let messages = whole.0.iter().filter(|frame| matches!(frame, Frame::Message(_)));
    let octets: usize = messages.map(|frame| octets(frame)).sum();
    assert!(octets <= stream.len());
});

fn octets(frame: &Frame) -> usize {
    match frame {
        Frame::Message(bytes) => bytes.len(),
        Frame::Ping | Frame::Pong => 0,
    }
}

/// The frames of a stream that comes in chunks of these lengths, over and over.
fn frames(stream: &[u8], lengths: &[usize]) -> (Vec<Frame>, Option<FramingError>) {
    let (mut framer, mut frames, mut rest) = (Framer::default(), Vec::new(), stream);
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let len = lengths.next().map_or(rest.len(), |&len| len.clamp(1, rest.len()));
        framer.push(&rest[..len]);
        rest = &rest[len..];
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

//! Streams cut up in every way.

use proptest::prelude::*;

use super::*;

#[test]
fn messages_pings_and_pongs_come_out_in_order() {
    let stream = ["\r\n\r\n", FIRST, SECOND, "\r\n", FIRST].concat();
    assert_eq!(
        frames(&[stream.as_bytes()]),
        Ok(vec![
            Frame::Pong,
            Frame::Ping,
            message(FIRST),
            message(SECOND),
            Frame::Pong,
            message(FIRST)
        ])
    );
}

#[test]
fn frames_are_the_same_wherever_the_stream_is_cut() {
    let stream = ["\r\n", FIRST, "\r\n\r\n\r\n", SECOND, FOLDED, "\r\n\r\n", FIRST].concat();
    let whole = frames(&[stream.as_bytes()]);
    assert_eq!(whole.as_ref().map(Vec::len), Ok(10));
    for at in 0..=stream.len() {
        let (front, back) = stream.as_bytes().split_at(at);
        assert_eq!(frames(&[front, back]), whole, "cut at {at}");
    }
    let single: Vec<_> = stream.as_bytes().chunks(1).collect();
    assert_eq!(frames(&single), whole);
}

#[test]
fn content_length_is_read_compact_folded_and_repeated() {
    for head in [
        "X sip:y SIP/2.0\r\nl:3\r\n\r\n",
        "X sip:y SIP/2.0\r\nCONTENT-LENGTH\t:\r\n 3 \r\n\r\n",
        "X sip:y SIP/2.0\r\nl: 3\r\nContent-Length: 003\r\n\r\n",
        "X sip:y SIP/2.0\r\nSubject:\r\n l: 9\r\nl: 3\r\n\r\n",
        "X sip:y SIP/2.0\nl: 3\n\n",
    ] {
        let text = format!("{head}abc");
        let stream = format!("{text}{FIRST}");
        assert_eq!(frames(&[stream.as_bytes()]), Ok(vec![message(&text), message(FIRST)]));
    }
}

#[test]
fn a_length_that_cannot_be_known_ends_the_stream() {
    for length in
        ["", "l:\r\n", "l: -1\r\n", "l: 3x\r\n", "l: 1, 1\r\n", "l: 3\r\nl: 4\r\n", "ll: 3\r\n"]
    {
        let head = format!("X sip:y SIP/2.0\r\n{length}\r\n");
        let mut framer = Framer::default();
        framer.push(FIRST.as_bytes());
        framer.push(head.as_bytes());
        framer.push(b"abc");
        assert_eq!(framer.next_frame(), Ok(Some(message(FIRST))));
        assert_eq!(framer.refused_head(), None);
        for _ in 0..2 {
            assert_eq!(framer.next_frame(), Err(FramingError::ContentLength), "{length}");
            framer.push(FIRST.as_bytes());
        }
        assert_eq!(framer.refused_head(), Some(Bytes::from(head)));
    }
}

#[test]
fn what_is_too_large_ends_the_stream_before_it_is_held() {
    let too_large = Err(FramingError::TooLarge(MAX_MESSAGE_OCTETS));
    for length in ["65535", "4294967295", "99999999999999999999999999"] {
        let head = format!("X sip:y SIP/2.0\r\nl: {length}\r\n\r\n");
        assert_eq!(frames(&[head.as_bytes()]), too_large);
    }
    let mut framer = Framer::default();
    framer.push(b"X sip:y SIP/2.0\r\n");
    let mut pushed = 17;
    let error = loop {
        match framer.next_frame() {
            Ok(frame) => assert_eq!(frame, None),
            Err(error) => break error,
        }
        framer.push(b"a: b\r\n");
        pushed += 6;
    };
    assert_eq!(Err(error), too_large);
    assert!(pushed < MAX_MESSAGE_OCTETS + 6);
}

#[test]
fn the_largest_message_passes() {
    let head = format!("X sip:y SIP/2.0\r\nl: {}\r\n\r\n", MAX_MESSAGE_OCTETS - 29);
    let text = format!("{head}{}", "x".repeat(MAX_MESSAGE_OCTETS - head.len()));
    assert_eq!(frames(&[text.as_bytes()]), Ok(vec![message(&text)]));
}

proptest! {
    #[test]
    fn octets_of_any_kind_give_the_same_frames_however_cut(
        pieces in proptest::collection::vec(pieces(), 0..12),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let stream = pieces.concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for cut in cuts {
            chunks.push(&stream[from..cut]);
            from = cut;
        }
        chunks.push(&stream[from..]);
        prop_assert_eq!(frames(&chunks), frames(&[&stream]));
    }
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(FIRST.into()),
        Just(SECOND.into()),
        Just(FOLDED.into()),
        Just(b"l: 2\r\n\r\n".to_vec()),
        Just(b"X sip:y SIP/2.0\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..9),
    ]
}

/// All frames of a stream that came in these chunks; an error in place of all that came before it.
fn frames(chunks: &[&[u8]]) -> Result<Vec<Frame>, FramingError> {
    let mut framer = Framer::default();
    let mut frames = Vec::new();
    for chunk in chunks {
        framer.push(chunk);
        while let Some(frame) = framer.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn message(text: &str) -> Frame {
    Frame::Message(Bytes::from(text.to_owned()))
}

const FIRST: &str = "OPTIONS sip:a SIP/2.0\r\nTo: <sip:a>\r\nContent-Length: 0\r\n\r\n";
const SECOND: &str = "SIP/2.0 200 OK\r\nl: 6\r\nTo: <sip:a>\r\n\r\n\r\n\r\nab";
const FOLDED: &str = "INFO sip:a SIP/2.0\r\nSubject: a\r\n b\r\nContent-Length :\r\n 2\r\n\r\nxy";

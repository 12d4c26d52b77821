//! A hundred thousand damaged messages, the same for the same seed, given to engines with calls in progress and to
//! the stream framing: no panic, every message accounted for, every answer readable, nothing left behind.
//!
//! `HOLDFAST_SEED` gives other damage; a failure says which world of which seed it was.

#![allow(clippy::disallowed_methods, reason = "a test reads its vectors and its settings")]

mod one_engine;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use holdfast::call::Counters;
use holdfast::carrier::rows::CustomerCredentialsRow;
use holdfast::digest::Hidden;
use holdfast::random::Random;
use holdfast::sip::framing::{Frame, Framer, FramingError};
use holdfast::sip::{HeaderName, Message, Method, NotSip};
use one_engine::{CALLER, CARRIER, Sent, World, address, response};

const MUTATIONS: u64 = 100_000;
/// Messages that one engine gets before its calls must all come to an end.
const MESSAGES_A_WORLD: u64 = 2_500;
const LARGEST: usize = 65_535;

#[test]
fn damaged_messages_leave_an_engine_sound() {
    let seed = seed();
    for world in 0..MUTATIONS / MESSAGES_A_WORLD {
        let _on_failure = Note(seed, world);
        let mut storm = Storm::new(Random::new(seed ^ world << 32).next_u64());
        for _ in 0..MESSAGES_A_WORLD {
            storm.one_message();
        }
        storm.world.run_dry();
        storm.check_sum();
    }
}

#[test]
fn damaged_streams_are_framed_alike_however_they_are_cut() {
    let mut random = Random::new(seed());
    let seeds = seeds();
    for _ in 0..2_000 {
        let mut stream = Vec::new();
        for _ in 0..=random.below(3) {
            let mut octets = pick(&mut random, &seeds).to_vec();
            if random.below(2) == 0 {
                mutate(&mut random, &mut octets, &seeds);
            }
            stream.extend_from_slice(&octets);
        }
        let whole = frames(&mut random, &stream, false);
        let cut = frames(&mut random, &stream, true);
        assert_eq!(whole, cut, "{}", String::from_utf8_lossy(&stream));
    }
}

/// Whoever forges a source's address gets no more sent there than it sends itself, and nothing once it is quiet.
#[test]
fn strangers_by_udp_get_no_more_octets_than_they_send_and_nothing_by_itself() {
    let hash = |digits: &str, times| Some(Hidden::new(digits.repeat(times)));
    let user = CustomerCredentialsRow {
        username: "bob".to_owned(),
        customer_id: 1,
        realm: "us.example".to_owned(),
        ha1_md5: hash("0123456789abcdef", 2),
        ha1_sha256: hash("0123456789abcdef", 4),
    };
    for users in [vec![], vec![user]] {
        let seed = seed();
        let (mut random, mut world) = (Random::new(seed), World::of_strangers(seed, users));
        let seeds = seeds();
        let (mut heard, mut answered) = (0_u32, 0_u32);
        for number in 0..20_000 {
            let mut octets = match random.below(4) {
                0 => invite(number).to_vec(),
                _ => pick(&mut random, &seeds).to_vec(),
            };
            for _ in 0..random.below(3) {
                mutate(&mut random, &mut octets, &seeds);
            }
            octets.truncate(LARGEST);
            let len = octets.len();
            let sent = world.receive(CALLER, octets);
            let answers: usize = sent.iter().map(|(_, bytes)| bytes.len()).sum();
            assert!(answers <= len && sent.len() <= 1, "{answers} octets for {len}: {sent:?}");
            heard += 1;
            answered += u32::from(!sent.is_empty());
        }
        // Next to all of them fit.
        assert!(answered > heard / 2, "{answered} of {heard}: {:?}", world.counters());
        assert!(world.counters().answers_too_long > 0);
        let later = world.pass(Duration::from_secs(100));
        assert!(later.is_empty(), "{later:?}");
        assert_eq!(world.counters().server_transactions_now, 0);
    }
}

/// Says where a failure was.
struct Note(u64, u64);

impl Drop for Note {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("HOLDFAST_SEED={}, world {}", self.0, self.1);
        }
    }
}

fn seed() -> u64 {
    match std::env::var("HOLDFAST_SEED") {
        Ok(seed) => seed.parse().expect("HOLDFAST_SEED is a number"),
        Err(_) => 1,
    }
}

/// One engine in bad weather.
struct Storm {
    random: Random,
    world: World,
    seeds: Vec<Bytes>,
    /// The last messages of each kind that the engine sent, for answers to them and requests within their dialogs.
    to_carrier: Vec<Message>,
    to_caller: Vec<Message>,
    tally: Tally,
    number: u64,
}

/// What became of the messages, one kind each.
#[derive(Debug, Default)]
struct Tally {
    dropped: u64,
    malformed: u64,
    stray: u64,
    repeated: u64,
    acks: u64,
    responses: u64,
    requests: u64,
}

impl Storm {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            world: World::new(seed),
            seeds: seeds(),
            to_carrier: Vec::new(),
            to_caller: Vec::new(),
            tally: Tally::default(),
            number: 0,
        }
    }

    fn one_message(&mut self) {
        self.number += 1;
        let (from, good) = self.good_message();
        let mut octets = good.to_vec();
        // Some stay whole, so that there are calls to damage.
        for _ in 0..self.random.below(4) {
            mutate(&mut self.random, &mut octets, &self.seeds);
        }
        octets.truncate(LARGEST);
        let octets = Bytes::from(octets);
        let before = self.world.counters();
        let sent = self.world.receive(from, octets.clone());
        self.account(&octets, before, &sent);
        for (_, bytes) in &sent {
            self.remember(bytes);
        }
        if self.random.below(20) == 0 {
            let duration = Duration::from_millis(self.random.below(1_500));
            for (_, bytes) in self.world.pass(duration) {
                self.remember(&bytes);
            }
        }
    }

    fn good_message(&mut self) -> (&'static str, Bytes) {
        let random = &mut self.random;
        match random.below(8) {
            0 | 1 => (CALLER, invite(self.number)),
            2 | 3 if !self.to_carrier.is_empty() => {
                let request = &pick(random, &self.to_carrier);
                let start_lines = [
                    "100 Trying",
                    "180 Ringing",
                    "183 Progress",
                    "200 OK",
                    "200 OK",
                    "302 Moved",
                    "407 Prove It",
                    "486 Busy",
                    "503 Later",
                ];
                let start_line = format!("SIP/2.0 {}", pick(random, &start_lines));
                let body = if random.below(2) == 0 { SDP } else { "" };
                (CARRIER, response(request, start_line.as_bytes(), body.as_bytes()))
            }
            4 | 5 if !self.to_caller.is_empty() => {
                let answer = pick(random, &self.to_caller);
                let methods = ["ACK", "ACK", "BYE", "INVITE", "INFO", "CANCEL", "UPDATE", "BREW"];
                (CALLER, in_dialog(&answer, pick(random, &methods), self.number))
            }
            6 if !self.to_carrier.is_empty() => {
                let request = &pick(random, &self.to_carrier);
                let methods = ["BYE", "INVITE", "INFO"];
                (CARRIER, in_dialog(request, pick(random, &methods), self.number))
            }
            _ => (CALLER, pick(random, &self.seeds)),
        }
    }

    fn remember(&mut self, bytes: &Bytes) {
        let Ok(message) = Message::parse(bytes.clone()) else { return };
        let kept = if message.is_request() { &mut self.to_carrier } else { &mut self.to_caller };
        if kept.len() < 8 {
            kept.push(message);
        } else {
            let at = self.random.below(8);
            kept[usize::try_from(at).expect("small")] = message;
        }
    }

    /// Finds the one thing that became of a message, and that it fits the message.
    fn account(&mut self, octets: &Bytes, before: Counters, sent: &[Sent]) {
        let after = self.world.counters();
        let show = || {
            format!(
                "{:?}\n{before:?}\n{after:?}\n{sent:?}",
                octets.slice(..octets.len().min(2_000))
            )
        };
        let read = Message::parse(octets.clone());
        assert_eq!(after.messages_received, before.messages_received + 1);
        assert_eq!(after.messages_sent, before.messages_sent + sent.len() as u64);
        let counted = [
            after.dropped_not_sip - before.dropped_not_sip,
            after.rejected_malformed - before.rejected_malformed,
            after.stray_responses - before.stray_responses,
            after.retransmissions_received - before.retransmissions_received,
        ];
        for (to, bytes) in sent {
            assert!(is_readable(bytes), "{bytes:?}\n{}", show());
            assert_ne!(to.ip(), address("255.255.255.255:1").ip(), "{}", show());
        }
        let answers: Vec<&Bytes> = sent
            .iter()
            .map(|(_, bytes)| bytes)
            .filter(|bytes| bytes.starts_with(b"SIP/2.0 "))
            .collect();
        match (counted, read) {
            ([1, 0, 0, 0], Err(_)) => {
                assert!(sent.is_empty(), "{}", show());
                self.tally.dropped += 1;
            }
            ([0, 1, 0, 0], Ok(request)) => {
                let is_ack = request.method() == Method::Ack;
                assert!(request.defect().is_some(), "{}", show());
                assert_eq!(sent.len(), usize::from(!is_ack), "{}", show());
                self.tally.malformed += 1;
            }
            ([0, 0, 1, 0], Ok(response)) => {
                assert!(!response.is_request() && sent.is_empty(), "{}", show());
                self.tally.stray += 1;
            }
            ([0, 0, 0, 1], Ok(_)) => {
                assert!(sent.len() <= 1, "{}", show());
                self.tally.repeated += 1;
            }
            ([0, 0, 0, 0], Ok(message)) if !message.is_request() => self.tally.responses += 1,
            ([0, 0, 0, 0], Ok(request)) if request.method() == Method::Ack => {
                assert!(request.defect().is_none(), "{}", show());
                self.tally.acks += 1;
            }
            ([0, 0, 0, 0], Ok(request)) => {
                assert!(request.defect().is_none() && !sent.is_empty(), "{}", show());
                let is_own = |answer: &Message| {
                    answer.status_code() >= 200
                        && answer.cseq() == request.cseq()
                        && answer.call_id() == request.call_id()
                };
                let own = answers.iter().filter(|answer| {
                    Message::parse((**answer).clone()).is_ok_and(|read| is_own(&read))
                });
                assert!(own.count() <= 1, "answered twice: {}", show());
                self.tally.requests += 1;
            }
            (counted, read) => panic!("{counted:?} {read:?}\n{}", show()),
        }
    }

    fn check_sum(&self) {
        let Tally { dropped, malformed, stray, repeated, acks, responses, requests } = self.tally;
        let counters = self.world.counters();
        let sum = dropped + malformed + stray + repeated + acks + responses + requests;
        assert_eq!(counters.messages_received, sum, "{:?}", self.tally);
        assert_eq!(counters.messages_received, MESSAGES_A_WORLD);
        // The weather was neither too mild nor too rough to mean anything.
        for share in [dropped, malformed, stray, repeated, acks, responses, requests] {
            assert!(share > MESSAGES_A_WORLD / 500, "{:?}", self.tally);
        }
        assert!(counters.calls_answered > 0, "{counters:?}");
    }
}

/// Whether a peer can read it: by the parser; or, of an answer that copies what its request had broken, line by line.
fn is_readable(bytes: &Bytes) -> bool {
    match Message::parse(bytes.clone()) {
        Ok(message) => return message.defect().is_none(),
        // What came with nearly all that we read goes on with a little more.
        Err(NotSip::TooLarge) => return true,
        Err(_) => {}
    }
    let Some(head) = bytes.strip_suffix(b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.split("\r\n");
    lines.next().is_some_and(|line| line.starts_with("SIP/2.0 4") || line.starts_with("SIP/2.0 5"))
        && lines.all(|line| {
            !line.contains(['\r', '\n']) && (line.contains(':') || line.starts_with([' ', '\t']))
        })
}

/// Damages a message in one way.
fn mutate(random: &mut Random, octets: &mut Vec<u8>, seeds: &[Bytes]) {
    if octets.is_empty() {
        octets.push(0);
    }
    let at = below(random, octets.len());
    match random.below(20) {
        0 | 1 => octets[at] ^= 1 << random.below(8),
        2 | 3 => octets[at] = pick(random, b"\r\n :;,\"<>@?()\\=%\x00\x7f\xff0z[]"),
        4 => octets.truncate(at),
        5 => {
            let end = octets.len().min(at + 1 + below(random, 30));
            octets.drain(at..end);
        }
        6 | 7 => {
            let odd: [&[u8]; 12] = [
                b"\r\n",
                b"\r\n ",
                b"\n",
                b"\r",
                b"\0",
                b"\r\n\r\n",
                b";;",
                b",",
                b"\"",
                b"%00",
                b"\xf0\x9f",
                b"\t ",
            ];
            insert(octets, at, pick(random, &odd));
        }
        8 | 9 => {
            let line = pick(random, &lines(octets));
            let copy = octets[line.clone()].to_vec();
            for _ in 0..=random.below(2) {
                insert(octets, line.end, &copy);
            }
        }
        10 => {
            let line = pick(random, &lines(octets));
            octets.drain(line);
        }
        11 | 12 => {
            let numbers = [
                "0",
                "-1",
                "256",
                "65536",
                "2147483648",
                "4294967296",
                "99999999999999999999999",
                "1e9",
                "0x10",
                "",
            ];
            let number = pick(random, &numbers);
            if let Some(digits) = digits_from(octets, at) {
                octets.splice(digits, number.bytes());
            }
        }
        13 => {
            let [open, close] =
                pick(random, &[["\"", "\""], ["(", ")"], ["<", ">"], ["\\", "\""], ["[", "]"]]);
            let depth = 1 + below(random, 200);
            insert(octets, at, (open.repeat(depth) + &close.repeat(depth)).as_bytes());
        }
        14 => replace(
            octets,
            b"Content-Length",
            pick(random, &[&b"X-Length"[..], b"l", b"Content-Length: 5\r\nl"]),
        ),
        15 => {
            let (from, to): (&[u8], &[u8]) = pick(
                random,
                &[
                    (&b"\r\n"[..], &b"\n"[..]),
                    (b"\r\n", b"\r"),
                    (b"\r\n", b"\n\r"),
                    (b": ", b":\r\n\t"),
                ],
            );
            for _ in 0..=random.below(9) {
                replace(octets, from, to);
            }
        }
        16 => {
            let end = below(random, octets.len());
            let range = at.min(end)..at.max(end);
            let other = pick(random, seeds);
            let from = below(random, other.len());
            octets.splice(range, other[from..].iter().copied());
        }
        17 if random.below(6) == 0 => {
            let first = lines(octets)[0].end;
            let many = "X-Many: a\r\n".repeat(200 + below(random, 100));
            insert(octets, first, many.as_bytes());
        }
        18 if random.below(12) == 0 => {
            let size = below(random, LARGEST + 100);
            octets.resize(octets.len() + size, pick(random, b"x\0\n"));
            replace(octets, b"Content-Length: ", format!("Content-Length: {size}").as_bytes());
        }
        19 if random.below(6) == 0 => {
            let long = pick(random, b"a;, \"<");
            insert(octets, at, &vec![long; below(random, 9_000)]);
        }
        _ => octets[at] = octets[at].wrapping_add(1),
    }
}

/// Where the lines of a message stand, their ends included.
fn lines(octets: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut start = 0;
    let mut lines = Vec::new();
    for line in octets.split_inclusive(|&octet| octet == b'\n').take(40) {
        lines.push(start..start + line.len());
        start += line.len();
    }
    lines
}

fn digits_from(octets: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
    let start = at + octets[at..].iter().position(u8::is_ascii_digit)?;
    let len = octets[start..].iter().take_while(|octet| octet.is_ascii_digit()).count();
    Some(start..start + len)
}

fn insert(octets: &mut Vec<u8>, at: usize, what: &[u8]) {
    octets.splice(at..at, what.iter().copied());
}

/// Replaces the first place.
fn replace(octets: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    if let Some(at) = octets.windows(from.len()).position(|window| window == from) {
        octets.splice(at..at + from.len(), to.iter().copied());
    }
}

fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).expect("below a usize")
}

fn pick<T: Clone>(random: &mut Random, from: &[T]) -> T {
    from[below(random, from.len())].clone()
}

fn frames(random: &mut Random, stream: &[u8], is_cut: bool) -> (Vec<Frame>, Option<FramingError>) {
    let (mut framer, mut frames, mut rest) = (Framer::default(), Vec::new(), stream);
    while !rest.is_empty() {
        let len = if is_cut { 1 + below(random, rest.len().min(60)) } else { rest.len() };
        framer.push(&rest[..len]);
        rest = &rest[len..];
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(framer.held_octets() <= stream.len());
    }
    (frames, None)
}

fn seeds() -> Vec<Bytes> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the vectors")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sip"))
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a vector").into()).collect()
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
                   m=audio 40000 RTP/AVP 0\r\n";

fn invite(number: u64) -> Bytes {
    Bytes::from(format!(
        "INVITE sip:+14155550100@203.0.113.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};branch=z9hG4bKm{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"A, B\" <sip:+4930123@192.0.2.9>;tag=a{number}\r\n\
         To: <sip:+14155550100@203.0.113.1>\r\nCall-ID: mutation-{number}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:caller@{CALLER}>\r\nX-Odd: ;,\"\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    ))
}

/// A request within the dialog (or to the transaction) of a message that the engine sent, in either direction.
fn in_dialog(message: &Message, method: &str, number: u64) -> Bytes {
    let text = |name| String::from_utf8_lossy(message.first(name).unwrap_or_default()).into_owned();
    let (mut from, mut to) = (text(HeaderName::From), text(HeaderName::To));
    if message.is_request() {
        std::mem::swap(&mut from, &mut to);
        from.push_str(";tag=carrier");
    }
    let (via, seq) = match method {
        "CANCEL" => (text(HeaderName::Via), u64::from(message.cseq().0)),
        "ACK" => (
            format!("SIP/2.0/UDP {CALLER};branch=z9hG4bKi{number};rport"),
            u64::from(message.cseq().0),
        ),
        _ => (format!("SIP/2.0/UDP {CALLER};branch=z9hG4bKi{number};rport"), number + 1),
    };
    if method == "CANCEL" {
        to = to.split(";tag=").next().unwrap_or_default().to_owned();
    }
    Bytes::from(format!(
        "{method} sip:203.0.113.1:5060 SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\n\
         Call-ID: {}\r\nCSeq: {seq} {method}\r\nContact: <sip:caller@{CALLER}>\r\nContent-Length: 0\r\n\r\n",
        text(HeaderName::CallId)
    ))
}

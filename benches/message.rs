//! Reading and writing messages: what a call costs in octets pushed about.
//!
//! `cargo bench --bench message`. Aims: an INVITE of 870 octets indexed well under 1 µs, its Call-ID found and hashed
//! in a small part of that.

use std::hint::black_box;
use std::net::SocketAddr;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holdfast::sip::framing::Framer;
use holdfast::sip::{HeaderName, Message, Printer, peek};

use invite::INVITE;

mod invite;

fn messages(criterion: &mut Criterion) {
    let invite = Bytes::from_static(INVITE.as_bytes());
    let read = Message::parse(invite.clone()).expect("a sound INVITE");
    assert_eq!(read.defect(), None);
    let source: SocketAddr = "203.0.113.20:5060".parse().expect("an address");

    let mut group = criterion.benchmark_group("message");
    group.throughput(Throughput::Bytes(invite.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| Message::parse(black_box(invite.clone())));
    });
    group.bench_function("parse, edit, print", |bencher| {
        bencher.iter(|| relay(&Message::parse(black_box(invite.clone())).expect("a sound INVITE")));
    });
    group.bench_function("200 to it", |bencher| {
        bencher.iter(|| answer(black_box(&read), source));
    });
    group.bench_function("clone", |bencher| bencher.iter(|| black_box(&read).clone()));
    group.bench_function("find and hash its Call-ID", |bencher| {
        bencher.iter(|| peek::call_id(black_box(&invite)).map(|call_id| peek::bucket(call_id, 7)));
    });
    group.bench_function("frame it off a stream", |bencher| {
        let mut framer = Framer::default();
        bencher.iter(|| {
            framer.push(black_box(&invite));
            framer.next_frame()
        });
    });
    group.finish();

    criterion.bench_function("bucket of 20 octets", |bencher| {
        bencher.iter(|| peek::bucket(black_box(b"a84b4c76e66710@pbx.e"), black_box(7)));
    });
    let tiny =
        Bytes::from(format!("{}{}\r\n", "INVITE sip:b SIP/2.0\r\n", "a:\r\n".repeat(12_000)));
    criterion.bench_function("refuse 12 000 tiny headers", |bencher| {
        bencher.iter(|| Message::parse(black_box(tiny.clone())).is_err());
    });
}

/// The next leg's INVITE: our own Via, dialog and Contact, the rest as it came.
fn relay(invite: &Message) -> Bytes {
    let mut printer = Printer::request(invite.method_text(), b"sip:+14155550123@192.0.2.80:5060");
    printer
        .header(
            HeaderName::Via,
            b"SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKhf0123456789abcdef;rport",
        )
        .header(HeaderName::MaxForwards, b"69")
        .header(HeaderName::From, b"<sip:+442071838750@198.51.100.7>;tag=hf01234567")
        .header(HeaderName::To, b"<sip:+14155550123@192.0.2.80>")
        .header(HeaderName::CallId, b"0123456789abcdef0123456789abcdef")
        .header_fmt(HeaderName::CSeq, format_args!("{} INVITE", invite.cseq().0))
        .header(HeaderName::Contact, b"<sip:198.51.100.7:5060>");
    for header in invite.headers() {
        match header.name {
            HeaderName::Via
            | HeaderName::MaxForwards
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::Contact
            | HeaderName::ContentLength => {}
            _ => {
                printer.copy(header);
            }
        }
    }
    printer.finish(invite.body())
}

fn answer(invite: &Message, source: SocketAddr) -> Bytes {
    let mut printer = Printer::response_to(invite, 200, b"", Some(b"hf89abcdef"), source);
    printer
        .header(HeaderName::Contact, b"<sip:198.51.100.7:5060>")
        .header(HeaderName::ContentType, b"application/sdp");
    printer.finish(invite.body())
}

criterion_group!(benches, messages);
criterion_main!(benches);

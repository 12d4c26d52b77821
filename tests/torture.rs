//! Messages that are odd, wrong or hostile, each given to a real engine: exactly the right answer, or a counted
//! drop, and whatever goes on to the carrier goes on whole.
//!
//! `tests/vectors/` holds the project's own messages. Where `HOLDFAST_TORTURE_DIR` names a folder with sub-folders
//! of messages and an `expectations.tsv` each, those are run too.

#![allow(clippy::disallowed_methods, reason = "a test reads its vectors and its settings")]

mod one_engine;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use holdfast::sip::{Header, HeaderName, Message, Method};
use one_engine::{CALLER, CARRIER, Sent, World, address, response};

#[test]
fn every_vector_gets_its_verdict() {
    let mut failures = Vec::new();
    for vector in vectors() {
        let run = std::panic::catch_unwind(|| check(&vector));
        let failure = match run {
            Ok(failure) => failure.err(),
            Err(_) => Some("panicked".to_owned()),
        };
        if let Some(failure) = failure {
            failures.push(format!("{} ({}): {failure}", vector.file, vector.why));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn the_vectors_cover_every_trap_of_rfc_4475_and_rfc_5118() {
    let covered: BTreeSet<String> = vectors().into_iter().map(|vector| vector.section).collect();
    let sections = |rfc: &'static str, part: &'static str, last: u32| {
        (1..=last).map(move |at| format!("{rfc} {part}.{at}"))
    };
    let missing: Vec<String> = sections("4475", "3.1.1", 13)
        .chain(sections("4475", "3.1.2", 19))
        .chain(sections("4475", "3.2", 1))
        .chain(sections("4475", "3.3", 15))
        .chain(sections("4475", "3.4", 1))
        .chain(sections("5118", "4", 10))
        .filter(|section| !covered.contains(section))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_table_and_the_folder_name_the_same_files() {
    let listed: BTreeSet<String> = vectors().into_iter().map(|vector| vector.file).collect();
    let found: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .filter(|name| name.ends_with(".sip"))
        .collect();
    assert_eq!(listed, found);
}

#[test]
fn one_engine_takes_all_vectors_one_after_the_other_and_is_none_the_worse() {
    let mut world = World::new(1);
    let good = vectors().into_iter().find(|vector| vector.file == "cseq-largest.sip");
    let good = good.expect("listed");
    for vector in vectors() {
        world.receive(CALLER, vector.octets.clone());
        let answers = world.receive("192.0.2.77:5080", good.octets.clone());
        assert_eq!(code_of(&answers), Some(200), "after {}", vector.file);
    }
    world.run_dry();
}

/// RFC 4475 §3.1.1.12 and §3.1.1.13 where they matter: in a call of ours.
#[test]
fn reason_phrases_of_any_kind_or_none_are_read() {
    for start_line in [
        &b"SIP/2.0 486 "[..],
        b"SIP/2.0 486",
        b"SIP/2.0 486 ~6*81 \xce\xb5\xe1\xbd\x96 ;\"<>%",
        b"sip/2.0 486 \xff\x01",
    ] {
        let mut world = World::new(1);
        let outbound = begin_call(&mut world);
        let sent = world.receive(CARRIER, response(&outbound, start_line, b""));
        let codes: Vec<_> =
            sent.iter().map(|(to, bytes)| (*to, parse(bytes).status_code())).collect();
        assert_eq!(codes, [(address(CARRIER), 0), (address(CALLER), 486)]);
        world.run_dry();
    }
}

/// RFC 4475 §3.1.2.5, §3.1.2.19: a response that breaks a rule changes nothing.
#[test]
fn bad_responses_to_a_call_of_ours_are_dropped() {
    let mut world = World::new(1);
    let outbound = begin_call(&mut world);
    let good =
        String::from_utf8(response(&outbound, b"SIP/2.0 200 OK", b"").to_vec()).expect("text");
    let own_via =
        String::from_utf8_lossy(outbound.first(HeaderName::Via).expect("a Via")).into_owned();
    for (from, to) in [
        ("SIP/2.0 200 OK", "SIP/2.0 4294967496 OK"),
        ("SIP/2.0 200 OK", "SIP/2.0 2000 OK"),
        ("SIP/2.0 200 OK", "SIP/2.0 099 OK"),
        ("SIP/2.0 200 OK", "SIP/1.0 200 OK"),
        ("CSeq: 1 INVITE", "CSeq: 4294967297 INVITE"),
        ("CSeq: 1 INVITE", "CSeq: 1"),
        ("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        ("CSeq: 1 INVITE\r\n", ""),
        ("Content-Length: 0", "Content-Length: 10"),
        ("Content-Length: 0", "Content-Length: -1"),
        ("Content-Length: 0", "Content-Length: 0\r\nContent-Length: 0"),
        (";branch=z9hG4bK", ";branch=z9hG4bL"),
        (";branch=z9hG4bK", ";branch=z9hG4bK0"),
        (own_via.as_str(), "SIP/2.0/UDP 255.255.255.255"),
        (";tag=carrier", ";tag=\"carrier\""),
        ("To: ", "To: <"),
        ("\r\n\r\n", "\r\n"),
        ("\r\nCall-ID", "\nCall-ID"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        let counted =
            |world: &World| world.counters().dropped_not_sip + world.counters().stray_responses;
        let before = counted(&world);
        assert_eq!(world.receive(CARRIER, bad.clone()), [], "{bad}");
        assert_eq!(counted(&world), before + 1, "{bad}");
    }
    let sent = world.receive(CARRIER, good);
    assert_eq!(parse(&sent[1].1).status_code(), 200);
    world.run_dry();
}

#[test]
fn foreign_torture_messages_get_what_their_tables_expect() {
    let Some(root) = std::env::var_os("HOLDFAST_TORTURE_DIR").map(PathBuf::from) else {
        eprintln!("skipped: HOLDFAST_TORTURE_DIR names no folder of messages");
        return;
    };
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&root)
        .expect("HOLDFAST_TORTURE_DIR is a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("expectations.tsv").exists())
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "{} has no folder with an expectations.tsv", root.display());
    let (mut failures, mut strict, mut acceptable) = (Vec::new(), 0, Vec::new());
    for folder in folders {
        for row in rows(&folder.join("expectations.tsv")) {
            let file = row.get("file");
            let octets = std::fs::read(folder.join(file)).expect("a listed file");
            let mut world = World::new(1);
            let sent = world.receive(CALLER, octets);
            let mut code = code_of(&sent);
            if let Some((_, bytes)) = sent.iter().find(|(to, _)| *to == address(CARRIER)) {
                let busy = response(&parse(bytes), b"SIP/2.0 486 Busy Here", b"");
                code = code_of(&world.receive(CARRIER, busy));
            }
            let source = address(CALLER).ip();
            let astray = sent.iter().any(|(to, _)| to.ip() != source && *to != address(CARRIER));
            let trailing = sent.iter().filter(|(to, _)| *to != address(CARRIER)).count() > 1
                && code.is_none_or(|code| code != 486);
            world.run_dry();
            let what = format!("{} {file}: {code:?}", row.get("section"));
            if astray || trailing {
                failures.push(format!("{what} and more was sent"));
            } else if fits(row.get("strict"), code) {
                strict += 1;
            } else if fits(row.get("acceptable"), code) {
                acceptable.push(what);
            } else {
                failures.push(format!("{what}, not {}", row.get("acceptable")));
            }
        }
    }
    eprintln!("{strict} strict, {} acceptable: {acceptable:?}", acceptable.len());
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// A message and what it must come to.
struct Vector {
    file: String,
    octets: Bytes,
    /// A status code; `call`; `silence`; or the counter of a drop.
    verdict: String,
    /// Fields that the outbound INVITE must carry byte for byte.
    crosses: Vec<String>,
    /// Text that the answer, or the outbound INVITE, must hold.
    says: Option<String>,
    section: String,
    why: String,
}

fn check(vector: &Vector) -> Result<(), String> {
    let mut world = World::new(1);
    let sent = world.receive(CALLER, vector.octets.clone());
    let message = Message::parse(vector.octets.clone()).ok();
    let checked = match (vector.verdict.as_str(), &message) {
        ("call", Some(invite)) => check_call(vector, invite, &mut world, &sent),
        ("silence" | "dropped_not_sip" | "stray_responses" | "rejected_malformed", _) => {
            check_silence(vector, &world, &sent)
        }
        (code, Some(request)) => {
            let code = code.parse().map_err(|_| format!("no verdict: {code}"))?;
            check_answer(vector, request, code, &world, &sent)
        }
        (_, None) => Err("not even SIP".to_owned()),
    };
    world.run_dry();
    checked
}

fn check_silence(vector: &Vector, world: &World, sent: &[Sent]) -> Result<(), String> {
    let counters = world.counters();
    let counted = match vector.verdict.as_str() {
        "dropped_not_sip" => counters.dropped_not_sip,
        "stray_responses" => counters.stray_responses,
        "rejected_malformed" => counters.rejected_malformed,
        _ => 1,
    };
    ensure(sent.is_empty(), || format!("sent {sent:?}"))?;
    ensure(counted == 1, || format!("not counted: {counters:?}"))
}

/// One answer to the sender, its code as expected, its copied fields whole.
fn check_answer(
    vector: &Vector,
    request: &Message,
    code: u16,
    world: &World,
    sent: &[Sent],
) -> Result<(), String> {
    let [(to, bytes)] = sent else { return Err(format!("sent {sent:?}")) };
    let answer = ReadAnswer::of(bytes).ok_or_else(|| format!("unclean: {bytes:?}"))?;
    ensure(answer.status_code == code, || format!("{bytes:?}"))?;
    ensure(to.ip() == address(CALLER).ip(), || format!("answered {to}"))?;
    let via = request.top_via().ok_or("no Via")?;
    let port = if via.has_rport { address(CALLER).port() } else { via.port.unwrap_or(5060) };
    ensure(to.port() == port, || format!("answered port {}", to.port()))?;
    let is_malformed = request.defect().is_some();
    ensure(world.counters().rejected_malformed == u64::from(is_malformed), || {
        format!("{:?}", world.counters())
    })?;
    ensure(answer.count("Via") == request.all(HeaderName::Via).count(), || "Via lost".to_owned())?;
    if !is_malformed {
        let answer =
            Message::parse(bytes.clone()).map_err(|error| format!("{error}: {bytes:?}"))?;
        ensure(answer.to_tag().is_some(), || "no To tag".to_owned())?;
        // RFC 3261 §8.2.6.2: equal to those of the request.
        let name_and_skip = [
            (HeaderName::Via, 1),
            (HeaderName::From, 0),
            (HeaderName::CallId, 0),
            (HeaderName::CSeq, 0),
        ];
        for (name, skip) in name_and_skip {
            let lines = |message: &Message| -> Vec<Vec<u8>> {
                message.all(name).skip(skip).map(|header| header.line.to_vec()).collect()
            };
            ensure(lines(&answer) == lines(request), || format!("{} changed", name.as_str()))?;
        }
    }
    check_says(vector, bytes)
}

/// An answer, read without the parser: that of a malformed request copies what the parser refuses.
struct ReadAnswer {
    status_code: u16,
    names: Vec<String>,
}

impl ReadAnswer {
    /// `None` where it is no response in clean lines with an empty body.
    fn of(bytes: &[u8]) -> Option<Self> {
        let head = bytes.strip_suffix(b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(head).into_owned();
        let mut lines = text.split("\r\n");
        let status_code = Self::code(lines.next()?.as_bytes())?;
        let mut names: Vec<String> = Vec::new();
        for line in lines {
            if line.contains(['\r', '\n']) {
                return None;
            }
            // A fold continues a field of the request, which goes back as it came.
            if !line.starts_with([' ', '\t']) {
                let name = line.split_once(':')?.0.trim();
                names.push(HeaderName::from_text(name.as_bytes()).as_str().to_owned());
            }
        }
        (names.last()? == "Content-Length").then_some(Self { status_code, names })
    }

    fn code(bytes: &[u8]) -> Option<u16> {
        let code = bytes.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
        std::str::from_utf8(code).ok()?.parse().ok()
    }

    fn count(&self, name: &str) -> usize {
        self.names.iter().filter(|other| *other == name).count()
    }
}

/// 100 to the caller and one INVITE to the carrier, which the carrier refuses.
fn check_call(
    vector: &Vector,
    invite: &Message,
    world: &mut World,
    sent: &[Sent],
) -> Result<(), String> {
    let [(caller, trying), (carrier, outbound)] = sent else {
        return Err(format!("sent {sent:?}"));
    };
    ensure(parse(trying).status_code() == 100, || format!("{trying:?}"))?;
    ensure(caller.ip() == address(CALLER).ip() && *carrier == address(CARRIER), || {
        format!("sent to {caller} and {carrier}")
    })?;
    let bytes = outbound;
    let outbound = Message::parse(bytes.clone()).map_err(|error| format!("{error}: {bytes:?}"))?;
    ensure(outbound.defect().is_none(), || format!("{:?} in {bytes:?}", outbound.defect()))?;
    ensure(outbound.method() == Method::Invite, || format!("{bytes:?}"))?;
    ensure(outbound.body() == invite.body(), || "the body changed".to_owned())?;
    for name in [HeaderName::Via, HeaderName::Contact, HeaderName::MaxForwards] {
        ensure(outbound.all(name).count() == 1, || format!("{} not once", name.as_str()))?;
    }
    for name in [
        HeaderName::Route,
        HeaderName::RecordRoute,
        HeaderName::Authorization,
        HeaderName::ProxyAuthorization,
        HeaderName::Require,
        HeaderName::ProxyRequire,
        HeaderName::Timestamp,
    ] {
        ensure(outbound.first(name).is_none(), || format!("{} crossed", name.as_str()))?;
    }
    ensure(outbound.call_id() != invite.call_id(), || "the Call-ID crossed".to_owned())?;
    ensure(outbound.to_tag().is_none(), || "a To tag crossed".to_owned())?;
    // What nobody knows crosses byte for byte, and in its order.
    let unknown = |message: &Message| -> Vec<Vec<u8>> {
        message.all(HeaderName::Other).map(|header| header.line.to_vec()).collect()
    };
    ensure(unknown(&outbound) == unknown(invite), || format!("unknown fields changed: {bytes:?}"))?;
    for name in &vector.crosses {
        let line = |message: &Message| {
            let known = HeaderName::from_text(name.as_bytes());
            let is_it = |header: &Header<'_>| match known {
                HeaderName::Other => header.name_text.eq_ignore_ascii_case(name.as_bytes()),
                known => header.name == known,
            };
            message.headers().find(is_it).map(|header| header.line.to_vec())
        };
        let came = line(invite);
        ensure(came.is_some() && line(&outbound) == came, || format!("{name} changed"))?;
    }
    check_says(vector, bytes)?;
    if let Some(timestamp) = invite.first(HeaderName::Timestamp) {
        // RFC 3261 §8.2.6.1
        ensure(parse(trying).first(HeaderName::Timestamp) == Some(timestamp), || {
            "Timestamp is missing in the 100".to_owned()
        })?;
    }
    let busy = world.receive(CARRIER, response(&outbound, b"SIP/2.0 486 Busy Here", b""));
    ensure(code_of(&busy) == Some(486), || format!("486 became {busy:?}"))
}

fn check_says(vector: &Vector, bytes: &Bytes) -> Result<(), String> {
    let Some(says) = &vector.says else { return Ok(()) };
    let text = String::from_utf8_lossy(bytes);
    ensure(text.contains(says), || format!("{says:?} is not in {text}"))
}

fn ensure(holds: bool, or: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(or()) }
}

/// The code of the first final response to anybody but the carrier.
fn code_of(sent: &[Sent]) -> Option<u16> {
    sent.iter()
        .filter(|(to, _)| *to != address(CARRIER))
        .filter_map(|(_, bytes)| ReadAnswer::code(bytes))
        .find(|&code| code >= 200)
}

/// Whether a code fits words such as `400`, `2xx`, `final!400` and `drop`.
fn fits(words: &str, code: Option<u16>) -> bool {
    words.split(',').any(|word| match (word.trim(), code) {
        ("drop", None) => true,
        ("final!400", Some(code)) => ![400, 500, 513].contains(&code),
        (word, Some(code)) => {
            let code = code.to_string();
            word == code || word.strip_suffix("xx").is_some_and(|class| code.starts_with(class))
        }
        _ => false,
    })
}

fn begin_call(world: &mut World) -> Message {
    let invite = vectors().into_iter().find(|vector| vector.file == "escaped-user.sip");
    let sent = world.receive(CALLER, invite.expect("listed").octets);
    parse(&sent[1].1)
}

fn parse(bytes: &Bytes) -> Message {
    Message::parse(bytes.clone()).unwrap_or_else(|error| panic!("{error}: {bytes:?}"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn vectors() -> Vec<Vector> {
    let given = |text: &str| (text != "-").then(|| text.replace("\\r\\n", "\r\n"));
    let vector = |row: Row| Vector {
        file: row.get("file").to_owned(),
        octets: std::fs::read(folder().join(row.get("file"))).expect("a listed file").into(),
        verdict: row.get("verdict").to_owned(),
        crosses: given(row.get("crosses"))
            .map(|names| names.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        says: given(row.get("says")),
        section: row.get("section").to_owned(),
        why: row.get("why").to_owned(),
    };
    rows(&folder().join("expectations.tsv")).into_iter().map(vector).collect()
}

/// One row of a table: its cells under the names of the first line.
struct Row {
    cells: Vec<(String, String)>,
}

impl Row {
    fn get(&self, name: &str) -> &str {
        let found = self.cells.iter().find(|(column, _)| column == name);
        found.map_or_else(|| panic!("no column {name}"), |(_, cell)| cell)
    }
}

fn rows(table: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(table).expect("a table");
    let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned));
    let names: Vec<String> = lines.next().expect("a head").collect();
    lines.map(|cells| Row { cells: names.iter().cloned().zip(cells).collect() }).collect()
}

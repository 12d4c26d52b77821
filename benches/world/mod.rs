//! One engine, and whole calls through it: 7 messages in, 7 out.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use holdfast::call::CallRecord;
use holdfast::carrier::rows::{
    CarrierRow, CustomerAddressRow, CustomerRow, GatewayRow, RouteCarrierRow, RouteRow,
};
use holdfast::carrier::{GatewayId, Rows, Tables, Transport};
use holdfast::engine::{
    Command, Engine, EngineSettings, Flow, Listener, ListenerId, Output, Received,
};
use holdfast::health::{Target, TargetView, View};
use holdfast::sip::{HeaderName, Message};

const CALLER: &str = "192.0.2.9:5080";
const CARRIER: &str = "198.51.100.1:5060";
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
                   m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                   a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

pub(crate) struct World {
    engine: Engine,
    now: Instant,
    calls: u64,
    sent: Vec<Bytes>,
    record: Option<Box<CallRecord>>,
}

impl World {
    #[allow(clippy::disallowed_methods, reason = "a world begins at some time")]
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let settings = EngineSettings {
            listeners: vec![Listener {
                transport: Transport::Udp,
                address: address("203.0.113.1:5060"),
                advertised: "203.0.113.1:5060".into(),
            }],
            bucket_key: 7,
            max_calls: 100_000,
            ..EngineSettings::default()
        };
        let mut engine = Engine::new(settings, 1, now, SystemTime::now());
        let tables = Tables::check(rows(), 1).expect("good rows");
        engine.handle_command(Command::Tables(Arc::new(tables)), now);
        let target = Target { gateway_id: GatewayId(1), address: address(CARRIER) };
        let view = View::new(vec![Arc::new(TargetView::unknown(target))]);
        engine.handle_command(Command::View(Arc::new(view)), now);
        Self { engine, now, calls: 0, sent: Vec::new(), record: None }
    }

    /// A call, and a millisecond of time, so that old transactions end as new ones come. Gives its record.
    pub(crate) fn call(&mut self) -> Box<CallRecord> {
        self.calls += 1;
        self.now += Duration::from_millis(1);
        self.engine.handle_timeout(self.now);
        self.drain();
        let n = self.calls;
        self.receive(CALLER, Bytes::from(invite(n)));
        let outbound = self.sent[1].clone();
        self.receive(CARRIER, response(&outbound, 100, ""));
        self.receive(CARRIER, response(&outbound, 180, ""));
        self.receive(CARRIER, response(&outbound, 200, SDP));
        let ok = self.sent[1].clone();
        self.receive(CALLER, in_dialog(&ok, "ACK", 1, n));
        self.receive(CALLER, in_dialog(&ok, "BYE", 2, n));
        let bye = self.sent[1].clone();
        self.receive(CARRIER, response(&bye, 200, ""));
        self.record.take().expect("a call ends with its record")
    }

    fn receive(&mut self, from: &str, bytes: Bytes) {
        let flow = Flow::new(ListenerId(0), address(from));
        self.engine.handle_received(Received { bytes, flow }, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        self.sent.clear();
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send { bytes, .. } => self.sent.push(bytes),
                Output::Record(record) => self.record = Some(record),
                other => drop(black_box(other)),
            }
        }
    }
}

fn invite(n: u64) -> String {
    format!(
        "INVITE sip:+14155550100@203.0.113.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};branch=z9hG4bK{n};rport\r\n\
         Max-Forwards: 70\r\n\
         From: \"Alice\" <sip:+4930123@192.0.2.9>;tag=a{n}\r\n\
         To: <sip:+14155550100@203.0.113.1>\r\n\
         Call-ID: call-{n}@192.0.2.9\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:caller@{CALLER}>\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n\
         User-Agent: bench\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
}

fn in_dialog(ok: &Bytes, method: &str, seq: u32, n: u64) -> Bytes {
    let ok = Message::parse(ok.clone()).expect("a response");
    let text = |name| String::from_utf8_lossy(ok.first(name).expect("a header")).into_owned();
    Bytes::from(format!(
        "{method} sip:203.0.113.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{method}{n};rport\r\n\
         Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {seq} {method}\r\nContent-Length: 0\r\n\r\n",
        text(HeaderName::From),
        text(HeaderName::To),
        text(HeaderName::CallId),
    ))
}

fn response(request: &Bytes, status_code: u16, body: &str) -> Bytes {
    let request = Message::parse(request.clone()).expect("a request");
    let text = |name| String::from_utf8_lossy(request.first(name).expect("a header")).into_owned();
    let to = match request.to_tag() {
        None if status_code > 100 => format!("{};tag=b1", text(HeaderName::To)),
        _ => text(HeaderName::To),
    };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    Bytes::from(format!(
        "SIP/2.0 {status_code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:{CARRIER}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        text(HeaderName::Via),
        text(HeaderName::From),
        text(HeaderName::CallId),
        text(HeaderName::CSeq),
        body.len()
    ))
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn rows() -> Rows {
    Rows {
        carriers: vec![CarrierRow {
            carrier_id: 1,
            name: "one".to_owned(),
            ..CarrierRow::default()
        }],
        gateways: vec![GatewayRow {
            gateway_id: 1,
            carrier_id: 1,
            name: "gateway-1".to_owned(),
            host: "198.51.100.1".to_owned(),
            ..GatewayRow::default()
        }],
        customers: vec![CustomerRow {
            customer_id: 1,
            name: "acme".to_owned(),
            ..CustomerRow::default()
        }],
        customer_addresses: vec![CustomerAddressRow {
            address_range: "192.0.2.0/24".parse().expect("a range"),
            customer_id: 1,
        }],
        routes: vec![RouteRow { route_id: 1, ..RouteRow::default() }],
        route_carriers: vec![RouteCarrierRow {
            route_id: 1,
            carrier_id: 1,
            ..RouteCarrierRow::default()
        }],
        failure_rules: holdfast::carrier::seed::seed_rules(),
        number_rules: Vec::new(),
        ..Rows::default()
    }
}

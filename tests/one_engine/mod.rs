//! One engine, a customer wherever a message comes from, and one carrier, in virtual time.

#![allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]
#![allow(dead_code, reason = "each test uses its part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use holdfast::call::Counters;
use holdfast::carrier::rows::{
    CarrierRow, CustomerAddressRow, CustomerCredentialsRow, CustomerRow, GatewayRow,
    RouteCarrierRow, RouteRow,
};
use holdfast::carrier::{GatewayId, Rows, Tables, Transport};
use holdfast::engine::{
    Command, Engine, EngineSettings, Flow, Listener, ListenerId, Output, Received,
};
use holdfast::health::{Target, TargetView, View};
use holdfast::sip::{HeaderName, Message};

pub(crate) const CALLER: &str = "192.0.2.9:5080";
pub(crate) const CARRIER: &str = "198.51.100.1:5060";
/// Longer than any transaction, call setup or early dialog lasts without a word.
const LONG: Duration = Duration::from_secs(400);

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
    pub(crate) records: usize,
}

/// What an engine sent: where to, and the octets.
pub(crate) type Sent = (SocketAddr, Bytes);

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, rows())
    }

    /// One where nobody's address is a customer's.
    pub(crate) fn of_strangers(seed: u64, users: Vec<CustomerCredentialsRow>) -> Self {
        let customer_addresses = Vec::new();
        Self::with(seed, Rows { customer_addresses, customer_credentials: users, ..rows() })
    }

    fn with(seed: u64, rows: Rows) -> Self {
        let now = Instant::now();
        let listener = |at: &str| Listener {
            transport: Transport::Udp,
            address: address(at),
            advertised: at.into(),
        };
        let settings = EngineSettings {
            listeners: vec![listener("203.0.113.1:5060"), listener("[2001:db8:f::1]:5060")],
            bucket_key: 7,
            max_calls: 100_000,
            ..EngineSettings::default()
        };
        let mut engine = Engine::new(settings, seed, now, SystemTime::now());
        let tables = Tables::check(rows, 1).expect("good rows");
        engine.handle_command(Command::Tables(Arc::new(tables)), now);
        let target = Target { gateway_id: GatewayId(1), address: address(CARRIER) };
        let view = View::new(vec![Arc::new(TargetView::unknown(target))]);
        engine.handle_command(Command::View(Arc::new(view)), now);
        Self { engine, now, records: 0 }
    }

    /// Gives the engine one datagram, and takes what it sends at once.
    pub(crate) fn receive(&mut self, from: &str, bytes: impl Into<Bytes>) -> Vec<Sent> {
        let flow = Flow::new(ListenerId(0), address(from));
        self.engine.handle_received(Received { bytes: bytes.into(), flow }, self.now);
        self.sent()
    }

    pub(crate) fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send { flow, bytes } => sent.push((flow.remote, bytes)),
                Output::Record(_) => self.records += 1,
                _ => {}
            }
        }
        sent
    }

    /// Lets time pass, timer by timer.
    pub(crate) fn pass(&mut self, duration: Duration) -> Vec<Sent> {
        let until = self.now + duration;
        let mut sent = Vec::new();
        while let Some(at) = self.engine.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            sent.extend(self.sent());
        }
        self.now = until;
        sent
    }

    /// Ends every call, lets all timers run out and checks that nothing is left.
    pub(crate) fn run_dry(&mut self) {
        self.engine.handle_command(Command::EndAllCalls, self.now);
        self.sent();
        self.pass(LONG);
        assert_eq!(self.engine.poll_timeout(), None, "a timer is armed for ever");
        let counters = self.counters();
        let now = [
            counters.calls_now,
            counters.answered_now,
            counters.client_transactions_now,
            counters.server_transactions_now,
            counters.strays_now,
            counters.dialogs_now,
            counters.timers_now,
        ];
        assert_eq!(now, [0; 7], "{counters:?}");
        assert_eq!(self.records as u64, counters.calls, "one record a call");
    }

    pub(crate) fn counters(&self) -> Counters {
        self.engine.counters()
    }
}

/// A response to `request` as a peer writes it, with this start line.
pub(crate) fn response(request: &Message, start_line: &[u8], body: &[u8]) -> Bytes {
    let mut octets = [start_line, b"\r\n"].concat();
    for header in request.headers() {
        match header.name {
            HeaderName::To if request.to_tag().is_none() => {
                octets.extend_from_slice(b"To: ");
                octets.extend_from_slice(header.value);
                octets.extend_from_slice(b";tag=carrier\r\n");
            }
            HeaderName::Via
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq => octets.extend_from_slice(header.line),
            _ => {}
        }
    }
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let rest = format!("Contact: <sip:{CARRIER}>\r\n{kind}Content-Length: {}\r\n\r\n", body.len());
    octets.extend_from_slice(rest.as_bytes());
    octets.extend_from_slice(body);
    octets.into()
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn rows() -> Rows {
    let everywhere = |range: &str| CustomerAddressRow {
        address_range: range.parse().expect("a range"),
        customer_id: 1,
    };
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
            host: address(CARRIER).ip().to_string(),
            media: "rtp".to_owned(),
            ..GatewayRow::default()
        }],
        customers: vec![CustomerRow {
            customer_id: 1,
            name: "everybody".to_owned(),
            ..CustomerRow::default()
        }],
        customer_addresses: vec![everywhere("0.0.0.0/0"), everywhere("::/0")],
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

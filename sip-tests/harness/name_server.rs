//! A name server on loopback, whose records and moods a test sets.

#![allow(dead_code, reason = "two test programs share it, and neither needs all of it")]

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// It answers over UDP until it is dropped.
#[derive(Debug)]
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

/// What it knows, and how it is.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    records: HashMap<(Name, RecordType), Vec<RData>>,
    /// Of every answer.
    pub(crate) ttl_s: u32,
    /// It says SERVFAIL to everything.
    pub(crate) is_failing: bool,
    /// It says SERVFAIL to questions for this name.
    pub(crate) failing_name: Option<&'static str>,
    /// It answers nothing.
    pub(crate) is_silent: bool,
    /// Every question, as `NAME TYPE`.
    pub(crate) asked: Vec<String>,
}

impl NameServer {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let address = socket.local_addr().expect("it is bound");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time above 0");
        let zone = Arc::new(Mutex::new(Zone { ttl_s: 60, ..Zone::default() }));
        let weak = Arc::downgrade(&zone);
        std::thread::spawn(move || {
            let mut octets = [0; 4096];
            while let Some(zone) = weak.upgrade() {
                let Ok((len, peer)) = socket.recv_from(&mut octets) else { continue };
                let answer = zone.lock().expect("no test panics with it").answer(&octets[..len]);
                if let Some(answer) = answer {
                    let _ = socket.send_to(&answer, peer);
                }
            }
        });
        Self { address, zone }
    }

    pub(crate) fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().expect("no test panics with it")
    }
}

impl Zone {
    /// Replaces the addresses of a name.
    pub(crate) fn a(&mut self, name: &str, addresses: &[&str]) {
        let data = addresses.iter().map(|address| RData::A(A(address.parse().expect("IPv4"))));
        self.records.insert((parsed(name), RecordType::A), data.collect());
    }

    /// Replaces the SRV records of a name: priority, weight, port, host.
    pub(crate) fn srv(&mut self, name: &str, records: &[(u16, u16, u16, &str)]) {
        let data = records.iter().map(|(priority, weight, port, host)| {
            RData::SRV(SRV::new(*priority, *weight, *port, parsed(host)))
        });
        self.records.insert((parsed(name), RecordType::SRV), data.collect());
    }

    /// Replaces the NAPTR records of a name: order, preference, services, replacement.
    pub(crate) fn naptr(&mut self, name: &str, records: &[(u16, u16, &str, &str)]) {
        let data = records.iter().map(|(order, preference, services, replacement)| {
            let services = services.as_bytes().into();
            let (flags, regexp) = (b"s".as_slice().into(), b"".as_slice().into());
            let replacement = parsed(replacement);
            RData::NAPTR(NAPTR::new(*order, *preference, flags, services, regexp, replacement))
        });
        self.records.insert((parsed(name), RecordType::NAPTR), data.collect());
    }

    fn answer(&mut self, octets: &[u8]) -> Option<Vec<u8>> {
        let request = Message::from_vec(octets).ok()?;
        let query = request.queries.first()?.clone();
        let name = query.name().to_ascii();
        self.asked.push(format!("{name} {}", query.query_type()));
        if self.is_silent {
            return None;
        }
        let mut answer = Message::response(request.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        let key = (query.name().to_lowercase(), query.query_type());
        answer.add_query(query.clone());
        if self.is_failing || self.failing_name == Some(name.as_str()) {
            answer.metadata.response_code = ResponseCode::ServFail;
        } else {
            let is_known = self.records.keys().any(|(name, _)| *name == key.0);
            let found = self.records.get(&key).into_iter().flatten();
            let record = |data: &RData| Record::from_rdata(key.0.clone(), self.ttl_s, data.clone());
            answer.add_answers(found.map(record).collect::<Vec<_>>());
            if !is_known {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
        }
        answer.to_vec().ok()
    }
}

fn parsed(name: &str) -> Name {
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    name.to_lowercase()
}

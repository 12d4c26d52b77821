//! RFC 3263 as a function over records: what to ask, and which places the answers make.

use std::net::IpAddr;
use std::sync::Arc;

use crate::carrier::{Dns, Gateway, Transport};
use crate::health::Srv;

/// SRV records of one name that are used, those of the lowest priorities.
pub const MAX_SRV_RECORDS: usize = 16;
/// Places of one name that are used; the rest are ignored.
pub const MAX_PLACES: usize = 32;
/// RFC 2782: a weight of 0 has a very small chance beside others.
const WEIGHT_OF_ZERO: f64 = 0.01;

/// What is asked of the name servers about a gateway's host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub host: Arc<str>,
    /// NAPTR and SRV for this transport; `None` = A and AAAA only.
    pub service: Option<Transport>,
}

impl Question {
    /// `None` where the gateway's host is an address.
    pub fn of(gateway: &Gateway) -> Option<Self> {
        if gateway.host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let service = match gateway.dns {
            Dns::Address => None,
            Dns::Srv => Some(gateway.transport),
        };
        Some(Self { host: gateway.host.clone(), service })
    }
}

/// One address that a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub address: IpAddr,
    /// `None` = the gateway's own.
    pub port: Option<u16>,
    pub srv: Srv,
}

/// What the name servers said.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Addresses(Vec<IpAddr>),
    /// SRV records, each with the addresses of its host; none where they could not be had.
    Services(Vec<(Record, Vec<IpAddr>)>),
}

impl Found {
    /// Gives hosts of which this answer has no addresses those of an earlier one.
    pub fn fill_from(&mut self, earlier: &Self) {
        let (Self::Services(records), Self::Services(known)) = (self, earlier) else { return };
        for (record, addresses) in records.iter_mut().filter(|(_, list)| list.is_empty()) {
            let same = known.iter().find(|(other, _)| other.host == record.host);
            addresses.extend(same.iter().flat_map(|(_, list)| list));
        }
    }

    /// Whether the addresses of a host are wanting.
    pub fn is_partial(&self) -> bool {
        match self {
            Self::Addresses(addresses) => addresses.is_empty(),
            Self::Services(records) => records.iter().any(|(_, list)| list.is_empty()),
        }
    }

    /// The first to be tried first.
    pub fn places(&self) -> Vec<Place> {
        match self {
            Self::Addresses(addresses) => address_places(addresses.clone()),
            Self::Services(records) => srv_places(records),
        }
    }
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub host: Arc<str>,
}

/// A NAPTR record (RFC 3403) as far as SIP reads it.
#[derive(Clone, Debug)]
pub struct Naptr {
    pub order: u16,
    pub preference: u16,
    pub flags: String,
    pub services: String,
    /// A name with its last dot.
    pub replacement: String,
}

/// The name whose SRV records say where a transport is served: what NAPTR records name (RFC 3263 §4.1), else the
/// service of the host itself (§4.2). With its last dot.
pub fn service_name(host: &str, transport: Transport, naptr: &[Naptr]) -> String {
    let (service, wanted) = match transport {
        Transport::Udp => ("_sip._udp", "SIP+D2U"),
        Transport::Tcp => ("_sip._tcp", "SIP+D2T"),
        Transport::Tls => ("_sips._tcp", "SIPS+D2T"),
    };
    let is_wanted = |record: &&Naptr| {
        record.flags.eq_ignore_ascii_case("s")
            && record.services.eq_ignore_ascii_case(wanted)
            && record.replacement != "."
    };
    let best = naptr.iter().filter(is_wanted).min_by_key(|it| (it.order, it.preference));
    match best {
        Some(record) => record.replacement.clone(),
        None => format!("{service}.{}.", host.strip_suffix('.').unwrap_or(host)),
    }
}

/// The places that SRV records and the addresses of their hosts make, the first to be tried first.
///
/// A weight is shared among the addresses of its host. Within a priority weights are 1.0 on average, so that a
/// gateway has the same share of its carrier's calls whatever the figures in DNS. An address and port that stand
/// there twice count where they stand first.
fn srv_places(records: &[(Record, Vec<IpAddr>)]) -> Vec<Place> {
    // RFC 2782: a host that is the root says that there is no such service.
    let mut records: Vec<&(Record, Vec<IpAddr>)> =
        records.iter().filter(|(record, _)| record.host.as_ref() != ".").collect();
    records.sort();
    let mut places: Vec<Place> = Vec::new();
    for tier in records.chunk_by(|(a, _), (b, _)| a.priority == b.priority) {
        let begun = places.len();
        for (record, addresses) in tier {
            let weight = f64::from(record.weight).max(WEIGHT_OF_ZERO) / addresses.len() as f64;
            for &address in addresses {
                let port = Some(record.port);
                if places.iter().any(|place| place.address == address && place.port == port) {
                    continue;
                }
                let srv = Srv { priority: record.priority, weight };
                places.push(Place { address, port, srv });
            }
        }
        level(&mut places[begun..]);
    }
    places.truncate(MAX_PLACES);
    places
}

/// Brings the weights of one priority to 1.0 on average.
fn level(places: &mut [Place]) {
    let sum: f64 = places.iter().map(|place| place.srv.weight).sum();
    let count = places.len() as f64;
    places.iter_mut().for_each(|place| place.srv.weight *= count / sum);
}

/// The places of a name without SRV records: all alike.
fn address_places(mut addresses: Vec<IpAddr>) -> Vec<Place> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_PLACES);
    let place = |address| Place { address, port: None, srv: Srv::default() };
    addresses.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(priority: u16, weight: u16, port: u16, host: &str) -> Record {
        Record { priority, weight, port, host: host.into() }
    }

    fn ips(addresses: &[&str]) -> Vec<IpAddr> {
        addresses.iter().map(|address| address.parse().expect("an address")).collect()
    }

    fn naptr(order: u16, preference: u16, services: &str, replacement: &str) -> Naptr {
        Naptr {
            order,
            preference,
            flags: "s".to_owned(),
            services: services.to_owned(),
            replacement: replacement.to_owned(),
        }
    }

    #[test]
    fn asks_for_the_service_of_the_transport_where_naptr_names_none() {
        for (transport, name) in [
            (Transport::Udp, "_sip._udp.a.example."),
            (Transport::Tcp, "_sip._tcp.a.example."),
            (Transport::Tls, "_sips._tcp.a.example."),
        ] {
            assert_eq!(service_name("a.example", transport, &[]), name);
            assert_eq!(service_name("a.example.", transport, &[]), name);
        }
    }

    #[test]
    fn takes_the_first_naptr_record_of_the_transport() {
        let regexp = Naptr { flags: "u".to_owned(), ..naptr(1, 1, "SIP+D2U", "wrong.example.") };
        let records = [
            regexp,
            naptr(10, 1, "SIPS+D2T", "tls.example."),
            naptr(20, 5, "SIP+D2U", "later.example."),
            naptr(20, 1, "sip+d2u", "udp.example."),
        ];
        assert_eq!(service_name("a.example", Transport::Udp, &records), "udp.example.");
        assert_eq!(service_name("a.example", Transport::Tls, &records), "tls.example.");
        assert_eq!(service_name("a.example", Transport::Tcp, &records), "_sip._tcp.a.example.");
    }

    #[test]
    fn shares_weights_within_a_priority_and_among_the_addresses_of_a_host() {
        let places = srv_places(&[
            (record(20, 0, 5060, "c."), ips(&["192.0.2.9"])),
            (record(10, 60, 5070, "a."), ips(&["192.0.2.1", "192.0.2.2"])),
            (record(10, 20, 5080, "b."), ips(&["192.0.2.3"])),
        ]);
        let facts = |place: &Place| {
            (place.address.to_string(), place.port, place.srv.priority, place.srv.weight)
        };
        let facts: Vec<_> = places.iter().map(facts).collect();
        assert_eq!(
            facts,
            [
                ("192.0.2.3".to_owned(), Some(5080), 10, 0.75),
                ("192.0.2.1".to_owned(), Some(5070), 10, 1.125),
                ("192.0.2.2".to_owned(), Some(5070), 10, 1.125),
                ("192.0.2.9".to_owned(), Some(5060), 20, 1.0),
            ]
        );
    }

    #[test]
    fn gives_a_weight_of_zero_little_beside_others_and_an_equal_share_among_its_like() {
        let both = [
            (record(1, 0, 1, "a."), ips(&["192.0.2.1"])),
            (record(1, 10, 1, "b."), ips(&["192.0.2.2"])),
        ];
        let places = srv_places(&both);
        assert!(places[0].srv.weight > 0.0 && places[0].srv.weight < 0.01, "{places:?}");
        let alike = [
            (record(1, 0, 1, "a."), ips(&["192.0.2.1"])),
            (record(1, 0, 1, "b."), ips(&["192.0.2.2"])),
        ];
        assert!(srv_places(&alike).iter().all(|place| place.srv.weight == 1.0));
    }

    #[test]
    fn uses_no_service_that_is_said_to_be_absent_and_no_place_twice() {
        assert!(srv_places(&[(record(0, 0, 0, "."), ips(&["192.0.2.1"]))]).is_empty());
        let places = srv_places(&[
            (record(1, 1, 5060, "a."), ips(&["192.0.2.1"])),
            (record(2, 1, 5060, "b."), ips(&["192.0.2.1"])),
        ]);
        assert_eq!(places.len(), 1);
        assert_eq!(places[0].srv.priority, 1);
    }

    #[test]
    fn takes_no_more_places_than_it_can_probe() {
        let addresses: Vec<IpAddr> = (0..=255).map(|last| [192, 0, 2, last].into()).collect();
        assert_eq!(address_places(addresses.clone()).len(), MAX_PLACES);
        assert_eq!(srv_places(&[(record(1, 1, 1, "a."), addresses)]).len(), MAX_PLACES);
    }
}

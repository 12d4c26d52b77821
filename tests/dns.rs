//! RFC 3263 against a name server on loopback: from records to targets, and how calls are shared among them.

#![allow(clippy::disallowed_methods, reason = "all of it is tests")]

#[path = "../sip-tests/harness/name_server.rs"]
mod name_server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use holdfast::carrier::rows::{
    CarrierRow, CustomerAddressRow, CustomerRow, GatewayRow, RouteCarrierRow, RouteRow,
};
use holdfast::carrier::{CustomerId, Gateway, GatewayId, Rows, Tables};
use holdfast::health::{Board, BoardSettings, View};
use holdfast::net::dns::{Names, Question, Resolver};
use holdfast::routing::{self, Query, Reach};
use name_server::NameServer;

const HOST: &str = "trunk.example";

/// A gateway, a name server for it, and what is known of its name.
struct World {
    server: NameServer,
    resolver: Resolver,
    names: Names,
    tables: Tables,
    gateway: Arc<Gateway>,
}

impl World {
    fn new(dns: &str, transport: &str) -> Self {
        let server = NameServer::start();
        let resolver = Resolver::new(&[server.address]).expect("a name server");
        let tables = tables(dns, transport);
        let gateway = tables.gateway(GatewayId(1)).expect("it is there").clone();
        let mut names = Names::default();
        names.set_questions(Question::of(&gateway), Instant::now());
        Self { server, resolver, names, tables, gateway }
    }

    /// Asks once, and takes the answer in.
    async fn ask(&mut self) -> bool {
        let question = Question::of(&self.gateway).expect("a name");
        let answer = self.resolver.ask(question).await;
        self.names.take(answer, Instant::now())
    }

    /// Address, port, SRV priority.
    fn targets(&self) -> Vec<(String, u16)> {
        let targets = self.names.targets_of(&self.gateway);
        targets.iter().map(|it| (it.target.address.to_string(), it.srv.priority)).collect()
    }

    fn view(&self) -> Arc<View> {
        let now = Instant::now();
        let settings = BoardSettings { node: "n".into(), probe_timeout: Duration::from_secs(1) };
        let mut board = Board::new(settings, 1);
        board.set_targets(&self.tables, &self.names.targets_of(&self.gateway), now);
        board.poll_view(now).expect("it has changed")
    }

    /// Decides many calls; how often each address came first, and whether all came after it that must.
    fn firsts(&self, view: &View) -> BTreeMap<String, u32> {
        let route = self.tables.route_for(CustomerId(1), "+1").expect("a route");
        let mut firsts = BTreeMap::new();
        for seed in 0..4_000 {
            let query = Query {
                route,
                customer_region: None,
                country: None,
                wall: SystemTime::UNIX_EPOCH,
                audio: None,
                needs_tls: false,
                seed,
                reach: Reach::ALL,
                headroom: &|_, _| 1.0,
                has_learned: false,
            };
            let plan = routing::decide(&self.tables, view, &query, Instant::now());
            let priorities = plan.candidates.iter().map(|it| it.srv.priority);
            assert!(priorities.is_sorted(), "{:?}", plan.candidates);
            let first = plan.candidates[0].target.address.to_string();
            *firsts.entry(first).or_default() += 1;
        }
        firsts
    }
}

fn tables(dns: &str, transport: &str) -> Tables {
    let name = || "a".to_owned();
    let gateway = GatewayRow {
        gateway_id: 1,
        carrier_id: 1,
        name: name(),
        host: HOST.to_owned(),
        port: 5090,
        transport: transport.to_owned(),
        dns: dns.to_owned(),
        ..GatewayRow::default()
    };
    let rows = Rows {
        carriers: vec![CarrierRow { carrier_id: 1, name: name(), ..CarrierRow::default() }],
        gateways: vec![gateway],
        customers: vec![CustomerRow { customer_id: 1, name: name(), ..CustomerRow::default() }],
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
        ..Rows::default()
    };
    Tables::check(rows, 1).expect("sense")
}

fn at(address: &str, priority: u16) -> (String, u16) {
    (address.to_owned(), priority)
}

#[tokio::test]
async fn a_port_of_the_admins_needs_addresses_only() {
    let mut world = World::new("address", "udp");
    world.server.zone().a(HOST, &["192.0.2.2", "192.0.2.1"]);
    world.server.zone().srv("_sip._udp.trunk.example", &[(1, 1, 5060, "a.trunk.example")]);
    assert!(world.ask().await);
    assert_eq!(world.targets(), [at("192.0.2.1:5090", 0), at("192.0.2.2:5090", 0)]);
    let asked = world.server.zone().asked.clone();
    assert!(asked.iter().all(|it| it.ends_with(" A") || it.ends_with(" AAAA")), "{asked:?}");
}

#[tokio::test]
async fn every_address_of_every_srv_record_is_a_target_with_its_own_port() {
    let mut world = World::new("srv", "udp");
    {
        let mut zone = world.server.zone();
        let records = [(10, 60, 5070, "a.trunk.example"), (20, 0, 5080, "b.trunk.example")];
        zone.srv("_sip._udp.trunk.example", &records);
        zone.a("a.trunk.example", &["192.0.2.1", "192.0.2.2"]);
        zone.a("b.trunk.example", &["192.0.2.3"]);
    }
    assert!(world.ask().await);
    let expected = [at("192.0.2.1:5070", 10), at("192.0.2.2:5070", 10), at("192.0.2.3:5080", 20)];
    assert_eq!(world.targets(), expected);
    assert_eq!(world.view().targets().len(), 3, "each with a health of its own");
}

#[tokio::test]
async fn naptr_names_the_srv_records_of_the_transport() {
    let mut world = World::new("srv", "udp");
    {
        let mut zone = world.server.zone();
        let naptr = [
            (10, 1, "SIPS+D2T", "_sips._tcp.trunk.example"),
            (20, 1, "SIP+D2U", "_sip._udp.elsewhere.example"),
        ];
        zone.naptr(HOST, &naptr);
        zone.srv("_sip._udp.trunk.example", &[(1, 1, 5060, "wrong.example")]);
        zone.srv("_sip._udp.elsewhere.example", &[(1, 1, 5060, "c.example")]);
        zone.a("c.example", &["192.0.2.7"]);
    }
    assert!(world.ask().await);
    assert_eq!(world.targets(), [at("192.0.2.7:5060", 1)]);
}

#[tokio::test]
async fn a_name_without_srv_records_has_its_addresses_and_the_admins_port() {
    let mut world = World::new("srv", "udp");
    world.server.zone().a(HOST, &["192.0.2.1"]);
    assert!(world.ask().await);
    assert_eq!(world.targets(), [at("192.0.2.1:5090", 0)]);
}

#[tokio::test]
async fn a_failing_or_silent_name_server_takes_nothing_away() {
    let mut world = World::new("srv", "udp");
    let service = "_sip._udp.trunk.example";
    world.server.zone().srv(service, &[(1, 1, 5070, "a.trunk.example")]);
    world.server.zone().a("a.trunk.example", &["192.0.2.1"]);
    world.server.zone().a(HOST, &["192.0.2.66"]);
    assert!(world.ask().await);
    let good = [at("192.0.2.1:5070", 1)];
    world.server.zone().is_failing = true;
    assert!(!world.ask().await);
    assert_eq!(world.targets(), good);
    world.server.zone().is_failing = false;
    world.server.zone().failing_name = Some("_sip._udp.trunk.example.");
    assert!(!world.ask().await, "SERVFAIL is not the same as no SRV records");
    assert_eq!(world.targets(), good);
    world.server.zone().failing_name = Some("a.trunk.example.");
    assert!(!world.ask().await);
    assert_eq!(world.targets(), good);
    world.server.zone().failing_name = None;
    world.server.zone().is_silent = true;
    assert!(!world.ask().await);
    assert_eq!(world.targets(), good);
}

#[tokio::test]
async fn changed_records_make_new_targets_however_long_their_ttl_was() {
    let mut world = World::new("srv", "udp");
    let service = "_sip._udp.trunk.example";
    world.server.zone().ttl_s = 86_400;
    world.server.zone().srv(service, &[(1, 1, 5070, "a.trunk.example")]);
    world.server.zone().a("a.trunk.example", &["192.0.2.1"]);
    world.ask().await;
    world.server.zone().srv(service, &[(1, 1, 5071, "a.trunk.example")]);
    world.server.zone().a("a.trunk.example", &["192.0.2.2"]);
    assert!(world.ask().await);
    assert_eq!(world.targets(), [at("192.0.2.2:5071", 1)]);
}

#[tokio::test]
async fn calls_are_shared_by_the_weights_of_the_first_priority() {
    let mut world = World::new("srv", "udp");
    {
        let mut zone = world.server.zone();
        let records = [
            (10, 75, 5060, "a.trunk.example"),
            (10, 25, 5060, "b.trunk.example"),
            (20, 100, 5060, "c.trunk.example"),
        ];
        zone.srv("_sip._udp.trunk.example", &records);
        zone.a("a.trunk.example", &["192.0.2.1"]);
        zone.a("b.trunk.example", &["192.0.2.2"]);
        zone.a("c.trunk.example", &["192.0.2.3"]);
    }
    world.ask().await;
    let firsts = world.firsts(&world.view());
    let share = |address: &str| f64::from(firsts.get(address).copied().unwrap_or(0)) / 4_000.0;
    assert!((share("192.0.2.1:5060") - 0.75).abs() < 0.04, "{firsts:?}");
    assert!((share("192.0.2.2:5060") - 0.25).abs() < 0.04, "{firsts:?}");
    assert_eq!(share("192.0.2.3:5060"), 0.0, "{firsts:?}");
}

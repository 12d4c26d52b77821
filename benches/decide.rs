//! What a decision costs, in time and in allocations. `cargo bench --bench decide`

#![allow(clippy::disallowed_methods, reason = "a bench needs an Instant")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use holdfast::carrier::rows::{CarrierRow, CustomerRow, GatewayRow, RouteCarrierRow, RouteRow};
use holdfast::carrier::{CustomerId, GatewayId, Rows, Tables};
use holdfast::health::{Reachability, Target, TargetView, View};
use holdfast::routing::{Query, decide};

/// Counts what is allocated, and passes it on.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn decisions(c: &mut Criterion) {
    for (carriers, gateways, strategy) in [
        (10, 4, "healthiest"),
        (10, 4, "weighted"),
        (250, 4, "healthiest"),
        (10, 100, "healthiest"),
        (1, 1_000, "healthiest"),
    ] {
        let world = World::new(carriers, gateways, strategy);
        let name = format!("decide/{carriers}x{gateways}/{strategy}");
        let mut seed = 0;
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        world.decide(1);
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        println!("{name}: {allocations} allocations");
        c.bench_function(&name, |b| {
            b.iter(|| {
                seed += 1;
                world.decide(seed)
            })
        });
    }
    let world = World::new(10, 4, "healthiest");
    let plan = world.plan(1);
    c.bench_function("decide/10x4/to_json", |b| b.iter(|| black_box(plan.to_json())));
}

criterion_group!(benches, decisions);
criterion_main!(benches);

struct World {
    tables: Tables,
    view: View,
    now: Instant,
}

impl World {
    /// All are up, each a little different.
    fn new(carriers: i64, gateways: i64, strategy: &str) -> Self {
        let tables = Tables::check(rows(carriers, gateways, strategy), 1).expect("good rows");
        let target = |id: i64| {
            let address = SocketAddr::from(([198, 51, 100, 1], u16::try_from(id).expect("small")));
            Arc::new(TargetView {
                reachability: Reachability::Up,
                failure_rate: 0.01 + 0.001 * (id % 7) as f64,
                latency_ms: Some(20.0 + (id % 30) as f64),
                ringing_ms: Some(800.0 + (id % 90) as f64),
                ..TargetView::unknown(Target { gateway_id: GatewayId(id), address })
            })
        };
        let view = View::new((1..=carriers * gateways).map(target).collect());
        Self { tables, view, now: Instant::now() }
    }

    fn plan(&self, seed: u64) -> holdfast::routing::Plan {
        let route = self.tables.route_for(CustomerId(1), "+4930123456").expect("a route");
        let query = Query {
            route,
            customer_region: None,
            country: Some(49),
            wall: std::time::SystemTime::UNIX_EPOCH,
            audio: None,
            needs_tls: false,
            seed,
            has_listener: &|_, address| address.is_ipv4(),
            headroom: &|_, _| 1.0,
        };
        decide(&self.tables, &self.view, &query, self.now)
    }

    fn decide(&self, seed: u64) {
        black_box(self.plan(seed));
    }
}

fn rows(carriers: i64, gateways: i64, strategy: &str) -> Rows {
    let carrier = |carrier_id| CarrierRow {
        carrier_id,
        name: format!("carrier-{carrier_id}"),
        ..CarrierRow::default()
    };
    let gateway = |gateway_id| GatewayRow {
        gateway_id,
        carrier_id: (gateway_id - 1) / gateways + 1,
        name: format!("gateway-{gateway_id}"),
        host: "198.51.100.1".to_owned(),
        port: i32::try_from(gateway_id).expect("small"),
        ..GatewayRow::default()
    };
    let place =
        |carrier_id| RouteCarrierRow { route_id: 1, carrier_id, ..RouteCarrierRow::default() };
    Rows {
        carriers: (1..=carriers).map(carrier).collect(),
        gateways: (1..=carriers * gateways).map(gateway).collect(),
        customers: vec![CustomerRow {
            customer_id: 1,
            name: "acme".to_owned(),
            ..CustomerRow::default()
        }],
        routes: vec![RouteRow {
            route_id: 1,
            strategy: strategy.to_owned(),
            ..RouteRow::default()
        }],
        route_carriers: (1..=carriers).map(place).collect(),
        ..Rows::default()
    }
}

//! What a decision costs, in time and in allocations. `cargo bench --bench decide`

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};

use decision::Decisions;

mod decision;

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
        let world = Decisions::new(carriers, gateways, strategy);
        let name = format!("decide/{carriers}x{gateways}/{strategy}");
        let mut seed = 0;
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        black_box(world.plan(1));
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        println!("{name}: {allocations} allocations");
        c.bench_function(&name, |b| {
            b.iter(|| {
                seed += 1;
                world.plan(seed)
            })
        });
    }
    let world = Decisions::new(10, 4, "healthiest");
    let plan = world.plan(1);
    c.bench_function("decide/10x4/to_json", |b| b.iter(|| black_box(plan.to_json())));
}

criterion_group!(benches, decisions);
criterion_main!(benches);

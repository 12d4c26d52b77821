//! What a call allocates, and a plain run of calls for profilers: `cargo bench --bench cost -- 5000`
//!
//! Two sums a call: the engine alone (with making the seven messages that come in), and the record as the store keeps
//! it. Times are left to `turn`, instructions to callgrind: run the binary with two counts
//! of calls and take the difference, so that its start does not count.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast::store::record::StoredCall;

use world::World;

mod world;

#[global_allocator]
static COUNTING: Counting = Counting;
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static OCTETS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; only counters are touched besides.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        OCTETS.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        OCTETS.fetch_add(new_size as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Allocations and octets of one kind of work.
#[derive(Default)]
struct Sum {
    allocations: u64,
    octets: u64,
}

impl Sum {
    fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = (ALLOCATIONS.load(Ordering::Relaxed), OCTETS.load(Ordering::Relaxed));
        let made = work();
        self.allocations += ALLOCATIONS.load(Ordering::Relaxed) - before.0;
        self.octets += OCTETS.load(Ordering::Relaxed) - before.1;
        made
    }
}

fn main() {
    let calls = std::env::args().find_map(|text| text.parse().ok()).unwrap_or(5_000_u32);
    let mut world = World::new();
    for _ in 0..500 {
        world.call();
    }
    let (mut engine, mut record) = (Sum::default(), Sum::default());
    for _ in 0..calls {
        let made = engine.of(|| world.call());
        black_box(record.of(|| StoredCall::new("node", &made)));
    }
    for (what, sum) in [("engine", engine), ("record", record)] {
        let calls = f64::from(calls.max(1));
        let (allocations, octets) = (sum.allocations as f64 / calls, sum.octets as f64 / calls);
        println!("{what}: {allocations:.1} allocations, {octets:.0} octets a call");
    }
}

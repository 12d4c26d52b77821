//! One whole call through one engine: 7 messages in, 7 out. `cargo bench --bench turn`

use criterion::{Criterion, criterion_group, criterion_main};

use world::World;

mod world;

fn whole_call(c: &mut Criterion) {
    let mut world = World::new();
    c.bench_function("engine/whole_call", |b| b.iter(|| world.call()));
}

criterion_group!(benches, whole_call);
criterion_main!(benches);

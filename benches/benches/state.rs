//! The state stores with ten thousand records.

#![allow(clippy::expect_used, reason = "a bench that cannot run ends")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use flock_core::Context;
use flock_core::state::{
    Condition, Document, Key, MemoryStore, SqliteConfig, SqliteStore, StateStore,
    StateStoreExt as _,
};
use tokio::runtime::Runtime;

const RECORDS: usize = 10_000;

fn key(number: usize) -> Key {
    Key::new(format!("nodes/web-{number:05}")).expect("a key")
}

fn value() -> Document {
    Document::parse(r#"{"version":1,"address":"192.0.2.1","state":"running","image":"web:v1"}"#)
        .expect("a document")
}

async fn fill(store: &dyn StateStore, ctx: &Context) {
    for number in 0..RECORDS {
        store.put(ctx, &key(number), value(), Condition::Any).await.expect("a write");
    }
}

fn measure(criterion: &mut Criterion, name: &str, runtime: &Runtime, store: &dyn StateStore) {
    let ctx = Context::new();
    runtime.block_on(fill(store, &ctx));
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20);
    let mut number = 0;
    let mut next = move || {
        number = (number + 7_919) % RECORDS;
        key(number)
    };
    group.bench_function("get_of_10k", |bencher| {
        bencher.iter(|| black_box(runtime.block_on(store.get(&ctx, &next()))).expect("a record"));
    });
    group.bench_function("put_in_10k", |bencher| {
        bencher.iter(|| {
            let key = next();
            let put = store.put(&ctx, &key, value(), Condition::Any);
            runtime.block_on(put).expect("a write")
        });
    });
    let prefix = Key::new("nodes").expect("a key").below();
    group.bench_function("list_10k", |bencher| {
        bencher.iter(|| {
            let listing = runtime.block_on(store.list(&ctx, &prefix)).expect("a listing");
            assert_eq!(listing.records.len(), RECORDS);
        });
    });
    group.finish();
}

fn stores(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    measure(criterion, "state_memory", &runtime, &MemoryStore::new());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = SqliteConfig::at(directory.path().join("state.db"));
    let store = runtime.block_on(SqliteStore::open(&Context::new(), config)).expect("a store");
    measure(criterion, "state_sqlite", &runtime, &*Arc::new(store));
}

criterion_group!(benches, stores);
criterion_main!(benches);

//! The merge: indexing headers, deciding the tree, and writing it to nowhere.

#![allow(clippy::expect_used, reason = "a bench that cannot run ends")]

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flock_benches::inputs;
use flock_core::Context;
use flock_core::rootfs::{ReplaceOptions, Sink as _, SourceIndex, TarSink, Tree};

const FILES: u64 = 20_000;

fn index(path: &Path, ctx: &Context) -> SourceIndex {
    let file = File::open(path).expect("the input is there");
    SourceIndex::from_tar(path, file, ctx).expect("the input is a tar")
}

fn tree(base: &Path, app: &Path, ctx: &Context) -> Tree {
    let mut tree = Tree::new(index(base, ctx), ctx).expect("the base is a tree");
    let options = ReplaceOptions::default();
    tree.replace(inputs::WWWROOT, index(app, ctx), &options, ctx).expect("the application fits");
    tree
}

fn rootfs(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (base, app) = (directory.path().join("base.tar"), directory.path().join("app.tar"));
    inputs::write_base(&base, 50_000_000).expect("the base can be written");
    inputs::write_app(&app, 200_000_000, FILES, "").expect("the application can be written");
    let ctx = Context::new();

    let mut group = criterion.benchmark_group("rootfs");
    group.sample_size(20);
    group.throughput(Throughput::Elements(FILES));
    group.bench_function("index_20k_files", |bencher| {
        bencher.iter(|| black_box(index(&app, &ctx).len()));
    });
    group.bench_function("tree_20k_files", |bencher| {
        bencher.iter(|| black_box(tree(&base, &app, &ctx).summary()));
    });
    let decided = tree(&base, &app, &ctx);
    group.throughput(Throughput::Bytes(decided.summary().tar_bytes));
    group.bench_function("write_to_nowhere", |bencher| {
        bencher.iter(|| TarSink::new(io::sink()).write(&decided, &ctx).expect("it can be written"));
    });
    group.finish();
}

criterion_group!(benches, rootfs);
criterion_main!(benches);

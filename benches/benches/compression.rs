//! The encoders, with one thread and with all, and the decoders.

#![allow(clippy::expect_used, reason = "a bench that cannot run ends")]

use std::hint::black_box;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flock_benches::inputs::{Contents, Kind};
use flock_core::rootfs::compress::{CompressionSettings, Encoder, Format};
use flock_core::rootfs::decompress::{Compression, Decoder, Limits};

/// 32 MiB, a third each of text, code and noise.
fn contents() -> Vec<u8> {
    let mut makers = Contents::new(1);
    let (mut all, mut part) = (Vec::new(), Vec::new());
    for kind in [Kind::Text, Kind::Code, Kind::Noise] {
        makers.fill(&mut part, kind, (32 << 20) / 3);
        all.extend_from_slice(&part);
    }
    all
}

fn encode<W: io::Write>(out: W, settings: &CompressionSettings, plain: &[u8]) -> W {
    let mut encoder = Encoder::new(out, settings).expect("threads can be started");
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("memory takes it")
}

fn encoders(criterion: &mut Criterion) {
    let plain = contents();
    let mut group = criterion.benchmark_group("encode");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(plain.len() as u64));
    let all = CompressionSettings::new(Format::GZIP).threads;
    for format in ["gzip:1", "gzip:6", "zstd:1", "zstd:3"] {
        let parsed: Format = format.parse().expect("a format");
        for threads in [NonZeroUsize::MIN, all] {
            let settings = CompressionSettings::new(parsed).with_threads(threads);
            let id = BenchmarkId::new(format, format!("{threads}_threads"));
            group.bench_with_input(id, &settings, |bencher, settings| {
                bencher.iter(|| encode(io::sink(), settings, &plain));
            });
            if threads == all {
                break;
            }
        }
    }
    group.finish();
}

fn decoders(criterion: &mut Criterion) {
    let plain = contents();
    let mut group = criterion.benchmark_group("decode");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(plain.len() as u64));
    for (format, compression) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
        let settings = CompressionSettings::new(format.parse().expect("a format"));
        let packed = encode(Vec::new(), &settings, &plain);
        group.bench_function(format, |bencher| {
            bencher.iter(|| {
                let decoder = Decoder::new(packed.as_slice(), compression, Limits::default());
                let mut decoder = decoder.expect("a decoder");
                black_box(io::copy(&mut decoder, &mut io::sink()).expect("whole data"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encoders, decoders);
criterion_main!(benches);

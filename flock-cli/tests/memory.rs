//! How much anonymous memory builds take: no more for large inputs than for
//! small ones.
//!
//! `FLOCK_TEST_REQUIRE=large cargo test -p flock-cli --test memory` makes the
//! input of 5 GB count too; it takes 15 GB of disk.

mod harness;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use flock_core::conformance::{self, REQUIRE, Service, Suite, service};
use harness::{Doing as _, Kind, Noise, Outcome, Place, Tar, run, watch};

const MIB: u64 = 1 << 20;
const PLAIN: u64 = 64 * MIB;
const COMPRESSED: u64 = 128 * MIB;
const DISK: u64 = 100 * MIB;

fn main() -> ExitCode {
    let medium = Suite::new("memory")
        .with_time_limit(Duration::from_secs(600))
        .test("200_mb_plain", || peak(200, Kind::Tar("none"), PLAIN))
        .test("200_mb_gzip", || peak(200, Kind::Tar("gzip:6"), COMPRESSED))
        .test("200_mb_zstd", || peak(200, Kind::Tar("zstd:3"), COMPRESSED))
        .test("200_mb_from_gzip", from_gzip)
        .test("200000_entries_plain", || many_entries(200_000, Kind::Tar("none"), PLAIN))
        .test("200000_entries_gzip", || many_entries(200_000, Kind::Tar("gzip:1"), COMPRESSED))
        .test("300000_entries_vhd", || many_entries(300_000, Kind::Disk("vhd"), DISK));
    let large = Suite::new("memory_large")
        .with_time_limit(Duration::from_secs(3_600))
        .with_service(wanted())
        .test("5_gb_plain", || peak(5_000, Kind::Tar("none"), PLAIN))
        .test("5_gb_gzip", || peak(5_000, Kind::Tar("gzip:1"), COMPRESSED))
        .test("5_gb_vhd", || peak(5_000, Kind::Disk("vhd"), DISK))
        .test("5_gb_zstd", || peak(5_000, Kind::Tar("zstd:3"), COMPRESSED));
    conformance::main([medium, large])
}

/// Only whoever asks for large inputs gets them.
fn wanted() -> Service {
    let required = std::env::var(REQUIRE).unwrap_or_default();
    let asked = required.split(',').any(|name| name.trim() == "large");
    let reason = format!("disk or time given for it (15 GB, minutes); {REQUIRE}=large runs it");
    service("large", if asked { Ok(()) } else { Err(reason) })
}

/// A base of so many megabytes, in ten files.
fn base(place: &Place, megabytes: u64) -> Outcome<PathBuf> {
    let path = place.path("base.tar");
    let mut tar = Tar::create(&path)?;
    tar.directory("./")?;
    for number in 0..10 {
        let size = megabytes * 100_000;
        let contents = std::io::Read::take(Noise(number + 1), size);
        tar.file_from(&format!("data-{number}"), size, contents)?;
    }
    tar.finish()?;
    Ok(path)
}

async fn peak(megabytes: u64, kind: Kind, limit: u64) -> Outcome {
    let place = Place::new()?;
    let base = base(&place, megabytes)?;
    measure(&place, &base, kind, limit)
}

async fn from_gzip() -> Outcome {
    let place = Place::new()?;
    let base = base(&place, 200)?;
    run(std::process::Command::new("gzip").arg("-1").arg(&base))?;
    measure(&place, &base.with_extension("tar.gz"), Kind::Tar("none"), COMPRESSED)
}

async fn many_entries(count: u32, kind: Kind, limit: u64) -> Outcome {
    let place = Place::new()?;
    let base = place.path("base.tar");
    let mut tar = Tar::create(&base)?;
    for number in 0..count {
        if number % 100 == 0 {
            tar.directory(&format!("usr/share/package-{:05}/", number / 100))?;
        }
        let below = number / 100;
        tar.file(&format!("usr/share/package-{below:05}/a-file-{number:06}.txt"), b"text\n")?;
    }
    tar.finish()?;
    measure(&place, &base, kind, limit)
}

fn measure(place: &Place, base: &Path, kind: Kind, limit: u64) -> Outcome {
    let app = place.app(base, &place.application()?)?;
    let output = place.path("appliance");
    let watched = watch(&mut place.build(&app, &output, kind))?;
    let size = std::fs::metadata(&output).doing("look at the appliance")?.len();
    let megabytes = watched.memory / MIB;
    harness::note(format_args!(
        "{} MiB of memory, {size} bytes of output, {:?}",
        megabytes, watched.wall
    ));
    conformance::ensure(watched.memory > 0, "no look at the memory succeeded")?;
    let most = limit / MIB;
    conformance::ensure(
        watched.memory <= limit,
        format!("{megabytes} MiB of anonymous memory, more than {most}"),
    )
}

//! What qemu-img says of flock's images, and flock of qemu-img's.

use flock_core::Context;
use flock_core::conformance::Suite;
use flock_core::rootfs::disk::{DiskFormat, convert};
use flock_core::rootfs::output::OutputOptions;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{GIB, MIB, Place, Writes, assert_same, corners, open, program, run, write, write_raw};

pub(crate) fn suite() -> Suite {
    Suite::new("qemu")
        .with_time_limit(std::time::Duration::from_secs(300))
        .with_service(program("qemu", "qemu-img"))
        .test("sizes_are_what_flock_says", || async {
            sizes();
            Ok(())
        })
        .test("content_is_what_flock_wrote", || async {
            content();
            Ok(())
        })
        .test("random_writes_survive", || async {
            random_writes();
            Ok(())
        })
        .test("flock_reads_what_qemu_writes", || async {
            foreign();
            Ok(())
        })
        .test("qemu_writes_into_flocks_images", || async {
            written_into();
            Ok(())
        })
        .test("converted_there_and_back", || async {
            there_and_back();
            Ok(())
        })
}

const FORMATS: [(DiskFormat, &str); 4] = [
    (DiskFormat::Raw, "raw"),
    (DiskFormat::VhdFixed, "vpc"),
    (DiskFormat::VhdDynamic, "vpc"),
    (DiskFormat::Qcow2, "qcow2"),
];

fn sizes() {
    let place = Place::new();
    for size in [2 * MIB, 510 * MIB, 5 * GIB, 40 * GIB, 100 * GIB, 300 * GIB] {
        for (format, theirs) in FORMATS {
            let path = write(&place, "image", format, size, &corners(size));
            let info = run("qemu-img", &["info", "-f", theirs, "--output=json", &path]);
            let info: serde_json::Value = serde_json::from_str(&info).unwrap();
            assert_eq!(info["virtual-size"], size, "{format}");
            // A fixed VHD is recognised by nothing but its name.
            if format != DiskFormat::VhdFixed {
                let info = run("qemu-img", &["info", "--output=json", &path]);
                let info: serde_json::Value = serde_json::from_str(&info).unwrap();
                assert_eq!(info["format"], theirs);
            }
        }
    }
}

fn content() {
    let place = Place::new();
    for size in [2 * MIB, 66 * MIB, 1026 * MIB] {
        let raw = write_raw(&place, "model", size, &corners(size));
        for (format, theirs) in FORMATS {
            let path = write(&place, "image", format, size, &corners(size));
            run("qemu-img", &["compare", "-f", theirs, "-F", "raw", &path, &raw]);
            if theirs == "qcow2" {
                run("qemu-img", &["check", "-f", theirs, &path]);
            }
            assert_same(&open(&path), &raw);
        }
    }
}

/// Writes in any order, also over each other.
fn writes(size: u64) -> impl Strategy<Value = Writes> {
    let length = prop_oneof![1..2000usize, 60_000..70_000usize, 2_000_000..4_300_000usize];
    let one = (0..size, length, 1..=255u8).prop_map(move |(at, length, value)| {
        (at, length.min(usize::try_from(size - at).unwrap()), value)
    });
    prop::collection::vec(one, 0..12)
}

fn random_writes() {
    let sizes = (1..40u64).prop_map(|blocks| blocks * 2 * MIB);
    let cases = sizes.prop_flat_map(|size| (Just(size), writes(size)));
    let place = Place::new();
    let mut runner =
        TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    runner
        .run(&cases, |(size, writes)| {
            let raw = write_raw(&place, "model", size, &writes);
            for (format, theirs) in FORMATS {
                let path = write(&place, "image", format, size, &writes);
                assert_same(&open(&path), &raw);
                let out = place.path("out");
                run("qemu-img", &["convert", "-f", theirs, "-O", "raw", &path, &out]);
                assert!(std::fs::read(&out).unwrap() == std::fs::read(&raw).unwrap(), "{format}");
                if theirs == "qcow2" {
                    run("qemu-img", &["check", "-f", theirs, &path]);
                }
            }
            Ok(())
        })
        .unwrap();
}

fn foreign() {
    let place = Place::new();
    // A size that qemu's geometry for VHDs does not change.
    let size = 65535 * 4 * 17 * 512 / 60;
    let writes: Writes = vec![(1, 5000, 1), (3 * MIB, 1 << 20, 2), (size - 512, 512, 3)];
    let raw = write_raw(&place, "model", size, &writes);
    for (format, options, expected) in [
        ("vpc", "subformat=dynamic,force_size=on", DiskFormat::VhdDynamic),
        ("vpc", "subformat=fixed,force_size=on", DiskFormat::VhdFixed),
        ("qcow2", "compat=1.1", DiskFormat::Qcow2),
        ("qcow2", "compat=0.10", DiskFormat::Qcow2),
        ("qcow2", "cluster_size=512", DiskFormat::Qcow2),
        ("qcow2", "cluster_size=2M,refcount_bits=1", DiskFormat::Qcow2),
        ("qcow2", "preallocation=metadata,refcount_bits=64", DiskFormat::Qcow2),
    ] {
        let path = place.path("theirs");
        run("qemu-img", &["convert", "-f", "raw", "-O", format, "-o", options, &raw, &path]);
        let image = open(&path);
        assert_eq!(image.format(), expected, "{options}");
        assert_same(&image, &raw);
    }
    for kind in ["zlib", "zstd"] {
        let path = place.path("packed");
        let kind = format!("compression_type={kind}");
        run("qemu-img", &["convert", "-c", "-O", "qcow2", "-o", &kind, &raw, &path]);
        assert_same(&open(&path), &raw);
    }
}

/// What a running machine does: it writes, and the image stays whole.
fn written_into() {
    let place = Place::new();
    let size = 32 * MIB;
    for (format, theirs) in FORMATS {
        let mut writes = corners(size);
        let path = write(&place, "image", format, size, &writes);
        for (at, length) in [(4096, 8192), (20 * MIB - 512, 3 * MIB), (7 * MIB, 512)] {
            let command = format!("write -P 9 {at} {length}");
            run("qemu-io", &["-f", theirs, "-c", &command, &path]);
            writes.push((at, usize::try_from(length).unwrap(), 9));
        }
        let raw = write_raw(&place, "model", size, &writes);
        assert_same(&open(&path), &raw);
    }
}

fn there_and_back() {
    let place = Place::new();
    let ctx = Context::new();
    let options = OutputOptions::default().with_force(true).with_sync(false);
    let size = 66 * MIB;
    let raw = write_raw(&place, "model", size, &corners(size));
    for (first, theirs) in FORMATS {
        let one = place.path("one");
        convert(&open(&raw), first, one.as_ref(), &options, &ctx).unwrap();
        run("qemu-img", &["compare", "-f", theirs, "-F", "raw", &one, &raw]);
        for (second, theirs) in FORMATS {
            let (two, direct) = (place.path("two"), place.path("direct"));
            let done = convert(&open(&one), second, two.as_ref(), &options, &ctx).unwrap();
            assert_eq!(done.virtual_size, size);
            run("qemu-img", &["compare", "-f", theirs, "-F", "raw", &two, &raw]);
            // However it came there, the same disk is the same file.
            convert(&open(&raw), second, direct.as_ref(), &options, &ctx).unwrap();
            assert!(std::fs::read(&two).unwrap() == std::fs::read(&direct).unwrap());
        }
    }
}

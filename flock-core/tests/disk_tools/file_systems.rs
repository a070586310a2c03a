//! What flock says of the file systems that others make.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use flock_core::Context;
use flock_core::conformance::Suite;
use flock_core::rootfs::disk::partition_table::{Mbr, MbrPartition};
use flock_core::rootfs::disk::{Check, FileSystem, Inspection, Outcome, RawDisk, inspect};

use super::{MIB, Place, program, run};

const UUID: &str = "6fa459ea-ee8a-4ca4-894e-db77e160355e";

pub(crate) fn suite() -> Suite {
    Suite::new("mke2fs")
        .with_service(program("mke2fs", "mke2fs"))
        .test("kinds_labels_and_features", || async {
            kinds();
            Ok(())
        })
        .test("a_file_system_in_a_partition", || async {
            partition();
            Ok(())
        })
        .test("numbers_that_cannot_be_are_told", || async {
            numbers();
            Ok(())
        })
        .test("damage_is_told", || async {
            damage();
            Ok(())
        })
}

fn look(path: &str) -> Inspection {
    inspect(Path::new(path), &Context::new()).unwrap()
}

fn make(place: &Place, args: &[&str]) -> String {
    let path = place.path("disk.img");
    place.create("disk.img").set_len(32 * MIB).unwrap();
    let all = [&["-q", "-F", "-L", "label", "-U", UUID], args, &[&path]].concat();
    run("mke2fs", &all);
    path
}

/// The features as dumpe2fs lists them.
fn features(path: &str) -> Vec<String> {
    let listed = run("dumpe2fs", &["-h", path]);
    let line = listed.lines().find_map(|line| line.strip_prefix("Filesystem features:"));
    line.unwrap().split_whitespace().map(str::to_owned).collect()
}

fn kinds() {
    let place = Place::new();
    for kind in ["ext2", "ext3", "ext4"] {
        let path = make(&place, &["-t", kind]);
        let inspection = look(&path);
        assert!(inspection.is_sound(), "{:?}", inspection.checks);
        let found = inspection.file_system.unwrap();
        assert_eq!((found.kind, found.label.as_deref()), (kind, Some("label")));
        assert_eq!(found.uuid.as_deref(), Some(UUID));
        assert_eq!(found.size, Some(32 * MIB));
        assert_eq!(found.features, features(&path));
    }
    for options in [
        &["-t", "ext4", "-b", "1024"][..],
        &["-t", "ext4", "-b", "4096", "-I", "1024", "-O", "64bit,meta_bg,^resize_inode"],
        &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "16384"],
        &["-t", "ext4", "-b", "4096", "-O", "bigalloc"],
        &["-t", "ext2", "-r", "0"],
        &["-t", "ext4", "-b", "2048", "-g", "1024", "-O", "^64bit"],
    ] {
        let inspection = look(&make(&place, options));
        assert!(inspection.is_sound(), "{options:?}: {:?}", inspection.checks);
    }
}

/// Each in a superblock whose checksum is right.
fn numbers() {
    let place = Place::new();
    let path = make(&place, &["-t", "ext4", "-b", "4096", "-O", "metadata_csum,64bit"]);
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut whole = [0; 1024];
    file.read_exact_at(&mut whole, 1024).unwrap();
    for (at, number, told) in [
        (0x58, &[0, 0][..], "inodes of 0 bytes"),
        (0x58, &[0x81, 0], "inodes of 129 bytes"),
        (0x58, &[0, 0x20], "inodes of 8192 bytes"),
        (0x28, &[0; 4], "0 inodes in each group"),
        (0x20, &[0; 4], "0 blocks in each group"),
        (0x20, &[1, 0x80, 0, 0], "32769 blocks in each group"),
        (0x14, &[1, 0, 0, 0], "1 as the first block"),
        (0x0c, &[0xff; 4], "blocks are free"),
        (0xfe, &[31, 0], "group descriptors of 31 bytes"),
        (0xfe, &[0, 0x20], "group descriptors of 8192 bytes"),
    ] {
        let mut superblock = whole;
        superblock[at..at + number.len()].copy_from_slice(number);
        let sum = !crc32c::crc32c(&superblock[..0x3fc]);
        superblock[0x3fc..].copy_from_slice(&sum.to_le_bytes());
        file.write_all_at(&superblock, 1024).unwrap();
        let checks = look(&path).checks;
        let is_told = |check: &Check| {
            check.outcome == Outcome::Failed
                && check.detail.as_ref().is_some_and(|why| why.contains(told))
        };
        assert!(checks.iter().any(is_told), "{told}: {checks:?}");
    }
}

fn partition() {
    let place = Place::new();
    let inner = make(&place, &["-t", "ext4"]);
    let file = place.create("whole.img");
    let root = MbrPartition::new(MIB, 32 * MIB);
    let disk = RawDisk::create(&file, 40 * MIB).unwrap();
    Mbr::new(7).with_partition(root).write(&disk).unwrap();
    let source = std::fs::File::open(inner).unwrap();
    flock_core::rootfs::disk::DiskWriter::copy_at(&disk, &source, 0, 32 * MIB, MIB).unwrap();
    let inspection = look(&place.path("whole.img"));
    assert!(inspection.is_sound(), "{:?}", inspection.checks);
    let table = inspection.partition_table.unwrap();
    let found: Option<&FileSystem> = table.partitions[0].file_system.as_ref();
    assert_eq!(found.unwrap().uuid.as_deref(), Some(UUID));
}

fn damage() {
    let place = Place::new();
    let path = make(&place, &["-t", "ext4", "-O", "metadata_csum"]);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"other", 1024 + 0x78).unwrap();
    let inspection = look(&path);
    assert!(!inspection.is_sound());
    let path = make(&place, &["-t", "ext2"]);
    std::fs::File::options().write(true).open(&path).unwrap().set_len(20 * MIB).unwrap();
    assert!(!look(&path).is_sound());
}

//! What flock says of the file systems that others make.

use std::path::Path;

use flock_core::Context;
use flock_core::conformance::Suite;
use flock_core::rootfs::disk::partition_table::{Mbr, MbrPartition};
use flock_core::rootfs::disk::{FileSystem, Inspection, RawDisk, inspect};

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

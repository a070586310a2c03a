//! What sfdisk and sgdisk say of flock's partition tables, and flock of
//! theirs.

use std::path::Path;

use flock_core::Context;
use flock_core::conformance::Suite;
use flock_core::rootfs::disk::partition_table::{
    Gpt, GptPartition, Mbr, MbrPartition, PartitionTable, PartitionType,
};
use flock_core::rootfs::disk::{DiskId, RawDisk, inspect};

use super::{MIB, Place, open, program, run};

const SIZE: u64 = 64 * MIB;
const GUID: &str = "6fa459ea-ee8a-4ca4-894e-db77e160355e";

pub(crate) fn suite() -> Suite {
    Suite::new("fdisk")
        .with_service(program("fdisk", "sfdisk"))
        .with_service(program("fdisk", "sgdisk"))
        .test("they_accept_an_mbr", || async {
            mbr();
            Ok(())
        })
        .test("they_accept_a_gpt", || async {
            gpt();
            Ok(())
        })
        .test("flock_reads_what_they_write", || async {
            foreign();
            Ok(())
        })
}

fn mbr() {
    let place = Place::new();
    let file = place.create("disk.img");
    Mbr::new(0x1234_abcd)
        .with_partition(MbrPartition::new(MIB, 30 * MIB).with_active(true))
        .with_partition(MbrPartition::new(32 * MIB, 32 * MIB).with_kind(0x82))
        .write(&RawDisk::create(&file, SIZE).unwrap())
        .unwrap();
    let path = place.path("disk.img");
    let said = run("sfdisk", &["-V", &path]);
    assert!(said.contains("No errors detected"), "{said}");
    let table = json(&path);
    assert_eq!((&table["label"], &table["id"]), (&"dos".into(), &"0x1234abcd".into()));
    let first = &table["partitions"][0];
    assert_eq!((&first["start"], &first["size"]), (&2048.into(), &(30 * 2048).into()));
    assert_eq!((&first["type"], &first["bootable"]), (&"83".into(), &true.into()));
    assert_eq!(table["partitions"][1]["type"], "82");
}

fn gpt() {
    let place = Place::new();
    let file = place.create("disk.img");
    let end = SIZE - MIB;
    let one = GptPartition::new(MIB, MIB, PartitionType::BiosBoot, DiskId::derive("1", &[]));
    let two =
        GptPartition::new(2 * MIB, end - 2 * MIB, PartitionType::Linux, GUID.parse().unwrap());
    Gpt::new(GUID.parse().unwrap())
        .with_partition(one)
        .with_partition(two.with_name("root é"))
        .write(&RawDisk::create(&file, SIZE).unwrap())
        .unwrap();
    let path = place.path("disk.img");
    let said = run("sgdisk", &["-v", &path]);
    assert!(said.contains("No problems found"), "{said}");
    let said = run("sfdisk", &["-V", &path]);
    assert!(said.contains("No errors detected"), "{said}");
    let table = json(&path);
    assert_eq!((&table["label"], &table["id"]), (&"gpt".into(), &GUID.to_uppercase().into()));
    assert_eq!((&table["firstlba"], &table["lastlba"]), (&34.into(), &(SIZE / 512 - 34).into()));
    let two = &table["partitions"][1];
    assert_eq!((&two["name"], &two["uuid"]), (&"root é".into(), &GUID.to_uppercase().into()));
    assert_eq!(two["type"], "0FC63DAF-8483-4772-8E79-3D69D8477DE4");
    let kind = &table["partitions"][0]["type"];
    assert_eq!(kind, "21686148-6449-6E6F-744E-656564454649");
}

fn json(path: &str) -> serde_json::Value {
    let table: serde_json::Value = serde_json::from_str(&run("sfdisk", &["-J", path])).unwrap();
    table["partitiontable"].clone()
}

fn foreign() {
    let place = Place::new();
    let path = place.path("disk.img");
    place.create("disk.img").set_len(SIZE).unwrap();
    run("sgdisk", &["-n", "2:1M:+8M", "-t", "2:ef00", "-c", "2:ESP", "-n", "5:0:0", &path]);
    let table = PartitionTable::read(&open(&path), &mut Vec::new()).unwrap();
    let Some(PartitionTable::Gpt(gpt)) = table else { panic!("{table:?}") };
    assert_eq!(gpt.partitions.len(), 5);
    let two = &gpt.partitions[1];
    assert_eq!((two.start, two.size, two.kind), (MIB, 8 * MIB, PartitionType::EfiSystem));
    let inspection = inspect(Path::new(&path), &Context::new()).unwrap();
    assert!(inspection.is_sound(), "{:?}", inspection.checks);
    let table = inspection.partition_table.unwrap();
    let numbers: Vec<_> = table.partitions.iter().map(|one| one.number).collect();
    assert_eq!(numbers, [2, 5]);
    assert_eq!(table.partitions[0].name.as_deref(), Some("ESP"));
    assert_eq!(inspection.boot, ["EFI system partition"]);
}

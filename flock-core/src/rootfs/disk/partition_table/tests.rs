use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::{ALIGNMENT, Gpt, GptPartition, Mbr, MbrPartition, PartitionTable, PartitionType};
use crate::rootfs::disk::{Check, DiskId, DiskImage, Outcome, RawDisk};
use crate::{Context, ErrorKind};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 64 * MIB;

fn id(name: &str) -> DiskId {
    DiskId::derive(name, &[])
}

fn image(file: &File) -> DiskImage {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    DiskImage::from_bytes("disk.img", bytes, &Context::new()).unwrap()
}

fn read(file: &File) -> (Option<PartitionTable>, Vec<Check>) {
    let mut checks = Vec::new();
    let table = PartitionTable::read(&image(file), &mut checks).unwrap();
    (table, checks)
}

fn failed(checks: &[Check]) -> Vec<&'static str> {
    let failed = checks.iter().filter(|check| check.outcome == Outcome::Failed);
    failed.map(|check| check.name).collect()
}

fn mbr() -> Mbr {
    Mbr::new(0xcafe_f00d)
        .with_partition(MbrPartition::new(MIB, 8 * MIB).with_active(true))
        .with_partition(MbrPartition::new(9 * MIB, 55 * MIB).with_kind(0x82))
        .with_boot_code(*b"some code")
}

fn gpt() -> Gpt {
    let end = (SIZE - Gpt::BACKUP) / MIB * MIB;
    Gpt::new(id("disk"))
        .with_partition(GptPartition::new(MIB, MIB, PartitionType::BiosBoot, id("1")))
        .with_partition(
            GptPartition::new(2 * MIB, end - 2 * MIB, PartitionType::Linux, id("2"))
                .with_name("root \u{e9}\u{1f427}"),
        )
        .with_boot_code(*b"some code")
}

#[test]
fn an_mbr_reads_as_it_was_written() {
    let file = tempfile::tempfile().unwrap();
    mbr().write(&RawDisk::create(&file, SIZE).unwrap()).unwrap();
    let (table, checks) = read(&file);
    assert_eq!(table, Some(PartitionTable::Mbr(mbr())));
    assert_eq!(failed(&checks), [""; 0]);
}

#[test]
fn a_gpt_reads_as_it_was_written() {
    let file = tempfile::tempfile().unwrap();
    gpt().write(&RawDisk::create(&file, SIZE).unwrap()).unwrap();
    let (table, checks) = read(&file);
    assert_eq!(table, Some(PartitionTable::Gpt(gpt())));
    assert_eq!(checks.len(), 3);
    assert_eq!(failed(&checks), [""; 0]);
}

#[test]
fn the_backup_serves_where_the_first_is_damaged() {
    let file = tempfile::tempfile().unwrap();
    gpt().write(&RawDisk::create(&file, SIZE).unwrap()).unwrap();
    file.write_all_at(b"X", 1024 + 60).unwrap();
    let (table, checks) = read(&file);
    assert_eq!(table, Some(PartitionTable::Gpt(gpt())));
    assert_eq!(failed(&checks), ["GPT"]);
    file.write_all_at(b"X", SIZE - 512).unwrap();
    let (table, checks) = read(&file);
    assert!(matches!(table, Some(PartitionTable::Mbr(_))));
    assert_eq!(failed(&checks), ["GPT", "GPT backup"]);
}

#[test]
fn a_disk_that_grew_is_told() {
    let file = tempfile::tempfile().unwrap();
    gpt().write(&RawDisk::create(&file, SIZE).unwrap()).unwrap();
    file.set_len(SIZE + MIB).unwrap();
    let (table, checks) = read(&file);
    assert_eq!(table, Some(PartitionTable::Gpt(gpt())));
    assert_eq!(failed(&checks), ["GPT backup"]);
}

#[test]
fn partitions_out_of_place_are_refused_and_told() {
    let file = tempfile::tempfile().unwrap();
    let disk = RawDisk::create(&file, SIZE).unwrap();
    let one = MbrPartition::new(MIB, 2 * MIB);
    for (wrong, place) in [
        (MbrPartition::new(0, MIB), "overlaps"),
        (MbrPartition::new(2 * MIB, MIB), "overlaps"),
        (MbrPartition::new(SIZE - MIB, 2 * MIB), "not within"),
        (MbrPartition::new(8 * MIB, u64::MAX), "not within"),
        (MbrPartition::new(8 * MIB + 512, MIB), "begins"),
        (MbrPartition::new(8 * MIB, 100), "whole sectors"),
    ] {
        let error = Mbr::new(1).with_partition(one).with_partition(wrong).write(&disk).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(place), "{error}");
    }
    let five = (0..5)
        .fold(Mbr::new(1), |mbr, n| mbr.with_partition(MbrPartition::new((1 + n) * MIB, MIB)));
    assert_eq!(five.write(&disk).unwrap_err().kind(), ErrorKind::InvalidConfig);
    let long = Mbr::new(1).with_boot_code([1; 441]);
    assert_eq!(long.write(&disk).unwrap_err().kind(), ErrorKind::InvalidConfig);
    // Written for a larger disk, they are told when they are read.
    let large = tempfile::tempfile().unwrap();
    let beyond = MbrPartition::new(SIZE - MIB, 2 * MIB);
    let both = Mbr::new(1).with_partition(one).with_partition(beyond);
    both.write(&RawDisk::create(&large, 2 * SIZE).unwrap()).unwrap();
    large.set_len(SIZE).unwrap();
    assert_eq!(failed(&read(&large).1), ["partition table"]);
}

#[test]
fn a_gpt_keeps_its_backup_free() {
    let file = tempfile::tempfile().unwrap();
    let disk = RawDisk::create(&file, SIZE).unwrap();
    let whole = GptPartition::new(ALIGNMENT, SIZE - ALIGNMENT, PartitionType::Linux, id("1"));
    let error = Gpt::new(id("disk")).with_partition(whole).write(&disk).unwrap_err();
    assert!(error.to_string().contains("not within"), "{error}");
    let long = GptPartition::new(MIB, MIB, PartitionType::Linux, id("1")).with_name("x".repeat(37));
    assert!(Gpt::new(id("disk")).with_partition(long).write(&disk).is_err());
    let small = tempfile::tempfile().unwrap();
    let small = RawDisk::create(&small, MIB).unwrap();
    assert!(Gpt::new(id("disk")).write(&small).is_err());
}

#[test]
fn what_is_no_table_is_none() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(MIB).unwrap();
    assert_eq!(read(&file).0, None);
    file.write_all_at(&[0xeb, 0x3c, 0x90], 0).unwrap();
    file.write_all_at(&[0xf8], 0x15).unwrap();
    file.write_all_at(&[0x55, 0xaa], 510).unwrap();
    assert_eq!(read(&file).0, None);
}

/// Garbage in the place of numbers must end in a check, not in a panic.
#[test]
fn hostile_headers_are_told() {
    for (at, field) in [
        (72, u64::MAX.to_le_bytes().to_vec()),
        (80, u32::MAX.to_le_bytes().to_vec()),
        (84, 0u32.to_le_bytes().to_vec()),
        (12, u32::MAX.to_le_bytes().to_vec()),
        (12, 0u32.to_le_bytes().to_vec()),
        (24, 7u64.to_le_bytes().to_vec()),
    ] {
        let file = tempfile::tempfile().unwrap();
        gpt().write(&RawDisk::create(&file, SIZE).unwrap()).unwrap();
        let mut header = [0; 512];
        file.read_exact_at(&mut header, 512).unwrap();
        header[at..at + field.len()].copy_from_slice(&field);
        header[16..20].fill(0);
        let sum = libdeflater::crc32(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        file.write_all_at(&header, 512).unwrap();
        let (table, checks) = read(&file);
        assert_eq!(failed(&checks), ["GPT"]);
        assert_eq!(table, Some(PartitionTable::Gpt(gpt())));
    }
}

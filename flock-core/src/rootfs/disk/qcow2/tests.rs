use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use super::{CLUSTER, CLUSTER_LENGTH, COMPRESSED, COPIED, OFFSET, Qcow2};
use crate::rootfs::disk::bytes::{be64, put};
use crate::rootfs::disk::{DiskFormat, DiskImage, DiskReader, DiskWriter, Outcome};
use crate::{Context, ErrorKind, Result};

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// A disk of 1 GiB with two clusters, so that there are two L2 tables.
fn example() -> Vec<u8> {
    let file = tempfile::tempfile().unwrap();
    let far = 600 << 20;
    let disk = Qcow2::create(&file, 1 << 30, &[512..1024, far..far + 1]).unwrap();
    disk.write_at(b"far", far).unwrap();
    disk.write_at(b"near", 600).unwrap();
    let length = disk.finish().unwrap();
    let bytes = bytes_of(&file);
    assert_eq!(bytes.len() as u64, length);
    // Header, two of data, two L2 tables, L1 table, refcount block and table.
    assert_eq!(length, 8 * CLUSTER);
    bytes
}

fn open(bytes: Vec<u8>) -> Result<DiskImage> {
    DiskImage::from_bytes("disk.qcow2", bytes, &Context::new())
}

fn read(disk: &impl DiskReader, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xaa; length];
    disk.read_at(&mut bytes, offset).unwrap();
    bytes
}

fn outcome(image: &DiskImage, name: &str) -> Outcome {
    image.checks().iter().find(|check| check.name == name).unwrap().outcome
}

fn at(bytes: &[u8], place: usize) -> usize {
    usize::try_from(be64(bytes, place) & OFFSET).unwrap()
}

/// Where the L1 table, the first L2 table and the first refcount block are.
fn places(bytes: &[u8]) -> (usize, usize, usize) {
    let l1 = at(bytes, 40);
    (l1, at(bytes, l1), at(bytes, at(bytes, 48)))
}

#[test]
fn it_reads_as_it_was_written() {
    let image = open(example()).unwrap();
    image.verify().unwrap();
    assert!(image.checks().iter().all(|check| check.outcome == Outcome::Passed));
    assert_eq!((image.format(), image.size()), (DiskFormat::Qcow2, 1 << 30));
    assert_eq!(image.blocks(), Some((CLUSTER, 16384, 2)));
    assert_eq!(read(&image, 599, 6), b"\0near\0");
    assert_eq!(read(&image, (600 << 20) - 1, 5), b"\0far\0");
    assert_eq!(read(&image, 100 << 20, 3), [0; 3]);
    assert_eq!(image.next_data(0).unwrap(), Some(0..CLUSTER));
    assert_eq!(image.next_data(CLUSTER).unwrap(), Some(600 << 20..(600 << 20) + CLUSTER));
    assert_eq!(image.next_data(700 << 20).unwrap(), None);
}

#[test]
fn the_order_of_writes_does_not_matter() {
    let write = |reverse: bool| {
        let file = tempfile::tempfile().unwrap();
        let ranges = [0..3 * CLUSTER, 5 * CLUSTER..6 * CLUSTER];
        let disk = Qcow2::create(&file, 8 * CLUSTER, &ranges).unwrap();
        let mut writes = vec![(0, 1), (2 * CLUSTER, 2), (5 * CLUSTER, 3)];
        if reverse {
            writes.reverse();
        }
        for (offset, value) in writes {
            disk.write_at(&[value; 5000], offset).unwrap();
        }
        disk.finish().unwrap();
        bytes_of(&file)
    };
    assert_eq!(write(false), write(true));
}

#[test]
fn an_empty_disk_is_empty() {
    let file = tempfile::tempfile().unwrap();
    Qcow2::create_on_demand(&file, 512).unwrap().finish().unwrap();
    let image = open(bytes_of(&file)).unwrap();
    image.verify().unwrap();
    assert_eq!(image.next_data(0).unwrap(), None);
    for size in [0, 513, u64::MAX] {
        assert!(Qcow2::create(&file, size, &[]).is_err());
    }
}

#[test]
fn damage_is_found_and_named() {
    let good = example();
    let (l1, l2, _) = places(&good);
    let with = |place: usize, field: &[u8]| {
        let mut bytes = good.clone();
        put(&mut bytes, place, field);
        bytes
    };
    let far = good.len() as u64 + CLUSTER;
    for (bytes, word) in [
        (with(20, &8u32.to_be_bytes()), "2^8"),
        (with(20, &22u32.to_be_bytes()), "2^22"),
        (with(96, &7u32.to_be_bytes()), "2^7"),
        (with(100, &103u32.to_be_bytes()), "header of 103"),
        (with(36, &1u32.to_be_bytes()), "L1 table of 1 entries, not 2"),
        (with(40, &far.to_be_bytes()), "L1 table"),
        (with(40, &u64::MAX.to_be_bytes()), "L1 table"),
        (with(40, &512u64.to_be_bytes()), "L1 table"),
        (with(l1, &(far | COPIED).to_be_bytes()), "L2 table"),
        (with(l1, &(512 | COPIED).to_be_bytes()), "not at a cluster's begin"),
        (with(l1, &COPIED.to_be_bytes()[..7]), "L2 table"),
        (with(l1, &((l1 as u64) | COPIED).to_be_bytes()), "overlaps"),
        (with(l2 + 8, &be64(&good, l2).to_be_bytes()), "data cluster at 65536 overlaps"),
        (with(l2, &far.to_be_bytes()), "data cluster"),
        (with(l2, &(far | COMPRESSED).to_be_bytes()), "compressed data"),
        (with(l2, &(1 | COMPRESSED).to_be_bytes()), "overlaps"),
        (good[..3 * CLUSTER_LENGTH].to_vec(), "L1 table"),
    ] {
        match open(bytes) {
            Ok(_) if word == "L2 table" => {}
            Ok(_) => panic!("{word} was not found"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
                assert!(error.to_string().contains(word), "{word}: {error}");
            }
        }
    }
}

#[test]
fn refcounts_are_compared() {
    let good = example();
    let (_, _, refcounts) = places(&good);
    let mut missing = good.clone();
    put(&mut missing, refcounts + 2, &[0, 0]);
    assert_eq!(outcome(&open(missing).unwrap(), "refcounts"), Outcome::Failed);
    let mut leaked = good.clone();
    leaked.extend(vec![0; CLUSTER_LENGTH]);
    put(&mut leaked, refcounts + 2 * 8, &[0, 1]);
    assert_eq!(outcome(&open(leaked).unwrap(), "refcounts"), Outcome::Warning);
    let mut corrupt = good;
    corrupt[79] |= 2;
    assert_eq!(outcome(&open(corrupt).unwrap(), "state"), Outcome::Failed);
}

#[test]
fn what_is_not_supported_is_refused() {
    let good = example();
    for (place, field) in [
        (4, &4u32.to_be_bytes()[..]),
        (8, &4096u64.to_be_bytes()),
        (32, &1u32.to_be_bytes()),
        (72, &4u64.to_be_bytes()),
        (72, &16u64.to_be_bytes()),
        (72, &(1u64 << 40).to_be_bytes()),
        (36, &u32::MAX.to_be_bytes()),
    ] {
        let mut bytes = good.clone();
        put(&mut bytes, place, field);
        let error = open(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}

#[test]
fn zero_clusters_read_as_zeros() {
    let mut bytes = example();
    let (_, l2, _) = places(&bytes);
    let entry = be64(&bytes, l2) | 1;
    put(&mut bytes, l2, &entry.to_be_bytes());
    let image = open(bytes).unwrap();
    image.verify().unwrap();
    assert_eq!(read(&image, 600, 4), [0; 4]);
    assert_eq!(image.next_data(0).unwrap().unwrap().start, 600 << 20);
}

/// The example with its first cluster compressed in place.
fn compressed(packed: &[u8]) -> Vec<u8> {
    let mut bytes = example();
    let (_, l2, _) = places(&bytes);
    let sectors = packed.len().div_ceil(512) as u64 - 1;
    put(&mut bytes, l2, &(COMPRESSED | sectors << 54 | CLUSTER).to_be_bytes());
    bytes[CLUSTER_LENGTH..2 * CLUSTER_LENGTH].fill(0);
    put(&mut bytes, CLUSTER_LENGTH, packed);
    bytes
}

#[test]
fn compressed_clusters_are_decompressed() {
    let content = b"deflated".repeat(CLUSTER_LENGTH / 8);
    let level = flate2::Compression::default();
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
    encoder.write_all(&content).unwrap();
    let bytes = compressed(&encoder.finish().unwrap());
    let image = open(bytes.clone()).unwrap();
    image.verify().unwrap();
    assert_eq!(read(&image, 1003, 13), content[1003..1016]);

    let mut bytes = bytes;
    bytes[CLUSTER_LENGTH..][..64].fill(0xff);
    let error = open(bytes).unwrap().read_at(&mut [0; 4], 0).unwrap_err();
    let error = crate::Error::io("read", std::path::Path::new("x"), error);
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("65536"), "{error}");
}

#[test]
fn clusters_compressed_by_zstandard_are_decompressed() {
    let content = b"standard".repeat(CLUSTER_LENGTH / 8);
    let mut bytes = compressed(&zstd::bulk::compress(&content, 3).unwrap());
    bytes[79] |= 8;
    bytes[104] = 1;
    put(&mut bytes, 100, &112u32.to_be_bytes());
    let image = open(bytes).unwrap();
    image.verify().unwrap();
    assert_eq!(read(&image, 1003, 13), content[1003..1016]);
}

#[test]
fn a_disk_as_large_as_can_be_takes_what_is_written() {
    const SIZE: u64 = 60 << 40;
    let path = tempfile::NamedTempFile::new().unwrap();
    let disk = Qcow2::create_on_demand(path.as_file(), SIZE).unwrap();
    let places = [SIZE - 512, 0, 30 << 40, CLUSTER];
    for offset in places {
        disk.write_at(&[7; 512], offset).unwrap();
    }
    let length = disk.finish().unwrap();
    // Header, data, L2 tables, L1 table, refcounts.
    assert_eq!(length, (1 + 4 + 3 + 15 + 2) * CLUSTER);
    let image = DiskImage::open(path.path(), &Context::new()).unwrap();
    image.verify().unwrap();
    for offset in places {
        let mut bytes = [0; 512];
        image.read_at(&mut bytes, offset).unwrap();
        assert_eq!(bytes, [7; 512]);
    }
    assert_eq!(image.next_data(1 << 40).unwrap(), Some(30 << 40..(30 << 40) + CLUSTER));
}

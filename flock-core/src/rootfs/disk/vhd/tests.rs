use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::slice::from_ref;

use super::footer::{FOOTER, checksum};
use super::{BLOCK, DynamicVhd, FixedVhd, MAX_SIZE, round_up};
use crate::rootfs::disk::bytes::{be32, be64, put};
use crate::rootfs::disk::{DiskFormat, DiskId, DiskImage, DiskReader, DiskWriter, Outcome};
use crate::{Context, Error, ErrorKind, Result};

const ID: DiskId = DiskId::from_bytes(*b"an identifier 16");
/// Half of 2026.
const CREATED: i64 = 1_782_000_000;
const TABLE: usize = 1536;

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// A disk of five blocks, of which the second and the last are stored.
fn example() -> Vec<u8> {
    let file = tempfile::tempfile().unwrap();
    let ranges = [BLOCK + 100..BLOCK + 107, 5 * BLOCK - 4..5 * BLOCK];
    let disk = DynamicVhd::create(&file, 5 * BLOCK, &ranges).unwrap();
    disk.write_at(b"tail", 5 * BLOCK - 4).unwrap();
    disk.write_at(b"content", BLOCK + 100).unwrap();
    let length = disk.finish(ID, CREATED).unwrap();
    let bytes = bytes_of(&file);
    assert_eq!(bytes.len() as u64, length);
    bytes
}

fn open(bytes: Vec<u8>) -> Result<DiskImage> {
    DiskImage::from_bytes("disk.vhd", bytes, &Context::new())
}

fn read(disk: &impl DiskReader, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xaa; length];
    disk.read_at(&mut bytes, offset).unwrap();
    bytes
}

/// Sets the checksum right after a change.
fn sign(bytes: &mut [u8], start: usize, length: usize, at: usize) {
    let sum = checksum(&bytes[start..start + length], at);
    put(bytes, start + at, &sum.to_be_bytes());
}

/// The place in the file of the block that the table has at `index`.
fn place(bytes: &[u8], index: usize) -> usize {
    be32(bytes, TABLE + 4 * index) as usize * 512
}

fn failed(image: &DiskImage) -> Vec<&'static str> {
    let failed = image.checks().iter().filter(|check| check.outcome == Outcome::Failed);
    failed.map(|check| check.name).collect()
}

#[test]
fn only_what_was_announced_is_stored() {
    let bytes = example();
    let footer = &bytes[bytes.len() - FOOTER..];
    assert_eq!(footer, &bytes[..FOOTER]);
    assert_eq!(be64(footer, 48), 5 * BLOCK);
    assert_eq!(be32(footer, 24), 835_315_200);
    assert_eq!(&footer[68..84], ID.as_bytes());
    for index in [0, 2, 3] {
        assert_eq!(be32(&bytes, TABLE + 4 * index), u32::MAX);
    }
    for (index, within, content) in [(1, 100, &b"content"[..]), (4, (2 << 20) - 4, &b"tail"[..])] {
        let data = place(&bytes, index) + 512;
        assert_eq!(data % 4096, 0);
        assert!(bytes[data - 512..data].iter().all(|byte| *byte == 0xff));
        assert!(bytes[data + within..].starts_with(content));
    }
    assert!(place(&bytes, 1) < place(&bytes, 4));
}

#[test]
fn it_reads_as_it_was_written() {
    let image = open(example()).unwrap();
    image.verify().unwrap();
    assert_eq!(image.format(), DiskFormat::VhdDynamic);
    assert_eq!(image.id(), Some(ID));
    assert_eq!(image.size(), 5 * BLOCK);
    assert_eq!(read(&image, BLOCK + 99, 9), b"\0content\0");
    assert_eq!(read(&image, BLOCK - 2, 4), [0; 4]);
    assert_eq!(read(&image, 5 * BLOCK - 5, 5), b"\0tail");
    assert_eq!(image.next_data(0).unwrap(), Some(BLOCK..2 * BLOCK));
    assert_eq!(image.next_data(BLOCK + 7).unwrap(), Some(BLOCK + 7..2 * BLOCK));
    assert_eq!(image.next_data(2 * BLOCK).unwrap(), Some(4 * BLOCK..5 * BLOCK));
    assert_eq!(image.next_data(5 * BLOCK).unwrap(), None);
    let error = image.read_at(&mut [0; 2], 5 * BLOCK - 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn what_was_not_announced_is_refused() {
    let file = tempfile::tempfile().unwrap();
    let disk = DynamicVhd::create(&file, 4 * BLOCK, from_ref(&(0..1))).unwrap();
    disk.write_at(b"shares the block", 4096).unwrap();
    let error = disk.write_at(b"elsewhere", 3 * BLOCK).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(disk.write_at(b"x", 4 * BLOCK).is_err());
    for ranges in [&[5..9, 0..1][..], from_ref(&(0..5 * BLOCK))] {
        assert!(DynamicVhd::create(&file, 4 * BLOCK, ranges).is_err());
    }
}

#[test]
fn on_demand_blocks_come_in_the_order_of_writes() {
    let file = tempfile::tempfile().unwrap();
    let disk = DynamicVhd::create_on_demand(&file, 4 * BLOCK).unwrap();
    disk.write_at(&[7; 4096], 3 * BLOCK - 2048).unwrap();
    disk.write_at(b"first", 0).unwrap();
    disk.finish(ID, 0).unwrap();
    let bytes = bytes_of(&file);
    assert!(place(&bytes, 2) < place(&bytes, 3) && place(&bytes, 3) < place(&bytes, 0));
    let image = open(bytes).unwrap();
    image.verify().unwrap();
    assert_eq!(read(&image, 3 * BLOCK - 2048, 4096), [7; 4096]);
    assert_eq!(read(&image, 0, 6), b"first\0");
}

#[test]
fn an_empty_disk_has_headers_alone() {
    let file = tempfile::tempfile().unwrap();
    let disk = DynamicVhd::create(&file, BLOCK, &[]).unwrap();
    assert_eq!(disk.finish(ID, 0).unwrap(), 512 + 1024 + 512 + 512);
    let image = open(bytes_of(&file)).unwrap();
    image.verify().unwrap();
    assert_eq!(image.next_data(0).unwrap(), None);
}

#[test]
fn a_fixed_disk_is_the_disk_and_a_footer() {
    let file = tempfile::tempfile().unwrap();
    let disk = FixedVhd::create(&file, BLOCK).unwrap();
    disk.write_at(b"content", 512).unwrap();
    assert_eq!(disk.finish(ID, CREATED).unwrap(), BLOCK + 512);
    let bytes = bytes_of(&file);
    assert_eq!(&bytes[512..519], b"content");
    let image = open(bytes).unwrap();
    image.verify().unwrap();
    assert_eq!((image.format(), image.size()), (DiskFormat::VhdFixed, BLOCK));
    assert_eq!(read(&image, 512, 7), b"content");
}

#[test]
fn sizes_that_no_vhd_has_are_refused() {
    let file = tempfile::tempfile().unwrap();
    for size in [0, 512, BLOCK + 512, MAX_SIZE + BLOCK] {
        let error = DynamicVhd::create(&file, size, &[]).unwrap_err();
        let error = Error::io("create", std::path::Path::new("x"), error);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(error.hints().count(), 1);
        assert!(FixedVhd::create(&file, size).is_err());
    }
    assert_eq!(round_up(0), BLOCK);
    assert_eq!(round_up(BLOCK + 1), 2 * BLOCK);
}

#[test]
fn one_good_footer_is_enough_to_read() {
    let good = example();
    let end = good.len() - FOOTER;
    for at in [100, end + 100] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        let image = open(bytes).unwrap();
        assert_eq!(failed(&image), [if at < end { "footer copy" } else { "footer" }]);
        assert_eq!(image.verify().unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(read(&image, BLOCK + 100, 7), b"content");
    }
    let mut bytes = good;
    bytes[100] ^= 1;
    bytes[end + 100] ^= 1;
    let error = open(bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
fn the_footers_must_agree() {
    let mut bytes = example();
    put(&mut bytes, 24, &1u32.to_be_bytes());
    sign(&mut bytes, 0, FOOTER, 64);
    assert_eq!(failed(&open(bytes).unwrap()), ["footer copy"]);
}

/// Changes a field of both footers.
fn with_footer(at: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = example();
    for start in [0, bytes.len() - FOOTER] {
        put(&mut bytes, start + at, field);
        sign(&mut bytes, start, FOOTER, 64);
    }
    bytes
}

/// Changes a field of the header.
fn with_header(at: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = example();
    put(&mut bytes, 512 + at, field);
    sign(&mut bytes, 512, 1024, 36);
    bytes
}

fn with_entry(index: usize, sector: u32) -> Vec<u8> {
    let mut bytes = example();
    put(&mut bytes, TABLE + 4 * index, &sector.to_be_bytes());
    bytes
}

#[test]
fn damage_is_found_and_named() {
    let good = example();
    let stored = be32(&good, TABLE + 4);
    let mut broken_header = good.clone();
    broken_header[600] ^= 1;
    for (bytes, word) in [
        (broken_header, "header"),
        (with_footer(16, &u64::MAX.to_be_bytes()), "header"),
        (with_footer(48, &(6 * BLOCK).to_be_bytes()), "6 blocks"),
        (with_header(32, &0u32.to_be_bytes()), "blocks of 0"),
        (with_header(32, &3_000_000u32.to_be_bytes()), "blocks of 3000000"),
        (with_header(28, &u32::MAX.to_be_bytes()), "table"),
        (with_header(16, &(u64::MAX - 3).to_be_bytes()), "table"),
        (with_entry(0, 1_000_000), "block 0 at 512000000 is not within"),
        (with_entry(0, stored), "overlaps another"),
        (with_entry(0, stored + 1), "overlaps another"),
        (with_entry(1, 0), "overlaps a header"),
        (with_entry(1, 3), "overlaps a header"),
        (good[..2 << 20].to_vec(), "not within the file"),
        (good[..600].to_vec(), "header"),
    ] {
        let error = open(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
        assert_eq!(error.context_value("path"), Some("disk.vhd"));
    }
}

#[test]
fn other_kinds_and_versions_are_refused() {
    for bytes in [
        with_footer(60, &4u32.to_be_bytes()),
        with_footer(60, &6u32.to_be_bytes()),
        with_footer(12, &0x0002_0000u32.to_be_bytes()),
    ] {
        assert_eq!(open(bytes).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn a_size_or_geometry_that_does_not_fit_is_told() {
    assert_eq!(failed(&open(with_footer(48, &1000u64.to_be_bytes())).unwrap()), ["size"]);
    let image = open(with_footer(56, &[0, 1, 2, 3])).unwrap();
    let check = image.checks().iter().find(|check| check.name == "geometry").unwrap();
    assert_eq!(check.outcome, Outcome::Warning);
    let mut bytes = example();
    let end = bytes.len() - FOOTER;
    bytes.splice(end..end, vec![0; 1 << 20]);
    let image = open(bytes).unwrap();
    let check = image.checks().iter().find(|check| check.name == "file length").unwrap();
    assert_eq!(check.outcome, Outcome::Warning);
}

#[test]
fn sectors_whose_bit_is_not_set_are_zeros() {
    let mut bytes = example();
    let data = place(&bytes, 1) + 512;
    bytes[data..data + 8192].fill(7);
    // Sectors 0, 9 and 10 only.
    bytes[data - 512] = 0x80;
    bytes[data - 511] = 0x60;
    let image = open(bytes).unwrap();
    for (sector, value) in [(0, 7), (1, 0), (7, 0), (8, 0), (9, 7), (10, 7), (11, 0)] {
        assert_eq!(read(&image, BLOCK + 512 * sector, 512), [value; 512], "{sector}");
    }
    assert_eq!(read(&image, BLOCK + 512 * 9 - 1, 3), [0, 7, 7]);
    assert_eq!(read(&image, BLOCK + 512 * 11 - 1, 2), [7, 0]);
    assert_eq!(read(&image, BLOCK + 512 * 16, 3), [0, 0, 0].map(|_: u8| 0));
}

/// By the kernel where pages lie alike, by reading elsewhere, and from several
/// threads at once.
#[test]
fn copies_cross_blocks_from_several_threads() {
    let source = tempfile::tempfile().unwrap();
    let content: Vec<u8> = (0..3 * BLOCK).map(|at| u8::try_from(at % 251).unwrap()).collect();
    source.write_all_at(&content, 0).unwrap();
    let file = tempfile::tempfile().unwrap();
    let disk = DynamicVhd::create(&file, 16 * BLOCK, from_ref(&(0..12 * BLOCK))).unwrap();
    // Where in the source, how much, and where on the disk.
    let copies = [
        (4096, 2 * BLOCK + 5000, BLOCK / 2),
        (17, 2 * BLOCK + 77, 4 * BLOCK - 1000),
        (0, 3 * BLOCK, 7 * BLOCK),
    ];
    std::thread::scope(|scope| {
        for (from, length, to) in copies {
            let (disk, source) = (&disk, &source);
            scope.spawn(move || disk.copy_at(source, from, length, to).unwrap());
        }
    });
    let error = disk.copy_at(&source, 3 * BLOCK - 4096, 8192, 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(disk.copy_at(&source, 0, BLOCK, 12 * BLOCK).is_err());
    disk.finish(ID, 0).unwrap();
    let image = open(bytes_of(&file)).unwrap();
    image.verify().unwrap();
    for (from, length, to) in copies {
        let (from, length) = (usize::try_from(from).unwrap(), usize::try_from(length).unwrap());
        assert!(read(&image, to, length) == content[from..from + length], "{to}");
        assert_eq!(read(&image, to + length as u64, 3), [0; 3]);
    }
}

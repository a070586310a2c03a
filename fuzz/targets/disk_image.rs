//! A disk image from outside: refused, or everything that it says is there can
//! be read, and nothing else.
#![no_main]

use flock_core::rootfs::disk::partition_table::PartitionTable;
use flock_core::rootfs::disk::{DiskImage, DiskReader, FileSystem};
use flock_core::{Context, ErrorKind};
use libfuzzer_sys::fuzz_target;

/// How many stretches are read, and how much of each.
const STRETCHES: usize = 256;
const PART: u64 = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let bytes = sealed(data.to_vec());
    let image = match DiskImage::from_bytes("image", bytes, &Context::new()) {
        Ok(image) => image,
        Err(error) => {
            let expected = [ErrorKind::InvalidData, ErrorKind::Unsupported];
            assert!(expected.contains(&error.kind()), "{:?}: {error}", error.kind());
            return;
        }
    };
    let mut at = 0;
    for _ in 0..STRETCHES {
        let Ok(Some(range)) = image.next_data(at) else { break };
        assert!(at <= range.start && range.start < range.end && range.end <= image.size());
        let mut part = vec![0; (range.end - range.start).min(PART) as usize];
        // A compressed cluster may be damaged.
        let _ = image.read_at(&mut part, range.start);
        at = range.end;
    }
    let mut checks = Vec::new();
    let _ = PartitionTable::read(&image, &mut checks);
    let _ = FileSystem::read(&image, 0, image.size(), "the disk", &mut checks);
});

/// The image with its checksums right, so that the fuzzer gets past them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len().saturating_sub(512);
    for footer in [0, end] {
        seal_vhd(&mut bytes, footer, 512, 64, b"conectix");
    }
    seal_vhd(&mut bytes, 512, 1024, 36, b"cxsparse");
    for header in [512, end] {
        seal_gpt(&mut bytes, header);
    }
    bytes
}

/// The one's complement of the sum of all bytes but the checksum's own.
fn seal_vhd(bytes: &mut [u8], at: usize, length: usize, checksum: usize, magic: &[u8]) {
    let Some(part) = bytes.get_mut(at..at + length) else { return };
    if part.starts_with(magic) {
        part[checksum..checksum + 4].fill(0);
        let sum: u32 = part.iter().map(|&byte| u32::from(byte)).sum();
        part[checksum..checksum + 4].copy_from_slice(&(!sum).to_be_bytes());
    }
}

/// The CRC-32 of the header, and of the entries where they are small.
fn seal_gpt(bytes: &mut [u8], at: usize) {
    let Some(header) = bytes.get(at..at + 92).filter(|header| header.starts_with(b"EFI PART"))
    else {
        return;
    };
    let number = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
    };
    let start = number(72).saturating_mul(512);
    let length = number(80).saturating_mul(number(84));
    if let Some(entries) = bytes.get(start..start.saturating_add(length)) {
        let sum = crc32(entries);
        bytes[at + 88..at + 92].copy_from_slice(&sum.to_le_bytes());
    }
    bytes[at + 12..at + 20].copy_from_slice(&[92, 0, 0, 0, 0, 0, 0, 0]);
    let sum = crc32(&bytes[at..at + 92]);
    bytes[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
}

/// CRC-32 of ISO 3309, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}

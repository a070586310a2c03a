//! What the targets for tars share.

#![allow(dead_code, reason = "every target uses its part")]

use std::io::Read as _;

use flock_core::Context;
use flock_core::rootfs::{Sink as _, TarSink, Tree};

const BLOCK: usize = 512;
/// Contents beyond this are not read or written: holes cost nothing to claim.
const MOST: u64 = 8 << 20;

/// The archive with every header's checksum right and an end mark, so that the
/// fuzzer gets past both.
pub fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    let mut at = 0;
    while let Some(block) = bytes.get_mut(at..at + BLOCK) {
        if block.iter().any(|&byte| byte != 0) {
            seal(block);
        }
        let digits = block[124..135].iter().filter(|byte| (b'0'..=b'7').contains(byte));
        let size = digits.fold(0_usize, |size, byte| size * 8 + usize::from(byte - b'0'));
        at = at.saturating_add(BLOCK).saturating_add(size.next_multiple_of(BLOCK));
    }
    bytes.extend([0; 2 * BLOCK]);
    bytes
}

/// POSIX.1-2017, pax, "ustar Header Block": the sum of all bytes, those of the
/// field itself counting as spaces.
fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// One member of an archive.
pub fn member(name: &str, kind: u8, contents: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[100..107].copy_from_slice(b"0000644");
    bytes[108..115].copy_from_slice(b"0000000");
    bytes[116..123].copy_from_slice(b"0000000");
    bytes[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
    bytes[136..147].copy_from_slice(b"14524770000");
    bytes[156] = kind;
    bytes[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut bytes);
    bytes.extend_from_slice(contents);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// A small root file system with something in the application's place.
pub fn base() -> Vec<u8> {
    let mut bytes = Vec::new();
    for directory in ["etc/", "var/", "var/www/", "var/www/html/"] {
        bytes.extend(member(directory, b'5', b""));
    }
    bytes.extend(member("etc/passwd", b'0', b"root:x:0:0::/root:/bin/sh\n"));
    bytes.extend(member("var/www/html/index.html", b'0', b"old\n"));
    bytes.extend([0; 2 * BLOCK]);
    bytes
}

/// Reads every entry and its contents.
pub fn read_all(tree: &Tree) {
    let mut entries = 0;
    for entry in tree.entries() {
        let entry = entry.expect("an entry of an accepted archive");
        let content = entry.content();
        let mut end = 0;
        for extent in content.extents() {
            assert!(extent.offset >= end, "extents overlap");
            end = extent.offset + extent.length;
        }
        assert!(end <= content.size(), "an extent is outside of its file");
        let read = std::io::copy(&mut content.reader().take(MOST), &mut std::io::sink());
        assert_eq!(read.expect("the contents are there"), content.size().min(MOST));
        entries += 1;
    }
    assert_eq!(entries, tree.summary().entries);
}

/// The tree as a tar, unless it is large.
pub fn write(tree: &Tree) -> Option<Vec<u8>> {
    if tree.summary().tar_bytes > MOST {
        return None;
    }
    let mut sink = TarSink::new(Vec::new());
    sink.write(tree, &Context::new()).expect("a tree can be written");
    Some(sink.into_inner())
}

//! Numbers in blocks: everything in ext4 but the journal is little-endian.

/// Puts bytes at an offset.
pub(super) fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

pub(super) fn put16(block: &mut [u8], at: usize, value: u16) {
    put(block, at, &value.to_le_bytes());
}

pub(super) fn put32(block: &mut [u8], at: usize, value: u32) {
    put(block, at, &value.to_le_bytes());
}

/// Puts a number whose halves of 16 bits stand apart.
pub(super) fn put_halves(block: &mut [u8], low: usize, high: usize, value: u32) {
    let bytes = value.to_le_bytes();
    put(block, low, &bytes[..2]);
    put(block, high, &bytes[2..]);
}

/// Puts a number whose halves of 32 bits stand apart.
pub(super) fn put_words(block: &mut [u8], low: usize, high: usize, value: u64) {
    let bytes = value.to_le_bytes();
    put(block, low, &bytes[..4]);
    put(block, high, &bytes[4..]);
}

/// A length that is known to fit: lengths within a block of 4 KiB.
pub(super) fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

//! Numbers in structures of a fixed size.

/// The `N` bytes at `at`; zeros beyond the structure's end.
pub(super) fn field<const N: usize>(raw: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    let rest = raw.get(at..).unwrap_or(&[]);
    let length = rest.len().min(N);
    field[..length].copy_from_slice(&rest[..length]);
    field
}

/// Puts bytes to `at`; a structure has room for its own fields.
pub(super) fn put(raw: &mut [u8], at: usize, bytes: &[u8]) {
    raw[at..at + bytes.len()].copy_from_slice(bytes);
}

pub(super) fn be16(raw: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(field(raw, at))
}

pub(super) fn be32(raw: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(field(raw, at))
}

pub(super) fn be64(raw: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(field(raw, at))
}

pub(super) fn le16(raw: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(field(raw, at))
}

pub(super) fn le32(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(raw, at))
}

pub(super) fn le64(raw: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(raw, at))
}

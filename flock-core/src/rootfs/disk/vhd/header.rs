//! The header of a dynamic disk, section "Dynamic Disk Header Format".

use super::footer::{NOWHERE, checksum};
use crate::rootfs::disk::bytes::{be32, be64, field, put};

/// The length of a header.
pub(super) const HEADER: usize = 1024;
/// What a header begins with.
const COOKIE: [u8; 8] = *b"cxsparse";
/// Where the checksum is.
const CHECKSUM: usize = 36;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Where the block allocation table is.
    pub(super) table: u64,
    /// How many entries it has.
    pub(super) entries: u32,
    /// The length of a block in bytes, without its bitmap.
    pub(super) block: u32,
    pub(super) version: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut raw = [0; HEADER];
        put(&mut raw, 0, &COOKIE);
        put(&mut raw, 8, &NOWHERE.to_be_bytes());
        put(&mut raw, 16, &self.table.to_be_bytes());
        put(&mut raw, 24, &self.version.to_be_bytes());
        put(&mut raw, 28, &self.entries.to_be_bytes());
        put(&mut raw, 32, &self.block.to_be_bytes());
        let sum = checksum(&raw, CHECKSUM);
        put(&mut raw, CHECKSUM, &sum.to_be_bytes());
        raw
    }

    /// The header in these bytes, or what is wrong with them.
    pub(super) fn decode(raw: &[u8; HEADER]) -> Result<Self, String> {
        if field(raw, 0) != COOKIE {
            return Err("the cookie 'cxsparse' is missing".to_owned());
        }
        let (stored, computed) = (be32(raw, CHECKSUM), checksum(raw, CHECKSUM));
        if stored != computed {
            return Err(format!("the checksum is {stored:#010x}, not {computed:#010x}"));
        }
        Ok(Self {
            table: be64(raw, 16),
            entries: be32(raw, 28),
            block: be32(raw, 32),
            version: be32(raw, 24),
        })
    }
}

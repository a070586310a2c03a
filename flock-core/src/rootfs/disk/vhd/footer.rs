//! The footer, section "Hard Disk Footer Format".

use super::geometry::Geometry;
use crate::rootfs::disk::DiskId;
use crate::rootfs::disk::bytes::{be16, be32, be64, field, put};

/// The length of a footer, and of a sector.
pub(super) const FOOTER: usize = 512;
/// What a footer begins with.
pub(super) const COOKIE: [u8; 8] = *b"conectix";
/// The offset that says that there is nothing.
pub(super) const NOWHERE: u64 = u64::MAX;
/// Where the checksum is.
const CHECKSUM: usize = 64;
/// Midnight of 1 January 2000 UTC in seconds of Unix time: when the time
/// stamps of VHD begin.
const EPOCH: i64 = 946_684_800;

/// What a disk is, by the footer's "Disk Type".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fixed,
    Dynamic,
    Differencing,
    Other(u32),
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Self::Fixed => 2,
            Self::Dynamic => 3,
            Self::Differencing => 4,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u32) -> Self {
        match code {
            2 => Self::Fixed,
            3 => Self::Dynamic,
            4 => Self::Differencing,
            other => Self::Other(other),
        }
    }
}

/// What a footer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) kind: Kind,
    /// The size of the disk in bytes.
    pub(super) size: u64,
    pub(super) geometry: Geometry,
    /// Where the dynamic header is.
    pub(super) header: u64,
    pub(super) creator: [u8; 4],
    pub(super) version: u32,
    /// Seconds since the begin of the year 2000.
    pub(super) timestamp: u32,
    pub(super) id: DiskId,
}

impl Footer {
    /// The footer of a disk made at `created`, in seconds of Unix time.
    pub(super) fn new(kind: Kind, size: u64, created: i64, id: DiskId) -> Self {
        let header = if kind == Kind::Dynamic { FOOTER as u64 } else { NOWHERE };
        let seconds = created.saturating_sub(EPOCH).max(0);
        Self {
            kind,
            size,
            geometry: Geometry::of(size),
            header,
            // Where it says so, qemu takes the size from its own field, not
            // from the geometry.
            creator: *b"win ",
            version: 0x0001_0000,
            timestamp: u32::try_from(seconds).unwrap_or(u32::MAX),
            id,
        }
    }

    pub(super) fn encode(&self) -> [u8; FOOTER] {
        let mut raw = [0; FOOTER];
        put(&mut raw, 0, &COOKIE);
        // "Reserved", which is always set.
        put(&mut raw, 8, &2u32.to_be_bytes());
        put(&mut raw, 12, &self.version.to_be_bytes());
        put(&mut raw, 16, &self.header.to_be_bytes());
        put(&mut raw, 24, &self.timestamp.to_be_bytes());
        put(&mut raw, 28, &self.creator);
        put(&mut raw, 32, &0x000a_0000u32.to_be_bytes());
        put(&mut raw, 36, b"Wi2k");
        put(&mut raw, 40, &self.size.to_be_bytes());
        put(&mut raw, 48, &self.size.to_be_bytes());
        put(&mut raw, 56, &self.geometry.cylinders.to_be_bytes());
        put(&mut raw, 58, &[self.geometry.heads, self.geometry.sectors]);
        put(&mut raw, 60, &self.kind.code().to_be_bytes());
        put(&mut raw, 68, self.id.as_bytes());
        let sum = checksum(&raw, CHECKSUM);
        put(&mut raw, CHECKSUM, &sum.to_be_bytes());
        raw
    }

    /// The footer in these bytes, or what is wrong with them.
    pub(super) fn decode(raw: &[u8; FOOTER]) -> Result<Self, String> {
        if field(raw, 0) != COOKIE {
            return Err("the cookie 'conectix' is missing".to_owned());
        }
        let (stored, computed) = (be32(raw, CHECKSUM), checksum(raw, CHECKSUM));
        if stored != computed {
            return Err(format!("the checksum is {stored:#010x}, not {computed:#010x}"));
        }
        Ok(Self {
            kind: Kind::from_code(be32(raw, 60)),
            size: be64(raw, 48),
            geometry: Geometry { cylinders: be16(raw, 56), heads: raw[58], sectors: raw[59] },
            header: be64(raw, 16),
            creator: field(raw, 28),
            version: be32(raw, 12),
            timestamp: be32(raw, 24),
            id: DiskId::from_bytes(field(raw, 68)),
        })
    }
}

/// The one's complement of the sum of all bytes but the checksum's own.
pub(super) fn checksum(raw: &[u8], at: usize) -> u32 {
    let own = at..at + 4;
    let counted = raw.iter().enumerate().filter(|(place, _)| !own.contains(place));
    !counted.map(|(_, byte)| u32::from(*byte)).fold(0, u32::wrapping_add)
}

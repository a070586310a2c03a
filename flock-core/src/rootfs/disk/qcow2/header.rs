//! The header, section "Header".

use super::CLUSTER_BITS;
use crate::rootfs::disk::bytes::{be32, be64, put};
use crate::{Error, ErrorKind, Result};

/// What a file begins with.
pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";
/// The length of the header with all fields that may be read here.
pub(super) const HEADER: usize = 112;
/// The length of the header that is written.
const WRITTEN: u32 = 104;

/// What a header says.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    /// The size of the disk in bytes.
    pub(super) size: u64,
    pub(super) l1_entries: u32,
    pub(super) l1_table: u64,
    pub(super) refcount_table: u64,
    pub(super) refcount_clusters: u32,
    pub(super) snapshots: u32,
    pub(super) refcount_order: u32,
    pub(super) is_dirty: bool,
    pub(super) is_corrupt: bool,
    pub(super) is_zstd: bool,
    /// Whether there is a bitmaps extension that counts.
    pub(super) has_bitmaps: bool,
}

impl Header {
    /// The header of an image that flock writes.
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut raw = [0; HEADER];
        put(&mut raw, 0, &MAGIC);
        put(&mut raw, 4, &3u32.to_be_bytes());
        put(&mut raw, 20, &CLUSTER_BITS.to_be_bytes());
        put(&mut raw, 24, &self.size.to_be_bytes());
        put(&mut raw, 36, &self.l1_entries.to_be_bytes());
        put(&mut raw, 40, &self.l1_table.to_be_bytes());
        put(&mut raw, 48, &self.refcount_table.to_be_bytes());
        put(&mut raw, 56, &self.refcount_clusters.to_be_bytes());
        put(&mut raw, 96, &self.refcount_order.to_be_bytes());
        put(&mut raw, 100, &WRITTEN.to_be_bytes());
        // Behind it, eight zeros end the header extensions.
        raw
    }

    /// The header in these bytes.
    pub(super) fn decode(raw: &[u8; HEADER]) -> Result<Self> {
        let version = be32(raw, 4);
        if !raw.starts_with(&MAGIC) || !(2..=3).contains(&version) {
            return Err(unsupported(format!("qcow2 version {version} is not known")));
        }
        let features = if version >= 3 { be64(raw, 72) } else { 0 };
        let length = if version >= 3 { be32(raw, 100) } else { 72 };
        let header = Self {
            version,
            cluster_bits: be32(raw, 20),
            size: be64(raw, 24),
            l1_entries: be32(raw, 36),
            l1_table: be64(raw, 40),
            refcount_table: be64(raw, 48),
            refcount_clusters: be32(raw, 56),
            snapshots: be32(raw, 60),
            refcount_order: if version >= 3 { be32(raw, 96) } else { 4 },
            is_dirty: features & 1 != 0,
            is_corrupt: features & 2 != 0,
            is_zstd: features & 8 != 0,
            has_bitmaps: version >= 3 && be64(raw, 88) & 1 != 0,
        };
        refuse_features(raw, features)?;
        let compression = if length > 104 { raw[104] } else { 0 };
        if header.is_zstd != (compression == 1) {
            return Err(unsupported(format!("compression type {compression} is not known")));
        }
        header.check(length)?;
        Ok(header)
    }

    fn check(&self, length: u32) -> Result<()> {
        let wrong = if !(9..=21).contains(&self.cluster_bits) {
            format!("clusters of 2^{} bytes", self.cluster_bits)
        } else if self.version >= 3 && (length < 104 || !length.is_multiple_of(8)) {
            format!("a header of {length} bytes")
        } else if self.refcount_order > 6 {
            format!("refcounts of 2^{} bits", self.refcount_order)
        } else {
            return Ok(());
        };
        Err(damaged(wrong))
    }

    /// The length of a cluster in bytes.
    pub(super) fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }
}

/// Refuses what changes the meaning of the rest.
fn refuse_features(raw: &[u8; HEADER], features: u64) -> Result<()> {
    if be64(raw, 8) != 0 {
        return Err(unsupported("a qcow2 image with a backing file is only the changes to it")
            .hint("merge them first, for example with `qemu-img convert`"));
    }
    if be32(raw, 32) != 0 {
        return Err(unsupported("the qcow2 image is encrypted"));
    }
    let what = match features & !0b1011 {
        0 => return Ok(()),
        bits if bits & 4 != 0 => "an external data file".to_owned(),
        bits if bits & 16 != 0 => "extended L2 entries".to_owned(),
        bits => format!("incompatible features {bits:#x}, which are not known"),
    };
    Err(unsupported(format!("the qcow2 image has {what}")))
}

pub(super) fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, message).during("qcow2.open")
}

pub(super) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, format!("a damaged qcow2 image: {what}"))
        .during("qcow2.open")
}

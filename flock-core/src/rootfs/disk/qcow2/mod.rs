//! qcow2, QEMU's own format: what KVM clouds take.
//!
//! The format is QEMU's `docs/interop/qcow2.txt`; its section titles are given
//! here. All numbers are big-endian.
//!
//! # Layout
//!
//! The file is cut into clusters of 64 KiB. flock writes version 3:
//!
//! | cluster | what | section |
//! |---|---|---|
//! | 0 | header of 104 bytes, and the end of the header extensions | "Header" |
//! | 1 to *d* | the clusters of the disk that were written | "Cluster mapping" |
//! | then | L2 tables, for each 512 MiB of the disk with anything in it | "Cluster mapping" |
//! | then | the L1 table | "Cluster mapping" |
//! | then | refcount blocks, refcounts of 16 bits | "Host cluster management" |
//! | then | the refcount table | "Host cluster management" |
//!
//! The tables come last because only then it is known how large they are; the
//! format does not mind. A cluster that was never written reads as zeros.
//!
//! # What is read
//!
//! Versions 2 and 3, clusters of 512 bytes to 2 MiB, zero clusters, clusters
//! compressed with deflate or Zstandard ("Compressed Clusters Descriptor"),
//! refcounts of 1 to 64 bits. The tables are checked: each cluster lies within
//! the file and is used once, and its refcount says so. Of an image with
//! internal snapshots the current state is read, and its refcounts are not
//! checked.
//!
//! [`Unsupported`](crate::ErrorKind::Unsupported): backing files, encryption,
//! external data files, extended L2 entries, and every incompatible feature
//! that is not named here.
//!
//! # Limits
//!
//! L1 tables of at most 32 MiB, as QEMU has it: 2 PiB with clusters of 64 KiB.

mod check;
mod header;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(super) use self::read::{Qcow2Reader, is_qcow2, open, stated};
pub use self::write::Qcow2;

/// The length of a cluster that flock writes, in bytes.
pub const CLUSTER: u64 = CLUSTER_LENGTH as u64;
const CLUSTER_LENGTH: usize = 1 << CLUSTER_BITS;
const CLUSTER_BITS: u32 = 16;

/// The bits of a table entry that are an offset in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// The bit that says that a cluster's refcount is one.
const COPIED: u64 = 1 << 63;
/// The bit of a compressed cluster.
const COMPRESSED: u64 = 1 << 62;
/// The bit of a cluster that reads as zeros, whatever its offset.
const ZERO: u64 = 1;

//! Virtual Hard Disks: what XenServer, CloudStack, Hyper-V, Azure, VirtualBox
//! and qemu take.
//!
//! The format is Microsoft's "Virtual Hard Disk Image Format Specification",
//! version 1.0 of 11 October 2006; its section titles are given here. All
//! numbers are big-endian, a sector is 512 bytes.
//!
//! # Layout
//!
//! A **fixed** disk ("Fixed Hard Disk Image") is the disk byte for byte, and
//! behind it the footer. A **dynamic** disk ("Dynamic Hard Disk Image") stores
//! blocks of 2 MiB, and of them only those that were written:
//!
//! | offset | length | what | section |
//! |---|---|---|---|
//! | 0 | 512 | copy of the footer | "Hard Disk Footer Format" |
//! | 512 | 1024 | header | "Dynamic Disk Header Format" |
//! | 1536 | 4 for each block, rounded up to a sector | where each block is, in sectors; `0xffffffff` for those that are not stored | "Block Allocation Table and Data Blocks" |
//! | `p` + *n* · 2,101,248 | 512 | bitmap of the *n*th stored block, a bit for each sector | the same |
//! | 512 further | 2 MiB | its data | the same |
//! | end − 512 | 512 | the footer | "Hard Disk Footer Format" |
//!
//! `p` is the first offset behind the table that is 512 bytes short of a
//! multiple of 4096, and so is every bitmap: data begins at page borders, where
//! the kernel can copy it or share it. XenServer's tools place blocks just so.
//!
//! # What is written
//!
//! - Blocks in the order of the disk, if they were announced
//!   ([`DiskFile::create`](super::DiskFile::create)). The bitmap of a stored
//!   block is all ones, as qemu writes it: within the block what was never
//!   written is a hole of the file, and reads as zeros.
//! - A size that is a whole number of 2 MiB, up to 2040 GiB. XenServer counts
//!   in units of that size. [`round_up`] gives the next one.
//! - A geometry that is exactly that size, up to 31.5 GiB; beyond, the
//!   specification's ("CHS Calculation"). Some readers compute the size from
//!   the geometry: qemu does so unless it knows the creator, which therefore
//!   is `win `, one of those that mean the size they state.
//! - The time stamp that is asked for, or else 1 January 2000, where the time
//!   stamps of the format begin.
//!
//! ```
//! use flock_core::Context;
//! use flock_core::rootfs::disk::vhd::DynamicVhd;
//! use flock_core::rootfs::disk::{DiskId, DiskImage, DiskReader, DiskWriter};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = tempfile::NamedTempFile::new()?;
//! let disk = DynamicVhd::create(file.as_file(), 64 << 20, &[4096..8192])?;
//! disk.write_at(b"in the second page", 4096)?;
//! disk.finish(DiskId::derive("disk", &[b"an example"]), 0)?;
//!
//! let image = DiskImage::open(file.path(), &Context::new())?;
//! let mut bytes = [0; 18];
//! image.read_at(&mut bytes, 4096)?;
//! assert_eq!(&bytes, b"in the second page");
//! # Ok(())
//! # }
//! ```
//!
//! # What is read
//!
//! [`DiskImage::open`](super::DiskImage::open) reads fixed and dynamic disks with blocks of any power of two, sector bitmaps
//! respected. Differencing disks are
//! [`Unsupported`](crate::ErrorKind::Unsupported). Everything is checked
//! before a byte of data is read: both footers, the header, their checksums,
//! that each block lies within the file and apart from all others. What can be
//! read in spite of a mistake is read, and the mistake is told by the
//! [checks](super::DiskImage::checks).
//!
//! # Limits
//!
//! Sectors of 512 bytes; no differencing disks; tables of at most 4,194,304
//! entries (16 MiB). Footers of 511 bytes, which Virtual PC wrote before 2004,
//! are not recognised.

mod footer;
mod geometry;
mod header;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::io;

use crate::{Error, ErrorKind};

pub(super) use self::read::{VhdReader, is_vhd, open, stated};
pub use self::write::{DynamicVhd, FixedVhd};

/// The length of a block of a dynamic disk, of which the size of every disk is
/// a multiple.
pub const BLOCK: u64 = BLOCK_LENGTH as u64;
const BLOCK_LENGTH: u32 = 2 << 20;

/// The largest disk ("Dynamic Hard Disk Image"), in bytes.
pub const MAX_SIZE: u64 = 2040 << 30;

/// The size of the smallest VHD that has room for `size` bytes.
#[must_use]
pub fn round_up(size: u64) -> u64 {
    size.max(1).checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

/// Refuses sizes that no VHD has.
fn check_size(size: u64) -> io::Result<()> {
    let error = if size > MAX_SIZE {
        let message = format!("{size} bytes are too large for a VHD, which has at most {MAX_SIZE}");
        Error::new(ErrorKind::InvalidConfig, message).hint("use qcow2 or a raw disk")
    } else if size == 0 || !size.is_multiple_of(BLOCK) {
        let message = format!("the size of a VHD, {size} bytes, is not a whole number of 2 MiB");
        Error::new(ErrorKind::InvalidConfig, message)
            .hint(format!("{} bytes would be", round_up(size)))
    } else {
        return Ok(());
    };
    Err(error.during("vhd.create").into())
}

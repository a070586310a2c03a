//! Disks: the files that machines see as disks, written and read.
//!
//! # Writing
//!
//! A [`DiskWriter`] takes bytes at offsets of the disk that a machine will
//! see, in any order and from several threads; what was never written reads as
//! zeros. How the disk lies in a file is the writer's own matter: [`RawDisk`]
//! is the disk byte for byte, [`vhd`] and [`qcow2`] have their own pages, and
//! [`DiskFile`] is any of them by its [`DiskFormat`]. [`Partition`] is a part
//! of another disk, where [`partition_table`] has placed it.
//!
//! Who knows beforehand what will be written says so: formats that store
//! blocks then lay them out in the order of the disk, and the file comes out
//! the same whatever thread was first. Nothing is gathered in memory; bytes go
//! to their final place at once, by the kernel alone where they come from
//! another file.
//!
//! # Reading
//!
//! [`DiskImage::open`] recognises and checks an image of any of the formats,
//! and is a [`DiskReader`]. It trusts nothing that it reads: what it allocates
//! is bounded, and offsets are checked before they are followed.
//! [`inspect`](fn@inspect) tells what is in an image, as far as its partition
//! tables and superblocks say; [`convert`](fn@convert) writes it in another
//! format.

mod blocks;
mod bytes;
mod check;
mod convert;
mod copy;
mod file_system;
mod format;
mod head;
mod id;
mod image;
mod inspect;
mod open;
pub mod partition_table;
pub mod qcow2;
mod reader;
mod seek;
mod slots;
#[cfg(test)]
mod tests;
pub mod vhd;
mod writer;

pub use self::check::{Check, Outcome};
pub use self::convert::{Converted, convert};
pub use self::file_system::FileSystem;
pub use self::format::{DiskFile, DiskFormat};
pub use self::id::DiskId;
pub use self::image::DiskImage;
pub use self::inspect::{BlockUse, Inspection, PartitionReport, TableReport, inspect};
pub use self::reader::DiskReader;
pub use self::seek::SeekDisk;
pub use self::writer::{DiskWriter, Partition, RawDisk};

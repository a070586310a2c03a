//! ext4 file systems, written straight from a finished tree.
//!
//! No file system is mounted, nothing is unpacked and no other program runs:
//! [`Ext4Layout::plan`] decides on paper where every block will be, and
//! [`Ext4Layout::write`] writes each of them once, to its final place. Memory
//! grows with the number of files, not with what is in them. The result is
//! what `mke2fs -t ext4` makes: `e2fsck -fn` finds nothing to say, Linux
//! mounts it to read and write, `resize2fs` grows it, mounted or not.
//!
//! ```no_run
//! use std::fs::File;
//! use std::path::Path;
//!
//! use flock_core::rootfs::disk::RawDisk;
//! use flock_core::rootfs::ext4::{Ext4Layout, Ext4Options};
//! use flock_core::rootfs::{SourceIndex, Tree};
//! use flock_core::{Context, Error, Result};
//!
//! fn main() -> Result<()> {
//!     let ctx = Context::new();
//!     let base = Path::new("debian.tar");
//!     let file = File::open(base).map_err(|error| Error::io("open", base, error))?;
//!     let tree = Tree::new(SourceIndex::from_tar(base, file, &ctx)?, &ctx)?;
//!
//!     let options = Ext4Options::default().with_size(8 << 30).with_label("root");
//!     let layout = Ext4Layout::plan(&tree, &options, &ctx)?;
//!     let output = Path::new("root.img");
//!     let failed = |error| Error::io("create", output, error);
//!     let file = File::create(output).map_err(failed)?;
//!     let disk = RawDisk::create(&file, layout.size()).map_err(failed)?;
//!     layout.with_name(output).write(&disk, &ctx)?;
//!     Ok(())
//! }
//! ```
//!
//! [`Ext4Sink`] does the same to any `Write + Seek`.
//!
//! # Layout
//! Blocks have 4 KiB, groups 32,768 of them (128 MiB).
//!
//! | where | what |
//! | --- | --- |
//! | first 1,024 bytes | left alone, for a boot loader |
//! | group 0 | superblock, group descriptors, blocks reserved for more of those |
//! | groups 1 and powers of 3, 5, 7 | copies of these |
//! | first of each 16 groups | block bitmaps, inode bitmaps and inode tables of all 16 |
//! | behind them, from group 0 on | journal, then everything in the order of the tree |
//!
//! Each file's attribute block, data and extent tree stand together, in one
//! piece wherever no metadata of groups is in between, and files in the order
//! of their directories. Inode numbers follow the same order. So the used part
//! of the disk is at its begin, and all free space is one stretch behind it.
//!
//! What is not in use is not written and must read as zeros: free blocks,
//! unused parts of inode tables, bitmaps of groups without content (flagged
//! as such), the journal but for its first block, holes of sparse files.
//! [`Ext4Layout::used`] tells beforehand what will be written.
//!
//! # What is supported
//! - Features: `has_journal`, `ext_attr`, `resize_inode`, `dir_index`,
//!   `filetype`, `extent`, `64bit`, `flex_bg`, `sparse_super`, `large_file`,
//!   `huge_file`, `dir_nlink`, `extra_isize`, `metadata_csum`: what e2fsprogs
//!   1.47 turns on. Inodes of 256 bytes. Numbers of inodes, the journal's
//!   size, reserved blocks and room for descriptors are those of `mke2fs`.
//! - Regular files up to 16 TiB, sparse or not, with extent trees of any
//!   depth; directories with half-MD4 hash trees of up to two levels as soon
//!   as they need a second block, filled to four fifths; symbolic links up to
//!   4,095 bytes, in the inode up to 59; devices; named pipes; hard links.
//! - Owners of 32 bits; all mode bits; times with nanoseconds from 1901 to
//!   2446. Access, change and creation time are the time of modification.
//! - Extended attributes `user.*`, `trusted.*`, `security.*` (capabilities,
//!   SELinux) and `system.*`: in the inode as far as there is room, then in a
//!   block. POSIX access lists, from `system.posix_acl_*` attributes and from
//!   the text of pax `SCHILY.acl.*` records.
//! - `lost+found`: the tree's own, or one that is made.
//! - The same input gives the same bytes, whatever the number of threads. UUID
//!   and hash seed come from a digest of names, kinds, sizes, times, links and
//!   attributes and of the options; times of what flock makes from the tree
//!   ([`TreeOptions::source_date_epoch`](super::TreeOptions::source_date_epoch)).
//!
//! # Limits
//! Before anything is written, an error of kind
//! [`Unsupported`](crate::ErrorKind::Unsupported) names what ext4 cannot hold:
//! - attributes of one file beyond its inode and one block of 4 KiB, or in
//!   namespaces that ext4 does not know (`com.apple.*`, …), or `user.*` of
//!   anything but files and directories;
//! - access lists whose text has names without numbers;
//! - more than 65,000 hard links to a file (subdirectories have no limit);
//! - times, device numbers and file sizes out of range;
//! - a directory with more than 258,570 blocks of names: at least three
//!   million;
//! - a `lost+found` that is not a directory.
//!
//! A file system is smaller than 16 TiB and has at least 8 MiB; one that is
//! too small is an
//! [`InvalidConfig`](crate::ErrorKind::InvalidConfig) error that tells how
//! much is needed. Pax records without a place in ext4 (vendors' own, access
//! times) are left out. There is no encryption, no inline data, no quota, no
//! `casefold`, and blocks of no other size.
//!
//! # Specification
//! The [kernel's documentation of ext4's data structures][spec]:
//!
//! | what is written | sections |
//! |---|---|
//! | the superblock and its copies | "Super Block" |
//! | group descriptors, bitmaps | "Block Group Descriptors", "Block and inode Bitmaps", "Flexible Block Groups" |
//! | inodes | "Index Nodes": "Inode Timestamps", "Symbolic Links" |
//! | where a file's blocks are | "Extent Tree" |
//! | directories | "Directory Entries": "Linear (Classic) Directories", "Hash Tree Directories"; RFC 1320 for the half MD4 of names |
//! | extended attributes, access lists | "Extended Attributes"; `acl(5)`, `linux/posix_acl_xattr.h` |
//! | the journal | "Journal (jbd2)": "Super Block" |
//! | CRC-32C of everything | "Checksums" |
//! | the inode for growing | "Special inodes", "Direct/Indirect Block Addressing" |
//!
//! Where that is silent, what e2fsprogs 1.47 writes and checks decided: the
//! numbers by which `mke2fs` chooses sizes, the resize inode, and the hash of
//! names.
//!
//! [spec]: https://docs.kernel.org/filesystems/ext4/index.html

mod acl;
mod bytes;
mod checksum;
mod content;
mod descriptor;
mod directory;
mod extents;
mod fixed;
mod frame;
mod geometry;
mod groups;
mod hash;
mod inode;
mod journal;
mod layout;
mod options;
mod resize;
mod sink;
mod space;
mod superblock;
mod survey;
mod target;
mod work;
mod write;
mod xattr;

pub use self::layout::{Ext4Layout, FileExtent};
pub use self::options::Ext4Options;
pub use self::sink::Ext4Sink;

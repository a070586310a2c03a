//! The image pipeline: from a base and applications to an appliance's root
//! file system.
//!
//! Every source is indexed first, by its headers alone: a plain tar that can
//! be read at any offset, or a directory ([`SourceIndex`]). Then everything is
//! decided on paper ([`Tree`]): layers, replaced directories, injected files,
//! exclusions, hard links. Only then a [`Sink`] writes the image, once and in
//! order; [`TarSink`] makes a tar and copies whatever did not change block
//! for block. Memory grows with the number of entries, by about 200 bytes
//! each, and never with their contents.
//!
//! | to | use |
//! |---|---|
//! | read a plain tar, or a directory | [`SourceIndex::from_tar`], [`SourceIndex::from_directory`] |
//! | read one that is compressed, or verify it | [`source::open`], then [`SourceIndex::from_tar`] |
//! | put sources together | [`Tree`] |
//! | write a tar | [`TarSink`], through [`compress`] |
//! | write a disk that boots | [`DiskSink`], in any [`disk::DiskFormat`] |
//! | write an ext4 file system | [`ext4`] |
//! | make an appliance boot | [`boot`] |
//! | look at disk images, read and convert them | [`disk::inspect`], [`disk::DiskImage`], [`disk::convert`] |
//! | write something else | a [`Sink`] of your own |
//! | let the file appear when it is complete | [`output::OutputFile`] |
//!
//! ```no_run
//! use std::fs::File;
//! use std::path::Path;
//!
//! use flock_core::cache::Cache;
//! use flock_core::rootfs::source::{self, OpenOptions};
//! use flock_core::rootfs::disk::DiskFormat;
//! use flock_core::rootfs::{DiskOptions, DiskSink, Sink, SourceIndex, Tree};
//! use flock_core::{Context, Result};
//!
//! # fn example(disk: &File) -> Result<()> {
//! let ctx = Context::new();
//! let cache = Cache::at("/var/cache/shop");
//! let base = source::open(Path::new("base.tar.zst"), &OpenOptions::new(cache), &ctx)?;
//! let base = SourceIndex::from_tar(&base.path, base.file, &ctx)?;
//! let mut tree = Tree::new(base, &ctx)?;
//! let mut sink = DiskSink::new(disk, DiskOptions::new(DiskFormat::VhdDynamic));
//! sink.prepare(&mut tree, &ctx)?;
//! sink.write(&tree, &ctx)?;
//! # Ok(())
//! # }
//! ```
//!
//! All of this is synchronous; from async code call it in
//! `tokio::task::spawn_blocking`. The [`Context`](crate::Context) is asked
//! once per chunk whether to go on.

pub mod boot;
pub mod checksum;
pub mod compress;
pub mod decompress;
pub mod disk;
pub mod ext4;
pub mod output;
pub mod source;

mod directory;
mod disk_sink;
mod entry;
pub(crate) mod exclude;
mod index;
pub(crate) mod name;
mod read_at;
mod sink;
mod tar;
mod tar_sink;
mod tree;

pub use disk_sink::{Bootloader, DiskLayout, DiskOptions, DiskSink};
pub use entry::{
    Content, ContentReader, Entry, EntryKind, Extent, ExtentSource, Metadata, Mtime, Xattr,
};
pub use index::SourceIndex;
pub use sink::{Sink, Written};
pub use tar_sink::TarSink;
pub use tree::{Entries, InjectedFile, ReplaceOptions, Summary, Tree, TreeOptions};

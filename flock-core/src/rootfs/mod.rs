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

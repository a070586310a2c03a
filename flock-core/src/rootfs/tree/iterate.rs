//! The finished tree, entry by entry.

use std::sync::Arc;

use super::nodes::{Given, NodeId};
use super::reader::NodeReader;
use super::{MADE, Tree};
use crate::Result;
use crate::rootfs::entry::{Content, Entry, EntryKind, Extent, ExtentSource, Metadata, Mtime};
use crate::rootfs::index::{ACL_TEXT, CAPABILITY, Kind, SourceIndex};
use crate::rootfs::tar::BLOCK;

/// What a tree amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Entries, hard links included.
    pub entries: u64,
    /// Logical bytes of all files, holes included, each file once.
    pub content_bytes: u64,
    /// About how long a plain tar of it is, in bytes: exact for what is
    /// copied unchanged, and a few blocks off for each changed entry.
    pub tar_bytes: u64,
}

/// The next thing a writer of tars does.
pub(crate) enum Step<'t> {
    /// Copy blocks of a layer as they are: begin and length.
    Raw { layer: &'t SourceIndex, layer_id: u16, start: u64, length: u64 },
    /// Write a header for this entry, then its content.
    Encode(Box<Entry>),
}

/// Iterates over the entries of a [`Tree`].
pub struct Entries<'t> {
    tree: &'t Tree,
    next: Option<NodeId>,
    /// The first name of each inode, once it was passed.
    first: Vec<Option<NodeId>>,
    reader: NodeReader<'t>,
}

impl Tree {
    /// All entries in order. The root is among them if a layer has an entry
    /// for it.
    ///
    /// Each is read again from its layer; the iterator takes four bytes for
    /// every entry, and a window of 64 KiB.
    #[must_use]
    pub fn entries(&self) -> Entries<'_> {
        Entries {
            tree: self,
            next: Some(NodeId::ROOT),
            first: vec![None; self.inodes.len()],
            reader: self.reader(),
        }
    }

    /// Counts entries and bytes, without reading anything.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let block = BLOCK as u64;
        let mut summary = Summary { tar_bytes: 2 * block, ..Summary::default() };
        let mut seen = vec![false; self.inodes.len()];
        for node in self.nodes.iter().filter(|node| self.is_stated(*node)) {
            summary.entries += 1;
            let given = self.nodes.given(node);
            let is_first = !std::mem::replace(&mut seen[given.inode as usize], true);
            let (size, stored) = if is_first { self.sizes(node) } else { (0, 0) };
            summary.content_bytes += size;
            let inode = self.inode(node);
            // The first name of a file whose own entry went is written with
            // its content, though its header tells of a link.
            let is_own = !is_first || (inode.layer, inode.entry) == (given.layer, given.entry);
            let raw = self.layers.get(usize::from(given.layer)).and_then(|layer| {
                let raw = layer.entry(given.entry as usize).raw();
                raw.filter(|_| is_own && inode.rules == 0)
            });
            summary.tar_bytes += match raw {
                Some((_, length)) => length,
                None => block + stored.next_multiple_of(block),
            };
        }
        summary
    }

    /// Logical and stored size of what a name stands for.
    pub(super) fn sizes(&self, node: NodeId) -> (u64, u64) {
        let inode = self.inode(node);
        match self.layers.get(usize::from(inode.layer)) {
            Some(layer) => {
                let entry = layer.entry(inode.entry as usize);
                (entry.size, entry.stored())
            }
            None => {
                let content = self.made[inode.entry as usize].content.as_ref();
                let size = content.map_or(0, |content| content.len() as u64);
                (size, size)
            }
        }
    }

    /// Whether the node is an entry: all are, but a root nobody mentioned.
    fn is_stated(&self, node: NodeId) -> bool {
        node != NodeId::ROOT || self.inode(node).layer != MADE
    }

    /// The entry of one node, shown as what it is and not as a hard link.
    pub(super) fn entry(&self, node: NodeId) -> Result<Entry> {
        let mut entries = self.entries();
        entries.read(node, None)
    }

    /// The time that the epoch leaves an entry.
    pub(super) fn clamp(&self, mtime: Mtime) -> Mtime {
        let limit = self.epoch.map(|seconds| Mtime { seconds, nanos: 0 });
        limit.map_or(mtime, |limit| mtime.min(limit))
    }

    /// Whether the names in a tar of this tree begin with `./`, as the base's do.
    pub(crate) fn is_dotted(&self) -> bool {
        self.dotted
    }
}

impl<'t> Entries<'t> {
    /// The next entry, as blocks to copy where that gives the same entry.
    pub(crate) fn step(&mut self) -> Option<Result<Step<'t>>> {
        let (node, first) = self.advance()?;
        Some(match self.raw(node, first) {
            Some(step) => Ok(step),
            None => self.read(node, first).map(|entry| Step::Encode(Box::new(entry))),
        })
    }

    /// The stored data of the entry that was read last, if its blocks in a
    /// tar were read along with its header.
    pub(crate) fn data_at_hand(&self, extent: &Extent) -> Option<&[u8]> {
        self.reader.data_at_hand(extent)
    }

    /// The next node, with the first name of its inode if that is another.
    fn advance(&mut self) -> Option<(NodeId, Option<NodeId>)> {
        loop {
            let node = self.next?;
            self.next = self.tree.nodes.following(node);
            if self.tree.is_stated(node) {
                let first = &mut self.first[self.tree.nodes.given(node).inode as usize];
                let before = *first;
                first.get_or_insert(node);
                return Some((node, before));
            }
        }
    }

    /// The blocks that are this entry in its layer, if it is unchanged.
    fn raw(&self, node: NodeId, first: Option<NodeId>) -> Option<Step<'t>> {
        let tree = self.tree;
        let Given { layer: layer_id, entry: at, moved, inode } = tree.nodes.given(node);
        let inode = &tree.inodes[inode as usize];
        let layer = tree.layers.get(usize::from(layer_id))?;
        let entry = layer.entry(at as usize);
        if !layer.is_tar()
            || moved
            || inode.rules != 0
            || tree.epoch.is_some_and(|limit| entry.is_newer_than(limit))
        {
            return None;
        }
        let says_the_same = match first {
            // This header is the one that tells what it is.
            None => (inode.layer, inode.entry) == (layer_id, at),
            Some(first) => {
                entry.kind == Kind::Hardlink && tree.nodes.path(first) == layer.link(entry)
            }
        };
        let (start, length) = entry.raw().filter(|_| says_the_same)?;
        Some(Step::Raw { layer, layer_id, start, length })
    }

    fn read(&mut self, node: NodeId, first: Option<NodeId>) -> Result<Entry> {
        let tree = self.tree;
        let path = tree.nodes.path(node);
        let (kind, metadata, content) = self.reader.read(node)?;
        Ok(match first {
            Some(first) => {
                let kind = EntryKind::Hardlink { target: tree.nodes.path(first) };
                Entry { path, kind, metadata, content: Content::default() }
            }
            None => Entry { path, kind, metadata, content },
        })
    }
}

impl Tree {
    pub(super) fn read_made(&self, entry: u32) -> (EntryKind, Metadata, Content) {
        let made = &self.made[entry as usize];
        let mtime = Mtime { seconds: self.made_time(), nanos: 0 };
        let metadata = Metadata {
            mode: made.mode,
            uid: made.uid,
            gid: made.gid,
            mtime,
            ..Metadata::default()
        };
        let Some(bytes) = &made.content else {
            return (EntryKind::Directory, metadata, Content::default());
        };
        let size = bytes.len() as u64;
        let source = ExtentSource::Bytes { bytes: Arc::clone(bytes), offset: 0 };
        let whole = (size > 0).then_some(Extent { offset: 0, length: size, source });
        let content = Content { size, extents: whole.into_iter().collect() };
        (EntryKind::File { size }, metadata, content)
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let (node, first) = self.advance()?;
        Some(self.read(node, first))
    }
}

impl std::fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").field("next", &self.next).finish_non_exhaustive()
    }
}

/// Takes away what would give an application's program rights that its user
/// does not have, and records that flock does not know.
pub(super) fn restrict(metadata: &mut Metadata, kind: Kind) {
    // A symbolic link's mode means nothing, and tars say 0777.
    if kind != Kind::Symlink {
        metadata.mode &= !0o6000;
    }
    metadata.xattrs.retain(|xattr| xattr.name != CAPABILITY);
    // Nothing is known of what other records would do where it is unpacked.
    metadata.other.retain(|(key, _)| key.starts_with(ACL_TEXT));
    for name in [&mut metadata.uname, &mut metadata.gname] {
        if name.contains(&0) {
            name.clear();
        }
    }
}

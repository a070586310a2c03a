//! Reading single nodes of a finished tree, in any order.

use super::Tree;
use super::iterate::restrict;
use super::nodes::NodeId;
use crate::Result;
use crate::rootfs::entry::{Content, EntryKind, Extent, ExtentSource, Metadata};
use crate::rootfs::index::Kind;
use crate::rootfs::read_at::Window;

/// What the index knows of a node's inode without reading it again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outline<'t> {
    pub(crate) kind: Kind,
    /// The logical size of a file.
    pub(crate) size: u64,
    /// How much of it is stored; less than the size for a sparse file.
    pub(crate) stored: u64,
    /// A symbolic link's target; empty for everything else.
    pub(crate) target: &'t [u8],
    /// Whole seconds of the time of modification; `None` for what flock makes
    /// itself.
    pub(crate) mtime: Option<i64>,
    /// Whether it has extended attributes, or access lists as text.
    pub(crate) has_attributes: bool,
}

/// Reads what nodes stand for. Neighbours share a window of 64 KiB.
pub(crate) struct NodeReader<'t> {
    tree: &'t Tree,
    window: Window,
    /// Whose bytes are in the window, if it is those of the last entry.
    window_layer: Option<u16>,
}

impl Tree {
    /// A reader with a window of its own.
    pub(crate) fn reader(&self) -> NodeReader<'_> {
        NodeReader { tree: self, window: Window::default(), window_layer: None }
    }

    /// The root of the file system.
    pub(crate) fn root(&self) -> NodeId {
        NodeId::ROOT
    }

    /// All nodes, the root first and each directory followed by what is in it.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter()
    }

    /// The nodes in a directory, in the order in which their names came.
    pub(crate) fn children(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.nodes.children(node)
    }

    /// The node's own name.
    pub(crate) fn name(&self, node: NodeId) -> &[u8] {
        self.nodes.name(node)
    }

    /// The directory in which the node stands; the root's is the root.
    pub(crate) fn parent(&self, node: NodeId) -> NodeId {
        self.nodes.parent(node)
    }

    /// The path from the root, without a leading `/`.
    pub(crate) fn path(&self, node: NodeId) -> Vec<u8> {
        self.nodes.path(node)
    }

    /// What names of one file have in common: its place in a table of
    /// [`inode_count`](Tree::inode_count) rows.
    pub(crate) fn inode_row(&self, node: NodeId) -> usize {
        self.nodes.given(node).inode as usize
    }

    /// How many rows the table of inodes has. Not every one has a name left.
    pub(crate) fn inode_count(&self) -> usize {
        self.inodes.len()
    }

    /// What kind of thing the node stands for.
    pub(crate) fn kind_of(&self, node: NodeId) -> Kind {
        self.inode(node).kind
    }

    /// What is known of a node without reading it.
    pub(crate) fn outline(&self, node: NodeId) -> Outline<'_> {
        let inode = self.inode(node);
        let (size, stored) = self.sizes(node);
        let mut outline = Outline {
            kind: inode.kind,
            size,
            stored,
            target: b"",
            mtime: None,
            has_attributes: false,
        };
        if let Some(layer) = self.layers.get(usize::from(inode.layer)) {
            let entry = layer.entry(inode.entry as usize);
            outline.target = layer.link(entry);
            let limit = self.epoch.unwrap_or(entry.mtime);
            outline.mtime = Some(entry.mtime.min(limit));
            outline.has_attributes = entry.has_attributes();
        }
        outline
    }
}

impl NodeReader<'_> {
    /// What a node stands for, shown as what it is and not as a hard link.
    pub(crate) fn read(&mut self, node: NodeId) -> Result<(EntryKind, Metadata, Content)> {
        let tree = self.tree;
        let inode = tree.inode(node);
        let Some(layer) = tree.layers.get(usize::from(inode.layer)) else {
            self.window_layer = None;
            return Ok(tree.read_made(inode.entry));
        };
        if self.window_layer != Some(inode.layer) {
            self.window.clear();
            self.window_layer = Some(inode.layer);
        }
        let at = inode.entry as usize;
        let member = layer.member(at, &mut self.window)?;
        let content = match inode.kind {
            Kind::File => layer.content(at, &member)?,
            _ => Content::default(),
        };
        let mut metadata = member.metadata;
        metadata.mtime = tree.clamp(metadata.mtime);
        if let Some(rules) = usize::from(inode.rules).checked_sub(1).map(|at| tree.rules[at]) {
            restrict(&mut metadata, inode.kind);
            if let Some((uid, gid)) = rules.owner {
                (metadata.uid, metadata.gid) = (uid, gid);
                (metadata.uname, metadata.gname) = (Vec::new(), Vec::new());
            }
        }
        Ok((member.kind, metadata, content))
    }

    /// The stored data of the node that was read last, if its blocks in a tar
    /// were read along with its header.
    pub(crate) fn data_at_hand(&self, extent: &Extent) -> Option<&[u8]> {
        let (ExtentSource::File { offset, .. } | ExtentSource::Bytes { offset, .. }) =
            &extent.source;
        let layer = self.tree.layers.get(usize::from(self.window_layer?))?;
        if !layer.is_tar() {
            return None;
        }
        self.window.peek(*offset, usize::try_from(extent.length).ok()?)
    }
}

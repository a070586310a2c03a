//! The names of a tree: a table of nodes, each under its parent.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use crate::{Error, ErrorKind, Result};

/// One name in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeId(u32);

/// No node.
const NONE: u32 = u32::MAX;

impl NodeId {
    /// The root of the file system.
    pub(crate) const ROOT: Self = Self(0);

    /// Its place in tables that have one row for each node.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a name stands for, and which entry brought it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    /// Row in the table of inodes.
    pub(crate) inode: u32,
    /// The layer of the entry that gave the name, and its place in it.
    pub(crate) layer: u16,
    pub(crate) entry: u32,
    /// Whether the entry calls it otherwise: it came through a symbolic link.
    pub(crate) moved: bool,
}

#[derive(Debug)]
struct Node {
    parent: u32,
    first_child: u32,
    last_child: u32,
    next_sibling: u32,
    /// The next node whose parent and name have the same hash.
    same_hash: u32,
    name: u32,
    entry: u32,
    inode: u32,
    layer: u16,
    name_length: u16,
    moved: bool,
    gone: bool,
}

/// All nodes, by age; a parent is older than its children.
#[derive(Debug)]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    names: Vec<u8>,
    heads: HashMap<u64, u32, BuildHasherDefault<Through>>,
    hasher: RandomState,
    live: usize,
}

impl Nodes {
    /// A tree with nothing but its root.
    pub(crate) fn new(root: Given) -> Self {
        let mut nodes = Self {
            nodes: Vec::new(),
            names: Vec::new(),
            heads: HashMap::default(),
            hasher: RandomState::new(),
            live: 1,
        };
        nodes.nodes.push(Node {
            parent: 0,
            first_child: NONE,
            last_child: NONE,
            next_sibling: NONE,
            same_hash: NONE,
            name: 0,
            entry: root.entry,
            inode: root.inode,
            layer: root.layer,
            name_length: 0,
            moved: false,
            gone: false,
        });
        nodes
    }

    /// Makes room for `count` more, so that growing wastes no memory.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.nodes.reserve_exact(count);
        self.heads.reserve(count);
    }

    /// How many names there are, the root included.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// The child of that name.
    pub(crate) fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let mut at = *self.heads.get(&self.hash(parent.0, name))?;
        while at != NONE {
            let node = &self.nodes[at as usize];
            if node.parent == parent.0 && self.name_of(node) == name {
                return Some(NodeId(at));
            }
            at = node.same_hash;
        }
        None
    }

    /// Adds a child; there must be none of that name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] beyond four billion nodes or bytes of names.
    pub(crate) fn add(&mut self, parent: NodeId, name: &[u8], given: Given) -> Result<NodeId> {
        let too_many =
            || Error::new(ErrorKind::InvalidData, "the file system has too many entries");
        let id = u32::try_from(self.nodes.len()).map_err(|_| too_many())?;
        let start = u32::try_from(self.names.len()).map_err(|_| too_many())?;
        let name_length = u16::try_from(name.len()).map_err(|_| too_many())?;
        let hash = self.hash(parent.0, name);
        let same_hash = self.heads.insert(hash, id).unwrap_or(NONE);
        self.names.extend_from_slice(name);
        self.nodes.push(Node {
            parent: parent.0,
            first_child: NONE,
            last_child: NONE,
            next_sibling: NONE,
            same_hash,
            name: start,
            entry: given.entry,
            inode: given.inode,
            layer: given.layer,
            name_length,
            moved: given.moved,
            gone: false,
        });
        self.append(parent, id);
        self.live += 1;
        Ok(NodeId(id))
    }

    /// Makes `id` the last of the parent's children.
    fn append(&mut self, parent: NodeId, id: u32) {
        let last = std::mem::replace(&mut self.nodes[parent.index()].last_child, id);
        match last {
            NONE => self.nodes[parent.index()].first_child = id,
            last => self.nodes[last as usize].next_sibling = id,
        }
    }

    /// Removes a node and everything under it. The root stays.
    pub(crate) fn remove(&mut self, node: NodeId) {
        if node == NodeId::ROOT || self.nodes[node.index()].gone {
            return;
        }
        self.remove_children(node);
        self.forget(node.0);
    }

    /// Removes everything under a node.
    pub(crate) fn remove_children(&mut self, node: NodeId) {
        let mut pending = vec![self.nodes[node.index()].first_child];
        self.nodes[node.index()].first_child = NONE;
        self.nodes[node.index()].last_child = NONE;
        while let Some(mut at) = pending.pop() {
            while at != NONE {
                let child = &self.nodes[at as usize];
                let next = child.next_sibling;
                if !child.gone {
                    pending.push(child.first_child);
                    self.forget(at);
                }
                at = next;
            }
        }
    }

    /// What stands in the node, in the order in which the names came.
    pub(crate) fn children(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let first = self.living(self.nodes[node.index()].first_child);
        std::iter::successors(first, |child| self.living(self.nodes[child.index()].next_sibling))
    }

    /// Whether anything stands under the node.
    pub(crate) fn has_children(&self, node: NodeId) -> bool {
        self.living(self.nodes[node.index()].first_child).is_some()
    }

    /// The node itself, or the first sibling after it, that was not removed.
    fn living(&self, mut at: u32) -> Option<NodeId> {
        while at != NONE {
            let node = &self.nodes[at as usize];
            if !node.gone {
                return Some(NodeId(at));
            }
            at = node.next_sibling;
        }
        None
    }

    /// What the node stands for.
    pub(crate) fn given(&self, node: NodeId) -> Given {
        let Node { inode, layer, entry, moved, .. } = self.nodes[node.index()];
        Given { inode, layer, entry, moved }
    }

    /// Says anew what the node stands for.
    pub(crate) fn set_given(&mut self, node: NodeId, given: Given) {
        let node = &mut self.nodes[node.index()];
        (node.inode, node.layer, node.entry, node.moved) =
            (given.inode, given.layer, given.entry, given.moved);
    }

    /// The parent; the root's is the root.
    pub(crate) fn parent(&self, node: NodeId) -> NodeId {
        NodeId(self.nodes[node.index()].parent)
    }

    /// The node's own name.
    pub(crate) fn name(&self, node: NodeId) -> &[u8] {
        self.name_of(&self.nodes[node.index()])
    }

    /// The path from the root, without a leading `/`.
    pub(crate) fn path(&self, node: NodeId) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut at = node;
        while at != NodeId::ROOT {
            parts.push(self.name(at));
            at = self.parent(at);
        }
        parts.reverse();
        parts.join(&b'/')
    }

    /// The next node: a directory is followed by everything in it, siblings
    /// stand in the order in which they came.
    pub(crate) fn following(&self, node: NodeId) -> Option<NodeId> {
        if let Some(child) = self.living(self.nodes[node.index()].first_child) {
            return Some(child);
        }
        let mut at = node;
        while at != NodeId::ROOT {
            if let Some(sibling) = self.living(self.nodes[at.index()].next_sibling) {
                return Some(sibling);
            }
            at = self.parent(at);
        }
        None
    }

    /// All nodes, each directory followed by everything in it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(NodeId::ROOT), |node| self.following(*node))
    }

    /// The first node at or behind `index`, by age, that was not removed.
    pub(crate) fn at_or_after(&self, index: usize) -> Option<NodeId> {
        let rest = self.nodes.get(index..)?;
        let found = index + rest.iter().position(|node| !node.gone)?;
        u32::try_from(found).ok().map(NodeId)
    }

    fn forget(&mut self, at: u32) {
        let node = &self.nodes[at as usize];
        let hash = self.hash(node.parent, self.name_of(node));
        let next = node.same_hash;
        match self.heads.get(&hash).copied() {
            Some(head) if head == at && next == NONE => {
                self.heads.remove(&hash);
            }
            Some(head) if head == at => {
                self.heads.insert(hash, next);
            }
            Some(mut before) => {
                while self.nodes[before as usize].same_hash != at {
                    before = self.nodes[before as usize].same_hash;
                }
                self.nodes[before as usize].same_hash = next;
            }
            None => {}
        }
        self.nodes[at as usize].gone = true;
        self.live -= 1;
    }

    fn name_of(&self, node: &Node) -> &[u8] {
        let start = node.name as usize;
        &self.names[start..start + usize::from(node.name_length)]
    }

    fn hash(&self, parent: u32, name: &[u8]) -> u64 {
        self.hasher.hash_one((parent, name))
    }
}

/// Passes on a key that is a hash already.
#[derive(Debug, Default)]
struct Through(u64);

impl Hasher for Through {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: Given = Given { inode: 0, layer: 0, entry: 0, moved: false };

    #[test]
    fn names_come_and_go() {
        let mut nodes = Nodes::new(GIVEN);
        let a = nodes.add(NodeId::ROOT, b"a", GIVEN).unwrap();
        let b = nodes.add(a, b"b", GIVEN).unwrap();
        nodes.add(b, b"c", GIVEN).unwrap();
        assert_eq!(nodes.path(nodes.child(b, b"c").unwrap()), b"a/b/c");
        nodes.remove(b);
        assert!(nodes.child(a, b"b").is_none());
        assert!(!nodes.has_children(a));
        assert_eq!((nodes.live(), nodes.iter().count()), (2, 2));
        let again = nodes.add(a, b"b", GIVEN).unwrap();
        assert_eq!(nodes.children(a).collect::<Vec<_>>(), [again]);
        assert!(nodes.child(again, b"c").is_none());
        nodes.remove(NodeId::ROOT);
        assert_eq!(nodes.live(), 3);
    }
}

//! Finding a path inside the root, as the kernel would inside a chroot.

use super::nodes::NodeId;
use super::{Inode, Tree};
use crate::rootfs::index::Kind;
use crate::rootfs::name;

/// How many symbolic links one path may lead through, as in Linux.
const MAX_LINKS: u32 = 40;

/// What to do at a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Follow every one, also the last component's.
    Follow,
    /// Follow those on the way, but not the last component's.
    FollowParents,
    /// Fail at one on the way.
    Refuse,
}

/// How far a path leads.
pub(super) struct Walk<'a> {
    /// The last node that exists.
    pub(super) node: NodeId,
    /// The components that do not exist under it.
    pub(super) missing: Vec<&'a [u8]>,
    /// Whether a symbolic link was on the way.
    pub(super) followed: bool,
}

/// Why a path leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Through more symbolic links than Linux follows.
    Loop,
    /// Through something that is no directory; its path.
    NotADirectory(Vec<u8>),
    /// Through a symbolic link, which was not allowed; its path.
    Symlink(Vec<u8>),
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loop => {
                f.write_str("it leads through too many symbolic links, perhaps in a circle")
            }
            Self::NotADirectory(path) => write!(f, "'{}' is not a directory", name::show(path)),
            Self::Symlink(path) => {
                write!(f, "it leads through the symbolic link '{}'", name::show(path))
            }
        }
    }
}

impl Tree {
    /// Walks from `start`. `..` in the target of a link goes up, but never
    /// out of the root; an absolute target begins at the root.
    pub(super) fn walk<'a>(
        &'a self,
        start: NodeId,
        path: &'a [u8],
        links: Links,
    ) -> Result<Walk<'a>, Lost> {
        let mut pending: Vec<&[u8]> = name::components(path).collect();
        pending.reverse();
        let mut walk = Walk { node: start, missing: Vec::new(), followed: false };
        let mut count = 0;
        while let Some(part) = pending.pop() {
            if part == b".." {
                if walk.missing.pop().is_none() {
                    walk.node = self.nodes.parent(walk.node);
                }
                continue;
            }
            if !walk.missing.is_empty() {
                walk.missing.push(part);
                continue;
            }
            if self.kind(walk.node) != Kind::Directory {
                return Err(Lost::NotADirectory(self.nodes.path(walk.node)));
            }
            let Some(child) = self.nodes.child(walk.node, part) else {
                walk.missing.push(part);
                continue;
            };
            let is_last = pending.is_empty();
            if self.kind(child) != Kind::Symlink || (is_last && links != Links::Follow) {
                walk.node = child;
                continue;
            }
            count += 1;
            match links {
                Links::Refuse => return Err(Lost::Symlink(self.nodes.path(child))),
                _ if count > MAX_LINKS => return Err(Lost::Loop),
                _ => walk.followed = true,
            }
            let target = self.symlink_target(child);
            if target.starts_with(b"/") {
                walk.node = NodeId::ROOT;
            }
            let parts = pending.len();
            pending.extend(name::components(target));
            pending[parts..].reverse();
        }
        Ok(walk)
    }

    pub(super) fn inode(&self, node: NodeId) -> &Inode {
        &self.inodes[self.nodes.given(node).inode as usize]
    }

    pub(super) fn kind(&self, node: NodeId) -> Kind {
        self.inode(node).kind
    }

    fn symlink_target(&self, node: NodeId) -> &[u8] {
        let inode = self.inode(node);
        // Only layers bring symbolic links; flock makes none.
        self.layers
            .get(usize::from(inode.layer))
            .map_or(b"", |layer| layer.link(layer.entry(inode.entry as usize)))
    }
}

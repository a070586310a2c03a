//! How the entries of a layer land in the tree.

use std::sync::Arc;

use super::nodes::{Given, NodeId};
use super::walk::{Links, Lost};
use super::{DIRECTORY_MODE, Inode, Tree, owned, row, split};
use crate::progress::Level;
use crate::rootfs::index::{Indexed, Kind, SourceIndex};
use crate::rootfs::name;
use crate::{Context, Error, ErrorKind, Result};

/// In what capacity a layer is applied.
#[derive(Debug)]
pub(super) enum Role {
    Base,
    Overlay,
    Application {
        /// One more than the row in the tree's rules.
        rules: u16,
        strip: usize,
    },
}

const WHITEOUT: &[u8] = b".wh.";
const META_WHITEOUT: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// An entry on its way into the tree.
struct Arrival<'a> {
    layer: &'a SourceIndex,
    layer_id: u16,
    at: u32,
    entry: &'a Indexed,
    /// Its path under the root of the role, leading components stripped.
    path: &'a [u8],
}

impl Arrival<'_> {
    fn refuse(&self, why: &str) -> Error {
        // As it is written; the index keeps names without the leading slash.
        let slash = if self.entry.is_absolute() { "/" } else { "" };
        let path = format!("{slash}{}", name::show(self.layer.path(self.entry)));
        let message = format!("cannot use {}: its entry '{path}' {why}", self.layer.name());
        Error::new(ErrorKind::InvalidData, message)
            .with("file", self.layer.name().to_owned())
            .with("entry", path)
    }

    fn lost(&self, lost: &Lost) -> Error {
        self.refuse(&format!("cannot be placed: {lost}"))
    }
}

/// The entries of an application that lost rights.
#[derive(Default)]
struct Stripped {
    count: usize,
    first: Option<String>,
}

impl Tree {
    /// Applies all entries of a layer to the subtree under `root`.
    pub(super) fn apply(
        &mut self,
        layer: SourceIndex,
        root: NodeId,
        role: &Role,
        ctx: &Context,
    ) -> Result<()> {
        let layer_id = u16::try_from(self.layers.len())
            .ok()
            .filter(|id| *id != super::MADE)
            .ok_or(Error::new(ErrorKind::InvalidData, "the image has too many layers"))?;
        let layer = Arc::new(layer);
        self.layers.push(Arc::clone(&layer));
        self.nodes.reserve(layer.len());
        self.inodes.reserve_exact(layer.len());
        if let Role::Overlay = role {
            self.apply_whiteouts(&layer)?;
        }
        let mut stripped = Stripped::default();
        for at in 0..row(layer.len())? {
            if at.is_multiple_of(1024) {
                ctx.check()?;
            }
            let entry = layer.entry(at as usize);
            let strip = if let Role::Application { strip, .. } = role { *strip } else { 0 };
            let Some(path) = name::strip(layer.path(entry), strip) else { continue };
            let arrival = Arrival { layer: &layer, layer_id, at, entry, path };
            if let Role::Application { .. } = role {
                check_application(&arrival, &mut stripped)?;
            }
            self.land(&arrival, root, role)?;
        }
        stripped.tell(&layer, ctx);
        Ok(())
    }

    fn land(&mut self, arrival: &Arrival<'_>, root: NodeId, role: &Role) -> Result<()> {
        let (parent, name) = split(arrival.path);
        if name.is_empty() {
            // Only a directory can be the root; what else is left without a
            // name by stripping is left out.
            if arrival.entry.kind == Kind::Directory {
                self.set_directory(root, arrival, role, false);
            }
            return Ok(());
        }
        if matches!(role, Role::Overlay) && name.starts_with(WHITEOUT) {
            return Ok(());
        }
        let links = if let Role::Application { .. } = role { Links::Refuse } else { Links::Follow };
        // A symbolic link in the last place of the parent is on the way too.
        let walk = match links {
            Links::Refuse => self.walk(root, arrival.path, Links::Refuse).map(|mut walk| {
                if walk.missing.pop().is_none() {
                    walk.node = self.nodes.parent(walk.node);
                }
                walk
            }),
            _ => self.walk(root, parent, Links::Follow),
        };
        let walk = walk.map_err(|lost| arrival.lost(&lost))?;
        let (node, moved, missing) = (walk.node, walk.followed, owned(&walk.missing));
        if self.kind(node) != Kind::Directory {
            return Err(arrival.lost(&Lost::NotADirectory(self.nodes.path(node))));
        }
        let parent = self.make_directories(node, &missing, DIRECTORY_MODE)?;
        self.place(arrival, root, role, parent, moved)
    }

    /// Gives the entry its name in `parent`.
    fn place(
        &mut self,
        arrival: &Arrival<'_>,
        root: NodeId,
        role: &Role,
        parent: NodeId,
        moved: bool,
    ) -> Result<()> {
        let (_, name) = split(arrival.path);
        let old = self.nodes.child(parent, name);
        let inode = match arrival.entry.kind {
            Kind::Directory => match old.filter(|old| self.kind(*old) == Kind::Directory) {
                Some(old) => {
                    self.set_directory(old, arrival, role, moved);
                    return Ok(());
                }
                None => self.add_inode(self.inode_of(arrival, role))?,
            },
            Kind::Hardlink => {
                let target = self.hardlink_target(arrival, root, role)?;
                if Some(target) == old {
                    return Ok(());
                }
                self.nodes.given(target).inode
            }
            _ => self.add_inode(self.inode_of(arrival, role))?,
        };
        if let Some(old) = old {
            if self.nodes.has_children(old) && !matches!(role, Role::Overlay) {
                return Err(arrival.refuse("would replace a directory that is not empty"));
            }
            self.nodes.remove(old);
        }
        let given = Given { inode, layer: arrival.layer_id, entry: arrival.at, moved };
        self.nodes.add(parent, name, given)?;
        Ok(())
    }

    /// Gives a directory that is there the metadata of a later entry.
    fn set_directory(&mut self, node: NodeId, arrival: &Arrival<'_>, role: &Role, moved: bool) {
        let inode = self.nodes.given(node).inode;
        self.inodes[inode as usize] = self.inode_of(arrival, role);
        let given = Given { inode, layer: arrival.layer_id, entry: arrival.at, moved };
        self.nodes.set_given(node, given);
    }

    fn inode_of(&self, arrival: &Arrival<'_>, role: &Role) -> Inode {
        let rules = if let Role::Application { rules, .. } = role { *rules } else { 0 };
        Inode { layer: arrival.layer_id, rules, entry: arrival.at, kind: arrival.entry.kind }
    }

    /// The node that a hard link points to. A symbolic link in the last place
    /// is what is linked, not what it points to.
    fn hardlink_target(&self, arrival: &Arrival<'_>, root: NodeId, role: &Role) -> Result<NodeId> {
        let link = arrival.layer.link(arrival.entry);
        let (links, target) = match role {
            Role::Application { strip, .. } => (Links::Refuse, name::strip(link, *strip)),
            _ => (Links::FollowParents, Some(link)),
        };
        let missing = || {
            let what = name::show(link);
            arrival.refuse(&format!("is a hard link to '{what}', which is not there"))
        };
        let target = target.filter(|target| !target.is_empty()).ok_or_else(missing)?;
        let walk = self.walk(root, target, links).map_err(|lost| arrival.lost(&lost))?;
        if !walk.missing.is_empty() {
            return Err(missing());
        }
        if self.kind(walk.node) == Kind::Directory {
            return Err(arrival.refuse("is a hard link to a directory"));
        }
        Ok(walk.node)
    }

    /// Hides what the whiteouts of an overlay name, before anything of the
    /// overlay itself is there.
    fn apply_whiteouts(&mut self, layer: &SourceIndex) -> Result<()> {
        for at in 0..layer.len() {
            let entry = layer.entry(at);
            let path = layer.path(entry);
            let (parent, name) = split(path);
            let Some(hidden) = name.strip_prefix(WHITEOUT) else { continue };
            if name.starts_with(META_WHITEOUT) && name != OPAQUE {
                continue;
            }
            let refuse = |why: &str| {
                let path = name::show(path);
                let message = format!("cannot use {}: its entry '{path}' {why}", layer.name());
                Error::new(ErrorKind::InvalidData, message)
            };
            if hidden.is_empty() || hidden == b"." || hidden == b".." {
                return Err(refuse("hides nothing that can have a name"));
            }
            // Where the parent cannot be reached there is nothing to hide.
            let Ok(walk) = self.walk(NodeId::ROOT, parent, Links::Follow) else { continue };
            if !walk.missing.is_empty() {
                continue;
            }
            let parent = walk.node;
            if name == OPAQUE {
                self.nodes.remove_children(parent);
            } else if let Some(node) = self.nodes.child(parent, hidden) {
                self.nodes.remove(node);
            }
        }
        Ok(())
    }
}

/// The rules for applications that do not need the tree.
fn check_application(arrival: &Arrival<'_>, stripped: &mut Stripped) -> Result<()> {
    let entry = arrival.entry;
    let why = match entry.kind {
        _ if entry.is_absolute() => "has an absolute name",
        _ if entry.is_absolute_link() => "is a hard link out of the application",
        Kind::Device => "is a device node",
        Kind::Fifo => "is a named pipe",
        _ => "",
    };
    if !why.is_empty() {
        return Err(arrival
            .refuse(why)
            .hint("an application may hold files, directories and links inside its own tree"));
    }
    if entry.is_privileged() && entry.kind != Kind::Hardlink {
        stripped.count += 1;
        stripped.first.get_or_insert_with(|| name::show(arrival.path));
    }
    Ok(())
}

impl Stripped {
    fn tell(&self, layer: &SourceIndex, ctx: &Context) {
        let Some(first) = &self.first else { return };
        let others = match self.count {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let text = format!(
            "dropped set-user-ID, set-group-ID or capabilities of '{first}'{others} in {}",
            layer.name()
        );
        ctx.message(Level::Warning, text);
    }
}

//! The merged file system on paper.

mod apply;
mod iterate;
mod nodes;
mod reader;
mod walk;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use globset::GlobSetBuilder;

use self::apply::Role;
pub(crate) use self::iterate::Step;
pub use self::iterate::{Entries, Summary};
pub(crate) use self::nodes::NodeId;
use self::nodes::{Given, Nodes};
pub(crate) use self::reader::{NodeReader, Outline};
use self::walk::Links;
use super::entry::Entry;
use super::exclude;
use super::index::{Kind, SourceIndex};
use super::name;
use crate::{Context, Error, ErrorKind, Result};

/// The `layer` of what flock itself makes.
const MADE: u16 = u16::MAX;

/// The permission bits of directories that had to be made.
const DIRECTORY_MODE: u32 = 0o755;

/// How a [`Tree`] is put together.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TreeOptions {
    /// `SOURCE_DATE_EPOCH`, in seconds: what flock makes itself gets this
    /// time, and whatever is newer is set back to it. Without it, flock's own
    /// entries get the time of the newest entry of the base and its overlays,
    /// and nothing is set back.
    /// (Specification: <https://reproducible-builds.org/specs/source-date-epoch/>.)
    pub source_date_epoch: Option<i64>,
}

impl TreeOptions {
    /// The options of a build whose newest time is `seconds`.
    #[must_use]
    pub fn with_source_date_epoch(mut self, seconds: Option<i64>) -> Self {
        self.source_date_epoch = seconds;
        self
    }
}

/// How an application is put in place.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ReplaceOptions {
    /// How many leading components the names of the entries lose; 0 by
    /// default. An entry that has no more than that many is left out, except
    /// that the last directory which is lost becomes the target itself.
    pub strip_components: usize,
    /// Owner and group of every entry, instead of those of the application.
    pub owner: Option<(u32, u32)>,
}

impl ReplaceOptions {
    /// Sets [`strip_components`](Self::strip_components).
    #[must_use]
    pub fn with_strip_components(mut self, count: usize) -> Self {
        self.strip_components = count;
        self
    }

    /// Sets [`owner`](Self::owner).
    #[must_use]
    pub fn with_owner(mut self, uid: u32, gid: u32) -> Self {
        self.owner = Some((uid, gid));
        self
    }
}

/// A file that flock writes into the appliance: a host name, keys, settings.
#[derive(Clone)]
#[non_exhaustive]
pub struct InjectedFile {
    /// Where it goes, for example `/etc/hostname`.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// Those of the directories on the way to it that are missing.
    pub directory_mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl InjectedFile {
    /// A file with that content, mode 0644 and owner 0:0, in directories of
    /// mode 0755.
    pub fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            content: content.into(),
            mode: 0o644,
            directory_mode: DIRECTORY_MODE,
            uid: 0,
            gid: 0,
        }
    }

    /// Sets [`mode`](Self::mode).
    #[must_use]
    pub fn with_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets [`directory_mode`](Self::directory_mode).
    #[must_use]
    pub fn with_directory_mode(mut self, mode: u32) -> Self {
        self.directory_mode = mode;
        self
    }

    /// Sets [`uid`](Self::uid) and [`gid`](Self::gid).
    #[must_use]
    pub fn with_owner(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }
}

impl std::fmt::Debug for InjectedFile {
    /// Without the content, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InjectedFile")
            .field("path", &self.path)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// A root file system that is put together from layers, on paper: nothing is
/// read but headers and nothing is written. A [`Sink`](super::Sink) makes an
/// image of it.
///
/// The tree behaves like a disk onto which GNU tar unpacks as root, name by
/// name, with inodes: a hard link shares what its target *was* when the link
/// was made. So a link whose target is replaced keeps the content, and the
/// first of the surviving names becomes the file.
///
/// # How entries land
/// - The same name twice: the last one wins. A directory that is there
///   already takes on the owner, mode and times of the later one and keeps
///   what is in it.
/// - A directory that is missing on the way is made, 0755 and root's.
/// - A name that leads through a symbolic link of the tree goes where the
///   link points, resolved inside the root like in a chroot. (GNU tar refuses
///   this for links with absolute targets or `..`.)
/// - An entry takes the place of a file, link or empty directory of its name.
///   In place of a directory that is not empty it is refused, as by GNU tar;
///   in an overlay the directory goes.
/// - A hard link's target must be there, and not a directory.
/// - A name that leads through something else than a directory is refused.
///
/// Refusals are [`ErrorKind::InvalidData`] and name the entry.
///
/// # Rules for applications
/// An application ([`Tree::replace`]) comes from somebody else than the base:
/// - absolute names and `..` are refused, and so are names that lead through
///   one of the application's own symbolic links;
/// - hard links to anything outside of the application are refused;
/// - device nodes and named pipes are refused;
/// - set-user-ID and set-group-ID bits and `security.capability` attributes
///   are dropped, with one message that counts them and names the first;
/// - pax records that are neither attributes nor ACLs are dropped;
/// - symbolic links stay, wherever they point: they are resolved inside the
///   appliance when it runs.
///
/// # Order
/// [`Tree::entries`] yields each directory followed by everything in it, and
/// siblings in the order in which their names were given first. So the base
/// keeps its order if it was packed directory by directory, as nearly all are,
/// and an unpacker that sets a directory's time when it leaves it, as GNU tar
/// does, gets all times right. What a hard link points to comes before the
/// link. The same calls with the same input give the same tree.
///
/// After an error a tree is half changed and of no more use.
pub struct Tree {
    layers: Vec<Arc<SourceIndex>>,
    made: Vec<Made>,
    rules: Vec<Rules>,
    nodes: Nodes,
    inodes: Vec<Inode>,
    epoch: Option<i64>,
    newest: i64,
    dotted: bool,
}

/// What one or more names stand for.
#[derive(Debug, Clone, Copy)]
struct Inode {
    /// Its layer, or [`MADE`].
    layer: u16,
    /// One more than its row in the rules; 0 without.
    rules: u16,
    /// Its place in the layer, or among what was made.
    entry: u32,
    kind: Kind,
}

/// What is changed in an application's entries.
#[derive(Debug, Clone, Copy)]
struct Rules {
    owner: Option<(u32, u32)>,
}

/// Something that comes from no layer.
struct Made {
    content: Option<Arc<[u8]>>,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Tree {
    /// A tree that is this base, with default options.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] as the rules above say.
    pub fn new(base: SourceIndex, ctx: &Context) -> Result<Self> {
        Self::with_options(base, &TreeOptions::default(), ctx)
    }

    /// A tree that is this base.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] as the rules above say;
    /// [`ErrorKind::Cancelled`] and [`ErrorKind::Timeout`] by `ctx`.
    pub fn with_options(base: SourceIndex, options: &TreeOptions, ctx: &Context) -> Result<Self> {
        let root = Given { inode: 0, layer: MADE, entry: 0, moved: false };
        let mut tree = Self {
            layers: Vec::new(),
            made: vec![Made { content: None, mode: DIRECTORY_MODE, uid: 0, gid: 0 }],
            rules: Vec::new(),
            nodes: Nodes::new(root),
            inodes: vec![Inode { layer: MADE, rules: 0, entry: 0, kind: Kind::Directory }],
            epoch: options.source_date_epoch,
            newest: base.newest().unwrap_or(0),
            dotted: base.is_dotted(),
        };
        tree.apply(base, NodeId::ROOT, &Role::Base, ctx)?;
        Ok(tree)
    }

    /// Lays one more layer of an OCI image over the tree.
    ///
    /// Whiteouts hide what lower layers brought, never what this one brings:
    /// `.wh.NAME` hides NAME, `.wh..wh..opq` everything in its directory.
    /// Other names that begin with `.wh..wh.` are left out.
    /// (Specification: OCI image-spec, `layer.md`.)
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] as the rules above say;
    /// [`ErrorKind::Cancelled`] and [`ErrorKind::Timeout`] by `ctx`.
    pub fn overlay(&mut self, layer: SourceIndex, ctx: &Context) -> Result<()> {
        self.newest = self.newest.max(layer.newest().unwrap_or(self.newest));
        self.apply(layer, NodeId::ROOT, &Role::Overlay, ctx)
    }

    /// Drops everything that stands under `target` and puts an application
    /// there.
    ///
    /// `target` is a path inside the root; symbolic links of the tree are
    /// followed, also the last component's. Missing directories are made.
    /// The target's own owner, mode and times are the application's if it has
    /// an entry for its root (`./`), else those it had if it was a directory.
    /// Anything else than a directory in its place is replaced by one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the target is the root, has `..`, runs
    /// in a circle or through something that is no directory, or if nothing is
    /// left of an application once components are stripped;
    /// [`ErrorKind::InvalidData`] for an application that breaks the rules
    /// above; [`ErrorKind::Cancelled`] and [`ErrorKind::Timeout`] by `ctx`.
    pub fn replace(
        &mut self,
        target: &str,
        application: SourceIndex,
        options: &ReplaceOptions,
        ctx: &Context,
    ) -> Result<()> {
        let node = self.clear_target(target)?;
        self.rules.push(Rules { owner: options.owner });
        let rules = u16::try_from(self.rules.len())
            .map_err(|_| Error::new(ErrorKind::InvalidConfig, "too many applications"))?;
        let strip = options.strip_components;
        let (name, was_empty) = (application.name().to_owned(), application.is_empty());
        let before = self.nodes.live();
        self.apply(application, node, &Role::Application { rules, strip }, ctx)?;
        if strip > 0 && !was_empty && self.nodes.live() == before {
            let message = format!("nothing is left of {name} without {strip} leading components");
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .with("strip_components", strip.to_string())
                .hint("strip fewer of them"));
        }
        Ok(())
    }

    /// Leaves out everything whose path matches one of the patterns, and what
    /// is under it. Returns how many entries that were.
    ///
    /// Patterns match the whole path, without its leading `/` or `./`; `*` and `?`
    /// stop at `/`, `**` does not: `var/cache/apt/*`, `**/*.pyc`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a pattern that is none, or that can
    /// match nothing: an empty one, one with `..`, one that begins with `!`.
    pub fn exclude(&mut self, patterns: &[String]) -> Result<usize> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            set.add(exclude::glob(pattern)?);
        }
        let set = set.build().map_err(|error| {
            let message = "the patterns of what is left out are too much together";
            Error::new(ErrorKind::InvalidConfig, message).caused_by(error)
        })?;
        let before = self.nodes.live();
        let mut next = 1;
        // One after the other: removing a directory takes later nodes along.
        while let Some(node) = self.nodes.at_or_after(next) {
            let path = self.nodes.path(node);
            if set.is_match(Path::new(OsStr::from_bytes(&path))) {
                self.nodes.remove(node);
            }
            next = node.index() + 1;
        }
        Ok(before - self.nodes.live())
    }

    /// Puts a file in place, instead of what has its name. Symbolic links on
    /// the way are followed inside the root, one of that very name is
    /// replaced. Missing directories are made.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if a directory is in its place, or if the
    /// path has `..`, runs in a circle or through something that is no
    /// directory.
    pub fn inject(&mut self, file: InjectedFile) -> Result<()> {
        let refuse = |why: String| {
            let message = format!("cannot put a file at '{}': {why}", file.path);
            Error::new(ErrorKind::InvalidConfig, message)
        };
        let path = name::normalize(file.path.as_bytes()).map_err(|why| refuse(why.to_string()))?;
        let (parent, name) = split(&path);
        if name.is_empty() {
            return Err(refuse("it is the root".to_owned()));
        }
        let walk = self
            .walk(NodeId::ROOT, parent, Links::Follow)
            .map_err(|lost| refuse(lost.to_string()))?;
        let (node, missing) = (walk.node, owned(&walk.missing));
        if self.kind(node) != Kind::Directory {
            return Err(refuse(format!("'{}' is not a directory", name::show(parent))));
        }
        let parent = self.make_directories(node, &missing, file.directory_mode & 0o7777)?;
        if let Some(old) = self.nodes.child(parent, name) {
            if self.kind(old) == Kind::Directory {
                return Err(refuse("there is a directory of that name".to_owned()));
            }
            self.nodes.remove(old);
        }
        let made = Made {
            content: Some(file.content.into()),
            mode: file.mode & 0o7777,
            uid: file.uid,
            gid: file.gid,
        };
        self.add_made(parent, name, made, Kind::File)?;
        Ok(())
    }

    /// Fails if a tar of this tree was written to since it was indexed: what
    /// a sink made of it is then of no use. Tells by size and time of
    /// modification. Ask after writing, before the result gets its name.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`]; those of looking at a file.
    pub fn verify_unchanged(&self) -> Result<()> {
        self.layers.iter().try_for_each(|layer| layer.verify_unchanged())
    }

    /// The real path of what `path` leads to, with every symbolic link
    /// resolved inside the root. `None` if there is nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the path runs in a circle or through
    /// something that is no directory.
    pub fn resolve(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.find(path)?.map(|node| self.nodes.path(node)))
    }

    /// The entry that `path` leads to, symbolic links followed inside the
    /// root. One with several names is shown as what it is, not as a link.
    ///
    /// # Errors
    /// As [`Tree::resolve`]; those of reading a layer.
    pub fn lookup(&self, path: &str) -> Result<Option<Entry>> {
        self.find(path)?.map(|node| self.entry(node)).transpose()
    }

    /// The names in the directory that `path` leads to, in order; none if
    /// there is nothing, or something else than a directory.
    ///
    /// # Errors
    /// As [`Tree::resolve`].
    pub fn list(&self, path: &str) -> Result<Vec<Vec<u8>>> {
        let found = self.find(path)?;
        let names = found.into_iter().flat_map(|node| self.nodes.children(node));
        Ok(names.map(|node| self.nodes.name(node).to_vec()).collect())
    }

    pub(crate) fn find(&self, path: &str) -> Result<Option<NodeId>> {
        let walk = self.walk(NodeId::ROOT, path.as_bytes(), Links::Follow).map_err(|lost| {
            Error::new(ErrorKind::InvalidConfig, format!("cannot follow '{path}': {lost}"))
        })?;
        Ok(walk.missing.is_empty().then_some(walk.node))
    }

    /// The time for what a sink makes itself, a root that is in no source for
    /// example, in seconds of Unix time: `SOURCE_DATE_EPOCH` if that was given,
    /// else the newest time of the sources.
    #[must_use]
    pub fn made_time(&self) -> i64 {
        self.epoch.unwrap_or(self.newest)
    }

    fn clear_target(&mut self, target: &str) -> Result<NodeId> {
        let refuse = |why: String| {
            let message = format!("cannot put an application at '{target}': {why}");
            Error::new(ErrorKind::InvalidConfig, message)
        };
        let path = name::normalize(target.as_bytes()).map_err(|why| refuse(why.to_string()))?;
        let walk = self
            .walk(NodeId::ROOT, &path, Links::Follow)
            .map_err(|lost| refuse(lost.to_string()))?;
        let (node, missing) = (walk.node, owned(&walk.missing));
        if !missing.is_empty() {
            return self.make_directories(node, &missing, DIRECTORY_MODE);
        }
        if node == NodeId::ROOT {
            return Err(refuse("it is the root, and the whole base would go".to_owned()));
        }
        if self.kind(node) == Kind::Directory {
            self.nodes.remove_children(node);
            return Ok(node);
        }
        let (parent, name) = (self.nodes.parent(node), self.nodes.name(node).to_vec());
        self.nodes.remove(node);
        self.make_directories(parent, &[name], DIRECTORY_MODE)
    }

    /// Makes the directories `names`, each in the one before.
    fn make_directories(&mut self, start: NodeId, names: &[Vec<u8>], mode: u32) -> Result<NodeId> {
        names.iter().try_fold(start, |parent, name| {
            let made = Made { content: None, mode, uid: 0, gid: 0 };
            self.add_made(parent, name, made, Kind::Directory)
        })
    }

    fn add_made(&mut self, parent: NodeId, name: &[u8], made: Made, kind: Kind) -> Result<NodeId> {
        let entry = row(self.made.len())?;
        self.made.push(made);
        let inode = self.add_inode(Inode { layer: MADE, rules: 0, entry, kind })?;
        self.nodes.add(parent, name, Given { inode, layer: MADE, entry, moved: false })
    }

    fn add_inode(&mut self, inode: Inode) -> Result<u32> {
        let at = row(self.inodes.len())?;
        self.inodes.push(inode);
        Ok(at)
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree")
            .field("layers", &self.layers)
            .field("entries", &self.nodes.live())
            .finish_non_exhaustive()
    }
}

fn row(index: usize) -> Result<u32> {
    u32::try_from(index)
        .map_err(|_| Error::new(ErrorKind::InvalidData, "the file system has too many entries"))
}

fn owned(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.to_vec()).collect()
}

/// Parent and own name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

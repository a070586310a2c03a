//! What a tree needs: an inode for each file, blocks for each inode.

use sha2::{Digest as _, Sha256};

use super::directory::{Directory, FileType, Name};
use super::extents::{self, Run};
use super::geometry::BLOCK;
use super::inode::{self, MAX_INLINE_TARGET, MAX_LINKS};
use super::options::Ext4Options;
use super::space::Space;
use super::xattr::Attributes;
use crate::rootfs::entry::{Content, EntryKind, Metadata};
use crate::rootfs::index::Kind;
use crate::rootfs::name;
use crate::rootfs::tree::{NodeId, NodeReader, Outline, Tree};
use crate::{Context, Error, ErrorKind, Result};

/// The inodes that are kept for something, but root and `lost+found`.
pub(super) const RESERVED_INODES: u32 = 10;
/// Places of the root and of `lost+found` among the inodes.
pub(super) const ROOT: usize = 0;
pub(super) const LOST_AND_FOUND: usize = 1;
/// Blocks of a `lost+found` that the tree does not bring, as `mke2fs` has it.
pub(super) const LOST_AND_FOUND_BLOCKS: u32 = 4;
/// Where `e2fsck` puts what it finds.
pub(super) const LOST_AND_FOUND_NAME: &[u8] = b"lost+found";
/// A row of the tree that has no inode.
const NONE: u32 = u32::MAX;

/// One inode, as small as can be: a tree has hundreds of thousands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    /// The first of its names.
    pub(super) node: NodeId,
    /// How many blocks it needs beside its tree; once they have their place,
    /// the number of the first.
    pub(super) start: u32,
    /// How many names a file has.
    pub(super) links: u16,
    flags: u8,
}

impl Planned {
    const ATTRIBUTE_BLOCK: u8 = 1;
    const SPARSE: u8 = 2;
    const BLOCK_DEVICE: u8 = 4;

    fn new(node: NodeId) -> Self {
        Self { node, start: 0, links: 1, flags: 0 }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether its attributes have a block of their own, before its data.
    pub(super) fn has_attribute_block(&self) -> bool {
        self.has(Self::ATTRIBUTE_BLOCK)
    }

    /// Whether it is a block device, which the kind does not tell.
    pub(super) fn is_block_device(&self) -> bool {
        self.has(Self::BLOCK_DEVICE)
    }
}

/// All inodes of a tree: the root, `lost+found`, then everything else in the
/// order of the first names.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) inodes: Vec<Planned>,
    /// Which of them belongs to a row of the tree's table.
    rows: Vec<u32>,
    /// Whether the tree has no `lost+found` of its own.
    pub(super) makes_lost_and_found: bool,
    /// Names, hard links included.
    pub(super) names: u64,
    /// Blocks of all content but the trees of extents.
    pub(super) blocks: u64,
    /// Blocks that the trees of sparse files need at most.
    pub(super) sparse_trees: u64,
    /// A digest of all that was looked at.
    pub(super) digest: [u8; 32],
}

impl Survey {
    /// Goes over a tree. Only what has extended attributes or holes and
    /// devices are read again.
    pub(super) fn of(tree: &Tree, options: &Ext4Options, ctx: &Context) -> Result<Self> {
        let mut survey = Self {
            inodes: vec![Planned::new(tree.root()); 2],
            rows: vec![NONE; tree.inode_count()],
            makes_lost_and_found: true,
            names: 0,
            blocks: 0,
            sparse_trees: 0,
            digest: [0; 32],
        };
        survey.place_lost_and_found(tree)?;
        let mut digest = Fingerprint::new(options);
        let mut reader = tree.reader();
        for node in tree.nodes() {
            survey.add(tree, node, &mut reader, &mut digest)?;
            survey.names += 1;
            if survey.names.is_multiple_of(1024) {
                ctx.check()?;
            }
        }
        check_time(tree)?;
        survey.inodes.shrink_to_fit();
        survey.digest = digest.finish();
        survey.size_directories(tree, ctx)?;
        survey.blocks = survey.inodes.iter().map(|planned| u64::from(planned.start)).sum();
        Ok(survey)
    }

    /// The digest as a UUID (RFC 9562, version 8: custom).
    pub(super) fn uuid(&self) -> [u8; 16] {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&self.digest[..16]);
        uuid[6] = uuid[6] & 0x0F | 0x80;
        uuid[8] = uuid[8] & 0x3F | 0x80;
        uuid
    }

    /// The seed of the hashes in directories.
    pub(super) fn hash_seed(&self) -> [u32; 4] {
        let mut seed = [0; 4];
        for (word, bytes) in seed.iter_mut().zip(self.digest[16..].chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        seed
    }

    /// How many inodes are in use, those kept for something included.
    pub(super) fn used_inodes(&self) -> u64 {
        // The root is one of those.
        u64::from(RESERVED_INODES) + self.inodes.len() as u64 - 1
    }

    /// The place of a node's inode.
    pub(super) fn index(&self, tree: &Tree, node: NodeId) -> usize {
        self.rows[tree.inode_row(node)] as usize
    }

    /// Whether the inode is a directory.
    pub(super) fn is_directory(&self, tree: &Tree, index: usize) -> bool {
        self.makes(index) || tree.kind_of(self.inodes[index].node) == Kind::Directory
    }

    /// Whether the inode is a `lost+found` that the tree does not bring.
    pub(super) fn makes(&self, index: usize) -> bool {
        self.makes_lost_and_found && index == LOST_AND_FOUND
    }

    /// What an inode is, as directories note it.
    pub(super) fn file_type(&self, tree: &Tree, index: usize) -> FileType {
        match tree.kind_of(self.inodes[index].node) {
            Kind::File | Kind::Hardlink => FileType::File,
            Kind::Directory => FileType::Directory,
            Kind::Symlink => FileType::Symlink,
            Kind::Fifo => FileType::Fifo,
            Kind::Device if self.inodes[index].is_block_device() => FileType::BlockDevice,
            Kind::Device => FileType::CharDevice,
        }
    }

    /// The names in a directory; those of the root with `lost+found`.
    pub(super) fn names_in<'t>(&self, tree: &'t Tree, node: NodeId) -> Vec<Name<'t>> {
        let name = |child| {
            let index = self.index(tree, child);
            let inode = number(index);
            Name { name: tree.name(child), inode, file_type: self.file_type(tree, index) }
        };
        let made = (self.makes_lost_and_found && node == tree.root()).then_some(Name {
            name: LOST_AND_FOUND_NAME,
            inode: number(LOST_AND_FOUND),
            file_type: FileType::Directory,
        });
        made.into_iter().chain(tree.children(node).map(name)).collect()
    }

    /// The runs of data of an inode that needs `blocks` beside its tree.
    pub(super) fn runs(
        &self,
        tree: &Tree,
        index: usize,
        blocks: u32,
        reader: &mut NodeReader<'_>,
    ) -> Result<Vec<Run>> {
        let planned = &self.inodes[index];
        if planned.has(Planned::SPARSE) {
            let (_, _, content) = reader.read(planned.node)?;
            return runs_of(tree, planned.node, &content);
        }
        let length = blocks - u32::from(planned.has_attribute_block());
        Ok((length > 0).then_some(Run { logical: 0, length }).into_iter().collect())
    }

    /// Gives every inode its blocks, from number `first` on, and tells `place`
    /// their begin, one after the other. Returns the end, or `None` if the space does.
    pub(super) fn assign(
        &self,
        tree: &Tree,
        space: &Space,
        first: u32,
        mut place: impl FnMut(u32),
    ) -> Result<Option<u32>> {
        let mut reader = tree.reader();
        let mut next = u64::from(first);
        for (index, planned) in self.inodes.iter().enumerate() {
            let Some(start) = within(space, next, planned.start) else { return Ok(None) };
            place(start);
            next += u64::from(planned.start);
            if planned.start > 4 {
                let runs = self.runs(tree, index, planned.start, &mut reader)?;
                let data = start + u32::from(planned.has_attribute_block());
                let trees = extents::tree_blocks(extents::count(space, data, &runs));
                next += u64::from(trees);
            }
        }
        Ok(within(space, next, 0))
    }

    fn place_lost_and_found(&mut self, tree: &Tree) -> Result<()> {
        let mut children = tree.children(tree.root());
        let Some(node) = children.find(|node| tree.name(*node) == LOST_AND_FOUND_NAME) else {
            self.inodes[LOST_AND_FOUND].start = LOST_AND_FOUND_BLOCKS;
            return Ok(());
        };
        if tree.kind_of(node) != Kind::Directory {
            return Err(unsupported(tree, node, "is not a directory, which e2fsck needs it to be"));
        }
        self.makes_lost_and_found = false;
        self.inodes[LOST_AND_FOUND] = Planned::new(node);
        self.rows[tree.inode_row(node)] = NONE - 1;
        Ok(())
    }

    fn add(
        &mut self,
        tree: &Tree,
        node: NodeId,
        reader: &mut NodeReader<'_>,
        digest: &mut Fingerprint,
    ) -> Result<()> {
        let row = tree.inode_row(node);
        let (index, is_new) = match self.rows[row] {
            NONE if node == tree.root() => (ROOT, true),
            NONE => (self.inodes.len(), true),
            row if row == NONE - 1 => (LOST_AND_FOUND, true),
            row => (row as usize, false),
        };
        if is_new {
            self.rows[row] =
                u32::try_from(index).ok().filter(|row| *row < NONE - 1).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Unsupported,
                        "an ext4 file system has 2^32 inodes at most",
                    )
                })?;
        }
        digest.name(self.rows[tree.inode_row(tree.parent(node))], self.rows[row], tree.name(node));
        if !is_new {
            return self.add_link(tree, node, index);
        }
        if index == self.inodes.len() {
            self.inodes.push(Planned::new(node));
        }
        let outline = tree.outline(node);
        digest.outline(&outline);
        self.measure(tree, node, index, &outline, reader, digest)
    }

    fn add_link(&mut self, tree: &Tree, node: NodeId, index: usize) -> Result<()> {
        let links = &mut self.inodes[index].links;
        if *links >= MAX_LINKS {
            return Err(unsupported(tree, node, "is one of more than 65,000 hard links to a file"));
        }
        *links += 1;
        Ok(())
    }

    /// Notes what an inode needs, and refuses what ext4 cannot keep.
    fn measure(
        &mut self,
        tree: &Tree,
        node: NodeId,
        index: usize,
        outline: &Outline<'_>,
        reader: &mut NodeReader<'_>,
        digest: &mut Fingerprint,
    ) -> Result<()> {
        if outline.mtime.is_some_and(|seconds| !inode::can_keep(seconds)) {
            let why = "was modified before 1901 or after 2446, which ext4 cannot say";
            return Err(unsupported(tree, node, why));
        }
        let is_sparse = outline.kind == Kind::File && outline.stored < outline.size;
        let mut blocks = match outline.kind {
            Kind::File => data_blocks(outline.size)
                .ok_or_else(|| unsupported(tree, node, "is larger than 16 TiB"))?,
            Kind::Symlink => u32::from(outline.target.len() > MAX_INLINE_TARGET),
            _ => 0,
        };
        let mut flags = 0;
        if is_sparse || outline.has_attributes || outline.kind == Kind::Device {
            let (kind, metadata, content) = reader.read(node)?;
            if attributes(tree, node, &kind, &metadata)?.need_block() {
                flags |= Planned::ATTRIBUTE_BLOCK;
            }
            if is_sparse {
                flags |= Planned::SPARSE;
                let runs = runs_of(tree, node, &content)?;
                blocks = runs.iter().map(|run| run.length).sum();
                self.sparse_trees += u64::from(extents::tree_blocks(2 * runs.len()));
            }
            flags |= device_flags(tree, node, &kind)?;
            digest.details(&kind, &metadata);
        }
        let planned = &mut self.inodes[index];
        planned.flags = flags;
        planned.start = blocks + u32::from(planned.has_attribute_block());
        Ok(())
    }

    /// Directories can be sized once all names and the hash's seed are known.
    fn size_directories(&mut self, tree: &Tree, ctx: &Context) -> Result<()> {
        let seed = self.hash_seed();
        for index in 0..self.inodes.len() {
            if self.makes(index) || !self.is_directory(tree, index) {
                continue;
            }
            ctx.check()?;
            let node = self.inodes[index].node;
            let blocks = Directory::arrange(self.names_in(tree, node), &seed)
                .ok_or_else(|| unsupported(tree, node, "has more names than ext4 can index"))?
                .blocks();
            self.inodes[index].start += blocks;
        }
        Ok(())
    }
}

/// Refuses a time for what flock makes that ext4 cannot say.
fn check_time(tree: &Tree) -> Result<()> {
    let seconds = tree.made_time();
    if inode::can_keep(seconds) {
        return Ok(());
    }
    let message = format!("ext4 cannot say the time of the build, {seconds} seconds since 1970");
    Err(Error::new(ErrorKind::Unsupported, message).hint("set SOURCE_DATE_EPOCH to another time"))
}

/// The number of the inode at a place.
pub(super) fn number(index: usize) -> u32 {
    match index {
        ROOT => 2,
        // The survey refuses more.
        _ => RESERVED_INODES + u32::try_from(index).unwrap_or(u32::MAX - RESERVED_INODES),
    }
}

/// The attributes of a node, in ext4's form.
pub(super) fn attributes(
    tree: &Tree,
    node: NodeId,
    kind: &EntryKind,
    metadata: &Metadata,
) -> Result<Attributes> {
    Attributes::of(kind, metadata).map_err(|unfit| unsupported(tree, node, &unfit.to_string()))
}

/// The stretches of data of a node's content.
pub(super) fn runs_of(tree: &Tree, node: NodeId, content: &Content) -> Result<Vec<Run>> {
    extents::runs_of(content).ok_or_else(|| unsupported(tree, node, "is larger than 16 TiB"))
}

/// An error about what ext4 cannot hold.
pub(super) fn unsupported(tree: &Tree, node: NodeId, why: &str) -> Error {
    let path = name::show(&tree.path(node));
    Error::new(ErrorKind::Unsupported, format!("ext4 cannot hold '{path}': it {why}"))
        .with("path", path)
        .hint("leave it out with an exclude pattern, or change it in its source")
}

fn device_flags(tree: &Tree, node: NodeId, kind: &EntryKind) -> Result<u8> {
    let (flags, major, minor) = match kind {
        EntryKind::BlockDevice { major, minor } => (Planned::BLOCK_DEVICE, *major, *minor),
        EntryKind::CharDevice { major, minor } => (0, *major, *minor),
        _ => return Ok(0),
    };
    match inode::device(major, minor) {
        Some(_) => Ok(flags),
        None => Err(unsupported(tree, node, "is a device whose number Linux does not have")),
    }
}

/// Blocks of a file without holes; `None` beyond what a file can have.
fn data_blocks(size: u64) -> Option<u32> {
    u32::try_from(size.div_ceil(BLOCK)).ok().filter(|blocks| *blocks < u32::MAX)
}

/// A place in the space, if `count` blocks from there on are in it.
fn within(space: &Space, start: u64, count: u32) -> Option<u32> {
    let end = start + u64::from(count);
    u32::try_from(start).ok().filter(|_| end <= u64::from(space.capacity()))
}

/// The digest of which UUID and hash seed are made.
struct Fingerprint {
    digest: Sha256,
    buffer: Vec<u8>,
}

impl Fingerprint {
    fn new(options: &Ext4Options) -> Self {
        let Ext4Options { size, label, uuid, inodes, reserved_percent, around: _, threads: _ } =
            options;
        let text =
            format!("flock ext4 1 {size:?} {label:?} {uuid:?} {inodes:?} {reserved_percent}\n");
        Self { digest: Sha256::new(), buffer: text.into_bytes() }
    }

    fn name(&mut self, parent: u32, inode: u32, name: &[u8]) {
        if self.buffer.len() > 1 << 16 {
            self.digest.update(&self.buffer);
            self.buffer.clear();
        }
        self.buffer.extend_from_slice(&parent.to_le_bytes());
        self.buffer.extend_from_slice(&inode.to_le_bytes());
        self.bytes(name);
    }

    fn outline(&mut self, outline: &Outline<'_>) {
        self.buffer.push(outline.kind as u8);
        for number in [outline.size, outline.stored, outline.mtime.unwrap_or(0).cast_unsigned()] {
            self.buffer.extend_from_slice(&number.to_le_bytes());
        }
        self.bytes(outline.target);
    }

    fn details(&mut self, kind: &EntryKind, metadata: &Metadata) {
        if let EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } =
            kind
        {
            self.buffer.extend_from_slice(&major.to_le_bytes());
            self.buffer.extend_from_slice(&minor.to_le_bytes());
        }
        for xattr in &metadata.xattrs {
            self.bytes(&xattr.name);
            self.bytes(&xattr.value);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(bytes);
    }

    fn finish(mut self) -> [u8; 32] {
        self.digest.update(&self.buffer);
        self.digest.finalize().into()
    }
}

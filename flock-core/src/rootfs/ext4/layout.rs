//! The whole file system on paper.

use std::ops::Range;
use std::path::Path;

use super::descriptor::within;
use super::extents;
use super::frame::{Frame, smallest};
use super::geometry::{BLOCK, Geometry, INODES_PER_BLOCK, Misfit};
use super::groups::merged;
use super::options::Ext4Options;
use super::resize;
use super::superblock;
use super::survey::{Survey, runs_of};
use crate::rootfs::index::Kind;
use crate::rootfs::tree::Tree;
use crate::{Context, Error, ErrorKind, Result};

/// The largest file system that flock makes: block numbers have 32 bits.
const MAX_SIZE: u64 = (BLOCK << 32) - BLOCK;
/// What the default size is rounded to, and how much it is at least.
const GIB: u64 = 1 << 30;
const MIN_DEFAULT_SIZE: u64 = 2 * GIB;

/// A complete ext4 file system on paper: every block has its place.
///
/// Nothing was written yet, and everything that could stand in the way was
/// found: a disk that is too small, what ext4 cannot hold. It keeps twelve
/// bytes for every inode and four for every entry of the tree.
pub struct Ext4Layout<'t> {
    pub(super) tree: &'t Tree,
    pub(super) options: Ext4Options,
    pub(super) survey: Survey,
    pub(super) frame: Frame,
    pub(super) uuid: [u8; 16],
    pub(super) size: u64,
    /// The double-indirect block of the resize inode.
    pub(super) resize_block: u32,
    /// Where the tree's content ends, as a number of the space.
    pub(super) end: u32,
    /// All blocks in use: ascending, not touching.
    pub(super) taken: Vec<Range<u32>>,
    /// What the disk is called in messages.
    pub(super) name: String,
}

/// A stretch of a file's content on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileExtent {
    /// Where in the file it begins, in bytes: a multiple of 4,096.
    pub file_offset: u64,
    /// Where on the disk or partition it begins, in bytes: a multiple of
    /// 4,096.
    pub disk_offset: u64,
    /// Its length in bytes, to the end of the last block.
    pub length: u64,
}

impl<'t> Ext4Layout<'t> {
    /// Lays out the file system of a finished tree.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for options that no file system can have,
    /// and for a size that is too small: its context has `needed_bytes`, the
    /// least that would do. [`ErrorKind::Unsupported`] for an entry that ext4
    /// cannot hold, and for trees beyond 16 TiB. Those of reading a layer;
    /// [`ErrorKind::Cancelled`] and [`ErrorKind::Timeout`] by `ctx`.
    pub fn plan(tree: &'t Tree, options: &Ext4Options, ctx: &Context) -> Result<Self> {
        options.check()?;
        let mut survey = Survey::of(tree, options, ctx)?;
        let (size, frame) = frame(options, &survey)?;
        let (resize_block, first) = frame.special_blocks();
        let mut starts = Vec::with_capacity(survey.inodes.len());
        let end = survey
            .assign(tree, &frame.space, first, |start| starts.push(start))?
            .ok_or_else(|| refuse(size, Misfit::Small, options, &survey))?;
        for (planned, start) in survey.inodes.iter_mut().zip(starts) {
            planned.start = start;
        }
        let mut taken = frame.groups.taken.clone();
        taken.extend(frame.space.pieces(0, end));
        Ok(Self {
            tree,
            options: options.clone(),
            uuid: options.uuid.unwrap_or_else(|| survey.uuid()),
            survey,
            frame,
            size,
            resize_block,
            end,
            taken: merged(taken),
            name: "the file system".to_owned(),
        })
    }

    /// Sets what the disk is called in messages.
    #[must_use]
    pub fn with_name(mut self, path: &Path) -> Self {
        self.name = path.display().to_string();
        self
    }

    /// The size of the disk or partition that it is for, in bytes. The file
    /// system itself may end a few MiB before, where a last group would have
    /// no room for files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The UUID, in the order of its text form.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// The volume label; empty for none.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.options.label
    }

    /// What will be written, in bytes from the begin: ascending, not touching.
    /// Everything else stays as it is and must read as zeros, except the
    /// first 1,024 bytes, which are a boot loader's.
    #[must_use]
    pub fn used(&self) -> Vec<Range<u64>> {
        let bytes =
            |blocks: Range<u32>| u64::from(blocks.start) * BLOCK..u64::from(blocks.end) * BLOCK;
        let first = superblock::OFFSET..superblock::OFFSET + superblock::SIZE as u64;
        let blocks = merged(self.written_blocks());
        std::iter::once(first).chain(blocks.into_iter().map(bytes)).collect()
    }

    /// Where the content of a regular file will stand; symbolic links in the
    /// path are followed inside the tree. Holes have no extent.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is nothing of that name,
    /// [`ErrorKind::InvalidConfig`] if it is no regular file or the path
    /// leads nowhere; those of reading a layer.
    pub fn file_extents(&self, path: &str) -> Result<Vec<FileExtent>> {
        let node = self.tree.find(path)?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no '{path}' in the tree"))
        })?;
        if self.tree.kind_of(node) != Kind::File {
            let message = format!("'{path}' is not a regular file");
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        let planned = &self.survey.inodes[self.survey.index(self.tree, node)];
        let (_, _, content) = self.tree.reader().read(node)?;
        let data = planned.start + u32::from(planned.has_attribute_block());
        let extents = extents::map(&self.frame.space, data, &runs_of(self.tree, node, &content)?);
        let in_bytes = |extent: extents::Extent| FileExtent {
            file_offset: u64::from(extent.logical) * BLOCK,
            disk_offset: u64::from(extent.physical) * BLOCK,
            length: u64::from(extent.length) * BLOCK,
        };
        Ok(extents.into_iter().map(in_bytes).collect())
    }

    pub(super) fn geometry(&self) -> &Geometry {
        &self.frame.geometry
    }

    /// How many inodes of a group are in use: the first ones.
    pub(super) fn used_inodes_in(&self, group: u32) -> u32 {
        let per_group = u64::from(self.geometry().inodes_per_group);
        let before = u64::from(group) * per_group;
        let used = self.survey.used_inodes().saturating_sub(before).min(per_group);
        u32::try_from(used).unwrap_or(0)
    }

    /// How many blocks of a group are free.
    pub(super) fn free_blocks_in(&self, group: u32) -> u32 {
        let taken: u32 =
            within(self.geometry(), group, &self.taken).map(|range| range.end - range.start).sum();
        self.geometry().blocks_in_group(group) - taken
    }

    /// Whether a group's block bitmap must be written. It need not where only
    /// the copies of superblock and descriptors are in use; the last one
    /// always is.
    pub(super) fn has_block_bitmap(&self, group: u32) -> bool {
        let geometry = self.geometry();
        let own = geometry.backup_blocks(group);
        group + 1 == geometry.groups
            || self.free_blocks_in(group) + own < geometry.blocks_in_group(group)
    }

    /// All blocks that are written, but the first.
    fn written_blocks(&self) -> Vec<Range<u32>> {
        let geometry = self.geometry();
        let mut blocks = Vec::new();
        let descriptors = geometry.descriptor_blocks;
        blocks.push(1..1 + descriptors);
        if resize::is_needed(geometry) {
            blocks.push(resize::reserved(geometry));
        }
        for group in geometry.backup_groups() {
            let start = geometry.first_block(group);
            blocks.push(start..start + 1 + descriptors);
        }
        for (group, place) in (0..).zip(&self.frame.groups.places) {
            if self.has_block_bitmap(group) {
                blocks.push(place.block_bitmap..place.block_bitmap + 1);
            }
            let used = self.used_inodes_in(group).div_ceil(INODES_PER_BLOCK);
            if used > 0 {
                blocks.push(place.inode_bitmap..place.inode_bitmap + 1);
                blocks.push(place.inode_table..place.inode_table + used);
            }
        }
        let journal = geometry.journal_blocks;
        blocks.extend(self.frame.space.pieces(0, 1));
        blocks.extend(self.frame.space.pieces(journal, self.end - journal));
        blocks
    }
}

impl std::fmt::Debug for Ext4Layout<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ext4Layout")
            .field("size", &self.size)
            .field("inodes", &self.survey.inodes.len())
            .finish_non_exhaustive()
    }
}

/// The size that was chosen, or the default one; and what is in it.
fn frame(options: &Ext4Options, survey: &Survey) -> Result<(u64, Frame)> {
    let size = match options.size {
        Some(size) => size,
        None => {
            let needed = smallest(options, survey).ok_or_else(too_much)?;
            let disk = (2 * needed).saturating_add(options.around);
            let disk = disk.checked_next_multiple_of(GIB).unwrap_or(u64::MAX);
            disk.clamp(MIN_DEFAULT_SIZE, MAX_SIZE).saturating_sub(options.around)
        }
    };
    let frame = Frame::new(size, options, survey);
    Ok((size, frame.map_err(|why| refuse(size, why, options, survey))?))
}

fn too_much() -> Error {
    let message = "an ext4 file system of 16 TiB, the largest that flock makes, is too small";
    Error::new(ErrorKind::Unsupported, message)
}

fn refuse(size: u64, why: Misfit, options: &Ext4Options, survey: &Survey) -> Error {
    if why == Misfit::Large {
        let message =
            format!("an ext4 file system cannot have {size} bytes: below 16 TiB with flock");
        return Error::new(ErrorKind::InvalidConfig, message);
    }
    let Some(needed) = smallest(options, survey) else { return too_much() };
    let inodes = survey.used_inodes();
    let message = format!(
        "an ext4 file system of {size} bytes is too small: {inodes} inodes and their content need \
         {needed} bytes ({} MiB) at least",
        needed >> 20
    );
    Error::new(ErrorKind::InvalidConfig, message)
        .with("size_bytes", size.to_string())
        .with("needed_bytes", needed.to_string())
        .with("needed_inodes", inodes.to_string())
        .hint("give the disk more room, or leave something out")
}

//! A file system without content: its groups, and the room between them.

use super::extents::{self, Run};
use super::geometry::{BLOCK, Geometry, Misfit};
use super::groups::Groups;
use super::options::Ext4Options;
use super::resize;
use super::space::Space;
use super::survey::Survey;

const MIB: u64 = 1 << 20;
/// Where the search for a size begins and ends.
const LEAST: u64 = 8 * MIB;
const MOST: u64 = (BLOCK << 32) - MIB;
/// Inodes that are free at least, beside a quarter.
const SPARE_INODES: u64 = 1024;

/// The fixed metadata of a file system of some size.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) geometry: Geometry,
    pub(super) groups: Groups,
    pub(super) space: Space,
}

impl Frame {
    /// The metadata for a disk of `size` bytes with inodes for a tree.
    pub(super) fn new(size: u64, options: &Ext4Options, survey: &Survey) -> Result<Self, Misfit> {
        let used = survey.used_inodes();
        let needed = match options.inodes {
            // Whoever chooses gets no more than that, unless it is too few.
            Some(_) => used,
            None => used + used / 4 + SPARE_INODES,
        };
        let geometry = Geometry::new(size, options.inodes, needed)?;
        let groups = Groups::place(&geometry)?;
        let space = Space::between(&groups.taken, geometry.blocks);
        Ok(Self { geometry, groups, space })
    }

    /// The journal as one run of blocks, from the first of the space on.
    pub(super) fn journal(&self) -> [Run; 1] {
        [Run { logical: 0, length: self.geometry.journal_blocks }]
    }

    /// Where the double-indirect block of the resize inode is, and the first
    /// block of the tree's content; by number of the space. The journal is
    /// before them, with the blocks of its own tree.
    pub(super) fn special_blocks(&self) -> (u32, u32) {
        let journal = extents::count(&self.space, 0, &self.journal());
        let resize_block = self.geometry.journal_blocks + extents::tree_blocks(journal);
        (resize_block, resize_block + u32::from(resize::is_needed(&self.geometry)))
    }

    /// Whether a tree's content fits, wherever its blocks come to stand.
    fn surely_fits(&self, survey: &Survey) -> bool {
        // An extent ends after 32,768 blocks or where a stretch does. Not one
        // in four needs a block of a tree.
        let trees = survey.blocks / 32_768 + self.space.stretches() as u64 + survey.sparse_trees;
        let (_, first) = self.special_blocks();
        u64::from(first) + survey.blocks + trees <= u64::from(self.space.capacity())
    }
}

/// The least size, in whole MiB, in which a tree fits. `None` beyond 16 TiB.
pub(super) fn smallest(options: &Ext4Options, survey: &Survey) -> Option<u64> {
    let fits =
        |size: u64| Frame::new(size, options, survey).is_ok_and(|frame| frame.surely_fits(survey));
    let mut low = (survey.blocks.saturating_mul(BLOCK) / MIB * MIB).max(LEAST);
    if low > MOST {
        return None;
    }
    let mut high = low;
    while !fits(high) {
        if high == MOST {
            return None;
        }
        low = high;
        high = (2 * high).min(MOST);
    }
    while high - low > MIB {
        let middle = (low + (high - low) / 2) / MIB * MIB;
        if fits(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

//! Where each group's bitmaps and inode table stand.
//!
//! Format: kernel documentation, ext4, "Flexible Block Groups".

use std::ops::Range;

use super::geometry::{FLEX_GROUPS, GROUP_BLOCKS, Geometry, Misfit};

/// Where the metadata of one group is, by block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) block_bitmap: u32,
    pub(super) inode_bitmap: u32,
    pub(super) inode_table: u32,
}

/// The fixed metadata of a file system.
#[derive(Debug)]
pub(super) struct Groups {
    /// One for each group.
    pub(super) places: Vec<Place>,
    /// All blocks of superblocks, descriptors, bitmaps and inode tables:
    /// ascending, not touching.
    pub(super) taken: Vec<Range<u32>>,
}

impl Groups {
    /// Places everything. The metadata of sixteen groups stands in the first
    /// of them: bitmaps together, then the inode tables.
    pub(super) fn place(geometry: &Geometry) -> Result<Self, Misfit> {
        let count = geometry.groups;
        let mut places = vec![Place::default(); count as usize];
        let mut taken = Vec::new();
        for first in (0..count).step_by(FLEX_GROUPS as usize) {
            let end = count.min(first + FLEX_GROUPS);
            let flex = &mut places[first as usize..end as usize];
            let mut cursor = Cursor::new(geometry, first, end);
            for place in flex.iter_mut() {
                place.block_bitmap = cursor.take(1)?;
            }
            for place in flex.iter_mut() {
                place.inode_bitmap = cursor.take(1)?;
            }
            for place in flex {
                place.inode_table = cursor.take(geometry.table_blocks())?;
            }
            taken.append(&mut cursor.taken);
        }
        let superblocks = std::iter::once(0).chain(geometry.backup_groups()).map(|group| {
            let start = geometry.first_block(group);
            start..start + geometry.backup_blocks(group)
        });
        taken.extend(superblocks);
        Ok(Self { places, taken: merged(taken) })
    }
}

/// Takes blocks of sixteen groups, one after the other.
struct Cursor<'g> {
    geometry: &'g Geometry,
    at: u32,
    end: u32,
    taken: Vec<Range<u32>>,
}

impl<'g> Cursor<'g> {
    fn new(geometry: &'g Geometry, first: u32, end: u32) -> Self {
        let last = end - 1;
        Self {
            geometry,
            at: geometry.first_block(first),
            end: geometry.first_block(last) + geometry.blocks_in_group(last),
            taken: Vec::new(),
        }
    }

    /// The first of `count` blocks in one piece.
    fn take(&mut self, count: u32) -> Result<u32, Misfit> {
        while let Some(behind) = self.obstacle(count) {
            self.at = behind;
        }
        let start = self.at;
        if self.end.saturating_sub(start) < count {
            return Err(Misfit::Small);
        }
        self.at += count;
        self.taken.push(start..self.at);
        Ok(start)
    }

    /// The end of the first superblock with descriptors that is in the way.
    fn obstacle(&self, count: u32) -> Option<u32> {
        let last = (self.at.saturating_add(count - 1)).min(self.end - 1) / GROUP_BLOCKS;
        (self.at / GROUP_BLOCKS..=last)
            .map(|group| self.geometry.first_block(group) + self.geometry.backup_blocks(group))
            .find(|behind| *behind > self.at && behind % GROUP_BLOCKS > 0)
    }
}

/// The same blocks, ascending and not touching.
pub(super) fn merged(mut ranges: Vec<Range<u32>>) -> Vec<Range<u32>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u32>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_mke2fs() {
        let geometry = Geometry::new(4 << 30, None, 0).unwrap();
        let groups = Groups::place(&geometry).unwrap();
        let place = |block_bitmap, inode_bitmap, inode_table| Place {
            block_bitmap,
            inode_bitmap,
            inode_table,
        };
        assert_eq!(groups.places[0], place(513, 529, 545));
        assert_eq!(groups.places[15], place(528, 544, 8225));
        let taken: u32 = groups.taken.iter().map(|range| range.end - range.start).sum();
        assert_eq!(taken + geometry.journal_blocks, 36_936);
    }

    #[test]
    fn nothing_overlaps_with_the_most_inodes() {
        for bytes in [100 << 20, 1 << 30, (2 << 30) + (200 << 20), 9 << 30] {
            let groups = (bytes / BLOCK_BYTES).div_ceil(u64::from(GROUP_BLOCKS));
            let geometry = Geometry::new(bytes, None, groups * 32_000).unwrap();
            let Ok(groups) = Groups::place(&geometry) else { panic!("{bytes}") };
            let taken: u32 = groups.taken.iter().map(|range| range.end - range.start).sum();
            let superblocks: u32 = (0..geometry.groups).map(|g| geometry.backup_blocks(g)).sum();
            let own = geometry.groups * (2 + geometry.table_blocks());
            assert_eq!(taken, superblocks + own, "{bytes}");
        }
    }

    const BLOCK_BYTES: u64 = super::super::geometry::BLOCK;
}

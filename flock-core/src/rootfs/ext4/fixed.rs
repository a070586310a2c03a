//! Writing what a file system has without files: superblocks, descriptors,
//! bitmaps, the blocks kept for growing.

use std::convert::Infallible;

use super::bytes::put;
use super::checksum::Seed;
use super::content::journal_inode;
use super::descriptor::{self, BLOCKS_UNUSED, Descriptor, INODES_UNUSED, TABLE_ZEROED};
use super::geometry::{BLOCK, BLOCK_SIZE, DESCRIPTOR_SIZE, GROUP_BLOCKS};
use super::layout::Ext4Layout;
use super::resize;
use super::superblock::{self, Superblock};
use super::target::Target;
use crate::Result;

impl Ext4Layout<'_> {
    /// Writes everything that does not belong to an inode.
    pub(super) fn write_fixed(&self, target: &Target<'_>) -> Result<()> {
        let geometry = self.geometry();
        let seed = Seed::of_file_system(&self.uuid);
        let descriptors = self.descriptors(seed);
        let superblock = self.superblock(&descriptors);
        let mut copy = vec![0; BLOCK_SIZE * (1 + geometry.descriptor_blocks as usize)];
        for (slot, descriptor) in
            copy[BLOCK_SIZE..].chunks_exact_mut(DESCRIPTOR_SIZE).zip(&descriptors)
        {
            put(slot, 0, &descriptor.encode(seed));
        }
        target.write(superblock::OFFSET, &superblock.encode(0))?;
        target.write(BLOCK, &copy[BLOCK_SIZE..])?;
        for group in geometry.backup_groups() {
            put(&mut copy, 0, &superblock.encode(group));
            target.write(u64::from(geometry.first_block(group)) * BLOCK, &copy)?;
        }
        self.write_bitmaps(target)?;
        self.write_reserved(target)
    }

    fn descriptors(&self, seed: Seed) -> Vec<Descriptor> {
        let mut directories = vec![0; self.geometry().groups as usize];
        for index in 0..self.survey.inodes.len() {
            if self.survey.is_directory(self.tree, index) {
                let group = (super::survey::number(index) - 1) / self.geometry().inodes_per_group;
                directories[group as usize] += 1;
            }
        }
        (0..)
            .zip(directories)
            .map(|(group, directories)| self.descriptor(group, directories, seed))
            .collect()
    }

    fn descriptor(&self, group: u32, directories: u32, seed: Seed) -> Descriptor {
        let geometry = self.geometry();
        let used_inodes = self.used_inodes_in(group);
        let mut descriptor = Descriptor {
            group,
            place: self.frame.groups.places[group as usize],
            flags: TABLE_ZEROED,
            free_blocks: self.free_blocks_in(group),
            free_inodes: geometry.inodes_per_group - used_inodes,
            directories,
            block_bitmap_sum: 0,
            inode_bitmap_sum: 0,
        };
        if self.has_block_bitmap(group) {
            let bitmap = descriptor::block_bitmap(geometry, group, &self.taken);
            descriptor.block_bitmap_sum = bitmap.sum(GROUP_BLOCKS, seed);
        } else {
            descriptor.flags |= BLOCKS_UNUSED;
        }
        if used_inodes > 0 {
            let bitmap = descriptor::inode_bitmap(geometry, used_inodes);
            descriptor.inode_bitmap_sum = bitmap.sum(geometry.inodes_per_group, seed);
        } else {
            descriptor.flags |= INODES_UNUSED;
        }
        descriptor
    }

    fn superblock(&self, descriptors: &[Descriptor]) -> Superblock<'_> {
        let geometry = *self.geometry();
        let fixed: u32 = self.frame.groups.taken.iter().map(|range| range.end - range.start).sum();
        let percent = u64::from(self.options.reserved_percent);
        let reserved = u64::from(geometry.blocks) * percent / 100;
        let written: u64 = self.used().iter().map(|range| range.end - range.start).sum();
        let journal = journal_inode::<Infallible>(self, Seed::START, |_, _| Ok(()));
        let Ok(journal) = journal;
        Superblock {
            geometry,
            uuid: self.uuid,
            hash_seed: self.survey.hash_seed(),
            label: &self.options.label,
            time: self.tree.made_time(),
            free_blocks: descriptors.iter().map(|group| group.free_blocks).sum(),
            free_inodes: descriptors.iter().map(|group| group.free_inodes).sum(),
            reserved_blocks: u32::try_from(reserved).unwrap_or(0),
            overhead: fixed + geometry.journal_blocks,
            written: written / 1024,
            journal_root: journal.root,
            journal_size: journal.size,
        }
    }

    fn write_bitmaps(&self, target: &Target<'_>) -> Result<()> {
        for (group, place) in (0..).zip(&self.frame.groups.places) {
            if self.has_block_bitmap(group) {
                let bitmap = descriptor::block_bitmap(self.geometry(), group, &self.taken);
                target.write(u64::from(place.block_bitmap) * BLOCK, &bitmap.0)?;
            }
            let used = self.used_inodes_in(group);
            if used > 0 {
                let bitmap = descriptor::inode_bitmap(self.geometry(), used);
                target.write(u64::from(place.inode_bitmap) * BLOCK, &bitmap.0)?;
            }
        }
        Ok(())
    }

    /// The blocks kept for more descriptors tell where their copies are.
    fn write_reserved(&self, target: &Target<'_>) -> Result<()> {
        let reserved = resize::reserved(self.geometry());
        let blocks: Vec<u8> =
            reserved.clone().flat_map(|block| resize::copies(self.geometry(), block)).collect();
        target.write(u64::from(reserved.start) * BLOCK, &blocks)
    }
}

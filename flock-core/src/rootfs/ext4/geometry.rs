//! The numbers that the whole layout follows from.
//!
//! Format: kernel documentation, ext4, "Block Groups", "Flexible Block
//! Groups", "Meta Block Groups". Defaults are those of `mke2fs`.

/// The size of a block in bytes.
pub(super) const BLOCK: u64 = 4096;
/// The same, for slices.
pub(super) const BLOCK_SIZE: usize = 4096;
/// Blocks in a group: as many as a bitmap of one block has bits.
pub(super) const GROUP_BLOCKS: u32 = 32_768;
/// Groups whose bitmaps and inode tables stand together.
pub(super) const FLEX_GROUPS: u32 = 16;
/// The size of an inode in bytes.
pub(super) const INODE_SIZE: u32 = 256;
/// Inodes in a block of the table.
pub(super) const INODES_PER_BLOCK: u32 = 16;
/// The size of a group descriptor in bytes.
pub(super) const DESCRIPTOR_SIZE: usize = 64;
/// Group descriptors in a block.
const DESCRIPTORS_PER_BLOCK: u32 = 64;
/// Block numbers in a block: of so many the resize inode can take care.
pub(super) const ADDRESSES_PER_BLOCK: u32 = 1024;
/// `mke2fs` makes no journal in anything smaller.
const MIN_BLOCKS: u32 = 2048;
/// What a last group must have beside its own metadata to be worth having.
const MIN_LAST_GROUP: u32 = 50;

/// Why a file system of some size cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// More blocks are needed.
    Small,
    /// Block numbers end at 2^32.
    Large,
    /// Its groups cannot have that many inodes.
    Inodes,
}

/// The numbers that the whole layout follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) blocks: u32,
    pub(super) groups: u32,
    pub(super) inodes_per_group: u32,
    /// Blocks of group descriptors.
    pub(super) descriptor_blocks: u32,
    /// Blocks kept free behind them, for growing while mounted.
    pub(super) reserved_descriptor_blocks: u32,
    pub(super) journal_blocks: u32,
}

impl Geometry {
    /// A file system of `bytes` with room for `needed` inodes, and with
    /// `wanted` if that is more.
    pub(super) fn new(bytes: u64, wanted: Option<u32>, needed: u64) -> Result<Self, Misfit> {
        let blocks = u32::try_from(bytes / BLOCK).map_err(|_| Misfit::Large)?;
        if blocks < MIN_BLOCKS {
            return Err(Misfit::Small);
        }
        let whole = Self::with_blocks(blocks, wanted, needed)?;
        if whole.is_last_group_useful() {
            return Ok(whole);
        }
        let trimmed = (whole.groups - 1) * GROUP_BLOCKS;
        Self::with_blocks(trimmed, wanted, needed)
    }

    fn with_blocks(blocks: u32, wanted: Option<u32>, needed: u64) -> Result<Self, Misfit> {
        let groups = blocks.div_ceil(GROUP_BLOCKS);
        let inodes = wanted.map_or_else(|| default_inodes(blocks), u64::from).max(needed);
        let per_group = inodes.div_ceil(u64::from(groups));
        let per_group = per_group.next_multiple_of(u64::from(INODES_PER_BLOCK));
        // A bitmap of one block has that many bits, too.
        let per_group = u32::try_from(per_group)
            .ok()
            .filter(|count| *count <= GROUP_BLOCKS && groups.checked_mul(*count).is_some())
            .ok_or(Misfit::Inodes)?;
        let descriptor_blocks = groups.div_ceil(DESCRIPTORS_PER_BLOCK);
        Ok(Self {
            blocks,
            groups,
            inodes_per_group: per_group,
            descriptor_blocks,
            reserved_descriptor_blocks: reserved_descriptor_blocks(blocks, descriptor_blocks),
            journal_blocks: journal_blocks(blocks),
        })
    }

    fn is_last_group_useful(&self) -> bool {
        let last = self.groups - 1;
        let own = self.backup_blocks(last) + 2 + self.table_blocks();
        last == 0 || self.blocks_in_group(last) >= own + MIN_LAST_GROUP
    }

    /// How many inodes there are.
    pub(super) fn inodes(&self) -> u32 {
        self.groups * self.inodes_per_group
    }

    /// Blocks of one group's inode table.
    pub(super) fn table_blocks(&self) -> u32 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    /// The first block of a group.
    pub(super) fn first_block(&self, group: u32) -> u32 {
        group * GROUP_BLOCKS
    }

    /// How many blocks a group has: fewer in the last one.
    pub(super) fn blocks_in_group(&self, group: u32) -> u32 {
        (self.blocks - self.first_block(group)).min(GROUP_BLOCKS)
    }

    /// How many blocks superblock and group descriptors take in a group, with
    /// what is reserved for more of them.
    pub(super) fn backup_blocks(&self, group: u32) -> u32 {
        match has_superblock(group) {
            true => 1 + self.descriptor_blocks + self.reserved_descriptor_blocks,
            false => 0,
        }
    }

    /// The groups that have a copy of superblock and group descriptors.
    pub(super) fn backup_groups(&self) -> impl Iterator<Item = u32> {
        (1..self.groups).filter(|group| has_superblock(*group))
    }
}

/// Whether a group begins with a superblock: 0, 1 and powers of 3, 5 and 7
/// (feature `sparse_super`).
fn has_superblock(group: u32) -> bool {
    let is_power = |base: u32| {
        let mut power = u64::from(base);
        while power < u64::from(group) {
            power *= u64::from(base);
        }
        power == u64::from(group)
    };
    group <= 1 || is_power(3) || is_power(5) || is_power(7)
}

fn default_inodes(blocks: u32) -> u64 {
    let bytes = u64::from(blocks) * BLOCK;
    let ratio = match bytes {
        0..0x2000_0000 => 4096,
        0x2000_0000..0x400_0000_0000 => 16_384,
        _ => 32_768,
    };
    bytes / ratio
}

/// Enough to grow to 1,024 times the size, as far as one inode can note them.
fn reserved_descriptor_blocks(blocks: u32, descriptor_blocks: u32) -> u32 {
    let most = (u64::from(blocks) * 1024).min(u64::from(u32::MAX));
    let groups = most.div_ceil(u64::from(GROUP_BLOCKS));
    let all = groups.div_ceil(u64::from(DESCRIPTORS_PER_BLOCK));
    let reserved = all.saturating_sub(u64::from(descriptor_blocks));
    u32::try_from(reserved).unwrap_or(u32::MAX).min(ADDRESSES_PER_BLOCK)
}

fn journal_blocks(blocks: u32) -> u32 {
    match blocks {
        0..0x8000 => 1024,
        0x8000..0x4_0000 => 4096,
        0x4_0000..0x8_0000 => 8192,
        0x8_0000..0x40_0000 => 16_384,
        0x40_0000..0x80_0000 => 32_768,
        0x80_0000..0x100_0000 => 65_536,
        0x100_0000..0x200_0000 => 131_072,
        _ => 262_144,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_mke2fs() {
        // (bytes, inodes, reserved descriptor blocks, journal) by mke2fs 1.47.0.
        let table = [
            (16 << 20, 4096, 1, 1024),
            (100 << 20, 25_600, 12, 1024),
            (600 << 20, 38_400, 74, 4096),
            (1500 << 20, 96_000, 187, 8192),
            (3 << 30, 196_608, 383, 16_384),
            (4 << 30, 262_144, 511, 16_384),
            (20 << 30, 1_310_720, 1024, 32_768),
            (300 << 30, 19_660_800, 1024, 262_144),
        ];
        for (bytes, inodes, reserved, journal) in table {
            let geometry = Geometry::new(bytes, None, 0).unwrap();
            let got =
                (geometry.inodes(), geometry.reserved_descriptor_blocks, geometry.journal_blocks);
            assert_eq!(got, (inodes, reserved, journal), "{bytes}");
        }
    }

    #[test]
    fn copies_stand_in_few_groups() {
        let geometry = Geometry::new(20 << 30, None, 0).unwrap();
        let groups: Vec<u32> = geometry.backup_groups().collect();
        assert_eq!(groups, [1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn a_last_group_without_use_is_left_out() {
        let geometry = Geometry::new((512 << 20) + (1 << 20), None, 0).unwrap();
        assert_eq!((geometry.groups, geometry.blocks), (4, 4 * GROUP_BLOCKS));
        assert_eq!(Geometry::new(4 << 20, None, 0), Err(Misfit::Small));
        assert_eq!(Geometry::new(1 << 44, None, 0), Err(Misfit::Large));
        assert_eq!(Geometry::new(1 << 30, None, 1 << 20), Err(Misfit::Inodes));
    }
}

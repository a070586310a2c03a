//! Directories: one block of names, or many with an index by hash.
//!
//! Format: kernel documentation, ext4, "Directory Entries" ("Linear
//! (Classic) Directories", "Hash Tree Directories").

use std::ops::Range;

use super::bytes::{put, put16, put32, short};
use super::checksum::Seed;
use super::geometry::BLOCK_SIZE;
use super::hash::{self, NameHash};

/// What stands before a name.
const HEADER: usize = 8;
/// The checksum at the end of a block of names, dressed as an entry.
const TAIL: usize = 12;
/// What a block of names has room for.
const ROOM: usize = BLOCK_SIZE - TAIL;
/// How much of it is filled in an indexed directory; the rest is for names to
/// come (`e2fsck -D` leaves as much).
const FILL: usize = ROOM * 4 / 5;
/// `.` and `..`.
const DOTS: usize = 24;
/// Entries of the index in the first block, and in others.
const ROOT_LIMIT: u16 = 507;
const NODE_LIMIT: u16 = 510;
/// Where the index begins in the first block, and in others.
const ROOT_INDEX: usize = 32;
const NODE_INDEX: usize = 8;
/// Blocks of names that the kernel finds without the feature `large_dir`.
const MOST_LEAVES: usize = ROOT_LIMIT as usize * NODE_LIMIT as usize;

/// What a name stands for, as directories note it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileType {
    File = 1,
    Directory = 2,
    CharDevice = 3,
    BlockDevice = 4,
    Fifo = 5,
    Symlink = 7,
}

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: u32,
    pub(super) file_type: FileType,
}

impl Name<'_> {
    fn size(&self) -> usize {
        HEADER + self.name.len().next_multiple_of(4)
    }
}

/// The names of one directory, arranged in blocks.
pub(super) struct Directory<'a> {
    names: Vec<Name<'a>>,
    /// The blocks of an index's names; empty if all names are in one block.
    leaves: Vec<Leaf>,
}

struct Leaf {
    names: Range<usize>,
    /// The least hash in it, with the lowest bit set if the block before has
    /// names of the same hash.
    hash: u32,
}

impl<'a> Directory<'a> {
    /// Arranges the names. `None` if they are more than an index can hold.
    pub(super) fn arrange(names: Vec<Name<'a>>, seed: &[u32; 4]) -> Option<Self> {
        let size: usize = names.iter().map(Name::size).sum();
        if DOTS + size <= ROOM {
            return Some(Self { names, leaves: Vec::new() });
        }
        let mut hashed: Vec<(NameHash, Name<'a>)> =
            names.into_iter().map(|name| (hash::half_md4(name.name, seed), name)).collect();
        hashed.sort_unstable_by(|(a, one), (b, other)| a.cmp(b).then(one.name.cmp(other.name)));
        let leaves = leaves(&hashed);
        let names = hashed.into_iter().map(|(_, name)| name).collect();
        (leaves.len() <= MOST_LEAVES).then_some(Self { names, leaves })
    }

    /// One without names.
    pub(super) fn empty() -> Self {
        Self { names: Vec::new(), leaves: Vec::new() }
    }

    /// Whether it has an index, which the inode must tell.
    pub(super) fn is_indexed(&self) -> bool {
        !self.leaves.is_empty()
    }

    /// How many blocks it takes.
    pub(super) fn blocks(&self) -> u32 {
        let blocks = 1 + self.nodes() + self.leaves.len();
        // There are 258,570 leaves at most.
        u32::try_from(blocks).unwrap_or(u32::MAX)
    }

    /// Blocks of the index beside the first.
    fn nodes(&self) -> usize {
        match self.leaves.len() <= usize::from(ROOT_LIMIT) {
            true => 0,
            false => self.leaves.len().div_ceil(usize::from(NODE_LIMIT)),
        }
    }

    /// Makes its blocks in order. `seed` is its inode's.
    pub(super) fn encode<E>(
        &self,
        inode: u32,
        parent: u32,
        seed: Seed,
        mut emit: impl FnMut(&[u8; BLOCK_SIZE]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.is_indexed() {
            return emit(&linear(inode, parent, &self.names, seed));
        }
        let nodes = self.nodes();
        let leaves = (1 + nodes..).zip(&self.leaves).map(|(at, leaf)| index_entry(at, leaf.hash));
        let leaves: Vec<IndexEntry> = leaves.collect();
        let groups = leaves.chunks(usize::from(NODE_LIMIT));
        if nodes == 0 {
            emit(&root(inode, parent, 0, &leaves, seed))?;
        } else {
            let above = (1..)
                .zip(groups.clone())
                .flat_map(|(at, group)| group.first().map(|first| index_entry(at, first.hash)));
            emit(&root(inode, parent, 1, &above.collect::<Vec<_>>(), seed))?;
            groups.map(|group| node(group, seed)).try_for_each(|block| emit(&block))?;
        }
        self.leaves.iter().try_for_each(|leaf| {
            let mut block = [0; BLOCK_SIZE];
            fill(&mut block, 0, &self.names[leaf.names.clone()], seed);
            emit(&block)
        })
    }
}

/// Cuts names in the order of their hashes into blocks.
fn leaves(hashed: &[(NameHash, Name<'_>)]) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut filled = 0;
    let mut before = None;
    for (at, (hash, name)) in hashed.iter().enumerate() {
        filled += name.size();
        match leaves.last_mut().filter(|_| filled <= FILL) {
            Some(leaf) => leaf.names.end = at + 1,
            None => {
                filled = name.size();
                // The first block answers for every hash below the second's.
                let least = if at == 0 { 0 } else { hash.major };
                let continues = u32::from(before == Some(hash.major));
                leaves.push(Leaf { names: at..at + 1, hash: least | continues });
            }
        }
        before = Some(hash.major);
    }
    leaves
}

/// A directory of one block.
fn linear(inode: u32, parent: u32, names: &[Name<'_>], seed: Seed) -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    let dots = if names.is_empty() { ROOM - DOTS / 2 } else { DOTS / 2 };
    put_dots(&mut block, inode, parent, dots);
    if names.is_empty() {
        seal(&mut block, seed);
    } else {
        fill(&mut block, DOTS, names, seed);
    }
    block
}

/// A block of a directory in which there is no name.
pub(super) fn empty_block(seed: Seed) -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    put16(&mut block, 4, short(ROOM));
    seal(&mut block, seed);
    block
}

/// Fills a block with names from `start` on; the last takes what is left.
fn fill(block: &mut [u8; BLOCK_SIZE], start: usize, names: &[Name<'_>], seed: Seed) {
    let mut at = start;
    for (left, name) in (0..names.len()).rev().zip(names) {
        let length = if left == 0 { ROOM - at } else { name.size() };
        put_entry(block, at, length, name);
        at += length;
    }
    seal(block, seed);
}

fn put_entry(block: &mut [u8], at: usize, length: usize, name: &Name<'_>) {
    put32(block, at, name.inode);
    put16(block, at + 4, short(length));
    block[at + 6] = name.name.len().to_le_bytes()[0];
    block[at + 7] = name.file_type as u8;
    put(block, at + HEADER, name.name);
}

/// `.` and `..`; the second has `length` bytes.
fn put_dots(block: &mut [u8], inode: u32, parent: u32, length: usize) {
    let file_type = FileType::Directory;
    put_entry(block, 0, DOTS / 2, &Name { name: b".", inode, file_type });
    put_entry(block, DOTS / 2, length, &Name { name: b"..", inode: parent, file_type });
}

/// Puts the checksum at the end of a block of names.
fn seal(block: &mut [u8; BLOCK_SIZE], seed: Seed) {
    let sum = seed.and(&block[..ROOM]).sum();
    put16(block, ROOM + 4, short(TAIL));
    block[ROOM + 7] = 0xDE;
    put32(block, ROOM + 8, sum);
}

/// An entry of the index: names of this hash and above are in that block.
struct IndexEntry {
    hash: u32,
    block: u32,
}

fn index_entry(at: usize, hash: u32) -> IndexEntry {
    IndexEntry { hash, block: u32::try_from(at).unwrap_or(u32::MAX) }
}

/// The first block of an indexed directory.
fn root(
    inode: u32,
    parent: u32,
    levels: u8,
    entries: &[IndexEntry],
    seed: Seed,
) -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    put_dots(&mut block, inode, parent, BLOCK_SIZE - DOTS / 2);
    block[DOTS + 4] = hash::HALF_MD4;
    block[DOTS + 5] = 8;
    block[DOTS + 6] = levels;
    put_index(&mut block, ROOT_INDEX, ROOT_LIMIT, entries, seed);
    block
}

/// A block of the index that is not the first.
fn node(entries: &[IndexEntry], seed: Seed) -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    put16(&mut block, 4, short(BLOCK_SIZE));
    put_index(&mut block, NODE_INDEX, NODE_LIMIT, entries, seed);
    block
}

fn put_index(
    block: &mut [u8; BLOCK_SIZE],
    start: usize,
    limit: u16,
    entries: &[IndexEntry],
    seed: Seed,
) {
    let end = start + 8 * entries.len();
    for (slot, entry) in block[start..end].chunks_exact_mut(8).zip(entries) {
        put32(slot, 0, entry.hash);
        put32(slot, 4, entry.block);
    }
    // Limit and count stand where the first hash would, which is the least
    // one there can be.
    put16(block, start, limit);
    put16(block, start + 2, short(entries.len()));
    let tail = BLOCK_SIZE - 8;
    let sum = seed.and(&block[..end]).and(&[0; 8]).sum();
    put32(block, tail + 4, sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u32; 4] = [1, 2, 3, 4];

    fn names(texts: &[String]) -> Vec<Name<'_>> {
        texts
            .iter()
            .map(|text| Name { name: text.as_bytes(), inode: 12, file_type: FileType::File })
            .collect()
    }

    #[test]
    fn directories_have_the_blocks_they_need() {
        for (count, blocks) in [(0, 1), (200, 1), (1000, 8), (120_000, 740)] {
            let texts: Vec<String> = (0..count).map(|at| format!("{at:011}")).collect();
            let directory = Directory::arrange(names(&texts), &SEED).unwrap();
            let mut encoded = 0;
            let done: Result<(), ()> = directory.encode(12, 2, Seed::START, |_| {
                encoded += 1;
                Ok(())
            });
            done.unwrap();
            assert_eq!((directory.blocks(), encoded), (encoded, blocks), "{count}");
        }
    }

    #[test]
    fn blocks_that_share_a_hash_say_so() {
        let texts: Vec<String> = (0..40).map(|at| format!("{at:0250}")).collect();
        let same = NameHash { major: 8, minor: 0 };
        let hashed: Vec<_> = names(&texts).into_iter().map(|name| (same, name)).collect();
        let hashes: Vec<u32> = leaves(&hashed).iter().map(|leaf| leaf.hash).collect();
        assert_eq!(hashes, [0, 9, 9, 9]);
    }
}

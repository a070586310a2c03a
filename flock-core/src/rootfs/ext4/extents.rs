//! Which blocks a file has, and the tree that says so.
//!
//! Format: kernel documentation, ext4, "Extent Tree".

use super::bytes::{put, put16, put32};
use super::checksum::Seed;
use super::geometry::{BLOCK, BLOCK_SIZE};
use super::space::Space;
use crate::rootfs::entry::Content;

/// The room for a tree's root in an inode.
pub(super) const ROOT_SIZE: usize = 60;
/// The longest extent whose blocks hold data.
const MAX_LENGTH: u32 = 32_768;
const MAGIC: u16 = 0xF30A;
/// Entries in an inode.
const IN_INODE: u16 = 4;
/// Entries in a block: what a header of 12 and a checksum of 4 bytes leave.
const IN_BLOCK: u16 = 340;
const ENTRY_SIZE: usize = 12;

/// A stretch of a file that holds data, in blocks of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) logical: u32,
    pub(super) length: u32,
}

/// Blocks of a file that stand together on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) logical: u32,
    pub(super) physical: u32,
    pub(super) length: u32,
}

/// The blocks of a file that hold data; its other blocks are holes.
/// `None` if block numbers of files cannot reach its end.
pub(super) fn runs_of(content: &Content) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for extent in content.extents().iter().filter(|extent| extent.length > 0) {
        let logical = u32::try_from(extent.offset / BLOCK).ok()?;
        let end = (extent.offset + extent.length).div_ceil(BLOCK);
        let end = u32::try_from(end).ok().filter(|end| *end < u32::MAX)?;
        match runs.last_mut() {
            Some(last) if last.logical + last.length >= logical => last.length = end - last.logical,
            _ => runs.push(Run { logical, length: end - logical }),
        }
    }
    Some(runs)
}

/// The extents of a file whose data stands from block number `linear` on.
pub(super) fn map(space: &Space, linear: u32, runs: &[Run]) -> Vec<Extent> {
    let mut extents = Vec::with_capacity(runs.len());
    let mut linear = linear;
    for run in runs {
        let mut logical = run.logical;
        for piece in space.pieces(linear, run.length) {
            for physical in piece.clone().step_by(MAX_LENGTH as usize) {
                let length = (piece.end - physical).min(MAX_LENGTH);
                extents.push(Extent { logical, physical, length });
                logical += length;
            }
        }
        linear += run.length;
    }
    extents
}

/// How many extents [`map`] gives.
pub(super) fn count(space: &Space, linear: u32, runs: &[Run]) -> usize {
    let mut linear = linear;
    let mut count = 0;
    for run in runs {
        let pieces = space.pieces(linear, run.length);
        count += pieces.map(|piece| (piece.end - piece.start).div_ceil(MAX_LENGTH)).sum::<u32>();
        linear += run.length;
    }
    count as usize
}

/// How many blocks the tree of so many extents needs outside of the inode.
pub(super) fn tree_blocks(extents: usize) -> u32 {
    let mut blocks = 0;
    let mut entries = extents;
    while entries > usize::from(IN_INODE) {
        entries = entries.div_ceil(usize::from(IN_BLOCK));
        blocks += u32::try_from(entries).unwrap_or(u32::MAX);
    }
    blocks
}

/// What points to a block of the tree.
#[derive(Clone, Copy)]
struct Index {
    logical: u32,
    physical: u32,
}

/// Makes the tree: its root, and the blocks that it needs outside of the inode
/// at `places`, which go to `emit` in this order.
pub(super) fn encode<E>(
    extents: &[Extent],
    places: &[u32],
    seed: Seed,
    mut emit: impl FnMut(u32, &[u8; BLOCK_SIZE]) -> Result<(), E>,
) -> Result<[u8; ROOT_SIZE], E> {
    let mut root = [0; ROOT_SIZE];
    if extents.len() <= usize::from(IN_INODE) {
        fill(&mut root, IN_INODE, 0, extents, put_extent);
        return Ok(root);
    }
    let mut places = places.iter().copied();
    let mut depth = 0;
    let mut level = Vec::new();
    for (node, physical) in extents.chunks(usize::from(IN_BLOCK)).zip(&mut places) {
        emit(physical, &block(depth, node, put_extent, seed))?;
        level.extend(node.first().map(|first| Index { logical: first.logical, physical }));
    }
    while level.len() > usize::from(IN_INODE) {
        depth += 1;
        let mut above = Vec::new();
        // `places` comes second: zip must not take one that it then drops.
        for (node, physical) in level.chunks(usize::from(IN_BLOCK)).zip(&mut places) {
            emit(physical, &block(depth, node, put_index, seed))?;
            above.extend(node.first().map(|first| Index { logical: first.logical, physical }));
        }
        level = above;
    }
    fill(&mut root, IN_INODE, depth + 1, &level, put_index);
    Ok(root)
}

fn block<T>(
    depth: u16,
    entries: &[T],
    put_entry: impl Fn(&mut [u8], &T),
    seed: Seed,
) -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    fill(&mut block, IN_BLOCK, depth, entries, put_entry);
    let tail = BLOCK_SIZE - 4;
    let sum = seed.and(&block[..tail]).sum();
    put32(&mut block, tail, sum);
    block
}

fn fill<T>(
    node: &mut [u8],
    most: u16,
    depth: u16,
    entries: &[T],
    put_entry: impl Fn(&mut [u8], &T),
) {
    put16(node, 0, MAGIC);
    put16(node, 2, super::bytes::short(entries.len()));
    put16(node, 4, most);
    put16(node, 6, depth);
    for (entry, slot) in entries.iter().zip(node[ENTRY_SIZE..].chunks_exact_mut(ENTRY_SIZE)) {
        put_entry(slot, entry);
    }
}

fn put_extent(slot: &mut [u8], extent: &Extent) {
    put32(slot, 0, extent.logical);
    // 32,768 is the longest that is not marked as unwritten.
    put(slot, 4, &extent.length.to_le_bytes()[..2]);
    put16(slot, 6, 0);
    put32(slot, 8, extent.physical);
}

fn put_index(slot: &mut [u8], index: &Index) {
    put32(slot, 0, index.logical);
    put32(slot, 4, index.physical);
    put32(slot, 8, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_have_the_blocks_they_need() {
        for (extents, blocks) in
            [(0, 0), (4, 0), (5, 1), (340, 1), (341, 2), (1360, 4), (1361, 6), (462_401, 1367)]
        {
            assert_eq!(tree_blocks(extents), blocks, "{extents}");
        }
    }

    #[test]
    fn every_block_of_a_tree_is_written() {
        for count in [0u32, 3, 5, 341, 1361, 200_000] {
            let extents: Vec<Extent> = (0..count)
                .map(|at| Extent { logical: 2 * at, physical: 100 + at, length: 1 })
                .collect();
            let places: Vec<u32> = (0..tree_blocks(extents.len())).collect();
            let mut written = Vec::new();
            let root = encode(&extents, &places, Seed::START, |place, _| {
                written.push(place);
                Ok::<(), ()>(())
            });
            assert_eq!(written, places);
            assert_eq!(root.unwrap()[..2], [0x0A, 0xF3]);
        }
    }

    #[test]
    fn long_and_interrupted_runs_are_split() {
        let space = Space::between(&[0..5, 40_000..40_010], 200_000);
        let run = |logical, length| Run { logical, length };
        let extent = |logical, physical, length| Extent { logical, physical, length };
        assert_eq!(map(&space, 0, &[run(0, 3), run(7, 1)]), [extent(0, 5, 3), extent(7, 8, 1)]);
        assert_eq!(
            map(&space, 0, &[run(0, 39_996)]),
            [extent(0, 5, 32_768), extent(32_768, 32_773, 7227), extent(39_995, 40_010, 1)]
        );
        assert_eq!(count(&space, 0, &[run(0, 39_996)]), 3);
    }
}

//! The blocks that are free for content, numbered without gaps.
//!
//! Content gets its blocks in the order of the tree, one after the other. A
//! file's place is then one number, and where the fixed metadata of groups
//! stands in between, this table knows.

use std::ops::Range;

/// A stretch of free blocks.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The number of its first block among the free ones.
    linear: u32,
    /// The number of its first block in the file system.
    physical: u32,
    length: u32,
}

/// All blocks that are not taken by fixed metadata.
#[derive(Debug)]
pub(super) struct Space {
    runs: Vec<Run>,
    capacity: u32,
}

impl Space {
    /// What is left of `blocks`; `taken` is ascending and does not touch.
    pub(super) fn between(taken: &[Range<u32>], blocks: u32) -> Self {
        let mut space = Self { runs: Vec::with_capacity(taken.len()), capacity: 0 };
        let mut free = 0;
        for range in taken.iter().cloned().chain(std::iter::once(blocks..blocks)) {
            if range.start > free {
                let length = range.start - free;
                space.runs.push(Run { linear: space.capacity, physical: free, length });
                space.capacity += length;
            }
            free = range.end;
        }
        space
    }

    /// How many blocks there are.
    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// How many stretches they are in.
    pub(super) fn stretches(&self) -> usize {
        self.runs.len()
    }

    /// Where `count` blocks from number `linear` on are in the file system.
    pub(super) fn pieces(&self, linear: u32, count: u32) -> impl Iterator<Item = Range<u32>> {
        let first = self.runs.partition_point(|run| run.linear + run.length <= linear);
        let end = linear + count;
        let runs = self.runs.get(first..).filter(|_| count > 0).unwrap_or(&[]).iter();
        runs.take_while(move |run| run.linear < end).map(move |run| {
            let from = linear.max(run.linear) - run.linear;
            let to = end.min(run.linear + run.length) - run.linear;
            run.physical + from..run.physical + to
        })
    }

    /// Where one block is in the file system.
    pub(super) fn block(&self, linear: u32) -> Option<u32> {
        self.pieces(linear, 1).next().map(|piece| piece.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_skip_what_is_taken() {
        let space = Space::between(&[0..10, 20..25, 30..31], 40);
        assert_eq!(space.capacity(), 24);
        let pieces = |linear, count| space.pieces(linear, count).collect::<Vec<_>>();
        assert_eq!(pieces(0, 24), [10..20, 25..30, 31..40]);
        assert_eq!(pieces(9, 2), [19..20, 25..26]);
        assert_eq!(pieces(8, 7), [18..20, 25..30]);
        assert!(pieces(3, 0).is_empty());
        assert_eq!((space.block(15), space.block(24)), (Some(31), None));
    }
}

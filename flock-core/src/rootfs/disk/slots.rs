//! Which blocks of a disk are stored, and in which slots of the file.

use std::collections::BTreeMap;

/// The slots that are taken, in the order of the disk.
///
/// Neighbours in both the disk and the file are one run, so that memory is
/// taken by what is written, whatever the size of the disk.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// By the first block of each.
    runs: BTreeMap<u64, Run>,
    taken: u32,
}

/// The slots of some blocks that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    slot: u32,
    count: u32,
}

impl Slots {
    /// How many slots are taken.
    pub(super) fn taken(&self) -> u32 {
        self.taken
    }

    /// The slot of a block, if it has one.
    pub(super) fn get(&self, block: u64) -> Option<u32> {
        let (first, run) = self.runs.range(..=block).next_back()?;
        let within = u32::try_from(block - first).ok().filter(|within| *within < run.count)?;
        Some(run.slot + within)
    }

    /// Gives the next slots to `count` blocks from `block` on, none of which
    /// has one; returns the first. There are never more than `u32::MAX`.
    pub(super) fn take(&mut self, block: u64, count: u32) -> u32 {
        let slot = self.taken;
        self.taken += count;
        match self.runs.range_mut(..block).next_back() {
            Some((first, run))
                if first + u64::from(run.count) == block && run.slot + run.count == slot =>
            {
                run.count += count;
            }
            _ => {
                self.runs.insert(block, Run { slot, count });
            }
        }
        slot
    }

    /// Every stored block with its slot, in the order of the disk.
    pub(super) fn stored(&self) -> impl Iterator<Item = (u64, u32)> {
        self.runs.iter().flat_map(|(first, run)| {
            (0..run.count).map(move |within| (first + u64::from(within), run.slot + within))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_are_one_run() {
        let mut slots = Slots::default();
        assert_eq!(slots.take(1 << 30, 1_000_000), 0);
        assert_eq!(slots.take((1 << 30) + 1_000_000, 7), 1_000_000);
        assert_eq!(slots.take(3, 1), 1_000_007);
        // A neighbour on the disk, but not in the file.
        assert_eq!(slots.take((1 << 30) + 1_000_007, 1), 1_000_008);
        assert_eq!(slots.runs.len(), 3);
        assert_eq!(slots.get((1 << 30) + 999_999), Some(999_999));
        assert_eq!(slots.get((1 << 30) - 1), None);
        assert_eq!(slots.get(3), Some(1_000_007));
    }

    proptest! {
        #[test]
        fn as_a_table_of_all_blocks(order in prop::collection::vec(0u64..64, 0..200)) {
            let (mut slots, mut table) = (Slots::default(), [None; 64]);
            for block in order {
                let at = usize::try_from(block).unwrap();
                if table[at].is_none() {
                    table[at] = Some(slots.take(block, 1));
                }
            }
            for (block, slot) in (0..).zip(table) {
                prop_assert_eq!(slots.get(block), slot);
            }
            let known = (0..).zip(table).filter_map(|(block, slot)| Some((block, slot?)));
            prop_assert_eq!(slots.stored().collect::<Vec<_>>(), known.collect::<Vec<_>>());
        }
    }
}

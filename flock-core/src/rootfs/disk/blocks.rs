//! Where the blocks of a disk lie in a file that stores only some of them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::copy::copy_range;
use super::writer::{check_empty, check_ranges, check_within};

/// A block that is not stored.
const ABSENT: u32 = u32::MAX;

/// How the stored blocks lie in the file: one after the other, in slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// The length of a block in bytes.
    pub(super) block: u64,
    /// Where the data of the first slot is.
    pub(super) first: u64,
    /// How far the data of one slot is from that of the next.
    pub(super) stride: u64,
}

impl Layout {
    pub(super) fn place(&self, slot: u32) -> u64 {
        self.first + u64::from(slot) * self.stride
    }
}

/// The blocks of a disk that is being written.
///
/// Those of a plan get their slots at once, in the order of the disk. Without
/// a plan a block gets the next slot when it is first written.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    file: &'a File,
    size: u64,
    layout: Layout,
    slots: Box<[AtomicU32]>,
    /// How many slots are taken.
    taken: Mutex<u32>,
    planned: bool,
}

impl<'a> Blocks<'a> {
    pub(super) fn planned(
        file: &'a File,
        size: u64,
        layout: Layout,
        ranges: &[Range<u64>],
    ) -> io::Result<Self> {
        let mut blocks = Self::on_demand(file, size, layout)?;
        blocks.planned = true;
        check_ranges(size, ranges)?;
        let mut taken = 0;
        for range in ranges {
            let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) else {
                continue;
            };
            for block in range.start / layout.block..=last / layout.block {
                if let Some(slot) = blocks.entry_mut(block).filter(|slot| **slot == ABSENT) {
                    *slot = taken;
                    taken += 1;
                }
            }
        }
        blocks.taken = Mutex::new(taken);
        Ok(blocks)
    }

    pub(super) fn on_demand(file: &'a File, size: u64, layout: Layout) -> io::Result<Self> {
        check_empty(file)?;
        let count = size.div_ceil(layout.block);
        let count = u32::try_from(count).ok().filter(|count| *count < ABSENT);
        let Some(count) = count else {
            let message = format!("a disk of {size} bytes has too many blocks");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        let slots = (0..count).map(|_| AtomicU32::new(ABSENT)).collect();
        Ok(Self { file, size, layout, slots, taken: Mutex::new(0), planned: false })
    }

    pub(super) fn file(&self) -> &'a File {
        self.file
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// How many blocks are stored.
    pub(super) fn stored(&self) -> u32 {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot of every block of the disk, in its order.
    pub(super) fn slots(&self) -> impl Iterator<Item = Option<u32>> {
        self.slots.iter().map(|slot| Some(slot.load(Ordering::Acquire)).filter(|s| *s != ABSENT))
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.each_piece(offset, bytes.len() as u64, |piece| {
            // Pieces are parts of `bytes`, whose length is a usize.
            let start = usize::try_from(piece.skipped).unwrap_or(usize::MAX);
            let length = usize::try_from(piece.length).unwrap_or(usize::MAX);
            self.file.write_all_at(&bytes[start..start + length], piece.place)
        })
    }

    pub(super) fn copy_at(
        &self,
        source: &File,
        source_offset: u64,
        length: u64,
        offset: u64,
    ) -> io::Result<()> {
        self.each_piece(offset, length, |piece| {
            copy_range(source, source_offset + piece.skipped, piece.length, self.file, piece.place)
        })
    }

    /// Hands out a stretch of the disk as the pieces that it is in the file.
    fn each_piece(
        &self,
        offset: u64,
        length: u64,
        mut take: impl FnMut(&Piece) -> io::Result<()>,
    ) -> io::Result<()> {
        check_within(self.size, offset, length)?;
        let end = offset + length;
        let mut at = offset;
        let mut pending: Option<Piece> = None;
        while at < end {
            let within = at % self.layout.block;
            let part = (self.layout.block - within).min(end - at);
            let place = self.layout.place(self.slot(at / self.layout.block)?) + within;
            match &mut pending {
                Some(piece) if piece.place + piece.length == place => piece.length += part,
                _ => {
                    if let Some(piece) = pending.take() {
                        take(&piece)?;
                    }
                    pending = Some(Piece { skipped: at - offset, place, length: part });
                }
            }
            at += part;
        }
        pending.map_or(Ok(()), |piece| take(&piece))
    }

    /// The slot of a block that is to be written.
    fn slot(&self, block: u64) -> io::Result<u32> {
        let beyond = || io::Error::from(io::ErrorKind::InvalidInput);
        let entry = usize::try_from(block).ok().and_then(|block| self.slots.get(block));
        let entry = entry.ok_or_else(beyond)?;
        let slot = entry.load(Ordering::Acquire);
        if slot != ABSENT {
            return Ok(slot);
        }
        if self.planned {
            let start = block * self.layout.block;
            let message = format!("a write at {start} and beyond was not announced");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        let slot = entry.load(Ordering::Acquire);
        if slot != ABSENT {
            return Ok(slot);
        }
        let slot = *taken;
        *taken += 1;
        entry.store(slot, Ordering::Release);
        Ok(slot)
    }

    fn entry_mut(&mut self, block: u64) -> Option<&mut u32> {
        let block = usize::try_from(block).ok()?;
        self.slots.get_mut(block).map(AtomicU32::get_mut)
    }
}

/// Neighbouring bytes of the disk that are neighbours in the file.
struct Piece {
    /// How far into the stretch it begins.
    skipped: u64,
    /// Where in the file it is.
    place: u64,
    length: u64,
}

//! Where the blocks of a disk lie in a file that stores only some of them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::copy::copy_range;
use super::slots::Slots;
use super::writer::{check_empty, check_ranges, check_within};

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
    slots: RwLock<Slots>,
    planned: bool,
}

impl<'a> Blocks<'a> {
    pub(super) fn planned(
        file: &'a File,
        size: u64,
        layout: Layout,
        ranges: &[Range<u64>],
    ) -> io::Result<Self> {
        let blocks = Self::on_demand(file, size, layout)?;
        check_ranges(size, ranges)?;
        let mut slots = Slots::default();
        // The first block without a slot: ranges may share one.
        let mut free = 0;
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let first = free.max(range.start / layout.block);
            free = range.end.div_ceil(layout.block);
            match u32::try_from(free.saturating_sub(first)) {
                Ok(0) => {}
                Ok(count) => drop(slots.take(first, count)),
                Err(_) => return Err(too_many(size)),
            }
        }
        Ok(Self { slots: RwLock::new(slots), planned: true, ..blocks })
    }

    pub(super) fn on_demand(file: &'a File, size: u64, layout: Layout) -> io::Result<Self> {
        check_empty(file)?;
        if size.div_ceil(layout.block) >= u64::from(u32::MAX) {
            return Err(too_many(size));
        }
        Ok(Self { file, size, layout, slots: RwLock::default(), planned: false })
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

    /// The slots of the blocks that are stored.
    pub(super) fn slots(&self) -> RwLockReadGuard<'_, Slots> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
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
        if let Some(slot) = self.slots().get(block) {
            return Ok(slot);
        }
        if self.planned {
            let start = block * self.layout.block;
            let message = format!("a write at {start} and beyond was not announced");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        Ok(slots.get(block).unwrap_or_else(|| slots.take(block, 1)))
    }
}

fn too_many(size: u64) -> io::Error {
    let message = format!("a disk of {size} bytes has too many blocks");
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Neighbouring bytes of the disk that are neighbours in the file.
struct Piece {
    /// How far into the stretch it begins.
    skipped: u64,
    /// Where in the file it is.
    place: u64,
    length: u64,
}

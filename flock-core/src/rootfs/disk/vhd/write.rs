//! Writing VHDs.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::footer::{FOOTER, Footer, Kind};
use super::header::{HEADER, Header};
use super::{BLOCK, BLOCK_LENGTH, check_size};
use crate::rootfs::disk::blocks::{Blocks, Layout};
use crate::rootfs::disk::{DiskId, DiskWriter, RawDisk};

/// The length of a block's bitmap: a bit for each of its 4096 sectors.
const BITMAP: u64 = BITMAP_LENGTH as u64;
const BITMAP_LENGTH: usize = 512;
/// What a block takes in the file, with its bitmap and what is left free so
/// that the data of all blocks begins at page borders.
const STRIDE: u64 = BLOCK + PAGE;
const PAGE: u64 = 4096;
/// Where the block allocation table is.
const TABLE: u64 = (FOOTER + HEADER) as u64;

/// A fixed VHD in a file: the disk byte for byte, and a footer.
#[derive(Debug)]
pub struct FixedVhd<'a> {
    disk: RawDisk<'a>,
    file: &'a File,
}

impl<'a> FixedVhd<'a> {
    /// A disk of `size` bytes in an empty file.
    ///
    /// # Errors
    /// Those of setting the file's length; an [`Error`](crate::Error) of kind
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) within, if the size
    /// is not a whole number of [`BLOCK`]s or is too large.
    pub fn create(file: &'a File, size: u64) -> io::Result<Self> {
        check_size(size)?;
        Ok(Self { disk: RawDisk::create(file, size)?, file })
    }

    /// Completes the file and returns its length. `created` is in seconds of
    /// Unix time; what is before the year 2000 counts as its begin.
    ///
    /// # Errors
    /// Those of writing. The file is of no use then.
    pub fn finish(self, id: DiskId, created: i64) -> io::Result<u64> {
        let size = self.disk.size();
        let footer = Footer::new(Kind::Fixed, size, created, id).encode();
        self.file.write_all_at(&footer, size)?;
        Ok(size + FOOTER as u64)
    }
}

impl DiskWriter for FixedVhd<'_> {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write_at(bytes, offset)
    }

    fn copy_at(
        &self,
        source: &File,
        source_offset: u64,
        length: u64,
        offset: u64,
    ) -> io::Result<()> {
        self.disk.copy_at(source, source_offset, length, offset)
    }
}

/// A dynamic VHD in a file, which stores the blocks that are written.
#[derive(Debug)]
pub struct DynamicVhd<'a> {
    blocks: Blocks<'a>,
}

impl<'a> DynamicVhd<'a> {
    /// A disk of `size` bytes in an empty file, of which only the `ranges`
    /// will be written, and whatever shares a block with them. They ascend.
    ///
    /// The file is the same whatever order they are written in.
    ///
    /// # Errors
    /// `InvalidInput` if the ranges do not ascend or are not within the disk;
    /// those of the file; an [`Error`](crate::Error) of kind
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) within, if the size
    /// is not a whole number of [`BLOCK`]s or is too large.
    pub fn create(file: &'a File, size: u64, ranges: &[Range<u64>]) -> io::Result<Self> {
        check_size(size)?;
        let blocks = Blocks::planned(file, size, layout(size), ranges)?;
        let disk = Self { blocks };
        file.set_len(disk.end())?;
        Ok(disk)
    }

    /// A disk of `size` bytes in an empty file, whose blocks are stored in the
    /// order in which they are first written.
    ///
    /// # Errors
    /// As [`create`](DynamicVhd::create).
    pub fn create_on_demand(file: &'a File, size: u64) -> io::Result<Self> {
        check_size(size)?;
        Ok(Self { blocks: Blocks::on_demand(file, size, layout(size))? })
    }

    /// Completes the file and returns its length. `created` is in seconds of
    /// Unix time; what is before the year 2000 counts as its begin.
    ///
    /// # Errors
    /// Those of writing. The file is of no use then.
    pub fn finish(self, id: DiskId, created: i64) -> io::Result<u64> {
        let size = self.blocks.size();
        let file = self.blocks.file();
        let end = self.end();
        file.set_len(end + FOOTER as u64)?;
        self.write_table()?;
        self.write_bitmaps()?;
        let header = Header {
            table: TABLE,
            entries: u32::try_from(size / BLOCK).unwrap_or(u32::MAX),
            block: BLOCK_LENGTH,
            version: 0x0001_0000,
        };
        file.write_all_at(&header.encode(), FOOTER as u64)?;
        let footer = Footer::new(Kind::Dynamic, size, created, id).encode();
        file.write_all_at(&footer, end)?;
        file.write_all_at(&footer, 0)?;
        Ok(end + FOOTER as u64)
    }

    /// Where the footer goes.
    fn end(&self) -> u64 {
        match self.blocks.slots().taken().checked_sub(1) {
            Some(last) => self.blocks.layout().place(last) + BLOCK,
            None => TABLE + table_length(self.blocks.size()),
        }
    }

    fn write_table(&self) -> io::Result<()> {
        let mut file = self.blocks.file();
        file.seek(SeekFrom::Start(TABLE))?;
        let mut out = BufWriter::with_capacity(64 << 10, file);
        let layout = self.blocks.layout();
        let mut next = 0;
        let slots = self.blocks.slots();
        for (block, slot) in slots.stored() {
            write_absent(&mut out, block - next)?;
            let sector = (layout.place(slot) - BITMAP) / FOOTER as u64;
            // The last block of the largest disk is within 2 TiB of the file.
            out.write_all(&u32::try_from(sector).unwrap_or(u32::MAX).to_be_bytes())?;
            next = block + 1;
        }
        write_absent(&mut out, table_length(self.blocks.size()) / 4 - next)?;
        out.flush()
    }

    fn write_bitmaps(&self) -> io::Result<()> {
        for slot in 0..self.blocks.slots().taken() {
            let place = self.blocks.layout().place(slot) - BITMAP;
            self.blocks.file().write_all_at(&[0xff; BITMAP_LENGTH], place)?;
        }
        Ok(())
    }
}

impl DiskWriter for DynamicVhd<'_> {
    fn size(&self) -> u64 {
        self.blocks.size()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.blocks.write_at(bytes, offset)
    }

    fn copy_at(
        &self,
        source: &File,
        source_offset: u64,
        length: u64,
        offset: u64,
    ) -> io::Result<()> {
        self.blocks.copy_at(source, source_offset, length, offset)
    }
}

/// Writes the entries of blocks that are not stored.
fn write_absent(out: &mut impl Write, count: u64) -> io::Result<()> {
    (0..count).try_for_each(|_| out.write_all(&[0xff; 4]))
}

/// The length of the block allocation table of a disk.
fn table_length(size: u64) -> u64 {
    (size / BLOCK * 4).next_multiple_of(FOOTER as u64)
}

fn layout(size: u64) -> Layout {
    let first = (TABLE + table_length(size) + BITMAP).next_multiple_of(PAGE);
    Layout { block: BLOCK, first, stride: STRIDE }
}

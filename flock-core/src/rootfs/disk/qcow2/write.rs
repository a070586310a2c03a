//! Writing qcow2 images.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::header::Header;
use super::{CLUSTER, CLUSTER_BITS, CLUSTER_LENGTH, COPIED};
use crate::rootfs::disk::DiskWriter;
use crate::rootfs::disk::blocks::{Blocks, Layout};
use crate::{Error, ErrorKind};

/// How many entries an L2 table has.
const L2_ENTRIES: usize = CLUSTER_LENGTH / 8;
/// How many refcounts of 16 bits are in a refcount block.
const REFCOUNTS: u64 = CLUSTER / 2;
/// The largest disk: QEMU reads L1 tables of at most 32 MiB.
const MAX_SIZE: u64 = (32 << 20) / 8 * (L2_ENTRIES as u64) * CLUSTER;

const LAYOUT: Layout = Layout { block: CLUSTER, first: CLUSTER, stride: CLUSTER };

/// A qcow2 image in a file, which stores the clusters that are written.
#[derive(Debug)]
pub struct Qcow2<'a> {
    blocks: Blocks<'a>,
}

impl<'a> Qcow2<'a> {
    /// A disk of `size` bytes in an empty file, of which only the `ranges`
    /// will be written, and whatever shares a cluster with them. They ascend.
    ///
    /// The file is the same whatever order they are written in.
    ///
    /// # Errors
    /// `InvalidInput` if the ranges do not ascend or are not within the disk;
    /// those of the file; an [`Error`](crate::Error) of kind
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) within, if the size
    /// is not a whole number of sectors of 512 bytes or is too large.
    pub fn create(file: &'a File, size: u64, ranges: &[Range<u64>]) -> io::Result<Self> {
        check_size(size)?;
        Ok(Self { blocks: Blocks::planned(file, size, LAYOUT, ranges)? })
    }

    /// A disk of `size` bytes in an empty file, whose clusters are stored in
    /// the order in which they are first written.
    ///
    /// # Errors
    /// As [`create`](Qcow2::create).
    pub fn create_on_demand(file: &'a File, size: u64) -> io::Result<Self> {
        check_size(size)?;
        Ok(Self { blocks: Blocks::on_demand(file, size, LAYOUT)? })
    }

    /// Completes the file and returns its length.
    ///
    /// # Errors
    /// Those of writing. The file is of no use then.
    pub fn finish(self) -> io::Result<u64> {
        let file = self.blocks.file();
        let (size, data) = (self.blocks.size(), u64::from(self.blocks.slots().taken()));
        let mut position = file;
        position.seek(SeekFrom::Start((1 + data) * CLUSTER))?;
        let mut out = BufWriter::with_capacity(256 << 10, file);
        let l1 = self.write_l2_tables(&mut out, 1 + data)?;
        let l1_table = 1 + data + l1.iter().filter(|entry| **entry != 0).count() as u64;
        write_table(&mut out, &l1)?;
        let plan = Refcounts::plan(l1_table + clusters_of(l1.len()));
        plan.write(&mut out)?;
        out.flush()?;
        let header = Header {
            version: 3,
            cluster_bits: CLUSTER_BITS,
            size,
            l1_entries: u32::try_from(l1.len()).unwrap_or(u32::MAX),
            l1_table: l1_table * CLUSTER,
            refcount_table: (plan.first + plan.blocks) * CLUSTER,
            refcount_clusters: u32::try_from(plan.tables).unwrap_or(u32::MAX),
            snapshots: 0,
            refcount_order: 4,
            is_dirty: false,
            is_corrupt: false,
            is_zstd: false,
            has_bitmaps: false,
        };
        file.write_all_at(&header.encode(), 0)?;
        file.set_len(plan.total() * CLUSTER)?;
        Ok(plan.total() * CLUSTER)
    }

    /// Writes the L2 tables that have anything in them, from cluster `next`
    /// on, and returns the L1 table.
    fn write_l2_tables(&self, out: &mut impl Write, next: u64) -> io::Result<Vec<u64>> {
        let count = self.blocks.size().div_ceil(CLUSTER).div_ceil(L2_ENTRIES as u64);
        let mut l1 = vec![0; usize::try_from(count).unwrap_or(usize::MAX)];
        let mut places = (next..).map(|cluster| (cluster * CLUSTER) | COPIED);
        let mut l2 = vec![0; L2_ENTRIES];
        let slots = self.blocks.slots();
        let mut stored = slots.stored().map(|(block, slot)| (position(block), slot)).peekable();
        while let Some(((index, _), _)) = stored.peek().copied() {
            l2.fill(0);
            while let Some(((_, entry), slot)) = stored.next_if(|((other, _), _)| *other == index) {
                l2[entry] = LAYOUT.place(slot) | COPIED;
            }
            write_table(out, &l2)?;
            // There is an entry for every block of the disk.
            l1[index] = places.next().unwrap_or(0);
        }
        Ok(l1)
    }
}

/// The place of a cluster: its entry of the L1 table, and of that L2 table.
fn position(block: u64) -> (usize, usize) {
    let block = usize::try_from(block).unwrap_or(usize::MAX);
    (block / L2_ENTRIES, block % L2_ENTRIES)
}

impl DiskWriter for Qcow2<'_> {
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

/// Where the refcounts are: behind everything else, and counted themselves.
struct Refcounts {
    /// The first refcount block.
    first: u64,
    /// How many clusters the refcount blocks and the refcount table take.
    blocks: u64,
    tables: u64,
}

impl Refcounts {
    /// The refcounts of a file with `first` clusters before them.
    fn plan(first: u64) -> Self {
        let mut plan = Self { first, blocks: 0, tables: 0 };
        loop {
            let blocks = plan.total().div_ceil(REFCOUNTS);
            let tables = (blocks * 8).div_ceil(CLUSTER);
            if (blocks, tables) == (plan.blocks, plan.tables) {
                return plan;
            }
            (plan.blocks, plan.tables) = (blocks, tables);
        }
    }

    /// How many clusters the file has.
    fn total(&self) -> u64 {
        self.first + self.blocks + self.tables
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let total = self.total();
        for block in 0..self.blocks {
            let used = (total - block * REFCOUNTS).min(REFCOUNTS);
            let mut raw = 1u16.to_be_bytes().repeat(usize::try_from(used).unwrap_or(0));
            raw.resize(CLUSTER_LENGTH, 0);
            out.write_all(&raw)?;
        }
        let table: Vec<_> = (0..self.blocks).map(|block| (self.first + block) * CLUSTER).collect();
        write_table(out, &table)
    }
}

/// Writes a table and fills its last cluster with zeros.
fn write_table(out: &mut impl Write, entries: &[u64]) -> io::Result<()> {
    let mut raw: Vec<u8> = entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
    raw.resize(raw.len().next_multiple_of(CLUSTER_LENGTH), 0);
    out.write_all(&raw)
}

/// How many clusters a table of so many entries takes.
fn clusters_of(entries: usize) -> u64 {
    (entries as u64 * 8).div_ceil(CLUSTER)
}

fn check_size(size: u64) -> io::Result<()> {
    let message = if size > MAX_SIZE {
        format!("{size} bytes are too large for qcow2 with clusters of 64 KiB")
    } else if size == 0 || !size.is_multiple_of(512) {
        format!("the size of a disk, {size} bytes, is not a whole number of sectors")
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidConfig, message).during("qcow2.create").into())
}

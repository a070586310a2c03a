//! Whether every cluster of an image is used once, and counted so.

use super::header::damaged;
use super::read::{Cluster, Qcow2Reader, read_entries, unreadable};
use super::{OFFSET, ZERO};
use crate::rootfs::disk::bytes::field;
use crate::rootfs::disk::check::Check;
use crate::{Context, Result};

/// The most memory that a map of the file's clusters may take, in bytes.
const MAX_MAP: u64 = 64 << 20;
/// The longest refcount table, in bytes; QEMU has the same limit.
const MAX_REFCOUNT_TABLE: u64 = 8 << 20;
/// The bits of a refcount table's entry that are an offset.
const BLOCK_OFFSET: u64 = !0x1ff;

/// Checks the tables; returns how many clusters of the disk are stored.
pub(super) fn run(
    reader: &Qcow2Reader,
    length: u64,
    checks: &mut Vec<Check>,
    ctx: &Context,
) -> Result<u64> {
    let header = &reader.header;
    let cluster = header.cluster();
    checks.push(match (header.is_corrupt, header.is_dirty) {
        (true, _) => Check::failed("state", "QEMU found it corrupt and marked it so"),
        (_, true) => Check::warning("state", "it was not closed; refcounts may be old"),
        _ => Check::passed("state"),
    });
    if length.div_ceil(cluster).div_ceil(8) > MAX_MAP {
        let message =
            format!("a file of {length} bytes is too large to check its {cluster}-byte clusters");
        return Err(super::header::unsupported(message));
    }
    let mut map = Map::new(length, cluster);
    map.take(0, cluster, "the header")?;
    map.take(header.l1_table, u64::from(header.l1_entries) * 8, "the L1 table")?;
    let stored = take_tables(reader, &mut map, ctx)?;
    checks.push(Check::passed("cluster tables"));
    checks.push(check_refcounts(reader, &mut map, ctx)?);
    Ok(stored)
}

/// Takes every L2 table, and every cluster that one of them names.
fn take_tables(reader: &Qcow2Reader, map: &mut Map, ctx: &Context) -> Result<u64> {
    let cluster = reader.header.cluster();
    let mut stored = 0;
    for (index, entry) in reader.l1.iter().enumerate() {
        ctx.check()?;
        if entry & OFFSET == 0 {
            continue;
        }
        map.take(entry & OFFSET, cluster, "an L2 table")?;
        let l2 = reader.l2(index).map_err(unreadable)?;
        let covered = index as u64 * reader.l2_entries();
        let known = reader.header.size.div_ceil(cluster) - covered;
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        for entry in l2.iter().flat_map(|l2| l2.iter().take(known)) {
            stored += take_cluster(reader, *entry, map)?;
        }
    }
    Ok(stored)
}

fn take_cluster(reader: &Qcow2Reader, entry: u64, map: &mut Map) -> Result<u64> {
    let cluster = reader.header.cluster();
    match reader.decode(entry) {
        Cluster::Stored(offset) => map.take(offset, cluster, "a data cluster")?,
        Cluster::Compressed { offset, length } => map.share(offset, length)?,
        // A zero cluster may have room set aside.
        Cluster::Zeros if entry & ZERO != 0 && entry & OFFSET != 0 => {
            map.take(entry & OFFSET, cluster, "a data cluster")?;
            return Ok(0);
        }
        Cluster::Zeros => return Ok(0),
    }
    Ok(1)
}

/// Compares refcounts with what was found in use.
fn check_refcounts(reader: &Qcow2Reader, map: &mut Map, ctx: &Context) -> Result<Check> {
    const NAME: &str = "refcounts";
    let header = &reader.header;
    if header.snapshots > 0 {
        return Ok(Check::skipped(NAME, "there are internal snapshots"));
    }
    if header.has_bitmaps {
        return Ok(Check::skipped(NAME, "there are bitmaps"));
    }
    let bytes = u64::from(header.refcount_clusters) << header.cluster_bits;
    if bytes > MAX_REFCOUNT_TABLE {
        return Ok(Check::skipped(NAME, format!("a table of {bytes} bytes is too large to read")));
    }
    map.take(header.refcount_table, bytes.max(1), "the refcount table")?;
    let table = read_entries(&reader.source, header.refcount_table, bytes).map_err(unreadable)?;
    for entry in table.iter().filter(|entry| *entry & BLOCK_OFFSET != 0) {
        map.take(entry & BLOCK_OFFSET, header.cluster(), "a refcount block")?;
    }
    let (mut missing, mut leaked) = (0u64, 0u64);
    let in_block = (header.cluster() * 8) >> header.refcount_order;
    for (index, entry) in (0..map.clusters.div_ceil(in_block)).zip(padded(&table)) {
        ctx.check()?;
        let raw = read_block(reader, entry)?;
        let first = index * in_block;
        for cluster in first..(first + in_block).min(map.clusters) {
            let is_counted = is_counted(&raw, cluster - first, header.refcount_order);
            match (map.is_taken(cluster), is_counted) {
                (true, false) => missing += 1,
                (false, true) => leaked += 1,
                _ => {}
            }
        }
    }
    Ok(match (missing, leaked) {
        (0, 0) => Check::passed(NAME),
        (0, leaked) => Check::warning(NAME, format!("{leaked} clusters are counted but not used")),
        (missing, _) => Check::failed(NAME, format!("{missing} clusters are used but not counted")),
    })
}

/// The entries of a refcount table, and as many empty ones as are asked for.
fn padded(table: &[u64]) -> impl Iterator<Item = u64> {
    table.iter().copied().chain(std::iter::repeat(0))
}

/// A refcount block; one that is not there counts nothing.
fn read_block(reader: &Qcow2Reader, entry: u64) -> Result<Vec<u8>> {
    let offset = entry & BLOCK_OFFSET;
    if offset == 0 {
        return Ok(Vec::new());
    }
    let mut raw = vec![0; usize::try_from(reader.header.cluster()).unwrap_or(0)];
    reader.source.read_at(&mut raw, offset).map_err(unreadable)?;
    Ok(raw)
}

/// Whether the refcount at `index`, of 2^`order` bits, is not zero.
fn is_counted(raw: &[u8], index: u64, order: u32) -> bool {
    let bits = 1u64 << order;
    let at = usize::try_from(index * bits / 8).unwrap_or(usize::MAX);
    if bits >= 8 {
        let width = usize::try_from(bits / 8).unwrap_or(1);
        return field::<8>(raw, at)[..width].iter().any(|byte| *byte != 0);
    }
    // Refcounts of less than a byte begin with the least significant bits.
    let shift = index * bits % 8;
    let mask = (1u8 << bits) - 1;
    raw.get(at).is_some_and(|byte| byte >> shift & mask != 0)
}

/// Which clusters of the file are in use: a bit for each, and one for those
/// that compressed clusters may share.
struct Map {
    taken: Vec<u8>,
    shared: Vec<u8>,
    cluster: u64,
    clusters: u64,
    length: u64,
}

impl Map {
    fn new(length: u64, cluster: u64) -> Self {
        let clusters = length.div_ceil(cluster);
        let bytes = usize::try_from(clusters.div_ceil(8)).unwrap_or(0);
        Self { taken: vec![0; bytes], shared: Vec::new(), cluster, clusters, length }
    }

    /// Takes whole clusters, which must be free.
    fn take(&mut self, offset: u64, length: u64, what: &str) -> Result<()> {
        if !offset.is_multiple_of(self.cluster) {
            return Err(damaged(format!("{what} at {offset} is not at a cluster's begin")));
        }
        for cluster in self.covered(offset, length, what)? {
            if self.is_taken(cluster) {
                let place = cluster * self.cluster;
                return Err(damaged(format!("{what} at {place} overlaps something else")));
            }
            set(&mut self.taken, cluster);
        }
        Ok(())
    }

    /// Takes the clusters that compressed data lies in, which other compressed
    /// data may lie in too.
    fn share(&mut self, offset: u64, length: u64) -> Result<()> {
        const WHAT: &str = "compressed data";
        if offset >= self.length {
            return Err(damaged(format!("{WHAT} at {offset} is not within the file")));
        }
        self.shared.resize(self.taken.len(), 0);
        // The length is in whole sectors; the last may be cut off.
        let length = length.min(self.length - offset);
        for cluster in self.covered(offset, length, WHAT)? {
            if self.is_taken(cluster) && !get(&self.shared, cluster) {
                let place = cluster * self.cluster;
                return Err(damaged(format!("{WHAT} at {place} overlaps something else")));
            }
            set(&mut self.taken, cluster);
            set(&mut self.shared, cluster);
        }
        Ok(())
    }

    fn covered(&self, offset: u64, length: u64, what: &str) -> Result<std::ops::Range<u64>> {
        // A last cluster need not be there whole, except for what is read.
        let behind = offset.checked_add(length);
        match behind.filter(|end| *end <= self.clusters * self.cluster) {
            Some(end) => Ok(offset / self.cluster..end.div_ceil(self.cluster)),
            None => Err(damaged(format!("{what} at {offset} is not within the file"))),
        }
    }

    fn is_taken(&self, cluster: u64) -> bool {
        get(&self.taken, cluster)
    }
}

fn get(bits: &[u8], index: u64) -> bool {
    let at = usize::try_from(index / 8).unwrap_or(usize::MAX);
    bits.get(at).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
}

fn set(bits: &mut [u8], index: u64) {
    if let Some(byte) = usize::try_from(index / 8).ok().and_then(|at| bits.get_mut(at)) {
        *byte |= 1 << (index % 8);
    }
}

//! Reading qcow2 images, from anywhere.

use std::io::{self, Read as _};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::header::{HEADER, Header, MAGIC, damaged, unsupported};
use super::{COMPRESSED, OFFSET, ZERO, check};
use crate::error::io_kind;
use crate::rootfs::disk::bytes::be64;
use crate::rootfs::disk::check::Check;
use crate::rootfs::disk::reader::{DiskReader, Source};
use crate::rootfs::disk::writer::check_within;
use crate::{Context, Error, Result};

/// The longest L1 table, in bytes; QEMU has the same limit.
const MAX_L1: u64 = 32 << 20;

/// A qcow2 image that was opened.
#[derive(Debug)]
pub(in crate::rootfs::disk) struct Qcow2Reader {
    pub(super) source: Source,
    pub(super) header: Header,
    /// The L1 table: where the L2 tables are.
    pub(super) l1: Vec<u64>,
    /// The L2 table that was used last, and its index.
    cached: Mutex<Option<(usize, L2)>>,
    /// How many clusters are stored; counted by the checks.
    stored: u64,
}

pub(super) type L2 = Arc<[u64]>;

/// What a guest cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cluster {
    Zeros,
    /// Stored at this offset of the file.
    Stored(u64),
    /// Stored compressed, in so many bytes at most.
    Compressed {
        offset: u64,
        length: u64,
    },
}

/// Whether a file with this begin is a qcow2 image.
pub(in crate::rootfs::disk) fn is_qcow2(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// The size that the header states.
pub(in crate::rootfs::disk) fn stated(source: &Source) -> Result<u64, String> {
    let length = source.length().map_err(|error| error.to_string())?;
    read_header(source, length).map(|header| header.size).map_err(|error| error.to_string())
}

fn read_header(source: &Source, length: u64) -> Result<Header> {
    let mut raw = [0; HEADER];
    let known = usize::try_from(length).unwrap_or(HEADER).min(HEADER);
    source.read_at(&mut raw[..known], 0).map_err(unreadable)?;
    Header::decode(&raw)
}

/// Opens a qcow2 image and checks all of its structures; mistakes that do not
/// keep it from being read are among the checks.
pub(in crate::rootfs::disk) fn open(
    source: Source,
    checks: &mut Vec<Check>,
    ctx: &Context,
) -> Result<Qcow2Reader> {
    let length = source.length().map_err(unreadable)?;
    let header = read_header(&source, length)?;
    checks.push(Check::passed("header"));
    let l1 = read_l1(&source, &header, length)?;
    let cached = Mutex::new(None);
    let mut reader = Qcow2Reader { source, header, l1, cached, stored: 0 };
    reader.stored = check::run(&reader, length, checks, ctx)?;
    Ok(reader)
}

fn read_l1(source: &Source, header: &Header, length: u64) -> Result<Vec<u64>> {
    let covered = u128::from(header.cluster() / 8) * u128::from(header.cluster());
    let needed = u128::from(header.size).div_ceil(covered);
    if u128::from(header.l1_entries) < needed {
        return Err(damaged(format!("an L1 table of {} entries, not {needed}", header.l1_entries)));
    }
    // Entries beyond the end of the disk are of no use.
    let bytes = u64::try_from(needed * 8).unwrap_or(u64::MAX);
    let all = u64::from(header.l1_entries) * 8;
    if all > MAX_L1 {
        return Err(unsupported(format!("an L1 table of {all} bytes is too large to read")));
    }
    let at = header.l1_table;
    let end = at.checked_add(all).filter(|end| *end <= length);
    if end.is_none() || !at.is_multiple_of(header.cluster()) {
        return Err(damaged(format!("the L1 table at {at} is not a place in the file")));
    }
    read_entries(source, at, bytes).map_err(unreadable)
}

/// Reads a table of offsets, `bytes` long.
pub(super) fn read_entries(source: &Source, at: u64, bytes: u64) -> io::Result<Vec<u64>> {
    const PART: u64 = 64 << 10;
    let mut raw = vec![0; usize::try_from(bytes.min(PART)).unwrap_or(0)];
    let mut entries = Vec::with_capacity(usize::try_from(bytes / 8).unwrap_or(0));
    let mut done = 0;
    while done < bytes {
        raw.truncate(usize::try_from(bytes - done).unwrap_or(usize::MAX));
        source.read_at(&mut raw, at + done)?;
        entries.extend(raw.chunks_exact(8).map(|entry| be64(entry, 0)));
        done += raw.len() as u64;
    }
    Ok(entries)
}

impl Qcow2Reader {
    /// The length of a cluster, and how many of how many are stored.
    pub(in crate::rootfs::disk) fn blocks(&self) -> (u64, u64, u64) {
        let cluster = self.header.cluster();
        (cluster, self.header.size.div_ceil(cluster), self.stored)
    }

    /// The version of the format.
    pub(in crate::rootfs::disk) fn version(&self) -> u32 {
        self.header.version
    }

    /// The L2 table for an entry of the L1 table; `None` if it has none.
    pub(super) fn l2(&self, index: usize) -> io::Result<Option<L2>> {
        let offset = self.l1.get(index).copied().unwrap_or(0) & OFFSET;
        if offset == 0 {
            return Ok(None);
        }
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, l2)) = cached.as_ref().filter(|(known, _)| *known == index) {
            return Ok(Some(l2.clone()));
        }
        let l2: L2 = read_entries(&self.source, offset, self.header.cluster())?.into();
        *cached = Some((index, l2.clone()));
        Ok(Some(l2))
    }

    /// What an entry of an L2 table means ("Cluster mapping").
    pub(super) fn decode(&self, entry: u64) -> Cluster {
        if entry & COMPRESSED != 0 {
            let shift = 62 - (self.header.cluster_bits - 8);
            let offset = entry & ((1 << shift) - 1);
            let sectors = (entry & (COMPRESSED - 1)) >> shift;
            return Cluster::Compressed { offset, length: (sectors + 1) * 512 - offset % 512 };
        }
        let is_zero = self.header.version >= 3 && entry & ZERO != 0;
        match entry & OFFSET {
            0 => Cluster::Zeros,
            _ if is_zero => Cluster::Zeros,
            offset => Cluster::Stored(offset),
        }
    }

    /// How many clusters an L2 table maps.
    pub(super) fn l2_entries(&self) -> u64 {
        self.header.cluster() / 8
    }

    fn cluster_at(&self, offset: u64) -> io::Result<Cluster> {
        let cluster = offset / self.header.cluster();
        let index = usize::try_from(cluster / self.l2_entries()).unwrap_or(usize::MAX);
        let Some(l2) = self.l2(index)? else { return Ok(Cluster::Zeros) };
        let within = usize::try_from(cluster % self.l2_entries()).unwrap_or(usize::MAX);
        Ok(l2.get(within).map_or(Cluster::Zeros, |entry| self.decode(*entry)))
    }

    fn read_cluster(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let within = offset % self.header.cluster();
        match self.cluster_at(offset)? {
            Cluster::Zeros => bytes.fill(0),
            Cluster::Stored(place) => self.read_stored(bytes, place + within)?,
            Cluster::Compressed { offset: place, length } => {
                let all = self.decompress(place, length).map_err(|error| {
                    let message = format!("the compressed cluster at {place}: {error}");
                    io::Error::from(damaged(message).caused_by(error))
                })?;
                let start = usize::try_from(within).unwrap_or(usize::MAX);
                let part = all.get(start..start + bytes.len());
                bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
            }
        }
        Ok(())
    }

    /// Reads from a cluster in the file. The last need not be there whole; what
    /// is not reads as zeros.
    fn read_stored(&self, bytes: &mut [u8], place: u64) -> io::Result<()> {
        let there = self.source.length()?.saturating_sub(place);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(bytes.len());
        let (stored, beyond) = bytes.split_at_mut(there);
        beyond.fill(0);
        self.source.read_at(stored, place)
    }

    /// A compressed cluster; its length is an upper bound.
    fn decompress(&self, place: u64, length: u64) -> io::Result<Vec<u8>> {
        let available = self.source.length()?.saturating_sub(place).min(length);
        let mut raw = vec![0; usize::try_from(available).unwrap_or(0)];
        self.source.read_at(&mut raw, place)?;
        let mut all = vec![0; usize::try_from(self.header.cluster()).unwrap_or(0)];
        if self.header.is_zstd {
            // What follows the frame in its last sector is not a frame.
            let mut decoder = zstd::Decoder::new(raw.as_slice())?.single_frame();
            decoder.window_log_max(27)?;
            decoder.read_exact(&mut all)?;
        } else {
            flate2::read::DeflateDecoder::new(raw.as_slice()).read_exact(&mut all)?;
        }
        Ok(all)
    }
}

impl DiskReader for Qcow2Reader {
    fn size(&self) -> u64 {
        self.header.size
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        check_within(self.header.size, offset, bytes.len() as u64)?;
        let cluster = self.header.cluster();
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = usize::try_from(cluster - at % cluster).unwrap_or(usize::MAX);
            let (part, behind) = rest.split_at_mut(left.min(rest.len()));
            self.read_cluster(part, at)?;
            at += part.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let (cluster, size) = (self.header.cluster(), self.header.size);
        let mut at = offset;
        let mut start = None;
        while at < size {
            let covered = cluster * self.l2_entries();
            let index = usize::try_from(at / covered).unwrap_or(usize::MAX);
            let Some(l2) = self.l2(index)? else {
                if start.is_some() {
                    break;
                }
                at = (at / covered + 1).saturating_mul(covered);
                continue;
            };
            let within = usize::try_from(at % covered / cluster).unwrap_or(usize::MAX);
            let is_data = l2.get(within).is_some_and(|e| self.decode(*e) != Cluster::Zeros);
            match (is_data, start) {
                (true, None) => start = Some(at),
                (false, Some(_)) => break,
                _ => {}
            }
            at = (at / cluster + 1).saturating_mul(cluster);
        }
        Ok(start.map(|start| start..at.min(size)))
    }
}

pub(super) fn unreadable(error: io::Error) -> Error {
    Error::new(io_kind(&error), "cannot read the qcow2 image").during("qcow2.open").caused_by(error)
}

//! Reading VHDs, from anywhere.

use std::io;
use std::ops::Range;

use super::footer::{COOKIE, FOOTER, Footer, Kind};
use super::geometry::Geometry;
use super::header::{HEADER, Header};
use crate::rootfs::disk::bytes::{be32, field};
use crate::rootfs::disk::check::Check;
use crate::rootfs::disk::reader::{DiskReader, Source};
use crate::rootfs::disk::writer::check_within;
use crate::rootfs::disk::{DiskFormat, DiskId};
use crate::{Error, ErrorKind, Result};

const SECTOR: u64 = 512;
/// A block that is not stored.
const ABSENT: u32 = u32::MAX;
/// The most entries that a table may have.
const MAX_ENTRIES: u32 = 4 << 20;

/// A VHD that was opened.
#[derive(Debug)]
pub(in crate::rootfs::disk) struct VhdReader {
    source: Source,
    size: u64,
    id: DiskId,
    creator: [u8; 4],
    /// `None` if the disk lies in the file byte for byte.
    table: Option<Table>,
}

/// Where the blocks of a dynamic disk are.
#[derive(Debug)]
struct Table {
    /// The length of a block in bytes.
    block: u64,
    /// The length of its bitmap, in bytes.
    bitmap: u64,
    /// The sector of each block's bitmap.
    sectors: Vec<u32>,
}

/// Whether a file with this begin and end is a VHD.
pub(in crate::rootfs::disk) fn is_vhd(start: &[u8], end: &[u8]) -> bool {
    start.starts_with(&COOKIE) || end.starts_with(&COOKIE)
}

/// The size and the identifier that the copy of a dynamic disk's footer states.
pub(in crate::rootfs::disk) fn stated(source: &Source) -> Result<(u64, DiskId), String> {
    let raw = source.read::<FOOTER>(0).map_err(|error| error.to_string())?;
    Footer::decode(&raw).map(|footer| (footer.size, footer.id))
}

/// Opens a VHD and checks all of its structures; mistakes that do not keep it
/// from being read are among the checks.
pub(in crate::rootfs::disk) fn open(source: Source, checks: &mut Vec<Check>) -> Result<VhdReader> {
    let length = source.length().map_err(unreadable)?;
    let (footer, end) = read_footers(&source, length, checks)?;
    if footer.version >> 16 != 1 {
        let message = format!("VHD version {:#010x} is not known", footer.version);
        return Err(Error::new(ErrorKind::Unsupported, message).during("vhd.open"));
    }
    checks.push(Check::of("size", check_size(&footer)));
    checks.push(check_geometry(&footer));
    let table = match footer.kind {
        Kind::Fixed => {
            check_fixed(&footer, end)?;
            None
        }
        Kind::Dynamic => Some(read_table(&source, &footer, end, checks)?),
        kind => return Err(refuse(kind)),
    };
    let data_end = table.as_ref().map_or(footer.size, Table::end);
    checks.push(check_trailing(data_end, end));
    let Footer { size, id, creator, .. } = footer;
    Ok(VhdReader { source, size, id, creator, table })
}

/// The footer that counts, and where the one at the end begins.
fn read_footers(source: &Source, length: u64, checks: &mut Vec<Check>) -> Result<(Footer, u64)> {
    let too_short = || damaged(format!("the file's {length} bytes have no room for a footer"));
    let end = length.checked_sub(SECTOR).ok_or_else(too_short)?;
    let raw = source.read::<FOOTER>(end).map_err(unreadable)?;
    let raw_copy = source.read::<FOOTER>(0).map_err(unreadable)?;
    match (Footer::decode(&raw), Footer::decode(&raw_copy)) {
        (Ok(footer), copy) => {
            checks.push(Check::passed("footer"));
            if footer.kind != Kind::Fixed {
                let same = copy.and_then(|_| same_footers(&raw, &raw_copy));
                checks.push(Check::of("footer copy", same));
            }
            Ok((footer, end))
        }
        (Err(why), Ok(copy)) => {
            checks.push(Check::failed("footer", format!("at {end}: {why}")));
            checks.push(Check::passed("footer copy"));
            // Without a footer the data may go to the end of the file.
            let end = if field(&raw, 0) == COOKIE { end } else { length };
            Ok((copy, end))
        }
        (Err(why), Err(_)) => Err(damaged(format!("the footer at {end}: {why}"))),
    }
}

fn same_footers(footer: &[u8; FOOTER], copy: &[u8; FOOTER]) -> Result<(), String> {
    match footer.iter().zip(copy).position(|(one, other)| one != other) {
        Some(at) => Err(format!("the footers differ from byte {at} on")),
        None => Ok(()),
    }
}

fn check_size(footer: &Footer) -> Result<(), String> {
    match footer.size {
        0 => Err("the disk has no bytes".to_owned()),
        size if !size.is_multiple_of(SECTOR) => Err(format!("{size} bytes are no whole sectors")),
        _ => Ok(()),
    }
}

fn check_geometry(footer: &Footer) -> Check {
    let (geometry, size) = (footer.geometry, footer.size);
    let fits = geometry == Geometry::MAX
        || geometry.size() == size
        || geometry == Geometry::specified(size);
    if fits {
        return Check::passed("geometry");
    }
    let Geometry { cylinders, heads, sectors } = geometry;
    Check::warning(
        "geometry",
        format!(
            "{cylinders} cylinders, {heads} heads and {sectors} sectors are {} bytes, not {size}",
            geometry.size()
        ),
    )
}

fn check_fixed(footer: &Footer, end: u64) -> Result<()> {
    if footer.size <= end {
        return Ok(());
    }
    let size = footer.size;
    Err(damaged(format!("the disk has {size} bytes, the file before its footer has {end}")))
}

fn check_trailing(data_end: u64, end: u64) -> Check {
    // Writers leave up to a page free, and some a whole block.
    match end.saturating_sub(data_end) {
        0..=4096 => Check::passed("file length"),
        spare => Check::warning("file length", format!("{spare} bytes before the footer are free")),
    }
}

fn read_table(
    source: &Source,
    footer: &Footer,
    end: u64,
    checks: &mut Vec<Check>,
) -> Result<Table> {
    let at = footer.header;
    if at.checked_add(HEADER as u64).is_none_or(|behind| behind > end) {
        return Err(damaged(format!("the header at {at} is not within the file")));
    }
    let raw = source.read::<HEADER>(at).map_err(unreadable)?;
    let header =
        Header::decode(&raw).map_err(|why| damaged(format!("the header at {at}: {why}")))?;
    checks.push(Check::passed("header"));
    let block = u64::from(header.block);
    if !block.is_power_of_two() || block < SECTOR {
        return Err(damaged(format!("blocks of {block} bytes")));
    }
    let needed = footer.size.div_ceil(block);
    let entries = u64::from(header.entries);
    if needed > u64::from(MAX_ENTRIES) {
        let message = format!("a table of {needed} blocks is too large to read");
        return Err(Error::new(ErrorKind::Unsupported, message).during("vhd.open"));
    }
    if needed > entries {
        return Err(damaged(format!("{needed} blocks, but a table of {entries}")));
    }
    let table = header.table;
    if table.checked_add(entries * 4).is_none_or(|behind| behind > end) {
        return Err(damaged(format!("the block allocation table at {table} is not in the file")));
    }
    let sectors = read_sectors(source, table, needed)?;
    let bitmap = (block / SECTOR).div_ceil(8).next_multiple_of(SECTOR);
    let table = Table { block, bitmap, sectors };
    let taken = [(0, SECTOR), (at, at + HEADER as u64), (header.table, header.table + entries * 4)];
    table.check(&taken, end)?;
    checks.push(Check::passed("block allocation table"));
    Ok(table)
}

fn read_sectors(source: &Source, table: u64, count: u64) -> Result<Vec<u32>> {
    let mut sectors = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut left = usize::try_from(count * 4).unwrap_or(usize::MAX);
    let mut at = table;
    while left > 0 {
        let part = left.min(buffer.len());
        source.read_at(&mut buffer[..part], at).map_err(unreadable)?;
        sectors.extend(buffer[..part].chunks_exact(4).map(|entry| be32(entry, 0)));
        at += part as u64;
        left -= part;
    }
    Ok(sectors)
}

impl Table {
    /// What a stored block takes in the file, in bytes.
    fn stride(&self) -> u64 {
        self.bitmap + self.block
    }

    /// Where the last stored block ends.
    fn end(&self) -> u64 {
        let last = self.sectors.iter().filter(|sector| **sector != ABSENT).max();
        last.map_or(0, |last| u64::from(*last) * SECTOR + self.stride())
    }

    /// Refuses blocks that are not in the file, or where something else is.
    fn check(&self, taken: &[(u64, u64)], end: u64) -> Result<()> {
        let mut sorted: Vec<_> = self.sectors.iter().copied().filter(|s| *s != ABSENT).collect();
        sorted.sort_unstable();
        let mut free = 0;
        for sector in sorted {
            let start = u64::from(sector) * SECTOR;
            let behind = start + self.stride();
            let name = || {
                let block = self.sectors.iter().position(|other| *other == sector);
                format!("block {} at {start}", block.unwrap_or_default())
            };
            if behind > end {
                return Err(damaged(format!("{} is not within the file", name())));
            }
            if start < free {
                return Err(damaged(format!("{} overlaps another", name())));
            }
            if taken.iter().any(|(from, to)| start < *to && behind > *from) {
                return Err(damaged(format!("{} overlaps a header", name())));
            }
            free = behind;
        }
        Ok(())
    }
}

impl VhdReader {
    /// What kind of VHD it is.
    pub(in crate::rootfs::disk) fn format(&self) -> DiskFormat {
        if self.table.is_some() { DiskFormat::VhdDynamic } else { DiskFormat::VhdFixed }
    }

    pub(in crate::rootfs::disk) fn id(&self) -> DiskId {
        self.id
    }

    /// The program that made it, as its four letters say.
    pub(in crate::rootfs::disk) fn creator(&self) -> String {
        let letters = self.creator.iter().map(|byte| char::from(*byte));
        letters.filter(char::is_ascii_graphic).collect()
    }

    /// The length of a block, and how many of how many are stored.
    pub(in crate::rootfs::disk) fn blocks(&self) -> Option<(u64, u64, u64)> {
        let table = self.table.as_ref()?;
        let stored = table.sectors.iter().filter(|sector| **sector != ABSENT).count();
        Some((table.block, table.sectors.len() as u64, stored as u64))
    }

    /// Reads a part of one block.
    fn read_block(&self, table: &Table, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let index = usize::try_from(offset / table.block).unwrap_or(usize::MAX);
        let sector = table.sectors.get(index).copied().unwrap_or(ABSENT);
        if sector == ABSENT {
            bytes.fill(0);
            return Ok(());
        }
        let start = u64::from(sector) * SECTOR;
        let within = offset % table.block;
        self.source.read_at(bytes, start + table.bitmap + within)?;
        let first = within / SECTOR;
        let last = (within + bytes.len() as u64 - 1) / SECTOR;
        let mut bits = vec![0; usize::try_from(last / 8 - first / 8 + 1).unwrap_or(0)];
        self.source.read_at(&mut bits, start + first / 8)?;
        if bits.iter().any(|byte| *byte != 0xff) {
            clear_unset(bytes, within, &bits);
        }
        Ok(())
    }
}

/// Zeros the sectors whose bit is not set: they were never written. `bits`
/// begins with the byte of the sector that `within` is in.
fn clear_unset(bytes: &mut [u8], within: u64, bits: &[u8]) {
    let base = within / SECTOR / 8 * 8;
    let mut at = 0;
    while at < bytes.len() {
        let place = within + at as u64;
        let left = usize::try_from(SECTOR - place % SECTOR).unwrap_or(1).min(bytes.len() - at);
        let bit = usize::try_from(place / SECTOR - base).unwrap_or(0);
        let is_set = bits.get(bit / 8).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0);
        if !is_set {
            bytes[at..at + left].fill(0);
        }
        at += left;
    }
}

impl DiskReader for VhdReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        check_within(self.size, offset, bytes.len() as u64)?;
        let Some(table) = &self.table else { return self.source.read_at(bytes, offset) };
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = usize::try_from(table.block - at % table.block).unwrap_or(usize::MAX);
            let (part, behind) = rest.split_at_mut(left.min(rest.len()));
            self.read_block(table, part, at)?;
            at += part.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let Some(table) = &self.table else { return self.source.next_data(offset, self.size) };
        let first = usize::try_from(offset / table.block).unwrap_or(usize::MAX);
        let rest = table.sectors.get(first..).unwrap_or(&[]);
        let Some(skipped) = rest.iter().position(|sector| *sector != ABSENT) else {
            return Ok(None);
        };
        let stored = rest[skipped..].iter().take_while(|sector| **sector != ABSENT).count();
        let start = (first + skipped) as u64 * table.block;
        let end = (start + stored as u64 * table.block).min(self.size);
        Ok(Some(start.max(offset)..end).filter(|range| range.start < range.end))
    }
}

fn refuse(kind: Kind) -> Error {
    let error = match kind {
        Kind::Differencing => {
            let message = "a differencing VHD is only the changes to another disk";
            Error::new(ErrorKind::Unsupported, message)
                .hint("merge it with its parent first, for example with `qemu-img convert`")
        }
        _ => Error::new(ErrorKind::Unsupported, format!("a VHD of an unknown kind: {kind:?}")),
    };
    error.during("vhd.open")
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, format!("a damaged VHD: {what}")).during("vhd.open")
}

fn unreadable(error: io::Error) -> Error {
    let kind = crate::error::io_kind(&error);
    Error::new(kind, "cannot read the VHD").during("vhd.open").caused_by(error)
}

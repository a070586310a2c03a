//! GUID partition tables.

use std::fmt;

use serde::Serialize;

use super::mbr::{Mbr, check_places, invalid, place_after, unread, unwritten};
use super::{SECTOR, SECTOR_LENGTH};
use crate::Result;
use crate::rootfs::disk::bytes::{field, le32, le64, put};
use crate::rootfs::disk::{Check, DiskId, DiskReader, DiskWriter};

/// What a header begins with.
const SIGNATURE: [u8; 8] = *b"EFI PART";
/// The version of the specification's headers.
const REVISION: u32 = 0x0001_0000;
/// The length of a header in bytes.
const HEADER: u32 = 92;
/// How many entries are written, and how long each is.
const ENTRIES: u32 = 128;
const ENTRY: u32 = 128;
/// How many sectors the entries take.
const ENTRY_SECTORS: u64 = (ENTRIES * ENTRY) as u64 / SECTOR;
/// The most bytes of entries that are read.
const MAX_ENTRIES: u64 = 1 << 20;
/// How many UTF-16 units a name has.
const NAME: usize = 36;

/// What a partition of a GPT is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PartitionType {
    /// A Linux file system.
    Linux,
    /// The EFI system partition, from which UEFI machines start.
    EfiSystem,
    /// Where GRUB has its core image for BIOS machines.
    BiosBoot,
    /// Anything else, by its GUID.
    Other(DiskId),
}

impl PartitionType {
    /// The GUIDs: UEFI section 5.3.3 for the EFI system partition, those that
    /// the programs of Linux and GRUB use for the others.
    const KNOWN: [(Self, [u8; 16]); 3] = [
        (Self::Linux, 0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4_u128.to_be_bytes()),
        (Self::EfiSystem, 0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b_u128.to_be_bytes()),
        (Self::BiosBoot, 0x2168_6148_6449_6e6f_744e_6565_6445_4649_u128.to_be_bytes()),
    ];

    /// The GUID of the type.
    #[must_use]
    pub fn id(self) -> DiskId {
        let known = Self::KNOWN.iter().find(|(kind, _)| *kind == self);
        match (self, known) {
            (Self::Other(id), _) => id,
            (_, Some((_, bytes))) => DiskId::from_bytes(*bytes),
            (_, None) => DiskId::from_bytes([0; 16]),
        }
    }

    /// The type with this GUID.
    #[must_use]
    pub fn from_id(id: DiskId) -> Self {
        let known = Self::KNOWN.iter().find(|(_, bytes)| bytes == id.as_bytes());
        known.map_or(Self::Other(id), |(kind, _)| *kind)
    }
}

/// `linux`, `efi-system`, `bios-boot`, or the GUID.
impl fmt::Display for PartitionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linux => f.pad("linux"),
            Self::EfiSystem => f.pad("efi-system"),
            Self::BiosBoot => f.pad("bios-boot"),
            Self::Other(id) => id.fmt(f),
        }
    }
}

/// A partition of a GPT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GptPartition {
    /// Where it begins, in bytes.
    pub start: u64,
    /// How long it is, in bytes.
    pub size: u64,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: PartitionType,
    /// The GUID that tells it from all others.
    pub id: DiskId,
    /// Its name, of at most 36 UTF-16 units; empty by default.
    pub name: String,
}

impl GptPartition {
    /// A partition without a name.
    #[must_use]
    pub fn new(start: u64, size: u64, kind: PartitionType, id: DiskId) -> Self {
        Self { start, size, kind, id, name: String::new() }
    }

    /// Whether this is more than an entry that nobody uses.
    #[must_use]
    pub fn is_used(&self) -> bool {
        !self.kind.id().is_nil()
    }

    /// The same partition with this name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    fn encode(&self) -> Result<[u8; ENTRY as usize]> {
        let mut raw = [0; ENTRY as usize];
        if !self.is_used() {
            return Ok(raw);
        }
        let name: Vec<u16> = self.name.encode_utf16().collect();
        if name.len() > NAME {
            let message = format!("the partition name '{}' is too long", self.name);
            return Err(invalid(message).hint("there is room for 36 UTF-16 units"));
        }
        if !self.start.is_multiple_of(SECTOR) || self.size == 0 || !self.size.is_multiple_of(SECTOR)
        {
            let message = format!("a partition of {} bytes at {}", self.size, self.start);
            return Err(invalid(message).hint("partitions are whole sectors"));
        }
        put(&mut raw, 0, &self.kind.id().to_mixed_endian());
        put(&mut raw, 16, &self.id.to_mixed_endian());
        put(&mut raw, 32, &(self.start / SECTOR).to_le_bytes());
        put(&mut raw, 40, &((self.start + self.size) / SECTOR - 1).to_le_bytes());
        for (index, unit) in name.iter().enumerate() {
            put(&mut raw, 56 + 2 * index, &unit.to_le_bytes());
        }
        Ok(raw)
    }

    fn decode(raw: &[u8]) -> Self {
        let kind = DiskId::from_mixed_endian(field(raw, 0));
        let (first, last) = (le64(raw, 32), le64(raw, 40));
        let units: Vec<u16> = (0..NAME)
            .map(|index| u16::from_le_bytes(field(raw, 56 + 2 * index)))
            .take_while(|unit| *unit != 0)
            .collect();
        Self {
            start: first.saturating_mul(SECTOR),
            size: last.saturating_add(1).saturating_sub(first).saturating_mul(SECTOR),
            kind: PartitionType::from_id(kind),
            id: DiskId::from_mixed_endian(field(raw, 16)),
            name: String::from_utf16_lossy(&units),
        }
    }
}

/// A GUID partition table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gpt {
    /// The GUID that tells the disk from all others.
    pub id: DiskId,
    /// The partitions, the first being number 1; those before the last may be
    /// unused.
    pub partitions: Vec<GptPartition>,
    /// The code in the protective MBR that a BIOS starts, at most
    /// [`BOOT_CODE`](super::BOOT_CODE) bytes.
    #[serde(skip)]
    pub boot_code: Vec<u8>,
}

impl Gpt {
    /// How much of the end of a disk the backup takes, in bytes.
    pub const BACKUP: u64 = (ENTRY_SECTORS + 1) * SECTOR;

    /// A table without partitions and boot code.
    #[must_use]
    pub fn new(id: DiskId) -> Self {
        Self { id, partitions: Vec::new(), boot_code: Vec::new() }
    }

    /// The same table with one partition more.
    #[must_use]
    pub fn with_partition(mut self, partition: GptPartition) -> Self {
        self.partitions.push(partition);
        self
    }

    /// The same table with this boot code, at most
    /// [`BOOT_CODE`](super::BOOT_CODE) bytes.
    #[must_use]
    pub fn with_boot_code(mut self, code: impl Into<Vec<u8>>) -> Self {
        self.boot_code = code.into();
        self
    }

    /// Writes the table and its backup: to the first 17,408 bytes of the disk
    /// and to the last [`BACKUP`](Gpt::BACKUP).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if there
    /// are more than 128 partitions, or they overlap each other or the backup,
    /// or do not begin at multiples of [`ALIGNMENT`](super::ALIGNMENT); if a
    /// name or the boot code is too long; if the disk is too small or not
    /// whole sectors. Those of writing.
    pub fn write(&self, disk: &dyn DiskWriter) -> Result<()> {
        let size = disk.size();
        if size < super::ALIGNMENT + Self::BACKUP || !size.is_multiple_of(SECTOR) {
            return Err(invalid(format!("a disk of {size} bytes has no room for a GPT"))
                .hint("make it at least 2 MiB, in whole sectors"));
        }
        check_places(self.places(), size - Self::BACKUP)?;
        let entries = self.encode_entries()?;
        let sectors = size / SECTOR;
        let header = |here, other, at| self.encode_header(here, other, at, sectors, &entries);
        let write =
            |bytes: &[u8], sector: u64| disk.write_at(bytes, sector * SECTOR).map_err(unwritten);
        write(&Mbr::protective(size, &self.boot_code)?, 0)?;
        write(&header(1, sectors - 1, 2), 1)?;
        write(&entries, 2)?;
        write(&entries, sectors - 1 - ENTRY_SECTORS)?;
        write(&header(sectors - 1, 1, sectors - 1 - ENTRY_SECTORS), sectors - 1)
    }

    fn encode_entries(&self) -> Result<Vec<u8>> {
        if self.partitions.len() > ENTRIES as usize {
            return Err(invalid(format!("a GPT with {} partitions", self.partitions.len()))
                .hint(format!("there is room for {ENTRIES}")));
        }
        let mut entries = vec![0; (ENTRIES * ENTRY) as usize];
        for (index, partition) in self.partitions.iter().enumerate() {
            put(&mut entries, index * ENTRY as usize, &partition.encode()?);
        }
        Ok(entries)
    }

    /// The header in sector `here`, with its entries at sector `at`.
    fn encode_header(
        &self,
        here: u64,
        other: u64,
        at: u64,
        sectors: u64,
        entries: &[u8],
    ) -> [u8; SECTOR_LENGTH] {
        let mut raw = [0; SECTOR_LENGTH];
        put(&mut raw, 0, &SIGNATURE);
        put(&mut raw, 8, &REVISION.to_le_bytes());
        put(&mut raw, 12, &HEADER.to_le_bytes());
        put(&mut raw, 24, &here.to_le_bytes());
        put(&mut raw, 32, &other.to_le_bytes());
        put(&mut raw, 40, &(2 + ENTRY_SECTORS).to_le_bytes());
        put(&mut raw, 48, &(sectors - 2 - ENTRY_SECTORS).to_le_bytes());
        put(&mut raw, 56, &self.id.to_mixed_endian());
        put(&mut raw, 72, &at.to_le_bytes());
        put(&mut raw, 80, &ENTRIES.to_le_bytes());
        put(&mut raw, 84, &ENTRY.to_le_bytes());
        put(&mut raw, 88, &libdeflater::crc32(entries).to_le_bytes());
        let sum = libdeflater::crc32(&raw[..HEADER as usize]);
        put(&mut raw, 16, &sum.to_le_bytes());
        raw
    }

    /// Number, begin and length of each partition, in the order of the disk.
    fn places(&self) -> std::vec::IntoIter<(usize, u64, u64)> {
        let numbered = self.partitions.iter().enumerate().filter(|(_, one)| one.is_used());
        let mut places: Vec<_> =
            numbered.map(|(index, one)| (index + 1, one.start, one.size)).collect();
        places.sort_by_key(|(_, start, _)| *start);
        places.into_iter()
    }
}

/// A header that was read, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    other: u64,
    usable: std::ops::Range<u64>,
    id: DiskId,
    entries: u64,
    count: u32,
    entry: u32,
    entries_sum: u32,
}

/// Reads the table of a disk with a protective MBR; the backup if the first
/// is damaged, `None` if both are.
pub(super) fn read(disk: &dyn DiskReader, checks: &mut Vec<Check>) -> Result<Option<Gpt>> {
    let last = disk.size() / SECTOR - 1;
    let first = read_copy(disk, 1)?;
    let backup = read_copy(disk, last)?;
    checks.push(Check::of("GPT", first.as_ref().map(drop).map_err(Clone::clone)));
    checks.push(check_backup(&first, &backup, last));
    let Some((header, mut gpt)) = first.ok().or(backup.ok()) else { return Ok(None) };
    checks.push(check_partitions(&header, &gpt, disk.size()));
    gpt.boot_code = Mbr::read(disk)?.map(|mbr| mbr.boot_code).unwrap_or_default();
    Ok(Some(gpt))
}

type Copy = Result<(Header, Gpt), String>;

fn check_backup(first: &Copy, backup: &Copy, last: u64) -> Check {
    let same = match (first, backup) {
        (Ok((header, _)), _) if header.other != last => {
            Err(format!("it is at sector {}, not in the last", header.other))
        }
        (Ok((_, gpt)), Ok((_, other))) if gpt != other => {
            Err("its partitions are others".to_owned())
        }
        (_, Err(why)) => Err(why.clone()),
        (_, Ok(_)) => Ok(()),
    };
    Check::of("GPT backup", same)
}

fn check_partitions(header: &Header, gpt: &Gpt, size: u64) -> Check {
    let usable = header.usable.end.saturating_mul(SECTOR).min(size);
    let free = header.usable.start.saturating_mul(SECTOR);
    let placed = gpt.places().try_fold(free, |free, (number, start, length)| {
        place_after(free, number, start, length, usable)
    });
    Check::of("partition table", placed.map(drop))
}

/// The table whose header is in this sector, or what is wrong with it.
fn read_copy(disk: &dyn DiskReader, sector: u64) -> Result<Copy> {
    if disk.size() < 3 * SECTOR {
        return Ok(Err("the disk has no room for it".to_owned()));
    }
    let mut raw = [0; SECTOR_LENGTH];
    disk.read_at(&mut raw, sector * SECTOR).map_err(unread)?;
    let header = match decode_header(&raw, sector) {
        Ok(header) => header,
        Err(why) => return Ok(Err(format!("the header in sector {sector}: {why}"))),
    };
    let bytes = u64::from(header.count) * u64::from(header.entry);
    let start = header.entries.saturating_mul(SECTOR);
    if bytes > MAX_ENTRIES || start.checked_add(bytes).is_none_or(|end| end > disk.size()) {
        return Ok(Err(format!("{bytes} bytes of entries at {start}")));
    }
    let mut entries = vec![0; usize::try_from(bytes).unwrap_or(0)];
    disk.read_at(&mut entries, start).map_err(unread)?;
    if libdeflater::crc32(&entries) != header.entries_sum {
        return Ok(Err(format!("the checksum of the entries at {start} is wrong")));
    }
    let size = usize::try_from(header.entry).unwrap_or(usize::MAX);
    let mut partitions: Vec<_> = entries.chunks_exact(size).map(GptPartition::decode).collect();
    while partitions.pop_if(|partition| !partition.is_used()).is_some() {}
    let gpt = Gpt { id: header.id, partitions, boot_code: Vec::new() };
    Ok(Ok((header, gpt)))
}

fn decode_header(raw: &[u8; SECTOR_LENGTH], sector: u64) -> Result<Header, String> {
    if field(raw, 0) != SIGNATURE {
        return Err("the signature 'EFI PART' is missing".to_owned());
    }
    let length = usize::try_from(le32(raw, 12)).unwrap_or(usize::MAX);
    if !(HEADER as usize..=raw.len()).contains(&length) {
        return Err(format!("{length} bytes long"));
    }
    let mut summed = raw[..length].to_vec();
    put(&mut summed, 16, &[0; 4]);
    if libdeflater::crc32(&summed) != le32(raw, 16) {
        return Err("the checksum is wrong".to_owned());
    }
    if le64(raw, 24) != sector {
        return Err(format!("it belongs to sector {}", le64(raw, 24)));
    }
    let entry = le32(raw, 84);
    if entry < ENTRY || !entry.is_power_of_two() {
        return Err(format!("entries of {entry} bytes"));
    }
    Ok(Header {
        other: le64(raw, 32),
        usable: le64(raw, 40)..le64(raw, 48).saturating_add(1),
        id: DiskId::from_mixed_endian(field(raw, 56)),
        entries: le64(raw, 72),
        count: le32(raw, 80),
        entry,
        entries_sum: le32(raw, 88),
    })
}

//! What is in an image.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::image::{Container, container};
use super::open::open_image;
use super::partition_table::{MbrPartition, PartitionTable, SECTOR, SECTOR_LENGTH, unread};
use super::reader::Source;
use super::{Check, DiskId, DiskImage, DiskReader, FileSystem, Outcome, head};
use crate::rootfs::decompress::{Compression, Decoder, Limits};
use crate::{Context, Error, ErrorKind, Result};

/// How much of a compressed image is decompressed to look at it: more than the
/// headers of any format take, and the first sectors of a partition.
const HEAD: u64 = 2 << 20;

/// What was found in an image.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Its format: `raw`, `vhd-fixed`, `vhd-dynamic`, `qcow2`, or `vhd` if it
    /// is too damaged to tell which.
    pub format: &'static str,
    /// What made it or which version it is, as far as the format says.
    pub detail: Option<String>,
    /// What the file is compressed with; of such a file only the begin was
    /// looked at. A fixed VHD then seems to be a raw disk: its footer is at
    /// the end.
    pub compression: Option<&'static str>,
    /// The size of the disk, in bytes; `None` if that cannot be known.
    pub virtual_size: Option<u64>,
    /// The length of the file, in bytes.
    pub file_size: u64,
    /// What the file takes on its disk, in bytes.
    pub disk_usage: u64,
    /// The disk's own identifier; only VHDs have one.
    pub id: Option<DiskId>,
    /// How many blocks are stored, for formats that leave some out.
    pub blocks: Option<BlockUse>,
    /// The partition table, if there is one.
    pub partition_table: Option<TableReport>,
    /// The file system, if it takes the whole disk.
    pub file_system: Option<FileSystem>,
    /// What seems to start from the disk.
    pub boot: Vec<&'static str>,
    /// What was checked.
    pub checks: Vec<Check>,
}

impl Inspection {
    /// Whether no check failed.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.checks.iter().all(|check| check.outcome != Outcome::Failed)
    }
}

/// The blocks of a format that leaves some out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BlockUse {
    /// The length of a block, in bytes.
    pub size: u64,
    /// How many the disk has.
    pub total: u64,
    /// How many are stored.
    pub stored: u64,
}

/// A partition table and what is in its partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableReport {
    /// `mbr` or `gpt`.
    pub kind: &'static str,
    /// The disk's signature or GUID.
    pub id: String,
    /// The partitions.
    pub partitions: Vec<PartitionReport>,
}

/// A partition and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PartitionReport {
    /// Its number, from 1 on.
    pub number: usize,
    /// Where it begins, in bytes.
    pub start: u64,
    /// How long it is, in bytes.
    pub size: u64,
    /// What it is for: `linux`, `efi-system`, `bios-boot`, or the type's
    /// number.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name; only those of a GPT have one.
    pub name: Option<String>,
    /// Its GUID; only those of a GPT have one.
    pub id: Option<DiskId>,
    /// Whether an MBR's boot code is to start from it.
    pub active: bool,
    /// Its file system, if that is known.
    pub file_system: Option<FileSystem>,
}

/// Looks at an image: its format, its partitions and their file systems, and
/// whether all of that is as it should be. Nothing is changed. Of a compressed
/// image, the first 2 MiB are looked at.
///
/// A damaged image is no error, but a failed [`Check`].
///
/// # Errors
/// - [`ErrorKind::NotFound`], [`ErrorKind::PermissionDenied`] and others of
///   opening and reading
/// - [`ErrorKind::Unsupported`] if the format or one of its features is not
///   supported
/// - [`ErrorKind::InvalidConfig`] if the path is neither a file nor a block
///   device
/// - [`ErrorKind::Cancelled`] and [`ErrorKind::Timeout`] by `ctx`
pub fn inspect(path: &Path, ctx: &Context) -> Result<Inspection> {
    let (file, metadata) = open_image(path)?;
    let compression = recognise_compression(&file, path)?;
    let source = match compression {
        None => Source::File(file),
        Some(compression) => Source::Bytes(decompress_head(file, compression, path)?.into()),
    };
    let read = |error| Error::io("read", path, error);
    let length = source.length().map_err(read)?;
    let name = path.display().to_string();
    let kind = container(&name, &source, length).map_err(read)?;
    let mut report = Inspection {
        path: path.to_path_buf(),
        format: name_of(kind),
        detail: None,
        compression: compression.map(Compression::as_str),
        virtual_size: None,
        file_size: if compression.is_some() { metadata.len() } else { length },
        disk_usage: metadata.blocks().saturating_mul(512),
        id: None,
        blocks: None,
        partition_table: None,
        file_system: None,
        boot: Vec::new(),
        checks: Vec::new(),
    };
    match compression {
        Some(_) => report.look_at_head(source, kind, ctx)?,
        None => report.look_at_image(source, ctx)?,
    }
    Ok(report)
}

impl Inspection {
    fn look_at_image(&mut self, source: Source, ctx: &Context) -> Result<()> {
        let name = self.path.display().to_string();
        let image = match DiskImage::checked(name, source, None, &mut self.checks, ctx) {
            Ok(image) => image,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                self.checks.push(Check::failed("structure", error.to_string()));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.format = image.format().as_str();
        self.detail = image.detail();
        self.virtual_size = Some(image.size());
        self.id = image.id();
        self.blocks = image.blocks().map(|(size, total, stored)| BlockUse { size, total, stored });
        self.look_at_disk(&image)
    }

    /// Looks at what is known of a compressed image: its headers. The tables
    /// of a raw disk's end are not there, and neither are most of the blocks.
    fn look_at_head(&mut self, source: Source, kind: Container, ctx: &Context) -> Result<()> {
        match kind {
            Container::Raw => {
                let name = self.path.display().to_string();
                let head = DiskImage::checked(name, source, None, &mut Vec::new(), ctx)?;
                self.look_at_disk(&head)?;
                // What lies behind the head was not looked at.
                self.checks.clear();
            }
            Container::Vhd | Container::Qcow2 => {
                let stated = head::read(&source, kind);
                match stated {
                    Ok(stated) => {
                        self.format = stated.format.as_str();
                        self.virtual_size = Some(stated.size);
                        self.id = stated.id;
                        self.checks.push(Check::passed("header"));
                    }
                    Err(why) => self.checks.push(Check::failed("header", why)),
                }
            }
        }
        self.checks.push(Check::skipped("content", "only the begin was decompressed"));
        Ok(())
    }

    fn look_at_disk(&mut self, disk: &dyn DiskReader) -> Result<()> {
        let looked = self.look_at_partitions(disk);
        match looked {
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                self.checks.push(Check::failed("content", error.to_string()));
                Ok(())
            }
            other => other,
        }
    }

    fn look_at_partitions(&mut self, disk: &dyn DiskReader) -> Result<()> {
        let size = disk.size();
        let whole = FileSystem::read(disk, 0, size, "the disk", &mut self.checks)?;
        self.boot.extend(boot_code(disk, 0)?);
        if whole.is_some() {
            self.file_system = whole;
            return Ok(());
        }
        let Some(table) = PartitionTable::read(disk, &mut self.checks)? else { return Ok(()) };
        let (kind, id, mut partitions) = describe(&table);
        for partition in &mut partitions {
            let place = format!("partition {}", partition.number);
            let PartitionReport { start, size, .. } = *partition;
            partition.file_system = FileSystem::read(disk, start, size, &place, &mut self.checks)?;
            self.boot.extend(boot_code(disk, start)?);
        }
        if partitions.iter().any(|partition| partition.kind == "efi-system") {
            self.boot.push("EFI system partition");
        }
        self.boot.dedup();
        self.partition_table = Some(TableReport { kind, id, partitions });
        Ok(())
    }
}

fn name_of(kind: Container) -> &'static str {
    match kind {
        Container::Raw => "raw",
        Container::Vhd => "vhd",
        Container::Qcow2 => "qcow2",
    }
}

fn describe(table: &PartitionTable) -> (&'static str, String, Vec<PartitionReport>) {
    match table {
        PartitionTable::Mbr(mbr) => {
            let used = mbr.partitions.iter().enumerate().filter(|(_, one)| one.size > 0);
            let partitions = used.map(|(index, one)| PartitionReport {
                number: index + 1,
                start: one.start,
                size: one.size,
                kind: match one.kind {
                    MbrPartition::LINUX => "linux".to_owned(),
                    MbrPartition::EFI_SYSTEM => "efi-system".to_owned(),
                    kind => format!("{kind:#04x}"),
                },
                name: None,
                id: None,
                active: one.active,
                file_system: None,
            });
            ("mbr", format!("{:#010x}", mbr.signature), partitions.collect())
        }
        PartitionTable::Gpt(gpt) => {
            let used = gpt.partitions.iter().enumerate().filter(|(_, one)| one.is_used());
            let partitions = used.map(|(index, one)| PartitionReport {
                number: index + 1,
                start: one.start,
                size: one.size,
                kind: one.kind.to_string(),
                name: Some(one.name.clone()).filter(|name| !name.is_empty()),
                id: Some(one.id),
                active: false,
                file_system: None,
            });
            ("gpt", gpt.id.to_string(), partitions.collect())
        }
    }
}

/// What boot code the sector at `start` has, by the words in it.
fn boot_code(disk: &dyn DiskReader, start: u64) -> Result<Option<&'static str>> {
    const WORDS: [(&[u8], &str); 7] = [
        (b"GRUB ", "GRUB"),
        (b"EXTLINUX", "EXTLINUX"),
        (b"SYSLINUX", "SYSLINUX"),
        (b"LILO", "LILO"),
        (b"Limine", "Limine"),
        (b"BOOTMGR", "Windows"),
        (b"Operating system load error.", "SYSLINUX's MBR"),
    ];
    if start.checked_add(SECTOR).is_none_or(|end| end > disk.size()) {
        return Ok(None);
    }
    let mut raw = [0; SECTOR_LENGTH];
    disk.read_at(&mut raw, start).map_err(unread)?;
    let has = |word: &[u8]| raw.windows(word.len()).any(|window| window == word);
    Ok(WORDS.iter().find(|(word, _)| has(word)).map(|(_, name)| *name))
}

/// What a file is compressed with, by its first bytes.
fn recognise_compression(file: &File, path: &Path) -> Result<Option<Compression>> {
    let mut start = Vec::new();
    let mut file = BufReader::with_capacity(Compression::MAGIC_LEN, file);
    let read = file.by_ref().take(Compression::MAGIC_LEN as u64).read_to_end(&mut start);
    read.map_err(|error| Error::io("read", path, error))?;
    Ok(Some(Compression::recognise(&start)).filter(|found| *found != Compression::None))
}

/// The first bytes of what is compressed in a file.
fn decompress_head(mut file: File, compression: Compression, path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Error::io("read", path, error);
    file.rewind().map_err(failed)?;
    let decoder = Decoder::new(BufReader::new(file), compression, Limits::default())?;
    let mut head = Vec::new();
    decoder.take(HEAD).read_to_end(&mut head).map_err(failed)?;
    Ok(head)
}

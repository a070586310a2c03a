//! GRUB's boot sector and core image.
//!
//! The firmware loads the boot sector (`boot.img`), which loads the first
//! sector of the core image (`diskboot.img`), which loads the rest of it: a
//! decompressor (`lzma_decompress.img`) and behind it, compressed, GRUB's
//! kernel with its modules.
//!
//! (Specification: GNU GRUB Manual, "GRUB image files"; offsets as in GRUB's
//! `include/grub/offsets.h`, `include/grub/i386/pc/boot.h` and
//! `include/grub/kernel.h`; LZMA as in LZMA SDK `lzma.txt`.)

use std::io::{self, Write as _};

use liblzma::stream::{Filters, LzmaOptions, Stream};
use liblzma::write::XzEncoder;

use super::dependencies;
use super::elf;
use super::files::GrubFiles;
use crate::rootfs::boot::bytes::{put, u16_at};
use crate::{Error, ErrorKind, Result};

/// Bytes of a sector, which is what BIOS disk calls count.
const SECTOR: usize = 512;

/// Bytes of the first sector that are code; the disk's signature and its
/// partition table follow.
pub(in crate::rootfs::boot) const MBR_CODE: usize = 440;

/// Where the boot sector is told the core image's first sector.
const KERNEL_SECTOR: usize = 0x5c;
/// Which drive the boot sector loads from: 0xff for the one it came from.
const BOOT_DRIVE: usize = 0x64;
/// A jump that skips a remedy for firmware that names the drive wrongly. The
/// remedy is right for disks, and the jump is taken out for them.
const DRIVE_CHECK: usize = 0x66;
/// Where the boot sector says that it loads to 0x8000.
const KERNEL_ADDRESS: usize = 0x5a;

/// The list of what `diskboot.img` loads grows down from its end: first
/// sector (64 bits), count of sectors (16 bits), segment to load to (16 bits).
const FIRST_BLOCK: usize = SECTOR - 12;
/// A count of no sectors ends the list.
const SECOND_BLOCK_COUNT: usize = SECTOR - 24 + 8;
/// Where the second sector of the core image is loaded to, divided by 16.
const LOAD_SEGMENT: u16 = 0x820;

const COMPRESSED_SIZE: usize = 0x08;
const UNCOMPRESSED_SIZE: usize = 0x0c;
/// How many bytes of error correction follow the image; none do.
const REDUNDANCY: usize = 0x10;

/// What diskboot loads must end before the buffer it reads into, 0x70000.
const MAX_LOADED: usize = 0x7_0000 - 0x8200;
/// The decompressor runs from 0x8200 and must end before GRUB's kernel.
const MAX_DECOMPRESSOR: usize = elf::LINK_ADDRESS - 0x8200;

/// Begins the modules behind GRUB's kernel.
const MODULES_MAGIC: u32 = 0x676d_696d;
/// Kinds of what is among the modules.
const MODULE: u32 = 0;
const PREFIX: u32 = 3;

/// The code outside of the file system that starts an appliance on a machine
/// with a BIOS.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootCode {
    /// The first 440 bytes of the disk. The partition table's signature and
    /// entries behind them are not part of it.
    pub mbr: [u8; MBR_CODE],
    /// What follows at [`start_lba`](Self::start_lba): whole sectors.
    pub embedded: Vec<u8>,
    /// The sector of 512 bytes where `embedded` begins.
    pub start_lba: u64,
}

/// A core image before it is known where on the disk it goes.
pub(in crate::rootfs::boot) struct CoreImage<'a> {
    files: &'a GrubFiles,
    /// Sectors from the second on, the last one filled up with zeros.
    loaded: Vec<u8>,
}

impl<'a> CoreImage<'a> {
    /// The core image with these modules and what they need. GRUB finds its
    /// configuration and further modules under `prefix`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] if one of GRUB's files is missing, not in
    /// the known format, or the whole becomes too large.
    pub(in crate::rootfs::boot) fn build(
        files: &'a GrubFiles,
        modules: &[&str],
        prefix: &str,
    ) -> Result<Self> {
        let plain = with_modules(files, modules, prefix)?;
        let packed = compress(&plain).map_err(|source| {
            Error::new(ErrorKind::Unexpected, "cannot compress GRUB's core image").caused_by(source)
        })?;
        let mut loaded = decompressor(files, plain.len(), packed.len())?;
        loaded.extend(packed);
        if loaded.len() > MAX_LOADED {
            let message = "GRUB's core image does not fit below 512 KiB of memory";
            return Err(Error::new(ErrorKind::InvalidData, message));
        }
        loaded.resize(loaded.len().next_multiple_of(SECTOR), 0);
        Ok(Self { files, loaded })
    }

    /// The code for a disk whose sectors `start_lba` to `end_lba`, exclusive,
    /// are free for the core image.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if it needs more of them;
    /// [`ErrorKind::InvalidData`] if `boot.img` or `diskboot.img` is not in
    /// the known format.
    pub(in crate::rootfs::boot) fn at(&self, start_lba: u64, end_lba: u64) -> Result<BootCode> {
        let sectors = self.loaded.len() / SECTOR;
        let free = end_lba.saturating_sub(start_lba);
        if sectors as u64 + 1 > free {
            let needed = sectors + 1;
            let message = format!("GRUB needs {needed} sectors before the partition, not {free}");
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .hint("let the first partition begin at sector 2048, as is usual"));
        }
        let count = u16::try_from(sectors)
            .map_err(|_| Error::new(ErrorKind::InvalidData, "GRUB's core image is too large"))?;
        let mut embedded = first_sector(self.files, start_lba + 1, count)?;
        embedded.extend_from_slice(&self.loaded);
        Ok(BootCode { mbr: boot_sector(self.files, start_lba)?, embedded, start_lba })
    }
}

/// GRUB's kernel with modules and prefix behind it, as it lies in memory.
fn with_modules(files: &GrubFiles, modules: &[&str], prefix: &str) -> Result<Vec<u8>> {
    let kernel = elf::load(files.get("kernel.img")?);
    let mut image = kernel.map_err(|why| files.broken("kernel.img", why))?;
    let list = std::str::from_utf8(files.get("moddep.lst")?)
        .map_err(|_| files.broken("moddep.lst", "is not text"))?;
    let mut objects = Vec::new();
    for name in dependencies::resolve(list, modules) {
        push_object(&mut objects, MODULE, files.get(&format!("{name}.mod"))?)?;
    }
    push_object(&mut objects, PREFIX, &[prefix.as_bytes(), b"\0"].concat())?;
    let header_size: u32 = 12;
    let size = number(objects.len())?.saturating_add(header_size);
    for field in [MODULES_MAGIC, header_size, size] {
        image.extend(field.to_le_bytes());
    }
    image.extend(objects);
    Ok(image)
}

/// Adds one object, with its header and filled up to whole words.
fn push_object(objects: &mut Vec<u8>, kind: u32, bytes: &[u8]) -> Result<()> {
    let padded = bytes.len().next_multiple_of(4);
    objects.extend(kind.to_le_bytes());
    objects.extend(number(padded + 8)?.to_le_bytes());
    objects.extend_from_slice(bytes);
    objects.resize(objects.len() + padded - bytes.len(), 0);
    Ok(())
}

/// Compresses as raw LZMA with the parameters that GRUB's decompressor was
/// built for. It stops at the size it is told, before the end marker.
fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut options = LzmaOptions::new_preset(9)?;
    options.dict_size(1 << 16);
    options.literal_context_bits(3).literal_position_bits(0).position_bits(2);
    let mut filters = Filters::new();
    filters.lzma1(&options);
    let mut encoder = XzEncoder::new_stream(Vec::new(), Stream::new_raw_encoder(&filters)?);
    encoder.write_all(plain)?;
    encoder.finish()
}

/// The decompressor, told how much there is to decompress.
fn decompressor(files: &GrubFiles, plain: usize, packed: usize) -> Result<Vec<u8>> {
    let name = "lzma_decompress.img";
    let mut image = files.get(name)?.to_vec();
    if image.len() > MAX_DECOMPRESSOR {
        return Err(files.broken(name, "is too large"));
    }
    let (plain, packed) = (number(plain)?, number(packed)?);
    for (at, value) in [(COMPRESSED_SIZE, packed), (UNCOMPRESSED_SIZE, plain), (REDUNDANCY, 0)] {
        put(&mut image, at, &value.to_le_bytes())
            .ok_or_else(|| files.broken(name, "is cut off"))?;
    }
    Ok(image)
}

/// The core image's first sector, which loads `count` sectors from `start` on.
fn first_sector(files: &GrubFiles, start: u64, count: u16) -> Result<Vec<u8>> {
    let name = "diskboot.img";
    let mut sector = files.get(name)?.to_vec();
    let is_known = sector.len() == SECTOR
        && u16_at(&sector, SECTOR - 2) == Some(LOAD_SEGMENT)
        && u16_at(&sector, SECOND_BLOCK_COUNT) == Some(0);
    put(&mut sector, FIRST_BLOCK, &start.to_le_bytes())
        .and_then(|()| put(&mut sector, FIRST_BLOCK + 8, &count.to_le_bytes()))
        .filter(|()| is_known)
        .ok_or_else(|| files.broken(name, "is not in the known format"))?;
    Ok(sector)
}

/// The boot sector's code, which loads the core image's first sector from
/// `start` on the drive that it was itself loaded from.
fn boot_sector(files: &GrubFiles, start: u64) -> Result<[u8; MBR_CODE]> {
    let name = "boot.img";
    let image = files.get(name)?;
    let is_known = image.len() == SECTOR
        && u16_at(image, KERNEL_ADDRESS) == Some(0x8000)
        && image.get(BOOT_DRIVE) == Some(&0xff)
        && image.get(DRIVE_CHECK) == Some(&0xeb);
    let code = image.get(..MBR_CODE).and_then(|code| <[u8; MBR_CODE]>::try_from(code).ok());
    let mut code = code
        .filter(|_| is_known)
        .ok_or_else(|| files.broken(name, "is not in the known format"))?;
    let no_operation = [0x90, 0x90];
    put(&mut code, KERNEL_SECTOR, &start.to_le_bytes())
        .and_then(|()| put(&mut code, DRIVE_CHECK, &no_operation))
        .ok_or_else(|| files.broken(name, "is cut off"))?;
    Ok(code)
}

fn number(size: usize) -> Result<u32> {
    u32::try_from(size)
        .map_err(|_| Error::new(ErrorKind::InvalidData, "GRUB's modules are too large"))
}

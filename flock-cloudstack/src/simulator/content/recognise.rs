//! What a file is, by what is in it.

use super::Sample;
use crate::simulator::format::Format;

/// Refuses contents that are not of the format; the size of the disk or
/// archive if they are.
pub(super) fn check(format: Format, sample: &Sample) -> Result<u64, String> {
    let found = kind(sample);
    let size = match (format, &found) {
        (Format::Tar | Format::Ova, Kind::Tar) => Some(sample.size),
        (Format::Vhd, Kind::Vhd(size)) | (Format::Qcow2, Kind::Qcow2(size)) => Some(*size),
        (Format::Vhdx, Kind::Vhdx) | (Format::Vmdk, Kind::Vmdk) | (Format::Iso, Kind::Iso) => {
            Some(sample.size)
        }
        // Anything can be on a disk, but none has no bytes.
        (Format::Raw, kind) if *kind != Kind::Empty => Some(sample.size),
        _ => None,
    };
    size.ok_or_else(|| {
        let found = found.describe();
        format!(
            "Template content is unsupported, or mismatch between selected format and template \
             content. Found: {found}"
        )
    })
}

/// What a file can be, with the size of the disk where its format tells it.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Bzip2,
    Empty,
    Gzip,
    Html,
    Iso,
    Other,
    Qcow2(u64),
    Tar,
    Vhd(u64),
    Vhdx,
    Vmdk,
    Xz,
    Zstd,
}

impl Kind {
    fn describe(&self) -> &'static str {
        match self {
            Self::Bzip2 => "bzip2 compressed data",
            Self::Empty => "empty",
            Self::Gzip => "gzip compressed data",
            Self::Html => "HTML document",
            Self::Iso => "ISO 9660 CD-ROM filesystem data",
            Self::Other => "data",
            Self::Qcow2(_) => "QEMU QCOW2 Image",
            Self::Tar => "POSIX tar archive",
            Self::Vhd(_) => "Microsoft Disk Image, Virtual Server or Virtual PC",
            Self::Vhdx => "Microsoft Disk Image eXtended",
            Self::Vmdk => "VMware4 disk image",
            Self::Xz => "XZ compressed data",
            Self::Zstd => "Zstandard compressed data",
        }
    }
}

fn kind(sample: &Sample) -> Kind {
    let head = sample.head.as_slice();
    if let Some(size) = vhd_size(head).or_else(|| vhd_size(&sample.tail)) {
        return Kind::Vhd(size);
    }
    match head {
        [] => Kind::Empty,
        [0x1f, 0x8b, ..] => Kind::Gzip,
        [b'B', b'Z', b'h', ..] => Kind::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Kind::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Kind::Zstd,
        [b'Q', b'F', b'I', 0xfb, ..] => Kind::Qcow2(big_endian(head, 24).unwrap_or(0)),
        [b'K', b'D', b'M', b'V', ..] => Kind::Vmdk,
        _ if head.starts_with(b"vhdxfile") => Kind::Vhdx,
        _ if head.get(32_769..32_774) == Some(b"CD001") => Kind::Iso,
        _ if is_tar(head) => Kind::Tar,
        _ if is_html(head) => Kind::Html,
        _ => Kind::Other,
    }
}

/// The size of the disk if a VHD's footer is here: "Virtual Hard Disk Image
/// Format Specification", version 1.0, "Hard Disk Footer Format". A copy of it
/// begins a dynamic one; of a differencing one the parent is missing.
fn vhd_size(footer: &[u8]) -> Option<u64> {
    const DIFFERENCING: u32 = 4;
    let footer = footer.get(..512).filter(|footer| footer.starts_with(b"conectix"))?;
    let word = |at: usize| {
        let bytes = footer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_be_bytes)
    };
    let others = footer.iter().enumerate().filter(|(at, _)| !(64..68).contains(at));
    let sum: u32 = others.map(|(_, byte)| u32::from(*byte)).sum();
    let is_sound = word(64)? == !sum && word(60)? != DIFFERENCING;
    big_endian(footer, 48).filter(|_| is_sound)
}

fn big_endian(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

/// Whether the first header is one of POSIX.1-2017, pax, "ustar Interchange
/// Format", or of GNU tar, with a right checksum.
fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.get(..512) else { return false };
    let is_checksum = |at: usize| (148..156).contains(&at);
    let value = |(at, byte): (usize, &u8)| if is_checksum(at) { 32 } else { u32::from(*byte) };
    let sum: u32 = header.iter().enumerate().map(value).sum();
    let digits = header.get(148..156).unwrap_or_default();
    let text: String = digits.iter().map(|byte| char::from(*byte)).collect();
    let written = u32::from_str_radix(text.trim_matches([' ', '\0']), 8);
    header.get(257..262) == Some(b"ustar") && written == Ok(sum)
}

fn is_html(head: &[u8]) -> bool {
    let start: String = head.iter().take(256).map(|byte| char::from(*byte)).collect();
    let start = start.trim_start().to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

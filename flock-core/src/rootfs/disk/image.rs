//! Disk images of any format, opened and checked.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::check::{Check, Outcome};
use super::open::open_image;
use super::qcow2::{self, Qcow2Reader};
use super::reader::{DiskReader, RawReader, Source};
use super::vhd::{self, VhdReader};
use super::{DiskFormat, DiskId};
use crate::rootfs::decompress::Compression;
use crate::{Context, Error, ErrorKind, Result};

/// How much of the begin of a file tells its format.
pub(super) const START: usize = 512;

/// Other formats of disks, by where and how their files begin.
const OTHERS: [(usize, &[u8], &str); 5] = [
    (0, b"KDMV", "VMDK"),
    (0, b"# Disk DescriptorFile", "VMDK"),
    (0, b"vhdxfile", "VHDX"),
    (64, b"\x7f\x10\xda\xbe", "VDI"),
    (0, b"QED\0", "QED"),
];

/// A disk image that was opened: a raw disk, a VHD or a qcow2 image.
///
/// It reads as the disk that it holds, through [`DiskReader`].
///
/// ```
/// use flock_core::Context;
/// use flock_core::rootfs::disk::{DiskFormat, DiskImage, DiskReader};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let image = DiskImage::from_bytes("disk.img", vec![7; 1024], &Context::new())?;
/// assert_eq!(image.format(), DiskFormat::Raw);
/// let mut bytes = [0; 2];
/// image.read_at(&mut bytes, 1000)?;
/// assert_eq!(bytes, [7, 7]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DiskImage {
    name: String,
    reader: Reader,
    checks: Vec<Check>,
    length: u64,
}

#[derive(Debug)]
enum Reader {
    Raw(RawReader),
    Vhd(VhdReader),
    Qcow2(Qcow2Reader),
}

impl DiskImage {
    /// Opens the image in a file or on a block device, and checks its
    /// structures. What is no VHD and no qcow2 image, nothing compressed and no
    /// archive, is a raw disk.
    ///
    /// A raw disk is whatever its machine wrote to it, which may look like
    /// another format: of disks from machines that are not trusted, state the
    /// format with [`open_as`](DiskImage::open_as).
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`], [`ErrorKind::PermissionDenied`] and others of
    ///   opening and reading
    /// - [`ErrorKind::InvalidData`] if the image is so damaged that its data
    ///   cannot be found
    /// - [`ErrorKind::Unsupported`] if it needs another file or a feature that
    ///   is not supported, is compressed, or has another format
    /// - [`ErrorKind::InvalidConfig`] if the path is neither a file nor a block
    ///   device
    /// - [`ErrorKind::Cancelled`] and [`ErrorKind::Timeout`] by `ctx`
    pub fn open(path: &Path, ctx: &Context) -> Result<Self> {
        Self::open_file(path, None, ctx)
    }

    /// Opens the image in a file or on a block device as one of this format,
    /// whatever it looks like, and checks its structures. The two kinds of VHD
    /// are opened alike.
    ///
    /// # Errors
    /// As [`open`](DiskImage::open); [`ErrorKind::InvalidData`] for an image of
    /// another format.
    pub fn open_as(path: &Path, format: DiskFormat, ctx: &Context) -> Result<Self> {
        Self::open_file(path, Some(Container::of(format)), ctx)
    }

    fn open_file(path: &Path, container: Option<Container>, ctx: &Context) -> Result<Self> {
        let (file, _) = open_image(path)?;
        Self::new(path.display().to_string(), Source::File(file), container, ctx)
    }

    /// Opens the image in these bytes; `name` is for messages.
    ///
    /// # Errors
    /// As [`open`](DiskImage::open).
    pub fn from_bytes(
        name: impl Into<String>,
        bytes: impl Into<Arc<[u8]>>,
        ctx: &Context,
    ) -> Result<Self> {
        Self::new(name.into(), Source::Bytes(bytes.into()), None, ctx)
    }

    fn new(
        name: String,
        source: Source,
        container: Option<Container>,
        ctx: &Context,
    ) -> Result<Self> {
        let mut checks = Vec::new();
        Self::checked(name, source, container, &mut checks, ctx)
            .map(|image| Self { checks, ..image })
    }

    /// The image, recognised unless its container is stated. Its checks go to
    /// `checks`: those that were made before an error too.
    pub(super) fn checked(
        name: String,
        source: Source,
        stated: Option<Container>,
        checks: &mut Vec<Check>,
        ctx: &Context,
    ) -> Result<Self> {
        let placed = |error: Error| error.with("path", name.clone());
        let failed = |error| Error::io("read", Path::new(&name), error);
        let length = source.length().map_err(failed)?;
        let container = match stated {
            Some(container) => container,
            None => container(&name, &source, length).map_err(failed)?,
        };
        let reader = match container {
            Container::Qcow2 => Reader::Qcow2(qcow2::open(source, checks, ctx).map_err(placed)?),
            Container::Vhd => Reader::Vhd(vhd::open(source, checks).map_err(placed)?),
            Container::Raw => {
                checks.push(check_raw(length));
                Reader::Raw(RawReader::new(source, length))
            }
        };
        Ok(Self { name, reader, checks: Vec::new(), length })
    }

    /// The format of the image.
    #[must_use]
    pub fn format(&self) -> DiskFormat {
        match &self.reader {
            Reader::Raw(_) => DiskFormat::Raw,
            Reader::Vhd(vhd) => vhd.format(),
            Reader::Qcow2(_) => DiskFormat::Qcow2,
        }
    }

    /// What was checked, and what was found.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Fails if any check of the image failed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`], with the first failed check.
    pub fn verify(&self) -> Result<()> {
        let Some(check) = self.checks.iter().find(|check| check.outcome == Outcome::Failed) else {
            return Ok(());
        };
        let why = check.detail.as_deref().unwrap_or_default();
        Err(Error::new(ErrorKind::InvalidData, format!("{}: {}: {why}", self.name, check.name))
            .with("path", self.name.clone())
            .hint("`flock image inspect` shows all that is wrong with it"))
    }

    /// The length of the file in bytes.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        self.length
    }

    /// The disk's own identifier; only VHDs have one.
    #[must_use]
    pub fn id(&self) -> Option<DiskId> {
        match &self.reader {
            Reader::Vhd(vhd) => Some(vhd.id()),
            Reader::Raw(_) | Reader::Qcow2(_) => None,
        }
    }

    /// What made it or which version it is, as far as the format says.
    pub(super) fn detail(&self) -> Option<String> {
        match &self.reader {
            Reader::Raw(_) => None,
            Reader::Vhd(vhd) => Some(format!("creator '{}'", vhd.creator())),
            Reader::Qcow2(qcow2) => Some(format!("version {}", qcow2.version())),
        }
    }

    /// The length of a block, and how many of how many are stored.
    pub(super) fn blocks(&self) -> Option<(u64, u64, u64)> {
        match &self.reader {
            Reader::Raw(_) => None,
            Reader::Vhd(vhd) => vhd.blocks(),
            Reader::Qcow2(qcow2) => Some(qcow2.blocks()),
        }
    }

    /// What the image is called in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn reader(&self) -> &dyn DiskReader {
        match &self.reader {
            Reader::Raw(raw) => raw,
            Reader::Vhd(vhd) => vhd,
            Reader::Qcow2(qcow2) => qcow2,
        }
    }
}

impl DiskReader for DiskImage {
    fn size(&self) -> u64 {
        self.reader().size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.reader().read_at(bytes, offset)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.reader().next_data(offset)
    }
}

/// What kind of file an image is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Raw,
    Vhd,
    Qcow2,
}

impl Container {
    fn of(format: DiskFormat) -> Self {
        match format {
            DiskFormat::Raw => Self::Raw,
            DiskFormat::VhdFixed | DiskFormat::VhdDynamic => Self::Vhd,
            DiskFormat::Qcow2 => Self::Qcow2,
        }
    }
}

/// Recognises the format by the first and last [`START`] bytes of a file;
/// `name` is for messages.
pub(super) fn recognise(name: &str, start: &[u8], end: &[u8]) -> Result<Container> {
    if qcow2::is_qcow2(start) {
        return Ok(Container::Qcow2);
    }
    refuse_what_is_no_disk(name, start)?;
    for (at, magic, format) in OTHERS {
        if start.get(at..).is_some_and(|rest| rest.starts_with(magic)) {
            return Err(unsupported(
                name,
                &format!("has the format {format}, which is not supported"),
            )
            .hint("convert it first, for example with `qemu-img convert`"));
        }
    }
    if vhd::is_vhd(start, end) { Ok(Container::Vhd) } else { Ok(Container::Raw) }
}

/// Refuses what would be a raw disk of bytes that no machine could use.
fn refuse_what_is_no_disk(name: &str, start: &[u8]) -> Result<()> {
    // POSIX.1-2017, pax, "ustar Header Block".
    const TAR: (usize, &[u8]) = (257, b"ustar");
    let compression = Compression::recognise(start);
    if compression != Compression::None {
        let program = compression.as_str();
        return Err(unsupported(
            name,
            &format!("is compressed with {program}, so no disk can be read in it"),
        )
        .hint(format!("decompress it first: `{program} -d`")));
    }
    if start.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
        return Err(unsupported(name, "is a tar archive, not a disk image"));
    }
    Ok(())
}

/// The error for a file that is something else than a disk flock can read.
fn unsupported(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{name} {what}")).with("path", name)
}

/// Recognises the format of a file; `name` is for messages.
pub(super) fn container(name: &str, source: &Source, length: u64) -> io::Result<Container> {
    let mut start = vec![0; usize::try_from(length).unwrap_or(START).min(START)];
    source.read_at(&mut start, 0)?;
    let end = match length.checked_sub(START as u64) {
        Some(at) => source.read::<START>(at)?.to_vec(),
        None => Vec::new(),
    };
    Ok(recognise(name, &start, &end)?)
}

fn check_raw(length: u64) -> Check {
    match length {
        0 => Check::failed("size", "the disk has no bytes"),
        _ if !length.is_multiple_of(512) => {
            Check::warning("size", format!("{length} bytes are no whole sectors"))
        }
        _ => Check::passed("size"),
    }
}

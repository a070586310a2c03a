//! The file that becomes a template, and whether it can.
//!
//! CloudStack looks at a file's extension and then at the file itself, as
//! file(1) does, but only once all of it has arrived. What it would refuse is
//! refused here before anything is sent.

use std::fs::{self, File};
use std::io::{BufReader, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use flock_core::image_builder::ApplianceFormat;
use flock_core::rootfs::decompress::{Compression, Decoder, Limits};
use flock_core::rootfs::disk::{self, Inspection, Outcome};
use flock_core::{Context, Error, ErrorKind, Result};

use crate::error::BACKEND;

/// What `xe vdi-create` and `vhd-util` count the size of a disk in.
const MIB: u64 = 1 << 20;
/// Where the header of a tar has `ustar` (POSIX.1-2017, pax, "ustar
/// Interchange Format"), and how much of the file that takes.
const USTAR: (usize, &[u8]) = (257, b"ustar");
const TAR_HEADER: u64 = 512;

/// An appliance that was looked at. It is read from the file that was open
/// then, whatever becomes of its name.
#[derive(Debug, Clone)]
pub(crate) struct Appliance {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    /// Its length in bytes.
    pub(crate) length: u64,
    modified: Option<SystemTime>,
    pub(super) format: ApplianceFormat,
    pub(super) compression: Compression,
    /// Whether it is a VHD that leaves out what is not used.
    pub(super) is_dynamic: bool,
}

impl Appliance {
    /// Opens a file and looks whether it is what it is said to be. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] and others of opening;
    /// [`ErrorKind::InvalidConfig`] for a directory;
    /// [`ErrorKind::InvalidData`] for a file that is empty, damaged or of
    /// another format; [`ErrorKind::Unsupported`] for a compression or feature
    /// that CloudStack or flock cannot read.
    pub(crate) fn open(path: &Path, format: ApplianceFormat, ctx: &Context) -> Result<Self> {
        // Opening a pipe would wait for somebody to write to it.
        let metadata = fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
        if metadata.is_dir() {
            let message = format!("{} is a directory, not an appliance", path.display());
            return Err(error(ErrorKind::InvalidConfig, path, message));
        }
        if !metadata.is_file() || metadata.len() == 0 {
            let message = format!("{} is not a file with something in it", path.display());
            return Err(error(ErrorKind::InvalidData, path, message));
        }
        let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        let metadata = file.metadata().map_err(|error| Error::io("look at", path, error))?;
        let mut appliance = Self {
            path: path.to_path_buf(),
            compression: recognise(&file, path)?,
            length: metadata.len(),
            modified: metadata.modified().ok(),
            file: Arc::new(file),
            format,
            is_dynamic: false,
        };
        appliance.check_compression()?;
        match format {
            ApplianceFormat::Tar => appliance.check_tar()?,
            _ => appliance.check_disk(ctx)?,
        }
        Ok(appliance)
    }

    /// The extension that CloudStack wants to see: `tar.gz`
    /// (`ImageFormat` and `UriUtils` of CloudStack 4.22).
    pub(super) fn extension(&self) -> String {
        let compression = match self.compression {
            Compression::Gzip => ".gz",
            Compression::Bzip2 => ".bz2",
            Compression::Xz => ".xz",
            _ => "",
        };
        format!("{}{compression}", self.format)
    }

    /// Tells this file from others, and from itself before and after a change.
    pub(super) fn stamp(&self) -> String {
        let since = self.modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        format!("{}-{}", self.length, since.unwrap_or_default().as_nanos())
    }

    /// Fails if the file is not as it was.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`].
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let metadata =
            self.file.metadata().map_err(|error| Error::io("look at", &self.path, error))?;
        if metadata.len() == self.length && metadata.modified().ok() == self.modified {
            return Ok(());
        }
        let message = format!("{} changed while it was sent", self.path.display());
        Err(error(ErrorKind::Conflict, &self.path, message)
            .hint("wait until nothing writes it any more, and register it again"))
    }

    fn check_compression(&self) -> Result<()> {
        if self.compression != Compression::Zstd {
            return Ok(());
        }
        let message = format!(
            "{} is compressed with zstd, which CloudStack cannot unpack",
            self.path.display()
        );
        Err(error(ErrorKind::Unsupported, &self.path, message)
            .hint("build it with `--compression gzip`, or with none"))
    }

    fn check_tar(&self) -> Result<()> {
        let mut head = Vec::new();
        self.decoder()?
            .take(TAR_HEADER)
            .read_to_end(&mut head)
            .map_err(|error| Error::io("read", &self.path, error))?;
        let (at, magic) = USTAR;
        if head.get(at..at + magic.len()) == Some(magic) {
            return self.check_end();
        }
        let holds = if head.starts_with(b"conectix") { "a VHD" } else { "no POSIX tar archive" };
        let message = format!("{} is {holds}, though it should be a tar", self.path.display());
        Err(error(ErrorKind::InvalidData, &self.path, message))
    }

    /// A tar ends with blocks of zeros (POSIX.1-2017, pax, "ustar Interchange
    /// Format"). How a compressed one ends is seen when it is unpacked.
    fn check_end(&self) -> Result<()> {
        if self.compression != Compression::None {
            return Ok(());
        }
        let mut block = [1; 512];
        let is_whole = self.length.is_multiple_of(512);
        let read = self.file.read_exact_at(&mut block, self.length.saturating_sub(512));
        if is_whole && read.is_ok() && block == [0; 512] {
            return Ok(());
        }
        let message = format!("{} has no end: it is cut off", self.path.display());
        Err(error(ErrorKind::InvalidData, &self.path, message).hint("build or fetch it again"))
    }

    /// The contents, decompressed.
    fn decoder(&self) -> Result<Decoder<BufReader<File>>> {
        let failed = |source| Error::io("read", &self.path, source);
        let mut file = self.file.try_clone().map_err(failed)?;
        file.rewind().map_err(failed)?;
        Decoder::new(BufReader::new(file), self.compression, Limits::default())
    }

    fn check_disk(&mut self, ctx: &Context) -> Result<()> {
        let found = disk::inspect(&self.path, ctx)?;
        let is_as_said = match self.format {
            ApplianceFormat::Vhd => found.format.starts_with("vhd"),
            ApplianceFormat::Qcow2 => found.format == "qcow2",
            ApplianceFormat::Raw => found.format == "raw",
            _ => false,
        };
        if !is_as_said {
            let (path, format) = (self.path.display(), self.format);
            let message = format!("{path} is {}, though it should be {format}", found.format);
            return Err(error(ErrorKind::InvalidData, &self.path, message)
                .hint("`flock image convert` writes a disk in another format"));
        }
        if let Some(check) = found.checks.iter().find(|check| check.outcome == Outcome::Failed) {
            let detail = check.detail.as_deref().unwrap_or("it is not as it should be");
            let message = format!("{} is damaged: {}: {detail}", self.path.display(), check.name);
            return Err(error(ErrorKind::InvalidData, &self.path, message)
                .hint("`flock image inspect` shows all that is wrong with it"));
        }
        self.is_dynamic = found.format == "vhd-dynamic";
        match self.format {
            ApplianceFormat::Vhd => self.check_vhd(&found),
            _ => Ok(()),
        }
    }

    /// file(1) knows a VHD by its first bytes, and those of a fixed VHD are
    /// the disk's own; XenServer makes its disks in whole MiB.
    fn check_vhd(&self, found: &Inspection) -> Result<()> {
        let path = self.path.display();
        if !self.is_dynamic {
            let message = format!("{path} is a fixed VHD, which CloudStack does not recognise");
            return Err(error(ErrorKind::InvalidData, &self.path, message).hint(format!(
                "`flock image convert {path} NEW.vhd --subformat dynamic` makes it one that it does"
            )));
        }
        match found.virtual_size {
            Some(size) if size % MIB != 0 => {
                let message = format!(
                    "the disk in {path} has {size} bytes, which is not a whole number of MiB"
                );
                Err(error(ErrorKind::InvalidData, &self.path, message)
                    .hint("XenServer would cut it off or refuse it; make the disk larger"))
            }
            _ => Ok(()),
        }
    }
}

fn recognise(file: &File, path: &Path) -> Result<Compression> {
    let mut start = Vec::new();
    let mut input = file.take(Compression::MAGIC_LEN as u64);
    input.read_to_end(&mut start).map_err(|error| Error::io("read", path, error))?;
    Ok(Compression::recognise(&start))
}

fn error(kind: ErrorKind, path: &Path, message: String) -> Error {
    Error::new(kind, message).in_backend(BACKEND).with("path", path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flock_core::rootfs::compress::Format;

    use super::*;

    fn open(name: &str, bytes: &[u8], format: ApplianceFormat) -> Result<Appliance> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        Appliance::open(&path, format, &Context::new())
    }

    fn tar() -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[257..262].copy_from_slice(b"ustar");
        bytes
    }

    fn kind(opened: Result<Appliance>) -> ErrorKind {
        opened.unwrap_err().kind()
    }

    #[test]
    fn a_tar_is_known_by_its_header() {
        let appliance = open("x", &tar(), ApplianceFormat::Tar).unwrap();
        assert_eq!((appliance.extension().as_str(), appliance.length), ("tar", 1024));
        assert_eq!(kind(open("x.tar", &[7; 4096], ApplianceFormat::Tar)), ErrorKind::InvalidData);
        assert_eq!(kind(open("x.tar", b"", ApplianceFormat::Tar)), ErrorKind::InvalidData);
        for cut in [1000, 512] {
            assert_eq!(
                kind(open("x", &tar()[..cut], ApplianceFormat::Tar)),
                ErrorKind::InvalidData
            );
        }
        assert_eq!(kind(open("x.tar", b"short", ApplianceFormat::Tar)), ErrorKind::InvalidData);
    }

    #[test]
    fn a_compression_gives_an_extension() {
        // RFC 1952, with a stored block as RFC 1951, section 3.2.4, has it.
        let content = tar();
        let length = u16::try_from(content.len()).unwrap();
        let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
        gzip.extend(length.to_le_bytes());
        gzip.extend((!length).to_le_bytes());
        gzip.write_all(&content).unwrap();
        gzip.extend([0; 8]);
        let appliance = open("x", &gzip, ApplianceFormat::Tar).unwrap();
        assert_eq!(appliance.extension(), "tar.gz");
        let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(kind(open("x", &zstd, ApplianceFormat::Tar)), ErrorKind::Unsupported);
        assert_eq!(Format::ZSTD.extension(), ".zst");
    }

    #[test]
    fn a_disk_must_be_what_it_is_called() {
        let raw = vec![7; 4096];
        assert!(open("x", &raw, ApplianceFormat::Raw).is_ok());
        for format in [ApplianceFormat::Vhd, ApplianceFormat::Qcow2] {
            assert_eq!(kind(open("x", &raw, format)), ErrorKind::InvalidData);
        }
        let mut cut = b"conectix".to_vec();
        cut.extend([0; 4096]);
        assert_eq!(kind(open("x", &cut, ApplianceFormat::Vhd)), ErrorKind::InvalidData);
        assert_eq!(kind(open("x", &cut, ApplianceFormat::Tar)), ErrorKind::InvalidData);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let open = |path: &Path| Appliance::open(path, ApplianceFormat::Tar, &Context::new());
        assert_eq!(kind(open(&dir.path().join("none"))), ErrorKind::NotFound);
        assert_eq!(kind(open(dir.path())), ErrorKind::InvalidConfig);
    }

    #[test]
    fn a_change_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar");
        fs::write(&path, tar()).unwrap();
        let appliance = Appliance::open(&path, ApplianceFormat::Tar, &Context::new()).unwrap();
        appliance.check_unchanged().unwrap();
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
        assert_eq!(appliance.check_unchanged().unwrap_err().kind(), ErrorKind::Conflict);
    }
}

//! Opening the files that disk images are in.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use crate::{Error, ErrorKind, Result};

/// Opens a file or a block device to be read at any place.
///
/// Nothing else is opened: a FIFO would wait for a writer, where no signal and
/// no deadline ends it, and a device may do things because it is opened.
pub(super) fn open_image(path: &Path) -> Result<(File, Metadata)> {
    let look = |error| Error::io("look at", path, error);
    let metadata = path.metadata().map_err(|error| Error::io("open", path, error))?;
    refuse_other(path, metadata.file_type())?;
    // It may have become something else since. Without waiting, a FIFO opens
    // at once; files and block devices read as ever.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|error| Error::io("open", path, error))?;
    let metadata = file.metadata().map_err(look)?;
    refuse_other(path, metadata.file_type())?;
    Ok((file, metadata))
}

fn refuse_other(path: &Path, kind: FileType) -> Result<()> {
    if kind.is_file() || kind.is_block_device() {
        return Ok(());
    }
    let what = match kind {
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "a character device",
    };
    let message = format!("{} is {what}, not a disk image", path.display());
    let error =
        Error::new(ErrorKind::InvalidConfig, message).with("path", path.display().to_string());
    Err(error.hint("an image is read at any place: name a file or a block device"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::Context;
    use crate::rootfs::disk::{DiskImage, inspect};

    #[test]
    fn only_files_and_block_devices_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        let socket = dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let cases = [
            (fifo.as_path(), "a FIFO"),
            (&socket, "a socket"),
            (Path::new("/dev/zero"), "a character device"),
            (dir.path(), "a directory"),
        ];
        for (path, what) in cases {
            let ctx = Context::new();
            let opened = DiskImage::open(path, &ctx).map(drop).unwrap_err();
            let inspected = inspect(path, &ctx).map(drop).unwrap_err();
            for error in [opened, inspected] {
                assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
                assert!(error.to_string().contains(what), "{error}");
            }
        }
        let missing = open_image(&dir.path().join("missing")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}

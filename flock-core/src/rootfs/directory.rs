//! A directory on disk as a source of entries.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr, llistxattr_query};
use rustix::io::Errno;

use super::entry::{EntryKind, Metadata, Mtime, Xattr};
use super::tar::Member;
use crate::progress::Level;
use crate::{Context, Error, ErrorKind, Result};

/// Reads the entries of one directory tree.
pub(crate) struct Directory {
    root: PathBuf,
}

/// Where the names are that hard links may point to.
type FirstNames = HashMap<(u64, u64), Vec<u8>>;

impl Directory {
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let metadata = fs::metadata(root).map_err(|error| Error::io("read", root, error))?;
        if !metadata.is_dir() {
            let message = format!("{} is not a directory", root.display());
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Hands every entry to `take`: parents first, siblings by name.
    pub(crate) fn walk(
        &self,
        ctx: &Context,
        take: &mut dyn FnMut(Member) -> Result<()>,
    ) -> Result<()> {
        let mut first_names = FirstNames::new();
        let mut pending = vec![Vec::new()];
        while let Some(path) = pending.pop() {
            ctx.check()?;
            let on_disk = self.on_disk(&path);
            let metadata = self.stat(&path)?;
            if metadata.file_type().is_socket() {
                ctx.message(Level::Info, format!("left out the socket {}", on_disk.display()));
                continue;
            }
            if metadata.is_dir() {
                pending.extend(children(&on_disk, &path)?);
            }
            let mut member = self.member_of(&path, &metadata)?;
            if !metadata.is_dir() && metadata.nlink() > 1 {
                let inode = (metadata.dev(), metadata.ino());
                match first_names.get(&inode) {
                    Some(target) => {
                        member.kind = EntryKind::Hardlink { target: target.clone() };
                        member.stored = 0;
                    }
                    None => {
                        first_names.insert(inode, path);
                    }
                }
            }
            take(member)?;
        }
        Ok(())
    }

    /// Reads again what is at `path`.
    pub(crate) fn member(&self, path: &[u8]) -> Result<Member> {
        self.member_of(path, &self.stat(path)?)
    }

    /// Opens a file that had `size` bytes when it was indexed.
    pub(crate) fn open(&self, path: &[u8], size: u64) -> Result<File> {
        let on_disk = self.on_disk(path);
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = File::options()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&on_disk)
            .map_err(|error| Error::io("open", &on_disk, error))?;
        let metadata = file.metadata().map_err(|error| Error::io("read", &on_disk, error))?;
        if !metadata.is_file() || metadata.len() != size {
            let message = format!("{} changed while it was being used", on_disk.display());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(file)
    }

    fn on_disk(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(OsStr::from_bytes(path)) }
    }

    fn stat(&self, path: &[u8]) -> Result<fs::Metadata> {
        let on_disk = self.on_disk(path);
        // The root itself may be given by a symbolic link.
        let metadata =
            if path.is_empty() { fs::metadata(&on_disk) } else { fs::symlink_metadata(&on_disk) };
        metadata.map_err(|error| Error::io("read", &on_disk, error))
    }

    fn member_of(&self, path: &[u8], metadata: &fs::Metadata) -> Result<Member> {
        let on_disk = self.on_disk(path);
        let file_type = metadata.file_type();
        let (major, minor) =
            (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        let kind = if file_type.is_dir() {
            EntryKind::Directory
        } else if file_type.is_symlink() {
            let target = fs::read_link(&on_disk).map_err(|e| Error::io("read", &on_disk, e))?;
            EntryKind::Symlink { target: target.as_os_str().as_bytes().to_vec() }
        } else if file_type.is_char_device() {
            EntryKind::CharDevice { major, minor }
        } else if file_type.is_block_device() {
            EntryKind::BlockDevice { major, minor }
        } else if file_type.is_fifo() {
            EntryKind::Fifo
        } else {
            EntryKind::File { size: metadata.len() }
        };
        Ok(Member {
            start: 0,
            data: 0,
            stored: if file_type.is_file() { metadata.len() } else { 0 },
            path: path.to_vec(),
            kind,
            metadata: Metadata {
                mode: metadata.mode() & 0o7777,
                uid: metadata.uid(),
                gid: metadata.gid(),
                mtime: Mtime {
                    seconds: metadata.mtime(),
                    nanos: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
                },
                xattrs: xattrs(&on_disk, path.is_empty())?,
                ..Metadata::default()
            },
            map: None,
            portable: false,
        })
    }
}

/// The paths of what stands in a directory, so ordered that popping them from
/// the end gives the names in byte order.
fn children(on_disk: &Path, path: &[u8]) -> Result<Vec<Vec<u8>>> {
    let failed = |error| Error::io("list", on_disk, error);
    let mut paths = Vec::new();
    for child in fs::read_dir(on_disk).map_err(failed)? {
        let name = child.map_err(failed)?.file_name();
        let mut child = path.to_vec();
        if !path.is_empty() {
            child.push(b'/');
        }
        child.extend_from_slice(name.as_bytes());
        paths.push(child);
    }
    paths.sort_unstable_by(|a, b| b.cmp(a));
    Ok(paths)
}

/// The extended attributes of a file, sorted by name; none where the file
/// system has none.
fn xattrs(path: &Path, follow: bool) -> Result<Vec<Xattr>> {
    let failed = |error: Errno| Error::io("read the attributes of", path, error.into());
    let path = if follow {
        // Only the root, which may be given by a symbolic link.
        &fs::canonicalize(path).map_err(|error| Error::io("read", path, error))?
    } else {
        path
    };
    match llistxattr_query(path) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(error) => return Err(failed(error)),
    }
    // The kernel's own limits: 64 KiB for the names, 64 KiB for a value.
    let mut names = vec![0u8; 1 << 16];
    let length = llistxattr(path, names.as_mut_slice()).map_err(failed)?;
    let mut found = Vec::new();
    for name in names[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 1 << 16];
        let length =
            lgetxattr(path, OsStr::from_bytes(name), value.as_mut_slice()).map_err(failed)?;
        value.truncate(length);
        found.push(Xattr { name: name.to_vec(), value });
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

//! Everything that is to be seen of a directory tree on disk.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use flock_core::conformance::Failure;
use sha2::{Digest as _, Sha256};

use crate::harness::{Doing as _, Outcome};

/// A tree: each path with a line of all its metadata.
pub(crate) struct Snapshot(BTreeMap<PathBuf, String>);

impl Snapshot {
    /// Looks at everything below `root`, and at `root` itself.
    pub(crate) fn of(root: &Path) -> Outcome<Self> {
        let mut snapshot = Self(BTreeMap::new());
        let mut first_names = BTreeMap::new();
        let mut open = vec![root.to_owned()];
        while let Some(path) = open.pop() {
            let metadata = fs::symlink_metadata(&path).doing(path.display())?;
            if metadata.is_dir() {
                for entry in fs::read_dir(&path).doing(path.display())? {
                    open.push(entry.doing(path.display())?.path());
                }
            } else if metadata.nlink() > 1 {
                let first = first_names.entry(metadata.ino()).or_insert_with(|| path.clone());
                *first = path.clone().min(first.clone());
            }
            let line = describe(&path, &metadata)?;
            snapshot.0.insert(path, line);
        }
        snapshot.finish(root, &first_names)
    }

    /// Names paths from the root on, and hard links by their smallest name.
    fn finish(self, root: &Path, first_names: &BTreeMap<u64, PathBuf>) -> Outcome<Self> {
        let mut finished = BTreeMap::new();
        for (path, mut line) in self.0 {
            let inode = fs::symlink_metadata(&path).doing(path.display())?.ino();
            let relative = path.strip_prefix(root).doing("relative path")?;
            if let Some(first) = first_names.get(&inode) {
                let first = first.strip_prefix(root).doing("relative path")?;
                let _ = write!(line, " file {}", first.display());
            }
            finished.insert(relative.to_owned(), line);
        }
        Ok(Self(finished))
    }

    /// How many paths there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Fails with the first differences, if there are any.
    pub(crate) fn expect_same(&self, other: &Self) -> Outcome {
        let mut paths: Vec<_> = self.0.keys().chain(other.0.keys()).collect();
        paths.sort();
        paths.dedup();
        let mut text = String::new();
        let mut count = 0;
        for path in paths {
            let (ours, theirs) = (self.0.get(path), other.0.get(path));
            if ours != theirs {
                count += 1;
                if count <= 10 {
                    let _ = write!(text, "\n{path:?}\n  got    {ours:?}\n  wanted {theirs:?}");
                }
            }
        }
        if count == 0 { Ok(()) } else { Err(Failure::new(format!("{count} differences:{text}"))) }
    }
}

fn describe(path: &Path, metadata: &Metadata) -> Outcome<String> {
    let kind = metadata.file_type();
    let mut line = format!(
        "mode {:o} owner {}:{} time {}.{:09}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    );
    let mut add = |text: String| line.push_str(&text);
    if kind.is_symlink() {
        add(format!(" to {:?}", fs::read_link(path).doing(path.display())?));
    } else if kind.is_char_device() || kind.is_block_device() {
        add(format!(" device {:x}", metadata.rdev()));
    } else if kind.is_file() {
        // A file counts as sparse if it takes less than half of its size.
        let sparse = metadata.blocks() * 1024 < metadata.size();
        add(format!(" size {} sparse {sparse} {}", metadata.size(), hash(path)?));
    }
    for (name, value) in attributes(path)? {
        add(format!(" {name}={value}"));
    }
    Ok(line)
}

fn hash(path: &Path) -> Outcome<String> {
    let mut file = File::open(path).doing(path.display())?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = file.read(&mut buffer).doing(path.display())?;
        if length == 0 {
            break Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..length]);
    }
}

fn attributes(path: &Path) -> Outcome<BTreeMap<String, String>> {
    let mut names = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names[..]).doing(path.display())?;
    let mut found = BTreeMap::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        let name = std::ffi::OsStr::from_bytes(name);
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).doing(path.display())?;
        found.insert(name.to_string_lossy().into_owned(), hex(&value[..length]));
    }
    Ok(found)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

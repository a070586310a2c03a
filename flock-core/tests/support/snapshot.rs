//! What a directory tree on disk looks like, name by name, and how two differ.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{lgetxattr, llistxattr};
use sha2::{Digest as _, Sha256};

/// Everything about one name that an archive keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: String,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The first of the names of the same file, by byte order.
    pub(crate) first_name: Vec<u8>,
}

/// The facts of every name under `root`, which has the empty one.
pub(crate) fn of(root: &Path) -> BTreeMap<Vec<u8>, Facts> {
    let mut names = vec![Vec::new()];
    let mut found = BTreeMap::new();
    let mut inodes: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    while let Some(name) = names.pop() {
        let path = root.join(std::ffi::OsStr::from_bytes(&name));
        let path = if name.is_empty() { root.to_owned() } else { path };
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            for child in fs::read_dir(&path).unwrap() {
                let child = child.unwrap().file_name();
                let prefix = if name.is_empty() { &b""[..] } else { b"/" };
                names.push([&name, prefix, child.as_bytes()].concat());
            }
        }
        let inode = (metadata.dev(), metadata.ino());
        let first = inodes.entry(inode).or_insert_with(|| name.clone());
        if name < *first {
            first.clone_from(&name);
        }
        found.insert(name, facts(&path, &metadata, inode));
    }
    for facts in found.values_mut() {
        let inode = facts.first_name.as_slice();
        let (dev, ino) = inode.split_at(8);
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
        let first = inodes[&(number(dev), number(ino))].clone();
        facts.first_name = first;
    }
    found
}

fn facts(path: &Path, metadata: &fs::Metadata, inode: (u64, u64)) -> Facts {
    Facts {
        kind: kind(path, metadata),
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        xattrs: xattrs(path),
        // Replaced by a name once all names are known.
        first_name: [inode.0.to_ne_bytes(), inode.1.to_ne_bytes()].concat(),
    }
}

fn kind(path: &Path, metadata: &fs::Metadata) -> String {
    let file_type = metadata.file_type();
    if file_type.is_dir() {
        "directory".to_owned()
    } else if file_type.is_symlink() {
        format!("symlink to {:?}", fs::read_link(path).unwrap())
    } else if file_type.is_char_device() {
        format!("character device {:x}", metadata.rdev())
    } else if file_type.is_block_device() {
        format!("block device {:x}", metadata.rdev())
    } else if file_type.is_fifo() {
        "fifo".to_owned()
    } else {
        let mut hash = Sha256::new();
        io::copy(&mut File::open(path).unwrap(), &mut Writer(&mut hash)).unwrap();
        let holes = if metadata.blocks() * 512 < metadata.len() { ", sparse" } else { "" };
        let sum = hash.finalize().iter().map(|b| format!("{b:02x}")).collect::<String>();
        format!("file of {} bytes{holes}, sha256 {sum}", metadata.len())
    }
}

struct Writer<'a>(&'a mut Sha256);

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 1 << 16];
    let length = llistxattr(path, names.as_mut_slice()).unwrap_or(0);
    let mut found = Vec::new();
    for name in names[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        let length = lgetxattr(path, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    found.sort();
    found
}

/// One line for every name that is not the same in both.
pub(crate) fn differences(
    want: &BTreeMap<Vec<u8>, Facts>,
    got: &BTreeMap<Vec<u8>, Facts>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, facts) in want {
        let name_text = name.escape_ascii();
        match got.get(name) {
            None => lines.push(format!("{name_text} is missing")),
            Some(other) if other != facts => {
                lines.push(format!("{name_text}: want {facts:?}\n    got {other:?}"));
            }
            Some(_) => {}
        }
    }
    for name in got.keys().filter(|name| !want.contains_key(*name)) {
        lines.push(format!("{} is too much", name.escape_ascii()));
    }
    lines
}

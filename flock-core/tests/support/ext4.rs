//! ext4 file systems in files, judged by e2fsprogs and by the kernel.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flock_core::Context;
use flock_core::rootfs::disk::RawDisk;
use flock_core::rootfs::ext4::{Ext4Layout, Ext4Options};
use flock_core::rootfs::{EntryKind, Tree};
use rustix::fs::makedev;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::snapshot::Facts;

/// A file system in a file of a directory that goes when this does.
pub(crate) struct Image {
    pub(crate) directory: TempDir,
}

impl Image {
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("disk.img")
    }

    /// Writes the tree, and lets `e2fsck` and `dumpe2fs` look at the result.
    pub(crate) fn of(tree: &Tree, options: &Ext4Options) -> Self {
        let image = Self::unchecked(tree, options);
        image.check();
        image
    }

    pub(crate) fn unchecked(tree: &Tree, options: &Ext4Options) -> Self {
        let image = Self { directory: tempfile::tempdir().unwrap() };
        let ctx = Context::new();
        let layout = Ext4Layout::plan(tree, options, &ctx).unwrap();
        let file = File::create(image.path()).unwrap();
        let disk = RawDisk::create(&file, layout.size()).unwrap();
        let written = layout.write(&disk, &ctx).unwrap();
        assert_eq!(written.entries, tree.summary().entries);
        image
    }

    /// Fails unless everything is as it should be.
    pub(crate) fn check(&self) {
        run(Command::new("e2fsck").args(["-f", "-n"]).arg(self.path()));
        let listing = run(Command::new("dumpe2fs").arg(self.path()));
        assert!(listing.contains("metadata_csum") && listing.contains("half_md4"), "{listing}");
    }

    /// What `debugfs` answers.
    pub(crate) fn debugfs(&self, request: &str) -> String {
        run(Command::new("debugfs").args(["-R", request]).arg(self.path()))
    }

    /// The number behind a label of `dumpe2fs`.
    pub(crate) fn number(&self, label: &str) -> u64 {
        let listing = run(Command::new("dumpe2fs").arg("-h").arg(self.path()));
        let line = listing.lines().find_map(|line| line.strip_prefix(label));
        line.unwrap().trim_start_matches(':').trim().parse().unwrap()
    }

    pub(crate) fn mount(&self) -> Mount {
        let point = self.directory.path().join("mnt");
        std::fs::create_dir_all(&point).unwrap();
        run(Command::new("mount").args(["-o", "loop"]).arg(self.path()).arg(&point));
        Mount(point)
    }
}

/// A mounted file system; unmounted when dropped.
pub(crate) struct Mount(pub(crate) PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0));
    }
}

/// Runs a program that must succeed; what it says.
pub(crate) fn run(command: &mut Command) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{error}", output.status);
    out.into_owned()
}

/// What a tree says, in the words of a snapshot of its mounted file system.
pub(crate) fn facts_of(tree: &Tree) -> BTreeMap<Vec<u8>, Facts> {
    facts_of_without(tree, b"\0")
}

/// The same without one name, and without reading it.
pub(crate) fn facts_of_without(tree: &Tree, path: &[u8]) -> BTreeMap<Vec<u8>, Facts> {
    let mut found: BTreeMap<Vec<u8>, Facts> = BTreeMap::new();
    let mut links: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
    for entry in tree.entries() {
        let entry = entry.unwrap();
        if entry.path == path {
            continue;
        }
        if let EntryKind::Hardlink { target } = &entry.kind {
            let facts = found[target].clone();
            links.entry(target.clone()).or_default().push(entry.path.clone());
            found.insert(entry.path, facts);
            continue;
        }
        let mut xattrs: Vec<_> =
            entry.metadata.xattrs.iter().map(|x| (x.name.clone(), x.value.clone())).collect();
        xattrs.sort();
        let facts = Facts {
            kind: kind_of(&entry),
            mode: entry.metadata.mode & 0o7777,
            owner: (entry.metadata.uid, entry.metadata.gid),
            mtime: (entry.metadata.mtime.seconds, i64::from(entry.metadata.mtime.nanos)),
            xattrs,
            first_name: entry.path.clone(),
        };
        found.insert(entry.path, facts);
    }
    for (target, mut names) in links {
        names.push(target);
        let first = names.iter().min().unwrap().clone();
        for name in names {
            found.get_mut(&name).unwrap().first_name.clone_from(&first);
        }
    }
    found
}

fn kind_of(entry: &flock_core::rootfs::Entry) -> String {
    match &entry.kind {
        EntryKind::Directory => "directory".to_owned(),
        EntryKind::Symlink { target } => {
            let target: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&target[..]);
            format!("symlink to {:?}", Path::new(target))
        }
        EntryKind::CharDevice { major, minor } => {
            format!("character device {:x}", makedev(*major, *minor))
        }
        EntryKind::BlockDevice { major, minor } => {
            format!("block device {:x}", makedev(*major, *minor))
        }
        EntryKind::Fifo => "fifo".to_owned(),
        _ => {
            let content = entry.content();
            let mut hash = Sha256::new();
            let mut reader = content.reader();
            let mut buffer = vec![0; 1 << 20];
            loop {
                let read = reader.read(&mut buffer).unwrap();
                if read == 0 {
                    break;
                }
                hash.update(&buffer[..read]);
            }
            let sum = hash.finalize().iter().map(|b| format!("{b:02x}")).collect::<String>();
            // Extents by whole blocks, as a file system has them.
            let blocks: std::collections::HashSet<u64> = content
                .extents()
                .iter()
                .flat_map(|e| e.offset / 4096..(e.offset + e.length).div_ceil(4096))
                .collect();
            let holes = if (blocks.len() as u64) * 4096 < content.size() { ", sparse" } else { "" };
            format!("file of {} bytes{holes}, sha256 {sum}", content.size())
        }
    }
}

//! What an archive holds, in a form in which two can be compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

/// The tree in an archive: every path with a line that says what is there.
#[derive(Debug, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<Vec<u8>, Entry>,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Kind, mode, owner, target, size and hash of the contents; of files the
    /// time too (unpacking changes that of directories, and Python's that of
    /// symbolic links).
    what: String,
    /// The path whose file this is; its own unless it is a hard link.
    file: Vec<u8>,
}

impl Tree {
    /// Reads a tar, plain or compressed by gzip or zstd, up to its end.
    ///
    /// `owners` tells whether owners count: only root can unpack them.
    ///
    /// # Errors
    /// When the file is not a whole archive.
    pub fn read(path: &Path, owners: bool) -> Result<Self> {
        let mut magic = [0; 4];
        File::open(path)?.read_exact(&mut magic).context("shorter than any archive")?;
        let file = BufReader::with_capacity(1 << 20, File::open(path)?);
        let reader: Box<dyn Read> = match magic {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::with_buffer(file)?),
            _ => Box::new(file),
        };
        let mut tree = Self { entries: BTreeMap::new() };
        let mut archive = Archive::new(reader);
        for entry in archive.entries()? {
            tree.add(entry?, owners)?;
        }
        io::copy(&mut archive.into_inner(), &mut io::sink()).context("damaged after its end")?;
        tree.name_files_alike();
        Ok(tree)
    }

    /// How many paths there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes away everything below `directory` and puts `other` in.
    pub fn replace(&mut self, directory: &str, other: Self) {
        let mut below = normal(directory.as_bytes());
        below.push(b'/');
        self.entries.retain(|path, _| !path.starts_with(&below));
        self.entries.extend(other.entries);
    }

    /// The first few differences to `other`, in words; none if equal.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let paths = self.entries.keys().chain(other.entries.keys());
        let mut paths: Vec<_> = paths.collect();
        paths.sort_unstable();
        paths.dedup();
        let differ = |path: &&&Vec<u8>| self.entries.get(**path) != other.entries.get(**path);
        let word = |entry: Option<&Entry>| match entry {
            Some(entry) => format!("{} ({})", entry.what, String::from_utf8_lossy(&entry.file)),
            None => "nothing".to_owned(),
        };
        let describe = |path: &Vec<u8>| {
            let (ours, theirs) = (self.entries.get(path), other.entries.get(path));
            format!("{}: {} / {}", String::from_utf8_lossy(path), word(ours), word(theirs))
        };
        paths.iter().filter(differ).take(2).map(|path| describe(path)).collect()
    }

    fn add<R: Read>(&mut self, mut entry: tar::Entry<'_, R>, owners: bool) -> Result<()> {
        let path = normal(&entry.path_bytes());
        let header = entry.header();
        let kind = header.entry_type();
        if kind == EntryType::Link {
            let target = normal(&entry.link_name_bytes().unwrap_or_default());
            let Some(first) = self.entries.get(&target) else {
                bail!("{} links to nothing", String::from_utf8_lossy(&path));
            };
            let same = Entry { what: first.what.clone(), file: first.file.clone() };
            self.entries.insert(path, same);
            return Ok(());
        }
        let mut what = format!("{kind:?} {:o}", header.mode()? & 0o7777);
        if owners {
            write!(what, " {}:{}", header.uid()?, header.gid()?)?;
        }
        if kind == EntryType::Regular {
            write!(what, " {}", header.mtime()?)?;
        }
        if let Some(target) = entry.link_name_bytes() {
            write!(what, " -> {}", String::from_utf8_lossy(&target))?;
        }
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut buffer = [0; 1 << 16];
        loop {
            let length = entry.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            hash.update(&buffer[..length]);
            size += length;
        }
        write!(what, " {size} ")?;
        for byte in &hash.finalize()[..16] {
            write!(what, "{byte:02x}")?;
        }
        self.entries.insert(path.clone(), Entry { what, file: path });
        Ok(())
    }

    /// Which name of a file comes first in an archive is chance; take the
    /// smallest.
    fn name_files_alike(&mut self) {
        let mut smallest = BTreeMap::<Vec<u8>, Vec<u8>>::new();
        for (path, entry) in &self.entries {
            smallest.entry(entry.file.clone()).or_insert_with(|| path.clone());
        }
        for entry in self.entries.values_mut() {
            if let Some(name) = smallest.get(&entry.file) {
                entry.file.clone_from(name);
            }
        }
    }
}

/// `./a/b/` and `/a/b` are `a/b`.
fn normal(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|&byte| byte == b'/');
    parts.filter(|part| !part.is_empty() && *part != b".").collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs;

    #[test]
    fn the_same_tree_is_the_same_in_any_wrapping_and_another_is_not() {
        let directory = std::env::temp_dir().join(format!("flock-tree-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (plain, packed) = (directory.join("a.tar"), directory.join("b.tar.zst"));
        inputs::write_app(&plain, 400_000, 20, "").unwrap();
        let bytes = std::fs::read(&plain).unwrap();
        std::fs::write(&packed, zstd::encode_all(bytes.as_slice(), 1).unwrap()).unwrap();
        let one = Tree::read(&plain, true).unwrap();
        assert_eq!(one.differences(&Tree::read(&packed, true).unwrap()), Vec::<String>::new());

        let other = directory.join("c.tar");
        inputs::write_app(&other, 500_000, 20, "").unwrap();
        assert!(!one.differences(&Tree::read(&other, true).unwrap()).is_empty());
        std::fs::write(&other, &bytes[..bytes.len() / 2]).unwrap();
        assert!(Tree::read(&other, true).is_err());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

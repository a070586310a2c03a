//! Inputs that are the same bytes on every machine.
//!
//! The contents imitate what a root file system holds: prose and source that
//! compress to a quarter, machine code that compresses to less than half, and
//! some that do not compress at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tar::{Builder, EntryType, Header};

/// Changes with every change of the bytes, so that old inputs are not reused.
const VERSION: &str = "1";

/// Every entry's modification time: whole seconds, as every peer keeps them.
const MTIME: u64 = 1_700_000_000;

/// Where the application goes, as it stands in `config.yaml`.
pub const WWWROOT: &str = "/var/www/html/";

/// The files that one comparison works on.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The base operating system.
    pub base: PathBuf,
    /// The same, compressed by gzip.
    pub base_gz: PathBuf,
    /// The application, with paths that start at its own root.
    pub app: PathBuf,
    /// The application with its paths already below [`WWWROOT`], for programs
    /// that cannot move it there.
    pub app_placed: PathBuf,
}

impl Inputs {
    /// The paths of the inputs below `directory`.
    fn below(directory: &Path) -> Self {
        Self {
            base: directory.join("base.tar"),
            base_gz: directory.join("base.tar.gz"),
            app: directory.join("app.tar"),
            app_placed: directory.join("app-placed.tar"),
        }
    }
}

/// How much is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Size {
    /// About 60 MB, to see that everything works.
    Small,
    /// About 2.1 GB, to measure.
    Full,
}

impl Size {
    fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Full => "full",
        }
    }

    /// Bytes of contents in the base and in the application, and files in the
    /// application.
    fn amounts(self) -> (u64, u64, u64) {
        match self {
            Self::Small => (45_000_000, 15_000_000, 1_000),
            Self::Full => (1_480_000_000, 550_000_000, 20_000),
        }
    }
}

/// Makes the inputs below `work`, unless they are there already.
///
/// # Errors
/// When a file cannot be written.
pub fn prepare(work: &Path, size: Size) -> Result<Inputs> {
    let directory = work.join(format!("inputs-{}-{VERSION}", size.name()));
    let inputs = Inputs::below(&directory);
    if directory.is_dir() {
        return Ok(inputs);
    }
    let unfinished = work.join(format!("inputs-{}-unfinished", size.name()));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    fs::create_dir_all(&unfinished)?;
    let made = Inputs::below(&unfinished);
    let (base_bytes, app_bytes, app_files) = size.amounts();
    write_base(&made.base, base_bytes).context("cannot make the base")?;
    write_app(&made.app, app_bytes, app_files, "").context("cannot make the application")?;
    write_app(&made.app_placed, app_bytes, app_files, WWWROOT.trim_start_matches('/'))
        .context("cannot make the placed application")?;
    compress(&made.base, &made.base_gz).context("cannot compress the base")?;
    fs::rename(&unfinished, &directory)?;
    Ok(inputs)
}

/// Writes a base operating system of about `bytes`.
///
/// # Errors
/// When `path` cannot be written.
pub fn write_base(path: &Path, bytes: u64) -> Result<()> {
    let mut tree = Writer::create(path, 0xba5e)?;
    for directory in ["", "bin/", "etc/", "srv/", "usr/", "usr/share/", "var/", "var/www/"] {
        tree.directory(if directory.is_empty() { "./" } else { directory })?;
    }
    let wwwroot = WWWROOT.trim_start_matches('/');
    tree.directory(wwwroot)?;
    for number in 0..10 {
        tree.file(&format!("{wwwroot}placeholder-{number}.html"), Kind::Text, 10_000)?;
    }
    let mut number = 0_u64;
    while tree.written < bytes {
        if number.is_multiple_of(24) {
            tree.directory(&format!("usr/share/package-{:05}/", number / 24))?;
        }
        let below = format!("usr/share/package-{:05}", number / 24);
        tree.file(&format!("{below}/text-{number:06}"), Kind::Text, 20_000)?;
        if number.is_multiple_of(8) {
            tree.file(&format!("{below}/lib-{number:06}.so"), Kind::Code, 160_000)?;
            tree.link(EntryType::Symlink, &format!("{below}/lib.so.{number}"), &{
                format!("lib-{number:06}.so")
            })?;
        }
        if number.is_multiple_of(64) {
            let first = format!("{below}/text-{number:06}");
            tree.link(EntryType::Link, &format!("bin/alias-{number:06}"), &first)?;
        }
        if number.is_multiple_of(512) {
            tree.file(&format!("{below}/image-{number:06}"), Kind::Noise, 1_000_000)?;
            tree.file(&format!("{below}/data-{number:06}"), Kind::Code, 6_000_000)?;
        }
        number += 1;
    }
    tree.finish()
}

/// Writes an application of about `bytes` in `files` small files and some
/// large ones, its paths beginning with `root`.
///
/// # Errors
/// When `path` cannot be written.
pub fn write_app(path: &Path, bytes: u64, files: u64, root: &str) -> Result<()> {
    let mut tree = Writer::create(path, 0x0a99)?;
    tree.directory(if root.is_empty() { "./" } else { root })?;
    tree.file(&format!("{root}index.html"), Kind::Text, 8_000)?;
    for number in 0..files {
        if number.is_multiple_of(50) {
            tree.directory(&format!("{root}module-{:04}/", number / 50))?;
        }
        let name = format!("{root}module-{:04}/source-{number:06}.php", number / 50);
        tree.file(&name, Kind::Text, 8_000)?;
    }
    let large = [Kind::Code, Kind::Text, Kind::Code, Kind::Text, Kind::Noise, Kind::Code];
    let kinds = large.iter().chain(&large[..4]).chain(&[Kind::Text, Kind::Code]);
    let each = bytes.saturating_sub(tree.written) / 12;
    for (number, kind) in kinds.enumerate() {
        tree.exact_file(&format!("{root}large-{number:02}"), *kind, each)?;
    }
    tree.link(EntryType::Symlink, &format!("{root}current"), "module-0000")?;
    tree.finish()
}

fn compress(from: &Path, to: &Path) -> Result<()> {
    let level = flate2::Compression::new(6);
    let mut encoder = flate2::write::GzEncoder::new(BufWriter::new(File::create(to)?), level);
    io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}

/// What a file's contents are like.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Words from a small vocabulary, in lines.
    Text,
    /// Short sequences that come back with changed operands.
    Code,
    /// Random bytes.
    Noise,
}

/// Makes contents.
#[derive(Debug)]
pub struct Contents {
    random: Random,
    words: Vec<Vec<u8>>,
    sequences: Vec<Vec<u8>>,
    /// Which sequences are in use now: a program's parts differ.
    place: usize,
}

impl Contents {
    /// Contents that `seed` decides.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed | 1);
        let words = (0..6_000)
            .map(|_| {
                let letters = 2 + random.below(9);
                (0..letters).map(|_| b"etaoinshrdlucmfwypvbgk"[random.skewed(22)]).collect()
            })
            .collect();
        let sequences = (0..40_000)
            .map(|_| {
                let length = 6 + random.below(14);
                (0..length).map(|_| random.next().to_le_bytes()[3]).collect()
            })
            .collect();
        Self { random, words, sequences, place: 0 }
    }

    /// Fills `buffer` up to `length` bytes.
    pub fn fill(&mut self, buffer: &mut Vec<u8>, kind: Kind, length: usize) {
        buffer.clear();
        while buffer.len() < length {
            match kind {
                Kind::Text => self.line(buffer),
                Kind::Code => self.routine(buffer),
                Kind::Noise => buffer.extend_from_slice(&self.random.next().to_le_bytes()),
            }
        }
        buffer.truncate(length);
    }

    fn line(&mut self, buffer: &mut Vec<u8>) {
        // A phrase that was there before, as in licences and markup.
        if buffer.len() > 4_000 && self.random.below(3) == 0 {
            let from = buffer.len() - 200 - self.random.below(3_700);
            let to = from + 30 + self.random.below(90);
            buffer.extend_from_within(from..to);
        }
        for _ in 0..self.random.below(4) {
            buffer.extend_from_slice(b"    ");
        }
        for _ in 0..4 + self.random.below(9) {
            let word = self.random.skewed(self.words.len());
            buffer.extend_from_slice(&self.words[word]);
            buffer.push(b" .,;=("[self.random.skewed(6)]);
        }
        buffer.push(b'\n');
    }

    fn routine(&mut self, buffer: &mut Vec<u8>) {
        const IN_USE: usize = 900;
        if self.random.below(300) == 0 {
            self.place = self.random.below(self.sequences.len() - IN_USE);
        }
        for _ in 0..6 {
            let sequence = self.place + self.random.skewed(IN_USE);
            buffer.extend_from_slice(&self.sequences[sequence]);
            let operand = self.random.skewed(4_096);
            buffer.extend_from_slice(&operand.to_le_bytes()[..2]);
            buffer.extend_from_slice(&[0; 5][..self.random.below(6)]);
        }
    }
}

/// Xorshift: small, quick, the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from((self.next() >> 33) % (limit.max(1) as u64)).unwrap_or(0)
    }

    /// A number below `limit`, small ones far more often than large ones.
    fn skewed(&mut self, limit: usize) -> usize {
        let first = self.below(limit) + 1;
        let second = self.below(first) + 1;
        self.below(second)
    }
}

/// Writes a tar with contents made up as it goes.
struct Writer {
    archive: Builder<BufWriter<File>>,
    contents: Contents,
    buffer: Vec<u8>,
    written: u64,
}

impl Writer {
    fn create(path: &Path, seed: u64) -> Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let contents = Contents::new(seed);
        Ok(Self { archive: Builder::new(file), contents, buffer: Vec::new(), written: 0 })
    }

    fn directory(&mut self, path: &str) -> Result<()> {
        let mut header = header(EntryType::Directory, 0o755, 0);
        Ok(self.archive.append_data(&mut header, path, io::empty())?)
    }

    fn link(&mut self, kind: EntryType, path: &str, target: &str) -> Result<()> {
        // A hard link has the mode of the file that it names again.
        let mode = if kind == EntryType::Link { 0o644 } else { 0o777 };
        let mut header = header(kind, mode, 0);
        Ok(self.archive.append_link(&mut header, path, target)?)
    }

    /// A file of `around` bytes, give or take most of that.
    fn file(&mut self, path: &str, kind: Kind, around: usize) -> Result<()> {
        let length = around / 8 + self.contents.random.below(around * 7 / 4);
        self.exact_file(path, kind, length as u64)
    }

    fn exact_file(&mut self, path: &str, kind: Kind, length: u64) -> Result<()> {
        let mode = if matches!(kind, Kind::Code) { 0o755 } else { 0o644 };
        let mut header = header(EntryType::Regular, mode, length);
        self.contents.fill(&mut self.buffer, kind, usize::try_from(length)?);
        self.archive.append_data(&mut header, path, self.buffer.as_slice())?;
        self.written += length;
        Ok(())
    }

    fn finish(self) -> Result<()> {
        self.archive.into_inner()?.flush()?;
        Ok(())
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a hundred parts after `gzip -6` and `zstd -3`.
    fn compressed(kind: Kind) -> (usize, usize) {
        let mut plain = Vec::new();
        Contents::new(1).fill(&mut plain, kind, 4_000_000);
        let level = flate2::Compression::new(6);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
        gzip.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
        (gzip.finish().unwrap().len() * 100 / plain.len(), zstd.len() * 100 / plain.len())
    }

    #[test]
    fn contents_compress_like_the_real_ones() {
        // As `gzip -6` and `zstd -3` do with the parts of Debian's /usr: modules in
        // script languages leave 27 and 25, shared libraries 32 and 31.
        let (gzip, zstd) = compressed(Kind::Text);
        assert!((20..30).contains(&gzip) && (18..30).contains(&zstd), "text: {gzip} {zstd}");
        let (gzip, zstd) = compressed(Kind::Code);
        assert!((33..45).contains(&gzip) && (30..45).contains(&zstd), "code: {gzip} {zstd}");
        assert!(compressed(Kind::Noise).0 >= 100);
    }
}

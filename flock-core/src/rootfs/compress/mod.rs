//! Compression on all cores, with the same bytes from any number of them.
//!
//! The input is cut at fixed places into blocks that are compressed
//! independently and concatenated: gzip members (RFC 1952, section 2.2: a gzip
//! file is a series of members) or zstd frames (RFC 8878, section 3.1). Every
//! conforming reader decodes the concatenation; `gzip`, `zstd`, tar, Docker
//! and Python do. A reader that stops after the first member does not conform;
//! for such a one use [`Format::None`] and compress elsewhere.
//!
//! ```
//! use std::io::Write;
//! use flock_core::rootfs::compress::{CompressionSettings, Encoder, Format};
//!
//! # fn main() -> std::io::Result<()> {
//! let settings = CompressionSettings::new("gzip:9".parse::<Format>().unwrap());
//! let mut encoder = Encoder::new(Vec::new(), &settings)?;
//! encoder.write_all(b"hello")?;
//! let gzip = encoder.finish()?;
//! assert_eq!(gzip[..2], [0x1f, 0x8b]);
//! # Ok(())
//! # }
//! ```

mod block;
mod encoder;
mod pool;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::str::FromStr;

use crate::{Error, ErrorKind};

pub use encoder::Encoder;

/// How an output is compressed.
///
/// In text: `none`, `gzip`, `zstd`, or with a level, `gzip:9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952), made by libdeflate.
    Gzip {
        /// From 1 (fast) to 12 (small); 6 by default. Levels above 9 are
        /// libdeflate's own and many times slower.
        level: u8,
    },
    /// Zstandard (RFC 8878).
    Zstd {
        /// From 1 (fast) to 22 (small); 3 by default.
        level: u8,
    },
}

impl Format {
    /// gzip at its default level, 6.
    pub const GZIP: Self = Self::Gzip { level: 6 };
    /// zstd at its default level, 3.
    pub const ZSTD: Self = Self::Zstd { level: 3 };

    /// What a name of such a file ends in: ``, `.gz` or `.zst`.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip { .. } => ".gz",
            Self::Zstd { .. } => ".zst",
        }
    }

    /// The name people use, without the level: `none`, `gzip`, `zstd`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip { .. } => "gzip",
            Self::Zstd { .. } => "zstd",
        }
    }

    /// What the name of a file says of its compression, with the default
    /// level: `.gz` and `.tgz`, `.zst` and `.tzst`; none for `.tar` and the
    /// names of disks, `.vhd`, `.raw`, `.img` and `.qcow2`. `None` if it says
    /// nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a name of a compression that is only
    /// read here, or not known at all: `.xz`, `.bz2`, `.lz4` and so on.
    pub fn from_file_name(path: &Path) -> Result<Option<Self>, Error> {
        let extension = path.extension().map(|extension| extension.to_string_lossy());
        let extension = extension.unwrap_or_default().to_ascii_lowercase();
        match extension.as_str() {
            "tar" | "vhd" | "raw" | "img" | "qcow2" => Ok(Some(Self::None)),
            "gz" | "tgz" | "taz" => Ok(Some(Self::GZIP)),
            "zst" | "tzst" => Ok(Some(Self::ZSTD)),
            "xz" | "txz" | "lzma" | "tlz" | "bz2" | "tbz" | "tbz2" | "tz2" | "lz" | "lz4"
            | "lzo" | "z" | "br" | "zip" | "7z" => {
                let message =
                    format!("cannot write {}: flock makes no .{extension}", path.display());
                Err(Error::new(ErrorKind::InvalidConfig, message)
                    .hint("let the name end in .tar, .tar.gz or .tar.zst"))
            }
            _ => Ok(None),
        }
    }

    /// Checks the level.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if there is no such level.
    pub fn validate(self) -> Result<Self, Error> {
        let (name, level, highest) = match self {
            Self::None => return Ok(self),
            Self::Gzip { level } => ("gzip", level, 12),
            Self::Zstd { level } => ("zstd", level, 22),
        };
        if (1..=highest).contains(&level) {
            return Ok(self);
        }
        let message = format!("{name} has no compression level {level}");
        Err(Error::new(ErrorKind::InvalidConfig, message)
            .hint(format!("{name} levels go from 1 (fast) to {highest} (small)")))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Gzip { level } => write!(f, "gzip:{level}"),
            Self::Zstd { level } => write!(f, "zstd:{level}"),
        }
    }
}

impl serde::Serialize for Format {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || {
            let message = format!("'{}' is not a compression", text.escape_default());
            Error::new(ErrorKind::InvalidConfig, message)
                .hint("say none, gzip, zstd, or with a level, for example gzip:9")
        };
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (name, level) {
            ("none", None) => Ok(Self::None),
            ("gzip", None) => Ok(Self::GZIP),
            ("zstd", None) => Ok(Self::ZSTD),
            ("gzip", Some(level)) => Self::Gzip { level }.validate(),
            ("zstd", Some(level)) => Self::Zstd { level }.validate(),
            _ => Err(unknown()),
        }
    }
}

/// How to compress: the format, and what it may use.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CompressionSettings {
    /// The format and level; these alone decide the bytes.
    pub format: Format,
    /// How many threads compress; as many as there are cores by default.
    pub threads: NonZeroUsize,
    /// How many bytes of memory the blocks and the compressors may take;
    /// 96 MiB by default. Threads that would need more are not started, but
    /// one always is. A thread takes 5 MiB with gzip (13 MiB above level 9),
    /// and with zstd 28 MiB up to level 9, 46 MiB up to 15 and 98 MiB above:
    /// by default 19 start at most with gzip, and 3 with zstd at its default
    /// level. Machines with more cores want more than the default.
    pub memory: u64,
}

impl CompressionSettings {
    /// The default settings for this format.
    #[must_use]
    pub fn new(format: Format) -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { format, threads, memory: 96 << 20 }
    }

    /// How many bytes of memory one thread takes, with the blocks on their way
    /// to and from it; 0 where nothing is compressed.
    #[must_use]
    pub fn thread_memory(&self) -> u64 {
        match self.format {
            Format::None => 0,
            // Two blocks, each with its output, and the compressor.
            format => (4 * block::size(format) + block::compressor_memory(format)) as u64,
        }
    }

    /// The same settings with this number of threads.
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// The same settings with this bound on the memory, in bytes.
    #[must_use]
    pub fn with_memory(mut self, memory: u64) -> Self {
        self.memory = memory;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_speak_of_formats() {
        let says = |name: &str| Format::from_file_name(Path::new(name));
        for (name, format) in [
            ("a.tar", Some(Format::None)),
            ("a.tar.GZ", Some(Format::GZIP)),
            ("a.tgz", Some(Format::GZIP)),
            ("a.tar.zst", Some(Format::ZSTD)),
            ("a", None),
            (".tar", None),
            ("a.gz/b", None),
            ("a.img", Some(Format::None)),
            ("a.vhd.gz", Some(Format::GZIP)),
            ("a.iso", None),
        ] {
            assert_eq!(says(name).unwrap(), format, "{name}");
        }
        assert_eq!(says("a.tar.xz").unwrap_err().kind(), ErrorKind::InvalidConfig);
    }

    #[test]
    fn formats_read_as_they_are_written() {
        for format in [Format::None, Format::GZIP, Format::Zstd { level: 22 }] {
            let text = format.to_string();
            let expected = if format == Format::None { Format::None } else { format };
            assert_eq!(text.parse::<Format>().unwrap(), expected);
        }
        assert_eq!("gzip".parse::<Format>().unwrap(), Format::Gzip { level: 6 });
        for bad in ["", "lzma", "gzip:", "gzip:0", "gzip:13", "zstd:23", "zstd:-1", "none:1"] {
            let error = bad.parse::<Format>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{bad}");
            assert_eq!(error.hints().count(), 1, "{bad}");
        }
    }
}

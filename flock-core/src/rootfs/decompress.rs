//! Decompression of what is recognised by its first bytes.
//!
//! Every format is read to the end of the input, however many streams,
//! members or frames are in it; anything else behind them is an error, and so
//! is an input that ends too early. Only zeros may follow the last member of a
//! gzip file: tapes and block devices pad with them, and GNU gzip reads over
//! them too. (Those behind an .xz stream are part of that format.)

mod gzip;

use std::fmt;
use std::io::{self, BufRead, Read};

use bzip2::bufread::MultiBzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use crate::{Error, ErrorKind};

use gzip::Members;

/// What a file is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Nothing that is known here.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// The .xz file format, version 1.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
    /// bzip2.
    Bzip2,
}

impl Compression {
    /// How many bytes [`recognise`](Compression::recognise) wants to see.
    pub const MAGIC_LEN: usize = 10;

    /// Recognises the format by the first bytes of a file, of which
    /// [`MAGIC_LEN`](Compression::MAGIC_LEN) are enough.
    #[must_use]
    pub fn recognise(start: &[u8]) -> Self {
        match start {
            // The third byte is the method; deflate is the only one.
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, with which zstd files may begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            // The level, and then a block (BCD of pi) or the end (of its root).
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => {
                Self::Bzip2
            }
            _ => Self::None,
        }
    }

    /// The name people use: `gzip`, `xz`, `zstd`, `bzip2`, `none`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a decompression may go. What goes beyond is taken for an attack
/// and ends in [`ErrorKind::QuotaExceeded`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes that may come out; 64 GiB by default. It bounds what is
    /// not compressed too: a pipe need not end.
    pub max_output: u64,
    /// The most bytes that may come out for each one that goes in, which
    /// counts once 1 GiB has come out; 1000 by default.
    pub max_ratio: u64,
    /// The most bytes of memory that a file may make the decoder take for its
    /// window or dictionary; 128 MiB by default, which is what `zstd -22` and
    /// twice what `xz -9` need.
    pub max_memory: u64,
}

impl Limits {
    /// Up to here the ratio is nobody's business.
    const RATIO_FLOOR: u64 = 1 << 30;

    /// These limits with another bound on the output, in bytes.
    #[must_use]
    pub fn with_max_output(mut self, max_output: u64) -> Self {
        self.max_output = max_output;
        self
    }

    /// These limits with another bound on the ratio.
    #[must_use]
    pub fn with_max_ratio(mut self, max_ratio: u64) -> Self {
        self.max_ratio = max_ratio;
        self
    }

    /// These limits with another bound on the memory, in bytes.
    #[must_use]
    pub fn with_max_memory(mut self, max_memory: u64) -> Self {
        self.max_memory = max_memory;
        self
    }

    fn check(&self, compression: Compression, input: u64, output: u64) -> Result<(), Error> {
        if output > self.max_output {
            return Err(exceeded("max_output", self.max_output, "bytes come out"));
        }
        if compression == Compression::None {
            return Ok(());
        }
        if output > Self::RATIO_FLOOR && output / self.max_ratio.max(1) > input {
            return Err(exceeded("max_ratio", self.max_ratio, "bytes come out for each one read"));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_output: 64 << 30, max_ratio: 1000, max_memory: 128 << 20 }
    }
}

fn exceeded(setting: &'static str, limit: u64, what: &str) -> Error {
    beyond(setting, format!("more than {limit} {what}"))
}

/// The error for a file that goes beyond the limit of that name in [`Limits`].
fn beyond(limit: &'static str, message: String) -> Error {
    Error::new(ErrorKind::QuotaExceeded, message)
        .with("limit", limit)
        .hint("if the file is to be trusted, raise the limit")
}

/// Decompresses what it reads from `R`.
///
/// Errors of `R` come through as they are. All others carry an [`Error`] of
/// kind [`ErrorKind::InvalidData`] (corrupt, cut off, or followed by something
/// else) or [`ErrorKind::QuotaExceeded`] (a limit); [`Error::io`] takes it out.
pub struct Decoder<R: BufRead> {
    format: Inner<Counted<R>>,
    compression: Compression,
    limits: Limits,
    output: u64,
}

enum Inner<R: BufRead> {
    None(R),
    Gzip(Box<Members<R>>),
    Xz(XzDecoder<R>),
    Zstd(zstd::Decoder<'static, R>),
    Bzip2(MultiBzDecoder<R>),
}

impl<R: BufRead> Decoder<R> {
    /// A decoder of this format.
    ///
    /// # Errors
    /// [`ErrorKind::QuotaExceeded`] if there is no memory for it.
    pub fn new(input: R, compression: Compression, limits: Limits) -> Result<Self, Error> {
        let input = Counted { input, count: 0 };
        let broken = |source: io::Error| {
            Error::new(ErrorKind::QuotaExceeded, format!("cannot start to decode {compression}"))
                .caused_by(source)
        };
        let format = match compression {
            Compression::None => Inner::None(input),
            Compression::Gzip => Inner::Gzip(Box::new(Members::new(input))),
            Compression::Bzip2 => Inner::Bzip2(MultiBzDecoder::new(input)),
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(limits.max_memory, CONCATENATED);
                let stream = stream.map_err(|error| broken(error.into()))?;
                Inner::Xz(XzDecoder::new_stream(input, stream))
            }
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input).map_err(broken)?;
                // The bounds are those of the library.
                let window_log = limits.max_memory.max(1).ilog2().clamp(10, 31);
                decoder.window_log_max(window_log).map_err(broken)?;
                Inner::Zstd(decoder)
            }
        };
        Ok(Self { format, compression, limits, output: 0 })
    }

    /// How many bytes have come out so far.
    pub fn total_out(&self) -> u64 {
        self.output
    }

    fn input(&self) -> u64 {
        match &self.format {
            Inner::None(reader) => reader.count,
            Inner::Gzip(decoder) => decoder.input().map_or(0, |input| input.count),
            Inner::Xz(decoder) => decoder.get_ref().count,
            Inner::Zstd(decoder) => decoder.get_ref().count,
            Inner::Bzip2(decoder) => decoder.get_ref().count,
        }
    }

    /// Tells an error of the format from one of the reader: the reader's
    /// carries a code of the system or an error of flock.
    fn explain(&self, error: io::Error) -> io::Error {
        let is_ours = matches!(error.get_ref(), Some(inner) if inner.is::<Error>());
        if is_ours || error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        let format = self.compression;
        if needs_memory(&error) {
            let most = self.limits.max_memory >> 20;
            let message = format!("the {format} data wants more than {most} MiB of memory");
            return beyond("max_memory", message).caused_by(error).into();
        }
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => "ends too early",
            _ => "is corrupt, or something else follows it",
        };
        Error::new(ErrorKind::InvalidData, format!("the {format} data {what}"))
            .hint("the file may be damaged or incomplete: fetch it again")
            .caused_by(error)
            .into()
    }
}

/// zstd says so in words only, xz in the kind that its crate chooses.
fn needs_memory(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
        || error.to_string().contains("too much memory")
        || error.to_string().contains("memory limit")
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match &mut self.format {
            Inner::None(reader) => reader.read(buffer),
            Inner::Gzip(decoder) => decoder.read(buffer),
            Inner::Xz(decoder) => decoder.read(buffer),
            Inner::Zstd(decoder) => decoder.read(buffer),
            Inner::Bzip2(decoder) => decoder.read(buffer),
        };
        let read = result.map_err(|error| self.explain(error))?;
        self.output += read as u64;
        self.limits.check(self.compression, self.input(), self.output)?;
        Ok(read)
    }
}

impl<R: BufRead> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("compression", &self.compression)
            .field("limits", &self.limits)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

/// Counts what is consumed.
struct Counted<R> {
    input: R,
    count: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.count += amount as u64;
        self.input.consume(amount);
    }
}

#[cfg(test)]
mod tests;

//! Decompression of what is recognised by its first bytes.
//!
//! Every format is read to the end of the input, however many streams,
//! members or frames are in it; anything else behind them is an error, and so
//! is an input that ends too early.

use std::fmt;
use std::io::{self, BufRead, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use crate::{Error, ErrorKind};

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
    /// The most bytes that may come out; 64 GiB by default.
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

    fn check(&self, input: u64, output: u64) -> Result<(), Error> {
        if output > self.max_output {
            return Err(exceeded("max_output", self.max_output, "bytes come out"));
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
    Error::new(ErrorKind::QuotaExceeded, format!("more than {limit} {what}"))
        .with("limit", setting)
        .hint(format!("if the file is to be trusted, raise the limit `{setting}`"))
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
    Gzip(Box<MultiGzDecoder<R>>),
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
            Compression::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(input))),
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
            Inner::Gzip(decoder) => decoder.get_ref().count,
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
            let message = format!("the {format} data wants too much memory");
            let setting = "max_memory";
            return Error::new(ErrorKind::QuotaExceeded, message)
                .with("limit", setting)
                .hint(format!("if the file is to be trusted, raise the limit `{setting}`"))
                .caused_by(error)
                .into();
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
        if self.compression != Compression::None {
            self.limits.check(self.input(), self.output)?;
        }
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
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const FORMATS: [Compression; 4] =
        [Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Bzip2];

    fn compress(compression: Compression, data: &[u8]) -> Vec<u8> {
        fn written<W: Write>(mut encoder: W, data: &[u8]) -> W {
            encoder.write_all(data).unwrap();
            encoder
        }
        match compression {
            Compression::None => data.to_vec(),
            Compression::Gzip => {
                let encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                written(encoder, data).finish().unwrap()
            }
            Compression::Xz => {
                written(liblzma::write::XzEncoder::new(Vec::new(), 0), data).finish().unwrap()
            }
            Compression::Zstd => zstd::bulk::compress(data, 1).unwrap(),
            Compression::Bzip2 => {
                let encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                written(encoder, data).finish().unwrap()
            }
        }
    }

    fn decode(compression: Compression, data: &[u8], limits: Limits) -> Result<Vec<u8>, Error> {
        let mut output = Vec::new();
        let input = io::BufReader::with_capacity(7, data);
        let mut decoder = Decoder::new(input, compression, limits)?;
        match decoder.read_to_end(&mut output) {
            Ok(_) => Ok(output),
            Err(error) => Err(Error::io("decode", std::path::Path::new("input"), error)),
        }
    }

    #[test]
    fn each_format_is_recognised_and_read() {
        let data: Vec<u8> = (0..100_000u32).flat_map(|i| (i % 1000).to_le_bytes()).collect();
        for format in FORMATS {
            for content in [&data[..], b""] {
                let packed = compress(format, content);
                assert_eq!(Compression::recognise(&packed), format);
                assert_eq!(
                    decode(format, &packed, Limits::default()).unwrap(),
                    content,
                    "{format}"
                );
            }
        }
        for other in [&b""[..], b"\x1f", b"BZh9", b"<!DOCTYPE html>", b"\x1f\x8b\x09", &data] {
            assert_eq!(Compression::recognise(other), Compression::None);
        }
        assert_eq!(Compression::recognise(b"\x5a\x2a\x4d\x18"), Compression::Zstd);
    }

    #[test]
    fn streams_behind_each_other_are_one() {
        for format in FORMATS {
            let mut packed = compress(format, b"one ");
            packed.extend(compress(format, b""));
            packed.extend(compress(format, b"two"));
            assert_eq!(decode(format, &packed, Limits::default()).unwrap(), b"one two", "{format}");
        }
        let mut padded = compress(Compression::Xz, b"one ");
        padded.extend([0; 8]);
        padded.extend(compress(Compression::Xz, b"two"));
        assert_eq!(decode(Compression::Xz, &padded, Limits::default()).unwrap(), b"one two");
    }

    #[test]
    fn every_cut_and_every_tail_is_an_error() {
        for format in FORMATS {
            let packed = compress(format, b"some text, some text, some other text");
            for len in 0..packed.len() {
                let result = decode(format, &packed[..len], Limits::default());
                // Nothing at all is a fine series of no zstd frames, but it is
                // not recognised as one either.
                let Err(error) = result else {
                    assert_eq!(len, 0, "{format} cut at {len}");
                    continue;
                };
                assert_eq!(error.kind(), ErrorKind::InvalidData, "{format} cut at {len}");
            }
            for tail in [&b"x"[..], b"garbage behind the end", &[0; 3]] {
                let long = [&packed, tail].concat();
                let error = decode(format, &long, Limits::default()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidData, "{format}, then {tail:?}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        for format in [Compression::Gzip, Compression::Xz, Compression::Bzip2] {
            let mut packed = compress(format, &b"text that is checked ".repeat(100));
            let middle = packed.len() / 2;
            packed[middle] ^= 0x10;
            let error = decode(format, &packed, Limits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{format}");
            assert_eq!(error.hints().count(), 1);
        }
    }

    #[test]
    fn a_bomb_is_stopped() {
        let zeros = vec![0; 3 << 20];
        for format in FORMATS {
            let packed = compress(format, &zeros);
            let limits = Limits::default().with_max_output(1 << 20);
            let error = decode(format, &packed, limits).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{format}");
            assert_eq!(error.context_value("limit"), Some("max_output"));
            assert!(error.hints().next().unwrap().contains("max_output"));
        }
        let limits = Limits::default();
        assert!(limits.check(1, 1 << 30).is_ok());
        let error = limits.check(1 << 20, (1 << 30) + 1000).unwrap_err();
        assert_eq!(error.context_value("limit"), Some("max_ratio"));
        assert!(limits.check(2 << 20, (1 << 30) + 1000).is_ok());
    }

    #[test]
    fn a_file_cannot_ask_for_all_memory() {
        let data: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
        let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
        zstd.window_log(25).unwrap();
        zstd.write_all(&data).unwrap();
        let zstd = zstd.finish().unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        xz.write_all(&data[..1000]).unwrap();
        let xz = xz.finish().unwrap();
        let small = Limits::default().with_max_memory(1 << 20);
        for (format, packed) in [(Compression::Zstd, zstd), (Compression::Xz, xz)] {
            let error = decode(format, &packed, small).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{format}: {error:?}");
            assert_eq!(error.context_value("limit"), Some("max_memory"));
            assert!(decode(format, &packed, Limits::default()).is_ok(), "{format}");
        }
    }

    #[test]
    fn errors_of_the_input_come_through() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(Error::new(ErrorKind::Cancelled, "stop").into())
            }
        }
        for format in FORMATS {
            let mut decoder =
                Decoder::new(io::BufReader::new(Broken), format, Limits::default()).unwrap();
            let error = decoder.read(&mut [0; 16]).unwrap_err();
            let error = Error::io("decode", std::path::Path::new("input"), error);
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{format}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(
            mut data in proptest::collection::vec(any::<u8>(), 0..2000),
            damage in any::<(u16, u8)>(),
            which in 0usize..4,
            header in any::<bool>(),
        ) {
            let format = FORMATS[which];
            if header {
                data = compress(format, &data);
                let at = usize::from(damage.0) % data.len();
                data[at] ^= damage.1;
            }
            let limits = Limits::default().with_max_output(1 << 24);
            if let Err(error) = decode(format, &data, limits) {
                prop_assert!(matches!(
                    error.kind(),
                    ErrorKind::InvalidData | ErrorKind::QuotaExceeded
                ), "{error:?}");
            }
        }
    }
}

//! One block: so many bytes in, one gzip member or zstd frame out.

use std::io;

use libdeflater::{CompressionLvl, Compressor as Deflate};
use zstd::bulk::Compressor as Zstd;
use zstd::zstd_safe::{CParameter, compress_bound};

use super::Format;

const MIB: usize = 1 << 20;

/// How many input bytes make a block. Part of the format's definition: with
/// other sizes come other bytes.
pub(super) fn size(format: Format) -> usize {
    match format {
        // A member begins without the 32 KiB of history that the one before
        // could have lent it.
        Format::Gzip { .. } => MIB,
        // Frames of the size of the window at the levels around 3 and more.
        Format::Zstd { .. } | Format::None => 4 * MIB,
    }
}

/// About how many bytes a compressor takes for itself.
pub(super) fn compressor_memory(format: Format) -> usize {
    match format {
        Format::None => 0,
        Format::Gzip { level: ..=9 } => MIB,
        Format::Gzip { .. } => 9 * MIB,
        Format::Zstd { level: ..=9 } => 12 * MIB,
        Format::Zstd { level: ..=15 } => 30 * MIB,
        Format::Zstd { .. } => 82 * MIB,
    }
}

/// A compressor, used for one block after the other.
pub(super) enum BlockCompressor {
    Gzip(Deflate),
    Zstd(Zstd<'static>),
}

impl BlockCompressor {
    /// The compressor of this format; `None` for one that does not compress.
    pub(super) fn new(format: Format) -> io::Result<Option<Self>> {
        match format {
            Format::None => Ok(None),
            Format::Gzip { level } => {
                let level = CompressionLvl::new(i32::from(level)).map_err(|_| bad_level())?;
                Ok(Some(Self::Gzip(Deflate::new(level))))
            }
            Format::Zstd { level } => {
                let mut zstd = Zstd::new(i32::from(level))?;
                zstd.set_parameter(CParameter::ChecksumFlag(true))?;
                zstd.set_parameter(CParameter::ContentSizeFlag(true))?;
                Ok(Some(Self::Zstd(zstd)))
            }
        }
    }

    /// Compresses `input` into the beginning of `output`, which grows if it
    /// must; returns how many bytes of it are used.
    pub(super) fn compress(&mut self, input: &[u8], output: &mut Vec<u8>) -> io::Result<usize> {
        let bound = match self {
            Self::Gzip(deflate) => deflate.gzip_compress_bound(input.len()),
            Self::Zstd(_) => compress_bound(input.len()),
        };
        if output.len() < bound {
            output.resize(bound, 0);
        }
        match self {
            Self::Gzip(deflate) => deflate.gzip_compress(input, output).map_err(io::Error::other),
            Self::Zstd(zstd) => zstd.compress_to_buffer(input, output.as_mut_slice()),
        }
    }
}

fn bad_level() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no such compression level")
}

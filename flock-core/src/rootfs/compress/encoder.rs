//! Cuts what is written into blocks and writes them compressed, in order.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

use super::pool::{Block, Done, Pool};
use super::{CompressionSettings, Format, block};
use crate::Context;

/// How long a wait for a block goes on before the context is asked again.
const PATIENCE: Duration = Duration::from_millis(100);

/// Compresses what is written to it, on several threads, and writes the result
/// to `W` from the thread that writes to it.
///
/// At most two blocks for each thread are on their way, of 1 MiB with gzip and
/// 4 MiB with zstd, so a slow `W` slows the writer down and memory stays within
/// [`CompressionSettings::memory`].
///
/// Not complete before [`finish`](Encoder::finish). After an error, and after
/// the context has ended, every call fails.
pub struct Encoder<W: Write> {
    out: W,
    ctx: Context,
    /// `None` if nothing is compressed.
    work: Option<Work>,
    failed: bool,
}

struct Work {
    pool: Pool,
    block_size: usize,
    in_flight_limit: u64,
    current: Block,
    spare: Vec<Block>,
    /// Compressed before it was their turn.
    early: BTreeMap<u64, Done>,
    submitted: u64,
    written: u64,
}

impl<W: Write> Encoder<W> {
    /// An encoder with these settings; its threads start now.
    ///
    /// # Errors
    /// `InvalidInput` if the format has no such level; those of starting a
    /// thread.
    pub fn new(out: W, settings: &CompressionSettings) -> io::Result<Self> {
        let format = settings.format.validate()?;
        let work = match format {
            Format::None => None,
            _ => Some(Work::start(format, settings)?),
        };
        Ok(Self { out, ctx: Context::new(), work, failed: false })
    }

    /// The same encoder, which stops with an error when this context ends.
    #[must_use]
    pub fn with_context(mut self, ctx: Context) -> Self {
        self.ctx = ctx;
        self
    }

    /// Takes exactly `len` bytes from `reader`, straight into the blocks.
    ///
    /// # Errors
    /// `UnexpectedEof` if there are fewer; those of `reader` and of writing.
    pub fn write_from(&mut self, reader: &mut impl Read, len: u64) -> io::Result<()> {
        let result = self.try_write_from(reader, len);
        self.note(result)
    }

    /// Writes what is still on its way, waits for it, and returns the writer,
    /// flushed.
    ///
    /// Without any input the result is an empty member or frame, which is
    /// what an empty file compresses to.
    ///
    /// # Errors
    /// Those of compressing and writing; the output is then incomplete.
    pub fn finish(mut self) -> io::Result<W> {
        self.alive()?;
        if let Some(mut work) = self.work.take() {
            if work.current.filled > 0 || work.submitted == 0 {
                work.submit(&mut self.out, &self.ctx)?;
            }
            work.drain(&mut self.out, &self.ctx, 0)?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn try_write_from(&mut self, reader: &mut impl Read, mut len: u64) -> io::Result<()> {
        self.alive()?;
        let Some(work) = &mut self.work else {
            let copied = io::copy(&mut reader.take(len), &mut self.out)?;
            return if copied == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        };
        while len > 0 {
            let space = work.space();
            let most = usize::try_from(len).unwrap_or(usize::MAX).min(space.len());
            reader.read_exact(&mut space[..most])?;
            work.fill(most, &mut self.out, &self.ctx)?;
            len -= most as u64;
        }
        Ok(())
    }

    fn alive(&self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("compression failed before"));
        }
        Ok(self.ctx.check()?)
    }

    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.failed |= result.is_err();
        result
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.alive()?;
        let Some(work) = &mut self.work else { return self.out.write(bytes) };
        let space = work.space();
        let taken = bytes.len().min(space.len());
        space[..taken].copy_from_slice(&bytes[..taken]);
        work.fill(taken, &mut self.out, &self.ctx)?;
        Ok(taken)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.try_write(bytes);
        self.note(result)
    }

    /// Flushes what has been written so far; blocks are not cut short for it,
    /// for that would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        self.alive()?;
        self.out.flush()
    }
}

impl<W: Write> fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Work {
    fn start(format: Format, settings: &CompressionSettings) -> io::Result<Self> {
        let block_size = block::size(format);
        let affordable = settings.memory / settings.thread_memory().max(1);
        let affordable = usize::try_from(affordable).unwrap_or(usize::MAX);
        let threads = settings.threads.get().min(affordable).max(1);
        Ok(Self {
            pool: Pool::start(format, threads)?,
            block_size,
            in_flight_limit: 2 * threads as u64,
            current: Block::default(),
            spare: Vec::new(),
            early: BTreeMap::new(),
            submitted: 0,
            written: 0,
        })
    }

    /// Where the next bytes go; never empty.
    fn space(&mut self) -> &mut [u8] {
        if self.current.input.is_empty() {
            self.current = self.spare.pop().unwrap_or_default();
            self.current.input.resize(self.block_size, 0);
        }
        &mut self.current.input[self.current.filled..]
    }

    /// Counts `amount` bytes of the space as filled.
    fn fill(&mut self, amount: usize, out: &mut impl Write, ctx: &Context) -> io::Result<()> {
        self.current.filled += amount;
        if self.current.filled == self.block_size { self.submit(out, ctx) } else { Ok(()) }
    }

    fn submit(&mut self, out: &mut impl Write, ctx: &Context) -> io::Result<()> {
        let mut block = std::mem::take(&mut self.current);
        block.number = self.submitted;
        self.pool.submit(block)?;
        self.submitted += 1;
        // One less, for the block that is being filled.
        self.drain(out, ctx, self.in_flight_limit - 1)
    }

    /// Writes compressed blocks until no more than `limit` are on their way.
    fn drain(&mut self, out: &mut impl Write, ctx: &Context, limit: u64) -> io::Result<()> {
        while self.submitted - self.written > limit {
            ctx.check()?;
            if let Some(done) = self.early.remove(&self.written) {
                self.write(done, out)?;
            } else if let Some(done) = self.pool.receive(PATIENCE)? {
                self.early.insert(done.0.number, done);
            }
        }
        Ok(())
    }

    fn write(&mut self, (mut block, result): Done, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&block.output[..result?])?;
        self.written += 1;
        block.filled = 0;
        self.spare.push(block);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::rootfs::decompress::{Compression, Decoder, Limits};
    use crate::{Error, ErrorKind};

    const FORMATS: [Format; 4] =
        [Format::None, Format::GZIP, Format::Zstd { level: 1 }, Format::ZSTD];

    fn settings(format: Format, threads: usize) -> CompressionSettings {
        CompressionSettings::new(format).with_threads(NonZeroUsize::new(threads).unwrap())
    }

    fn encode(format: Format, threads: usize, data: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), &settings(format, threads)).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(data: &[u8]) -> Vec<u8> {
        let mut decoder =
            Decoder::new(data, Compression::recognise(data), Limits::default()).unwrap();
        let mut output = Vec::new();
        decoder.read_to_end(&mut output).unwrap();
        output
    }

    /// Compressible here, random there, zero elsewhere; the same every time.
    fn mixed(len: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let byte = |i: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match i >> 18 & 3 {
                0 => b"the quick brown fox "[i % 20],
                1 | 2 => state.to_le_bytes()[0] >> (i >> 18 & 1),
                _ => 0,
            }
        };
        (0..len).map(byte).collect()
    }

    #[test]
    fn what_is_decoded_is_what_was_written_on_any_number_of_threads() {
        let data = mixed((9 << 20) + 12345);
        for format in FORMATS {
            let one = encode(format, 1, &data);
            assert!(decode(&one) == data, "{format}");
            for threads in [2, 5] {
                assert!(encode(format, threads, &data) == one, "{format} with {threads} threads");
            }
            let mut encoder = Encoder::new(Vec::new(), &settings(format, 2)).unwrap();
            encoder.write_all(&data[..100]).unwrap();
            encoder.write_from(&mut &data[100..], data.len() as u64 - 100).unwrap();
            assert!(encoder.finish().unwrap() == one, "{format} from a reader");
        }
    }

    #[test]
    fn nothing_compresses_to_something_valid() {
        for format in FORMATS {
            let packed = encode(format, 2, b"");
            assert_eq!(packed.is_empty(), format == Format::None);
            assert_eq!(decode(&packed), b"");
        }
    }

    /// RFC 1952, section 2.3: no time, no name, and no operating system, so
    /// that nothing of this machine is in it. RFC 8878, section 3.1.1.1.1: a
    /// frame tells its content's size (bit 5 and up) and has a checksum (bit 2).
    #[test]
    fn headers_are_plain() {
        let gzip = encode(Format::GZIP, 1, b"x");
        assert_eq!(gzip[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
        assert_eq!(gzip[9], 255);
        let zstd = encode(Format::ZSTD, 1, b"x");
        assert_eq!(zstd[4] & 0b10_0100, 0b10_0100);
    }

    #[test]
    fn every_level_works() {
        let data = mixed(1 << 19);
        let gzip = (1..=12).map(|level| Format::Gzip { level });
        for format in gzip.chain([1, 9, 15, 19, 22].map(|level| Format::Zstd { level })) {
            assert!(decode(&encode(format, 1, &data)) == data, "{format}");
        }
        let error = Encoder::new(Vec::new(), &settings(Format::Gzip { level: 0 }, 1)).unwrap_err();
        let error = Error::io("compress", std::path::Path::new("x"), error);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }

    /// Takes `space` bytes and is full then.
    struct Small {
        space: usize,
    }

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.space == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.space);
            self.space -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_ends_it_for_good() {
        let data = mixed(4 << 20).repeat(6);
        for format in FORMATS {
            let mut encoder = Encoder::new(Small { space: 10_000 }, &settings(format, 2)).unwrap();
            let error = encoder.write_all(&data).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{format}");
            assert!(encoder.write_all(b"more").is_err());
            assert!(encoder.finish().is_err());
        }
    }

    #[test]
    fn an_ended_context_stops_it() {
        for format in FORMATS {
            let ctx = Context::new();
            let encoder = Encoder::new(Vec::new(), &settings(format, 2)).unwrap();
            let mut encoder = encoder.with_context(ctx.clone());
            encoder.write_all(&mixed(5 << 20)).unwrap();
            ctx.cancel();
            let error = encoder.write_all(b"more").unwrap_err();
            let error = Error::io("compress", std::path::Path::new("x"), error);
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{format}");
            assert!(encoder.finish().is_err());
        }
    }

    #[test]
    fn a_reader_that_ends_early_is_an_error() {
        for format in FORMATS {
            let mut encoder = Encoder::new(Vec::new(), &settings(format, 1)).unwrap();
            let error = encoder.write_from(&mut &b"short"[..], 6).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{format}");
        }
    }

    #[test]
    fn memory_bounds_the_threads() {
        let plenty = settings(Format::Zstd { level: 19 }, 1000).with_memory(96 << 20);
        assert_eq!(Work::start(plenty.format, &plenty).unwrap().in_flight_limit, 2);
        let none = settings(Format::ZSTD, 1000).with_memory(0);
        assert_eq!(Work::start(none.format, &none).unwrap().in_flight_limit, 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_writes_come_back(
            pieces in proptest::collection::vec((any::<u8>(), 0usize..900_000), 0..8),
            which in 0usize..4,
            threads in 1usize..4,
        ) {
            let format = FORMATS[which];
            let mut data = Vec::new();
            let mut encoder = Encoder::new(Vec::new(), &settings(format, threads)).unwrap();
            for (byte, len) in pieces {
                let scale = |i: usize| byte.wrapping_mul((i >> 3).to_le_bytes()[0]);
                let piece: Vec<u8> = (0..len).map(scale).collect();
                encoder.write_all(&piece).unwrap();
                data.extend(piece);
            }
            let packed = encoder.finish().unwrap();
            prop_assert!(decode(&packed) == data);
            prop_assert!(packed == encode(format, 1, &data));
        }
    }
}

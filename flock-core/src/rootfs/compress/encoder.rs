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
        // Two blocks on their way, each with its output, and the compressor.
        let each = (4 * block_size + block::compressor_memory(format)) as u64;
        let affordable = usize::try_from(settings.memory / each).unwrap_or(usize::MAX);
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

//! How an archive's bytes get to where they go.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use rustix::io::Errno;

use super::BUFFER;
use crate::progress::Task;
use crate::rootfs::entry::ExtentSource;
use crate::rootfs::read_at::ReadAt as _;
use crate::{Context, Error, ErrorKind, Result};

/// How much one call of `copy_file_range` copies, between looks at the context.
const CHUNK: u64 = 16 << 20;
/// How many pieces may wait for a writer on a thread of its own.
const WAITING: usize = 8;
/// What a file system shares or copies whole, at least.
const PAGE: u64 = 4096;

/// Takes an archive piece by piece, in order.
pub(super) trait Output {
    /// Takes what is in the buffer, and leaves it empty.
    fn bytes(&mut self, buffer: &mut Vec<u8>) -> Result<()>;

    /// Takes a stretch of a source.
    fn range(&mut self, range: Range) -> Result<()>;
}

/// A stretch of a source that is to be copied.
pub(super) struct Range {
    pub(super) source: ExtentSource,
    pub(super) length: u64,
    /// Where in the archive it goes.
    pub(super) at: u64,
    /// What the source is called in messages.
    pub(super) name: String,
}

/// Writes pieces as they come.
pub(super) struct Writer<'a, W> {
    out: W,
    /// The output as something that the kernel may copy into.
    fd: Option<for<'b> fn(&'b W) -> BorrowedFd<'b>>,
    name: &'a str,
    ctx: &'a Context,
    task: &'a Task,
    block: Vec<u8>,
}

impl<'a, W: Write> Writer<'a, W> {
    pub(super) fn new(out: W, name: &'a str, ctx: &'a Context, task: &'a Task) -> Self {
        Self { out, fd: None, name, ctx, task, block: Vec::new() }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|error| self.failed(error))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.ctx.check()?;
        self.out.write_all(bytes).map_err(|error| self.failed(error))?;
        self.task.advance(bytes.len() as u64);
        Ok(())
    }

    /// Lets the kernel copy, from file to file. Returns how much it copied:
    /// less than all where it cannot, and then it is not asked again.
    fn copy_in_kernel(&mut self, file: &File, start: u64, length: u64) -> Result<u64> {
        let mut from = start;
        let end = start + length;
        while from < end {
            let Some(fd) = self.fd else { break };
            self.ctx.check()?;
            let part = usize::try_from((end - from).min(CHUNK)).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(file, Some(&mut from), fd(&self.out), None, part) {
                // The source ended, which reading it will tell.
                Ok(0) => break,
                Ok(copied) => self.task.advance(copied as u64),
                Err(Errno::INTR) => {}
                Err(error) if is_unable(error) => self.fd = None,
                Err(error) => return Err(self.failed(error.into())),
            }
        }
        Ok(from - start)
    }

    fn copy(&mut self, range: &Range, done: u64) -> Result<()> {
        let mut block = std::mem::take(&mut self.block);
        let mut done = done;
        while done < range.length {
            let part = usize::try_from(range.length - done).unwrap_or(BUFFER).min(BUFFER);
            block.resize(part, 0);
            read(&range.source, done, &mut block, || range.name.clone())?;
            self.write(&block)?;
            done += part as u64;
        }
        self.block = block;
        Ok(())
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io("write", Path::new(self.name), error)
    }
}

impl<W: Write> Output for Writer<'_, W> {
    fn bytes(&mut self, buffer: &mut Vec<u8>) -> Result<()> {
        self.write(buffer)?;
        buffer.clear();
        Ok(())
    }

    fn range(&mut self, range: Range) -> Result<()> {
        let copied = match &range.source {
            ExtentSource::File { file, offset } => {
                self.copy_in_kernel(file, *offset, range.length)?
            }
            ExtentSource::Bytes { .. } => 0,
        };
        self.copy(&range, copied)
    }
}

impl<'a> Writer<'a, File> {
    /// Writes to a plain file, where the kernel can copy by itself.
    pub(super) fn to_file(out: File, name: &'a str, ctx: &'a Context, task: &'a Task) -> Self {
        Self { fd: Some(File::as_fd), ..Self::new(out, name, ctx, task) }
    }

    /// Lets `work` make the pieces here, while they are written on a thread of
    /// its own: what is prepared here costs no time where copying takes longer.
    pub(super) fn while_making<T>(self, work: impl FnOnce(&mut Queue) -> Result<T>) -> Result<T> {
        let (pieces, waiting) = sync_channel(WAITING);
        let (emptied, spare) = channel();
        let name = self.name;
        thread::scope(|scope| {
            let writer = thread::Builder::new()
                .name("tar-writer".to_owned())
                .spawn_scoped(scope, move || self.run(&waiting, &emptied))
                .map_err(|error| Error::io("start a thread to write", Path::new(name), error))?;
            let mut queue = Queue { pieces, spare };
            let made = work(&mut queue);
            // The writer ends with the queue.
            drop(queue);
            let written = writer.join().unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Unexpected, format!("writing {name} panicked")))
            });
            // Why it ended says more than that it did.
            written.and(made)
        })
    }

    fn run(mut self, pieces: &Receiver<Piece>, emptied: &Sender<Vec<u8>>) -> Result<()> {
        for piece in pieces {
            match piece {
                Piece::Range(range) => self.range(range)?,
                Piece::Bytes(buffer) => {
                    self.write(&buffer)?;
                    // Nobody needs it any more where this fails.
                    let _ = emptied.send(buffer);
                }
            }
        }
        self.flush()
    }
}

enum Piece {
    Bytes(Vec<u8>),
    Range(Range),
}

/// Hands pieces to a writer on another thread.
///
/// Where a stretch lies in the archive as it lies in its source, page by page,
/// the writer lets the kernel copy it: file systems that can share blocks do,
/// and cost no copy at all. Elsewhere the kernel would copy page after page
/// across their borders; reading here and writing there is faster.
pub(super) struct Queue {
    pieces: SyncSender<Piece>,
    /// Buffers that were written, as they were.
    spare: Receiver<Vec<u8>>,
}

impl Queue {
    fn send(&self, piece: Piece) -> Result<()> {
        self.pieces
            .send(piece)
            .map_err(|_| Error::new(ErrorKind::Unexpected, "the archive's writer has ended"))
    }
}

impl Output for Queue {
    fn bytes(&mut self, buffer: &mut Vec<u8>) -> Result<()> {
        let mut empty = self.spare.try_recv().unwrap_or_default();
        empty.clear();
        self.send(Piece::Bytes(std::mem::replace(buffer, empty)))
    }

    fn range(&mut self, range: Range) -> Result<()> {
        if let ExtentSource::File { offset, .. } = &range.source
            && offset % PAGE == range.at % PAGE
        {
            return self.send(Piece::Range(range));
        }
        let mut done = 0;
        while done < range.length {
            let part = usize::try_from(range.length - done).unwrap_or(BUFFER).min(BUFFER);
            let mut buffer = self.spare.try_recv().unwrap_or_default();
            buffer.resize(part, 0);
            read(&range.source, done, &mut buffer, || range.name.clone())?;
            self.send(Piece::Bytes(buffer))?;
            done += part as u64;
        }
        Ok(())
    }
}

/// Fills `block` from `skip` bytes into a source.
pub(super) fn read(
    source: &ExtentSource,
    skip: u64,
    block: &mut [u8],
    name: impl FnOnce() -> String,
) -> Result<()> {
    let (offset, result) = match source {
        ExtentSource::File { file, offset } => {
            (offset + skip, file.read_exact_at(block, offset + skip))
        }
        ExtentSource::Bytes { bytes, offset } => {
            (offset + skip, bytes.read_exact_at(block, offset + skip))
        }
    };
    result.map_err(|error| {
        Error::io("read", Path::new(&name()), error).with("offset", offset.to_string())
    })
}

/// Whether the kernel cannot copy between these two files at all.
fn is_unable(error: Errno) -> bool {
    matches!(
        error,
        Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF | Errno::PERM
    )
}

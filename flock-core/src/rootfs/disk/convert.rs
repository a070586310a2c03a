//! From one format to another.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::partition_table::PartitionTable;
use super::{DiskFile, DiskFormat, DiskId, DiskImage, DiskReader, DiskWriter};
use crate::progress::{Level, Task, Unit};
use crate::rootfs::output::{OutputFile, OutputOptions};
use crate::{Context, Error, ErrorKind, Result};

/// How much is read at a time.
const CHUNK: u64 = 1 << 20;
/// What is left out if it holds only zeros, and a part of a chunk.
const GRAIN: u64 = GRAIN_LENGTH as u64;
const GRAIN_LENGTH: usize = 64 << 10;
/// How many chunks may wait to be written.
const WAITING: usize = 4;
static ZEROS: [u8; GRAIN_LENGTH] = [0; GRAIN_LENGTH];

/// An image that was converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Converted {
    /// The new file.
    pub output: PathBuf,
    /// Its format.
    pub format: DiskFormat,
    /// The size of the disk in bytes.
    pub virtual_size: u64,
    /// The length of the file in bytes.
    pub file_size: u64,
    /// How much of the disk is not zeros, in bytes, by units of 64 KiB.
    pub data: u64,
}

/// Writes the disk in `image` to the file `output`, in another format or the
/// same. Stretches of 64 KiB and more that hold only zeros are left out. The
/// same disk gives the same file.
///
/// A VHD is made up to 2 MiB larger if its size would not be a whole number of
/// 2 MiB; that is reported as a message to `ctx`. It gets an identifier that
/// follows from its content, and 1 January 2000 as its time.
///
/// The file appears under its name when it is complete.
///
/// # Errors
/// - [`ErrorKind::InvalidData`] if a check of the image failed
/// - [`ErrorKind::InvalidConfig`] if the format has no disks of that size
/// - those of [`OutputFile::create`] and [`OutputFile::commit`], and of
///   reading and writing
/// - [`ErrorKind::Cancelled`] and [`ErrorKind::Timeout`] by `ctx`; no file is
///   left then
pub fn convert(
    image: &DiskImage,
    format: DiskFormat,
    output: &Path,
    options: &OutputOptions,
    ctx: &Context,
) -> Result<Converted> {
    image.verify()?;
    let size = format.round_up(image.size());
    tell_growth(image, size, ctx)?;
    let file = OutputFile::create(output, options)?;
    let write = |error| Error::io("write", output, error);
    let disk = DiskFile::create_on_demand(file.file(), format, size).map_err(write)?;
    let task = ctx.task(format!("write {}", output.display()), Unit::Bytes, Some(image.size()));
    let (id, data) = copy(image, &disk, output, ctx, &task)?;
    let file_size = disk.finish(id, 0).map_err(write)?;
    ctx.check()?;
    let output = file.commit()?;
    task.done();
    Ok(Converted { output, format, virtual_size: size, file_size, data })
}

/// Says that the disk grows, and what that means.
fn tell_growth(image: &DiskImage, size: u64, ctx: &Context) -> Result<()> {
    let more = size.saturating_sub(image.size());
    if more == 0 {
        return Ok(());
    }
    ctx.message(Level::Info, format!("the disk becomes {more} bytes larger, {size} bytes"));
    if let Some(PartitionTable::Gpt(_)) = PartitionTable::read(image, &mut Vec::new())? {
        let text = "the backup of its GPT is not at its end any more; `sgdisk -e` moves it";
        ctx.message(Level::Warning, text);
    }
    Ok(())
}

/// Copies all that is not zeros; returns an identifier for it, and how much
/// it was.
fn copy(
    image: &DiskImage,
    disk: &DiskFile<'_>,
    output: &Path,
    ctx: &Context,
    task: &Task,
) -> Result<(DiskId, u64)> {
    let (chunks, waiting) = sync_channel(WAITING);
    let (emptied, spare) = channel();
    thread::scope(|scope| {
        let writer = thread::Builder::new()
            .name("disk-writer".to_owned())
            .spawn_scoped(scope, move || write(disk, &waiting, &emptied))
            .map_err(|error| Error::io("start a thread to write", output, error))?;
        let read = Reading { image, ctx, task, chunks, spare }.run();
        let written = writer.join().unwrap_or_else(|_| {
            let message = format!("writing {} panicked", output.display());
            Err(Error::new(ErrorKind::Unexpected, message).into())
        });
        // Why it ended says more than that it did.
        written.map_err(|error| Error::io("write", output, error)).and(read)
    })
}

/// A chunk of the disk, and which parts of it are to be written.
struct Chunk {
    offset: u64,
    bytes: Vec<u8>,
    parts: Vec<Range<usize>>,
}

fn write(
    disk: &DiskFile<'_>,
    waiting: &Receiver<Chunk>,
    emptied: &Sender<Vec<u8>>,
) -> io::Result<()> {
    for chunk in waiting {
        for part in chunk.parts {
            let offset = chunk.offset + part.start as u64;
            disk.write_at(&chunk.bytes[part], offset)?;
        }
        // Nobody needs it any more where this fails.
        let _ = emptied.send(chunk.bytes);
    }
    Ok(())
}

/// Reads a disk and sends what is not zeros to the writer.
struct Reading<'a> {
    image: &'a DiskImage,
    ctx: &'a Context,
    task: &'a Task,
    chunks: SyncSender<Chunk>,
    /// Buffers that were written.
    spare: Receiver<Vec<u8>>,
}

impl Reading<'_> {
    fn run(self) -> Result<(DiskId, u64)> {
        let size = self.image.size();
        let mut fingerprint = Sha256::new();
        let mut data = 0;
        let mut at = 0;
        while at < size {
            self.ctx.check()?;
            let found = self.image.next_data(at).map_err(|error| self.failed(error))?;
            let Some(range) = found else { break };
            // Whole grains, so that it does not matter how the image stores
            // them.
            let start = (range.start / GRAIN * GRAIN).max(at);
            let end = range.end.next_multiple_of(GRAIN).min(size);
            self.task.advance(start - at);
            at = start;
            while at < end {
                let part = (CHUNK - at % CHUNK).min(end - at);
                data += self.chunk(at, part, &mut fingerprint)?;
                at += part;
            }
        }
        self.task.advance(size - at);
        Ok((DiskId::derive("disk", &[&fingerprint.finalize()]), data))
    }

    /// Reads a chunk; returns how much of it is to be written.
    fn chunk(&self, offset: u64, length: u64, fingerprint: &mut Sha256) -> Result<u64> {
        self.ctx.check()?;
        let mut bytes = self.spare.try_recv().unwrap_or_default();
        bytes.resize(usize::try_from(length).unwrap_or(0), 0);
        self.image.read_at(&mut bytes, offset).map_err(|error| self.failed(error))?;
        let parts = find_data(&bytes, offset, fingerprint);
        let data = parts.iter().map(|part| part.len() as u64).sum();
        self.task.advance(length);
        if !parts.is_empty() {
            let sent = self.chunks.send(Chunk { offset, bytes, parts });
            sent.map_err(|_| Error::new(ErrorKind::Unexpected, "the disk's writer has ended"))?;
        }
        Ok(data)
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io("read", Path::new(self.image.name()), error)
    }
}

/// The stretches of a chunk with anything but zeros, which go into the
/// fingerprint.
fn find_data(bytes: &[u8], offset: u64, fingerprint: &mut Sha256) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for grain in bytes.chunks(GRAIN_LENGTH) {
        let end = start + grain.len();
        if grain != &ZEROS[..grain.len()] {
            fingerprint.update((offset + start as u64).to_le_bytes());
            fingerprint.update(libdeflater::crc32(grain).to_le_bytes());
            match parts.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => parts.push(start..end),
            }
        }
        start = end;
    }
    parts
}

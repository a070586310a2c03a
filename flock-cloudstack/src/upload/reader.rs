//! Reads a part of a file ahead of whoever sends it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use bytes::Bytes;
use flock_core::rootfs::checksum::Checksum;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::body::Meter;

/// How much is read at once: enough that system calls do not count, and little
/// enough to stay in the processor's cache until it is sent.
pub(super) const CHUNK: usize = 256 << 10;
/// How many chunks are read ahead.
pub(super) const AHEAD: usize = 4;

/// What is to be read.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: Arc<File>,
    pub(super) range: Range<u64>,
    /// Whether it is summed up, too.
    pub(super) checksum: bool,
}

impl Part {
    /// Reads it to the end, or as long as anybody wants it. Blocks.
    pub(super) fn read(&self, meter: &Meter, chunks: &mpsc::Sender<io::Result<Bytes>>) {
        let done = thread::scope(|scope| self.pass_on(scope, meter, chunks));
        if let Err(error) = done {
            meter.set_fault(error.to_string());
            // Nobody may be waiting any more.
            let _ = chunks.blocking_send(Err(error));
        }
    }

    fn pass_on<'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        meter: &Meter,
        chunks: &mpsc::Sender<io::Result<Bytes>>,
    ) -> io::Result<()> {
        let mut summing = self.checksum.then(|| Summing::start(scope)).transpose()?;
        let buffers = Buffers::new();
        let Range { start: mut at, end } = self.range;
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let chunk = buffers.read(&self.file, at, length)?;
            at += length as u64;
            if let Some(summing) = &summing {
                summing.add(chunk.clone())?;
            }
            // Whoever has the last chunk has the checksum, too.
            if at == end
                && let Some(summing) = summing.take()
            {
                meter.set_checksum(summing.end()?);
            }
            if chunks.blocking_send(Ok(chunk)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Buffers that are used again: fresh memory costs about as much as what is
/// read into it.
struct Buffers {
    back: Sender<Vec<u8>>,
    free: Receiver<Vec<u8>>,
}

impl Buffers {
    fn new() -> Self {
        let (back, free) = channel();
        Self { back, free }
    }

    fn read(&self, file: &File, at: u64, length: usize) -> io::Result<Bytes> {
        let mut buffer = self.free.try_recv().unwrap_or_default();
        buffer.resize(length, 0);
        file.read_exact_at(&mut buffer, at)?;
        Ok(Bytes::from_owner(Lent { buffer, back: self.back.clone() }))
    }
}

/// A buffer that goes back when nobody needs what is in it.
struct Lent {
    buffer: Vec<u8>,
    back: Sender<Vec<u8>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // After the last chunk nobody takes it back.
        let _ = self.back.send(std::mem::take(&mut self.buffer));
    }
}

/// The summing up, which takes longer than reading, on a thread of its own.
struct Summing<'scope> {
    chunks: SyncSender<Bytes>,
    sum: ScopedJoinHandle<'scope, Checksum>,
}

impl<'scope> Summing<'scope> {
    fn start(scope: &'scope Scope<'scope, '_>) -> io::Result<Self> {
        let (chunks, added) = sync_channel::<Bytes>(AHEAD);
        let sum = thread::Builder::new().name("checksum".to_owned()).spawn_scoped(scope, || {
            let mut hash = Sha256::new();
            added.into_iter().for_each(|chunk| hash.update(&chunk));
            Checksum::from_bytes(hash.finalize().into())
        })?;
        Ok(Self { chunks, sum })
    }

    fn add(&self, chunk: Bytes) -> io::Result<()> {
        self.chunks.send(chunk).map_err(|_| ended())
    }

    fn end(self) -> io::Result<Checksum> {
        let Self { chunks, sum } = self;
        drop(chunks);
        sum.join().map_err(|_| ended())
    }
}

fn ended() -> io::Error {
    io::Error::other("the summing up has ended early")
}

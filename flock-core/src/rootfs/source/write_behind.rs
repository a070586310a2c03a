//! Writes in a thread of its own, behind who produces it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

use crate::rootfs::checksum::Checksum;

/// How much is written at once, and how many such pieces may wait.
const PIECE: usize = 1 << 20;
const WAITING: usize = 3;

/// Writes pieces to the end of a file. Dropped, it stops after the pieces
/// that it has.
pub(super) struct WriteBehind {
    /// `None` once a write has failed.
    pieces: Option<SyncSender<(Vec<u8>, usize)>>,
    written: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<Option<Checksum>>>>,
}

impl WriteBehind {
    /// Writes to `file`; the thread also computes the checksum if it is
    /// wanted.
    pub(super) fn start(mut file: File, hashed: bool) -> io::Result<Self> {
        let (pieces, queue) = sync_channel::<(Vec<u8>, usize)>(WAITING);
        let (give_back, written) = sync_channel(WAITING + 2);
        let thread = std::thread::Builder::new().name("write-behind".to_owned());
        let thread = thread.spawn(move || {
            let mut hash = hashed.then(Sha256::new);
            for (piece, len) in queue {
                file.write_all(&piece[..len])?;
                if let Some(hash) = &mut hash {
                    hash.update(&piece[..len]);
                }
                // Without a taker the buffer is simply freed.
                let _ = give_back.try_send(piece);
            }
            Ok(hash.map(|hash| Checksum::from_bytes(hash.finalize().into())))
        })?;
        Ok(Self { pieces: Some(pieces), written, thread: Some(thread) })
    }

    /// A buffer to fill, for [`write`](WriteBehind::write).
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.written.try_recv().unwrap_or_else(|_| vec![0; PIECE])
    }

    /// Queues the first `len` bytes of the buffer. An error may be that of an
    /// earlier piece.
    pub(super) fn write(&mut self, buffer: Vec<u8>, len: usize) -> io::Result<()> {
        match &self.pieces {
            Some(pieces) if pieces.send((buffer, len)).is_ok() => Ok(()),
            // The thread takes no more pieces only if a write has failed.
            _ => self.wait().and_then(|_| Err(gone())),
        }
    }

    /// Waits until everything is written, and returns its checksum if it was
    /// wanted.
    pub(super) fn finish(mut self) -> io::Result<Option<Checksum>> {
        self.wait()
    }

    fn wait(&mut self) -> io::Result<Option<Checksum>> {
        self.pieces = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(gone()),
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the writing thread is gone")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_arrive_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut output = WriteBehind::start(File::create(&path).unwrap(), true).unwrap();
        for number in 0..100u8 {
            let mut buffer = output.buffer();
            buffer[..2].fill(number);
            output.write(buffer, 2).unwrap();
        }
        let checksum = output.finish().unwrap();
        let expected: Vec<u8> = (0..100).flat_map(|number| [number; 2]).collect();
        assert_eq!(checksum, Some(Checksum::from_bytes(Sha256::digest(&expected).into())));
        assert_eq!(std::fs::read(path).unwrap(), expected);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut output = WriteBehind::start(full, false).unwrap();
        let error = loop {
            let buffer = output.buffer();
            if let Err(error) = output.write(buffer, 10) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(output.finish().is_err());
    }
}

//! Reads and hashes in a thread of its own, ahead of who consumes it.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::fill;
use crate::progress::Task;
use crate::rootfs::checksum::Checksum;
use crate::{Context, Error, ErrorKind};

/// How much is read at once, and how many such pieces may wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 4;

/// How long a wait for a piece goes on before the context is asked again.
const PATIENCE: Duration = Duration::from_millis(100);

enum Message {
    Piece(Vec<u8>),
    /// Everything was read; this is its checksum.
    End(Checksum),
}

/// What a file holds, read ahead.
///
/// The thread is not waited for: one that hangs in a pipe must not hinder a
/// cancellation. It ends at its next piece once this is dropped.
pub(super) struct ReadAhead {
    messages: Receiver<io::Result<Message>>,
    used: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    position: usize,
    end: Option<Checksum>,
    ctx: Context,
}

impl ReadAhead {
    /// Reads what `open` returns from its beginning, if it has one, and counts
    /// the bytes in `task`.
    pub(super) fn start(
        open: impl FnOnce() -> io::Result<File> + Send + 'static,
        task: Task,
        ctx: Context,
    ) -> io::Result<Self> {
        let (sender, messages) = sync_channel(WAITING);
        let (used, free) = sync_channel(WAITING);
        std::thread::Builder::new().name("read-ahead".to_owned()).spawn(move || {
            let result = open().and_then(|file| read(file, &task, &sender, &free));
            let last = match result {
                Ok(Some(checksum)) => Ok(Message::End(checksum)),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            if last.is_ok() {
                task.done();
            }
            // Nobody there to read it is as good as the end.
            let _ = sender.send(last);
        })?;
        Ok(Self { messages, used, piece: Vec::new(), position: 0, end: None, ctx })
    }

    /// The checksum of everything, also of what was not consumed.
    pub(super) fn finish(mut self) -> io::Result<Checksum> {
        loop {
            match self.end {
                Some(checksum) => return Ok(checksum),
                None => self.next_piece()?,
            }
        }
    }

    fn next_piece(&mut self) -> io::Result<()> {
        let old = std::mem::take(&mut self.piece);
        self.position = 0;
        if old.capacity() > 0 {
            // A full channel means that there are buffers enough.
            if let Err(TrySendError::Full(old) | TrySendError::Disconnected(old)) =
                self.used.try_send(old)
            {
                drop(old);
            }
        }
        loop {
            self.ctx.check()?;
            match self.messages.recv_timeout(PATIENCE) {
                Ok(Ok(Message::Piece(piece))) => self.piece = piece,
                Ok(Ok(Message::End(checksum))) => self.end = Some(checksum),
                Ok(Err(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(
                        Error::new(ErrorKind::Unexpected, "the reading thread is gone").into()
                    );
                }
            }
            return Ok(());
        }
    }
}

impl BufRead for ReadAhead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.piece.len() && self.end.is_none() {
            self.next_piece()?;
        }
        Ok(&self.piece[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position = (self.position + amount).min(self.piece.len());
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let len = available.len().min(buffer.len());
        buffer[..len].copy_from_slice(&available[..len]);
        self.consume(len);
        Ok(len)
    }
}

/// Sends all of the file; `None` if nobody wants it any more.
fn read(
    mut file: File,
    task: &Task,
    pieces: &SyncSender<io::Result<Message>>,
    free: &Receiver<Vec<u8>>,
) -> io::Result<Option<Checksum>> {
    if file.metadata()?.is_file() {
        file.rewind()?;
    }
    let mut hash = Sha256::new();
    loop {
        let mut piece = free.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let len = fill(&mut file, &mut piece)?;
        if len == 0 {
            return Ok(Some(Checksum::from_bytes(hash.finalize().into())));
        }
        piece.truncate(len);
        hash.update(&piece);
        task.advance(len as u64);
        if pieces.send(Ok(Message::Piece(piece))).is_err() {
            return Ok(None);
        }
    }
}

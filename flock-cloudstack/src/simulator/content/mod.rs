//! What arrives as a template: taken in as it comes, unpacked, and checked.
//!
//! Nothing is kept in memory but the beginning and the end of the contents.

mod checksum;
mod recognise;

use std::fs::File;
use std::io::{self, BufRead, Read, Write as _};

use axum::body::Bytes;
use flock_core::rootfs::decompress::{Compression, Decoder, Limits};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

pub(crate) use self::checksum::Checksum;
use self::checksum::{Hasher, hex};
use super::format::Format;

/// How many pieces may wait to be looked at.
const QUEUE: usize = 16;
/// How much of the beginning is looked at. An ISO file tells what it is at
/// 32 KiB.
const HEAD: usize = 64 << 10;
/// How much of the end is looked at: a VHD's footer.
const TAIL: usize = 512;

/// What a file should be.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) format: Format,
    pub(crate) compression: Compression,
    pub(crate) checksum: Option<Checksum>,
    /// Where to keep it.
    pub(crate) file: Option<File>,
    /// The most bytes that may come out of it.
    pub(crate) max_size: u64,
}

/// What a file was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Bytes of the file as it came.
    pub(crate) physical_size: u64,
    /// Bytes of the disk or archive in it.
    pub(crate) size: u64,
    /// Of the file as it came, in hexadecimal.
    pub(crate) sha256: String,
}

/// A file that is coming in.
#[derive(Debug)]
pub(crate) struct Intake {
    sender: mpsc::Sender<Piece>,
    task: JoinHandle<Result<Findings, String>>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    /// It is complete. Without this one it was cut.
    End,
}

impl Intake {
    /// Begins to take in a file.
    pub(crate) fn start(expected: Expected) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let task = spawn_blocking(move || take_in(expected, receiver));
        Self { sender, task }
    }

    /// Hands over the next bytes; false if no more are wanted, and
    /// [`Intake::finish`] says why.
    pub(crate) async fn push(&self, bytes: Bytes) -> bool {
        self.sender.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// Says that this was all, and waits for the verdict.
    pub(crate) async fn finish(self) -> Result<Findings, String> {
        // If nobody listens any more, the verdict is there already.
        let _ = self.sender.send(Piece::End).await;
        drop(self.sender);
        self.task.await.unwrap_or_else(|error| Err(format!("the check failed: {error}")))
    }
}

fn take_in(expected: Expected, receiver: mpsc::Receiver<Piece>) -> Result<Findings, String> {
    let mut arriving = Arriving {
        receiver,
        current: Bytes::new(),
        is_complete: false,
        is_cut: false,
        sha256: Sha256::new(),
        wanted: expected.checksum.as_ref().map(Checksum::hasher),
        file: expected.file,
        count: 0,
    };
    let limits = Limits::default().with_max_output(expected.max_size);
    let seen = sample(&mut arriving, expected.compression, limits);
    if arriving.is_cut {
        return Err(CUT.to_owned());
    }
    let sample = seen?;
    arriving.drain().map_err(|error| error.to_string())?;
    if let (Some(wanted), Some(hasher)) = (&expected.checksum, arriving.wanted.take()) {
        wanted.check(hasher)?;
    }
    let size = recognise::check(expected.format, &sample)?;
    Ok(Findings { physical_size: arriving.count, size, sha256: hex(&arriving.sha256.finalize()) })
}

/// What is seen of a file's contents.
#[derive(Debug, Default)]
struct Sample {
    head: Vec<u8>,
    tail: Vec<u8>,
    size: u64,
}

impl Sample {
    fn add(&mut self, bytes: &[u8]) {
        let room = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend(bytes.iter().take(room));
        let end = bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or_default();
        let keep = TAIL.saturating_sub(end.len()).min(self.tail.len());
        self.tail.drain(..self.tail.len() - keep);
        self.tail.extend(end);
        self.size += bytes.len() as u64;
    }
}

/// Unpacks all, and keeps both ends.
fn sample(
    arriving: &mut Arriving,
    compression: Compression,
    limits: Limits,
) -> Result<Sample, String> {
    let explain = |error: &dyn std::fmt::Display| {
        format!("Failed post download script: Unable to uncompress the template: {error}")
    };
    let mut decoder =
        Decoder::new(arriving, compression, limits).map_err(|error| explain(&error))?;
    let mut sample = Sample::default();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return Ok(sample),
            Ok(read) => sample.add(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(explain(&error)),
        }
    }
}

/// What is said of a file that stopped coming.
pub(crate) const CUT: &str = "Stream closed";

/// The file as it arrives, counted, hashed and kept on the way.
struct Arriving {
    receiver: mpsc::Receiver<Piece>,
    current: Bytes,
    is_complete: bool,
    is_cut: bool,
    sha256: Sha256,
    wanted: Option<Hasher>,
    file: Option<File>,
    count: u64,
}

impl Arriving {
    /// Waits for the next piece, if there will be one.
    fn next(&mut self) -> io::Result<()> {
        while self.current.is_empty() && !self.is_complete {
            match self.receiver.blocking_recv() {
                None => {
                    self.is_cut = true;
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, CUT));
                }
                Some(Piece::End) => self.is_complete = true,
                Some(Piece::Bytes(bytes)) => {
                    self.count += bytes.len() as u64;
                    self.sha256.update(&bytes);
                    if let Some(hasher) = &mut self.wanted {
                        hasher.update(&bytes);
                    }
                    if let Some(file) = &mut self.file {
                        file.write_all(&bytes)?;
                    }
                    self.current = bytes;
                }
            }
        }
        Ok(())
    }

    /// Takes what a decoder left.
    fn drain(&mut self) -> io::Result<()> {
        loop {
            self.current.clear();
            self.next()?;
            if self.current.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Arriving {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.next()?;
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.current.split_to(amount.min(self.current.len()));
    }
}

#[cfg(test)]
mod tests;

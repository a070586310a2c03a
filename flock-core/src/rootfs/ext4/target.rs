//! Where the file system's bytes go.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::geometry::BLOCK;
use crate::progress::Task;
use crate::rootfs::disk::DiskWriter;
use crate::rootfs::entry::ExtentSource;
use crate::rootfs::read_at::ReadAt as _;
use crate::{Context, Error, ErrorKind, Result};

/// How much is gathered before it is written.
const BUFFER: usize = 1 << 20;

/// A disk, and whom to tell about it.
pub(super) struct Target<'a> {
    disk: &'a dyn DiskWriter,
    name: &'a str,
    pub(super) ctx: &'a Context,
    task: &'a Task,
    written: AtomicU64,
}

impl<'a> Target<'a> {
    pub(super) fn new(
        disk: &'a dyn DiskWriter,
        name: &'a str,
        ctx: &'a Context,
        task: &'a Task,
    ) -> Self {
        Self { disk, name, ctx, task, written: AtomicU64::new(0) }
    }

    /// Writes bytes at an offset of the disk.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.ctx.check()?;
        self.disk.write_at(bytes, at).map_err(|error| self.failed(error))?;
        self.count(bytes.len() as u64);
        Ok(())
    }

    /// Copies a part of a file to an offset of the disk. `path` tells whose
    /// content it is.
    pub(super) fn copy(
        &self,
        at: u64,
        (file, from): (&File, u64),
        length: u64,
        path: impl FnOnce() -> String,
    ) -> Result<()> {
        self.ctx.check()?;
        self.disk.copy_at(file, from, length, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => shorter(&path()),
            _ => self.failed(error),
        })?;
        self.count(length);
        Ok(())
    }

    /// How many bytes were written so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn count(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.task.advance(bytes);
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io("write", Path::new(self.name), error)
    }
}

/// Gathers neighbouring pieces into large writes.
pub(super) struct Stream<'a> {
    target: &'a Target<'a>,
    buffer: Vec<u8>,
    /// Where on the disk the buffer begins.
    start: u64,
}

impl<'a> Stream<'a> {
    pub(super) fn new(target: &'a Target<'a>) -> Self {
        Self { target, buffer: Vec::with_capacity(BUFFER + BUFFER / 4), start: 0 }
    }

    /// Writes bytes at an offset of the disk.
    pub(super) fn bytes(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        for part in bytes.chunks(BUFFER).enumerate() {
            self.go_to(at + (part.0 * BUFFER) as u64)?;
            self.buffer.extend_from_slice(part.1);
        }
        Ok(())
    }

    /// Reads a small part of a source into what is written at an offset.
    pub(super) fn read(
        &mut self,
        at: u64,
        source: &ExtentSource,
        skip: u64,
        length: usize,
        path: impl FnOnce() -> String,
    ) -> Result<()> {
        self.go_to(at)?;
        let before = self.buffer.len();
        self.buffer.resize(before + length, 0);
        let part = &mut self.buffer[before..];
        let result = match source {
            ExtentSource::File { file, offset } => file.read_exact_at(part, offset + skip),
            ExtentSource::Bytes { bytes, offset } => bytes.read_exact_at(part, offset + skip),
        };
        result.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => shorter(&path()),
            _ => Error::io("read", Path::new(&path()), error),
        })
    }

    /// Writes what was gathered.
    pub(super) fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.target.write(self.start, &self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Makes the buffer end at an offset of the disk. What is left of a block
    /// before is filled with zeros.
    fn go_to(&mut self, at: u64) -> Result<()> {
        let end = self.start + self.buffer.len() as u64;
        let gap = at.checked_sub(end).filter(|gap| *gap < BLOCK);
        match gap {
            Some(gap) if !self.buffer.is_empty() && self.buffer.len() < BUFFER => {
                let gap = usize::try_from(gap).unwrap_or(0);
                self.buffer.resize(self.buffer.len() + gap, 0);
            }
            _ => {
                self.flush()?;
                self.start = at;
            }
        }
        Ok(())
    }
}

fn shorter(path: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("'{path}' became shorter while it was read"))
        .hint("start again once nobody writes to it any more")
}

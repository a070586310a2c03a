//! Reading at an offset, from files and from memory.

use std::fs::File;
use std::io;
use std::sync::Arc;

/// Bytes that can be read at any offset.
pub(crate) trait ReadAt: Send + Sync {
    /// Reads some bytes from `offset`; 0 at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How many bytes there are.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buf` from `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buf = &mut buf[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or(&[]);
        let length = rest.len().min(buf.len());
        buf[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for Arc<[u8]> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_ref().read_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.as_ref().size()
    }
}

/// A look at part of a [`ReadAt`], kept so that neighbouring small reads cost
/// one call.
#[derive(Default)]
pub(crate) struct Window {
    buffer: Vec<u8>,
    start: u64,
    ahead: usize,
}

impl Window {
    /// A window that reads at least `ahead` bytes at a time.
    pub(crate) fn new(ahead: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, ahead }
    }

    /// Sets how much is read at a time from now on.
    pub(crate) fn set_ahead(&mut self, ahead: usize) {
        self.ahead = ahead;
    }

    /// Exactly these bytes, if they were read already.
    pub(crate) fn peek(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.buffer.get(at..at.checked_add(length)?)
    }

    /// Forgets what was read, before turning to another source.
    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
    }

    /// Exactly `length` bytes from `offset`, or `UnexpectedEof`.
    pub(crate) fn get<R>(&mut self, source: &R, offset: u64, length: usize) -> io::Result<&[u8]>
    where
        R: ReadAt + ?Sized,
    {
        if self.peek(offset, length).is_none() {
            self.fill(source, offset, length)?;
        }
        self.peek(offset, length).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn fill<R: ReadAt + ?Sized>(
        &mut self,
        source: &R,
        offset: u64,
        length: usize,
    ) -> io::Result<()> {
        self.start = offset;
        self.buffer.resize(self.ahead.max(length), 0);
        let mut filled = 0;
        while filled < length {
            match source.read_at(&mut self.buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.clear();
                    return Err(error);
                }
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }
}

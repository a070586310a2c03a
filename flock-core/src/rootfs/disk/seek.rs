//! A disk in anything that can seek.

use std::io::{self, Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use super::DiskWriter;
use super::writer::check_within;

/// A disk in anything that can seek, byte for byte; one thread at a time.
#[derive(Debug)]
pub struct SeekDisk<W> {
    out: Mutex<W>,
    size: u64,
}

impl<W: Write + Seek + Send> SeekDisk<W> {
    /// A disk of `size` bytes in `out`, which gets that length by a byte at
    /// its end. `out` must be empty, or read as zeros up to there.
    ///
    /// # Errors
    /// Those of seeking and writing.
    pub fn create(mut out: W, size: u64) -> io::Result<Self> {
        if let Some(last) = size.checked_sub(1) {
            out.seek(SeekFrom::Start(last))?;
            out.write_all(&[0])?;
        }
        Ok(Self { out: Mutex::new(out), size })
    }
}

impl<W: Write + Seek + Send> DiskWriter for SeekDisk<W> {
    fn size(&self) -> u64 {
        self.size
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        check_within(self.size, offset, bytes.len() as u64)?;
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.seek(SeekFrom::Start(offset))?;
        out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_where_it_is_told() {
        let disk = SeekDisk::create(io::Cursor::new(Vec::new()), 8).unwrap();
        disk.write_at(b"cd", 2).unwrap();
        disk.write_at(b"a", 0).unwrap();
        assert!(disk.write_at(b"x", 8).is_err());
        let bytes = disk.out.into_inner().unwrap().into_inner();
        assert_eq!(bytes, b"a\0cd\0\0\0\0");
    }
}

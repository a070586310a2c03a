//! Disks that are being written: any, a raw one, a part of one.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::copy::copy_range;

/// How much is copied at a time where the kernel cannot copy by itself.
const CHUNK: usize = 1 << 20;

/// A disk that is being written.
///
/// Every method may be called from several threads at once, for stretches that
/// do not overlap. What was never written reads as zeros.
pub trait DiskWriter: Send + Sync {
    /// The size of the disk in bytes, as the machine will see it.
    fn size(&self) -> u64;

    /// Writes all of `bytes` at `offset` bytes from the disk's begin.
    ///
    /// # Errors
    /// `InvalidInput` if that is not within the disk, else those of the file
    /// behind it.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Copies `length` bytes of `source`, from `source_offset` on, to `offset`
    /// bytes from the disk's begin.
    ///
    /// # Errors
    /// As [`write_at`](DiskWriter::write_at); `UnexpectedEof` if the source is
    /// shorter.
    fn copy_at(
        &self,
        source: &File,
        source_offset: u64,
        length: u64,
        offset: u64,
    ) -> io::Result<()> {
        let size = usize::try_from(length).unwrap_or(CHUNK).min(CHUNK);
        let mut buffer = vec![0; size];
        let mut done = 0;
        while done < length {
            let part = usize::try_from(length - done).unwrap_or(size).min(size);
            source.read_exact_at(&mut buffer[..part], source_offset + done)?;
            self.write_at(&buffer[..part], offset + done)?;
            done += part as u64;
        }
        Ok(())
    }
}

/// A disk in a file, byte for byte. What is not written stays a hole.
#[derive(Debug)]
pub struct RawDisk<'a> {
    file: &'a File,
    size: u64,
}

impl<'a> RawDisk<'a> {
    /// A disk of `size` bytes in `file`, which is empty and is given that
    /// length.
    ///
    /// # Errors
    /// `InvalidInput` if the file is not empty; those of setting its length,
    /// which only regular files have.
    pub fn create(file: &'a File, size: u64) -> io::Result<Self> {
        check_empty(file)?;
        file.set_len(size)?;
        Ok(Self { file, size })
    }
}

impl DiskWriter for RawDisk<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        check_within(self.size, offset, bytes.len() as u64)?;
        self.file.write_all_at(bytes, offset)
    }

    fn copy_at(
        &self,
        source: &File,
        source_offset: u64,
        length: u64,
        offset: u64,
    ) -> io::Result<()> {
        check_within(self.size, offset, length)?;
        copy_range(source, source_offset, length, self.file, offset)
    }
}

/// A part of a disk, as a disk of its own.
pub struct Partition<'a> {
    disk: &'a dyn DiskWriter,
    start: u64,
    size: u64,
}

impl<'a> Partition<'a> {
    /// The part of `disk` that begins `start` bytes from its begin.
    ///
    /// # Errors
    /// `InvalidInput` if that is not within the disk.
    pub fn new(disk: &'a dyn DiskWriter, start: u64, size: u64) -> io::Result<Self> {
        check_within(disk.size(), start, size)?;
        Ok(Self { disk, start, size })
    }
}

impl std::fmt::Debug for Partition<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition")
            .field("start", &self.start)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl DiskWriter for Partition<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        check_within(self.size, offset, bytes.len() as u64)?;
        self.disk.write_at(bytes, self.start + offset)
    }

    fn copy_at(
        &self,
        source: &File,
        source_offset: u64,
        length: u64,
        offset: u64,
    ) -> io::Result<()> {
        check_within(self.size, offset, length)?;
        self.disk.copy_at(source, source_offset, length, self.start + offset)
    }
}

/// Refuses a file that holds something: what is not written has to read as
/// zeros.
pub(super) fn check_empty(file: &File) -> io::Result<()> {
    match file.metadata()?.len() {
        0 => Ok(()),
        length => {
            let message = format!("the file for the disk is not empty: it has {length} bytes");
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}

/// Refuses ranges that do not ascend or are not within a disk of `size` bytes.
pub(super) fn check_ranges(size: u64, ranges: &[Range<u64>]) -> io::Result<()> {
    let mut end = 0;
    for range in ranges {
        if range.start < end || range.end < range.start {
            let message = format!("the ranges to be written do not ascend at {}", range.start);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        check_within(size, range.start, range.end - range.start)?;
        end = range.end;
    }
    Ok(())
}

/// Refuses what is not within a disk of `size` bytes.
pub(super) fn check_within(size: u64, offset: u64, length: u64) -> io::Result<()> {
    if offset.checked_add(length).is_some_and(|end| end <= size) {
        return Ok(());
    }
    let message = format!("{length} bytes at {offset} are not within a disk of {size} bytes");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_writes_within_its_disk() {
        let file = tempfile::tempfile().unwrap();
        let source = tempfile::tempfile().unwrap();
        source.write_all_at(b"..copied", 0).unwrap();
        let disk = RawDisk::create(&file, 64).unwrap();
        let part = Partition::new(&disk, 16, 32).unwrap();
        part.write_at(b"written", 0).unwrap();
        part.copy_at(&source, 2, 6, 26).unwrap();
        let mut all = [0; 64];
        file.read_exact_at(&mut all, 0).unwrap();
        assert_eq!(&all[16..23], b"written");
        assert_eq!(&all[42..48], b"copied");
        let error = part.write_at(b"x", 32).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(Partition::new(&disk, 40, 32).is_err());
        assert_eq!(
            part.copy_at(&source, 2, 7, 0).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}

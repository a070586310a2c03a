//! Copying between files, by the kernel where that is faster.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::io::Errno;

/// How much is read at a time where the kernel cannot copy by itself.
const CHUNK: usize = 1 << 20;
/// How much one call of `copy_file_range` copies.
const CALL: u64 = 64 << 20;
/// What a file system shares or copies whole, at least.
const PAGE: u64 = 4096;

/// Copies `length` bytes of `source` to `offset` of `target`.
///
/// The kernel copies what lies page by page as in its source; file systems
/// that can share blocks then do. Elsewhere it would copy page after page
/// across their borders, and reading and writing is faster.
///
/// # Errors
/// `UnexpectedEof` if the source is shorter, else those of the two files.
pub(super) fn copy_range(
    source: &File,
    source_offset: u64,
    length: u64,
    target: &File,
    offset: u64,
) -> io::Result<()> {
    let mut done = 0;
    if source_offset % PAGE == offset % PAGE && length >= PAGE {
        done = copy_in_kernel(source, source_offset, length, target, offset)?;
    }
    let size = usize::try_from(length - done).unwrap_or(CHUNK).min(CHUNK);
    let mut buffer = vec![0; size];
    while done < length {
        let part = usize::try_from(length - done).unwrap_or(size).min(size);
        source.read_exact_at(&mut buffer[..part], source_offset + done)?;
        target.write_all_at(&buffer[..part], offset + done)?;
        done += part as u64;
    }
    Ok(())
}

/// How much the kernel copied: less than all where it cannot.
fn copy_in_kernel(
    source: &File,
    source_offset: u64,
    length: u64,
    target: &File,
    offset: u64,
) -> io::Result<u64> {
    let (mut from, mut to) = (source_offset, offset);
    let end = source_offset + length;
    while from < end {
        let part = usize::try_from((end - from).min(CALL)).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), part) {
            // The source ended, which reading it will tell.
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) if is_unable(error) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(from - source_offset)
}

/// Whether the kernel cannot copy between these two files at all.
fn is_unable(error: Errno) -> bool {
    matches!(
        error,
        Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF | Errno::PERM
    )
}

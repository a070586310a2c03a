//! Whole small files of a tree.

use std::io::Read as _;

use crate::rootfs::{EntryKind, Tree};
use crate::{Error, ErrorKind, Result};

/// The begin of the file that `path` leads to, at most `limit` bytes. `None`
/// if there is no regular file.
pub(super) fn read_head(tree: &Tree, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let Some(entry) = tree.lookup(path)? else { return Ok(None) };
    let EntryKind::File { size } = entry.kind else { return Ok(None) };
    let mut bytes = Vec::new();
    entry.content().reader().take(size.min(limit)).read_to_end(&mut bytes).map_err(|source| {
        let message = format!("cannot read '{path}' of the appliance");
        Error::new(ErrorKind::InvalidData, message).caused_by(source)
    })?;
    Ok(Some(bytes))
}

/// All of the file that `path` leads to. `None` if there is no regular file.
///
/// # Errors
/// [`ErrorKind::InvalidData`] if it has more than `limit` bytes.
pub(super) fn read_file(tree: &Tree, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let bytes = read_head(tree, path, limit.saturating_add(1))?;
    if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 > limit) {
        let message = format!("'{path}' of the appliance has more than {limit} bytes");
        return Err(Error::new(ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

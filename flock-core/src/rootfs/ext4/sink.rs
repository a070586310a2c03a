//! The file system as a sink.

use std::io::{Seek, Write};
use std::path::Path;

use super::layout::Ext4Layout;
use super::options::Ext4Options;
use crate::rootfs::disk::SeekDisk;
use crate::rootfs::sink::{Sink, Written};
use crate::rootfs::tree::Tree;
use crate::{Context, Error, Result};

/// Writes a tree as an ext4 file system to anything that can seek.
///
/// The output must be empty, or read as zeros: what is not in use is skipped.
/// Files are written faster through a [`RawDisk`](crate::rootfs::disk::RawDisk)
/// and [`Ext4Layout::write`], from several threads and with copies by the
/// kernel.
///
/// ```
/// use std::io::Cursor;
///
/// use flock_core::rootfs::ext4::{Ext4Options, Ext4Sink};
/// use flock_core::rootfs::{SourceIndex, Sink, Tree};
/// use flock_core::{Context, Result};
///
/// # fn main() -> Result<()> {
/// let ctx = Context::new();
/// let tree = Tree::new(SourceIndex::from_bytes("empty", vec![0u8; 1024], &ctx)?, &ctx)?;
/// let options = Ext4Options::default().with_size(16 << 20).with_label("data");
/// let mut sink = Ext4Sink::new(Cursor::new(Vec::new()), options);
/// sink.write(&tree, &ctx)?;
/// assert_eq!(sink.into_inner().into_inner().len(), 16 << 20);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Ext4Sink<W> {
    out: W,
    options: Ext4Options,
    name: String,
}

impl<W: Write + Seek + Send> Ext4Sink<W> {
    /// Writes to `out`, from its begin.
    pub fn new(out: W, options: Ext4Options) -> Self {
        Self { out, options, name: "the file system".to_owned() }
    }

    /// Sets what the output is called in messages.
    #[must_use]
    pub fn with_name(mut self, path: &Path) -> Self {
        self.name = path.display().to_string();
        self
    }

    /// The output, flushed if the last [`write`](Sink::write) went well.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write + Seek + Send> Sink for Ext4Sink<W> {
    /// # Errors
    /// Those of [`Ext4Layout::plan`] and [`Ext4Layout::write`].
    fn write(&mut self, tree: &Tree, ctx: &Context) -> Result<Written> {
        let layout = Ext4Layout::plan(tree, &self.options, ctx)?.with_name(Path::new(&self.name));
        let failed = |error| Error::io("write", Path::new(&self.name), error);
        let disk = SeekDisk::create(&mut self.out, layout.size()).map_err(failed)?;
        let written = layout.write(&disk, ctx)?;
        self.out.flush().map_err(failed)?;
        Ok(written)
    }
}

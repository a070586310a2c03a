//! Writing the file system that was laid out.

use super::layout::Ext4Layout;
use super::target::Target;
use crate::progress::Unit;
use crate::rootfs::disk::DiskWriter;
use crate::rootfs::sink::Written;
use crate::{Context, Error, ErrorKind, Result};

impl Ext4Layout<'_> {
    /// Writes the file system to the begin of a disk or partition.
    ///
    /// Each byte is written once, about in ascending order, from as many
    /// threads as the options say. What is not [`used`](Self::used) is not
    /// touched and must read as zeros, as it does on a new
    /// [`DiskWriter`]. After an error what was written is of no use; calling
    /// again writes the same bytes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the disk is smaller than the layout;
    /// [`ErrorKind::Conflict`] if a source changed; those of reading a layer;
    /// kinds of [`Error::io`] for the disk; [`ErrorKind::Cancelled`] and
    /// [`ErrorKind::Timeout`] by `ctx`, which is asked once per chunk.
    pub fn write(&self, disk: &dyn DiskWriter, ctx: &Context) -> Result<Written> {
        if disk.size() < self.size {
            let (has, needs) = (disk.size(), self.size);
            let message = format!("{} has {has} bytes, but its file system {needs}", self.name);
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        let ctx = ctx.child();
        let total = self.used().iter().map(|range| range.end - range.start).sum();
        let task = ctx.task(format!("write {}", self.name), Unit::Bytes, Some(total));
        let target = Target::new(disk, &self.name, &ctx, &task);
        self.write_fixed(&target)?;
        self.write_content(&target)?;
        let bytes = target.written();
        task.done();
        Ok(Written::new(self.tree.summary().entries, bytes))
    }
}

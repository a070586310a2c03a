//! A tree as a disk that a machine starts from.

mod geometry;
mod options;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::Path;

use self::geometry::Geometry;
pub use self::options::{Bootloader, DiskLayout, DiskOptions};
use super::boot::{BootCode, BootOptions, BootPlan};
use super::disk::partition_table::{Gpt, Mbr, MbrPartition, SECTOR};
use super::disk::{DiskFile, DiskId, DiskWriter, Partition};
use super::ext4::{Ext4Layout, Ext4Options};
use super::sink::{Sink, Written};
use super::tree::Tree;
use crate::{Context, Error, ErrorKind, Result};

/// Writes a tree as a disk: an ext4 file system, a partition table around it
/// if the layout has one, and a boot loader, in any [`DiskFormat`].
///
/// [`prepare`](DiskSink::prepare) puts what the boot loader needs into the
/// tree, before [`write`](Sink::write). Both block, and leave what they have
/// written in the file when they fail. The same tree and options give the same bytes.
///
/// ```
/// use flock_core::rootfs::disk::DiskFormat;
/// use flock_core::rootfs::{DiskLayout, DiskOptions, DiskSink, Sink, SourceIndex, Tree};
/// use flock_core::{Context, Result};
///
/// # fn main() -> Result<()> {
/// # let file = tempfile::tempfile().unwrap();
/// let ctx = Context::new();
/// let mut tree = Tree::new(SourceIndex::from_bytes("empty", vec![0u8; 1024], &ctx)?, &ctx)?;
/// let options = DiskOptions::new(DiskFormat::VhdDynamic)
///     .with_layout(DiskLayout::Bare)
///     .with_size(64 << 20);
/// let mut sink = DiskSink::new(&file, options);
/// sink.prepare(&mut tree, &ctx)?;
/// sink.write(&tree, &ctx)?;
/// # Ok(())
/// # }
/// ```
///
/// [`DiskFormat`]: super::disk::DiskFormat
#[derive(Debug)]
pub struct DiskSink<'f> {
    file: &'f File,
    options: DiskOptions,
    name: String,
    /// The file system's UUID, once it is decided.
    uuid: Option<DiskId>,
    code: Option<BootCode>,
    prepared: bool,
}

impl<'f> DiskSink<'f> {
    /// Writes to `file`, which is empty.
    #[must_use]
    pub fn new(file: &'f File, options: DiskOptions) -> Self {
        let uuid = options.uuid;
        Self { file, options, name: "the disk".to_owned(), uuid, code: None, prepared: false }
    }

    /// Sets what the output is called in messages.
    #[must_use]
    pub fn with_name(mut self, path: &Path) -> Self {
        self.name = path.display().to_string();
        self
    }

    /// Decides how the appliance starts and puts that into the tree: the boot
    /// loader's modules and configuration, and an `/etc/fstab`, as the
    /// [page of booting](super::boot) tells. Does nothing with
    /// [`Bootloader::None`].
    ///
    /// # Errors
    /// Those of [`BootPlan::new`], of [`Ext4Layout::plan`] and of
    /// [`Tree::inject`]: [`AlreadyExists`](crate::ErrorKind::AlreadyExists)
    /// where it was called before.
    pub fn prepare(&mut self, tree: &mut Tree, ctx: &Context) -> Result<()> {
        self.prepared = true;
        if self.options.bootloader == Bootloader::None {
            return Ok(());
        }
        let geometry = self.geometry()?;
        let uuid = match self.uuid {
            Some(uuid) => uuid,
            // The files that are put in name the UUID, so it follows from
            // what was there before. Whether the disk is large enough is seen
            // when all files are there.
            None => {
                let mut options = self.file_system(&geometry);
                let layout = match Ext4Layout::plan(tree, &options, ctx) {
                    Err(error) if error.context_value("needed_bytes").is_some() => {
                        options.size = None;
                        Ext4Layout::plan(tree, &options, ctx)?
                    }
                    planned => planned?,
                };
                DiskId::from_bytes(layout.uuid())
            }
        };
        self.uuid = Some(uuid);
        let layout = geometry.boot_layout(uuid);
        let mut options = BootOptions::new(*uuid.as_bytes(), layout)
            .with_arguments(self.options.kernel_arguments.clone());
        if let Some(consoles) = &self.options.consoles {
            options = options.with_consoles(consoles.clone());
        }
        let plan = BootPlan::new(tree, &options, ctx)?;
        plan.inject(tree)?;
        self.code = plan.boot_code().cloned();
        Ok(())
    }

    fn geometry(&self) -> Result<Geometry> {
        Geometry::new(&self.options)
    }

    /// The options of the file system.
    fn file_system(&self, geometry: &Geometry) -> Ext4Options {
        let mut options = Ext4Options::default()
            .with_around(geometry.around())
            .with_label(self.options.label.clone())
            .with_threads(self.options.threads);
        options.uuid = self.uuid.map(|uuid| *uuid.as_bytes());
        options.size = geometry.file_system_size();
        options
    }

    fn write_disk(
        &self,
        disk: &DiskFile<'_>,
        geometry: &Geometry,
        layout: &Ext4Layout<'_>,
        ctx: &Context,
    ) -> Result<Written> {
        let failed = |error| self.failed(error);
        self.write_table(disk, geometry, DiskId::from_bytes(layout.uuid()), layout.size())?;
        let root = Partition::new(disk, geometry.root_start(), layout.size()).map_err(failed)?;
        let written = layout.write(&root, ctx)?;
        // The core image goes last: it is small, and before it nothing starts.
        if let Some(code) = &self.code {
            disk.write_at(&code.embedded, code.start_lba * SECTOR).map_err(failed)?;
        }
        Ok(written)
    }

    fn write_table(
        &self,
        disk: &dyn DiskWriter,
        geometry: &Geometry,
        uuid: DiskId,
        size: u64,
    ) -> Result<()> {
        let boot_code = self.code.as_ref().map_or_else(Vec::new, |code| code.mbr.to_vec());
        match self.options.layout {
            DiskLayout::Bare => Ok(()),
            DiskLayout::Mbr => {
                let root = MbrPartition::new(geometry.root_start(), size).with_active(true);
                let table = Mbr::new(geometry::signature(uuid)).with_partition(root);
                table.with_boot_code(boot_code).write(disk)
            }
            DiskLayout::Gpt => {
                let table = Gpt::new(DiskId::derive("disk", &[uuid.as_bytes()]));
                let table =
                    geometry.partitions(uuid, size).into_iter().fold(table, Gpt::with_partition);
                table.with_boot_code(boot_code).write(disk)
            }
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io("write", Path::new(&self.name), error)
    }
}

impl Sink for DiskSink<'_> {
    /// # Errors
    /// Those of [`Ext4Layout::plan`], before anything is written, and of
    /// [`Ext4Layout::write`]; [`InvalidConfig`](crate::ErrorKind::InvalidConfig)
    /// for a size that the format or the layout does not have or that is too
    /// small, whose context value `needed_bytes` is the least size of the disk
    /// that would do, and for a boot loader without
    /// [`prepare`](DiskSink::prepare).
    fn write(&mut self, tree: &Tree, ctx: &Context) -> Result<Written> {
        if self.options.bootloader != Bootloader::None && !self.prepared {
            let message = "a disk with a boot loader was not prepared for it";
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .hint("call `prepare` with the tree first, or choose `Bootloader::None`"));
        }
        let geometry = self.geometry()?;
        let layout = Ext4Layout::plan(tree, &self.file_system(&geometry), ctx)
            .map_err(|error| geometry.of_disk(error))?
            .with_name(Path::new(&self.name));
        geometry.check_layout(layout.size())?;
        let size = geometry.disk_size(layout.size());
        let core = self.code.as_ref().map_or(0, |code| code.embedded.len() as u64);
        let ranges = geometry.written(size, core, &layout.used());
        let disk = DiskFile::create(self.file, self.options.format, size, &ranges)
            .map_err(|error| self.failed(error))?;
        let written = self.write_disk(&disk, &geometry, &layout, ctx)?;
        let id = DiskId::derive("image", &[&layout.uuid()]);
        disk.finish(id, self.options.created).map_err(|error| self.failed(error))?;
        Ok(written)
    }
}

//! The appliance as a disk.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use super::BuildRequest;
use super::build::encoder;
use crate::app::VhdSubformat;
use crate::image_builder::ApplianceFormat;
use crate::progress::Unit;
use crate::rootfs::compress::Format;
use crate::rootfs::disk::DiskFormat;
use crate::rootfs::output::OutputFile;
use crate::rootfs::{DiskOptions, DiskSink, Sink, Tree, Written};
use crate::{Context, Error, Result};

/// How much is read at a time of a disk that is to be compressed.
const CHUNK: usize = 1 << 20;

/// The format on the disk; `None` for a tar archive.
pub(super) fn format(request: &BuildRequest) -> Option<DiskFormat> {
    match (request.format, request.disk.subformat) {
        (ApplianceFormat::Tar, _) => None,
        (ApplianceFormat::Raw, _) => Some(DiskFormat::Raw),
        (ApplianceFormat::Qcow2, _) => Some(DiskFormat::Qcow2),
        (ApplianceFormat::Vhd, VhdSubformat::Dynamic) => Some(DiskFormat::VhdDynamic),
        (ApplianceFormat::Vhd, VhdSubformat::Fixed) => Some(DiskFormat::VhdFixed),
    }
}

/// Writes the disk: to its place, or by way of a file without a name if it is
/// to be compressed, for it is not written from begin to end.
pub(super) fn write(
    ctx: &Context,
    request: &BuildRequest,
    format: DiskFormat,
    tree: &mut Tree,
    output: &OutputFile,
) -> Result<Written> {
    if request.compression == Format::None {
        return write_to(ctx, request, format, tree, output.file(), output.target());
    }
    let directory = output.path().parent().unwrap_or(Path::new("."));
    let failed = |source| Error::io("write", output.target(), source);
    let disk = tempfile::tempfile_in(directory)
        .map_err(|source| Error::io("make a temporary file in", directory, source))?;
    let written = write_to(ctx, request, format, tree, &disk, output.target())?;
    compress(ctx, request, disk, output).map_err(failed)?;
    Ok(written)
}

fn write_to(
    ctx: &Context,
    request: &BuildRequest,
    format: DiskFormat,
    tree: &mut Tree,
    file: &File,
    name: &Path,
) -> Result<Written> {
    let mut sink = DiskSink::new(file, options(request, format)).with_name(name);
    sink.prepare(tree, ctx)?;
    sink.write(tree, ctx)
}

fn options(request: &BuildRequest, format: DiskFormat) -> DiskOptions {
    let disk = &request.disk;
    let mut options = DiskOptions::new(format)
        .with_layout(disk.layout)
        .with_label(disk.label.clone())
        .with_bootloader(disk.bootloader)
        .with_kernel_arguments(disk.kernel_arguments.clone())
        .with_created(request.source_date_epoch.unwrap_or_default())
        .with_threads(request.threads);
    options.size = disk.size;
    options.consoles.clone_from(&disk.consoles);
    options
}

fn compress(
    ctx: &Context,
    request: &BuildRequest,
    mut disk: File,
    output: &OutputFile,
) -> std::io::Result<()> {
    use std::io::Write as _;

    let length = disk.metadata()?.len();
    let task =
        ctx.task(format!("compress {}", output.target().display()), Unit::Bytes, Some(length));
    let mut encoder = encoder(ctx, request, output.file())?;
    let mut buffer = vec![0; CHUNK];
    disk.rewind()?;
    loop {
        ctx.check()?;
        let read = disk.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        encoder.write_all(&buffer[..read])?;
        task.advance(read as u64);
    }
    encoder.finish()?;
    task.done();
    Ok(())
}

//! `flock image`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use flock_core::rootfs::disk::{
    self, Converted, DiskFormat, DiskImage, FileSystem, Inspection, Outcome, PartitionReport,
};
use flock_core::rootfs::output::OutputOptions;
use flock_core::{Context, Error, ErrorKind};
use serde::Serialize;

use super::Session;
use crate::cli::{Convert, Image, ImageFormat, Subformat};
use crate::exit::Exit;
use crate::output::{Result, Style, columns, size};
use crate::terminal::printable;
use crate::{interrupt, progress};

/// What `flock image inspect --json` prints.
#[derive(Debug, Serialize)]
struct Inspected<'a> {
    #[serde(flatten)]
    inspection: &'a Inspection,
    /// Whether no check failed.
    sound: bool,
}

/// What `flock image convert --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    input: &'a Path,
    #[serde(flatten)]
    converted: &'a Converted,
    seconds: f64,
}

pub(crate) fn run(session: &Session, command: &Image) -> Result<Exit> {
    match command {
        Image::Inspect { file } => inspect(session, file),
        Image::Convert(command) => convert(session, command),
    }
}

fn inspect(session: &Session, file: &Path) -> Result<Exit> {
    let ctx = Context::new();
    let (looked, path) = (ctx.clone(), file.to_path_buf());
    let work = interrupt::blocking(move || disk::inspect(&path, &looked));
    let inspection = interrupt::run(&ctx, work)?;
    let sound = inspection.is_sound();
    let report = Inspected { inspection: &inspection, sound };
    session.printer.result(report, || describe(&inspection, session.printer.out))?;
    Ok(if sound { Exit::Done } else { Exit::Failed })
}

fn convert(session: &Session, command: &Convert) -> Result<Exit> {
    refuse_streams(command)?;
    let format = format(command)?;
    let input_format = command.input_format.map(stated);
    let reporter = progress::reporter(session.settings.progress.value, session.printer);
    let ctx = Context::new().with_progress(reporter);
    let options = OutputOptions::default().with_force(command.force).with_sync(!command.no_sync);
    let start = Instant::now();
    let (inner, input, output) = (ctx.clone(), command.file.clone(), command.output.clone());
    let work = interrupt::blocking(move || {
        let image = match input_format {
            Some(format) => DiskImage::open_as(&input, format, &inner)?,
            None => DiskImage::open(&input, &inner)?,
        };
        disk::convert(&image, format, &output, &options, &inner)
    });
    let converted = interrupt::run(&ctx, work).map_err(|error| advise(error, command.force))?;
    let seconds = start.elapsed().as_secs_f64();
    let report = Report { input: &command.file, converted: &converted, seconds };
    session.printer.result(report, || done(&converted, seconds))?;
    Ok(Exit::Done)
}

/// The paths that stand for standard input and output elsewhere: a disk image
/// is read and written back and forth.
fn refuse_streams(command: &Convert) -> Result<(), Error> {
    const STREAM: &str = "-";
    let refuse = |what: &str| {
        Err(Error::new(ErrorKind::InvalidConfig, format!("a disk image cannot be {what}"))
            .hint("name a file; `./-` is one that is called '-'"))
    };
    if command.file == Path::new(STREAM) {
        return refuse("read from standard input: it is read at any place");
    }
    if command.output == Path::new(STREAM) {
        return refuse("written to standard output: it is not written from beginning to end");
    }
    Ok(())
}

/// The format that the input is said to have. The two kinds of VHD are read
/// alike.
fn stated(format: ImageFormat) -> DiskFormat {
    match format {
        ImageFormat::Raw => DiskFormat::Raw,
        ImageFormat::Vhd => DiskFormat::VhdDynamic,
        ImageFormat::Qcow2 => DiskFormat::Qcow2,
    }
}

/// The format that is asked for, or that the output's name says.
fn format(command: &Convert) -> Result<DiskFormat, Error> {
    let named = DiskFormat::from_file_name(&command.output);
    let asked = command.format.map(stated);
    if let (Some(asked), Some(named)) = (asked, named.filter(|named| Some(*named) != asked)) {
        return Err(contradiction(&command.output, asked, named));
    }
    let Some(wanted) = asked.or(named) else {
        let message = format!("'{}' does not say which format is wanted", command.output.display());
        return Err(Error::new(ErrorKind::InvalidConfig, message)
            .hint("`--format raw|vhd|qcow2` does; so do .raw, .img, .vhd and .qcow2"));
    };
    match (wanted, command.subformat) {
        (_, None) => Ok(wanted),
        (DiskFormat::VhdDynamic, Some(Subformat::Dynamic)) => Ok(DiskFormat::VhdDynamic),
        (DiskFormat::VhdDynamic, Some(Subformat::Fixed)) => Ok(DiskFormat::VhdFixed),
        _ => {
            let message = "`--subformat` says how a VHD is stored, and no VHD is to be written";
            Err(Error::new(ErrorKind::InvalidConfig, message)
                .hint("leave it out, or ask for `--format vhd`"))
        }
    }
}

/// The error for an output whose name says another format than is asked for.
fn contradiction(output: &Path, asked: DiskFormat, named: DiskFormat) -> Error {
    let name = |format| match format {
        DiskFormat::VhdFixed | DiskFormat::VhdDynamic => "vhd",
        other => other.as_str(),
    };
    let (asked, named, shown) = (name(asked), name(named), output.display());
    let message = format!("the output {shown} has a name for {named}, not for {asked}");
    Error::new(ErrorKind::InvalidConfig, message)
        .with("path", shown.to_string())
        .with("named_format", named)
        .hint(format!("ask for `--format {named}`, or let the name end in .{asked}"))
}

/// Names the flag that allows an output to be replaced.
fn advise(error: Error, force: bool) -> Error {
    if error.kind() == ErrorKind::AlreadyExists && !force {
        return error.hint("`--force` replaces it");
    }
    error
}

fn done(converted: &Converted, seconds: f64) -> String {
    format!(
        "wrote {}\n  {}, disk of {}, {} of data, file of {}, {seconds:.1} s\n",
        printable(&converted.output.display().to_string()),
        converted.format,
        size(converted.virtual_size),
        size(converted.data),
        size(converted.file_size),
    )
}

fn describe(inspection: &Inspection, style: Style) -> String {
    let mut text = format!("{}\n", style.bold(&printable(&inspection.path.display().to_string())));
    text.push_str(&columns(&rows(inspection), "  "));
    if let Some(table) = &inspection.partition_table {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "partitions ({} {})", table.kind, table.id);
        for partition in &table.partitions {
            text.push_str(&describe_partition(partition));
        }
    }
    text.push_str("checks\n");
    for check in &inspection.checks {
        let outcome = format!("{:7}", check.outcome.to_string());
        let outcome = match check.outcome {
            Outcome::Passed => style.green(&outcome),
            Outcome::Failed => style.red(&outcome),
            _ => style.yellow(&outcome),
        };
        let detail =
            check.detail.as_ref().map(|why| format!(": {}", printable(why))).unwrap_or_default();
        let _ = writeln!(text, "  {outcome}  {}{detail}", check.name);
    }
    text
}

fn rows(inspection: &Inspection) -> Vec<(&'static str, String)> {
    let mut format = inspection.format.to_owned();
    if let Some(detail) = &inspection.detail {
        format.push_str(&format!(", {}", printable(detail)));
    }
    if let Some(compression) = inspection.compression {
        format.push_str(&format!(", compressed with {compression}"));
    }
    let mut rows = vec![("format", format)];
    rows.extend(inspection.virtual_size.map(|bytes| ("disk", sized(bytes))));
    let usage = size(inspection.disk_usage);
    rows.push(("file", format!("{}, uses {usage}", sized(inspection.file_size))));
    rows.extend(inspection.id.map(|id| ("UUID", id.to_string())));
    rows.extend(inspection.blocks.map(|blocks| {
        let (stored, total) = (blocks.stored, blocks.total);
        ("blocks", format!("{stored} of {total} stored, {} each", size(blocks.size)))
    }));
    rows.extend(inspection.file_system.as_ref().map(|one| ("file system", file_system(one))));
    if !inspection.boot.is_empty() {
        rows.push(("boot code", inspection.boot.join(", ")));
    }
    rows
}

fn describe_partition(partition: &PartitionReport) -> String {
    let PartitionReport { number, start, size: bytes, kind, active, .. } = partition;
    let name = partition.name.as_ref().map(|name| format!(" '{}'", printable(name)));
    let name = name.unwrap_or_default();
    let active = if *active { ", active" } else { "" };
    let content = partition.file_system.as_ref().map(file_system).unwrap_or_default();
    let content = if content.is_empty() { content } else { format!(": {content}") };
    format!("  {number}  {} at {start}, {kind}{name}{active}{content}\n", size(*bytes))
}

fn file_system(one: &FileSystem) -> String {
    let mut text = one.kind.to_owned();
    if let Some(label) = &one.label {
        text.push_str(&format!(" '{}'", printable(label)));
    }
    if let Some(uuid) = &one.uuid {
        text.push_str(&format!(" {uuid}"));
    }
    if let (Some(bytes), Some(free)) = (one.size, one.free) {
        text.push_str(&format!(", {} with {} free", size(bytes), size(free)));
    }
    if !one.features.is_empty() {
        text.push_str(&format!(" ({})", one.features.join(" ")));
    }
    text
}

/// A size for people and for programs.
fn sized(bytes: u64) -> String {
    match bytes {
        0..1024 => size(bytes),
        _ => format!("{} ({bytes} bytes)", size(bytes)),
    }
}

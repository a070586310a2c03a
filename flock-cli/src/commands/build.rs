//! `flock build`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use flock_core::appliance::{self, BuildRequest, Built};
use flock_core::image_builder::ApplianceFormat;
use flock_core::rootfs::compress::{CompressionSettings, Format};
use flock_core::rootfs::{Bootloader, DiskLayout};
use flock_core::{Context, Error, ErrorKind};
use serde::Serialize;

use super::{Session, app};
use crate::cli::Build;
use crate::exit::Exit;
use crate::output::{Result, columns, size};
use crate::{interrupt, progress};

/// What `flock build --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    app: &'a str,
    #[serde(flatten)]
    built: &'a Built,
    /// The bytes of the output's path in hexadecimal, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_hex: Option<String>,
    seconds: f64,
}

impl<'a> Report<'a> {
    fn new(app: &'a str, built: &'a Built, took: Duration) -> Self {
        let output_hex = hex_unless_text(&built.output);
        Self { app, built, output_hex, seconds: took.as_secs_f64() }
    }
}

/// What `flock build --dry-run --json` prints.
#[derive(Debug, Serialize)]
struct Plan<'a> {
    dry_run: bool,
    /// Whether the output is there already.
    output_exists: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_hex: Option<String>,
    plan: &'a BuildRequest,
}

/// The path that stands for standard output, as for tar and others.
const STDOUT: &str = "-";

pub(crate) fn run(session: &Session, command: &Build) -> Result<Exit> {
    let app = app::open(&command.app)?;
    let mut request =
        BuildRequest::from_app(&app, &session.settings)?.with_format(command.kind.into());
    if let Some(compression) = command.compression {
        request = request.with_compression(compression);
    }
    if let Some(output) = &command.output {
        request = request.with_output(output);
    }
    let request = request
        .with_force(command.force)
        .with_sync(!command.no_sync)
        .with_source_date_epoch(source_date_epoch()?);
    let streams = request.output == Path::new(STDOUT);
    warn_of_memory(session, &request);
    if command.dry_run {
        return dry_run(session, &request, streams);
    }
    let reporter = progress::reporter(session.settings.progress.value, session.printer);
    let ctx = Context::new().with_progress(reporter);
    if streams { stream(session, &ctx, &request) } else { build(session, &ctx, &request) }
}

/// Tells of a bound that cannot be kept: one thread must compress.
fn warn_of_memory(session: &Session, request: &BuildRequest) {
    let needed = CompressionSettings::new(request.compression).thread_memory();
    let Some(allowed) = request.memory.filter(|allowed| *allowed < needed) else { return };
    session.printer.warning(&format!(
        "compressing with {} takes {}, more than the {} of `memory`",
        request.compression,
        size(needed),
        size(allowed)
    ));
}

/// Shows the plan where there is one: also for an output that is there.
fn dry_run(session: &Session, request: &BuildRequest, streams: bool) -> Result<Exit> {
    let checked = match streams {
        true => request.check_inputs().and_then(|()| request.check_streams()),
        false => request.check(),
    };
    let exists = match &checked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => true,
        Err(error) => return Err(advise(error.clone(), request).into()),
        Ok(()) => !streams && request.output.exists(),
    };
    request.check_programs()?;
    let output_hex = hex_unless_text(&request.output);
    let plan = Plan { dry_run: true, output_exists: exists, output_hex, plan: request };
    session.printer.result(plan, || describe(request, exists))?;
    checked.map_err(|error| advise(error, request))?;
    Ok(Exit::Done)
}

fn build(session: &Session, ctx: &Context, request: &BuildRequest) -> Result<Exit> {
    let start = Instant::now();
    let built = interrupt::run(ctx, appliance::build(ctx, request))
        .map_err(|error| advise(error, request))?;
    let took = start.elapsed();
    let report = Report::new(&request.app, &built, took);
    session.printer.result(report, || done(&built, took))?;
    if !session.printer.json {
        next(session, request, &built);
    }
    Ok(Exit::Done)
}

/// Builds into standard output, and reports on standard error.
fn stream(session: &Session, ctx: &Context, request: &BuildRequest) -> Result<Exit> {
    let refuse = |message: &str| Error::new(ErrorKind::InvalidConfig, message);
    if session.printer.json {
        let message = "the appliance and the report both want standard output";
        return Err(refuse(message).hint("leave out `--json`, or write to a file").into());
    }
    let stdout = io::stdout();
    if stdout.is_terminal() {
        let hint = "send it on, as in `flock build APP -o - | tar tv`, or name a file";
        return Err(refuse("an appliance is not for a terminal").hint(hint).into());
    }
    let out = stdout.as_fd().try_clone_to_owned().map(File::from);
    let out = out.map_err(|source| Error::io("write", Path::new("standard output"), source))?;
    let start = Instant::now();
    let built = interrupt::run(ctx, appliance::build_to(ctx, request, out))
        .map_err(|error| advise(error, request))?;
    session.printer.note(done(&built, start.elapsed()).trim_end());
    Ok(Exit::Done)
}

/// The bytes of a path that JSON cannot hold, in hexadecimal.
fn hex_unless_text(path: &Path) -> Option<String> {
    if path.to_str().is_some() {
        return None;
    }
    Some(path.as_os_str().as_encoded_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The time of what flock itself puts into an appliance, see
/// <https://reproducible-builds.org/specs/source-date-epoch/>.
fn source_date_epoch() -> Result<Option<i64>, Error> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    let Some(text) = std::env::var_os(NAME).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.to_str().and_then(|text| text.parse().ok()) {
        Some(seconds) if seconds >= 0 => Ok(Some(seconds)),
        _ => {
            let message = format!("{NAME}: {} is not a number of seconds", text.display());
            Err(Error::new(ErrorKind::InvalidConfig, message).hint("for example 1700000000"))
        }
    }
}

/// Names the flags that help.
fn advise(error: Error, request: &BuildRequest) -> Error {
    let is_output = error.context_value("path").map(Path::new) == Some(&request.output);
    match error.kind() {
        ErrorKind::AlreadyExists if !request.force => {
            error.hint("`--force` replaces it, `--output PATH` writes elsewhere")
        }
        ErrorKind::InvalidConfig if is_output && is_sink(&request.output) => {
            let shown = request.output.display();
            error.hint(format!("`--output - > {shown}` sends the appliance there"))
        }
        _ => name_the_keys(error, request),
    }
}

/// Names the flag or the keys of `build.disk` that an error of a disk is about.
fn name_the_keys(error: Error, request: &BuildRequest) -> Error {
    if error.context_value("size_bytes").is_some() {
        return match request.disk.size {
            Some(_) => error.hint("`build.disk.size` in config.yaml says how large the disk is"),
            None => error,
        };
    }
    if error.context_value("boot").is_some() {
        return error.hint(
            "in config.yaml: `build.disk.layout: bare`, or `build.disk.bootloader: none` for a \
             disk of data",
        );
    }
    match error.context_value("named_format").map(str::to_owned).as_deref() {
        Some("tar") => error.hint("`--type lxc` makes a tar archive"),
        Some(format) => error.hint(format!("`--type {format}` makes one")),
        None => error,
    }
}

/// Whether it is there to be written to, and no file.
fn is_sink(path: &Path) -> bool {
    path.metadata().is_ok_and(|there| !there.is_file() && !there.is_dir())
}

fn describe(request: &BuildRequest, exists: bool) -> String {
    let mut rows = vec![("base", request.base.to_string())];
    rows.extend(request.base_checksum.map(|checksum| ("  checksum", checksum.to_string())));
    for one in &request.applications {
        let reference =
            one.reference.as_ref().map(|text| format!(" at {text}")).unwrap_or_default();
        rows.push(("application", format!("{}{reference}", one.repository)));
        rows.push(("  becomes", one.wwwroot.clone()));
    }
    if request.applications.is_empty() {
        rows.push(("application", "none: the base alone".to_owned()));
    }
    if !request.exclude.is_empty() {
        rows.push(("left out", request.exclude.join(", ")));
    }
    if !request.inject.is_empty() {
        let host = usize::from(request.inject.hostname.is_some());
        let count = host + request.inject.contents().count();
        rows.push(("put in", format!("{count} files")));
    }
    if request.format != ApplianceFormat::Tar {
        let disk = &request.disk;
        rows.push(("disk", format!("{}, layout {}", request.format, disk.layout)));
        rows.push(("  boot loader", disk.bootloader.to_string()));
        rows.extend(disk.size.map(|bytes| ("  size", size(bytes))));
    }
    rows.push(("compression", request.compression.to_string()));
    let there = match (exists, request.force) {
        (false, _) => "",
        (true, true) => " (there already, to be replaced)",
        (true, false) => " (there already)",
    };
    rows.push(("output", format!("{}{there}", shown(&request.output))));
    format!("{} would be built, nothing is done\n{}", request.app, columns(&rows, "  "))
}

/// The output as a person would say it.
fn shown(output: &Path) -> String {
    match output {
        output if output == Path::new(STDOUT) => "standard output".to_owned(),
        output => output.display().to_string(),
    }
}

fn done(built: &Built, took: Duration) -> String {
    let mut text = format!("built {}\n", shown(&built.output));
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "  {}, {} entries, compression {}, {:.1} s",
        size(built.size),
        built.entries,
        built.compression,
        took.as_secs_f64()
    );
    text
}

/// What to do with it now.
fn next(session: &Session, request: &BuildRequest, built: &Built) {
    // With -C the shell is somewhere else than flock.
    let absolute = std::path::absolute(&built.output).ok().filter(|_| session.moved);
    let output = absolute.unwrap_or_else(|| built.output.clone());
    let output = output.display();
    let lines = match built.format {
        ApplianceFormat::Tar => vec![
            format!("  list it:            tar tvf {output}"),
            format!("  unpack it, as root: tar xpf {output} --numeric-owner -C DIR"),
        ],
        _ if boots(request) => vec![
            format!("  look into it: flock image inspect {output}"),
            format!("  start it:     {}", qemu(built.format, &output.to_string())),
            "                (where KVM hangs, with `-accel tcg` alone)".to_owned(),
        ],
        _ => vec![format!("  look into it: flock image inspect {output}")],
    };
    session.printer.note("Next:");
    lines.iter().for_each(|line| session.printer.note(line));
}

/// Whether the disk starts as it lies there.
fn boots(request: &BuildRequest) -> bool {
    request.compression == Format::None
        && request.disk.bootloader != Bootloader::None
        && request.disk.layout != DiskLayout::Bare
}

/// How QEMU starts the disk, with its console in the terminal.
fn qemu(format: ApplianceFormat, output: &str) -> String {
    let format = if format == ApplianceFormat::Vhd { "vpc".to_owned() } else { format.to_string() };
    format!(
        "qemu-system-x86_64 -accel kvm -accel tcg -m 1G -nographic -snapshot \\\n      \
         -drive file={output},format={format},if=virtio"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the documentation is this document.
    #[test]
    fn the_report_is_documented() {
        let built = Built::new("site/site.tar.zst", 51_380_224, 8_312, Format::ZSTD);
        let report = Report::new("site", &built, Duration::from_millis(2500));
        super::super::is_documented(report);
    }
}

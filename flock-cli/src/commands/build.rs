//! `flock build`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flock_core::appliance::{self, BuildRequest, Built};
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
    seconds: f64,
}

/// What `flock build --dry-run --json` prints.
#[derive(Debug, Serialize)]
struct Plan<'a> {
    dry_run: bool,
    plan: &'a BuildRequest,
}

pub(crate) fn run(session: &Session, command: &Build) -> Result<Exit> {
    let app = app::open(&command.app)?;
    let mut request = BuildRequest::from_app(&app, &session.settings)?;
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
    request.check().map_err(|error| advise(error, command.force))?;
    if command.dry_run {
        let plan = Plan { dry_run: true, plan: &request };
        session.printer.result(plan, || describe(&request))?;
        return Ok(Exit::Done);
    }

    let reporter = progress::reporter(session.settings.progress.value, session.printer);
    let ctx = Context::new().with_progress(reporter);
    let start = Instant::now();
    let built = interrupt::run(&ctx, appliance::build(&ctx, &request))
        .map_err(|error| advise(error, command.force))?;
    let took = start.elapsed();
    let report = Report { app: &request.app, built: &built, seconds: took.as_secs_f64() };
    session.printer.result(report, || done(&built, took))?;
    next(session, &built.output);
    Ok(Exit::Done)
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

/// Names the flag that allows an output to be replaced.
fn advise(error: Error, force: bool) -> Error {
    if error.kind() == ErrorKind::AlreadyExists && !force {
        return error.hint("`--force` replaces it, `--output PATH` writes elsewhere");
    }
    error
}

fn describe(request: &BuildRequest) -> String {
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
    rows.push(("compression", request.compression.to_string()));
    rows.push(("output", request.output.display().to_string()));
    format!("{} would be built, nothing is done\n{}", request.app, columns(&rows, "  "))
}

fn done(built: &Built, took: Duration) -> String {
    let mut text = format!("built {}\n", built.output.display());
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
fn next(session: &Session, output: &Path) {
    // With -C the shell is somewhere else than flock.
    let absolute = std::path::absolute(output).ok().filter(|_| session.moved);
    let output = absolute.unwrap_or_else(|| PathBuf::from(output));
    let output = output.display();
    session.printer.note("Next:");
    session.printer.note(&format!("  list it:            tar tvf {output}"));
    session.printer.note(&format!("  unpack it, as root: tar xpf {output} --numeric-owner -C DIR"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the documentation is this document.
    #[test]
    fn the_report_is_documented() {
        let built = Built::new(
            "site/site.tar.zst",
            51_380_224,
            8_312,
            flock_core::rootfs::compress::Format::ZSTD,
        );
        let report = Report { app: "site", built: &built, seconds: 2.5 };
        let document = crate::output::Document::new(report);
        let json = serde_json::to_string_pretty(&document).unwrap();
        let docs = include_str!("../../../docs/json.md");
        assert!(docs.contains(&format!("```json\n{json}\n```")), "docs/json.md lacks:\n{json}");
    }
}

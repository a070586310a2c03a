//! Fetches, puts the tree together, and writes it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::sources::{Input, Sources};
use super::{BuildRequest, Built, disk, inject};
use crate::app::ApplicationConfig;
use crate::cache::Cache;
use crate::rootfs::compress::{CompressionSettings, Encoder, Format};
use crate::rootfs::decompress::Limits;
use crate::rootfs::output::OutputFile;
use crate::rootfs::source::{self, OpenOptions};
use crate::rootfs::{ReplaceOptions, Sink, SourceIndex, TarSink, Tree, TreeOptions};
use crate::rootfs::{Summary, Written};
use crate::{Context, Error, ErrorKind, Result};

/// Builds the appliance of `request`.
///
/// Nothing is under the output's name before it is complete, and the same
/// inputs give the same bytes. Idempotent with [`BuildRequest::force`], which
/// replaces the output in one step. Cancel-safe: what was fetched stays in
/// the cache, what was written is removed; dropping the future stops the work
/// soon after.
///
/// # Errors
/// - Those of [`BuildRequest::check`], before anything is fetched.
/// - [`ErrorKind::Conflict`] while another build writes the same output.
/// - Those of fetching: [`ErrorKind::Unavailable`],
///   [`ErrorKind::Unauthenticated`], [`ErrorKind::NotFound`] and others.
/// - [`ErrorKind::InvalidData`] for a base or an application that is corrupt,
///   has the wrong checksum or breaks the
///   [rules](crate::rootfs::Tree#rules-for-applications).
/// - [`ErrorKind::QuotaExceeded`] beyond [`BuildRequest::max_size`],
///   [`BuildRequest::max_ratio`] or [`BuildRequest::memory`], and for a full
///   disk, where it can be foreseen before a byte is written.
/// - [`ErrorKind::Cancelled`], [`ErrorKind::Timeout`].
pub async fn build(ctx: &Context, request: &BuildRequest) -> Result<Built> {
    request.check()?;
    let output = OutputFile::create(&request.output, &request.output_options())?;
    run(ctx, request, move |ctx, request, tree| to_file(ctx, request, tree, output)).await
}

/// Builds the appliance of `request` into a stream: standard output, a
/// connection. [`BuildRequest::output`] and what goes with it is not looked
/// at; of [`Built`] it is the output.
///
/// The bytes are those of [`build`]. What reaches the stream is of use only if
/// this succeeds. Cancel-safe as far as `out` is: a write that blocks holds up
/// the end.
///
/// # Errors
/// Those of [`BuildRequest::check_inputs`] and
/// [`BuildRequest::check_streams`], and then as [`build`]; the kinds of
/// [`Error::io`] for writing to `out`.
pub async fn build_to<W: Write + Send + 'static>(
    ctx: &Context,
    request: &BuildRequest,
    out: W,
) -> Result<Built> {
    request.check_inputs()?;
    request.check_streams()?;
    run(ctx, request, move |ctx, request, tree| to_stream(ctx, request, tree, out)).await
}

/// Fetches everything and lets `write` make the appliance of it.
async fn run(
    ctx: &Context,
    request: &BuildRequest,
    write: impl FnOnce(&Context, &BuildRequest, &mut Tree) -> Result<Built> + Send + 'static,
) -> Result<Built> {
    let ctx = ctx.child();
    // Blocking work hears of a dropped future through its context only.
    let _stop = CancelOnDrop(ctx.clone());
    let sources = Sources::fetch(&ctx, request).await?;
    let (request, blocking) = (request.clone(), ctx.clone());
    let work = move || {
        let mut tree = merge(&blocking, &request, &sources)?;
        check_size(&request, &tree.summary())?;
        write(&blocking, &request, &mut tree)
    };
    tokio::task::spawn_blocking(work).await.map_err(|source| {
        Error::new(ErrorKind::Unexpected, "the build stopped in the middle").caused_by(source)
    })?
}

struct CancelOnDrop(Context);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn to_file(
    ctx: &Context,
    request: &BuildRequest,
    tree: &mut Tree,
    output: OutputFile,
) -> Result<Built> {
    let written = if let Some(format) = disk::format(request) {
        disk::write(ctx, request, format, tree, &output)?
    } else if request.compression == Format::None {
        check_space(&output, tree.summary().tar_bytes)?;
        TarSink::to_file(output.file()).with_name(output.target()).write(tree, ctx)?
    } else {
        compress(ctx, request, tree, output.file(), output.target())?
    };
    tree.verify_unchanged()?;
    let size = output.file().metadata().map_err(|e| Error::io("look at", output.path(), e))?.len();
    let path = output.commit()?;
    let built = Built::new(path, size, written.entries, request.compression);
    Ok(built.with_format(request.format))
}

fn to_stream(ctx: &Context, request: &BuildRequest, tree: &Tree, out: impl Write) -> Result<Built> {
    let mut out = Counted { out, bytes: 0 };
    let name = Path::new("the output stream");
    let written = if request.compression == Format::None {
        TarSink::new(&mut out).with_name(name).write(tree, ctx)?
    } else {
        compress(ctx, request, tree, &mut out, name)?
    };
    tree.verify_unchanged()?;
    Ok(Built::new(&request.output, out.bytes, written.entries, request.compression))
}

fn compress(
    ctx: &Context,
    request: &BuildRequest,
    tree: &Tree,
    out: impl Write,
    name: &Path,
) -> Result<Written> {
    let failed = |source| Error::io("write", name, source);
    let encoder = encoder(ctx, request, out).map_err(failed)?;
    let mut sink = TarSink::new(encoder).with_name(name);
    let written = sink.write(tree, ctx)?;
    sink.into_inner().finish().map_err(failed)?;
    Ok(written)
}

/// The compression of the request, on all its threads.
pub(super) fn encoder<W: Write>(
    ctx: &Context,
    request: &BuildRequest,
    out: W,
) -> io::Result<Encoder<W>> {
    let mut settings = CompressionSettings::new(request.compression).with_threads(request.threads);
    if let Some(memory) = request.memory {
        settings = settings.with_memory(memory);
    }
    Ok(Encoder::new(out, &settings)?.with_context(ctx.clone()))
}

/// Counts what a stream takes.
struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The appliance on paper.
fn merge(ctx: &Context, request: &BuildRequest, sources: &Sources) -> Result<Tree> {
    let inputs: Vec<_> = sources.base.iter().chain(&sources.applications).collect();
    let mut layers = open_all(ctx, request, &inputs)?.into_iter();
    // An image of no layers is an empty root file system.
    let empty = || SourceIndex::from_bytes("the empty base", vec![0; 1024], ctx);
    let mut base = layers.by_ref().take(sources.base.len());
    let bottom = base.next().map_or_else(empty, Ok)?;
    if bottom.is_empty() && !sources.base.is_empty() {
        let message = format!("the base {} has no entries", bottom.name());
        let unfinished = "it may be a download that never ended; fetch or make it again";
        return Err(Error::new(ErrorKind::InvalidData, message)
            .hint(bottom.mistaken().unwrap_or(unfinished)));
    }
    let epoch = TreeOptions::default().with_source_date_epoch(request.source_date_epoch);
    let mut tree = Tree::with_options(bottom, &epoch, ctx)?;
    for layer in base {
        tree.overlay(layer, ctx)?;
    }
    for (application, layer) in request.applications.iter().zip(layers) {
        tree.replace(&application.wwwroot, layer, &replace_options(application), ctx)?;
    }
    tree.exclude(&request.exclude)?;
    for file in inject::files(request)? {
        tree.inject(file)?;
    }
    Ok(tree)
}

/// Opens inputs side by side, on as many threads as the request allows:
/// decompressing is what takes time here. The first that fails stops the
/// others.
fn open_all(ctx: &Context, request: &BuildRequest, inputs: &[&Input]) -> Result<Vec<SourceIndex>> {
    let ctx = &ctx.child();
    let options = OpenOptions::new(Cache::at(&request.cache_dir)).with_limits(limits(request));
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let work = || {
        let mut opened = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(input) = inputs.get(at) else { break };
            match open(ctx, input, &options) {
                Ok(layer) => opened.push((at, layer)),
                Err(error) => {
                    let mut first = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    first.get_or_insert(error);
                    ctx.cancel();
                    break;
                }
            }
        }
        opened
    };
    let threads = request.threads.get().min(inputs.len());
    let opened = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results = running.into_iter().map(|thread| thread.join().map_err(|_| lost()));
        results.collect::<Result<Vec<_>>>()
    })?;
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut opened: Vec<_> = opened.into_iter().flatten().collect();
    opened.sort_by_key(|(at, _)| *at);
    Ok(opened.into_iter().map(|(_, layer)| layer).collect())
}

fn limits(request: &BuildRequest) -> Limits {
    let limits =
        Limits::default().with_max_output(request.max_size).with_max_ratio(request.max_ratio);
    match request.memory {
        Some(memory) => limits.with_max_memory(memory),
        None => limits,
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Unexpected, "a thread that reads the inputs panicked")
}

fn open(ctx: &Context, input: &Input, options: &OpenOptions) -> Result<SourceIndex> {
    if input.path.is_dir() {
        return SourceIndex::from_directory(&input.path, ctx);
    }
    let opened = source::open(
        &input.path,
        &options.clone().with_sha256(input.checksum).with_content(input.content),
        ctx,
    )
    .and_then(|plain| SourceIndex::from_tar(&input.path, plain.file, ctx));
    match (opened, &input.download) {
        (Err(error), Some(address)) if error.kind() == ErrorKind::InvalidData => {
            // Kept, it would fail every build until it is too old. What does
            // not let itself be removed is told by the next build again.
            let _ = fs::remove_file(&input.path);
            let error = error.with("address", address.clone());
            Err(error.hint(format!("the next build fetches {address} again")))
        }
        (Err(error), _) => Err(name_the_limit(error)),
        (opened, _) => opened,
    }
}

/// Says what sets the limit that an input went beyond.
fn name_the_limit(error: Error) -> Error {
    let setting = match error.context_value("limit") {
        Some("max_output") => "`build.max_size` in the application's config.yaml",
        Some("max_ratio") => "`build.max_ratio` in the application's config.yaml",
        Some("max_memory") => "the setting `memory` (`--memory`, `FLOCK_MEMORY`)",
        _ => return error,
    };
    error.hint(format!("{setting} is that limit"))
}

fn replace_options(application: &ApplicationConfig) -> ReplaceOptions {
    let strip = usize::try_from(application.strip_components).unwrap_or(usize::MAX);
    let options = ReplaceOptions::default().with_strip_components(strip);
    match application.owner {
        Some(ids) => options.with_owner(ids.uid, ids.gid),
        None => options,
    }
}

fn check_size(request: &BuildRequest, summary: &Summary) -> Result<()> {
    if summary.content_bytes <= request.max_size {
        return Ok(());
    }
    let (bytes, most) = (summary.content_bytes, request.max_size);
    let message = format!("the appliance would hold {bytes} bytes, {most} are allowed");
    Err(Error::new(ErrorKind::QuotaExceeded, message).hint("raise `build.max_size`"))
}

/// Tells of a full disk before it is one. What is not foreseen here, writing
/// finds out.
fn check_space(output: &OutputFile, needed: u64) -> Result<()> {
    let failed = |e: rustix::io::Errno| Error::io("look at the disk of", output.path(), e.into());
    let disk = rustix::fs::fstatvfs(output.file()).map_err(failed)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if needed <= free {
        return Ok(());
    }
    let shown = output.target().display();
    let message = format!("no room for {shown}: it needs {needed} bytes, {free} are free");
    Err(Error::new(ErrorKind::QuotaExceeded, message)
        .with("path", shown.to_string())
        .hint("free some space there, choose another place, or compress"))
}

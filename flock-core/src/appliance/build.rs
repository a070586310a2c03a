//! Fetches, puts the tree together, and writes it.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::sources::{Input, Sources};
use super::{BuildRequest, Built};
use crate::app::{ApplicationConfig, InjectedContent};
use crate::cache::Cache;
use crate::rootfs::compress::{CompressionSettings, Encoder, Format};
use crate::rootfs::decompress::Limits;
use crate::rootfs::output::{OutputFile, OutputOptions};
use crate::rootfs::source::{self, OpenOptions};
use crate::rootfs::{InjectedFile, ReplaceOptions, Sink, SourceIndex, TarSink, Tree, TreeOptions};
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
/// - [`ErrorKind::QuotaExceeded`] beyond [`BuildRequest::max_size`], and for a
///   full disk, where it can be foreseen before a byte is written.
/// - [`ErrorKind::Cancelled`], [`ErrorKind::Timeout`].
pub async fn build(ctx: &Context, request: &BuildRequest) -> Result<Built> {
    let ctx = ctx.child();
    // Blocking work hears of a dropped future through its context only.
    let _stop = CancelOnDrop(ctx.clone());
    request.check()?;
    let options = OutputOptions::default().with_force(request.force).with_sync(request.sync);
    let output = OutputFile::create(&request.output, &options)?;
    let sources = Sources::fetch(&ctx, request).await?;
    let (request, blocking) = (request.clone(), ctx.clone());
    let work = move || assemble(&blocking, &request, &sources, output);
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

fn assemble(
    ctx: &Context,
    request: &BuildRequest,
    sources: &Sources,
    output: OutputFile,
) -> Result<Built> {
    let tree = merge(ctx, request, sources)?;
    let summary = tree.summary();
    check_size(request, &summary)?;
    if request.compression == Format::None {
        check_space(&output, summary.tar_bytes)?;
    }
    let written = write(ctx, request, &tree, &output)?;
    tree.verify_unchanged()?;
    let size = output.file().metadata().map_err(|e| Error::io("look at", output.path(), e))?.len();
    let path = output.commit()?;
    Ok(Built { output: path, size, entries: written.entries, compression: request.compression })
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
        let message = format!("the base {} is empty", bottom.name());
        return Err(Error::new(ErrorKind::InvalidData, message)
            .hint("it may be a download that never ended; fetch or make it again"));
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
    for file in injected(request)? {
        tree.inject(file)?;
    }
    Ok(tree)
}

/// Opens inputs side by side, on as many threads as the request allows:
/// decompressing is what takes time here.
fn open_all(ctx: &Context, request: &BuildRequest, inputs: &[&Input]) -> Result<Vec<SourceIndex>> {
    let limits = Limits::default().with_max_output(request.max_size);
    let options = OpenOptions::new(Cache::at(&request.cache_dir)).with_limits(limits);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut opened = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(input) = inputs.get(at) else { return Ok(opened) };
            opened.push((at, open(ctx, input, &options)?));
        }
    };
    let threads = request.threads.get().min(inputs.len());
    let mut opened = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results = running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost()));
        results.collect::<Result<Vec<_>>>()
    })?
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    opened.sort_by_key(|(at, _)| *at);
    Ok(opened.into_iter().map(|(_, layer)| layer).collect())
}

fn lost<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unexpected, "a thread that reads the inputs panicked"))
}

fn open(ctx: &Context, input: &Input, options: &OpenOptions) -> Result<SourceIndex> {
    if input.path.is_dir() {
        if input.checksum.is_some() {
            let message = format!("{} is a directory and has no checksum", input.path.display());
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .hint("leave the checksum away, or pack the directory as a tar archive"));
        }
        return SourceIndex::from_directory(&input.path, ctx);
    }
    let opened = source::open(&input.path, &options.clone().with_sha256(input.checksum), ctx)
        .and_then(|plain| SourceIndex::from_tar(&input.path, plain.file, ctx));
    match (opened, &input.download) {
        (Err(error), Some(address)) if error.kind() == ErrorKind::InvalidData => {
            // Kept, it would fail every build until it is too old. What does
            // not let itself be removed is told by the next build again.
            let _ = fs::remove_file(&input.path);
            let error = error.with("address", address.clone());
            Err(error.hint(format!("the next build fetches {address} again")))
        }
        (Err(error), _) if error.kind() == ErrorKind::QuotaExceeded => {
            Err(error.hint("`build.max_size` bounds what an archive may unpack to"))
        }
        (opened, _) => opened,
    }
}

fn replace_options(application: &ApplicationConfig) -> ReplaceOptions {
    let strip = usize::try_from(application.strip_components).unwrap_or(usize::MAX);
    let options = ReplaceOptions::default().with_strip_components(strip);
    match application.owner {
        Some(ids) => options.with_owner(ids.uid, ids.gid),
        None => options,
    }
}

/// The files that the request puts in.
fn injected(request: &BuildRequest) -> Result<Vec<InjectedFile>> {
    let root = |path: &str, mode, content| InjectedFile {
        path: path.to_owned(),
        content,
        mode,
        uid: 0,
        gid: 0,
    };
    let inject = &request.inject;
    let mut files = Vec::new();
    if let Some(name) = &inject.hostname {
        files.push(root("/etc/hostname", 0o644, format!("{name}\n").into_bytes()));
    }
    if let Some(content) = &inject.resolv_conf {
        files.push(root("/etc/resolv.conf", 0o644, read(content)?));
    }
    if !inject.authorized_keys.is_empty() {
        let mut keys = Vec::new();
        for content in &inject.authorized_keys {
            let key = read(content)?;
            check_public(&key, content)?;
            keys.extend(key);
            if !keys.ends_with(b"\n") {
                keys.push(b'\n');
            }
        }
        files.push(root("/root/.ssh/authorized_keys", 0o600, keys));
    }
    for file in &inject.files {
        let (mode, owner) = (file.mode, file.owner);
        let content = read(&file.content)?;
        let path = file.path.clone();
        files.push(InjectedFile { path, content, mode, uid: owner.uid, gid: owner.gid });
    }
    Ok(files)
}

/// Refuses what is no list of public keys: a private one in its place would
/// be shipped with the appliance. (Format: sshd(8), "AUTHORIZED_KEYS FILE
/// FORMAT".)
fn check_public(key: &[u8], content: &InjectedContent) -> Result<()> {
    let is_type = |word: &str| {
        ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|kind| word.starts_with(kind))
    };
    let is_public = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line.split_whitespace().any(is_type)
    };
    if std::str::from_utf8(key).is_ok_and(|text| text.lines().all(is_public)) {
        return Ok(());
    }
    let what = match content {
        InjectedContent::Inline(_) => "an entry of `authorized_keys`".to_owned(),
        InjectedContent::File(path) => path.display().to_string(),
    };
    let message = format!("{what} holds something that is not a public SSH key");
    Err(Error::new(ErrorKind::InvalidConfig, message)
        .hint("name the public half, which ends in .pub"))
}

/// Files that are put in are read whole: they are settings, not data.
const MAX_INJECTED: u64 = 64 << 20;

fn read(content: &InjectedContent) -> Result<Vec<u8>> {
    let path = match content {
        InjectedContent::Inline(text) => return Ok(text.clone().into_bytes()),
        InjectedContent::File(path) => path,
    };
    let failed = |source| Error::io("read", path, source);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_file() && metadata.len() <= MAX_INJECTED {
        return fs::read(path).map_err(failed);
    }
    let message = format!("{} is not a file of at most 64 MiB", path.display());
    Err(Error::new(ErrorKind::InvalidConfig, message)
        .hint("put larger things in as an application"))
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

fn write(
    ctx: &Context,
    request: &BuildRequest,
    tree: &Tree,
    output: &OutputFile,
) -> Result<Written> {
    if request.compression == Format::None {
        return TarSink::to_file(output.file()).with_name(output.target()).write(tree, ctx);
    }
    let failed = |source| Error::io("write", output.path(), source);
    let settings = CompressionSettings::new(request.compression).with_threads(request.threads);
    let encoder = Encoder::new(output.file(), &settings).map_err(failed)?.with_context(ctx.clone());
    let mut sink = TarSink::new(encoder).with_name(output.target());
    let written = sink.write(tree, ctx)?;
    sink.into_inner().finish().map_err(failed)?;
    Ok(written)
}

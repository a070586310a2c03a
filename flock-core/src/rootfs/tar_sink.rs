//! The tree as a tar archive.

mod output;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use self::output::{Output, Range, Writer};
use super::entry::{Entry, EntryKind, ExtentSource};
use super::index::SourceIndex;
use super::name;
use super::sink::{Sink, Written};
use super::tar::{BLOCK, Segment, Spec, write_header};
use super::tree::{Entries, Step, Tree};
use crate::progress::Unit;
use crate::{Context, Error, Result};

/// A tar's length is a multiple of this, as GNU tar writes it.
const RECORD: u64 = 20 * BLOCK as u64;
/// How much is gathered before it is written.
const BUFFER: usize = 256 << 10;
/// What is shorter goes through the buffer, not through a call of its own.
const SMALL: u64 = 64 << 10;

/// Writes a tree as a tar archive: POSIX ustar, and pax where that is too
/// narrow, ended by two zero blocks and padded to 10,240 bytes.
///
/// Entries that no rule changed are copied block for block from the tar they
/// came from, neighbours in one go, so their headers stay as they were
/// written. Into a plain file this is `copy_file_range`, where the system
/// offers it. The bytes depend on the tree alone, not on the way they took.
///
/// What is written anew: everything from directories, applications and flock
/// itself; names that led through a symbolic link; hard links whose target
/// changed; entries under a global pax header other than a comment; and, with
/// [`source_date_epoch`](super::TreeOptions::source_date_epoch), entries that
/// are newer. Sparse files stay sparse (PAX 1.0).
///
/// ```no_run
/// use std::fs::File;
/// use std::path::Path;
///
/// use flock_core::rootfs::{SourceIndex, ReplaceOptions, Sink, TarSink, Tree};
/// use flock_core::{Context, Error, Result};
///
/// fn main() -> Result<()> {
///     let ctx = Context::new();
///     let open = |path: &Path| File::open(path).map_err(|error| Error::io("open", path, error));
///     let base = Path::new("debian.tar");
///     let mut tree = Tree::new(SourceIndex::from_tar(base, open(base)?, &ctx)?, &ctx)?;
///     let site = SourceIndex::from_directory(Path::new("site"), &ctx)?;
///     tree.replace("/var/www/html", site, &ReplaceOptions::default(), &ctx)?;
///
///     let output = Path::new("web.tar");
///     let file = File::create(output).map_err(|error| Error::io("create", output, error))?;
///     let written = TarSink::to_file(file).with_name(output).write(&tree, &ctx)?;
///     assert!(written.entries > 0);
///     Ok(())
/// }
/// ```
pub struct TarSink<W> {
    out: W,
    fd: Option<Descriptor<W>>,
    name: String,
}

type Descriptor<W> = for<'a> fn(&'a W) -> BorrowedFd<'a>;

impl<W: Write> TarSink<W> {
    /// Writes to anything, for example an encoder, in blocks of 256 KiB.
    pub fn new(out: W) -> Self {
        Self { out, fd: None, name: "the tar archive".to_owned() }
    }

    /// Writes to a plain file, from its current position.
    pub fn to_file(out: W) -> Self
    where
        W: AsFd,
    {
        Self { fd: Some(W::as_fd), ..Self::new(out) }
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

impl<W> std::fmt::Debug for TarSink<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TarSink").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<W: Write> Sink for TarSink<W> {
    fn write(&mut self, tree: &Tree, ctx: &Context) -> Result<Written> {
        let total = tree.summary().tar_bytes.next_multiple_of(RECORD);
        let task = ctx.task(format!("write {}", self.name), Unit::Bytes, Some(total));
        let written = match self.fd {
            Some(fd) => {
                let failed = |error| Error::io("write", Path::new(&self.name), error);
                let file = fd(&self.out).try_clone_to_owned().map_err(failed)?;
                let writer = Writer::to_file(File::from(file), &self.name, ctx, &task);
                writer.while_making(|queue| write_archive(tree, ctx, queue))?
            }
            None => {
                let mut writer = Writer::new(&mut self.out, &self.name, ctx, &task);
                let written = write_archive(tree, ctx, &mut writer)?;
                writer.flush()?;
                written
            }
        };
        task.done();
        Ok(written)
    }
}

fn write_archive<O: Output>(tree: &Tree, ctx: &Context, output: &mut O) -> Result<Written> {
    let mut archive = Archive::new(output, tree.is_dotted());
    let mut entries = tree.entries();
    let mut count = 0u64;
    while let Some(step) = entries.step() {
        match step? {
            Step::Raw { layer, layer_id, start, length } => {
                archive.raw(layer, layer_id, start, length)?;
            }
            Step::Encode(entry) => archive.entry(&entry, &entries)?,
        }
        count += 1;
        if count.is_multiple_of(1024) {
            ctx.check()?;
        }
    }
    Ok(Written { entries: count, bytes: archive.finish()? })
}

/// A stretch of a layer that is to be copied.
struct Pending<'t> {
    layer: &'t SourceIndex,
    layer_id: u16,
    start: u64,
    length: u64,
}

/// A tar archive being written.
struct Archive<'t, O> {
    output: &'t mut O,
    dotted: bool,
    /// What was gathered and not yet written.
    buffer: Vec<u8>,
    /// What is to be copied behind the buffer, while it may still grow.
    pending: Option<Pending<'t>>,
    /// The length of the archive so far, gathered bytes included.
    length: u64,
}

impl<'t, O: Output> Archive<'t, O> {
    fn new(output: &'t mut O, dotted: bool) -> Self {
        let buffer = Vec::with_capacity(2 * BUFFER);
        Self { output, dotted, buffer, pending: None, length: 0 }
    }

    /// Copies blocks of a layer as they are.
    fn raw(
        &mut self,
        layer: &'t SourceIndex,
        layer_id: u16,
        start: u64,
        length: u64,
    ) -> Result<()> {
        match &mut self.pending {
            Some(range) if range.layer_id == layer_id && range.start + range.length == start => {
                range.length += length;
                Ok(())
            }
            _ => {
                self.settle()?;
                self.pending = Some(Pending { layer, layer_id, start, length });
                Ok(())
            }
        }
    }

    /// Writes an entry with a new header.
    fn entry(&mut self, entry: &Entry, entries: &Entries<'_>) -> Result<()> {
        self.settle()?;
        let before = self.buffer.len();
        let path = self.written_path(&entry.path, entry.kind == EntryKind::Directory);
        let hardlink = match &entry.kind {
            EntryKind::Hardlink { target } => self.written_path(target, false),
            _ => Vec::new(),
        };
        let map = sparse_map(entry);
        let spec = Spec {
            path: &path,
            kind: &entry.kind,
            hardlink: &hardlink,
            metadata: &entry.metadata,
            map: map.as_deref(),
        };
        write_header(&mut self.buffer, &spec);
        self.length += (self.buffer.len() - before) as u64;
        let mut stored = 0;
        for extent in &entry.content.extents {
            stored += extent.length;
            match entries.data_at_hand(extent) {
                Some(bytes) => {
                    self.length += extent.length;
                    self.buffer.extend_from_slice(bytes);
                    self.flush_if_full()?;
                }
                None => self.copy(&extent.source, extent.length, || name::show(&entry.path))?,
            }
        }
        let padding = stored.next_multiple_of(BLOCK as u64) - stored;
        self.zeros(padding)
    }

    /// Ends the archive; its length in bytes.
    fn finish(mut self) -> Result<u64> {
        self.settle()?;
        let end = (self.length + 2 * BLOCK as u64).next_multiple_of(RECORD);
        self.zeros(end - self.length)?;
        self.flush()?;
        Ok(self.length)
    }

    /// A path as it stands in the archive, in the manner of the base.
    fn written_path(&self, path: &[u8], is_directory: bool) -> Vec<u8> {
        let mut written = Vec::with_capacity(path.len() + 3);
        if self.dotted || path.is_empty() {
            written.extend_from_slice(b"./");
        }
        written.extend_from_slice(path);
        if is_directory && !written.ends_with(b"/") {
            written.push(b'/');
        }
        written
    }

    fn zeros(&mut self, count: u64) -> Result<()> {
        self.length += count;
        // At most a record: padding is all that is written so.
        self.buffer.extend(std::iter::repeat_n(0, usize::try_from(count).unwrap_or(0)));
        self.flush_if_full()
    }

    /// Copies what is pending.
    fn settle(&mut self) -> Result<()> {
        let Some(range) = self.pending.take() else { return Ok(()) };
        let Some(source) = range.layer.stretch(range.start) else { return Ok(()) };
        self.copy(&source, range.length, || range.layer.name().to_owned())
    }

    /// Copies from a source behind what was gathered.
    fn copy(
        &mut self,
        source: &ExtentSource,
        length: u64,
        name: impl FnOnce() -> String,
    ) -> Result<()> {
        let at = self.length;
        self.length += length;
        if length >= SMALL {
            self.flush()?;
            let (source, name) = (source.clone(), name());
            return self.output.range(Range { source, length, at, name });
        }
        let before = self.buffer.len();
        self.buffer.resize(before + usize::try_from(length).unwrap_or(0), 0);
        output::read(source, 0, &mut self.buffer[before..], name)?;
        self.flush_if_full()
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() < BUFFER { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.output.bytes(&mut self.buffer) }
    }
}

/// The map of a file that has holes.
fn sparse_map(entry: &Entry) -> Option<Vec<Segment>> {
    let content = &entry.content;
    let stored: u64 = content.extents.iter().map(|extent| extent.length).sum();
    let segment =
        |extent: &super::entry::Extent| Segment { offset: extent.offset, length: extent.length };
    (stored < content.size).then(|| content.extents.iter().map(segment).collect())
}

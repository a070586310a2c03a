//! What a tar or a directory holds, known without reading the contents.

mod indexed;
mod mistaken;

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use self::indexed::flags;
pub(crate) use self::indexed::{ACL_TEXT, CAPABILITY, Indexed, Kind};
use super::directory::Directory;
use super::entry::{Content, EntryKind, Extent, ExtentSource};
use super::name::{self, BadName};
use super::read_at::{ReadAt, Window};
use super::tar::{Fault, Member, Problem, Reader, Record};
use crate::progress::Unit;
use crate::{Context, Error, ErrorKind, Result};

/// How much is read at once where one small entry follows the other.
const WINDOW: usize = 4 << 10;
/// How long a file may be to be read rather than skipped on the way.
const TINY: u64 = 1 << 10;
/// How much is read at once when small entries are read again in order.
const WINDOW_AGAIN: usize = 64 << 10;

/// The index of one source of entries: a plain tar, or a directory on disk.
///
/// Only headers are read, contents are skipped: a base of a few gigabytes is
/// indexed in milliseconds once its headers are in the page cache. An entry
/// takes about 50 bytes and its name. Everything else about it is read again
/// when a sink asks.
///
/// Names are kept without leading `./` and `/`, trailing `/` and empty
/// components. An archive is refused as [`ErrorKind::InvalidData`] if
/// - a header is not one (checksum), or a number in it cannot be meant,
/// - it ends early, or without the zero block that ends every archive,
/// - a name or hard link has a `..` component, a NUL byte or more than 4,095
///   bytes, or a symbolic link has an empty target,
/// - extended headers take more than 1 MiB for one entry, or it has more than
///   1,024 extended attributes,
/// - a sparse file's map is wrong or longer than 1,048,576 segments.
///
/// A hard link has no data, whatever the size in its header (as GNU tar
/// reads it); whatever follows the end mark is ignored. Of the times only that
/// of modification counts: the `atime` and `ctime` of a pax header are carried
/// along as any record that flock has no use for, whatever is in them.
/// Extended attributes are also read from libarchive's own records
/// (`LIBARCHIVE.xattr.`), and then written as everybody reads them.
pub struct SourceIndex {
    name: String,
    source: Source,
    entries: Vec<Indexed>,
    names: Vec<u8>,
    /// Records of global headers, each with the first entry it applies to.
    globals: Vec<(usize, Vec<Record>)>,
    newest: Option<i64>,
    dotted: bool,
}

enum Source {
    Tar { file: Arc<File>, size: u64, stamp: Stamp },
    Memory(Arc<[u8]>),
    Directory(Directory),
}

/// What changes when a file is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    mtime: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> std::io::Result<Self> {
        let metadata = file.metadata()?;
        let mtime = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Self { size: metadata.len(), mtime })
    }
}

impl SourceIndex {
    /// Indexes a plain tar. `path` is only its name in messages.
    ///
    /// The file must not change while the layer is in use; see
    /// [`Tree::verify_unchanged`](super::Tree::verify_unchanged).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] if it is not a complete tar, with the offset
    /// in context; [`ErrorKind::Unsupported`] for a part of a multi-volume
    /// archive; kinds of [`Error::io`]; [`ErrorKind::Cancelled`] and
    /// [`ErrorKind::Timeout`] by `ctx`.
    pub fn from_tar(path: &Path, file: File, ctx: &Context) -> Result<Self> {
        let size = file.size().map_err(|error| Error::io("read", path, error))?;
        let stamp = Stamp::of(&file).map_err(|error| Error::io("look at", path, error))?;
        let source = Source::Tar { file: Arc::new(file), size, stamp };
        Self::index(path.display().to_string(), source, ctx)
    }

    /// Indexes a plain tar in memory, `name` being its name in messages.
    ///
    /// # Errors
    /// As [`SourceIndex::from_tar`].
    pub fn from_bytes(name: &str, bytes: impl Into<Arc<[u8]>>, ctx: &Context) -> Result<Self> {
        Self::index(name.to_owned(), Source::Memory(bytes.into()), ctx)
    }

    /// Indexes a directory on disk with everything in it, in the order of the
    /// names' bytes: owners as numbers, modes, times, hard links among its
    /// files, extended attributes. The directory itself is an entry too.
    ///
    /// Sockets are left out with a message. Holes of sparse files become
    /// zeros. Files must not change while the layer is in use.
    ///
    /// # Errors
    /// Kinds of [`Error::io`]; [`ErrorKind::InvalidConfig`] if it is no
    /// directory; [`ErrorKind::Cancelled`] and [`ErrorKind::Timeout`] by `ctx`.
    pub fn from_directory(path: &Path, ctx: &Context) -> Result<Self> {
        let mut layer = Self::empty(path.display().to_string(), Source::Memory(Arc::from([])));
        let directory = Directory::new(path)?;
        directory.walk(ctx, &mut |member| layer.add(&member))?;
        layer.source = Source::Directory(directory);
        Ok(layer)
    }

    /// Fails if the tar was written to since it was indexed.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`]; those of looking at the file.
    pub(crate) fn verify_unchanged(&self) -> Result<()> {
        let Source::Tar { file, stamp, .. } = &self.source else { return Ok(()) };
        let path = Path::new(&self.name);
        let now = Stamp::of(file).map_err(|error| Error::io("look at", path, error))?;
        if now == *stamp {
            return Ok(());
        }
        let message = format!("{} was changed while it was read", self.name);
        Err(Error::new(ErrorKind::Conflict, message)
            .with("path", self.name.clone())
            .hint("try again when nothing writes to it"))
    }

    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn empty(name: String, source: Source) -> Self {
        Self {
            name,
            source,
            entries: Vec::new(),
            names: Vec::new(),
            globals: Vec::new(),
            newest: None,
            dotted: false,
        }
    }

    fn index(name: String, source: Source, ctx: &Context) -> Result<Self> {
        let mut layer = Self::empty(name, source);
        let task = ctx.task(format!("index {}", layer.name), Unit::Items, None);
        match &layer.source {
            Source::Tar { file, size, .. } => {
                let (file, size) = (Arc::clone(file), *size);
                layer.scan(file.as_ref(), size, ctx)?;
            }
            Source::Memory(bytes) => {
                let bytes = Arc::clone(bytes);
                layer.scan(bytes.as_ref(), bytes.len() as u64, ctx)?;
            }
            Source::Directory(_) => {}
        }
        layer.entries.shrink_to_fit();
        layer.names.shrink_to_fit();
        task.advance(layer.entries.len() as u64);
        task.done();
        Ok(layer)
    }

    fn scan<R: ReadAt + ?Sized>(&mut self, source: &R, size: u64, ctx: &Context) -> Result<()> {
        let mut window = Window::new(WINDOW);
        let mut reader = Reader::new(source, &mut window, size, 0, Vec::new());
        loop {
            let member = match reader.next() {
                Ok(Some(member)) => member,
                Ok(None) => return Ok(()),
                Err(fault) => return Err(self.fault(fault, source)),
            };
            if self.entries.is_empty() {
                self.dotted = member.path.starts_with(b"./");
            }
            if self.globals.last().map_or(&[][..], |(_, records)| records) != reader.globals() {
                self.globals.push((self.entries.len(), reader.globals().to_vec()));
            }
            self.add(&member)?;
            // The next headers are likely as long as these; content that is
            // skipped anyway is not worth reading.
            let header = usize::try_from(member.data - member.start).unwrap_or(WINDOW);
            reader.expect(if member.stored <= TINY { WINDOW } else { header });
            if self.entries.len().is_multiple_of(1024) {
                ctx.check()?;
            }
        }
    }

    /// Adds a member to the index, once its names are found usable.
    fn add(&mut self, member: &Member) -> Result<()> {
        let bad =
            |why: BadName| self.bad_entry(member, &format!("has a name flock refuses: {why}"));
        let path = name::normalize(&member.path).map_err(bad)?;
        let (kind, link) = match &member.kind {
            EntryKind::File { .. } => (Kind::File, Vec::new()),
            EntryKind::Directory => (Kind::Directory, Vec::new()),
            EntryKind::Symlink { target } => (Kind::Symlink, symlink_target(target).map_err(bad)?),
            EntryKind::Hardlink { target } => {
                (Kind::Hardlink, name::normalize(target).map_err(bad)?)
            }
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => {
                (Kind::Device, Vec::new())
            }
            EntryKind::Fifo => (Kind::Fifo, Vec::new()),
        };
        if path.is_empty() && kind != Kind::Directory {
            return Err(self.bad_entry(member, "has no name"));
        }
        if link.is_empty() && matches!(kind, Kind::Symlink | Kind::Hardlink) {
            return Err(self.bad_entry(member, "links to nothing"));
        }
        let too_large = || self.bad_entry(member, "is one too many: the names fill 4 GiB");
        let size = match member.kind {
            EntryKind::File { size } => size,
            _ => 0,
        };
        self.entries.push(Indexed {
            name: u32::try_from(self.names.len()).map_err(|_| too_large())?,
            name_length: u16::try_from(path.len()).map_err(|_| too_large())?,
            link_length: u16::try_from(link.len()).map_err(|_| too_large())?,
            header_length: u32::try_from(member.data - member.start).map_err(|_| too_large())?,
            kind,
            flags: flags(member),
            start: member.start,
            stored: member.stored,
            size,
            mtime: member.metadata.mtime.seconds,
        });
        self.names.extend_from_slice(&path);
        self.names.extend_from_slice(&link);
        self.newest = self.newest.max(Some(member.metadata.mtime.seconds));
        Ok(())
    }

    /// One entry of the index.
    pub(crate) fn entry(&self, at: usize) -> &Indexed {
        &self.entries[at]
    }

    /// The path of an entry.
    pub(crate) fn path(&self, entry: &Indexed) -> &[u8] {
        let start = entry.name as usize;
        &self.names[start..start + usize::from(entry.name_length)]
    }

    /// What a link points to: as it is written for a symbolic link, a path in
    /// the layer for a hard link.
    pub(crate) fn link(&self, entry: &Indexed) -> &[u8] {
        let start = entry.name as usize + usize::from(entry.name_length);
        &self.names[start..start + usize::from(entry.link_length)]
    }

    /// The time of the entry that was modified last, in seconds.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// Whether the names in the tar begin with `./`.
    pub(crate) fn is_dotted(&self) -> bool {
        self.dotted
    }

    /// Whether it is a tar, whose blocks can be copied as they are.
    pub(crate) fn is_tar(&self) -> bool {
        !matches!(self.source, Source::Directory(_))
    }

    /// The bytes of the tar from `offset` on.
    pub(crate) fn stretch(&self, offset: u64) -> Option<ExtentSource> {
        match &self.source {
            Source::Tar { file, .. } => Some(ExtentSource::File { file: Arc::clone(file), offset }),
            Source::Memory(bytes) => Some(ExtentSource::Bytes { bytes: Arc::clone(bytes), offset }),
            Source::Directory(_) => None,
        }
    }

    /// Reads again everything about an entry.
    pub(crate) fn member(&self, at: usize, window: &mut Window) -> Result<Member> {
        let entry = self.entry(at);
        match &self.source {
            Source::Tar { file, size, .. } => self.reread(at, entry, file.as_ref(), *size, window),
            Source::Memory(bytes) => {
                self.reread(at, entry, bytes.as_ref(), bytes.len() as u64, window)
            }
            Source::Directory(directory) => directory.member(self.path(entry)),
        }
    }

    fn reread<R: ReadAt + ?Sized>(
        &self,
        at: usize,
        entry: &Indexed,
        source: &R,
        size: u64,
        window: &mut Window,
    ) -> Result<Member> {
        let header = entry.header_length as usize;
        let is_small = entry.stored < WINDOW_AGAIN as u64;
        window.set_ahead(if is_small { WINDOW_AGAIN } else { header });
        let globals = self.globals.partition_point(|(first, _)| *first <= at);
        let globals = globals.checked_sub(1).map_or(Vec::new(), |at| self.globals[at].1.clone());
        let member = Reader::new(source, window, size, entry.start, globals)
            .next()
            .map_err(|fault| self.fault(fault, source))?;
        let same = |member: &Member| {
            member.data - member.start == u64::from(entry.header_length)
                && member.stored == entry.stored
        };
        member.filter(same).ok_or_else(|| self.changed())
    }

    /// The content of a file entry, of which `member` was read again.
    pub(crate) fn content(&self, at: usize, member: &Member) -> Result<Content> {
        let entry = self.entry(at);
        let source = |offset| match &self.source {
            Source::Tar { file, .. } => ExtentSource::File { file: Arc::clone(file), offset },
            Source::Memory(bytes) => ExtentSource::Bytes { bytes: Arc::clone(bytes), offset },
            Source::Directory(_) => ExtentSource::Bytes { bytes: Arc::from([]), offset },
        };
        let extents = match (&self.source, &member.map) {
            _ if member.stored == 0 => Vec::new(),
            (Source::Directory(directory), _) => {
                let file = directory.open(self.path(entry), entry.size)?;
                let source = ExtentSource::File { file: Arc::new(file), offset: 0 };
                vec![Extent { offset: 0, length: entry.size, source }]
            }
            (_, None) => {
                vec![Extent { offset: 0, length: member.stored, source: source(member.data) }]
            }
            (_, Some(map)) => {
                let mut position = member.data;
                let place = |segment: &super::tar::Segment| {
                    let source = source(position);
                    position += segment.length;
                    Extent { offset: segment.offset, length: segment.length, source }
                };
                map.iter().map(place).collect()
            }
        };
        Ok(Content { size: entry.size, extents })
    }

    pub(crate) fn changed(&self) -> Error {
        Error::new(ErrorKind::Conflict, format!("{} changed while it was being used", self.name))
            .hint("start again once nobody writes to it any more")
    }

    /// What a source without entries may be instead of an archive.
    pub(crate) fn mistaken(&self) -> Option<&'static str> {
        match &self.source {
            Source::Tar { file, .. } => mistaken::hint(&**file),
            Source::Memory(bytes) => mistaken::hint(&**bytes),
            Source::Directory(_) => None,
        }
    }

    fn bad_entry(&self, member: &Member, what: &str) -> Error {
        let path = name::show(&member.path[..member.path.len().min(200)]);
        let message = format!("cannot use {}: its entry '{path}' {what}", self.name);
        Error::new(ErrorKind::InvalidData, message)
            .with("file", self.name.clone())
            .with("offset", member.start.to_string())
    }

    fn fault<R: ReadAt + ?Sized>(&self, fault: Fault, source: &R) -> Error {
        let kind = match &fault.problem {
            Problem::Io(error) => crate::error::io_kind(error),
            Problem::MultiVolume => ErrorKind::Unsupported,
            _ => ErrorKind::InvalidData,
        };
        let at = fault.offset;
        let message =
            format!("cannot read {} as a tar archive: {} (at byte {at})", self.name, fault.problem);
        let mut error = Error::new(kind, message)
            .with("file", self.name.clone())
            .with("offset", at.to_string());
        if let Some(hint) = mistaken::hint(source) {
            error = error.hint(hint);
        } else if matches!(fault.problem, Problem::Truncated | Problem::NoEndMark) {
            error = error.hint("it seems to be cut off; fetch or make it again");
        }
        match fault.problem {
            Problem::Io(io) => error.caused_by(io),
            _ => error,
        }
    }
}

impl std::fmt::Debug for SourceIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceIndex")
            .field("name", &self.name)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

fn symlink_target(target: &[u8]) -> Result<Vec<u8>, BadName> {
    match target {
        _ if target.contains(&0) => Err(BadName::Nul),
        _ if target.len() > name::MAX_PATH => Err(BadName::TooLong),
        _ => Ok(target.to_vec()),
    }
}

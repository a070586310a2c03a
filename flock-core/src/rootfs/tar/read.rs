//! From the blocks of a tar to its members, one after the other.

use std::io;

use super::facts::Facts;
use super::header::{BLOCK, Header};
use super::pax::{self, Record};
use super::sparse::{self, Announced, MapReader, Segment};
use crate::rootfs::entry::{EntryKind, Metadata};
use crate::rootfs::read_at::{ReadAt, Window};

/// The most bytes that the pax records, or the long name, before one member
/// may take. A header may claim anything; this much is believed.
pub(crate) const MAX_EXTENSION: u64 = 1 << 20;

/// The most extended attributes, other records or global records that are kept.
const MAX_RECORDS: usize = 1024;

/// What is wrong with a tar, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Offset in the tar of the block that was being read.
    pub(crate) offset: u64,
    pub(crate) problem: Problem,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("it ends in the middle of an entry")]
    Truncated,
    #[error("it ends without the mark that ends an archive")]
    NoEndMark,
    #[error("there is no tar header there")]
    NoHeader,
    #[error("the header's {0} is not a number flock can use")]
    BadNumber(&'static str),
    #[error("the pax records are malformed")]
    BadRecords,
    #[error("the extended attribute '{0}' is not in base 64")]
    BadAttribute(String),
    #[error("the extended header claims {0} bytes, more than the {MAX_EXTENSION} that are read")]
    LargeExtension(u64),
    #[error("it has more than {MAX_RECORDS} pax records of one sort")]
    ManyRecords,
    #[error("an extended header stands there that belongs to no entry")]
    LostExtension,
    #[error("the map of a sparse file is malformed")]
    BadSparseMap,
    #[error("it is a part of a multi-volume archive")]
    MultiVolume,
    #[error("it cannot be read")]
    Io(#[source] io::Error),
}

/// One member: its metadata, and where in the tar it stands.
#[derive(Debug)]
pub(crate) struct Member {
    /// Where its first header block is, extended headers included.
    pub(crate) start: u64,
    /// Where its stored data begins.
    pub(crate) data: u64,
    /// How many bytes of data are stored, padding and sparse map excluded.
    pub(crate) stored: u64,
    /// The name as it is written.
    pub(crate) path: Vec<u8>,
    /// What it is; the target of a hard link is as it is written.
    pub(crate) kind: EntryKind,
    pub(crate) metadata: Metadata,
    /// The map of a sparse file.
    pub(crate) map: Option<Vec<Segment>>,
    /// Whether its blocks mean the same elsewhere: no global header changes
    /// them, and nothing in them is obsolete or a dialect of one program.
    pub(crate) portable: bool,
}

/// Reads members in order.
pub(crate) struct Reader<'a, R: ReadAt + ?Sized> {
    source: &'a R,
    window: &'a mut Window,
    size: u64,
    position: u64,
    globals: Vec<Record>,
}

/// What extended headers say about the member that follows them.
#[derive(Default)]
struct Extensions {
    records: Vec<Record>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    crossed_global: bool,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.long_name.is_none() && self.long_link.is_none()
    }
}

impl<'a, R: ReadAt + ?Sized> Reader<'a, R> {
    /// Begins at `position`, where the records `globals` of global headers
    /// are in effect. `size` is the length of the whole tar.
    pub(crate) fn new(
        source: &'a R,
        window: &'a mut Window,
        size: u64,
        position: u64,
        globals: Vec<Record>,
    ) -> Self {
        Self { source, window, size, position, globals }
    }

    /// Reads about `length` bytes at a time from now on.
    pub(crate) fn expect(&mut self, length: usize) {
        self.window.set_ahead(length);
    }

    /// The records of the global headers read so far.
    pub(crate) fn globals(&self) -> &[Record] {
        &self.globals
    }

    /// The next member; `None` at the mark that ends the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, Fault> {
        let mut start = self.position;
        let mut extensions = Extensions::default();
        loop {
            let at = self.position;
            let Some(block) = self.header_block()? else {
                return if extensions.is_empty() {
                    Ok(None)
                } else {
                    Err(fault(at, Problem::LostExtension))
                };
            };
            let header = Header::parse(&block).map_err(|_| fault(at, Problem::NoHeader))?;
            match header.typeflag() {
                b'x' | b'X' => {
                    let data = self.extension(at, &header)?;
                    let records = pax::parse(&data).ok_or(fault(at, Problem::BadRecords))?;
                    extensions.records.extend(records);
                    // Many small headers are no way around the limit.
                    let total = extensions.records.iter().map(|(k, v)| k.len() + v.len()).sum();
                    limit(at, total)?;
                }
                b'g' => {
                    let data = self.extension(at, &header)?;
                    let records = pax::parse(&data).ok_or(fault(at, Problem::BadRecords))?;
                    self.add_globals(at, records)?;
                    if extensions.is_empty() {
                        start = self.position;
                    } else {
                        extensions.crossed_global = true;
                    }
                }
                b'L' => extensions.long_name = Some(c_string(self.extension(at, &header)?)),
                b'K' => extensions.long_link = Some(c_string(self.extension(at, &header)?)),
                b'V' => {
                    self.skip_data(at, header.size())?;
                    start = self.position;
                    extensions = Extensions::default();
                }
                b'M' => return Err(fault(at, Problem::MultiVolume)),
                _ => return self.member(start, at, &header, extensions).map(Some),
            }
        }
    }

    /// The block at the position, which moves behind it; `None` for the zero
    /// block that ends the archive.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, Fault> {
        let at = self.position;
        if at >= self.size {
            return Err(fault(at, Problem::NoEndMark));
        }
        let bytes = self.window.get(self.source, at, BLOCK).map_err(|e| io_fault(at, e))?;
        let block: [u8; BLOCK] = bytes.try_into().map_err(|_| fault(at, Problem::Truncated))?;
        self.position = at + BLOCK as u64;
        Ok(if block.iter().all(|b| *b == 0) { None } else { Some(block) })
    }

    /// The data of an extended header; the position moves behind it.
    fn extension(&mut self, at: u64, header: &Header<'_>) -> Result<Vec<u8>, Fault> {
        let size = header.size().ok_or(fault(at, Problem::BadNumber("size")))?;
        if size > MAX_EXTENSION {
            return Err(fault(at, Problem::LargeExtension(size)));
        }
        let data = self.position;
        self.skip_data(at, Some(size))?;
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        let bytes = self.window.get(self.source, data, length).map_err(|e| io_fault(data, e))?;
        Ok(bytes.to_vec())
    }

    /// Moves behind `size` bytes and their padding, which must be there.
    fn skip_data(&mut self, at: u64, size: Option<u64>) -> Result<(), Fault> {
        let size = size.ok_or(fault(at, Problem::BadNumber("size")))?;
        let end = size
            .checked_next_multiple_of(BLOCK as u64)
            .and_then(|padded| self.position.checked_add(padded))
            .filter(|end| *end <= self.size)
            .ok_or(fault(at, Problem::Truncated))?;
        self.position = end;
        Ok(())
    }

    fn add_globals(&mut self, at: u64, records: Vec<Record>) -> Result<(), Fault> {
        for (key, value) in records {
            if self.globals.len() > MAX_RECORDS {
                return Err(fault(at, Problem::ManyRecords));
            }
            self.globals.retain(|(old, _)| *old != key);
            // A comment says nothing about the entries.
            if key != b"comment" {
                self.globals.push((key, value));
            }
        }
        limit(at, self.globals.iter().map(|(k, v)| k.len() + v.len()).sum())
    }

    fn member(
        &mut self,
        start: u64,
        at: u64,
        header: &Header<'_>,
        extensions: Extensions,
    ) -> Result<Member, Fault> {
        let plain = self.globals.is_empty() && !extensions.crossed_global;
        let mut facts = Facts::from_header(header).map_err(|problem| fault(at, problem))?;
        if let Some(name) = extensions.long_name {
            facts.path = name;
        }
        if let Some(link) = extensions.long_link {
            facts.link = link;
        }
        let records: Vec<Record> = self.globals.iter().cloned().chain(extensions.records).collect();
        for (key, value) in &records {
            facts.apply(key, value).map_err(|problem| fault(at, problem))?;
            if facts.records() > MAX_RECORDS {
                return Err(fault(at, Problem::ManyRecords));
            }
        }
        let translated = facts.take_translated();
        facts.check_owner().map_err(|problem| fault(at, problem))?;
        let typeflag = header.typeflag();
        // GNU tar and POSIX readers agree that a hard link stores nothing,
        // whatever its size says.
        let claimed = if typeflag == b'1' { 0 } else { facts.stored };
        let is_file = is_file(typeflag, &facts.path);
        let map = if is_file { self.sparse_map(at, header, &records)? } else { None };
        let (data, stored, map) = self.place(at, claimed, map, &mut facts)?;
        let is_portable =
            plain && !translated && !(typeflag == b'1' && facts.stored > 0) && typeflag != b'D';
        let kind =
            if is_file { EntryKind::File { size: facts.size } } else { facts.kind(typeflag) };
        Ok(Member {
            start,
            data,
            stored,
            path: facts.path,
            kind,
            metadata: facts.metadata,
            map,
            portable: is_portable,
        })
    }

    /// Reads the sparse map of a file, wherever its format puts it. With it
    /// comes how many of the stored bytes the map itself takes.
    fn sparse_map(
        &mut self,
        at: u64,
        header: &Header<'_>,
        records: &[Record],
    ) -> Result<Option<SparseMap>, Fault> {
        let bad = |()| fault(at, Problem::BadSparseMap);
        if header.typeflag() == b'S' {
            return self.gnu_map(at, header).map(Some);
        }
        match sparse::announced(records).map_err(bad)? {
            None => Ok(None),
            Some(Announced::InRecords(segments)) => {
                Ok(Some(SparseMap { segments, prelude: 0, size: None }))
            }
            Some(Announced::BeforeData) => {
                let mut reader = MapReader::default();
                let mut prelude = 0;
                loop {
                    let from = self.position + prelude;
                    let block =
                        self.window.get(self.source, from, BLOCK).map_err(|e| io_fault(from, e))?;
                    prelude += BLOCK as u64;
                    if reader.push(block).map_err(bad)? {
                        break;
                    }
                }
                let segments = reader.finish().map_err(bad)?;
                Ok(Some(SparseMap { segments, prelude, size: None }))
            }
        }
    }

    /// The map of an old GNU sparse header, whose further blocks stand before
    /// the data and are not counted in the size.
    fn gnu_map(&mut self, at: u64, header: &Header<'_>) -> Result<SparseMap, Fault> {
        let bad = |()| fault(at, Problem::BadSparseMap);
        let (area, mut more, size) = header.gnu_sparse();
        let mut segments = Vec::new();
        sparse::parse_gnu(area, &mut segments).map_err(bad)?;
        while more {
            let from = self.position;
            let block = self.window.get(self.source, from, BLOCK).map_err(|e| io_fault(from, e))?;
            sparse::parse_gnu(&block[..504], &mut segments).map_err(bad)?;
            more = block[504] != 0;
            self.position += BLOCK as u64;
        }
        let size = size.ok_or(fault(at, Problem::BadNumber("size")))?;
        Ok(SparseMap { segments, prelude: 0, size: Some(size) })
    }

    /// Moves behind the data and says where it is: begin, length, map.
    fn place(
        &mut self,
        at: u64,
        claimed: u64,
        map: Option<SparseMap>,
        facts: &mut Facts,
    ) -> Result<(u64, u64, Option<Vec<Segment>>), Fault> {
        let begin = self.position;
        self.skip_data(at, Some(claimed))?;
        let Some(map) = map else {
            facts.size = claimed;
            return Ok((begin, claimed, None));
        };
        let bad = || fault(at, Problem::BadSparseMap);
        facts.size = map.size.or(facts.sparse_size).ok_or_else(bad)?;
        let stored = claimed.checked_sub(map.prelude).ok_or_else(bad)?;
        let segments = sparse::check(map.segments, facts.size, stored).map_err(|()| bad())?;
        Ok((begin + map.prelude, stored, Some(segments)))
    }
}

struct SparseMap {
    segments: Vec<Segment>,
    /// How many bytes before the data the map takes.
    prelude: u64,
    /// The logical size, where the map's own header says it.
    size: Option<u64>,
}

/// Whether the member is a regular file: so is every type that nobody
/// defined (POSIX), and no file has a name that ends in `/` (V7's way to
/// write a directory).
fn is_file(typeflag: u8, path: &[u8]) -> bool {
    !matches!(typeflag, b'1'..=b'6' | b'D') && !path.ends_with(b"/")
}

/// The data of a GNU long name, which ends with a NUL.
fn c_string(mut data: Vec<u8>) -> Vec<u8> {
    let end = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    data.truncate(end);
    data
}

fn limit(at: u64, total: usize) -> Result<(), Fault> {
    let total = total as u64;
    if total > MAX_EXTENSION { Err(fault(at, Problem::LargeExtension(total))) } else { Ok(()) }
}

fn fault(offset: u64, problem: Problem) -> Fault {
    Fault { offset, problem }
}

fn io_fault(offset: u64, error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => fault(offset, Problem::Truncated),
        _ => fault(offset, Problem::Io(error)),
    }
}

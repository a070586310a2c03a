//! From an entry to the blocks of its header: POSIX ustar where everything
//! fits, a pax extended header before it otherwise.

use super::header::{self, BLOCK};
use super::number::write_octal;
use super::{pax, sparse, sparse::Segment};
use crate::rootfs::entry::{EntryKind, Metadata};

/// What a header is made from.
pub(crate) struct Spec<'a> {
    /// The name as it is to be written, a directory's with `/` at its end.
    pub(crate) path: &'a [u8],
    pub(crate) kind: &'a EntryKind,
    /// The target of a hard link as it is to be written.
    pub(crate) hardlink: &'a [u8],
    pub(crate) metadata: &'a Metadata,
    /// The map of a sparse file, which is written as PAX 1.0.
    pub(crate) map: Option<&'a [Segment]>,
}

/// Appends the header blocks of an entry, and its sparse map if it has one.
/// Its data follows, padded to whole blocks.
pub(crate) fn header(out: &mut Vec<u8>, spec: &Spec<'_>) {
    let map = spec.map.map(sparse::write_map);
    let mut block = [0u8; BLOCK];
    let mut records = Vec::new();
    fill(&mut block, &mut records, spec, map.as_deref());
    for xattr in &spec.metadata.xattrs {
        let key = [b"SCHILY.xattr.", pax::encode_xattr_name(&xattr.name).as_slice()].concat();
        pax::write(&mut records, &key, &xattr.value);
    }
    for (key, value) in &spec.metadata.other {
        pax::write(&mut records, key, value);
    }
    if !records.is_empty() {
        extended(out, spec.path, &records);
    }
    header::seal(&mut block);
    out.extend_from_slice(&block);
    out.extend_from_slice(map.as_deref().unwrap_or_default());
}

/// Fills the fields of a header block; what does not fit goes to `records`.
fn fill(block: &mut [u8; BLOCK], records: &mut Vec<u8>, spec: &Spec<'_>, map: Option<&[u8]>) {
    let (typeflag, link, size) = match spec.kind {
        EntryKind::File { size } => (b'0', &b""[..], *size),
        EntryKind::Hardlink { .. } => (b'1', spec.hardlink, 0),
        EntryKind::Symlink { target } => (b'2', target.as_slice(), 0),
        EntryKind::CharDevice { .. } => (b'3', &b""[..], 0),
        EntryKind::BlockDevice { .. } => (b'4', &b""[..], 0),
        EntryKind::Directory => (b'5', &b""[..], 0),
        EntryKind::Fifo => (b'6', &b""[..], 0),
    };
    block[156] = typeflag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    charset(records, spec, link);
    let stored = match (spec.map, map) {
        (Some(segments), Some(map)) => {
            sparse_records(records, spec.path, size);
            put_text(&mut block[..100], spec.path);
            map.len() as u64 + segments.iter().map(|segment| segment.length).sum::<u64>()
        }
        _ => {
            put_path(block, records, spec.path);
            size
        }
    };
    if !put_text(&mut block[157..257], link) {
        pax::write(records, b"linkpath", link);
    }
    put_number(&mut block[124..136], records, b"size", stored);
    owner_and_time(block, records, spec.metadata);
    let (major, minor) = match spec.kind {
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            (*major, *minor)
        }
        _ => (0, 0),
    };
    put_number(&mut block[329..337], records, b"SCHILY.devmajor", major.into());
    put_number(&mut block[337..345], records, b"SCHILY.devminor", minor.into());
}

fn owner_and_time(block: &mut [u8; BLOCK], records: &mut Vec<u8>, metadata: &Metadata) {
    write_octal(&mut block[100..108], u64::from(metadata.mode & 0o7777));
    put_number(&mut block[108..116], records, b"uid", metadata.uid.into());
    put_number(&mut block[116..124], records, b"gid", metadata.gid.into());
    if !put_text(&mut block[265..296], &metadata.uname) {
        pax::write(records, b"uname", &metadata.uname);
    }
    if !put_text(&mut block[297..328], &metadata.gname) {
        pax::write(records, b"gname", &metadata.gname);
    }
    let mtime = metadata.mtime;
    let whole = u64::try_from(mtime.seconds).unwrap_or(0);
    let fits = write_octal(&mut block[136..148], whole);
    if !fits || mtime.nanos != 0 || mtime.seconds < 0 {
        let text = pax::format_time(mtime.seconds, mtime.nanos);
        pax::write(records, b"mtime", text.as_bytes());
    }
}

/// Says that names in the records are bytes, where they are not UTF-8.
fn charset(records: &mut Vec<u8>, spec: &Spec<'_>, link: &[u8]) {
    let names = [spec.path, link, &spec.metadata.uname, &spec.metadata.gname];
    if names.iter().any(|name| std::str::from_utf8(name).is_err()) {
        pax::write(records, b"hdrcharset", b"BINARY");
    }
}

fn sparse_records(records: &mut Vec<u8>, path: &[u8], size: u64) {
    pax::write(records, b"GNU.sparse.major", b"1");
    pax::write(records, b"GNU.sparse.minor", b"0");
    pax::write(records, b"GNU.sparse.name", path);
    pax::write(records, b"GNU.sparse.realsize", size.to_string().as_bytes());
}

/// Writes the name whole, or split over prefix and name, or as a record.
fn put_path(block: &mut [u8; BLOCK], records: &mut Vec<u8>, path: &[u8]) {
    if path.len() <= 100 {
        put_text(&mut block[..100], path);
        return;
    }
    // Neither part may be empty, and the slash between them is not stored.
    let split = path
        .iter()
        .enumerate()
        .skip(path.len().saturating_sub(101))
        .find(|(at, byte)| **byte == b'/' && (1..=155).contains(at) && at + 1 < path.len());
    match split {
        Some((at, _)) => {
            put_text(&mut block[345..500], &path[..at]);
            put_text(&mut block[..100], &path[at + 1..]);
        }
        None => {
            pax::write(records, b"path", path);
            put_text(&mut block[..100], path);
        }
    }
}

fn put_text(field: &mut [u8], text: &[u8]) -> bool {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    length == text.len()
}

fn put_number(field: &mut [u8], records: &mut Vec<u8>, key: &[u8], value: u64) {
    if !write_octal(field, value) {
        pax::write(records, key, value.to_string().as_bytes());
    }
}

/// Appends an extended header with these records. Its own name helps readers
/// that do not know pax; its owner, mode and time are constant.
fn extended(out: &mut Vec<u8>, path: &[u8], records: &[u8]) {
    let mut block = [0u8; BLOCK];
    let name = path.strip_suffix(b"/").unwrap_or(path);
    let name = name.rsplit(|b| *b == b'/').next().unwrap_or(name);
    put_text(&mut block[..100], &[b"PaxHeaders/", name].concat());
    write_octal(&mut block[100..108], 0o644);
    write_octal(&mut block[108..116], 0);
    write_octal(&mut block[116..124], 0);
    write_octal(&mut block[124..136], records.len() as u64);
    write_octal(&mut block[136..148], 0);
    block[156] = b'x';
    block[257..265].copy_from_slice(b"ustar\x0000");
    header::seal(&mut block);
    out.extend_from_slice(&block);
    out.extend_from_slice(records);
    // What is in `out` already need not end at a block.
    let padding = records.len().next_multiple_of(BLOCK) - records.len();
    out.resize(out.len() + padding, 0);
}

//! Small tars, written member by member with whatever oddity a test needs,
//! and listings of tars by a reader that is not flock's.

use std::io::Read as _;

use flock_core::Context;
use flock_core::rootfs::{Sink as _, SourceIndex, TarSink, Tree};

/// Builds a tar.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

/// What a header block is to say.
pub(crate) struct Member<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) typeflag: u8,
    pub(crate) link: &'a [u8],
    pub(crate) content: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) mtime: u64,
}

impl Default for Member<'_> {
    fn default() -> Self {
        Self {
            path: b"",
            typeflag: b'0',
            link: b"",
            content: b"",
            mode: 0o644,
            owner: (0, 0),
            mtime: 1000,
        }
    }
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn member(mut self, member: &Member<'_>) -> Self {
        let mut header = tar::Header::new_ustar();
        let bytes = header.as_mut_bytes();
        bytes[..member.path.len()].copy_from_slice(member.path);
        bytes[157..157 + member.link.len()].copy_from_slice(member.link);
        bytes[156] = member.typeflag;
        header.set_mode(member.mode);
        header.set_uid(member.owner.0);
        header.set_gid(member.owner.1);
        header.set_size(member.content.len() as u64);
        header.set_mtime(member.mtime);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(member.content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        let (path, content) = (path.as_bytes(), content.as_bytes());
        self.member(&Member { path, content, ..Member::default() })
    }

    pub(crate) fn dir(self, path: &str, mode: u32) -> Self {
        let path = path.as_bytes();
        self.member(&Member { path, typeflag: b'5', mode, ..Member::default() })
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        let (path, link) = (path.as_bytes(), target.as_bytes());
        self.member(&Member { path, typeflag: b'2', link, mode: 0o777, ..Member::default() })
    }

    pub(crate) fn hardlink(self, path: &str, target: &str) -> Self {
        let (path, link) = (path.as_bytes(), target.as_bytes());
        self.member(&Member { path, typeflag: b'1', link, ..Member::default() })
    }

    pub(crate) fn pax(self, typeflag: u8, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let length = (1..8)
                .map(|digits| body + digits)
                .find(|length| length.to_string().len() + body == *length);
            content.extend_from_slice(format!("{} {key}=", length.unwrap()).as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.member(&Member { path: b"pax", typeflag, content: &content, ..Member::default() })
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    pub(crate) fn layer(self) -> SourceIndex {
        layer(&self.end()).unwrap()
    }

    pub(crate) fn tree(self) -> Tree {
        Tree::new(self.layer(), &Context::new()).unwrap()
    }
}

pub(crate) fn layer(bytes: &[u8]) -> flock_core::Result<SourceIndex> {
    SourceIndex::from_bytes("test.tar", bytes, &Context::new())
}

/// The tar that a tree gives.
pub(crate) fn packed(tree: &Tree) -> Vec<u8> {
    let mut sink = TarSink::new(Vec::new());
    let written = sink.write(tree, &Context::new()).unwrap();
    let bytes = sink.into_inner();
    assert_eq!(written.bytes, bytes.len() as u64);
    assert_eq!(bytes.len() % 10240, 0);
    bytes
}

/// One line for each entry: type, mode, owner, time, path, and link target or
/// content. Read by the tar crate.
pub(crate) fn listing(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let mut lines = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        let kind = char::from(header.as_bytes()[156]);
        let mode = header.mode().unwrap();
        let (uid, gid) = (header.uid().unwrap(), header.gid().unwrap());
        let mtime = header.mtime().unwrap();
        let path = entry.path_bytes().escape_ascii().to_string();
        let link = entry.link_name_bytes().map(|link| format!(" -> {}", link.escape_ascii()));
        let mut content = String::new();
        if entry.header().entry_type().is_file() {
            entry.read_to_string(&mut content).unwrap();
            content = format!(" = {content}");
        }
        let tail = link.unwrap_or(content);
        lines.push(format!("{kind} {mode:o} {uid}:{gid} @{mtime} {path}{tail}"));
    }
    lines
}

/// Only paths and what follows them.
pub(crate) fn paths(tree: &Tree) -> Vec<String> {
    let short = |line: String| {
        let kind = &line[..1];
        let path = line.splitn(5, ' ').nth(4).unwrap();
        format!("{kind} {path}")
    };
    listing(&packed(tree)).into_iter().map(short).collect()
}

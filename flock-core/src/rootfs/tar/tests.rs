//! Headers that are written read back the same, and odd archives end in
//! errors rather than panics.

use proptest::prelude::*;

use super::*;
use crate::rootfs::entry::{EntryKind, Metadata, Mtime, Xattr};
use crate::rootfs::read_at::Window;

fn read_all(tar: &[u8]) -> Result<Vec<Member>, Fault> {
    let mut window = Window::new(4096);
    let mut reader = Reader::new(tar, &mut window, tar.len() as u64, 0, Vec::new());
    let mut members = Vec::new();
    while let Some(member) = reader.next()? {
        members.push(member);
    }
    Ok(members)
}

fn problem(tar: &[u8]) -> String {
    let fault = read_all(tar).unwrap_err();
    fault.problem.to_string()
}

fn with_end(mut tar: Vec<u8>) -> Vec<u8> {
    tar.resize(tar.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    tar
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let name = prop::collection::vec(1u8.., 0..40);
    let xattr = ("[a-z=%.]{1,20}", prop::collection::vec(any::<u8>(), 0..30))
        .prop_map(|(name, value)| Xattr { name: name.into_bytes(), value });
    let time = (-10_000_000_000i64..100_000_000_000, prop_oneof![Just(0), 0u32..1_000_000_000]);
    (0u32..=0o7777, 0..u32::MAX, 0..u32::MAX, name.clone(), name, time, prop::option::of(xattr))
        .prop_map(|(mode, uid, gid, uname, gname, (seconds, nanos), xattr)| Metadata {
            mode,
            uid,
            gid,
            uname,
            gname,
            mtime: Mtime { seconds, nanos },
            xattrs: xattr.into_iter().collect(),
            other: Vec::new(),
        })
}

fn kind() -> impl Strategy<Value = EntryKind> {
    let target = prop::collection::vec(1u8.., 1..300);
    prop_oneof![
        (0u64..1 << 40).prop_map(|size| EntryKind::File { size }),
        Just(EntryKind::Directory),
        Just(EntryKind::Fifo),
        target.clone().prop_map(|target| EntryKind::Symlink { target }),
        target.prop_map(|target| EntryKind::Hardlink { target }),
        (any::<u32>(), any::<u32>())
            .prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        (any::<u32>(), any::<u32>())
            .prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
    ]
}

proptest! {
    #[test]
    fn a_written_header_reads_back(
        path in prop::collection::vec(prop_oneof![1u8.., Just(b'/')], 1..400),
        kind in kind(),
        metadata in metadata(),
        before in 0usize..600,
    ) {
        let mut path = path;
        if kind == EntryKind::Directory { path.push(b'/') } else { path.push(b'x') }
        let hardlink = match &kind { EntryKind::Hardlink { target } => target.clone(), _ => Vec::new() };
        let mut out = vec![0; before];
        let spec = Spec { path: &path, kind: &kind, hardlink: &hardlink, metadata: &metadata, map: None };
        write_header(&mut out, &spec);
        let out = &out[before..];
        prop_assert_eq!(out.len() % BLOCK, 0);
        let mut window = Window::new(4096);
        // The data itself is not there; only its length matters here.
        let mut reader = Reader::new(out, &mut window, u64::MAX, 0, Vec::new());
        let member = reader.next().unwrap().unwrap();
        prop_assert_eq!(member.path, path);
        prop_assert_eq!(member.kind, kind);
        prop_assert_eq!(member.metadata, metadata);
        prop_assert_eq!(member.data, out.len() as u64);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut tar in prop::collection::vec(any::<u8>(), 0..2048), kind in any::<u8>()) {
        let _ = read_all(&tar);
        // With a right checksum the parsers behind it are reached.
        if let Some(first) = tar.first_chunk_mut::<BLOCK>() {
            first[156] = kind;
            first[124..136].copy_from_slice(b"00000000100\0");
            header::seal(first);
        }
        let _ = read_all(&tar);
    }

    #[test]
    fn a_cut_archive_is_an_error(cut in 0usize..3 * BLOCK) {
        let kind = EntryKind::File { size: 700 };
        let mut out = Vec::new();
        let spec = Spec { path: b"f", kind: &kind, hardlink: b"", metadata: &Metadata::default(), map: None };
        write_header(&mut out, &spec);
        out.resize(out.len() + 2 * BLOCK, b'.');
        prop_assert!(read_all(&with_end(out.clone())).is_ok());
        prop_assert!(read_all(&out[..cut]).is_err());
    }
}

#[test]
fn a_sparse_file_reads_back() {
    let map = [Segment { offset: 4096, length: 600 }, Segment { offset: 1 << 35, length: 1 }];
    let kind = EntryKind::File { size: (1 << 35) + 10 };
    let metadata = Metadata::default();
    let spec = Spec {
        path: b"d/sparse",
        kind: &kind,
        hardlink: b"",
        metadata: &metadata,
        map: Some(&map),
    };
    let mut out = Vec::new();
    write_header(&mut out, &spec);
    let data = out.len() as u64;
    out.resize(out.len() + 2 * BLOCK, b'.');
    let members = read_all(&with_end(out)).unwrap();
    assert_eq!(members[0].path, b"d/sparse");
    assert_eq!(members[0].kind, kind);
    assert_eq!(members[0].map.as_deref(), Some(&map[..]));
    assert_eq!((members[0].data, members[0].stored), (data, 601));
}

#[test]
fn a_claim_is_not_believed() {
    let mut block = [0u8; BLOCK];
    block[..12].copy_from_slice(b"./@LongLink\0");
    block[124..136].copy_from_slice(b"77777777777\0");
    block[156] = b'L';
    header::seal(&mut block);
    assert!(problem(&with_end(block.to_vec())).contains("claims 8589934591 bytes"));
    block[156] = b'0';
    header::seal(&mut block);
    assert!(problem(&with_end(block.to_vec())).contains("middle of an entry"));
    block[124..136].copy_from_slice(b"00000000000\0");
    block[108..116].copy_from_slice(&[0xff; 8]);
    header::seal(&mut block);
    assert!(problem(&with_end(block.to_vec())).contains("owner is not a number"));
}

#[test]
fn an_archive_needs_its_end() {
    assert!(problem(b"").contains("without the mark"));
    assert!(read_all(&[0; BLOCK]).unwrap().is_empty());
    assert!(problem(&[1; BLOCK]).contains("no tar header"));
}

/// A file with these pax records.
fn with_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        pax::write(&mut data, key.as_bytes(), value);
    }
    let mut tar = Vec::new();
    for (typeflag, content) in [(b'x', &data[..]), (b'0', b"")] {
        let mut block = [0u8; BLOCK];
        block[0] = b'f';
        block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        block[156] = typeflag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        header::seal(&mut block);
        tar.extend_from_slice(&block);
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
    with_end(tar)
}

#[test]
fn attributes_in_libarchives_records_count() {
    let only = with_records(&[("LIBARCHIVE.xattr.user.a%3Db", b"AP8gdg")]);
    let member = read_all(&only).unwrap().remove(0);
    let want = Xattr { name: b"user.a=b".to_vec(), value: b"\0\xff v".to_vec() };
    assert_eq!(member.metadata.xattrs, std::slice::from_ref(&want));
    assert!(member.metadata.other.is_empty());
    assert!(!member.portable, "GNU tar does not read them");

    // Beside the records that everybody reads they say nothing new.
    for (first, second) in [(0, 1), (1, 0)] {
        let both: [(&str, &[u8]); 2] = [
            ("LIBARCHIVE.xattr.user.a%3Db", b"YnJva2Vu"),
            ("SCHILY.xattr.user.a%3Db", b"\0\xff v"),
        ];
        let member = read_all(&with_records(&[both[first], both[second]])).unwrap().remove(0);
        assert_eq!(member.metadata.xattrs, std::slice::from_ref(&want));
        assert!(member.portable);
    }
    let bad = with_records(&[("LIBARCHIVE.xattr.user.x", b"no base 64!")]);
    assert_eq!(problem(&bad), "the extended attribute 'user.x' is not in base 64");
}

#[test]
fn times_that_nobody_asked_for_are_not_looked_at() {
    let odd = with_records(&[("atime", b"999999999999999999999"), ("ctime", b"yesterday")]);
    let member = read_all(&odd).unwrap().remove(0);
    assert_eq!(member.metadata.other.len(), 2);
    for bad in ["999999999999999999999", "yesterday"] {
        let bad = with_records(&[("mtime", bad.as_bytes())]);
        assert!(problem(&bad).contains("time is not a number"));
    }
}

#[test]
fn records_that_leave_open_where_the_data_is_are_refused() {
    let empty = with_records(&[("size", b"")]);
    assert!(problem(&empty).contains("size is not a number"), "{}", problem(&empty));
    let unknown = with_records(&[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")]);
    assert!(problem(&unknown).contains("sparse"), "{}", problem(&unknown));
}

//! Trees that are hard to write as a file system.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;

use flock_core::Context;
use flock_core::rootfs::{SourceIndex, Tree};

use super::tars::{Member, Tar};

/// The tree of a tar in a file, whose contents the kernel can copy.
pub(crate) fn tree_in_file(tar: Tar) -> Tree {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&tar.end()).unwrap();
    tree_of(file)
}

pub(crate) fn tree_of(mut file: File) -> Tree {
    file.rewind().unwrap();
    let ctx = Context::new();
    let layer = SourceIndex::from_tar(Path::new("test.tar"), file, &ctx).unwrap();
    Tree::new(layer, &ctx).unwrap()
}

/// Bytes that are not the same anywhere near.
pub(crate) fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Everything that a tar can say and ext4 can hold.
pub(crate) fn everything() -> Tar {
    let mut tar = Tar::new()
        .pax(b'x', &[("mtime", b"1600000000.123456789")])
        .dir("./", 0o751)
        .dir("sticky", 0o1777)
        .dir("shared", 0o2775)
        .dir("empty", 0o700);
    for (at, size) in [0, 1, 4095, 4096, 4097, 70_000, 262_144, 300_001, 5 << 20, (33 << 20) + 5]
        .iter()
        .enumerate()
    {
        let path = format!("sizes/{size}");
        let content = noise(*size, u32::try_from(at).unwrap());
        tar = tar.member(&Member { path: path.as_bytes(), content: &content, ..Member::default() });
    }
    let long_target = vec![b't'; 4000];
    for length in [1, 59, 60, 100] {
        let target = "x".repeat(length);
        tar = tar.symlink(&format!("links/{length}"), &target[..length.min(100)]);
    }
    tar = tar
        .pax(b'x', &[("linkpath", &long_target)])
        .symlink("links/4000", "short")
        .file("hard/b", "linked")
        .hardlink("hard/a", "hard/b")
        .hardlink("hard/c", "hard/b")
        .hardlink("links/hard", "links/60");
    attributes(devices(names(times(tar))))
}

fn times(mut tar: Tar) -> Tar {
    for time in ["-2147483648", "-1.5", "0", "2147483648.000000001", "15032385535.999999999"] {
        let path = format!("times/{time}");
        tar = tar.pax(b'x', &[("mtime", time.as_bytes())]).file(&path, time);
    }
    tar.pax(b'x', &[("uid", b"4294967294"), ("gid", b"2147483649")])
        .file("owner", "")
        .member(&Member { path: b"suid", mode: 0o6755, content: b"!", ..Member::default() })
}

fn names(tar: Tar) -> Tar {
    let longest = [b"names/".to_vec(), vec![b'n'; 255]].concat();
    let odd = [b"names/".to_vec(), (1..=255).filter(|b| *b != b'/').collect()].concat();
    tar.pax(b'x', &[("path", &longest)])
        .file("short", "long name")
        .pax(b'x', &[("path", &odd)])
        .file("short", "every byte")
}

fn devices(tar: Tar) -> Tar {
    let mut tar = tar.member(&Member { path: b"dev/fifo", typeflag: b'6', ..Member::default() });
    for (path, typeflag, major, minor) in [
        ("dev/null", b'3', 1, 3),
        ("dev/sda1", b'4', 8, 1),
        ("dev/nvme", b'4', 259, 70_000),
        ("dev/last", b'3', 4095, 1_048_575),
    ] {
        tar = device(tar, path, typeflag, major, minor);
    }
    tar
}

pub(crate) fn device(mut tar: Tar, path: &str, typeflag: u8, major: u32, minor: u32) -> Tar {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).unwrap();
    header.set_entry_type(tar::EntryType::new(typeflag));
    header.set_mode(0o660);
    header.set_uid(0);
    header.set_gid(6);
    header.set_size(0);
    header.set_mtime(77);
    header.set_device_major(major).unwrap();
    header.set_device_minor(minor).unwrap();
    header.set_cksum();
    tar.0.extend_from_slice(header.as_bytes());
    tar
}

/// A capability: version 2, effective, `cap_net_bind_service`.
pub(crate) const CAPABILITY: [u8; 20] =
    [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn attributes(tar: Tar) -> Tar {
    let large = noise(3000, 99);
    let (ping, user, trusted) =
        ("SCHILY.xattr.security.capability", "SCHILY.xattr.user.a", "SCHILY.xattr.trusted.t");
    tar.pax(b'x', &[(ping, &CAPABILITY)])
        .file("attributes/capability", "x")
        .pax(b'x', &[(user, b"1"), ("SCHILY.xattr.user.large", &large), (trusted, b"")])
        .file("attributes/many", "with data")
        .pax(b'x', &[("SCHILY.xattr.user.\u{e9}\u{ff}", b"odd name"), (user, &large[..90])])
        .dir("attributes/dir", 0o755)
        .pax(b'x', &[("SCHILY.xattr.trusted.link", &large[..500])])
        .symlink("attributes/link", &"y".repeat(70))
}

/// A sparse file (PAX 1.0) of `size` bytes with data in these segments.
pub(crate) fn sparse(tar: Tar, path: &str, size: u64, segments: &[(u64, usize)]) -> Tar {
    let mut map = format!("{}\n", segments.len());
    for (offset, length) in segments {
        map.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut content = map.into_bytes();
    content.resize(content.len().next_multiple_of(512), 0);
    for (at, (_, length)) in segments.iter().enumerate() {
        content.extend(noise(*length, u32::try_from(at).unwrap() + 7));
    }
    let size = size.to_string();
    tar.pax(
        b'x',
        &[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", path.as_bytes()),
            ("GNU.sparse.realsize", size.as_bytes()),
        ],
    )
    .member(&Member { path: b"sparse", content: &content, ..Member::default() })
}

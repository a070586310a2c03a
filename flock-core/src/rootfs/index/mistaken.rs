//! What people take for a tar archive.

use crate::rootfs::read_at::ReadAt;

/// How much of a file is looked at.
const HEAD: usize = 36 << 10;

const PACKED: &str = "this is a zip archive; unpack it, and pack what is in it with tar";
const DISK: &str = "this is a disk image; flock builds from the files that are in it: mount it, \
                    and pack them with tar";

/// How a file that is no archive begins: a place and the bytes there.
const KNOWN: [(usize, &[u8], &str); 9] = [
    (0, b"PK\x03\x04", PACKED),
    (0, b"conectix", DISK),
    (0, b"QFI\xfb", DISK),
    // The magic number of ext2 to ext4, in the superblock at 1024.
    (1024 + 0x38, b"\x53\xef", DISK),
    (512, b"EFI PART", DISK),
    (32769, b"CD001", "this is a CD image; its files have to be packed with tar"),
    (0, b"!<arch>", "this is a Debian package or a library; `dpkg --fsys-tarfile` gives its files"),
    (0, b"\xed\xab\xee\xdb", "this is an RPM package; `rpm2archive` makes a tar of it"),
    (0, b"\x7fELF", "this is a program, not an archive"),
];

/// What a source seems to be that is no tar archive, and what to do.
pub(super) fn hint<R: ReadAt + ?Sized>(source: &R) -> Option<&'static str> {
    let mut head = vec![0; HEAD];
    let length = source.read_at(&mut head, 0).unwrap_or(0);
    let head = &head[..length];
    let starts = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|at| at.starts_with(magic));
    let known = KNOWN.iter().find(|(at, magic, _)| starts(*at, magic));
    let text = head.get(..head.len().min(512)).unwrap_or_default();
    match known {
        Some((_, _, hint)) => Some(hint),
        None if is_web_page(text) => Some("this is a web page, not an archive; check the URL"),
        None if is_text(text) => Some("this is a text, not an archive; is it the right file?"),
        // The signature of a partition table, behind boot code.
        None if starts(510, b"\x55\xaa") => Some(DISK),
        None => None,
    }
}

fn is_web_page(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = text.trim_ascii_start().to_ascii_lowercase();
    text.starts_with(b"<!doctype html")
        || text.starts_with(b"<html")
        || (text.starts_with(b"<") && text.windows(5).any(|part| part == b"<html"))
}

/// Names of entries are text too, but zeros follow them.
fn is_text(text: &[u8]) -> bool {
    let is_char = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    !text.is_empty() && text.iter().all(is_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_archive_is_told() {
        let at = |place: usize, magic: &[u8]| {
            let mut bytes = vec![0; 40 << 10];
            bytes[place..place + magic.len()].copy_from_slice(magic);
            hint(&bytes[..])
        };
        for (place, magic, wanted) in KNOWN {
            assert_eq!(at(place, magic), Some(wanted));
        }
        assert_eq!(at(510, b"\x55\xaa"), Some(DISK));
        assert_eq!(at(0, b"etc/hostname"), None);
        assert!(hint(&b"hello\n"[..]).is_some_and(|hint| hint.contains("text")));
        let page = &b"\xef\xbb\xbf <!DOCTYPE html>\0"[..];
        assert!(hint(page).is_some_and(|hint| hint.contains("web page")));
        assert_eq!(hint(&b""[..]), None);
    }
}

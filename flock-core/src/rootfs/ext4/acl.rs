//! POSIX access lists: from what archives hold to what ext4 holds.
//!
//! Format: `acl(5)` for the text, `linux/posix_acl_xattr.h` for the attribute,
//! and ext4's own form of version 1, in which only entries for a named user or
//! group have a number.

/// Why an access list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadAcl {
    #[error("'{0}' is not an entry of one")]
    Entry(String),
    #[error("'{0}' names somebody without a number; pack with --numeric-owner")]
    NoNumber(String),
    #[error("its attribute is not in version 2 of the kernel's format")]
    Attribute,
}

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// The version of the attribute, and of the form on disk.
const ATTRIBUTE_VERSION: u32 = 2;
const DISK_VERSION: u32 = 1;

/// One line of an access list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    tag: u16,
    id: u32,
    permissions: u16,
}

/// From the text of a pax record: `user::rwx,user:33:r-x,…`, with the number
/// of a named user or group in place of its name or behind the permissions.
/// `None` if the permission bits say all of it.
pub(super) fn from_text(text: &[u8]) -> Result<Option<Vec<u8>>, BadAcl> {
    let lines = text
        .split(|byte| matches!(byte, b',' | b'\n' | 0))
        .map(|line| line.split(|byte| *byte == b'#').next().unwrap_or(line).trim_ascii())
        .filter(|line| !line.is_empty())
        .map(line_of)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(encode(lines))
}

fn line_of(text: &[u8]) -> Result<Line, BadAcl> {
    let shown = || text.escape_ascii().to_string();
    let fields: Vec<&[u8]> = text.split(|byte| *byte == b':').collect();
    let (&[kind, who, permissions] | &[kind, who, permissions, _]) = fields.as_slice() else {
        return Err(BadAcl::Entry(shown()));
    };
    let tag = match (kind, who.is_empty()) {
        (b"user" | b"u", true) => USER_OBJ,
        (b"user" | b"u", false) => USER,
        (b"group" | b"g", true) => GROUP_OBJ,
        (b"group" | b"g", false) => GROUP,
        (b"mask" | b"m", true) => MASK,
        (b"other" | b"o", true) => OTHER,
        _ => return Err(BadAcl::Entry(shown())),
    };
    let permissions = permissions_of(permissions).ok_or_else(|| BadAcl::Entry(shown()))?;
    if who.is_empty() {
        return Ok(Line { tag, id: 0, permissions });
    }
    let id = fields.get(3).copied().and_then(number).or_else(|| number(who));
    let id = id.ok_or_else(|| BadAcl::NoNumber(shown()))?;
    Ok(Line { tag, id, permissions })
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn permissions_of(text: &[u8]) -> Option<u16> {
    text.iter().try_fold(0, |bits, byte| match byte {
        b'r' => Some(bits | 4),
        b'w' => Some(bits | 2),
        b'x' => Some(bits | 1),
        b'-' => Some(bits),
        _ => None,
    })
}

/// From the value of the attribute as programs see it.
pub(super) fn from_xattr(value: &[u8]) -> Result<Option<Vec<u8>>, BadAcl> {
    let (version, lines) = value.split_first_chunk().ok_or(BadAcl::Attribute)?;
    let (lines, rest) = lines.as_chunks::<8>();
    if u32::from_le_bytes(*version) != ATTRIBUTE_VERSION || !rest.is_empty() {
        return Err(BadAcl::Attribute);
    }
    let line = |[t0, t1, p0, p1, id @ ..]: &[u8; 8]| {
        let (tag, permissions) = (u16::from_le_bytes([*t0, *t1]), u16::from_le_bytes([*p0, *p1]));
        let is_known = matches!(tag, USER_OBJ | USER | GROUP_OBJ | GROUP | MASK | OTHER);
        let line = Line { tag, id: u32::from_le_bytes(*id), permissions };
        (is_known && permissions <= 7).then_some(line).ok_or(BadAcl::Attribute)
    };
    Ok(encode(lines.iter().map(line).collect::<Result<Vec<_>, _>>()?))
}

/// The form on disk. The kernel keeps none that says no more than the mode.
fn encode(mut lines: Vec<Line>) -> Option<Vec<u8>> {
    let is_named = |line: &Line| matches!(line.tag, USER | GROUP);
    if !lines.iter().any(|line| is_named(line) || line.tag == MASK) && lines.len() <= 3 {
        return None;
    }
    lines.sort_unstable();
    let mut bytes = DISK_VERSION.to_le_bytes().to_vec();
    for line in &lines {
        bytes.extend_from_slice(&line.tag.to_le_bytes());
        bytes.extend_from_slice(&line.permissions.to_le_bytes());
        if is_named(line) {
            bytes.extend_from_slice(&line.id.to_le_bytes());
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attribute_give_the_same() {
        let disk = [
            1, 0, 0, 0, 1, 0, 7, 0, 2, 0, 5, 0, 33, 0, 0, 0, 4, 0, 5, 0, 0x10, 0, 5, 0, 0x20, 0, 4,
            0,
        ];
        let text = b"user::rwx\nuser:www-data:r-x:33\ngroup::r-x\nmask::r-x\nother::r--\n";
        assert_eq!(from_text(text).unwrap().unwrap(), disk);
        assert_eq!(from_text(b"u::rwx,u:33:r-x,g::r-x,m::r-x,o::r--").unwrap().unwrap(), disk);
        let mut attribute = vec![2, 0, 0, 0];
        for (tag, permissions, id) in
            [(1, 7, u32::MAX), (2, 5, 33), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 4, u32::MAX)]
        {
            attribute.extend_from_slice(&[tag, 0, permissions, 0]);
            attribute.extend_from_slice(&id.to_le_bytes());
        }
        assert_eq!(from_xattr(&attribute).unwrap().unwrap(), disk);
    }

    #[test]
    fn what_the_mode_says_needs_no_list() {
        assert_eq!(from_text(b"user::rwx,group::r-x,other::r-x"), Ok(None));
        assert_eq!(from_text(b""), Ok(None));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!(from_text(b"user:bob:rwx"), Err(BadAcl::NoNumber(_))));
        for text in ["user", "user::rq-", "who::rwx", "mask:3:rwx", "a:b:c:d:e"] {
            assert!(matches!(from_text(text.as_bytes()), Err(BadAcl::Entry(_))), "{text}");
        }
        for value in
            [&b""[..], &[1, 0, 0, 0], &[2, 0, 0, 0, 1], &[2, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0, 0]]
        {
            assert_eq!(from_xattr(value), Err(BadAcl::Attribute));
        }
    }
}

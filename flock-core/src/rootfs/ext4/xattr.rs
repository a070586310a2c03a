//! Extended attributes: in the inode as far as there is room, then in a block.
//!
//! Format: kernel documentation, ext4, "Extended Attributes".

use std::collections::BTreeMap;

use super::acl;
use super::bytes::{put, put16, put32, short};
use super::checksum::Seed;
use super::geometry::BLOCK_SIZE;
use super::inode::ATTRIBUTES_SIZE;
use crate::rootfs::entry::{EntryKind, Metadata};
use crate::rootfs::index::ACL_TEXT;

const MAGIC: u32 = 0xEA02_0000;
/// What stands before the entries of a block.
const BLOCK_HEADER: usize = 32;
/// What stands before the entries in an inode.
const INODE_HEADER: usize = 4;
/// What stands before a name.
const ENTRY_HEADER: usize = 16;
/// The zeros that end the entries.
const END: usize = 4;
/// The room in a block, and in an inode.
const BLOCK_ROOM: usize = BLOCK_SIZE - BLOCK_HEADER;
const INODE_ROOM: usize = ATTRIBUTES_SIZE - INODE_HEADER;

/// Beginnings of names, and the numbers that stand for them.
const PREFIXES: [(&[u8], u8); 4] =
    [(USER, 1), (b"trusted.", 4), (b"security.", 6), (b"system.", 7)];
const USER: &[u8] = b"user.";
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// Why attributes cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("has an extended attribute '{0}', whose namespace ext4 does not know")]
    Namespace(String),
    #[error("has an extended attribute without a name of its own, '{0}'")]
    Name(String),
    #[error("has the extended attribute '{0}', which Linux knows of files and directories only")]
    User(String),
    #[error(
        "has {0} bytes of extended attributes, more than fit into its inode and one block of 4 KiB"
    )]
    TooLarge(usize),
    #[error("has an access list that flock cannot read: {0}")]
    Acl(#[from] acl::BadAcl),
}

/// One attribute: sorted as blocks want it, by prefix, length and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    prefix: u8,
    length: u8,
    name: Vec<u8>,
}

type Attribute = (Key, Vec<u8>);

/// The attributes of one inode.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    in_inode: Vec<Attribute>,
    in_block: Vec<Attribute>,
}

impl Attributes {
    /// What an entry's metadata says, in the form and place that ext4 has for
    /// it.
    pub(super) fn of(kind: &EntryKind, metadata: &Metadata) -> Result<Self, Unfit> {
        let mut all = BTreeMap::new();
        let is_acl = |(key, _): &&(Vec<u8>, Vec<u8>)| key.starts_with(ACL_TEXT);
        for (key, text) in metadata.other.iter().filter(is_acl) {
            let name = if key.ends_with(b".default") { ACL_DEFAULT } else { ACL_ACCESS };
            add(&mut all, name, acl::from_text(text)?.as_deref())?;
        }
        let may_have_user = matches!(
            kind,
            EntryKind::File { .. } | EntryKind::Hardlink { .. } | EntryKind::Directory
        );
        for xattr in &metadata.xattrs {
            if !may_have_user && xattr.name.starts_with(USER) {
                return Err(Unfit::User(xattr.name.escape_ascii().to_string()));
            }
            let is_acl = xattr.name == ACL_ACCESS || xattr.name == ACL_DEFAULT;
            let acl = if is_acl { acl::from_xattr(&xattr.value)? } else { None };
            let value = if is_acl { acl.as_deref() } else { Some(xattr.value.as_slice()) };
            add(&mut all, &xattr.name, value)?;
        }
        Self::divide(all)
    }

    /// Puts into the inode what fits, in the order of the names.
    fn divide(all: BTreeMap<Key, Vec<u8>>) -> Result<Self, Unfit> {
        let total = all.iter().map(|(key, value)| size(key, value)).sum();
        let mut attributes = Self::default();
        let (mut inode, mut block) = (INODE_ROOM - END, BLOCK_ROOM - END);
        for (key, value) in all {
            let size = size(&key, &value);
            if size <= inode {
                inode -= size;
                attributes.in_inode.push((key, value));
            } else {
                block = block.checked_sub(size).ok_or(Unfit::TooLarge(total))?;
                attributes.in_block.push((key, value));
            }
        }
        Ok(attributes)
    }

    /// Whether they need a block of their own.
    pub(super) fn need_block(&self) -> bool {
        !self.in_block.is_empty()
    }

    /// Those in the inode.
    pub(super) fn inode_bytes(&self) -> [u8; ATTRIBUTES_SIZE] {
        let mut bytes = [0; ATTRIBUTES_SIZE];
        if !self.in_inode.is_empty() {
            put32(&mut bytes, 0, MAGIC);
            // Offsets count from the first entry, and hashes are left out.
            fill(&mut bytes[INODE_HEADER..], 0, &self.in_inode, |_, _| 0);
        }
        bytes
    }

    /// Those in the block, which is number `place`.
    pub(super) fn block_bytes(&self, place: u32, seed: Seed) -> [u8; BLOCK_SIZE] {
        let mut block = [0; BLOCK_SIZE];
        put32(&mut block, 0, MAGIC);
        put32(&mut block, 4, 1);
        put32(&mut block, 8, 1);
        fill(&mut block, BLOCK_HEADER, &self.in_block, entry_hash);
        let hashes: Vec<u32> =
            self.in_block.iter().map(|(key, value)| entry_hash(key, value)).collect();
        if !hashes.contains(&0) {
            let hash = hashes.iter().fold(0u32, |hash, entry| hash.rotate_left(16) ^ entry);
            put32(&mut block, 12, hash);
        }
        let sum = seed.and(&u64::from(place).to_le_bytes()).and(&block).sum();
        put32(&mut block, 16, sum);
        block
    }
}

/// Adds an attribute, or takes the place of one of its name. Without a value
/// there is none.
fn add(all: &mut BTreeMap<Key, Vec<u8>>, name: &[u8], value: Option<&[u8]>) -> Result<(), Unfit> {
    let key = key(name)?;
    match value {
        Some(value) => all.insert(key, value.to_vec()),
        None => all.remove(&key),
    };
    Ok(())
}

fn key(name: &[u8]) -> Result<Key, Unfit> {
    let shown = || name.escape_ascii().to_string();
    let (prefix, rest) = match name {
        ACL_ACCESS => (2, &b""[..]),
        ACL_DEFAULT => (3, &b""[..]),
        _ => PREFIXES
            .iter()
            .find_map(|(text, prefix)| Some((*prefix, name.strip_prefix(*text)?)))
            .ok_or_else(|| Unfit::Namespace(shown()))?,
    };
    let is_named = !rest.is_empty() || prefix == 2 || prefix == 3;
    let length = u8::try_from(rest.len()).ok().filter(|_| is_named && !rest.contains(&0));
    let length = length.ok_or_else(|| Unfit::Name(shown()))?;
    Ok(Key { prefix, length, name: rest.to_vec() })
}

/// How many bytes an attribute takes.
fn size(key: &Key, value: &[u8]) -> usize {
    ENTRY_HEADER + key.name.len().next_multiple_of(4) + value.len().next_multiple_of(4)
}

/// Puts entries from `start` on, and their values before the end.
fn fill(
    area: &mut [u8],
    start: usize,
    attributes: &[Attribute],
    hash: impl Fn(&Key, &[u8]) -> u32,
) {
    let (mut at, mut end) = (start, area.len());
    for (key, value) in attributes {
        end -= value.len().next_multiple_of(4);
        area[at] = key.length;
        area[at + 1] = key.prefix;
        put16(area, at + 2, if value.is_empty() { 0 } else { short(end) });
        put(area, at + 8, &value.len().to_le_bytes()[..4]);
        put32(area, at + 12, hash(key, value));
        put(area, at + ENTRY_HEADER, &key.name);
        put(area, end, value);
        at += ENTRY_HEADER + key.name.len().next_multiple_of(4);
    }
}

/// The hash of an attribute in a block: of its name, then of its value.
fn entry_hash(key: &Key, value: &[u8]) -> u32 {
    let name = key.name.iter().fold(0u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
    value.chunks(4).fold(name, |hash, bytes| {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::entry::Xattr;

    fn metadata(xattrs: &[(&str, usize)]) -> Metadata {
        let xattr = |(name, length): &(&str, usize)| Xattr {
            name: name.as_bytes().to_vec(),
            value: vec![7; *length],
        };
        Metadata { xattrs: xattrs.iter().map(xattr).collect(), ..Metadata::default() }
    }

    fn places(xattrs: &[(&str, usize)]) -> Result<(usize, usize), Unfit> {
        let attributes = Attributes::of(&EntryKind::Directory, &metadata(xattrs))?;
        Ok((attributes.in_inode.len(), attributes.in_block.len()))
    }

    #[test]
    fn what_does_not_fit_goes_to_a_block() {
        assert_eq!(places(&[]), Ok((0, 0)));
        assert_eq!(places(&[("security.capability", 20)]), Ok((1, 0)));
        assert_eq!(places(&[("user.a", 68)]), Ok((1, 0)));
        assert_eq!(places(&[("user.a", 69)]), Ok((0, 1)));
        assert_eq!(places(&[("user.a", 30), ("user.b", 40)]), Ok((1, 1)));
        assert_eq!(places(&[("user.a", 4040)]), Ok((0, 1)));
        assert_eq!(places(&[("user.a", 1), ("user.a", 2)]), Ok((1, 0)));
    }

    #[test]
    fn what_ext4_cannot_keep_is_refused() {
        assert_eq!(places(&[("user.a", 4041)]), Err(Unfit::TooLarge(4064)));
        assert!(matches!(places(&[("com.apple.x", 1)]), Err(Unfit::Namespace(_))));
        let on_link = Attributes::of(&EntryKind::Fifo, &metadata(&[("user.a", 1)]));
        assert!(matches!(on_link, Err(Unfit::User(_))));
        assert!(matches!(places(&[("user.", 1)]), Err(Unfit::Name(_))));
        assert!(matches!(places(&[("user.a\0b", 1)]), Err(Unfit::Name(_))));
    }
}

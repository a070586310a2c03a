//! What an index keeps of an entry.

use crate::rootfs::entry::EntryKind;
use crate::rootfs::tar::{BLOCK, Member};

/// What kind of thing an indexed entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Hardlink,
    Device,
    Fifo,
}

/// One entry, as small as can be: a base has tens of thousands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Indexed {
    /// Where the name begins in the layer's names; the link target follows it.
    pub(super) name: u32,
    pub(super) name_length: u16,
    pub(super) link_length: u16,
    /// From the first header block to the stored data.
    pub(super) header_length: u32,
    pub(crate) kind: Kind,
    pub(super) flags: u8,
    pub(super) start: u64,
    pub(super) stored: u64,
    /// The logical size of a file.
    pub(crate) size: u64,
    /// Whole seconds of the time of modification.
    pub(crate) mtime: i64,
}

impl Indexed {
    /// The blocks cannot be copied as they are.
    pub(super) const REWRITE: u8 = 1;
    const ABSOLUTE: u8 = 2;
    const ABSOLUTE_LINK: u8 = 4;
    const FRACTION: u8 = 8;
    const SET_ID: u8 = 16;
    const CAPABILITY: u8 = 32;
    const ATTRIBUTES: u8 = 64;

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether the name began with `/`.
    pub(crate) fn is_absolute(&self) -> bool {
        self.has(Self::ABSOLUTE)
    }

    /// Whether the hard link's target began with `/`.
    pub(crate) fn is_absolute_link(&self) -> bool {
        self.has(Self::ABSOLUTE_LINK)
    }

    /// Whether it runs with more rights than its user has.
    pub(crate) fn is_privileged(&self) -> bool {
        self.has(Self::SET_ID | Self::CAPABILITY)
    }

    /// Whether it has extended attributes, or access lists as text.
    pub(crate) fn has_attributes(&self) -> bool {
        self.has(Self::ATTRIBUTES)
    }

    /// Whether it was modified after `limit`.
    pub(crate) fn is_newer_than(&self, limit: i64) -> bool {
        self.mtime > limit || (self.mtime == limit && self.has(Self::FRACTION))
    }

    /// Its blocks in the tar, begin and length, if they mean the same in
    /// another archive.
    pub(crate) fn raw(&self) -> Option<(u64, u64)> {
        let padded = self.stored.next_multiple_of(BLOCK as u64);
        (!self.has(Self::REWRITE)).then_some((self.start, u64::from(self.header_length) + padded))
    }

    /// How many bytes of data are stored for it.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }
}

/// What is to be known of a member without reading it again.
pub(super) fn flags(member: &Member) -> u8 {
    let link = match &member.kind {
        EntryKind::Hardlink { target } => target.as_slice(),
        _ => b"",
    };
    let mut flags = 0;
    let mut set = |flag, condition| flags |= if condition { flag } else { 0 };
    let metadata = &member.metadata;
    let has_lists = metadata.other.iter().any(|(key, _)| key.starts_with(ACL_TEXT));
    let is_privilege = |name: &[u8]| name == CAPABILITY;
    set(Indexed::REWRITE, !member.portable);
    set(Indexed::ABSOLUTE, member.path.starts_with(b"/"));
    set(Indexed::ABSOLUTE_LINK, link.starts_with(b"/"));
    set(Indexed::FRACTION, metadata.mtime.nanos > 0);
    set(Indexed::SET_ID, metadata.mode & 0o6000 != 0);
    set(Indexed::CAPABILITY, metadata.xattrs.iter().any(|x| is_privilege(&x.name)));
    set(Indexed::ATTRIBUTES, has_lists || !metadata.xattrs.is_empty());
    flags
}

/// The attribute that gives a program rights of the superuser.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// What the keys of pax records with access lists as text begin with.
pub(crate) const ACL_TEXT: &[u8] = b"SCHILY.acl.";

//! What the header and the records of a member say together.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::header::Header;
use super::pax;
use super::read::Problem;
use crate::rootfs::entry::{EntryKind, Metadata, Mtime, Xattr};
use crate::rootfs::name;

/// The one number that cannot be an owner: `(uid_t) -1`.
const NO_ID: u32 = u32::MAX;

/// What header and records say together.
pub(super) struct Facts {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) stored: u64,
    pub(super) size: u64,
    pub(super) sparse_size: Option<u64>,
    device: (u32, u32),
    pub(super) metadata: Metadata,
    /// Attributes in the words of libarchive, which those of others overrule.
    translated: Vec<Xattr>,
}

impl Facts {
    pub(super) fn from_header(header: &Header<'_>) -> Result<Self, Problem> {
        use Problem::BadNumber;
        let (major, minor) = header.device().ok_or(BadNumber("device number"))?;
        Ok(Self {
            path: header.path(),
            link: header.link().to_vec(),
            stored: header.size().ok_or(BadNumber("size"))?,
            size: 0,
            sparse_size: None,
            device: (narrow(major)?, narrow(minor)?),
            metadata: Metadata {
                // The file type that old writers put above the mode is no part of it.
                mode: (header.mode().ok_or(BadNumber("mode"))? & 0o7777) as u32,
                // A record may still put right what does not fit here.
                uid: header.uid().and_then(|id| u32::try_from(id).ok()).unwrap_or(NO_ID),
                gid: header.gid().and_then(|id| u32::try_from(id).ok()).unwrap_or(NO_ID),
                uname: header.uname().to_vec(),
                gname: header.gname().to_vec(),
                mtime: Mtime { seconds: header.mtime().ok_or(BadNumber("time"))?, nanos: 0 },
                xattrs: Vec::new(),
                other: Vec::new(),
            },
            translated: Vec::new(),
        })
    }

    /// Fails if owner or group is a number that Linux has no room for.
    pub(super) fn check_owner(&self) -> Result<(), Problem> {
        match (self.metadata.uid, self.metadata.gid) {
            (NO_ID, _) => Err(Problem::BadNumber("owner")),
            (_, NO_ID) => Err(Problem::BadNumber("group")),
            _ => Ok(()),
        }
    }

    /// How many records of one sort are kept.
    pub(super) fn records(&self) -> usize {
        let metadata = &self.metadata;
        metadata.xattrs.len().max(metadata.other.len()).max(self.translated.len())
    }

    /// Takes on the attributes that only libarchive's records hold; whether
    /// there were any.
    pub(super) fn take_translated(&mut self) -> bool {
        let known = &mut self.metadata.xattrs;
        let before = known.len();
        for xattr in std::mem::take(&mut self.translated) {
            if !known.iter().any(|old| old.name == xattr.name) {
                known.push(xattr);
            }
        }
        known.len() > before
    }

    /// Applies one record. An empty value says nothing, except for extended
    /// attributes, which may be empty, and for the size, which tells where the
    /// next entry begins and which readers would understand differently.
    pub(super) fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            let name = pax::decode_xattr_name(name);
            put(&mut self.metadata.xattrs, Xattr { name, value: value.to_vec() });
            return Ok(());
        }
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            put(&mut self.translated, libarchive_xattr(name, value)?);
            return Ok(());
        }
        if value.is_empty() && key != b"size" {
            return Ok(());
        }
        let number = |what| pax::decimal(value).ok_or(Problem::BadNumber(what));
        let id = |what| {
            number(what).and_then(|n| u32::try_from(n).map_err(|_| Problem::BadNumber(what)))
        };
        match key {
            b"path" | b"GNU.sparse.name" => self.path = value.to_vec(),
            b"linkpath" => self.link = value.to_vec(),
            b"size" => self.stored = number("size")?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse_size = Some(number("size")?);
            }
            b"uid" => self.metadata.uid = id("owner")?,
            b"gid" => self.metadata.gid = id("group")?,
            b"uname" => self.metadata.uname = value.to_vec(),
            b"gname" => self.metadata.gname = value.to_vec(),
            b"SCHILY.devmajor" => self.device.0 = id("device number")?,
            b"SCHILY.devminor" => self.device.1 = id("device number")?,
            b"mtime" => {
                let (seconds, nanos) = pax::time(value).ok_or(Problem::BadNumber("time"))?;
                self.metadata.mtime = Mtime { seconds, nanos };
            }
            b"hdrcharset" | b"charset" | b"comment" => {}
            _ if key.starts_with(b"GNU.sparse.") => {}
            _ => {
                self.metadata.other.retain(|(old, _)| old != key);
                self.metadata.other.push((key.to_vec(), value.to_vec()));
            }
        }
        Ok(())
    }

    pub(super) fn kind(&mut self, typeflag: u8) -> EntryKind {
        let (major, minor) = self.device;
        match typeflag {
            b'1' => EntryKind::Hardlink { target: std::mem::take(&mut self.link) },
            b'2' => EntryKind::Symlink { target: std::mem::take(&mut self.link) },
            b'3' => EntryKind::CharDevice { major, minor },
            b'4' => EntryKind::BlockDevice { major, minor },
            b'6' => EntryKind::Fifo,
            _ => EntryKind::Directory,
        }
    }
}

/// Puts an attribute in the place of an earlier one of its name.
fn put(xattrs: &mut Vec<Xattr>, xattr: Xattr) {
    xattrs.retain(|old| old.name != xattr.name);
    xattrs.push(xattr);
}

/// An attribute as libarchive writes it beside or instead of `SCHILY.xattr.`:
/// the name with `%` and two hexadecimal digits for what is not plain ASCII,
/// the value in base 64 without padding. (Format: libarchive's tar(5), "Pax
/// Interchange Format".)
fn libarchive_xattr(name: &[u8], value: &[u8]) -> Result<Xattr, Problem> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let name = pax::decode_percent(name);
    match BASE64.decode(value) {
        Ok(value) => Ok(Xattr { name, value }),
        Err(_) => Err(Problem::BadAttribute(name::show(&name))),
    }
}

fn narrow(number: i64) -> Result<u32, Problem> {
    u32::try_from(number).map_err(|_| Problem::BadNumber("device number"))
}

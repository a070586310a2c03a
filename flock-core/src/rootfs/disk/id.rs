//! The identifiers that disks and partitions carry.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::{Error, ErrorKind};

/// A UUID (RFC 9562): a disk's, a partition's, a file system's.
///
/// In text it has the usual form. The same name and seed give the same UUID,
/// so that an image made twice is the same twice:
///
/// ```
/// use flock_core::rootfs::disk::DiskId;
///
/// let id = DiskId::derive("disk", &[b"the content's checksum"]);
/// assert_eq!(id, DiskId::derive("disk", &[b"the content's checksum"]));
/// assert_ne!(id, DiskId::derive("partition 1", &[b"the content's checksum"]));
/// assert_eq!(id.to_string().parse::<DiskId>().unwrap(), id);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiskId([u8; 16]);

impl DiskId {
    /// The UUID of these bytes, in the order in which its text shows them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A UUID (version 8) that follows from a name and a seed, by SHA-256.
    #[must_use]
    pub fn derive(name: &str, seed: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(name.as_bytes()).chain(seed.iter().copied()) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid().into_bytes())
    }

    /// The bytes, in the order in which the text shows them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The UUID whose first three fields are stored with their least
    /// significant byte first (UEFI 2.10, appendix A).
    pub(super) fn from_mixed_endian(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes_le(bytes).into_bytes())
    }

    /// The bytes as [`from_mixed_endian`](DiskId::from_mixed_endian) takes
    /// them.
    pub(super) fn to_mixed_endian(self) -> [u8; 16] {
        uuid::Uuid::from_bytes(self.0).to_bytes_le()
    }

    /// Whether all bytes are zero, which identifies nothing.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.0 == [0; 16]
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskId({self})")
    }
}

impl FromStr for DiskId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let uuid = uuid::Uuid::try_parse(text).map_err(|source| {
            Error::new(ErrorKind::InvalidConfig, format!("'{text}' is not a UUID"))
                .hint("for example 6fa459ea-ee8a-4ca4-894e-db77e160355e")
                .caused_by(source)
        })?;
        Ok(Self(uuid.into_bytes()))
    }
}

impl serde::Serialize for DiskId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

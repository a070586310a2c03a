//! What can be chosen about a file system.

use std::num::NonZeroUsize;

use crate::{Error, ErrorKind, Result};

/// How many bytes a label may have.
const MAX_LABEL: usize = 16;
/// More than this is not for root alone in any file system that is of use.
const MAX_RESERVED: u8 = 50;

/// What can be chosen about an ext4 file system.
///
/// ```
/// use flock_core::rootfs::ext4::Ext4Options;
///
/// let options = Ext4Options::default().with_size(8 << 30).with_label("web");
/// assert_eq!(options.reserved_percent, 5);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ext4Options {
    /// The size of the disk or partition in bytes, rounded down to 4 KiB.
    ///
    /// By default twice what the content takes with all metadata, rounded up
    /// to whole GiB, and at least 2 GiB.
    pub size: Option<u64>,
    /// How much of the disk is not the file system's, in bytes: the size by
    /// default leaves it, so that the disk has whole GiB. 0 by default.
    pub around: u64,
    /// The volume label, at most 16 bytes; none by default.
    pub label: String,
    /// The UUID. By default it is derived from the names, kinds, sizes, times
    /// and links of everything in the tree, from extended attributes, and from
    /// the other options.
    pub uuid: Option<[u8; 16]>,
    /// How many inodes there are, at least. By default one for every 16 KiB
    /// of the size as `mke2fs` has it (4 KiB below 512 MiB, 32 KiB from 4 TiB
    /// on), and always a quarter and 1,024 more than the tree needs.
    pub inodes: Option<u32>,
    /// How many percent of the blocks only root may use: 5 by default, 50 at
    /// most.
    pub reserved_percent: u8,
    /// How many threads write: as many as there are cores by default. The
    /// result does not depend on it.
    pub threads: NonZeroUsize,
}

impl Default for Ext4Options {
    fn default() -> Self {
        Self {
            size: None,
            around: 0,
            label: String::new(),
            uuid: None,
            inodes: None,
            reserved_percent: 5,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

impl Ext4Options {
    /// Sets [`around`](Self::around), in bytes.
    #[must_use]
    pub fn with_around(mut self, bytes: u64) -> Self {
        self.around = bytes;
        self
    }

    /// Sets [`size`](Self::size), in bytes.
    #[must_use]
    pub fn with_size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Sets [`label`](Self::label).
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets [`uuid`](Self::uuid), in the order of its text form.
    #[must_use]
    pub fn with_uuid(mut self, uuid: [u8; 16]) -> Self {
        self.uuid = Some(uuid);
        self
    }

    /// Sets [`inodes`](Self::inodes).
    #[must_use]
    pub fn with_inodes(mut self, count: u32) -> Self {
        self.inodes = Some(count);
        self
    }

    /// Sets [`reserved_percent`](Self::reserved_percent).
    #[must_use]
    pub fn with_reserved_percent(mut self, percent: u8) -> Self {
        self.reserved_percent = percent;
        self
    }

    /// Sets [`threads`](Self::threads).
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Refuses what no file system can have.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
        if self.label.len() > MAX_LABEL || self.label.contains('\0') {
            return refuse(format!(
                "'{}' cannot be the label of an ext4 file system: at most {MAX_LABEL} bytes, \
                 without NUL",
                self.label.escape_debug()
            ));
        }
        if self.reserved_percent > MAX_RESERVED {
            let percent = self.reserved_percent;
            return refuse(format!(
                "{percent} percent of an ext4 file system cannot be reserved, at most {MAX_RESERVED}"
            ));
        }
        Ok(())
    }
}

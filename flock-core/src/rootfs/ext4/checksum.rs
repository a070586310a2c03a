//! The CRC32C that protects every metadata block.
//!
//! Format: kernel documentation, ext4, "Checksums". ext4 keeps the register
//! as it is, where the usual CRC32C inverts it at begin and end.

/// A checksum begun: with the file system's UUID, an inode's number, …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    /// The seed before anything was summed up, as the superblock uses it.
    pub(super) const START: Self = Self(u32::MAX);

    /// The seed for everything of a file system but its superblock.
    pub(super) fn of_file_system(uuid: &[u8; 16]) -> Self {
        Self::START.and(uuid)
    }

    /// The seed for everything of an inode, whose generation is 0.
    pub(super) fn of_inode(self, number: u32) -> Self {
        self.and(&number.to_le_bytes()).and(&[0; 4])
    }

    /// The seed that goes on behind these bytes.
    pub(super) fn and(self, bytes: &[u8]) -> Self {
        Self(!crc32c::crc32c_append(!self.0, bytes))
    }

    /// The checksum.
    pub(super) fn sum(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_where_it_stopped() {
        // The check value of CRC-32C in the catalogue of CRC algorithms.
        assert_eq!(!Seed::START.and(b"123456789").sum(), 0xE306_9283);
        assert_eq!(Seed::START.and(b"1234").and(b"56789"), Seed::START.and(b"123456789"));
    }
}

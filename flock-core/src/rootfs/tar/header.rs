//! One 512-byte header block.

use super::number;

/// Length of every block of a tar archive.
pub(crate) const BLOCK: usize = 512;

/// A header block whose checksum was found right.
pub(crate) struct Header<'a>(&'a [u8]);

/// Why a block is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadChecksum;

impl<'a> Header<'a> {
    /// Checks the checksum of a block, which must be 512 bytes long.
    ///
    /// Both sums count: POSIX adds unsigned bytes, some old writers signed ones.
    pub(crate) fn parse(block: &'a [u8]) -> Result<Self, BadChecksum> {
        if block.len() != BLOCK {
            return Err(BadChecksum);
        }
        let (unsigned, signed) = checksums(block);
        match number::parse(&block[148..156]) {
            Some(sum) if sum == unsigned || sum == signed => Ok(Self(block)),
            _ => Err(BadChecksum),
        }
    }

    pub(crate) fn typeflag(&self) -> u8 {
        self.0[156]
    }

    /// The name, with the prefix that only POSIX headers have: GNU puts times
    /// there, V7 nothing.
    pub(crate) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[0..100]);
        let prefix = if self.is_posix() { text(&self.0[345..500]) } else { b"" };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(crate) fn link(&self) -> &'a [u8] {
        text(&self.0[157..257])
    }

    pub(crate) fn mode(&self) -> Option<i64> {
        number::parse(&self.0[100..108])
    }

    pub(crate) fn uid(&self) -> Option<i64> {
        number::parse(&self.0[108..116])
    }

    pub(crate) fn gid(&self) -> Option<i64> {
        number::parse(&self.0[116..124])
    }

    pub(crate) fn size(&self) -> Option<u64> {
        number::parse(&self.0[124..136]).and_then(|size| u64::try_from(size).ok())
    }

    pub(crate) fn mtime(&self) -> Option<i64> {
        number::parse(&self.0[136..148])
    }

    pub(crate) fn uname(&self) -> &'a [u8] {
        if self.has_magic() { text(&self.0[265..297]) } else { b"" }
    }

    pub(crate) fn gname(&self) -> &'a [u8] {
        if self.has_magic() { text(&self.0[297..329]) } else { b"" }
    }

    pub(crate) fn device(&self) -> Option<(i64, i64)> {
        if !self.has_magic() {
            return Some((0, 0));
        }
        Some((number::parse(&self.0[329..337])?, number::parse(&self.0[337..345])?))
    }

    /// The part of a GNU sparse header (type `S`) that describes the map: four
    /// segments, whether more blocks of them follow, and the logical size.
    pub(crate) fn gnu_sparse(&self) -> (&'a [u8], bool, Option<u64>) {
        let size = number::parse(&self.0[483..495]).and_then(|size| u64::try_from(size).ok());
        (&self.0[386..482], self.0[482] != 0, size)
    }

    fn has_magic(&self) -> bool {
        &self.0[257..262] == b"ustar"
    }

    fn is_posix(&self) -> bool {
        &self.0[257..263] == b"ustar\0"
    }
}

/// A fixed-width text field: up to the first NUL, or all of it.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

/// The sum over the block with its checksum field taken as spaces.
fn checksums(block: &[u8]) -> (i64, i64) {
    let mut sums = (0i64, 0i64);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        sums.0 += i64::from(byte);
        sums.1 += i64::from(byte.cast_signed());
    }
    sums
}

/// Puts the checksum into a finished header block, as POSIX wants it: six
/// octal digits, NUL, space.
pub(crate) fn seal(block: &mut [u8; BLOCK]) {
    let (sum, _) = checksums(block);
    number::write_octal(&mut block[148..155], sum.cast_unsigned());
    block[155] = b' ';
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> [u8; BLOCK] {
        let mut block = [0u8; BLOCK];
        block[..5].copy_from_slice(b"b.txt");
        block[100..108].copy_from_slice(b"0000644\0");
        block[257..263].copy_from_slice(b"ustar\0");
        block[345..348].copy_from_slice(b"dir");
        block
    }

    #[test]
    fn the_checksum_guards_every_byte() {
        let mut sealed = block();
        seal(&mut sealed);
        assert!(Header::parse(&sealed).is_ok());
        sealed[300] ^= 1;
        assert!(Header::parse(&sealed).is_err());
        assert!(Header::parse(&sealed[..100]).is_err());
    }

    #[test]
    fn signed_sums_of_old_writers_count() {
        let mut block = block();
        block[0] = 0xe9;
        let (_, signed) = checksums(&block);
        number::write_octal(&mut block[148..155], signed.cast_unsigned());
        assert!(Header::parse(&block).is_ok());
    }

    #[test]
    fn only_posix_headers_have_a_prefix() {
        let mut posix = block();
        seal(&mut posix);
        assert_eq!(Header::parse(&posix).unwrap().path(), b"dir/b.txt");
        let mut gnu = block();
        gnu[257..265].copy_from_slice(b"ustar  \0");
        seal(&mut gnu);
        assert_eq!(Header::parse(&gnu).unwrap().path(), b"b.txt");
    }
}

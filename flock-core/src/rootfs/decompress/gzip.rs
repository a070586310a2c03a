//! gzip files: members one behind the other, and zeros behind the last.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// Decodes every member of a gzip file (RFC 1952, section 2.2).
///
/// Zeros behind the last member are padding, as tapes and block devices leave
/// it, and are read over: so does GNU gzip (its manual, section "Using gzip on
/// tapes"). Anything else there is an error, also behind zeros.
pub(super) struct Members<R: BufRead> {
    /// `None` only while one member follows the other.
    member: Option<GzDecoder<R>>,
    ended: bool,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)), ended: false }
    }

    /// What is decoded.
    pub(super) fn input(&self) -> Option<&R> {
        self.member.as_ref().map(GzDecoder::get_ref)
    }

    /// Goes on to the next member, or to the end.
    fn next_member(&mut self) -> io::Result<()> {
        let Some(member) = &mut self.member else { return Err(lost()) };
        match behind_member(member.get_mut())? {
            Behind::Member => {
                let input = self.member.take().ok_or_else(lost)?.into_inner();
                self.member = Some(GzDecoder::new(input));
            }
            Behind::End => self.ended = true,
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buffer.is_empty() {
            let read = self.member.as_mut().ok_or_else(lost)?.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.next_member()?;
        }
        Ok(0)
    }
}

/// What follows a member.
enum Behind {
    Member,
    End,
}

/// Reads over zeros, which only the end may follow.
fn behind_member(input: &mut impl BufRead) -> io::Result<Behind> {
    let mut padded = false;
    loop {
        let bytes = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        match (bytes.len(), zeros) {
            (0, _) => return Ok(Behind::End),
            (length, zeros) if zeros < length => {
                let follows = "something other than zeros follows the padding";
                return match padded || zeros > 0 {
                    true => Err(io::Error::new(io::ErrorKind::InvalidData, follows)),
                    false => Ok(Behind::Member),
                };
            }
            (length, _) => input.consume(length),
        }
        padded = true;
    }
}

fn lost() -> io::Error {
    io::Error::other("the gzip decoder was used after it failed")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut output = Vec::new();
        let input = io::BufReader::with_capacity(5, data);
        Members::new(input).read_to_end(&mut output).map(|_| output)
    }

    #[test]
    fn padding_with_zeros_is_read_over() {
        let mut file = [member(b"one "), member(b""), member(b"two")].concat();
        assert_eq!(decode(&file).unwrap(), b"one two");
        for padding in [1, 4, 5, 512, 10_240] {
            file.extend(vec![0; padding]);
            assert_eq!(decode(&file).unwrap(), b"one two");
        }
    }

    #[test]
    fn nothing_else_may_follow() {
        let padded = [vec![0; 100], member(b"behind zeros")].concat();
        for tail in [&b"x"[..], b"\0x", &padded] {
            let file = [&member(b"one"), tail].concat();
            assert!(decode(&file).is_err(), "{tail:?}");
        }
    }
}

//! Maps of sparse files: which stretches of a file have data in the archive.
//!
//! Formats as the GNU tar manual describes them in "Storing Sparse Files":
//! the old GNU header (type `S`) and PAX 0.0, 0.1 and 1.0.

use super::header::BLOCK;
use super::number;
use super::pax::{self, Record};

/// A stretch of data; its bytes follow those of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// The most segments that a file may have.
pub(crate) const MAX_SEGMENTS: usize = 1 << 20;

/// How the pax records of an entry announce a sparse file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Announced {
    /// PAX 0.0 and 0.1: the map stands in the records.
    InRecords(Vec<Segment>),
    /// PAX 1.0: the map stands before the data.
    BeforeData,
}

/// Finds the sparse format among the records. `Ok(None)` if the file is not
/// sparse, `Err` if what they say is malformed.
pub(crate) fn announced(records: &[Record]) -> Result<Option<Announced>, ()> {
    let (mut major, mut minor) = (None, None);
    let mut map: Option<Vec<Segment>> = None;
    let mut numbers = Vec::new();
    for (key, value) in records {
        match key.as_slice() {
            b"GNU.sparse.major" => major = Some(value.as_slice()),
            b"GNU.sparse.minor" => minor = Some(value.as_slice()),
            b"GNU.sparse.map" => map = Some(parse_list(value)?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let is_length = key.ends_with(b"numbytes");
                if (numbers.len() % 2 == 1) != is_length {
                    return Err(());
                }
                numbers.push(pax::decimal(value).ok_or(())?);
            }
            _ => {}
        }
    }
    if !is_known_version(major, minor) {
        return Err(());
    }
    match (major, map) {
        (Some(b"1"), _) => Ok(Some(Announced::BeforeData)),
        (_, Some(map)) => Ok(Some(Announced::InRecords(map))),
        _ if !numbers.is_empty() => Ok(Some(Announced::InRecords(pair(&numbers)?))),
        _ => Ok(None),
    }
}

/// Whether a version of the sparse format, if it is given, is 0.0, 0.1 or 1.0.
fn is_known_version(major: Option<&[u8]>, minor: Option<&[u8]>) -> bool {
    let minor = minor.unwrap_or(b"0");
    matches!((major, minor), (None | Some(b"0"), b"0" | b"1") | (Some(b"1"), b"0"))
}

fn parse_list(value: &[u8]) -> Result<Vec<Segment>, ()> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let numbers = value.split(|b| *b == b',').map(pax::decimal);
    pair(&numbers.collect::<Option<Vec<_>>>().ok_or(())?)
}

fn pair(numbers: &[u64]) -> Result<Vec<Segment>, ()> {
    if !numbers.len().is_multiple_of(2) {
        return Err(());
    }
    Ok(numbers.chunks_exact(2).map(|p| Segment { offset: p[0], length: p[1] }).collect())
}

/// Appends the segments of one GNU descriptor area: pairs of 12-byte numbers,
/// ended by an empty pair.
pub(crate) fn parse_gnu(area: &[u8], map: &mut Vec<Segment>) -> Result<(), ()> {
    for pair in area.chunks_exact(24) {
        if pair[0] == 0 || pair[12] == 0 {
            break;
        }
        let field = |bytes| number::parse(bytes).and_then(|n| u64::try_from(n).ok()).ok_or(());
        map.push(Segment { offset: field(&pair[..12])?, length: field(&pair[12..])? });
    }
    if map.len() > MAX_SEGMENTS { Err(()) } else { Ok(()) }
}

/// A PAX 1.0 map as it is read block by block: a count, then offset and
/// length of each segment, each number on a line of its own.
#[derive(Default)]
pub(crate) struct MapReader {
    line: Vec<u8>,
    expected: Option<usize>,
    numbers: Vec<u64>,
}

impl MapReader {
    /// Takes one block; `true` once the map is complete.
    pub(crate) fn push(&mut self, block: &[u8]) -> Result<bool, ()> {
        for byte in block {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > 20 {
                    return Err(());
                }
                continue;
            }
            let number = pax::decimal(&self.line).ok_or(())?;
            self.line.clear();
            match self.expected {
                None => {
                    let count = usize::try_from(number).ok().filter(|n| *n <= MAX_SEGMENTS);
                    self.expected = Some(count.ok_or(())? * 2);
                }
                Some(_) => self.numbers.push(number),
            }
            if self.expected == Some(self.numbers.len()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The map, once it is complete.
    pub(crate) fn finish(self) -> Result<Vec<Segment>, ()> {
        pair(&self.numbers)
    }
}

/// Writes a PAX 1.0 map, padded to whole blocks.
pub(crate) fn write_map(map: &[Segment]) -> Vec<u8> {
    use std::fmt::Write as _;
    let mut text = format!("{}\n", map.len());
    for segment in map {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}\n{}\n", segment.offset, segment.length);
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// Checks a map against the file it describes and drops empty segments: they
/// must ascend without overlap, end within `size` and add up to `stored`.
pub(crate) fn check(map: Vec<Segment>, size: u64, stored: u64) -> Result<Vec<Segment>, ()> {
    let mut end = 0u64;
    let mut sum = 0u64;
    for segment in &map {
        if segment.offset < end {
            return Err(());
        }
        end = segment.offset.checked_add(segment.length).ok_or(())?;
        sum = sum.checked_add(segment.length).ok_or(())?;
    }
    if end > size || sum != stored {
        return Err(());
    }
    Ok(map.into_iter().filter(|segment| segment.length > 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str) -> Record {
        (key.as_bytes().to_vec(), value.as_bytes().to_vec())
    }

    const MAP: [Segment; 2] =
        [Segment { offset: 0, length: 5 }, Segment { offset: 4096, length: 10 }];

    #[test]
    fn all_three_pax_formats() {
        let old = [
            record("GNU.sparse.offset", "0"),
            record("GNU.sparse.numbytes", "5"),
            record("GNU.sparse.offset", "4096"),
            record("GNU.sparse.numbytes", "10"),
        ];
        assert_eq!(announced(&old), Ok(Some(Announced::InRecords(MAP.to_vec()))));
        let list = [record("GNU.sparse.map", "0,5,4096,10")];
        assert_eq!(announced(&list), Ok(Some(Announced::InRecords(MAP.to_vec()))));
        assert_eq!(announced(&[record("GNU.sparse.major", "1")]), Ok(Some(Announced::BeforeData)));
        for version in [("2", "0"), ("1", "1"), ("0", "2"), ("", "0"), ("01", "0")] {
            let [major, minor] = [("GNU.sparse.major", version.0), ("GNU.sparse.minor", version.1)];
            let records = [record(major.0, major.1), record(minor.0, minor.1)];
            assert_eq!(announced(&records), Err(()), "{version:?}");
        }
        assert_eq!(announced(&[record("path", "x")]), Ok(None));
        assert_eq!(announced(&[record("GNU.sparse.map", "0,5,4096")]), Err(()));
        assert_eq!(announced(&[record("GNU.sparse.numbytes", "5")]), Err(()));
    }

    #[test]
    fn a_written_map_reads_back() {
        let many: Vec<_> = (0..100).map(|n| Segment { offset: n * 10_000, length: 77 }).collect();
        let bytes = write_map(&many);
        let mut reader = MapReader::default();
        let blocks = bytes.chunks(BLOCK).take_while(|b| !reader.push(b).unwrap()).count();
        assert_eq!(blocks + 1, bytes.len() / BLOCK);
        assert_eq!(reader.finish(), Ok(many));
    }

    #[test]
    fn maps_that_lie_are_refused() {
        assert!(check(MAP.to_vec(), 5000, 15).is_ok());
        assert!(check(MAP.to_vec(), 4100, 15).is_err());
        assert!(check(MAP.to_vec(), 5000, 16).is_err());
        assert!(check(vec![MAP[1], MAP[0]], 5000, 15).is_err());
        let wide = Segment { offset: 1, length: u64::MAX };
        assert!(check(vec![wide], u64::MAX, u64::MAX).is_err());
        assert!(MapReader::default().push(b"99999999999\n").is_err());
        assert!(MapReader::default().push(&[b'1'; BLOCK]).is_err());
    }
}

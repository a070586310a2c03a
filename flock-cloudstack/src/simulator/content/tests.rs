//! Files of all formats, right and wrong, whole and cut.

use std::io::Write as _;

use flate2::Compression as Level;
use flate2::write::GzEncoder;

use super::*;

/// A tar archive of one file.
pub(super) fn tar(content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append_data(&mut header, "etc/hostname", content).unwrap();
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A VHD's footer: of this type, for a disk of this size.
fn footer(kind: u32, size: u64) -> Vec<u8> {
    let mut footer = vec![0; 512];
    footer[..8].copy_from_slice(b"conectix");
    footer[48..56].copy_from_slice(&size.to_be_bytes());
    footer[60..64].copy_from_slice(&kind.to_be_bytes());
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    footer
}

fn expected(format: Format, compression: Compression) -> Expected {
    Expected { format, compression, checksum: None, file: None, max_size: 1 << 30 }
}

/// Takes in a file in pieces of this size.
async fn take(expected: Expected, file: &[u8], piece: usize) -> Result<Findings, String> {
    let intake = Intake::start(expected);
    for bytes in file.chunks(piece) {
        if !intake.push(Bytes::copy_from_slice(bytes)).await {
            break;
        }
    }
    intake.finish().await
}

async fn plain(format: Format, file: &[u8]) -> Result<u64, String> {
    take(expected(format, Compression::None), file, 300).await.map(|found| found.size)
}

#[tokio::test]
async fn contents_are_recognised() {
    let archive = tar(b"node-1");
    let size = archive.len() as u64;
    assert_eq!(plain(Format::Tar, &archive).await, Ok(size));
    assert_eq!(plain(Format::Ova, &archive).await, Ok(size));
    let dynamic = [footer(3, 4 << 20), vec![7; 5000]].concat();
    assert_eq!(plain(Format::Vhd, &dynamic).await, Ok(4 << 20));
    let fixed = [vec![7; 5000], footer(2, 5000)].concat();
    assert_eq!(plain(Format::Vhd, &fixed).await, Ok(5000));
    let mut qcow2 = vec![0; 512];
    qcow2[..4].copy_from_slice(b"QFI\xfb");
    qcow2[24..32].copy_from_slice(&(1u64 << 30).to_be_bytes());
    assert_eq!(plain(Format::Qcow2, &qcow2).await, Ok(1 << 30));
    assert_eq!(plain(Format::Raw, b"anything").await, Ok(8));
    let mut iso = vec![0; 40_000];
    iso[32_769..32_774].copy_from_slice(b"CD001");
    assert_eq!(plain(Format::Iso, &iso).await, Ok(40_000));
}

#[tokio::test]
async fn what_is_something_else_is_named() {
    let archive = tar(b"node-1");
    let mut torn = footer(3, 4 << 20);
    torn[70] ^= 1;
    let mut damaged = archive.clone();
    damaged[10] ^= 1;
    for (format, file, found) in [
        (Format::Vhd, archive.as_slice(), "POSIX tar archive"),
        (Format::Tar, b"<!DOCTYPE html><title>403</title>", "HTML document"),
        (Format::Tar, b"", "empty"),
        (Format::Raw, b"", "empty"),
        (Format::Tar, gzip(&archive).as_slice(), "gzip compressed data"),
        (Format::Tar, damaged.as_slice(), "data"),
        (Format::Vhd, torn.as_slice(), "data"),
        (Format::Vhd, footer(4, 4 << 20).as_slice(), "data"),
        (Format::Qcow2, footer(3, 4 << 20).as_slice(), "Microsoft Disk Image"),
    ] {
        let error = plain(format, file).await.unwrap_err();
        assert!(error.contains(&format!("Found: {found}")), "{format:?}: {error}");
    }
}

#[tokio::test]
async fn compressed_files_are_unpacked() {
    let archive = tar(&vec![1; 200_000]);
    let packed = gzip(&archive);
    let gzipped = || expected(Format::Tar, Compression::Gzip);
    let found = take(gzipped(), &packed, 1000).await.unwrap();
    assert_eq!(found.physical_size, packed.len() as u64);
    assert_eq!(found.size, archive.len() as u64);
    assert_eq!(found.sha256, hex(&Sha256::digest(&packed)));
    let short = take(gzipped(), &packed[..packed.len() / 2], 1000).await.unwrap_err();
    assert!(short.contains("uncompress"), "{short}");
    let not = take(gzipped(), &archive, 1000).await.unwrap_err();
    assert!(not.contains("uncompress"), "{not}");
    let bomb = Expected { max_size: 100_000, ..gzipped() };
    assert!(take(bomb, &packed, 1000).await.is_err());
}

#[tokio::test]
async fn checksums_are_of_the_file_as_it_came() {
    let packed = gzip(&tar(b"x"));
    let with = |text: &str| Expected {
        checksum: Some(Checksum::parse(text).unwrap()),
        ..expected(Format::Tar, Compression::Gzip)
    };
    let right = format!("{{SHA-256}}{}", hex(&Sha256::digest(&packed)));
    assert!(take(with(&right), &packed, 100).await.is_ok());
    let wrong = format!("{{SHA-256}}{}", hex(&Sha256::digest(b"")));
    let error = take(with(&wrong), &packed, 100).await.unwrap_err();
    assert!(error.contains("didn't match"), "{error}");
}

#[tokio::test]
async fn a_cut_file_is_none() {
    let intake = Intake::start(expected(Format::Tar, Compression::None));
    let archive = Bytes::from(tar(b"x"));
    assert!(intake.push(archive).await);
    let Intake { sender, task } = intake;
    drop(sender);
    assert_eq!(task.await.unwrap(), Err(CUT.to_owned()));
}

#[tokio::test]
async fn files_are_kept_where_wanted() {
    let archive = tar(b"x");
    let file = tempfile::NamedTempFile::new().unwrap();
    let keeping =
        Expected { file: Some(file.reopen().unwrap()), ..expected(Format::Tar, Compression::None) };
    take(keeping, &archive, 64).await.unwrap();
    assert_eq!(std::fs::read(file.path()).unwrap(), archive);
}

#[test]
fn samples_keep_both_ends() {
    let bytes: Vec<u8> = (0..3000u32).map(|number| (number % 251) as u8).collect();
    for piece in [1, 100, 511, 512, 513, 3000] {
        let mut sample = Sample::default();
        bytes.chunks(piece).for_each(|bytes| sample.add(bytes));
        assert_eq!(sample.head, bytes);
        assert_eq!(sample.tail, bytes[3000 - 512..]);
        assert_eq!(sample.size, 3000);
    }
}

//! Opening, inspecting and converting whole images.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::slice::from_ref;
use std::sync::{Arc, Mutex};

use super::partition_table::{Gpt, GptPartition, PartitionType};
use super::{
    DiskFile, DiskFormat, DiskId, DiskImage, DiskReader as _, DiskWriter as _, Outcome, RawDisk,
    convert, inspect,
};
use crate::progress::{ProgressEvent, ProgressReporter};
use crate::rootfs::output::OutputOptions;
use crate::{Context, ErrorKind};

const MIB: u64 = 1 << 20;

/// A raw disk with a GPT and something at 3 MiB.
fn raw(directory: &Path, size: u64) -> PathBuf {
    let path = directory.join("disk.img");
    let file = File::create(&path).unwrap();
    let disk = RawDisk::create(&file, size).unwrap();
    let root = GptPartition::new(
        MIB,
        size / MIB * MIB - 2 * MIB,
        PartitionType::Linux,
        DiskId::derive("1", &[]),
    );
    Gpt::new(DiskId::derive("disk", &[])).with_partition(root).write(&disk).unwrap();
    disk.write_at(b"content", 3 * MIB).unwrap();
    path
}

fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[derive(Default)]
struct Messages(Mutex<Vec<String>>);

impl ProgressReporter for Messages {
    fn report(&self, event: ProgressEvent) {
        if let ProgressEvent::Message { text, .. } = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

#[test]
fn every_format_converts_to_every_other() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::new();
    let first = raw(dir.path(), 8 * MIB);
    let options = OutputOptions::default().with_force(true).with_sync(false);
    let all = [DiskFormat::VhdFixed, DiskFormat::VhdDynamic, DiskFormat::Qcow2, DiskFormat::Raw];
    let mut path = first.clone();
    for format in all {
        let image = DiskImage::open(&path, &ctx).unwrap();
        path = dir.path().join(format.as_str());
        let done = convert(&image, format, &path, &options, &ctx).unwrap();
        assert_eq!((done.virtual_size, done.format), (8 * MIB, format));
        assert_eq!(done.file_size, fs::metadata(&path).unwrap().len());
        // The begin with the GPT, the content, the backup: three grains.
        assert_eq!(done.data, 3 * 64 * 1024);
        let found = inspect(&path, &ctx).unwrap();
        assert!(found.is_sound(), "{:?}", found.checks);
        assert_eq!(found.format, format.as_str());
        assert_eq!(found.partition_table.unwrap().kind, "gpt");
    }
    assert_eq!(fs::read(first).unwrap(), fs::read(path).unwrap());
}

#[test]
fn a_vhd_grows_to_whole_units_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let messages = Arc::new(Messages::default());
    let ctx = Context::new().with_progress(messages.clone());
    let image = DiskImage::open(&raw(dir.path(), 5 * MIB), &ctx).unwrap();
    let output = dir.path().join("disk.vhd");
    let options = OutputOptions::default();
    let done = convert(&image, DiskFormat::VhdDynamic, &output, &options, &ctx).unwrap();
    assert_eq!(done.virtual_size, 6 * MIB);
    let said = messages.0.lock().unwrap().join("\n");
    assert!(said.contains("1048576 bytes larger") && said.contains("backup"), "{said}");
    let found = inspect(&output, &ctx).unwrap();
    let wrong: Vec<_> =
        found.checks.iter().filter(|check| check.outcome == Outcome::Failed).collect();
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].name, "GPT backup");
}

#[test]
fn a_failed_conversion_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::new();
    let path = raw(dir.path(), 8 * MIB);
    let image = DiskImage::open(&path, &ctx).unwrap();
    let output = dir.path().join("disk.vhd");
    let options = OutputOptions::default();
    let cancelled = Context::new();
    cancelled.cancel();
    let error = convert(&image, DiskFormat::VhdDynamic, &output, &options, &cancelled).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let huge = dir.path().join("huge.img");
    File::create(&huge).unwrap().set_len(3 << 40).unwrap();
    let huge = DiskImage::open(&huge, &ctx).unwrap();
    let error = convert(&huge, DiskFormat::VhdDynamic, &output, &options, &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    // A file that ends sooner than it did when it was opened.
    File::options().write(true).open(&path).unwrap().set_len(4 * MIB).unwrap();
    let error = convert(&image, DiskFormat::Qcow2, &output, &options, &ctx);
    assert!(error.is_err() || image.next_data(4 * MIB).unwrap().is_none());
    let _ = fs::remove_file(&output);
    assert_eq!(names(dir.path()), ["disk.img", "huge.img"]);
}

#[test]
fn what_is_there_stays_unless_it_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::new();
    let image = DiskImage::open(&raw(dir.path(), 8 * MIB), &ctx).unwrap();
    let output = dir.path().join("disk.qcow2");
    fs::write(&output, "mine").unwrap();
    let options = OutputOptions::default();
    let error = convert(&image, DiskFormat::Qcow2, &output, &options, &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&output).unwrap(), b"mine");
    convert(&image, DiskFormat::Qcow2, &output, &options.with_force(true), &ctx).unwrap();
    // Over itself: the old one is read until the new one is complete.
    let image = DiskImage::open(&output, &ctx).unwrap();
    let options = OutputOptions::default().with_force(true);
    convert(&image, DiskFormat::Raw, &output, &options, &ctx).unwrap();
    let image = DiskImage::open(&output, &ctx).unwrap();
    let mut bytes = [0; 7];
    image.read_at(&mut bytes, 3 * MIB).unwrap();
    assert_eq!((image.format(), &bytes), (DiskFormat::Raw, b"content"));
}

#[test]
fn a_damaged_image_is_told_and_not_converted() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::new();
    let path = dir.path().join("disk.vhd");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let disk = DiskFile::create(&file, DiskFormat::VhdDynamic, 4 * MIB, from_ref(&(0..1))).unwrap();
    let length = disk.finish(DiskId::derive("disk", &[]), 0).unwrap();
    file.write_all_at(b"X", length - 500).unwrap();
    let found = inspect(&path, &ctx).unwrap();
    assert!(!found.is_sound());
    assert_eq!((found.format, found.virtual_size), ("vhd-dynamic", Some(4 * MIB)));
    let image = DiskImage::open(&path, &ctx).unwrap();
    let output = dir.path().join("disk.img");
    let error =
        convert(&image, DiskFormat::Raw, &output, &OutputOptions::default(), &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(!output.exists());
    // With the header gone too, nothing but the failure is known.
    file.write_all_at(b"X", 600).unwrap();
    let found = inspect(&path, &ctx).unwrap();
    assert_eq!((found.format, found.virtual_size), ("vhd", None));
    assert!(found.checks.iter().any(|check| check.name == "structure"));
}

#[test]
fn of_a_compressed_image_the_headers_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::new();
    let image = DiskImage::open(&raw(dir.path(), 8 * MIB), &ctx).unwrap();
    let options = OutputOptions::default();
    for format in [DiskFormat::Raw, DiskFormat::VhdDynamic, DiskFormat::Qcow2] {
        let plain = dir.path().join(format.as_str());
        convert(&image, format, &plain, &options, &ctx).unwrap();
        let packed = dir.path().join(format!("{format}.gz"));
        let level = flate2::Compression::fast();
        let mut encoder = flate2::write::GzEncoder::new(File::create(&packed).unwrap(), level);
        encoder.write_all(&fs::read(&plain).unwrap()).unwrap();
        encoder.finish().unwrap();
        let found = inspect(&packed, &ctx).unwrap();
        assert!(found.is_sound(), "{:?}", found.checks);
        assert_eq!((found.format, found.compression), (format.as_str(), Some("gzip")));
        let expected = (format != DiskFormat::Raw).then_some(8 * MIB);
        assert_eq!(found.virtual_size, expected);
        assert_eq!(found.file_size, fs::metadata(&packed).unwrap().len());
        assert_eq!(found.partition_table.is_some(), format == DiskFormat::Raw);
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::new();
    for opened in [DiskImage::open(dir.path(), &ctx).map(drop), inspect(dir.path(), &ctx).map(drop)]
    {
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
    let missing = dir.path().join("missing");
    assert_eq!(inspect(&missing, &ctx).unwrap_err().kind(), ErrorKind::NotFound);
    for start in [&b"KDMV"[..], b"vhdxfile", b"QED\0"] {
        let mut bytes = vec![0; 1024];
        bytes[..start.len()].copy_from_slice(start);
        let error = DiskImage::from_bytes("disk", bytes, &ctx).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.hints().count(), 1);
    }
    let empty = DiskImage::from_bytes("disk", Vec::new(), &ctx).unwrap();
    assert_eq!(empty.verify().unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn formats_have_names_and_files_of_their_own() {
    for format in DiskFormat::ALL {
        assert_eq!(format.as_str().parse::<DiskFormat>().unwrap(), format);
    }
    let error = "vmdk".parse::<DiskFormat>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let named = |name: &str| DiskFormat::from_file_name(Path::new(name));
    assert_eq!(named("a/disk.IMG"), Some(DiskFormat::Raw));
    assert_eq!(named("disk.vhd"), Some(DiskFormat::VhdDynamic));
    assert_eq!((named("disk"), named("disk.gz")), (None, None));
}

#[test]
fn the_file_that_is_refused_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::new();
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    for (name, bytes, says) in [
        ("root.tar", &tar[..], "is a tar archive"),
        ("disk.gz", b"\x1f\x8b\x08", "is compressed with gzip"),
        ("disk.vmdk", b"KDMV", "VMDK"),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = DiskImage::open(&path, &ctx).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let (path, text) = (path.display().to_string(), error.to_string());
        assert!(text.starts_with(&path) && text.contains(says), "{text}");
        assert_eq!(error.context_value("path"), Some(path.as_str()));
    }
}

#[test]
fn partitions_beyond_the_disk_are_a_failed_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = raw(dir.path(), 4 * MIB);
    let file = File::options().write(true).open(&path).unwrap();
    let mut sector = [0u8; 512];
    sector[446 + 4] = 0x83;
    sector[446 + 8..446 + 12].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    sector[446 + 12..446 + 16].copy_from_slice(&64u32.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    file.write_all_at(&sector, 0).unwrap();
    let found = inspect(&path, &Context::new()).unwrap();
    let check = found.checks.iter().find(|check| check.name == "partition table").unwrap();
    assert_eq!(check.outcome, Outcome::Failed);
    assert!(check.detail.as_ref().unwrap().contains("is not within"), "{check:?}");
    assert_eq!(found.partition_table.unwrap().partitions.len(), 1);
}

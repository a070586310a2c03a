//! Disk images judged by the tools that will take them: qemu-img, libvhdi,
//! XenServer's vhd-util, VirtualBox, sfdisk and sgdisk.
//!
//! A case whose program is missing is shown as ignored, with the reason; it
//! fails where `FLOCK_TEST_REQUIRE` (a comma list of `qemu`, `vhdi`,
//! `vhd-util`, `vbox`, `fdisk`, `mke2fs`) names it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail so")]

#[path = "disk_tools/file_systems.rs"]
mod file_systems;
#[path = "disk_tools/partitions.rs"]
mod partitions;
#[path = "disk_tools/qemu.rs"]
mod qemu;
#[path = "disk_tools/vhd.rs"]
mod vhd;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use flock_core::Context;
use flock_core::conformance::{self, Service, service};
use flock_core::rootfs::disk::{
    DiskFile, DiskFormat, DiskId, DiskImage, DiskReader as _, DiskWriter as _,
};
use tempfile::TempDir;

fn main() -> ExitCode {
    let suites = [qemu::suite(), partitions::suite(), file_systems::suite()];
    conformance::main(suites.into_iter().chain(vhd::suites()))
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A service that is there when the program is.
fn program(name: &str, program: &str) -> Service {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(more).any(|dir| dir.join(program).is_file());
    service(name, if found { Ok(()) } else { Err(format!("`{program}` is not installed")) })
}

/// Runs a program that must succeed; what it printed.
fn run(program: &str, args: &[&str]) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(program)
        .args(args)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}: {}\n{out}{err}", output.status);
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory for a case's files, where there is room.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn create(&self, name: &str) -> File {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        options.open(self.0.path().join(name)).unwrap()
    }
}

/// What is written to a disk: bytes of one value at places.
type Writes = Vec<(u64, usize, u8)>;

/// Writes in the corners: begin, end, across blocks.
fn corners(size: u64) -> Writes {
    let end = usize::try_from(size % 4096).unwrap() + 4096;
    let mut writes = vec![(0, 512, 1), (size - end as u64, end, 2)];
    if size > 8 * MIB {
        writes.extend([(2 * MIB - 700, 1400, 3), (5 * MIB + 1, 3 << 19, 4)]);
    }
    writes
}

/// The stretches that writes touch, in order and merged.
fn ranges(writes: &Writes) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = writes.iter().map(|(at, len, _)| *at..*at + *len as u64).collect();
    sorted.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Writes an image by flock.
fn write(place: &Place, name: &str, format: DiskFormat, size: u64, writes: &Writes) -> String {
    let file = place.create(name);
    let disk = DiskFile::create(&file, format, size, &ranges(writes)).unwrap();
    for (at, length, value) in writes {
        disk.write_at(&vec![*value; *length], *at).unwrap();
    }
    let length = disk.finish(DiskId::derive("disk", &[b"test"]), 0).unwrap();
    assert_eq!(file.metadata().unwrap().len(), length);
    place.path(name)
}

/// Writes the same as a raw file, without flock.
fn write_raw(place: &Place, name: &str, size: u64, writes: &Writes) -> String {
    let file = place.create(name);
    file.set_len(size).unwrap();
    for (at, length, value) in writes {
        file.write_all_at(&vec![*value; *length], *at).unwrap();
    }
    place.path(name)
}

/// Reads an image by flock, all checks passed.
fn open(path: &str) -> DiskImage {
    let image = DiskImage::open(Path::new(path), &Context::new()).unwrap();
    image.verify().unwrap();
    image
}

/// Compares an image as flock reads it with a raw file, through the data
/// stretches that it names.
fn assert_same(image: &DiskImage, raw: &str) {
    let file = File::open(raw).unwrap();
    let size = file.metadata().unwrap().len();
    assert_eq!(image.size(), size);
    let mut at = 0;
    while at < size {
        let data = image.next_data(at).unwrap().unwrap_or(size..size);
        assert_zeros(&file, at..data.start);
        at = data.start;
        while at < data.end {
            let length = usize::try_from((data.end - at).min(MIB)).unwrap();
            let (mut ours, mut theirs) = (vec![0; length], vec![0; length]);
            image.read_at(&mut ours, at).unwrap();
            file.read_exact_at(&mut theirs, at).unwrap();
            assert!(ours == theirs, "{raw}: other bytes between {at} and {}", at + length as u64);
            at += length as u64;
        }
    }
}

/// What is no hole of a sparse file must be zeros here.
fn assert_zeros(file: &File, range: Range<u64>) {
    let mut at = range.start;
    while let Ok(data) = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        let end = rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(data)).unwrap().min(range.end);
        if data >= range.end {
            break;
        }
        let mut bytes = vec![0; usize::try_from(end - data).unwrap()];
        file.read_exact_at(&mut bytes, data).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0), "data at {data} was not named");
        at = end;
    }
}

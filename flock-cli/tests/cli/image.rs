use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use flock_core::rootfs::disk::RawDisk;
use flock_core::rootfs::disk::partition_table::{Mbr, MbrPartition};
use insta::assert_snapshot;

use crate::Place;

const MIB: u64 = 1 << 20;

/// Makes `disk.img`: 5 MiB with a partition.
pub(crate) fn disk(place: &Place) {
    let file = File::create(place.dir().join("disk.img")).unwrap();
    let disk = RawDisk::create(&file, 5 * MIB).unwrap();
    let root = MbrPartition::new(MIB, 4 * MIB).with_active(true);
    Mbr::new(0x1234_abcd).with_partition(root).write(&disk).unwrap();
}

/// What is the same on every file system.
fn steady(text: &str) -> String {
    let lines = text.lines().map(|line| match line.find(", uses ") {
        Some(at) => format!("{}, uses [SIZE]\n", &line[..at]),
        None => format!("{line}\n"),
    });
    lines.collect()
}

#[test]
fn convert_and_inspect() {
    let place = Place::new();
    disk(&place);
    let ran = place.flock(&["image", "convert", "disk.img", "disk.vhd"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (0, "the disk becomes 1048576 bytes larger, 6291456 bytes\n")
    );
    let said = ran.stdout.rsplit_once(", ").unwrap().0;
    assert_snapshot!(said, @r"
    wrote disk.vhd
      vhd-dynamic, disk of 6.0 MiB, 64.0 KiB of data, file of 2.0 MiB
    ");
    let ran = place.flock(&["image", "inspect", "disk.vhd"]);
    assert_eq!(ran.code, 0);
    assert_snapshot!(steady(&ran.stdout), @r"
    disk.vhd
      format  vhd-dynamic, creator 'win'
      disk    6.0 MiB (6291456 bytes)
      file    2.0 MiB (2101760 bytes), uses [SIZE]
      UUID    7514e539-4227-8c3a-8331-d7b3672b9faf
      blocks  1 of 3 stored, 2.0 MiB each
    partitions (mbr 0x1234abcd)
      1  4.0 MiB at 1048576, linux, active
    checks
      passed   footer
      passed   footer copy
      passed   size
      passed   geometry
      passed   header
      passed   block allocation table
      passed   file length
      passed   partition table
    ");
}

#[test]
fn the_format_is_asked_for_or_named() {
    let place = Place::new();
    disk(&place);
    for (args, format) in [
        (&["one.qcow2"][..], "qcow2"),
        (&["two.IMG"], "raw"),
        (&["three.vhd", "--subformat", "fixed"], "vhd-fixed"),
        (&["four", "--format", "vhd"], "vhd-dynamic"),
    ] {
        let args = [&["image", "convert", "disk.img", "--json"], args].concat();
        assert_eq!(place.flock(&args).json()["format"], format);
    }
    assert_snapshot!(place.flock(&["image", "convert", "disk.img", "five"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: 'five' does not say which format is wanted

    hint: `--format raw|vhd|qcow2` does; so do .raw, .img, .vhd and .qcow2
    ");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::new();
    disk(&place);
    let convert = |args: &[&str]| place.flock(&[&["image", "convert"], args].concat());
    assert_snapshot!(convert(&["disk.img", "a.qcow2", "--subformat", "fixed"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: `--subformat` says how a VHD is stored, and no VHD is to be written

    hint: leave it out, or ask for `--format vhd`
    ");
    assert_snapshot!(convert(&["disk.img", "-", "--format", "raw"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: a disk image cannot be written to standard output: it is not written from beginning to end

    hint: name a file; `./-` is one that is called '-'
    ");
    assert_eq!(convert(&["-", "a.qcow2"]).code, 2);
    assert_snapshot!(convert(&["disk.img", "o.vhd", "--format", "qcow2"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: the output o.vhd has a name for vhd, not for qcow2

    hint: ask for `--format vhd`, or let the name end in .qcow2
    ");
    assert!(!place.dir().join("o.vhd").exists());
    assert!(!place.dir().join("-").exists());
    assert_eq!(convert(&["disk.img", "./-", "--format", "raw"]).code, 0);
    assert!(place.dir().join("-").exists());
}

/// A machine may write what looks like an image to its raw disk.
#[test]
fn the_format_of_the_input_is_stated() {
    let place = Place::new();
    disk(&place);
    assert_eq!(place.flock(&["image", "convert", "disk.img", "inner.qcow2"]).code, 0);
    let inner = fs::read(place.dir().join("inner.qcow2")).unwrap();
    let convert = |output: &str, format: &[&str]| {
        let args = ["image", "convert", "inner.qcow2", output, "--json"];
        place.flock(&[&args[..], format].concat())
    };
    assert_eq!(convert("trusted.raw", &[]).json()["virtual_size"], 5 * MIB);
    let raw = convert("raw.raw", &["--input-format", "raw"]).json();
    assert_eq!(raw["virtual_size"], inner.len().next_multiple_of(512));
    assert!(fs::read(place.dir().join("raw.raw")).unwrap().starts_with(&inner));
    let error = convert("vhd.raw", &["--input-format", "vhd"]).json_error();
    assert_eq!(error["error"]["kind"], "invalid_data");
    assert!(!place.dir().join("vhd.raw").exists());
}

#[test]
fn nothing_is_replaced_unasked() {
    let place = Place::new();
    disk(&place);
    place.write("disk.vhd", "mine");
    assert_snapshot!(place.flock(&["image", "convert", "disk.img", "disk.vhd"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    the disk becomes 1048576 bytes larger, 6291456 bytes
    error: disk.vhd is there already

    hint: remove it, choose another name, or allow it to be overwritten
    hint: `--force` replaces it
    ");
    let forced = place.flock(&["image", "convert", "--force", "disk.img", "disk.vhd"]);
    assert_eq!(forced.code, 0);
    assert!(fs::read(place.dir().join("disk.vhd")).unwrap().starts_with(b"conectix"));
}

#[test]
fn a_damaged_image_is_exit_1() {
    let place = Place::new();
    disk(&place);
    place.flock(&["image", "convert", "disk.img", "disk.vhd"]);
    let file = File::options().write(true).open(place.dir().join("disk.vhd")).unwrap();
    file.write_all_at(b"X", 100).unwrap();
    let ran = place.flock(&["image", "inspect", "disk.vhd"]);
    assert_eq!(ran.code, 1);
    let wrong = ran.stdout.lines().find(|line| line.contains("failed"));
    let wrong = wrong.unwrap();
    assert!(wrong.contains("footer copy: the checksum is 0x"), "{wrong}");
    let ran = place.flock(&["image", "inspect", "disk.vhd", "--json"]);
    assert_eq!((ran.code, &ran.json()["sound"]), (1, &false.into()));
    let error = place.flock(&["image", "convert", "disk.vhd", "disk.qcow2", "--json"]);
    assert_eq!(error.json_error()["error"]["kind"], "invalid_data");
    assert!(!place.dir().join("disk.qcow2").exists());
}

#[test]
fn labels_do_not_steer_the_terminal() {
    let place = Place::new();
    let mut disk = vec![0; 4096];
    disk[54..62].copy_from_slice(b"FAT16   ");
    disk[43..53].copy_from_slice(b"\x1b]0;a\x07\xc2\x9b2J");
    fs::write(place.dir().join("fat.img"), disk).unwrap();
    let ran = place.flock(&["image", "inspect", "fat.img"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains(r"vfat '\u{1b}]0;a\u{7}\u{9b}2J'"), "{}", ran.stdout);
    let json = place.flock(&["image", "inspect", "fat.img", "--json"]).json();
    assert_eq!(json["file_system"]["label"], "\x1b]0;a\x07\u{9b}2J");
}

//! Many names, directories and files.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use flock_core::Context;
use flock_core::rootfs::disk::{DiskFormat, DiskImage, convert};
use flock_core::rootfs::ext4::Ext4Options;
use flock_core::rootfs::output::OutputOptions;
use flock_core::rootfs::{Bootloader, DiskLayout, DiskOptions, DiskSink, Sink as _, Tree};

use super::compare;
use super::support::ext4::{Image, run};
use super::support::ext4_trees::tree_of;
use super::support::tars::Tar;

/// A directory of empty files with these names.
fn tree_of_names(names: &[String]) -> Tree {
    let mut tar = Tar::new();
    for name in names {
        let path = format!("d/{name}");
        tar = tar.pax(b'x', &[("path", path.as_bytes())]).file("f", "");
    }
    tar.tree()
}

pub(super) fn many_names(names: &[String], levels: u32) {
    let image = Image::of(&tree_of_names(names), &Ext4Options::default());
    let index = image.debugfs("htree_dump /d");
    assert!(index.contains(&format!("Indirect levels: {levels}")), "{}", &index[..2000]);
}

/// The kernel finds names by their hashes, and adds and removes some.
pub(super) fn many_names_mounted(names: &[String]) {
    let image = Image::of(&tree_of_names(names), &Ext4Options::default());
    let mount = image.mount();
    let directory = mount.0.join("d");
    for name in names.iter().step_by(97) {
        assert!(directory.join(name).exists(), "{name}");
    }
    for (at, name) in names.iter().enumerate().step_by(3) {
        std::fs::remove_file(directory.join(name)).unwrap();
        std::fs::write(directory.join(format!("new{at}")), "").unwrap();
    }
    drop(mount);
    image.check();
}

/// Link counts of directories: exact as long as they fit.
pub(super) fn many_directories() {
    for (count, links) in [(64_998, 65_000), (64_999, 1), (66_000, 1)] {
        let mut tar = Tar::new();
        for at in 0..count {
            tar = tar.dir(&format!("d/{at}"), 0o755);
        }
        let image = Image::of(&tar.tree(), &Ext4Options::default());
        let stat = image.debugfs("stat /d");
        assert!(stat.contains(&format!("Links: {links} ")), "{stat}");
    }
}

/// 300,000 files in 3,000 directories.
fn tree_of_many_files() -> Tree {
    let mut file = std::io::BufWriter::new(tempfile::tempfile().unwrap());
    for at in 0..300_000u32 {
        let content = format!("{at}\n").repeat(1 + at as usize % 300);
        let path = format!("usr/share/d{:04}/file-{at:06}", at / 100);
        file.write_all(&Tar::new().file(&path, &content).0).unwrap();
    }
    file.write_all(&[0; 1024]).unwrap();
    tree_of(file.into_inner().unwrap())
}

pub(super) fn many_files() {
    let tree = tree_of_many_files();
    let image = Image::of(&tree, &Ext4Options::default());
    compare(&tree, &image);
}

/// The same as a dynamic VHD, in which qemu-img finds the same bytes, and
/// which flock turns back into them.
pub(super) fn many_files_as_vhd() {
    const SIZE: u64 = 8 << 30;
    let (tree, ctx) = (tree_of_many_files(), Context::new());
    let image = Image::of(&tree, &Ext4Options::default().with_size(SIZE));
    let vhd = image.directory.path().join("disk.vhd");
    let file = File::options().read(true).write(true).create_new(true).open(&vhd).unwrap();
    let options = DiskOptions::new(DiskFormat::VhdDynamic)
        .with_layout(DiskLayout::Bare)
        .with_bootloader(Bootloader::None)
        .with_size(SIZE);
    DiskSink::new(&file, options).write(&tree, &ctx).unwrap();
    assert_same(&["-f", "vpc", "-F", "raw"], &vhd, &image.path());
    let back = image.directory.path().join("back.img");
    let read = DiskImage::open(&vhd, &ctx).unwrap();
    convert(&read, DiskFormat::Raw, &back, &OutputOptions::default(), &ctx).unwrap();
    assert_same(&["-f", "raw", "-F", "raw"], &back, &image.path());
}

fn assert_same(formats: &[&str], one: &Path, other: &Path) {
    run(Command::new("qemu-img").arg("compare").args(formats).args([one, other]));
}

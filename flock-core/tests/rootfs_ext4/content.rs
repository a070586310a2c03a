//! What is in the file systems.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use flock_core::rootfs::{ExtentSource, Tree};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::support::ext4::{Image, facts_of_without};
use super::support::ext4_trees::{everything, sparse, tree_in_file};
use super::support::items::{self, item, largest};
use super::support::snapshot;
use super::support::tars::{Member, Tar};
use super::{Ext4Options, compare, small};

pub(super) fn one_file(tar: Tar) {
    let tree = tar.tree();
    Image::of(&tree, &small());
    Image::of(&tree, &Ext4Options::default());
}

pub(super) fn everything_survives() {
    let tree = tree_in_file(everything());
    let image = Image::of(&tree, &small().with_size(100 << 20));
    compare(&tree, &image);
    image.check();
}

pub(super) fn a_mounted_one_can_be_written() {
    let tree = tree_in_file(everything());
    let image = Image::of(&tree, &small().with_size(100 << 20));
    let mount = image.mount();
    for at in 0..3000 {
        std::fs::write(mount.0.join(format!("names/new-{at}")), format!("{at}")).unwrap();
    }
    std::fs::remove_dir_all(mount.0.join("sizes")).unwrap();
    std::fs::create_dir(mount.0.join("lost+found/x")).unwrap();
    drop(mount);
    image.check();
    let mount = image.mount();
    assert_eq!(std::fs::read_to_string(mount.0.join("names/new-2999")).unwrap(), "2999");
    assert_eq!(std::fs::read_dir(mount.0.join("names")).unwrap().count(), 3002);
}

/// Access lists, as text and as attribute, are what the kernel shows.
pub(super) fn access_lists() {
    let mut shown = vec![2, 0, 0, 0];
    for (tag, permissions, id) in
        [(1, 7, u32::MAX), (2, 5, 33), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 4, u32::MAX)]
    {
        shown.extend_from_slice(&[tag, 0, permissions, 0]);
        shown.extend_from_slice(&u32::to_le_bytes(id));
    }
    let text = b"user::rwx\nuser:33:r-x\ngroup::r-x\nmask::r-x\nother::r--\n";
    let tree = Tar::new()
        .pax(b'x', &[("SCHILY.acl.access", text), ("SCHILY.acl.default", text)])
        .dir("text", 0o754)
        .pax(b'x', &[("SCHILY.xattr.system.posix_acl_access", &shown)])
        .member(&Member { path: b"attribute", mode: 0o754, ..Member::default() })
        .tree();
    let image = Image::of(&tree, &small());
    let mount = image.mount();
    let found = snapshot::of(&mount.0);
    let access = (b"system.posix_acl_access".to_vec(), shown.clone());
    let default = (b"system.posix_acl_default".to_vec(), shown);
    assert_eq!(found[&b"text"[..]].xattrs, [access.clone(), default]);
    assert_eq!(found[&b"attribute"[..]].xattrs, [access]);
}

/// Files of holes: 20 GB with little in it, and trees of extents of every
/// depth.
fn tree_of_holes() -> Tree {
    let every_other =
        |count: u64| -> Vec<(u64, usize)> { (0..count).map(|at| (at * 8192, 4096)).collect() };
    let islands = [(0, 10), (5000, 5), (10_000_000_000, 9000), (19_999_999_999, 1)];
    let mut tar = sparse(Tar::new(), "20-gb", 20_000_000_000, &islands);
    tar = sparse(tar, "only-a-hole", 1 << 30, &[]);
    tar = sparse(tar, "hole-at-the-end", 1 << 20, &[(0, 4096)]);
    for count in [4, 5, 340, 341, 1361] {
        tar = sparse(tar, &format!("extents-{count}"), count * 8192, &every_other(count));
    }
    tree_in_file(tar)
}

pub(super) fn holes() {
    let image = Image::of(&tree_of_holes(), &small());
    for (name, depth) in [("4", 0), ("5", 1), ("340", 1), ("341", 1), ("1361", 2)] {
        let listing = image.debugfs(&format!("dump_extents /extents-{name}"));
        assert!(listing.contains(&format!("0/ {depth}")), "{name}: {listing}");
    }
}

pub(super) fn holes_mounted() {
    let tree = tree_of_holes();
    let image = Image::of(&tree, &small());
    let mount = image.mount();
    // Hashing 20 GB of zeros takes too long: its data must do.
    let path = mount.0.join("20-gb");
    let file = File::open(&path).unwrap();
    let metadata = file.metadata().unwrap();
    assert_eq!((metadata.len(), metadata.blocks()), (20_000_000_000, 8 * 6));
    for extent in tree.lookup("20-gb").unwrap().unwrap().content().extents() {
        let mut want = vec![0; usize::try_from(extent.length).unwrap()];
        let ExtentSource::File { file: source, offset } = &extent.source else {
            unreachable!("the tar is a file")
        };
        source.read_exact_at(&mut want, *offset).unwrap();
        let mut got = vec![0; want.len()];
        file.read_exact_at(&mut got, extent.offset).unwrap();
        assert_eq!(got, want);
    }
    drop(file);
    std::fs::remove_file(path).unwrap();
    let (mut want, mut got) = (facts_of_without(&tree, b"20-gb"), snapshot::of(&mount.0));
    for facts in [&mut want, &mut got] {
        facts.remove(&b""[..]);
        facts.remove(&b"lost+found"[..]);
    }
    let lines = snapshot::differences(&want, &got);
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

/// A `lost+found` of the base keeps what it is and has.
pub(super) fn a_lost_and_found_of_the_base() {
    let tar = Tar::new().file("a", "").dir("lost+found", 0o750).file("lost+found/#12", "found");
    let image = Image::of(&tar.tree(), &small());
    assert!(image.debugfs("stat /lost+found").contains("Mode:  0750"));
    assert!(image.debugfs("ls -p /lost+found").contains("#12"));
}

/// Whatever can stand together in a tree can stand in ext4.
pub(super) fn random_trees(judge: impl Fn(&Tree, &Image)) {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(24));
    let items = prop::collection::vec(item(), 0..12);
    let result = runner.run(&items, |mut items| {
        // Linux has user attributes on files and directories only.
        for item in items.iter_mut().filter(|item| matches!(item.typeflag, b'2'..=b'4' | b'6')) {
            item.records.retain(|(key, _)| !key.starts_with("SCHILY.xattr.user."));
        }
        let tree = items::tree_of(&largest(&items)).unwrap();
        let image = Image::of(&tree, &small());
        judge(&tree, &image);
        Ok(())
    });
    result.unwrap();
}

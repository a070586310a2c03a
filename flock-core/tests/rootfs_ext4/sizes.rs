//! Sizes, limits and growth.

use std::fs::File;
use std::process::Command;

use flock_core::rootfs::ext4::{Ext4Layout, Ext4Options};
use flock_core::rootfs::{Tree, TreeOptions};
use flock_core::{Context, ErrorKind};

use super::small;
use super::support::ext4::{Image, run};
use super::support::ext4_trees::{device, everything, noise, sparse, tree_in_file};
use super::support::tars::{Member, Tar};

/// Sizes with a last group that is hardly there, with one journal extent and
/// with many, with one group of descriptors and with many.
pub(super) fn sizes() {
    let tree = Tar::new().file("a", "b").tree();
    let mib = 1 << 20;
    for size in [
        8 * mib,
        9 * mib + 12_293,
        128 * mib,
        129 * mib,
        (2 << 30) + mib,
        (2 << 30) + 100 * mib,
        (300 << 30) + 77 * mib,
        2 << 40,
        (16 << 40) - 4096,
    ] {
        let image = Image::of(&tree, &small().with_size(size));
        assert_eq!(std::fs::metadata(image.path()).unwrap().len(), size);
        let taken = size - image.number("Block count") * 4096;
        assert!(taken < 64 * mib, "{size}: {taken} bytes are lost");
    }
}

pub(super) fn inode_counts() {
    let mut tar = Tar::new();
    for at in 0..2000 {
        tar = tar.file(&format!("{at}"), "");
    }
    let tree = tar.tree();
    let count = |options: Ext4Options| Image::of(&tree, &options).number("Inode count");
    assert_eq!(count(small()), 16_384);
    assert_eq!(count(small().with_inodes(100)), 2016);
    assert_eq!(count(small().with_inodes(20_000)), 20_000);
    let error = plan_error(&tree, &small().with_inodes(40_000));
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let needed = error.context_value("needed_bytes").unwrap().parse().unwrap();
    assert_eq!(count(small().with_inodes(40_000).with_size(needed)), 40_000);
}

/// What is too small says how much would do, and that does.
pub(super) fn too_small() {
    let mut tar = Tar::new();
    for at in 0..50 {
        let content = noise(1 << 20, at);
        tar = tar.member(&Member {
            path: format!("{at}").as_bytes(),
            content: &content,
            ..Member::default()
        });
    }
    let tree = tree_in_file(tar);
    for size in [0, 1 << 20, 16 << 20, 40 << 20] {
        let error = plan_error(&tree, &small().with_size(size));
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        let needed: u64 = error.context_value("needed_bytes").unwrap().parse().unwrap();
        assert!((50 << 20..80 << 20).contains(&needed), "{needed}");
        Image::of(&tree, &small().with_size(needed));
        plan_error(&tree, &small().with_size(needed - (4 << 20)));
    }
    let error = plan_error(&tree, &small().with_size(17 << 40));
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("below 16 TiB"), "{error}");
}

/// What ext4 cannot hold is refused before anything is written, by name.
pub(super) fn what_does_not_fit_is_refused() {
    let with =
        |key: &str, value: &[u8]| Tar::new().pax(b'x', &[(key, value)]).file("dir/odd", "").tree();
    let mut links = Tar::new().file("dir/odd", "");
    for at in 0..65_000 {
        links = links.hardlink(&format!("{at}"), "dir/odd");
    }
    for tree in [
        with("SCHILY.xattr.user.large", &[7; 5000]),
        with("SCHILY.xattr.com.example.x", b"1"),
        with("SCHILY.xattr.user.", b"1"),
        with("SCHILY.xattr.system.posix_acl_access", b"1"),
        with("SCHILY.acl.access", b"user:nobody-knows:rwx"),
        with("mtime", b"15032385536"),
        with("mtime", b"-2147483649"),
        device(Tar::new(), "dir/odd", b'3', 1 << 12, 0).tree(),
        device(Tar::new(), "dir/odd", b'4', 1, 1 << 20).tree(),
        Tar::new().pax(b'x', &[("SCHILY.xattr.user.x", b"1")]).symlink("dir/odd", "x").tree(),
        sparse(Tar::new(), "dir/odd", 1 << 45, &[((1 << 45) - 1, 1)]).tree(),
        links.tree(),
    ] {
        let error = plan_error(&tree, &small());
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        let is_link = error.to_string().contains("hard links");
        assert!(is_link || error.context_value("path") == Some("dir/odd"), "{error}");
    }
    let epoch = TreeOptions::default().with_source_date_epoch(Some(1 << 40));
    let tree = Tree::with_options(Tar::new().layer(), &epoch, &Context::new()).unwrap();
    assert_eq!(plan_error(&tree, &small()).kind(), ErrorKind::Unsupported);
    let error = plan_error(&Tar::new().file("lost+found", "").tree(), &small());
    assert_eq!(error.context_value("path"), Some("lost+found"));
    for options in [small().with_label("seventeen letters"), small().with_reserved_percent(51)] {
        assert_eq!(plan_error(&Tar::new().tree(), &options).kind(), ErrorKind::InvalidConfig);
    }
}

pub(super) fn grows_unmounted() {
    let tree = tree_in_file(everything());
    let image = Image::of(&tree, &small().with_size(100 << 20));
    File::options().write(true).open(image.path()).unwrap().set_len(5 << 30).unwrap();
    run(Command::new("resize2fs").arg(image.path()));
    image.check();
    assert_eq!(image.number("Block count"), (5 << 30) / 4096);
}

pub(super) fn grows_mounted() {
    let tree = tree_in_file(everything());
    let image = Image::of(&tree, &small().with_size(200 << 20));
    let mount = image.mount();
    let device = run(Command::new("findmnt").args(["-no", "SOURCE"]).arg(&mount.0));
    File::options().write(true).open(image.path()).unwrap().set_len(5 << 30).unwrap();
    run(Command::new("losetup").args(["-c", device.trim()]));
    run(Command::new("resize2fs").arg(device.trim()));
    std::fs::write(mount.0.join("after"), noise(1 << 20, 1)).unwrap();
    drop(mount);
    image.check();
    assert_eq!(image.number("Block count"), (5 << 30) / 4096);
    let mount = image.mount();
    assert!(std::fs::read(mount.0.join("after")).unwrap() == noise(1 << 20, 1));
}

fn plan_error(tree: &Tree, options: &Ext4Options) -> flock_core::Error {
    Ext4Layout::plan(tree, options, &Context::new()).unwrap_err()
}

//! ext4 file systems against those who know: e2fsprogs and the kernel.
//!
//! Needs e2fsprogs; mounting needs root. Ignored with the reason where they
//! are missing, unless `FLOCK_TEST_REQUIRE` names `e2fsprogs` or `root`. The
//! largest cases run where it names `large`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "rootfs_ext4/content.rs"]
mod content;
#[path = "rootfs_ext4/many.rs"]
mod many;
#[path = "rootfs_ext4/sizes.rs"]
mod sizes;
mod support;
#[path = "rootfs_ext4/writing.rs"]
mod writing;

use flock_core::rootfs::Tree;
use flock_core::rootfs::ext4::Ext4Options;
use libtest_mimic::{Arguments, Failed, Trial};
use support::ext4::{Image, facts_of};
use support::snapshot;
use support::tars::Tar;

fn main() {
    let arguments = Arguments::from_args();
    let short: Vec<String> = (0..50_000).map(|at| format!("file-{at:06}")).collect();
    let long: Vec<String> = (0..10_000).map(|at| format!("{at:0255}")).collect();
    let (short_again, long_again) = (short.clone(), long.clone());
    let trials = vec![
        judged("an_empty_tree", || content::one_file(Tar::new())),
        judged("one_file", || content::one_file(Tar::new().file("hello", "world\n"))),
        mounted("everything_survives", content::everything_survives),
        mounted("a_mounted_one_can_be_written", content::a_mounted_one_can_be_written),
        mounted("access_lists", content::access_lists),
        judged("holes", content::holes),
        mounted("holes_mounted", content::holes_mounted),
        judged("a_lost_and_found_of_the_base", content::a_lost_and_found_of_the_base),
        judged("random_trees", || content::random_trees(|_, _| ())),
        mounted("random_trees_mounted", || content::random_trees(compare)),
        judged("50000_names", move || many::many_names(&short, 0)),
        judged("10000_long_names", move || many::many_names(&long, 1)),
        mounted("50000_names_mounted", move || many::many_names_mounted(&short_again)),
        mounted("10000_long_names_mounted", move || many::many_names_mounted(&long_again)),
        judged("many_directories", many::many_directories),
        large("300000_files", many::many_files),
        large("300000_files_as_vhd", many::many_files_as_vhd),
        judged("sizes", sizes::sizes),
        judged("inode_counts", sizes::inode_counts),
        judged("too_small", sizes::too_small),
        judged("grows_unmounted", sizes::grows_unmounted),
        resizing("grows_mounted", sizes::grows_mounted),
        trial("what_does_not_fit_is_refused", None, sizes::what_does_not_fit_is_refused),
        judged("same_input_same_bytes", writing::same_input_same_bytes),
        judged("files_are_where_they_are_said_to_be", writing::files_are_where_they_are_said_to_be),
        trial("only_what_is_announced", None, writing::only_what_was_announced_is_written),
        trial("writing_stops", None, writing::writing_stops),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// A case that e2fsprogs judge.
fn judged(name: &str, run: impl FnOnce() + Send + 'static) -> Trial {
    let tools = ["e2fsck", "dumpe2fs", "debugfs", "resize2fs"];
    trial(
        name,
        tools.iter().any(|tool| !is_there(tool)).then_some(("e2fsprogs", "needs e2fsprogs")),
        run,
    )
}

/// A case that the kernel judges too.
fn mounted(name: &str, run: impl FnOnce() + Send + 'static) -> Trial {
    if !rustix::process::geteuid().is_root() {
        return trial(name, Some(("root", "needs root, to mount")), run);
    }
    judged(name, run)
}

/// A case in which the kernel resizes. Root in a container may not.
fn resizing(name: &str, run: impl FnOnce() + Send + 'static) -> Trial {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    match bits.is_some_and(|bits| bits >> CAP_SYS_RESOURCE & 1 == 1) {
        true => mounted(name, run),
        false => trial(name, Some(("resize", "needs CAP_SYS_RESOURCE, to resize")), run),
    }
}

/// A case that takes minutes.
fn large(name: &str, run: impl FnOnce() + Send + 'static) -> Trial {
    match is_required("large") {
        true => mounted(name, run),
        false => trial(name, Some(("large", "takes minutes: FLOCK_TEST_REQUIRE=large")), run),
    }
}

fn is_required(word: &str) -> bool {
    let required = std::env::var("FLOCK_TEST_REQUIRE").unwrap_or_default();
    required.split(',').any(|part| part.trim() == word)
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    std::env::split_paths(&path).any(|directory| directory.join(tool).exists())
}

fn trial(
    name: &str,
    missing: Option<(&'static str, &'static str)>,
    run: impl FnOnce() + Send + 'static,
) -> Trial {
    match missing {
        Some((word, reason)) if is_required(word) => {
            Trial::test(name, move || Err(Failed::from(reason)))
        }
        Some((_, reason)) => Trial::test(name, || Ok(())).with_kind(reason).with_ignored_flag(true),
        None => Trial::test(name, move || {
            run();
            Ok(())
        }),
    }
}

fn small() -> Ext4Options {
    Ext4Options::default().with_size(64 << 20)
}

/// Mounts the file system and compares every name with the tree.
fn compare(tree: &Tree, image: &Image) {
    let mount = image.mount();
    let (want, mut got) = (facts_of(tree), snapshot::of(&mount.0));
    for made in ["lost+found", ""] {
        if !want.contains_key(made.as_bytes()) {
            got.remove(made.as_bytes());
        }
    }
    let lines = snapshot::differences(&want, &got);
    assert!(lines.is_empty(), "{} differ:\n{}", lines.len(), lines.join("\n"));
}

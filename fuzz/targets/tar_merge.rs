//! An application from somebody: refused, or nothing of it is outside of its
//! place, and nothing in it has more rights than its user.
#![no_main]

mod common;

use std::collections::BTreeSet;

use flock_core::Context;
use flock_core::rootfs::{EntryKind, SourceIndex, ReplaceOptions, Tree};
use libfuzzer_sys::fuzz_target;

const TARGET: &[u8] = b"var/www/html";

fuzz_target!(|data: &[u8]| {
    let ctx = Context::new();
    let base = SourceIndex::from_bytes("base", common::base(), &ctx).expect("the base is a tar");
    let mut tree = Tree::new(base, &ctx).expect("the base is a tree");
    let before: BTreeSet<_> = paths(&tree).into_iter().collect();
    let Ok(application) = SourceIndex::from_bytes("app", common::with_checksums(data), &ctx) else {
        return;
    };
    if tree.replace("/var/www/html", application, &ReplaceOptions::default(), &ctx).is_err() {
        return;
    }
    for entry in tree.entries() {
        let entry = entry.expect("an entry of an accepted archive");
        let shown = String::from_utf8_lossy(&entry.path).into_owned();
        assert!(!entry.path.split(|&byte| byte == b'/').any(|part| part == b".."), "{shown}");
        if before.contains(&entry.path) {
            continue;
        }
        assert!(entry.path.starts_with(TARGET), "{shown} is outside");
        // A symbolic link's mode means nothing and stays.
        let is_link = matches!(entry.kind, EntryKind::Symlink { .. });
        assert!(is_link || entry.metadata.mode & 0o6000 == 0, "{shown} has a set-ID bit");
        let harmless = !matches!(
            entry.kind,
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } | EntryKind::Fifo
        );
        assert!(harmless, "{shown} is {:?}", entry.kind);
    }
    let _ = common::write(&tree);
});

fn paths(tree: &Tree) -> Vec<Vec<u8>> {
    tree.entries().map(|entry| entry.expect("an entry of the base").path).collect()
}

//! Properties of the merge: random trees survive, random bytes never panic.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::io::Read as _;

use flock_core::rootfs::{EntryKind, Metadata, ReplaceOptions, SourceIndex, Tree};
use flock_core::{Context, ErrorKind};
use proptest::prelude::*;
use support::items::{Item, item, largest, tar_of, tree_of};
use support::tars::{Tar, layer, packed};

/// What one name is: kind, metadata, content.
type Listing = BTreeMap<Vec<u8>, (EntryKind, Metadata, Vec<u8>)>;

fn listing(tree: &Tree) -> Listing {
    let mut names = Listing::new();
    for entry in tree.entries() {
        let entry = entry.unwrap();
        let mut content = Vec::new();
        entry.content().reader().read_to_end(&mut content).unwrap();
        let old = names.insert(entry.path, (entry.kind, entry.metadata, content));
        assert!(old.is_none(), "a name comes twice");
    }
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn packing_changes_nothing(items in prop::collection::vec(item(), 0..12)) {
        let tree = tree_of(&largest(&items)).unwrap();
        let tar = packed(&tree);
        let again = tree_of(&tar).unwrap();
        prop_assert_eq!(listing(&tree), listing(&again));
        prop_assert!(packed(&again) == tar, "packing what was packed gives other bytes");
    }

    #[test]
    fn moving_changes_names_only(items in prop::collection::vec(item(), 0..12)) {
        let no_devices: Vec<Item> =
            items.into_iter().filter(|item| !matches!(item.typeflag, b'3' | b'4' | b'6')).collect();
        let app = largest(&no_devices);
        let mut tree = tree_of(&Tar::new().end()).unwrap();
        match tree.replace("t", layer(&app).unwrap(), &ReplaceOptions::default(), &Context::new()) {
            // Links that a base may follow are refused in an application.
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::InvalidData),
            Ok(()) => {
                let want = listing(&tree_of(&app).unwrap());
                let got = listing(&tree_of(&packed(&tree)).unwrap());
                let under = |path: &Vec<u8>| [b"t/", path.as_slice()].concat();
                for (path, (kind, metadata, content)) in want.iter().filter(|(path, _)| !path.is_empty()) {
                    let (got_kind, got_metadata, got_content) = &got[&under(path)];
                    let moved = match kind {
                        EntryKind::Hardlink { target } => EntryKind::Hardlink { target: under(target) },
                        other => other.clone(),
                    };
                    prop_assert_eq!(got_kind, &moved);
                    prop_assert_eq!(got_content, content);
                    let stripped = if matches!(kind, EntryKind::Symlink { .. }) { 0o7777 } else { 0o1777 };
                    let is_link = matches!(kind, EntryKind::Hardlink { .. });
                    prop_assert!(is_link || got_metadata.mode == metadata.mode & stripped);
                    // A directory that had to be made has the time of the base.
                    let is_directory = *kind == EntryKind::Directory;
                    prop_assert!(is_directory || got_metadata.mtime == metadata.mtime);
                    prop_assert_eq!(&got_metadata.xattrs, &metadata.xattrs);
                }
            }
        }
    }

    #[test]
    fn overlays_never_panic(
        lower in prop::collection::vec(item(), 0..10),
        upper in prop::collection::vec(item(), 0..10),
        whiteout in "\\.wh\\.[.abcwhopq]{0,8}",
    ) {
        let mut tree = tree_of(&largest(&lower)).unwrap();
        let upper = [Tar::new().file(&format!("a/{whiteout}"), "").0, tar_of(&upper)].concat();
        if let Ok(upper) = layer(&upper) && tree.overlay(upper, &Context::new()).is_ok() {
            let again = tree_of(&packed(&tree)).unwrap();
            prop_assert_eq!(listing(&again), listing(&tree));
        }
    }

    #[test]
    fn damaged_archives_never_panic(
        items in prop::collection::vec(item(), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        repair in any::<bool>(),
    ) {
        let mut tar = tar_of(&items);
        for (at, byte) in damage {
            let at = at.index(tar.len());
            tar[at] = byte;
            if repair {
                // With the checksum made right, the damage gets further.
                let block = at / 512 * 512;
                let mut header = tar::Header::from_byte_slice(&tar[block..block + 512]).clone();
                header.set_cksum();
                tar[block..block + 512].copy_from_slice(header.as_bytes());
            }
        }
        if let Ok(tree) = tree_of(&tar) {
            listing(&tree_of(&packed(&tree)).unwrap());
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = SourceIndex::from_bytes("bytes", bytes, &Context::new());
    }
}

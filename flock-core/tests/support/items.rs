//! Random tars.

use flock_core::Context;
use flock_core::rootfs::Tree;
use proptest::prelude::*;

use super::tars::{Member, Tar, layer};

pub(crate) fn tree_of(tar: &[u8]) -> flock_core::Result<Tree> {
    Tree::new(layer(tar)?, &Context::new())
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) path: Vec<u8>,
    pub(crate) typeflag: u8,
    pub(crate) link: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) records: Vec<(&'static str, Vec<u8>)>,
}

/// Few different names, so that entries meet: duplicates, links to each
/// other, names under links and files.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        5 => "[abc]".prop_map(String::into_bytes),
        1 => prop::collection::vec(0x80u8.., 1..4),
        1 => Just(b".".to_vec()),
        1 => "x{60,90}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(part, 1..3).prop_map(|parts| parts.join(&b'/'))
}

pub(crate) fn item() -> impl Strategy<Value = Item> {
    let typeflag = prop::sample::select(b"0005551123467".to_vec());
    let record = prop_oneof![
        ("[0-9]{1,9}(\\.[0-9]{1,9})?").prop_map(|time| ("mtime", time.into_bytes())),
        (0..u32::MAX).prop_map(|id| ("uid", id.to_string().into_bytes())),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|value| ("SCHILY.xattr.user.x", value)),
        Just(("VENDOR.x", b"kept".to_vec())),
    ];
    (
        path(),
        typeflag,
        path(),
        prop::collection::vec(any::<u8>(), 0..1500),
        0u32..=0o7777,
        prop::collection::vec(record, 0..3),
    )
        .prop_map(|(path, typeflag, link, content, mode, records)| Item {
            path,
            typeflag,
            link,
            content: if matches!(typeflag, b'0' | b'7') { content } else { Vec::new() },
            mode,
            records,
        })
}

pub(crate) fn tar_of(items: &[Item]) -> Vec<u8> {
    let mut tar = Tar::new();
    for item in items {
        if !item.records.is_empty() {
            let records: Vec<_> = item.records.iter().map(|(k, v)| (*k, v.as_slice())).collect();
            tar = tar.pax(b'x', &records);
        }
        let link = if matches!(item.typeflag, b'1' | b'2') { &item.link[..] } else { b"" };
        tar = tar.member(&Member {
            path: &item.path,
            typeflag: item.typeflag,
            link,
            content: &item.content,
            mode: item.mode,
            ..Member::default()
        });
    }
    tar.end()
}

/// The tree of as many of the items as can stand together.
pub(crate) fn largest(items: &[Item]) -> Vec<u8> {
    let mut kept: Vec<Item> = Vec::new();
    for item in items {
        kept.push(item.clone());
        if tree_of(&tar_of(&kept)).is_err() {
            kept.pop();
        }
    }
    tar_of(&kept)
}

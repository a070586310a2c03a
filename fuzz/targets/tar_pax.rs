//! Extended headers, in an archive that is right otherwise.
#![no_main]

mod common;

use flock_core::Context;
use flock_core::rootfs::{SourceIndex, Tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (Some(&flag), records) = (data.first(), data.get(1..).unwrap_or_default()) else { return };
    let kind = if flag % 2 == 0 { b'x' } else { b'g' };
    let mut tar = common::member("records", kind, records);
    tar.extend(common::member("file", b'0', b"1\n0\n512\ncontents"));
    tar.extend([0; 1024]);
    let ctx = Context::new();
    let Ok(layer) = SourceIndex::from_bytes("base", tar, &ctx) else { return };
    let Ok(tree) = Tree::new(layer, &ctx) else { return };
    common::read_all(&tree);
    let Some(written) = common::write(&tree) else { return };
    let again = SourceIndex::from_bytes("again", written, &ctx).expect("flock reads what it wrote");
    let again = Tree::new(again, &ctx).expect("flock accepts what it wrote");
    assert_eq!(tree.summary().entries, again.summary().entries);
});

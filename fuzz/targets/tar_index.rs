//! A tar from outside: refused, or every entry of it can be read, and what is
//! written from it is a tar with as many entries.
#![no_main]

mod common;

use flock_core::Context;
use flock_core::rootfs::{SourceIndex, Tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let ctx = Context::new();
    let bytes = common::with_checksums(data);
    let Ok(layer) = SourceIndex::from_bytes("base", bytes, &ctx) else { return };
    let Ok(tree) = Tree::new(layer, &ctx) else { return };
    common::read_all(&tree);
    let Some(written) = common::write(&tree) else { return };
    let again = SourceIndex::from_bytes("again", written, &ctx).expect("flock reads what it wrote");
    let again = Tree::new(again, &ctx).expect("flock accepts what it wrote");
    assert_eq!(tree.summary().entries, again.summary().entries);
});

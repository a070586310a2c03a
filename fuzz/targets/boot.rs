//! A base with a kernel and a boot loader from somebody: refused, or made into
//! boot code that fits before the first partition.
//!
//! The input is files, each a line with the path and then the contents,
//! with `SEPARATOR` between them.
#![no_main]

mod common;

use flock_core::Context;
use flock_core::rootfs::boot::{BootLayout, BootOptions, BootPlan};
use flock_core::rootfs::{SourceIndex, Tree};
use libfuzzer_sys::fuzz_target;

const SEPARATOR: &[u8] = b"\n--8<--\n";
/// The sector of the first partition: there is little room before it.
const FIRST_PARTITION: u64 = 128;
/// Longer names than a tar header has.
const LONGEST_NAME: usize = 100;

fuzz_target!(|data: &[u8]| {
    let ctx = Context::new();
    let Ok(base) = SourceIndex::from_bytes("base", archive(data), &ctx) else { return };
    let Ok(mut tree) = Tree::new(base, &ctx) else { return };
    let mbr = BootLayout::Mbr { signature: 7, first_partition: FIRST_PARTITION };
    for layout in [BootLayout::Bare, mbr] {
        let options = BootOptions::new([7; 16], layout).with_host_grub(None);
        let Ok(plan) = BootPlan::new(&tree, &options, &ctx) else { continue };
        if let Some(code) = plan.boot_code() {
            let end = code.start_lba * 512 + code.embedded.len() as u64;
            assert!(end <= FIRST_PARTITION * 512, "the boot code ends at {end}");
        }
        // What the tree refuses is refused.
        let _ = plan.inject(&mut tree);
    }
});

/// The files as a tar.
fn archive(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let end = rest.windows(SEPARATOR.len()).position(|part| part == SEPARATOR);
        let file = &rest[..end.unwrap_or(rest.len())];
        rest = end.map_or(&[], |end| &rest[end + SEPARATOR.len()..]);
        let line = file.iter().position(|&byte| byte == b'\n').unwrap_or(file.len());
        let name = std::str::from_utf8(&file[..line]).unwrap_or_default();
        if !name.is_empty() && name.len() < LONGEST_NAME && !name.contains('\0') {
            bytes.extend(common::member(name, b'0', file.get(line + 1..).unwrap_or_default()));
        }
    }
    bytes.extend([0; 1024]);
    bytes
}

use std::io::{Read as _, Seek as _};

use super::*;
use crate::rootfs::disk::partition_table::{ALIGNMENT, PartitionTable};
use crate::rootfs::disk::{DiskFormat, DiskImage, inspect};
use crate::rootfs::{InjectedFile, SourceIndex};
use crate::{ErrorKind, Result};

const SIZE: u64 = 64 << 20;

fn tree() -> Tree {
    let ctx = Context::new();
    let empty = SourceIndex::from_bytes("empty", vec![0u8; 1024], &ctx).unwrap();
    let mut tree = Tree::new(empty, &ctx).unwrap();
    tree.inject(InjectedFile::new("/etc/hostname", "web\n")).unwrap();
    tree
}

fn options(format: DiskFormat, layout: DiskLayout) -> DiskOptions {
    DiskOptions::new(format)
        .with_layout(layout)
        .with_bootloader(Bootloader::None)
        .with_size(SIZE)
        .with_label("test")
}

fn image(options: DiskOptions) -> Result<Vec<u8>> {
    let ctx = Context::new();
    let (mut tree, mut file) = (tree(), tempfile::tempfile().unwrap());
    let mut sink = DiskSink::new(&file, options);
    sink.prepare(&mut tree, &ctx)?;
    sink.write(&tree, &ctx)?;
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    Ok(bytes)
}

#[test]
fn every_layout_in_every_format_is_sound_and_holds_the_file_system() {
    let ctx = Context::new();
    let formats =
        [DiskFormat::Raw, DiskFormat::VhdFixed, DiskFormat::VhdDynamic, DiskFormat::Qcow2];
    for format in formats {
        for layout in DiskLayout::ALL {
            let bytes = image(options(format, layout)).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &bytes).unwrap();
            let found = inspect(file.path(), &ctx).unwrap();
            assert!(found.is_sound(), "{format} {layout}: {found:?}");
            let image = DiskImage::open(file.path(), &ctx).unwrap();
            let table = PartitionTable::read(&image, &mut Vec::new()).unwrap();
            let expected = match layout {
                DiskLayout::Bare => table.is_none(),
                DiskLayout::Mbr => matches!(table, Some(PartitionTable::Mbr(_))),
                DiskLayout::Gpt => matches!(table, Some(PartitionTable::Gpt(_))),
            };
            assert!(expected, "{format} {layout}");
        }
    }
}

#[test]
fn a_disk_of_the_size_that_was_said_to_be_needed_is_large_enough() {
    for format in [DiskFormat::Raw, DiskFormat::VhdDynamic] {
        for layout in DiskLayout::ALL {
            let small = options(format, layout).with_size(6 << 20);
            let error = image(small.clone()).unwrap_err();
            let needed = error.context_value("needed_bytes").unwrap().parse().unwrap();
            image(small.with_size(needed)).unwrap();
        }
    }
}

#[test]
fn by_default_a_disk_has_whole_gib() {
    for layout in DiskLayout::ALL {
        let mut options = options(DiskFormat::Raw, layout);
        options.size = None;
        let (ctx, file) = (Context::new(), tempfile::tempfile().unwrap());
        DiskSink::new(&file, options).write(&tree(), &ctx).unwrap();
        assert_eq!(file.metadata().unwrap().len() % (1 << 30), 0, "{layout}");
    }
}

#[test]
fn a_boot_loader_needs_to_be_prepared() {
    let options = options(DiskFormat::Raw, DiskLayout::Bare).with_bootloader(Bootloader::Grub);
    let (ctx, file) = (Context::new(), tempfile::tempfile().unwrap());
    let error = DiskSink::new(&file, options).write(&tree(), &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let of = || image(options(DiskFormat::VhdDynamic, DiskLayout::Gpt)).unwrap();
    assert_eq!(of(), of());
}

#[test]
fn without_a_kernel_only_the_bare_layout_is_possible() {
    let bootable = |layout| options(DiskFormat::Raw, layout).with_bootloader(Bootloader::Grub);
    let error = image(bootable(DiskLayout::Mbr)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    image(bootable(DiskLayout::Bare)).unwrap();
}

#[test]
fn a_disk_without_room_is_refused_before_it_is_written() {
    for size in [1, ALIGNMENT, 3 * ALIGNMENT] {
        let options = options(DiskFormat::Raw, DiskLayout::Gpt).with_size(size);
        assert_eq!(image(options).unwrap_err().kind(), ErrorKind::InvalidConfig, "{size}");
    }
}

#[test]
fn an_mbr_reaches_to_2_tib() {
    let file = tempfile::tempfile().unwrap();
    let chosen = options(DiskFormat::Qcow2, DiskLayout::Mbr);
    for (size, is_possible) in [(2 << 40, true), ((2 << 40) + 2 * ALIGNMENT, false)] {
        let mut sink = DiskSink::new(&file, chosen.clone().with_size(size));
        assert_eq!(sink.geometry().is_ok(), is_possible);
        if !is_possible {
            let error = sink.write(&tree(), &Context::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.hints().any(|hint| hint.contains("layout: gpt")), "{error}");
        }
    }
    assert_eq!(file.metadata().unwrap().len(), 0);
    let gpt = options(DiskFormat::Qcow2, DiskLayout::Gpt).with_size(3 << 40);
    assert!(DiskSink::new(&file, gpt).geometry().is_ok());
}

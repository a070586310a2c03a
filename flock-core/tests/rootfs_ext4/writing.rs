//! How file systems are written.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;

use flock_core::rootfs::Sink as _;
use flock_core::rootfs::disk::DiskWriter;
use flock_core::rootfs::ext4::{Ext4Layout, Ext4Options, Ext4Sink};
use flock_core::{Context, ErrorKind};

use super::small;
use super::support::ext4::Image;
use super::support::ext4_trees::{everything, sparse, tree_in_file};
use super::support::tars::Tar;

/// The same input gives the same bytes, by any number of threads and through
/// any writer.
pub(super) fn same_input_same_bytes() {
    let options = small().with_size(100 << 20).with_label("twice");
    let image = |threads| {
        let options = options.clone().with_threads(NonZeroUsize::new(threads).unwrap());
        std::fs::read(Image::of(&tree_in_file(everything()), &options).path()).unwrap()
    };
    let one = image(1);
    assert!(one == image(5), "the number of threads shows");
    let mut sink = Ext4Sink::new(std::io::Cursor::new(Vec::new()), options.clone());
    sink.write(&everything().tree(), &Context::new()).unwrap();
    assert!(one == sink.into_inner().into_inner(), "the writer shows");
    let uuid = |tar: Tar, options: &Ext4Options| {
        Ext4Layout::plan(&tar.tree(), options, &Context::new()).unwrap().uuid()
    };
    let first = uuid(Tar::new().file("a", ""), &small());
    assert_ne!(first, uuid(Tar::new().file("b", ""), &small()));
    assert_ne!(first, uuid(Tar::new().file("a", ""), &small().with_label("x")));
    assert_eq!(uuid(Tar::new(), &small().with_uuid([7; 16])), [7; 16]);
}

/// Remembers what was written where, and that no byte was twice.
#[derive(Default)]
struct Recorder(Mutex<BTreeMap<u64, u64>>);

impl DiskWriter for Recorder {
    fn size(&self) -> u64 {
        100 << 20
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        let end = offset + bytes.len() as u64;
        let mut written = self.0.lock().unwrap();
        let before = written.range(..end).next_back().map_or(0, |(_, end)| *end);
        assert!(before <= offset, "{offset} is written twice");
        written.insert(offset, end);
        Ok(())
    }
}

pub(super) fn only_what_was_announced_is_written() {
    let tar = sparse(everything(), "sparse", 1 << 30, &[(10, 10), (70_000, 4096), (80_000, 5)]);
    let tree = tree_in_file(tar);
    let options = small().with_size(100 << 20);
    let layout = Ext4Layout::plan(&tree, &options, &Context::new()).unwrap();
    let used = layout.used();
    assert!(used.windows(2).all(|pair| pair[0].end < pair[1].start));
    let recorder = Recorder::default();
    let written = layout.write(&recorder, &Context::new()).unwrap();
    let ranges = recorder.0.into_inner().unwrap();
    assert_eq!(written.bytes, ranges.iter().map(|(start, end)| end - start).sum::<u64>());
    for (start, end) in ranges {
        let is_inside = used.iter().any(|range| range.start <= start && end <= range.end);
        assert!(is_inside, "{start}..{end} was not announced");
    }
}

/// Where a file is said to be, it is.
pub(super) fn files_are_where_they_are_said_to_be() {
    let tar = sparse(everything(), "sparse", 1 << 30, &[(10, 10), (70_000, 4096), (80_000, 5)])
        .symlink("way", "/sizes");
    let tree = tree_in_file(tar);
    let options = small().with_size(100 << 20);
    let layout = Ext4Layout::plan(&tree, &options, &Context::new()).unwrap();
    let image = std::fs::read(Image::of(&tree, &options).path()).unwrap();
    for path in ["/way/34603013", "sizes/4097", "sizes/0", "sparse"] {
        let mut want = Vec::new();
        let entry = tree.lookup(path).unwrap().unwrap();
        entry.content().reader().take(200 << 20).read_to_end(&mut want).unwrap();
        let mut got = vec![0; want.len()];
        for extent in layout.file_extents(path).unwrap() {
            let start = usize::try_from(extent.disk_offset).unwrap();
            let at = usize::try_from(extent.file_offset).unwrap();
            let length = usize::try_from(extent.length).unwrap().min(got.len() - at);
            got[at..at + length].copy_from_slice(&image[start..start + length]);
        }
        assert!(got == want, "{path}");
    }
    let kind = |path| layout.file_extents(path).unwrap_err().kind();
    assert_eq!(kind("nothing"), ErrorKind::NotFound);
    assert_eq!(kind("sizes"), ErrorKind::InvalidConfig);
}

/// Cancels when the first byte is written.
struct Cancelling(Context);

impl DiskWriter for Cancelling {
    fn size(&self) -> u64 {
        1 << 40
    }

    fn write_at(&self, _: &[u8], _: u64) -> std::io::Result<()> {
        self.0.cancel();
        Ok(())
    }
}

/// A disk that is full, or too small.
struct Full(u64);

impl DiskWriter for Full {
    fn size(&self) -> u64 {
        self.0
    }

    fn write_at(&self, _: &[u8], offset: u64) -> std::io::Result<()> {
        match offset {
            0..0x40_0000 => Ok(()),
            _ => Err(std::io::ErrorKind::StorageFull.into()),
        }
    }
}

pub(super) fn writing_stops() {
    let tree = tree_in_file(everything());
    let ctx = Context::new();
    let options = small().with_size(100 << 20);
    let layout = Ext4Layout::plan(&tree, &options, &ctx).unwrap().with_name(Path::new("x.img"));
    let error = layout.write(&Full(100 << 20), &ctx).unwrap_err();
    assert_eq!(
        (error.kind(), error.context_value("path")),
        (ErrorKind::QuotaExceeded, Some("x.img"))
    );
    assert!(!ctx.is_cancelled());
    let error = layout.write(&Full(99 << 20), &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let error = layout.write(&Cancelling(ctx.clone()), &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let error = Ext4Layout::plan(&tree, &options, &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

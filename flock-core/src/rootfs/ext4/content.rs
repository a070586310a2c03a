//! Writing inodes, with everything that belongs to them.

use std::ops::Range;
use std::sync::Arc;

use super::bytes::put;
use super::checksum::Seed;
use super::directory::{Directory, FileType, empty_block};
use super::extents::{self, Extent};
use super::geometry::{BLOCK, BLOCK_SIZE, INODE_SIZE, INODES_PER_BLOCK};
use super::inode::{self, Inode};
use super::layout::Ext4Layout;
use super::survey::{self, LOST_AND_FOUND_BLOCKS, RESERVED_INODES, ROOT};
use super::target::{Stream, Target};
use super::work::{Copy, Job, Queue};
use super::{journal, resize};
use crate::rootfs::entry::{self, Content, EntryKind, ExtentSource, Mtime};
use crate::rootfs::name;
use crate::rootfs::tree::{NodeId, NodeReader};
use crate::{Error, ErrorKind, Result};

/// What is longer is copied by itself, not gathered.
const LARGE: u64 = 256 << 10;
/// Into parts of this length the largest files are cut.
const PART: u32 = 16 << 20;
/// How many inodes, or blocks of theirs, one job has about.
const JOB_INODES: u32 = 1024;
const JOB_BLOCKS: u32 = 2048;

impl Ext4Layout<'_> {
    /// Writes all inodes and their content.
    pub(super) fn write_content(&self, target: &Target<'_>) -> Result<()> {
        let queue = Queue::new(self.jobs());
        queue.run(self.options.threads, target.ctx, || {
            let mut worker = Worker {
                layout: self,
                target,
                queue: &queue,
                reader: self.tree.reader(),
                stream: Stream::new(target),
                seed: Seed::of_file_system(&self.uuid),
            };
            move |job| match job {
                Job::Inodes(slots) => worker.inodes(slots),
                Job::Copy(copy) => worker.copy(&copy),
            }
        })
    }

    /// The places in the inode tables that are in use, cut into jobs: whole
    /// blocks of one group.
    fn jobs(&self) -> Vec<Range<u32>> {
        let used = u32::try_from(self.survey.used_inodes()).unwrap_or(u32::MAX);
        let per_group = self.geometry().inodes_per_group;
        let mut jobs = Vec::new();
        let mut begin = 0;
        while begin < used {
            let mut end = begin;
            loop {
                end += INODES_PER_BLOCK;
                let blocks = self.start_of(end).saturating_sub(self.start_of(begin));
                let is_enough = end - begin >= JOB_INODES || blocks >= JOB_BLOCKS;
                if end >= used || end % per_group == 0 || is_enough {
                    break;
                }
            }
            jobs.push(begin..end);
            begin = end;
        }
        jobs
    }

    /// Where the content of the inode at a place in the tables begins.
    fn start_of(&self, slot: u32) -> u32 {
        let index = slot.saturating_sub(RESERVED_INODES - 1) as usize;
        self.survey.inodes.get(index).map_or(self.end, |planned| planned.start)
    }
}

/// The inode of the journal; its tree goes to `emit`.
pub(super) fn journal_inode<E>(
    layout: &Ext4Layout<'_>,
    seed: Seed,
    emit: impl FnMut(u32, &[u8; BLOCK_SIZE]) -> Result<(), E>,
) -> Result<Inode, E> {
    let (space, length) = (&layout.frame.space, layout.geometry().journal_blocks);
    let mut inode = Inode::new(inode::FILE | 0o600, made(layout));
    inode.size = u64::from(length) * BLOCK;
    inode.flags = inode::EXTENTS;
    let extents = extents::map(space, 0, &layout.frame.journal());
    let trees = extents::tree_blocks(extents.len());
    let places: Vec<u32> = space.pieces(length, trees).flatten().collect();
    inode.blocks = u64::from(length + trees);
    inode.root = extents::encode(&extents, &places, seed, emit)?;
    Ok(inode)
}

/// The time of what flock makes itself.
fn made(layout: &Ext4Layout<'_>) -> Mtime {
    Mtime { seconds: layout.tree.made_time(), nanos: 0 }
}

/// What one thread needs to write inodes.
struct Worker<'a> {
    layout: &'a Ext4Layout<'a>,
    target: &'a Target<'a>,
    queue: &'a Queue,
    reader: NodeReader<'a>,
    stream: Stream<'a>,
    seed: Seed,
}

impl Worker<'_> {
    /// Writes the inodes at these places of a table.
    fn inodes(&mut self, slots: Range<u32>) -> Result<()> {
        let mut table = vec![0; (slots.len()) * INODE_SIZE as usize];
        for (number, out) in (slots.start + 1..).zip(table.chunks_exact_mut(INODE_SIZE as usize)) {
            if let Some(inode) = self.inode(number)? {
                put(out, 0, &inode.encode(self.seed.of_inode(number)));
            }
            if number.is_multiple_of(64) {
                self.target.ctx.check()?;
            }
        }
        self.stream.flush()?;
        let geometry = self.layout.geometry();
        let (group, first) =
            (slots.start / geometry.inodes_per_group, slots.start % geometry.inodes_per_group);
        let start = u64::from(self.layout.frame.groups.places[group as usize].inode_table) * BLOCK;
        self.target.write(start + u64::from(first) * u64::from(INODE_SIZE), &table)
    }

    /// Writes what belongs to an inode; `None` for one that is not in use.
    fn inode(&mut self, number: u32) -> Result<Option<Inode>> {
        let inode = match number {
            2 => self.planned(ROOT)?,
            resize::INODE if resize::is_needed(self.layout.geometry()) => self.resize_inode()?,
            journal::INODE => self.journal()?,
            ..=RESERVED_INODES => return Ok(None),
            _ => {
                let index = (number - RESERVED_INODES) as usize;
                if index >= self.layout.survey.inodes.len() {
                    return Ok(None);
                }
                self.planned(index)?
            }
        };
        Ok(Some(inode))
    }

    fn resize_inode(&mut self) -> Result<Inode> {
        let geometry = self.layout.geometry();
        let place = self.place(self.layout.resize_block)?;
        self.block(place, &resize::double_indirect(geometry))?;
        Ok(resize::inode(geometry, place, made(self.layout)))
    }

    fn journal(&mut self) -> Result<Inode> {
        let layout = self.layout;
        let place = self.place(0)?;
        self.block(place, &journal::superblock(layout.geometry().journal_blocks))?;
        journal_inode(layout, self.seed.of_inode(journal::INODE), |place, block| {
            self.block(place, block)
        })
    }

    /// Writes an inode of the tree.
    fn planned(&mut self, index: usize) -> Result<Inode> {
        let layout = self.layout;
        if layout.survey.makes(index) {
            return self.lost_and_found(index);
        }
        let planned = layout.survey.inodes[index];
        let (kind, metadata, content) = self.reader.read(planned.node)?;
        let mode = u16::try_from(metadata.mode & 0o7777).unwrap_or(0);
        let mut inode = Inode::new(file_type(&kind) | mode, metadata.mtime);
        (inode.uid, inode.gid) = (metadata.uid, metadata.gid);
        inode.links = planned.links;
        let attributes = survey::attributes(layout.tree, planned.node, &kind, &metadata)?;
        if attributes.need_block() != planned.has_attribute_block() {
            return Err(self.changed(planned.node));
        }
        inode.attributes = attributes.inode_bytes();
        let mut start = planned.start;
        if attributes.need_block() {
            inode.attribute_block = self.place(start)?;
            let block = attributes.block_bytes(inode.attribute_block, self.seed);
            self.block(inode.attribute_block, &block)?;
            (inode.blocks, start) = (1, start + 1);
        }
        match &kind {
            EntryKind::File { size } => {
                inode.size = *size;
                self.file(&mut inode, index, start, &content)?;
            }
            EntryKind::Directory => self.directory(&mut inode, index, start)?,
            EntryKind::Symlink { target } => self.symlink(&mut inode, index, start, target)?,
            EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
                inode.root =
                    inode::device(*major, *minor).ok_or_else(|| self.changed(planned.node))?;
            }
            EntryKind::Hardlink { .. } | EntryKind::Fifo => {}
        }
        Ok(inode)
    }

    fn file(
        &mut self,
        inode: &mut Inode,
        index: usize,
        start: u32,
        content: &Content,
    ) -> Result<()> {
        let node = self.layout.survey.inodes[index].node;
        let runs = survey::runs_of(self.layout.tree, node, content)?;
        let blocks: u32 = runs.iter().map(|run| run.length).sum();
        let extents = extents::map(&self.layout.frame.space, start, &runs);
        self.data(node, content, &extents)?;
        self.tree(inode, index, start + blocks, &extents)
    }

    /// Writes a file's data to its extents.
    fn data(&mut self, node: NodeId, content: &Content, extents: &[Extent]) -> Result<()> {
        let mut places = extents.iter().peekable();
        for source in content.extents() {
            let end = source.offset + source.length;
            let mut position = source.offset;
            while position < end {
                let is_behind =
                    |place: &&Extent| u64::from(place.logical + place.length) * BLOCK <= position;
                while places.next_if(is_behind).is_some() {}
                let place = places.peek().ok_or_else(|| self.changed(node))?;
                let first = u64::from(place.logical) * BLOCK;
                let until = end.min(first + u64::from(place.length) * BLOCK);
                let to = u64::from(place.physical) * BLOCK + (position - first);
                self.piece(node, source, position - source.offset..until - source.offset, to)?;
                position = until;
            }
        }
        Ok(())
    }

    /// Writes a part of a file that stays in one piece.
    fn piece(
        &mut self,
        node: NodeId,
        source: &entry::Extent,
        part: Range<u64>,
        to: u64,
    ) -> Result<()> {
        let length = part.end - part.start;
        let as_index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let at_hand = self.reader.data_at_hand(source);
        if let Some(bytes) =
            at_hand.and_then(|bytes| bytes.get(as_index(part.start)..as_index(part.end)))
        {
            return self.stream.bytes(to, bytes);
        }
        match &source.source {
            ExtentSource::File { file, offset } if length >= LARGE => {
                let from = offset + part.start;
                self.large(&Copy { node, file: Arc::clone(file), from, length, to })
            }
            ExtentSource::Bytes { bytes, offset } if length >= LARGE => {
                let part = as_index(offset + part.start)..as_index(offset + part.end);
                let bytes = bytes.get(part).ok_or_else(|| self.changed(node))?;
                self.stream.bytes(to, bytes)
            }
            small => {
                let path = || name::show(&self.layout.tree.path(node));
                self.stream.read(to, small, part.start, as_index(length), path)
            }
        }
    }

    /// Copies now, or lets all threads do it part by part.
    fn large(&mut self, copy: &Copy) -> Result<()> {
        if copy.length < 2 * u64::from(PART) {
            self.stream.flush()?;
            return self.copy(copy);
        }
        let parts = (0..copy.length).step_by(PART as usize).map(|done| Copy {
            node: copy.node,
            file: Arc::clone(&copy.file),
            from: copy.from + done,
            length: u64::from(PART).min(copy.length - done),
            to: copy.to + done,
        });
        self.queue.add(parts);
        Ok(())
    }

    fn copy(&self, copy: &Copy) -> Result<()> {
        let path = || name::show(&self.layout.tree.path(copy.node));
        self.target.copy(copy.to, (&copy.file, copy.from), copy.length, path)
    }

    fn directory(&mut self, inode: &mut Inode, index: usize, start: u32) -> Result<()> {
        let layout = self.layout;
        let node = layout.survey.inodes[index].node;
        let names = layout.survey.names_in(layout.tree, node);
        let subdirectories =
            names.iter().filter(|name| name.file_type == FileType::Directory).count();
        // 1 stands for more than can be counted.
        inode.links = u16::try_from(subdirectories + 2)
            .ok()
            .filter(|links| *links <= inode::MAX_LINKS)
            .unwrap_or(1);
        let directory = Directory::arrange(names, &layout.survey.hash_seed())
            .ok_or_else(|| self.changed(node))?;
        if directory.is_indexed() {
            inode.flags = inode::INDEXED;
        }
        let number = survey::number(index);
        let parent = layout.survey.index(layout.tree, layout.tree.parent(node));
        let mut places = layout.frame.space.pieces(start, directory.blocks()).flatten();
        let seed = self.seed.of_inode(number);
        directory.encode(number, survey::number(parent), seed, |block| {
            let place = places.next().ok_or_else(|| self.changed(node))?;
            self.block(place, block)
        })?;
        self.linear(inode, index, start, directory.blocks())
    }

    fn lost_and_found(&mut self, index: usize) -> Result<Inode> {
        let number = survey::number(index);
        let seed = self.seed.of_inode(number);
        let start = self.layout.survey.inodes[index].start;
        let mut inode = Inode::new(inode::DIRECTORY | 0o700, made(self.layout));
        inode.links = 2;
        let empty = Directory::empty();
        let first = self.place(start)?;
        empty.encode(number, survey::number(ROOT), seed, |block| self.block(first, block))?;
        for linear in start + 1..start + LOST_AND_FOUND_BLOCKS {
            let place = self.place(linear)?;
            self.block(place, &empty_block(seed))?;
        }
        self.linear(&mut inode, index, start, LOST_AND_FOUND_BLOCKS)?;
        Ok(inode)
    }

    fn symlink(
        &mut self,
        inode: &mut Inode,
        index: usize,
        start: u32,
        target: &[u8],
    ) -> Result<()> {
        if target.len() > inode::MAX_INLINE_TARGET {
            let place = self.place(start)?;
            let mut block = [0; BLOCK_SIZE];
            put(&mut block, 0, target);
            self.block(place, &block)?;
            self.linear(inode, index, start, 1)?;
        } else {
            put(&mut inode.root, 0, target);
        }
        inode.size = target.len() as u64;
        Ok(())
    }

    /// Gives an inode the blocks from `start` on, all of them in use.
    fn linear(&mut self, inode: &mut Inode, index: usize, start: u32, blocks: u32) -> Result<()> {
        inode.size = u64::from(blocks) * BLOCK;
        let run = [extents::Run { logical: 0, length: blocks }];
        let extents = extents::map(&self.layout.frame.space, start, &run);
        self.tree(inode, index, start + blocks, &extents)
    }

    /// Gives an inode its extents; blocks of their tree are behind the data.
    fn tree(
        &mut self,
        inode: &mut Inode,
        index: usize,
        behind: u32,
        extents: &[Extent],
    ) -> Result<()> {
        let trees = extents::tree_blocks(extents.len());
        let places: Vec<u32> = self.layout.frame.space.pieces(behind, trees).flatten().collect();
        let seed = self.seed.of_inode(survey::number(index));
        inode.root =
            extents::encode(extents, &places, seed, |place, block| self.block(place, block))?;
        inode.flags |= inode::EXTENTS;
        let data: u64 = extents.iter().map(|extent| u64::from(extent.length)).sum();
        inode.blocks += data + u64::from(trees);
        Ok(())
    }

    fn place(&self, linear: u32) -> Result<u32> {
        self.layout.frame.space.block(linear).ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "a block of the ext4 layout has no place")
        })
    }

    fn block(&mut self, place: u32, block: &[u8; BLOCK_SIZE]) -> Result<()> {
        self.stream.bytes(u64::from(place) * BLOCK, block)
    }

    fn changed(&self, node: NodeId) -> Error {
        let path = name::show(&self.layout.tree.path(node));
        Error::new(ErrorKind::Conflict, format!("'{path}' changed while it was being used"))
            .hint("start again once nobody writes to it any more")
    }
}

fn file_type(kind: &EntryKind) -> u16 {
    match kind {
        EntryKind::File { .. } | EntryKind::Hardlink { .. } => inode::FILE,
        EntryKind::Directory => inode::DIRECTORY,
        EntryKind::Symlink { .. } => inode::SYMLINK,
        EntryKind::CharDevice { .. } => inode::CHAR_DEVICE,
        EntryKind::BlockDevice { .. } => inode::BLOCK_DEVICE,
        EntryKind::Fifo => inode::FIFO,
    }
}

//! What is to be written, handed out to threads.

use std::collections::VecDeque;
use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::rootfs::tree::NodeId;
use crate::{Context, Error, Result};

/// Something to write.
pub(super) enum Job {
    /// Inodes by their places in the tables, with everything of theirs.
    Inodes(Range<u32>),
    /// A part of a large file.
    Copy(Copy),
}

/// A part of a large file.
pub(super) struct Copy {
    pub(super) node: NodeId,
    pub(super) file: Arc<File>,
    pub(super) from: u64,
    pub(super) length: u64,
    /// Where on the disk it goes.
    pub(super) to: u64,
}

/// Work that is left. Large files are cut up when they are met, so that no
/// thread is left alone with one.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    inodes: VecDeque<Range<u32>>,
    copies: VecDeque<Copy>,
    /// Jobs under way, which may bring more.
    busy: usize,
    failed: Option<Error>,
}

impl Queue {
    pub(super) fn new(inodes: impl IntoIterator<Item = Range<u32>>) -> Self {
        let inodes = inodes.into_iter().collect();
        let state = State { inodes, copies: VecDeque::new(), busy: 0, failed: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds parts of a large file.
    pub(super) fn add(&self, copies: impl IntoIterator<Item = Copy>) {
        self.lock().copies.extend(copies);
        self.changed.notify_all();
    }

    /// Works everything off on so many threads, this one among them, each with
    /// its own worker. `ctx` is cancelled when one fails.
    pub(super) fn run<W>(
        &self,
        threads: NonZeroUsize,
        ctx: &Context,
        worker: impl Fn() -> W + Sync,
    ) -> Result<()>
    where
        W: FnMut(Job) -> Result<()>,
    {
        thread::scope(|scope| {
            for number in 1..threads.get() {
                let builder = thread::Builder::new().name(format!("ext4-{number}"));
                let spawned = builder.spawn_scoped(scope, || self.work(ctx, worker()));
                if let Err(error) = spawned {
                    // Fewer threads do the same work.
                    tracing::debug!(%error, "cannot start a thread");
                    break;
                }
            }
            self.work(ctx, worker());
        });
        self.lock().failed.take().map_or(Ok(()), Err)
    }

    fn work(&self, ctx: &Context, mut worker: impl FnMut(Job) -> Result<()>) {
        while let Some(job) = self.next() {
            let _busy = Busy(self);
            if let Err(error) = worker(job) {
                // Later ones are most likely about the cancellation.
                self.lock().failed.get_or_insert(error);
                ctx.cancel();
            }
        }
    }

    /// The next job; waits while others may bring some.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() {
                return None;
            }
            let copy = state.copies.pop_front().map(Job::Copy);
            if let Some(job) = copy.or_else(|| state.inodes.pop_front().map(Job::Inodes)) {
                state.busy += 1;
                return Some(job);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job under way; nobody waits for it once it is dropped.
struct Busy<'a>(&'a Queue);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::ErrorKind;

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    #[test]
    fn everything_is_done_once() {
        for count in [1, 4] {
            let done = AtomicU32::new(0);
            let queue = Queue::new((0..100).map(|at| at..at + 1));
            let result = queue.run(threads(count), &Context::new(), || {
                |job| {
                    if let Job::Inodes(range) = job {
                        done.fetch_add(range.start, Ordering::Relaxed);
                    }
                    Ok(())
                }
            });
            assert!(result.is_ok());
            assert_eq!(done.into_inner(), 4950);
        }
    }

    #[test]
    fn the_first_error_ends_it() {
        let queue = Queue::new((0..100).map(|at| at..at + 1));
        let ctx = Context::new();
        let result = queue.run(threads(2), &ctx, || {
            |job| match job {
                Job::Inodes(range) if range.start == 7 => {
                    Err(Error::new(ErrorKind::QuotaExceeded, "full"))
                }
                _ => ctx.check(),
            }
        });
        assert_eq!(result.unwrap_err().kind(), ErrorKind::QuotaExceeded);
        assert!(ctx.is_cancelled());
    }
}

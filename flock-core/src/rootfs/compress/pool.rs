//! Threads that compress blocks.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Format;
use super::block::BlockCompressor;

/// A block on its way: its place in the order, and the buffers that go with it
/// and come back.
#[derive(Default)]
pub(super) struct Block {
    pub(super) number: u64,
    /// Of the block size, so that it can be read into; `filled` counts.
    pub(super) input: Vec<u8>,
    pub(super) filled: usize,
    pub(super) output: Vec<u8>,
}

/// A compressed block, and how many bytes of its output are used.
pub(super) type Done = (Block, io::Result<usize>);

/// Threads that turn blocks into compressed blocks, in no order. Dropping it
/// waits for the blocks that are being compressed, and forgets the others.
pub(super) struct Pool {
    jobs: Option<Sender<Block>>,
    done: Receiver<Done>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(super) fn start(format: Format, threads: usize) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let (results, done) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let mut pool = Self { jobs: Some(jobs), done, stop, threads: Vec::new() };
        for number in 0..threads {
            let worker = Worker {
                format,
                queue: Arc::clone(&queue),
                results: results.clone(),
                stop: Arc::clone(&pool.stop),
            };
            let builder = std::thread::Builder::new().name(format!("compress-{number}"));
            pool.threads.push(builder.spawn(move || worker.run())?);
        }
        Ok(pool)
    }

    pub(super) fn submit(&self, block: Block) -> io::Result<()> {
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(block).map_err(|_| gone())
    }

    /// A block that is ready; `None` if none is within `patience`.
    pub(super) fn receive(&self, patience: Duration) -> io::Result<Option<Done>> {
        match self.done.recv_timeout(patience) {
            Ok(done) => Ok(Some(done)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A worker catches its panics, so there is nothing to learn here.
            let _ = thread.join();
        }
    }
}

struct Worker {
    format: Format,
    queue: Arc<Mutex<Receiver<Block>>>,
    results: Sender<Done>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn run(&self) {
        let mut compressor = None;
        while let Some(mut block) = self.next() {
            let attempt = AssertUnwindSafe(|| self.compress(&mut compressor, &mut block));
            let result = catch_unwind(attempt)
                .unwrap_or_else(|_| Err(io::Error::other("the compressor panicked")));
            if self.results.send((block, result)).is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<Block> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let block = queue.recv().ok()?;
        (!self.stop.load(Ordering::Relaxed)).then_some(block)
    }

    fn compress(
        &self,
        compressor: &mut Option<BlockCompressor>,
        block: &mut Block,
    ) -> io::Result<usize> {
        if compressor.is_none() {
            *compressor = BlockCompressor::new(self.format)?;
        }
        let compressor = compressor.as_mut().ok_or_else(gone)?;
        compressor.compress(&block.input[..block.filled], &mut block.output)
    }
}

fn gone() -> io::Error {
    io::Error::other("the compressing threads are gone")
}

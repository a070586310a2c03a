//! What long work tells about itself: events to a reporter, never prints.
//!
//! A library opens a [`Task`] on its [`Context`](crate::Context); the program
//! above decides what becomes of the events: bars, JSON lines, nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What the numbers of a task count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: entries, nodes, layers.
    Items,
}

/// Names one task among those of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(u64);

/// One thing that happened in a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProgressEvent {
    /// Work began.
    Started {
        /// The task.
        task: TaskId,
        /// What is being done: "download debian.tar.gz".
        label: String,
        /// What the numbers count.
        unit: Unit,
        /// How much there is, where it is known.
        total: Option<u64>,
    },
    /// Work went on; at most ten of these a second for one task.
    Progress {
        /// The task.
        task: TaskId,
        /// How much is done so far.
        done: u64,
        /// How much there is, where it is known by now.
        total: Option<u64>,
    },
    /// There was nothing to do: the result was there already.
    Skipped {
        /// The task.
        task: TaskId,
        /// Why.
        reason: String,
    },
    /// Work ended well.
    Done {
        /// The task.
        task: TaskId,
        /// How much was done.
        done: u64,
    },
    /// Work ended without being done: an error or a cancellation, which is
    /// reported by the call itself.
    Abandoned {
        /// The task.
        task: TaskId,
    },
    /// Something a person should know, though the work goes on.
    Message {
        /// How much it matters.
        level: Level,
        /// One sentence.
        text: String,
    },
}

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Something was changed, dropped or guessed.
    Warning,
}

/// Takes progress events. Called from many threads; must not block for long.
pub trait ProgressReporter: Send + Sync {
    /// Takes one event.
    fn report(&self, event: ProgressEvent);
}

/// A closure is a reporter.
impl<F: Fn(ProgressEvent) + Send + Sync> ProgressReporter for F {
    fn report(&self, event: ProgressEvent) {
        self(event);
    }
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl ProgressReporter for NoProgress {
    fn report(&self, _event: ProgressEvent) {}
}

/// A piece of work under way. Dropping it without [`Task::done`] or
/// [`Task::skip`] reports it as abandoned.
pub struct Task {
    id: TaskId,
    reporter: Arc<dyn ProgressReporter>,
    done: AtomicU64,
    total: Option<u64>,
    last: Mutex<Instant>,
    ended: bool,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id)
            .field("done", &self.done)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl Task {
    const INTERVAL: Duration = Duration::from_millis(100);

    pub(crate) fn start(
        reporter: Arc<dyn ProgressReporter>,
        label: String,
        unit: Unit,
        total: Option<u64>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = TaskId(NEXT.fetch_add(1, Ordering::Relaxed));
        reporter.report(ProgressEvent::Started { task: id, label, unit, total });
        Self {
            id,
            reporter,
            done: AtomicU64::new(0),
            total,
            last: Mutex::new(Instant::now()),
            ended: false,
        }
    }

    /// Counts `amount` more as done. Cheap enough for every chunk.
    pub fn advance(&self, amount: u64) {
        let done = self.done.fetch_add(amount, Ordering::Relaxed) + amount;
        // Whoever finds the lock taken leaves the report to its holder.
        let Ok(mut last) = self.last.try_lock() else { return };
        if last.elapsed() >= Self::INTERVAL {
            *last = Instant::now();
            let total = self.total;
            self.reporter.report(ProgressEvent::Progress { task: self.id, done, total });
        }
    }

    /// Ends the task well.
    pub fn done(mut self) {
        self.ended = true;
        let done = self.done.load(Ordering::Relaxed);
        self.reporter.report(ProgressEvent::Done { task: self.id, done });
    }

    /// Ends the task because there was nothing to do.
    pub fn skip(mut self, reason: impl Into<String>) {
        self.ended = true;
        self.reporter.report(ProgressEvent::Skipped { task: self.id, reason: reason.into() });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.ended {
            self.reporter.report(ProgressEvent::Abandoned { task: self.id });
        }
    }
}

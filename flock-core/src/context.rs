//! What every call carries: until when, whether it is still wanted, and whom
//! to tell how far it is.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::progress::{Level, NoProgress, ProgressEvent, ProgressReporter, Task, Unit};
use crate::{Error, ErrorKind, Result};

/// Deadline, cancellation and progress of a call.
///
/// [`run`](Context::run), [`sleep`](Context::sleep) and
/// [`ended`](Context::ended) need a tokio runtime whose time is enabled
/// (`enable_time` or `enable_all` of its builder); everything else works
/// without one.
///
/// Cheap to clone; clones share the cancellation. A [`child`](Context::child)
/// is cancelled with its parent but not the other way round.
///
/// ```
/// use std::time::Duration;
/// use flock_core::{Context, ErrorKind};
///
/// let ctx = Context::new().with_timeout(Duration::from_secs(60));
/// assert!(ctx.check().is_ok());
/// ctx.cancel();
/// assert_eq!(ctx.check().unwrap_err().kind(), ErrorKind::Cancelled);
/// ```
#[derive(Clone)]
pub struct Context {
    deadline: Option<Instant>,
    cancellation: CancellationToken,
    progress: Arc<dyn ProgressReporter>,
}

impl Context {
    /// A context without a deadline that reports progress to nobody.
    #[must_use]
    pub fn new() -> Self {
        Self {
            deadline: None,
            cancellation: CancellationToken::new(),
            progress: Arc::new(NoProgress),
        }
    }

    /// The same context, ending at the latest at `deadline`. A deadline can
    /// only come nearer.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |old| old.min(deadline)));
        self
    }

    /// The same context, ending at the latest `timeout` from now.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        // A timeout beyond the clock's range is no timeout.
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.with_deadline(deadline),
            None => self,
        }
    }

    /// The same context, reporting to `progress`.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn ProgressReporter>) -> Self {
        self.progress = progress;
        self
    }

    /// The same context, telling `report` of every event. It is called from
    /// many threads and must not block for long.
    ///
    /// ```
    /// use flock_core::Context;
    /// use flock_core::progress::{Level, ProgressEvent};
    ///
    /// let ctx = Context::new().with_progress_fn(|event| {
    ///     if let ProgressEvent::Message { text, .. } = event {
    ///         eprintln!("{text}");
    ///     }
    /// });
    /// ctx.message(Level::Info, "this is printed");
    /// ```
    #[must_use]
    pub fn with_progress_fn(self, report: impl Fn(ProgressEvent) + Send + Sync + 'static) -> Self {
        self.with_progress(Arc::new(report))
    }

    /// A context that ends with this one and can be cancelled alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { cancellation: self.cancellation.child_token(), ..self.clone() }
    }

    /// Cancels this context, its clones and its children.
    pub fn cancel(&self) {
        self.cancellation.cancel();
    }

    /// Whether [`cancel`](Context::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled()
    }

    /// When the call must have ended.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long the call may still take; `None` without a deadline.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Fails if the call should not go on. Blocking code asks once per chunk.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] after a cancellation, [`ErrorKind::Timeout`]
    /// after the deadline.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(cancelled());
        }
        if self.remaining().is_some_and(|left| left.is_zero()) {
            return Err(timed_out());
        }
        Ok(())
    }

    /// Runs `work` until it ends or this context does, whichever is first.
    /// In the second case `work` is dropped where it stands, so hand over
    /// only futures that may be.
    ///
    /// # Panics
    /// With a deadline, outside of a tokio runtime with time enabled.
    ///
    /// # Errors
    /// Those of `work`; [`ErrorKind::Cancelled`]; [`ErrorKind::Timeout`].
    pub async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            end = self.ended() => Err(end),
            result = work => result,
        }
    }

    /// Waits for `duration`, or until this context ends.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`]; [`ErrorKind::Timeout`].
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        self.run(async {
            tokio::time::sleep(duration).await;
            Ok(())
        })
        .await
    }

    /// Completes when this context ends, with the error that says how.
    ///
    /// # Panics
    /// With a deadline, outside of a tokio runtime with time enabled.
    pub async fn ended(&self) -> Error {
        let deadline = async {
            match self.deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancellation.cancelled() => cancelled(),
            () = deadline => timed_out(),
        }
    }

    /// Starts a task that reports its progress here.
    pub fn task(&self, label: impl Into<String>, unit: Unit, total: Option<u64>) -> Task {
        Task::start(Arc::clone(&self.progress), label.into(), unit, total)
    }

    /// Tells a person something that does not stop the work.
    pub fn message(&self, level: Level, text: impl Into<String>) {
        self.progress.report(ProgressEvent::Message { level, text: text.into() });
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("remaining", &self.remaining())
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "cancelled before it was done")
}

fn timed_out() -> Error {
    Error::new(ErrorKind::Timeout, "the deadline passed before it was done")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_only_comes_nearer() {
        let near = Instant::now() + Duration::from_secs(1);
        let far = near + Duration::from_secs(60);
        let ctx = Context::new().with_deadline(near).with_deadline(far);
        assert_eq!(ctx.deadline(), Some(near));
        assert!(Context::new().with_timeout(Duration::MAX).deadline().is_none());
    }

    #[test]
    fn a_child_ends_with_its_parent_only() {
        let parent = Context::new();
        let child = parent.child();
        child.cancel();
        assert!(!parent.is_cancelled());
        let other = parent.child();
        parent.cancel();
        assert!(other.is_cancelled());
    }

    #[tokio::test]
    async fn run_stops_waiting_when_the_context_ends() {
        let ctx = Context::new().with_timeout(Duration::from_millis(10));
        let never = ctx.run(std::future::pending::<Result<()>>()).await;
        assert_eq!(never.unwrap_err().kind(), ErrorKind::Timeout);
    }
}

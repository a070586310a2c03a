//! A limit on how long a call may take.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::layer::{Layer, Policy};
use crate::provisioner::{DeploySpec, Deployment, NodeOutcome};
use crate::{Context, Error, ErrorKind, Operation, OperationClass, Result};

/// Ends calls that take too long, and gives up on those that do not end even
/// then.
///
/// The limit becomes the deadline of a child context. Its error is a
/// [`ErrorKind::Timeout`] that names the operation and the limit, and is
/// retryable, as every operation may be repeated; the end of the caller's own
/// context is passed on as it is.
pub type Timeout<T> = Layer<T, TimeLimits>;

/// How long the operations of each class may take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeLimits {
    /// For [`OperationClass::Read`]: half a minute unless set.
    pub read: Duration,
    /// For [`OperationClass::Change`]: five minutes unless set.
    pub change: Duration,
    /// For [`OperationClass::Long`]: an hour unless set.
    pub long: Duration,
    /// How long a call may take to wind up after its context has ended, until
    /// it is given up: five seconds unless set.
    pub grace: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            read: Duration::from_secs(30),
            change: Duration::from_secs(5 * 60),
            long: Duration::from_secs(60 * 60),
            grace: Duration::from_secs(5),
        }
    }
}

/// How a call under a limit ended.
enum End<T> {
    /// By itself, though maybe with the error of the limit.
    Done(Result<T>),
    /// It did not, and was given up.
    GivenUp,
}

impl TimeLimits {
    /// Sets [`read`](Self::read).
    #[must_use]
    pub fn with_read(mut self, read: Duration) -> Self {
        self.read = read;
        self
    }

    /// Sets [`change`](Self::change).
    #[must_use]
    pub fn with_change(mut self, change: Duration) -> Self {
        self.change = change;
        self
    }

    /// Sets [`long`](Self::long).
    #[must_use]
    pub fn with_long(mut self, long: Duration) -> Self {
        self.long = long;
        self
    }

    /// Sets [`grace`](Self::grace).
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long this operation may take.
    #[must_use]
    pub fn of(&self, operation: Operation) -> Duration {
        match operation.class() {
            OperationClass::Read => self.read,
            OperationClass::Change => self.change,
            OperationClass::Long => self.long,
        }
    }

    /// Runs `work` in a context that ends at the limit at the latest.
    async fn bound<T, W>(
        &self,
        ctx: &Context,
        limit: Duration,
        work: impl FnOnce(Context) -> W + Send,
    ) -> End<T>
    where
        W: Future<Output = Result<T>> + Send,
    {
        let child = match Instant::now().checked_add(limit) {
            Some(deadline) => ctx.child().with_deadline(deadline.into_std()),
            None => ctx.child(),
        };
        let given_up = async {
            child.ended().await;
            tokio::time::sleep(self.grace).await;
        };
        tokio::select! {
            biased;
            result = work(child.clone()) => End::Done(result),
            () = given_up => {
                // Tells what the call may have started elsewhere.
                child.cancel();
                End::GivenUp
            }
        }
    }
}

impl Policy for TimeLimits {
    async fn around<T, C, W>(&self, ctx: &Context, operation: Operation, call: C) -> Result<T>
    where
        T: Send,
        C: Fn(Context) -> W + Send + Sync,
        W: Future<Output = Result<T>> + Send,
    {
        let limit = Limit::start(ctx, operation, self.of(operation));
        match self.bound(ctx, limit.length, call).await {
            End::Done(Ok(answer)) => Ok(answer),
            End::Done(Err(error)) => Err(limit.explain(error)),
            End::GivenUp => Err(limit.give_up()),
        }
    }

    async fn around_deploy<C, W>(
        &self,
        ctx: &Context,
        spec: &DeploySpec,
        call: C,
    ) -> Result<Deployment>
    where
        C: Fn(Context, DeploySpec) -> W + Send + Sync,
        W: Future<Output = Result<Deployment>> + Send,
    {
        let limit = Limit::start(ctx, Operation::NodeDeploy, self.of(Operation::NodeDeploy));
        let end = self.bound(ctx, limit.length, |ctx| call(ctx, spec.clone())).await;
        match end {
            End::Done(Ok(mut deployment)) => {
                for outcome in &mut deployment.nodes {
                    let result = outcome.result.clone();
                    outcome.result = result.map_err(|error| limit.explain(error));
                }
                Ok(deployment)
            }
            End::Done(Err(error)) => Err(limit.explain(error)),
            // Some nodes may be there, so every name gets an outcome.
            End::GivenUp => {
                let error = limit.give_up().hint("`list` shows the nodes that were begun");
                let outcome = |name| NodeOutcome::failed(name, None, error.clone());
                Ok(Deployment::new(spec.names.iter().map(outcome).collect()))
            }
        }
    }
}

/// The limit on one call.
struct Limit<'a> {
    ctx: &'a Context,
    operation: Operation,
    length: Duration,
    started: Instant,
}

impl<'a> Limit<'a> {
    fn start(ctx: &'a Context, operation: Operation, length: Duration) -> Self {
        Self { ctx, operation, length, started: Instant::now() }
    }

    /// Whether this limit, and not the caller's own context, has ended.
    fn passed(&self) -> bool {
        let callers = self.ctx.deadline().is_some_and(|at| Instant::now() >= at.into());
        self.started.elapsed() >= self.length && !callers && !self.ctx.is_cancelled()
    }

    /// The call's error, in terms of this limit where it was the reason.
    fn explain(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Timeout || !self.passed() {
            return error;
        }
        let mut explained = self.error();
        if let Some(backend) = error.backend() {
            explained = explained.in_backend(backend.to_owned());
        }
        for (key, value) in error.context() {
            explained = explained.with(key.to_owned(), value);
        }
        explained.caused_by(error)
    }

    /// The error for a call that did not end by itself.
    fn give_up(&self) -> Error {
        if self.passed() {
            return self.error();
        }
        let (kind, why) = if self.ctx.is_cancelled() {
            (ErrorKind::Cancelled, "was cancelled")
        } else {
            (ErrorKind::Timeout, "reached the caller's deadline")
        };
        let message = format!("{} {why} and did not end by itself", self.operation);
        Error::new(kind, message).during(self.operation.as_str())
    }

    fn error(&self) -> Error {
        let message = format!("{} took longer than {:?}", self.operation, self.length);
        Error::new(ErrorKind::Timeout, message)
            .retryable()
            .during(self.operation.as_str())
            .with("limit", format!("{:?}", self.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryBackend;
    use crate::{ListFilter, Owner, Provisioner, RequestId};

    fn limited(inner: &MemoryBackend) -> Timeout<MemoryBackend> {
        let seconds = Duration::from_secs;
        let limits = TimeLimits {
            read: seconds(1),
            change: seconds(2),
            long: seconds(3),
            grace: seconds(1),
        };
        Timeout::new(inner.clone(), limits)
    }

    #[tokio::test(start_paused = true)]
    async fn its_own_limit_is_named_and_retryable() {
        let inner = MemoryBackend::new();
        inner.faults().hang(Operation::NodeList, 1);
        let start = Instant::now();
        let late = Provisioner::list(&limited(&inner), &Context::new(), &ListFilter::all()).await;
        let late = late.unwrap_err();
        assert_eq!(late.to_string(), "node.list took longer than 1s");
        assert_eq!((late.kind(), late.is_retryable()), (ErrorKind::Timeout, true));
        assert_eq!(late.backend(), Some("memory"));
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deaf_call_is_given_up_after_the_grace() {
        let inner = MemoryBackend::new();
        inner.faults().stall(Operation::NodeList, 1);
        let start = Instant::now();
        let late = Provisioner::list(&limited(&inner), &Context::new(), &ListFilter::all()).await;
        assert_eq!(late.unwrap_err().to_string(), "node.list took longer than 1s");
        assert_eq!(start.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_callers_own_end_is_passed_on() {
        let inner = MemoryBackend::new();
        inner.faults().hang(Operation::NodeList, 1);
        let ctx = Context::new().with_timeout(Duration::from_millis(500));
        let late = Provisioner::list(&limited(&inner), &ctx, &ListFilter::all()).await;
        let late = late.unwrap_err();
        assert_eq!((late.kind(), late.is_retryable()), (ErrorKind::Timeout, false));

        inner.faults().stall(Operation::NodeList, 1);
        let ctx = Context::new();
        ctx.cancel();
        let layered = limited(&inner);
        let cancelled = layered.policy().around(&ctx, Operation::NodeList, |_| async {
            std::future::pending::<Result<()>>().await
        });
        assert_eq!(cancelled.await.unwrap_err().kind(), ErrorKind::Cancelled);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deploy_given_up_still_has_every_name() {
        let inner = MemoryBackend::new();
        inner.faults().stall(Operation::NodeDeploy, 1);
        let owner = Owner::new("default", "web", RequestId::random());
        let spec = DeploySpec::new(owner, "image", ["a", "b"]);
        let deployment = limited(&inner).deploy(&Context::new(), &spec).await.unwrap();
        let names: Vec<_> = deployment.failed().map(|(outcome, _)| outcome.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(deployment.failed().all(|(_, error)| error.is_retryable()));
    }
}

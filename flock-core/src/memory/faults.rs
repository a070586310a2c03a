//! Faults on demand, and the record of what was called.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Context, Error, ErrorKind, Operation, Result};

/// Makes chosen calls of a [`MemoryBackend`](super::MemoryBackend) go wrong.
///
/// `n` counts the calls of the operation from the moment the fault is asked
/// for: 1 is the next one. A fault happens once. In a deploy,
/// [`Operation::NodeDeploy`] is the whole call and [`Operation::NodeCreate`]
/// the making of each node, so a fault of the latter is one node's outcome.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flock_core::Result<()> {
/// use flock_core::memory::MemoryBackend;
/// use flock_core::volume_driver::VolumeSpec;
/// use flock_core::{Context, ErrorKind, Operation, Owner, RequestId, VolumeDriver};
///
/// let backend = MemoryBackend::new();
/// let ctx = Context::new();
/// let owner = Owner::new("default", "web", RequestId::random());
/// let spec = VolumeSpec::new(owner, "data", 1 << 20);
///
/// backend.faults().lose_reply(Operation::VolumeCreate, 1);
/// let lost = backend.create(&ctx, &spec).await.unwrap_err();
/// assert_eq!(lost.kind(), ErrorKind::Unavailable);
/// // The effect happened; asking again with the same request finds it.
/// let volume = backend.create(&ctx, &spec).await?;
/// assert_eq!(volume.name, "data");
/// assert_eq!(backend.faults().count(Operation::VolumeCreate), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    calls: Vec<Call>,
    counts: BTreeMap<Operation, u64>,
    planned: BTreeMap<(Operation, u64), Fault>,
    delays: BTreeMap<Operation, Duration>,
}

/// One call that a backend got.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// Of what: an id or a name, several with commas; empty where there is
    /// nothing to name.
    pub target: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.target)
    }
}

#[derive(Debug, Clone)]
enum Fault {
    Fail(Error),
    LoseReply,
    HalfWay,
    Hang,
    Stall,
}

/// What is to become of a call that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Normal,
    ReplyLost,
    HalfWay,
}

impl Faults {
    /// Makes the nth call fail with `error`, without an effect.
    pub fn fail_nth(&self, operation: Operation, n: u64, error: Error) {
        self.plan(operation, n, Fault::Fail(error));
    }

    /// Makes the next `times` calls fail with `error`, without an effect.
    pub fn fail_next(&self, operation: Operation, times: u64, error: &Error) {
        for n in 1..=times {
            self.plan(operation, n, Fault::Fail(error.clone()));
        }
    }

    /// Makes the nth call have its effect and fail with a retryable
    /// [`ErrorKind::Unavailable`], as when the connection breaks.
    pub fn lose_reply(&self, operation: Operation, n: u64) {
        self.plan(operation, n, Fault::LoseReply);
    }

    /// Makes the nth call stop after the first of its steps, with a retryable
    /// [`ErrorKind::Unavailable`]: a node, an image or a volume is left half
    /// made or half destroyed, a volume taken from one node is not yet at the
    /// other. An operation of a single step fails without an effect.
    pub fn fail_half_way(&self, operation: Operation, n: u64) {
        self.plan(operation, n, Fault::HalfWay);
    }

    /// Makes the nth call wait, without an effect, until its context ends.
    pub fn hang(&self, operation: Operation, n: u64) {
        self.plan(operation, n, Fault::Hang);
    }

    /// Makes the nth call wait for ever, deaf to its context: what a backend
    /// must not do, and what the [`Timeout`](crate::layers::Timeout) layer
    /// guards against.
    pub fn stall(&self, operation: Operation, n: u64) {
        self.plan(operation, n, Fault::Stall);
    }

    /// Makes every call of this operation take this much longer, before it
    /// has an effect. Zero ends that.
    pub fn delay(&self, operation: Operation, duration: Duration) {
        self.lock().delays.insert(operation, duration);
    }

    /// Takes back all faults and delays that have not happened yet.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.planned.clear();
        inner.delays.clear();
    }

    /// Every call so far, in order, the failed ones too.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// How often this operation was called so far.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.lock().counts.get(&operation).copied().unwrap_or(0)
    }

    fn plan(&self, operation: Operation, n: u64, fault: Fault) {
        let mut inner = self.lock();
        let so_far = inner.counts.get(&operation).copied().unwrap_or(0);
        inner.planned.insert((operation, so_far.saturating_add(n)), fault);
    }

    /// Records the call and lets it through, delays it, or fails it.
    pub(super) async fn admit(
        &self,
        ctx: &Context,
        operation: Operation,
        target: String,
    ) -> Result<Fate> {
        let (delay, fault) = self.record(operation, target);
        if let Some(delay) = delay {
            ctx.sleep(delay).await?;
        }
        ctx.check()?;
        match fault {
            None => Ok(Fate::Normal),
            Some(Fault::LoseReply) => Ok(Fate::ReplyLost),
            Some(Fault::HalfWay) => Ok(Fate::HalfWay),
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::Hang) => Err(ctx.ended().await),
            Some(Fault::Stall) => std::future::pending().await,
        }
    }

    fn record(&self, operation: Operation, target: String) -> (Option<Duration>, Option<Fault>) {
        let mut inner = self.lock();
        inner.calls.push(Call { operation, target });
        let count = inner.counts.entry(operation).or_default();
        *count += 1;
        let call = (operation, *count);
        let delay = inner.delays.get(&operation).copied().filter(|delay| !delay.is_zero());
        (delay, inner.planned.remove(&call))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fate {
    /// The answer as it reaches the caller.
    pub(super) fn reply<T>(self, answer: T) -> Result<T> {
        match self {
            Self::Normal | Self::HalfWay => Ok(answer),
            Self::ReplyLost => {
                Err(Error::new(ErrorKind::Unavailable, "the connection broke before the reply"))
            }
        }
    }

    /// Stops here if the call is to fail half way.
    pub(super) fn pass(self) -> Result<()> {
        match self {
            Self::Normal | Self::ReplyLost => Ok(()),
            Self::HalfWay => {
                Err(Error::new(ErrorKind::Unavailable, "the connection broke half way"))
            }
        }
    }
}

//! What the suites of the three traits have in common.

use std::future::Future;
use std::time::{Duration, Instant};

use super::{Failure, ensure};
use crate::memory::Faults as MemoryFaults;
use crate::{Context, Error, ErrorKind, Operation, Result};

/// Makes the next call of an operation go wrong, beneath the subject.
///
/// A backend that can be tampered with in a test (a fake service, a proxy)
/// offers this, and gets the cases about lost replies and half-made things.
pub trait FaultInjector: Send + Sync + 'static {
    /// The effect happens, the reply is lost.
    fn lose_reply(&self, operation: Operation);

    /// The call stops after its first step and fails.
    fn fail_half_way(&self, operation: Operation);

    /// The call waits until its context ends.
    fn hang(&self, operation: Operation);
}

impl FaultInjector for MemoryFaults {
    fn lose_reply(&self, operation: Operation) {
        Self::lose_reply(self, operation, 1);
    }

    fn fail_half_way(&self, operation: Operation) {
        Self::fail_half_way(self, operation, 1);
    }

    fn hang(&self, operation: Operation) {
        Self::hang(self, operation, 1);
    }
}

/// How soon a method must return once its context has ended. Generous, as the
/// machine may be busy.
const SOON: Duration = Duration::from_secs(10);

/// When to interrupt a call: at once, and at times when a fast backend and a
/// slow one are in the middle of it.
pub(super) const INTERRUPTIONS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_micros(500),
    Duration::from_millis(5),
    Duration::from_millis(50),
];

/// Why a case cannot run, unless the subjects are `able`.
pub(super) fn unless(able: bool, reason: &'static str) -> Option<&'static str> {
    (!able).then_some(reason)
}

/// How the context of a call ends in the middle of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Interruption {
    /// It is cancelled.
    Cancelled,
    /// Its deadline passes.
    Late,
}

impl Interruption {
    /// The kind of error that says so.
    pub(super) fn kind(self) -> ErrorKind {
        match self {
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Late => ErrorKind::Timeout,
        }
    }

    /// Makes a call that is interrupted after a while. Fails if it does not
    /// end soon after that.
    pub(super) async fn interrupt<T, W>(
        self,
        after: Duration,
        call: impl FnOnce(Context) -> W,
    ) -> Result<Result<T>, Failure>
    where
        W: Future<Output = Result<T>>,
    {
        if let Self::Late = self {
            return ending_soon(after, call(Context::new().with_timeout(after))).await;
        }
        let ctx = Context::new();
        let canceller = ctx.clone();
        let cancel = async {
            tokio::time::sleep(after).await;
            canceller.cancel();
        };
        let (ended, ()) = tokio::join!(ending_soon(after, call(ctx)), cancel);
        ended
    }

    /// Makes a call that is interrupted after a while. Fails if it does not
    /// end soon after that, either well or with an error that says how.
    pub(super) async fn survive<T, W>(
        self,
        after: Duration,
        call: impl FnOnce(Context) -> W,
    ) -> super::Outcome
    where
        W: Future<Output = Result<T>>,
    {
        let kind = self.kind();
        match self.interrupt(after, call).await? {
            Err(error) if error.kind() != kind => Err(Failure::new(format!(
                "an interrupted call fails with {}: '{error}', not {kind}",
                error.kind()
            ))),
            _ => Ok(()),
        }
    }
}

/// Waits for a call that should end after a while. Fails if it does not end
/// soon after that.
pub(super) async fn ending_soon<T>(
    after: Duration,
    call: impl Future<Output = T>,
) -> Result<T, Failure> {
    let ended = tokio::time::timeout(after + SOON, call).await;
    ended.map_err(|_| Failure::new(format!("the call goes on {SOON:?} after it should have ended")))
}

/// Makes a call and drops its future after a while.
pub(super) async fn dropped_after(after: Duration, call: impl Future) {
    let _ended_or_dropped = tokio::time::timeout(after, call).await;
}

/// Contexts that have ended, and the kind of error that says how.
pub(super) fn ended_contexts() -> [(Context, ErrorKind); 2] {
    let cancelled = Context::new();
    cancelled.cancel();
    let late = Context::new().with_deadline(Instant::now());
    [(cancelled, ErrorKind::Cancelled), (late, ErrorKind::Timeout)]
}

/// Fails unless each of two equal calls at once gave the thing, or a retryable
/// conflict; gives what they gave.
pub(super) fn expect_one_made<T>(results: [Result<T>; 2]) -> Result<Vec<T>, Failure> {
    let mut made = Vec::new();
    for result in results {
        match result {
            Ok(thing) => made.push(thing),
            Err(error) if error.kind() == ErrorKind::Conflict && error.is_retryable() => {}
            Err(error) => return Err(Failure::from(error).context("one of two calls at once")),
        }
    }
    ensure(!made.is_empty(), "both of two calls at once failed")?;
    Ok(made)
}

/// The error of a call with a lost reply, unless a layer made up for it.
pub(super) fn lost<T>(result: Result<T>) -> Option<Error> {
    result.err()
}

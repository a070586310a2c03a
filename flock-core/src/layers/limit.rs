//! A bound on how many calls are under way at once.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::layer::{Layer, Policy};
use crate::{Context, Error, ErrorKind, Operation, Result};

/// Lets only so many calls of a backend be under way at once; the others wait
/// their turn, in order, or until their context ends.
pub type ConcurrencyLimit<T> = Layer<T, Permits>;

/// How many calls may be under way. Clones share the permits, so that several
/// layers can keep one bound together.
#[derive(Debug, Clone)]
pub struct Permits(Arc<Semaphore>);

impl Permits {
    /// At most this many at once, and at least one.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))))
    }
}

impl Policy for Permits {
    async fn around<T, C, W>(&self, ctx: &Context, operation: Operation, call: C) -> Result<T>
    where
        T: Send,
        C: Fn(Context) -> W + Send + Sync,
        W: Future<Output = Result<T>> + Send,
    {
        let turn = async {
            self.0.acquire().await.map_err(|closed| {
                Error::new(ErrorKind::Unexpected, "the limit was closed").caused_by(closed)
            })
        };
        let _turn = ctx.run(turn).await.map_err(|error| error.during(operation.as_str()))?;
        call(ctx.clone()).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::memory::MemoryBackend;
    use crate::{ListFilter, Provisioner};

    #[tokio::test(start_paused = true)]
    async fn calls_wait_their_turn() {
        let inner = MemoryBackend::new();
        inner.faults().delay(Operation::NodeList, Duration::from_secs(1));
        let limited = ConcurrencyLimit::new(inner, Permits::new(2));
        let start = tokio::time::Instant::now();
        let (ctx, all) = (Context::new(), ListFilter::all());
        let list = || Provisioner::list(&limited, &ctx, &all);
        let (a, b, c, d, e) = tokio::join!(list(), list(), list(), list(), list());
        assert!([a, b, c, d, e].iter().all(Result::is_ok));
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_context() {
        let inner = MemoryBackend::new();
        inner.faults().stall(Operation::NodeList, 1);
        let limited = Arc::new(ConcurrencyLimit::new(inner.clone(), Permits::new(1)));
        let holder = Arc::clone(&limited);
        let held = tokio::spawn(async move {
            Provisioner::list(&*holder, &Context::new(), &ListFilter::all()).await
        });
        tokio::task::yield_now().await;
        let ctx = Context::new().with_timeout(Duration::from_secs(1));
        let late = Provisioner::list(&*limited, &ctx, &ListFilter::all()).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Timeout);
        assert_eq!(inner.faults().count(Operation::NodeList), 1);
        // Giving up the holder gives back its turn.
        held.abort();
        assert!(held.await.is_err());
        assert!(Provisioner::list(&*limited, &Context::new(), &ListFilter::all()).await.is_ok());
    }
}

//! How many requests are under way, and how fast they are begun.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flock_core::{Context, Error, ErrorKind, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::CloudStackConfig;
use crate::error::BACKEND;

/// Lets requests through, not more nor faster than asked.
#[derive(Debug)]
pub(super) struct Pace {
    under_way: Semaphore,
    /// The time between two beginnings.
    interval: Duration,
    /// When the next one may begin.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(config: &CloudStackConfig) -> Self {
        let interval = config
            .max_requests_per_second
            .map_or(Duration::ZERO, |requests| Duration::from_secs(1) / requests.get());
        let under_way = Semaphore::new(config.max_concurrency.get().min(Semaphore::MAX_PERMITS));
        Self { under_way, interval, next: Mutex::default() }
    }

    /// Waits for a turn, which lasts as long as what is answered.
    pub(super) async fn turn(&self, ctx: &Context) -> Result<SemaphorePermit<'_>> {
        let closed =
            |_| Error::new(ErrorKind::Unexpected, "the client is gone").in_backend(BACKEND);
        let permit = ctx.run(async { self.under_way.acquire().await.map_err(closed) }).await?;
        let wait = self.begin();
        if !wait.is_zero() {
            ctx.sleep(wait).await?;
        }
        Ok(permit)
    }

    /// Books the next beginning; answers how far away it is.
    fn begin(&self) -> Duration {
        if self.interval.is_zero() {
            return Duration::ZERO;
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let at = next.map_or(now, |next| next.max(now));
        *next = Some(at + self.interval);
        at - now
    }
}

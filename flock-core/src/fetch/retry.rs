//! When to try again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::http::Reason;
use super::options::FetchOptions;
use crate::progress::Level;
use crate::{Context, Error, Result};

/// The longest wait between two tries. A server that wants a longer one gets
/// its answer to the caller.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// Counts failures in a row and waits between them.
pub(super) struct Retries {
    /// Failures in a row.
    failures: usize,
    builder: ExponentialBuilder,
    delays: ExponentialBackoff,
}

impl Retries {
    pub(super) fn new(options: &FetchOptions) -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(options.retry_delay)
            .with_max_delay(MAX_DELAY)
            .with_factor(2.0)
            .with_jitter()
            .with_max_times(options.retries);
        Self { failures: 0, builder, delays: builder.build() }
    }

    /// Counts from the beginning again: something was achieved.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
        self.delays = self.builder.build();
    }

    /// Waits before the next try, or gives the error back if there is none.
    pub(super) async fn wait(&mut self, ctx: &Context, error: Error) -> Result<()> {
        let Some(wanted) = error.retry_after().filter(|delay| *delay <= MAX_DELAY) else {
            return Err(error);
        };
        if Reason::of_error(&error).is_some_and(|reason| self.failures >= patience(reason)) {
            return Err(error);
        }
        let Some(delay) = self.delays.next() else { return Err(error) };
        self.failures += 1;
        let delay = delay.max(wanted);
        // A deadline before the next try would hide why there has to be one.
        if ctx.remaining().is_some_and(|left| left <= delay) {
            return Err(error);
        }
        let seconds = delay.as_secs_f32();
        ctx.message(Level::Info, format!("{error}; trying again in {seconds:.1} s"));
        ctx.sleep(delay).await
    }
}

/// How often a server that cannot be reached is tried again at most: what does
/// not heal in a minute is better told at once.
fn patience(reason: Reason) -> usize {
    match reason {
        Reason::UnknownHost => 1,
        Reason::Refused => 2,
        _ => usize::MAX,
    }
}

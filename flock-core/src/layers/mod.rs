//! Wrappers that give any backend more: retries, time limits, a bound on
//! concurrency, a dry run. Each implements every trait that what it wraps
//! implements, so they stack.
//!
//! # In which order
//!
//! From the inside out: [`Timeout`], [`ConcurrencyLimit`], [`Retry`].
//!
//! - `Timeout` next to the backend bounds each attempt. Around `Retry` it
//!   would bound all attempts together, which a deadline on the
//!   [`Context`] does already.
//! - `ConcurrencyLimit` around `Timeout`: waiting for a turn does not use up
//!   an attempt's time.
//! - `Retry` around both: between two attempts no turn is held.
//! - [`DryRun`] outermost if at all: what is not sent needs none of the
//!   others, what is read does.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use flock_core::VolumeDriver;
//! use flock_core::layers::{
//!     ConcurrencyLimit, Permits, Retry, RetryPolicy, TimeLimits, Timeout,
//! };
//! use flock_core::memory::MemoryBackend;
//!
//! let limits = TimeLimits::default().with_long(Duration::from_secs(15 * 60));
//! let backend = Timeout::new(MemoryBackend::new(), limits);
//! let backend = ConcurrencyLimit::new(backend, Permits::new(8));
//! let backend = Retry::new(backend, RetryPolicy::default());
//! let volumes: Arc<dyn VolumeDriver> = Arc::new(backend);
//! ```
//!
//! # A layer of one's own
//!
//! A [`Policy`] says what happens around a call; [`Layer`] turns it into all
//! three traits.

mod dry_run;
mod layer;
mod limit;
mod retry;
mod timeout;

pub use dry_run::{DryRun, Plan, Step};
pub use layer::{Layer, Policy};
pub use limit::{ConcurrencyLimit, Permits};
pub use retry::{Retry, RetryPolicy};
pub use timeout::{TimeLimits, Timeout};

#[cfg(doc)]
use crate::Context;

//! A lease that renews itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{Key, Lease, StateStore, lost_lease};
use crate::{Context, Result};

/// A lease that is renewed in the background for as long as it is kept.
///
/// Work under the lease runs on its [`context`](HeldLease::context), which is
/// cancelled once the lease is over: because a renewal was refused, or
/// because none came through in time. Dropping the lease ends the renewals and
/// cancels the context, but leaves the lease to run out: end it with
/// [`release`](HeldLease::release).
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use flock_core::Context;
/// use flock_core::state::{HeldLease, Key, MemoryStore};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let store = Arc::new(MemoryStore::new());
/// let (ctx, name) = (Context::new(), Key::new("leases/web")?);
/// let ttl = Duration::from_secs(30);
/// if let Some(held) = HeldLease::acquire(store, &ctx, &name, "manager-1", ttl).await? {
///     held.context().check()?;
///     held.release(&ctx).await?;
/// }
/// # Ok::<(), flock_core::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HeldLease {
    store: Arc<dyn StateStore>,
    context: Context,
    lease: watch::Receiver<Lease>,
    renewals: AbortOnDropHandle<()>,
}

impl std::fmt::Debug for HeldLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeldLease").field("lease", &*self.lease.borrow()).finish_non_exhaustive()
    }
}

impl HeldLease {
    /// Takes the lease and keeps it; `None` if somebody else has it.
    /// It is renewed every third of `ttl`. Needs a tokio runtime.
    ///
    /// # Errors
    /// Those of [`StateStore::acquire`].
    pub async fn acquire(
        store: Arc<dyn StateStore>,
        ctx: &Context,
        name: &Key,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Self>> {
        let lease = store.acquire(ctx, name, holder, ttl).await?;
        Ok(lease.map(|lease| Self::keep(store, ctx, lease, ttl)))
    }

    /// Takes the lease and keeps it, waiting for as long as somebody else has
    /// it. Who waits is not served in any order.
    ///
    /// # Errors
    /// Those of [`StateStore::acquire`].
    pub async fn acquire_when_free(
        store: Arc<dyn StateStore>,
        ctx: &Context,
        name: &Key,
        holder: &str,
        ttl: Duration,
    ) -> Result<Self> {
        const LONGEST_PAUSE: Duration = Duration::from_secs(1);
        loop {
            if let Some(lease) = store.acquire(ctx, name, holder, ttl).await? {
                return Ok(Self::keep(store, ctx, lease, ttl));
            }
            let held = store.lease_info(ctx, name).await?;
            let pause = held.map_or(Duration::ZERO, |held| held.remaining.min(LONGEST_PAUSE));
            ctx.sleep(pause.max(Duration::from_millis(5))).await?;
        }
    }

    /// The lease as it was last renewed, for fencing transactions.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.lease.borrow().clone()
    }

    /// The context for work under the lease: a child of the one that it was
    /// acquired with, cancelled when the lease is over.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Ends the work and gives the lease back. If it fails, the lease runs
    /// out by itself.
    ///
    /// # Errors
    /// Those of [`StateStore::release`].
    pub async fn release(self, ctx: &Context) -> Result<()> {
        self.context.cancel();
        self.renewals.abort();
        self.store.release(ctx, &self.lease()).await
    }

    fn keep(store: Arc<dyn StateStore>, ctx: &Context, lease: Lease, ttl: Duration) -> Self {
        let context = ctx.child();
        let (sender, receiver) = watch::channel(lease);
        let renewals = keep_renewing(Arc::clone(&store), context.clone(), sender, ttl);
        let renewals = AbortOnDropHandle::new(tokio::spawn(renewals));
        Self { store, context, lease: receiver, renewals }
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.context.cancel();
    }
}

async fn keep_renewing(
    store: Arc<dyn StateStore>,
    work: Context,
    lease: watch::Sender<Lease>,
    ttl: Duration,
) {
    loop {
        let current = lease.borrow().clone();
        let end = tokio::time::sleep_until(current.valid_until.into());
        tokio::select! {
            renewed = renew_in_time(store.as_ref(), &work, &current, ttl) => match renewed {
                Some(renewed) => { lease.send_replace(renewed); }
                None => break,
            },
            () = end => break,
        }
    }
    work.cancel();
}

/// Waits a third of the time and renews, again and again if that fails;
/// `None` once the lease is lost or the work's context is over.
async fn renew_in_time(
    store: &dyn StateStore,
    work: &Context,
    lease: &Lease,
    ttl: Duration,
) -> Option<Lease> {
    let mut pause = ttl / 3;
    loop {
        work.sleep(pause).await.ok()?;
        match store.renew(work, lease, ttl).await {
            Ok(renewed) => return Some(renewed),
            Err(error) if lost_lease(&error).is_some() => return None,
            Err(error) => {
                tracing::warn!(lease = %lease.name, %error, "cannot renew the lease");
                pause = ttl / 10;
            }
        }
    }
}

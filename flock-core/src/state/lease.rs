//! Leases: who may act, and until when.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Key;
use crate::{Error, ErrorKind, Result};

/// The longest time a lease may be taken for at once: a day.
pub const MAX_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// Rises with every lease that a store gives out, whatever its name, and
/// never falls: not after a release, not after a restart.
///
/// A service that remembers the highest token it has seen, and refuses lower
/// ones, is safe from holders whose lease is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(u64);

impl FencingToken {
    /// A token from a store's own number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The store's own number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The right to act for a while, as [`acquire`](super::StateStore::acquire)
/// gave it. Dropping it gives nothing back: see
/// [`release`](super::StateStore::release), and [`HeldLease`](super::HeldLease).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// What the lease is for.
    pub name: Key,
    /// Who has it.
    pub holder: String,
    /// Higher than those of all leases before.
    pub token: FencingToken,
    /// When the holder must stop to rely on it, by this process's clock:
    /// counted from before the store was asked, so it is never later than the
    /// store's own end. The clock stands still while the machine sleeps; the
    /// fence of a [`Transaction`](super::Transaction) does not depend on it.
    pub valid_until: Instant,
}

impl Lease {
    /// A lease as a store hands it out; `asked` is when it was asked.
    #[must_use]
    pub fn new(
        name: Key,
        holder: String,
        token: FencingToken,
        asked: Instant,
        ttl: Duration,
    ) -> Self {
        Self { name, holder, token, valid_until: asked.checked_add(ttl).unwrap_or(asked) }
    }

    /// How long the holder may still rely on it.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.valid_until.saturating_duration_since(Instant::now())
    }

    /// The error of a call for a lease that is over.
    #[must_use]
    pub fn lost(&self) -> Error {
        let what = format!("the lease '{}' is over", self.name);
        Error::new(ErrorKind::Conflict, what)
            .with(LEASE, self.name.as_str())
            .with("token", self.token.to_string())
            .hint("somebody else may act by now: read again what there is before going on")
    }
}

/// What anybody may know of a lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseInfo {
    /// Who has it.
    pub holder: String,
    /// The holder's token.
    pub token: FencingToken,
    /// How long it lasts unless it is renewed.
    pub remaining: Duration,
}

impl LeaseInfo {
    /// The facts as a store hands them out.
    #[must_use]
    pub fn new(holder: String, token: FencingToken, remaining: Duration) -> Self {
        Self { holder, token, remaining }
    }
}

const LEASE: &str = "lease";

/// The name of the lease that is over, if that is what the error says.
#[must_use]
pub fn lost_lease(error: &Error) -> Option<&str> {
    error.context_value(LEASE).filter(|_| error.kind() == ErrorKind::Conflict)
}

/// Fails if a lease cannot be taken for that long. For the authors of stores:
/// [`acquire`](super::StateStore::acquire) and
/// [`renew`](super::StateStore::renew) ask this first.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if `ttl` is zero or above [`MAX_LEASE`].
pub fn check_ttl(ttl: Duration) -> Result<()> {
    if ttl.is_zero() || ttl > MAX_LEASE {
        let what = format!("a lease cannot be taken for {ttl:?}");
        return Err(Error::new(ErrorKind::InvalidConfig, what)
            .hint("it can be for anything up to a day, then it must be renewed"));
    }
    Ok(())
}

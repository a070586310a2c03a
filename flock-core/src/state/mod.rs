//! What flock remembers: versioned JSON records under slash-separated keys,
//! shared by everybody who manages the same things.
//!
//! [`StateStore`] is small on purpose, so that an embedded database, etcd and
//! Redis can all keep it; [`StateStoreExt`] has the conveniences: typed
//! records, compare-and-swap loops, index pools. Two stores come with the
//! crate: [`MemoryStore`], and [`SqliteStore`] (feature `sqlite`), which
//! several processes of one machine use at once.
//!
//! - Every change gives the store a higher [`Revision`]. A record remembers
//!   the revision of its last change, and a [`Condition`] on it makes
//!   read-modify-write safe without locks.
//! - [`StateStore::list`] and [`StateStore::watch`] fit together: watching
//!   from a listing's revision misses nothing.
//! - A [`Lease`] lets one of several managers act, for a limited time. Each
//!   has a [`FencingToken`] higher than any before it, and a transaction with
//!   [`Transaction::with_fence`] fails once its lease is over, so that a holder
//!   who slept through the end does no harm.
//!
//! ```
//! use flock_core::Context;
//! use flock_core::state::{Condition, Document, Key, MemoryStore, StateStore, StateStoreExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = MemoryStore::new();
//! let ctx = Context::new();
//! let key = Key::new("nodes/web/01")?;
//!
//! let first = store.put(&ctx, &key, Document::of(&"starting")?, Condition::Absent).await?;
//! store.put(&ctx, &key, Document::of(&"running")?, Condition::Unchanged(first)).await?;
//!
//! let listing = store.list(&ctx, &"nodes".parse()?).await?;
//! assert_eq!(listing.records[0].value.to::<String>()?, "running");
//! # Ok::<(), flock_core::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod document;
mod ext;
mod held;
mod index;
mod key;
mod lease;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;
mod transaction;
mod watch;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use document::{Document, MAX_DOCUMENT, StateRecord};
pub use ext::{Loaded, StateStoreExt};
pub use held::HeldLease;
pub use index::IndexPool;
pub use key::{Key, MAX_KEY, Prefix};
pub use lease::{FencingToken, Lease, LeaseInfo, MAX_LEASE, check_ttl, lost_lease};
pub use memory::MemoryStore;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteConfig, SqliteStore};
pub use transaction::{
    Action, Condition, MAX_TRANSACTION_BYTES, MAX_WRITES, Transaction, Write, current_revision,
};
pub use watch::{Changes, Event, EventSource, Watch};

use crate::{Context, Error, Result};

/// A point in a store's history. Every change makes a higher one; some
/// numbers may never be used.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// Before the first change of any store.
    pub const START: Self = Self(0);

    /// A revision from a store's own number.
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

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value with its key and the revision of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Where it is kept.
    pub key: Key,
    /// The value.
    pub value: Document,
    /// The store's revision when the value was last written.
    pub revision: Revision,
}

impl Record {
    /// A record as a store hands it out.
    #[must_use]
    pub fn new(key: Key, value: Document, revision: Revision) -> Self {
        Self { key, value, revision }
    }
}

/// The records under a prefix at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// The records, sorted by the bytes of their keys.
    pub records: Vec<Record>,
    /// The store's revision at that moment: where to watch from.
    pub revision: Revision,
}

impl Listing {
    /// A listing as a store hands it out.
    #[must_use]
    pub fn new(records: Vec<Record>, revision: Revision) -> Self {
        Self { records, revision }
    }
}

/// Keeps versioned records for everybody who manages the same things.
///
/// Every call takes a [`Context`], because every call may have to wait: for
/// the disk, for another process, for the network. All of them fail with
/// [`ErrorKind::Cancelled`] or [`ErrorKind::Timeout`] when it ends, and with
/// [`ErrorKind::Unavailable`] where the store cannot be reached now.
///
/// All calls are cancel-safe: a call that is dropped or cancelled has either
/// had its whole effect or none, and the store goes on working. Which of the
/// two it was, the caller learns by reading.
///
/// [`ErrorKind::Cancelled`]: crate::ErrorKind::Cancelled
/// [`ErrorKind::Timeout`]: crate::ErrorKind::Timeout
/// [`ErrorKind::Unavailable`]: crate::ErrorKind::Unavailable
#[async_trait]
pub trait StateStore: Send + Sync {
    /// The store's name in errors and messages, for example `sqlite`.
    fn name(&self) -> &'static str;

    /// The record under the key; `None` if there is none.
    ///
    /// Sees everything that was committed before the call, by whomever.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData) if what is
    /// stored cannot be read.
    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Record>>;

    /// All records below the prefix, at one moment.
    ///
    /// Sees everything that was committed before the call, by whomever; sees
    /// each transaction whole or not at all.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData) if what is
    /// stored cannot be read.
    async fn list(&self, ctx: &Context, prefix: &Prefix) -> Result<Listing>;

    /// Does all writes of the transaction or none of them, and gives the
    /// store's new revision, which all records written have.
    ///
    /// A transaction that changes nothing (it only checks, or deletes what is
    /// not there) gives the store's current revision. When the call returns,
    /// the change is durable as far as the store is.
    ///
    /// Not idempotent as such: after a lost reply, a repeated transaction
    /// meets its own first effect. With conditions that is a conflict and not
    /// a second change.
    ///
    /// # Errors
    /// - [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if a condition
    ///   does not hold: [`current_revision`] tells what is there; or if the
    ///   fencing lease is over: see [`lost_lease`].
    /// - [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if a
    ///   key is written twice; [`ErrorKind::QuotaExceeded`](crate::ErrorKind::QuotaExceeded)
    ///   if the transaction is too big ([`Transaction::validate`]), or the store full.
    /// - [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied)
    ///   if the store may not be written.
    async fn commit(&self, ctx: &Context, transaction: &Transaction) -> Result<Revision>;

    /// Watches the changes below the prefix that come after a revision, or,
    /// with `None`, after this call returns.
    ///
    /// The context is for opening the watch alone.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the store no
    /// longer has the history after that revision, or has not come to it:
    /// list again and watch from there.
    async fn watch(&self, ctx: &Context, prefix: &Prefix, after: Option<Revision>)
    -> Result<Watch>;

    /// Takes the lease of that name for `ttl`; `None` if somebody has it.
    ///
    /// Not re-entrant: the holder's name is for people, and a second call by
    /// the same one gets `None`, too. A store may hold a lease longer than
    /// asked for if its clock is coarse; never shorter.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if `ttl`
    /// is zero or above [`MAX_LEASE`].
    async fn acquire(
        &self,
        ctx: &Context,
        name: &Key,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>>;

    /// Makes a lease that is still held last until `ttl` from now. The token
    /// stays the same.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if the lease is
    /// over, even if nobody has taken it since ([`lost_lease`] names it);
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) as for
    /// [`acquire`](StateStore::acquire).
    async fn renew(&self, ctx: &Context, lease: &Lease, ttl: Duration) -> Result<Lease>;

    /// Gives the lease back. Idempotent: a lease that is over already is left
    /// to whoever has it now.
    async fn release(&self, ctx: &Context, lease: &Lease) -> Result<()>;

    /// Who has the lease of that name; `None` if nobody has.
    async fn lease_info(&self, ctx: &Context, name: &Key) -> Result<Option<LeaseInfo>>;
}

/// How much history a store keeps for watches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLimits {
    pub(crate) changes: usize,
    pub(crate) bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { changes: 10_000, bytes: 64 << 20 }
    }
}

/// The [`NotFound`](crate::ErrorKind::NotFound) error of a watch that cannot
/// begin, or go on, after the revision `after`. For the authors of stores:
/// `oldest` is the revision from which on all changes are still kept, `newest`
/// the store's own.
#[must_use]
pub fn no_history(after: Revision, oldest: Revision, newest: Revision) -> Error {
    let what = if after > newest {
        format!("the store is at revision {newest} and has never been at {after}")
    } else {
        format!("the changes after revision {after} are no longer kept")
    };
    Error::new(crate::ErrorKind::NotFound, what)
        .during("state.watch")
        .with("after", after.to_string())
        .with("oldest", oldest.to_string())
        .with("newest", newest.to_string())
        .hint("list again, and watch from the listing's revision")
}

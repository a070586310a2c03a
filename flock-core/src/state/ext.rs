//! Conveniences over every store.

use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};

use super::{
    Condition, Document, IndexPool, Key, Lease, Prefix, Revision, StateRecord, StateStore,
    Transaction, current_revision,
};
use crate::{Context, Error, ErrorKind, Result};

/// A typed record with the revision of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<T> {
    /// Where it is kept.
    pub key: Key,
    /// The value.
    pub value: T,
    /// The store's revision when the value was last written.
    pub revision: Revision,
}

/// Conveniences over every [`StateStore`], made of its methods alone: errors
/// and behaviour under cancellation are theirs.
#[async_trait]
pub trait StateStoreExt: StateStore {
    /// Writes one record.
    ///
    /// # Errors
    /// Those of [`StateStore::commit`].
    async fn put(
        &self,
        ctx: &Context,
        key: &Key,
        value: Document,
        condition: Condition,
    ) -> Result<Revision> {
        self.commit(ctx, &Transaction::new().put(key.clone(), value, condition)).await
    }

    /// Deletes one record. Idempotent with [`Condition::Any`].
    ///
    /// # Errors
    /// Those of [`StateStore::commit`].
    async fn delete(&self, ctx: &Context, key: &Key, condition: Condition) -> Result<Revision> {
        self.commit(ctx, &Transaction::new().delete(key.clone(), condition)).await
    }

    /// The typed record under the key; `None` if there is none.
    ///
    /// # Errors
    /// Those of [`StateStore::get`] and [`StateRecord::from_document`].
    async fn load<T: StateRecord>(&self, ctx: &Context, key: &Key) -> Result<Option<Loaded<T>>> {
        match self.get(ctx, key).await? {
            Some(record) => loaded(record.key, &record.value, record.revision).map(Some),
            None => Ok(None),
        }
    }

    /// All typed records below the prefix, sorted by key.
    ///
    /// # Errors
    /// Those of [`StateStore::list`] and [`StateRecord::from_document`].
    async fn load_all<T: StateRecord>(
        &self,
        ctx: &Context,
        prefix: &Prefix,
    ) -> Result<Vec<Loaded<T>>> {
        let listing = self.list(ctx, prefix).await?;
        let records = listing.records.into_iter();
        records.map(|record| loaded(record.key, &record.value, record.revision)).collect()
    }

    /// Writes one typed record, under a lease where one is given.
    ///
    /// # Errors
    /// Those of [`StateStore::commit`] and [`StateRecord::to_document`].
    async fn save<T: StateRecord + Sync>(
        &self,
        ctx: &Context,
        key: &Key,
        value: &T,
        condition: Condition,
        fence: Option<&Lease>,
    ) -> Result<Revision> {
        let transaction = Transaction::new().put(key.clone(), value.to_document()?, condition);
        self.commit(ctx, &fenced(transaction, fence)).await
    }

    /// Changes one typed record by what it is: `change` gets the record or
    /// `None`, and gives what shall be there, `None` for no record. It is
    /// called again, up to 64 times with growing pauses, if somebody else
    /// writes in between; so it should do nothing but decide.
    ///
    /// Gives the record as it is now. Leaving nothing where nothing was, is
    /// no change.
    ///
    /// # Errors
    /// Those of `change`, of [`StateStore::get`] and [`StateStore::commit`];
    /// [`ErrorKind::Conflict`], retryable, if all attempts came too late.
    async fn update<T, F>(
        &self,
        ctx: &Context,
        key: &Key,
        fence: Option<&Lease>,
        mut change: F,
    ) -> Result<Option<Loaded<T>>>
    where
        T: StateRecord + Sync,
        F: FnMut(Option<T>) -> Result<Option<T>> + Send,
    {
        let mut pauses = pauses();
        loop {
            let old = self.load::<T>(ctx, key).await?;
            let condition = match &old {
                Some(old) => Condition::Unchanged(old.revision),
                None => Condition::Absent,
            };
            let new = change(old.map(|old| old.value))?;
            let transaction = match &new {
                Some(new) => Transaction::new().put(key.clone(), new.to_document()?, condition),
                None => Transaction::new().delete(key.clone(), condition),
            };
            match self.commit(ctx, &fenced(transaction, fence)).await {
                Ok(revision) => {
                    return Ok(new.map(|value| Loaded { key: key.clone(), value, revision }));
                }
                Err(error) => again(ctx, error, &mut pauses).await?,
            }
        }
    }

    /// The pool of small numbers below that key.
    fn index_pool(&self, key: &Key, size: u32) -> IndexPool<'_, Self> {
        IndexPool::new(self, key.clone(), size)
    }
}

impl<S: StateStore + ?Sized> StateStoreExt for S {}

/// How often a compare-and-swap loop tries before it gives up.
pub(super) const MAX_ATTEMPTS: usize = 64;

/// The pauses between attempts: 1 ms and doubling up to 100 ms, each with a
/// random part, so that those who collided do not meet again.
pub(super) fn pauses() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(1))
        .with_max_delay(Duration::from_millis(100))
        .with_max_times(MAX_ATTEMPTS - 1)
        .with_jitter()
        .build()
}

/// Waits for the next attempt if the error is of a condition that failed;
/// otherwise, or after the last attempt, gives the error back.
pub(super) async fn again(
    ctx: &Context,
    error: Error,
    pauses: &mut (impl Iterator<Item = Duration> + Send),
) -> Result<()> {
    if current_revision(&error).is_none() {
        return Err(error);
    }
    match pauses.next() {
        Some(pause) => ctx.sleep(pause).await,
        None => Err(Error::new(
            ErrorKind::Conflict,
            format!("somebody else was faster {MAX_ATTEMPTS} times"),
        )
        .caused_by(error)
        .retryable()),
    }
}

pub(super) fn fenced(transaction: Transaction, fence: Option<&Lease>) -> Transaction {
    match fence {
        Some(lease) => transaction.with_fence(lease),
        None => transaction,
    }
}

fn loaded<T: StateRecord>(key: Key, value: &Document, revision: Revision) -> Result<Loaded<T>> {
    match T::from_document(value) {
        Ok(value) => Ok(Loaded { key, value, revision }),
        Err(error) => Err(error.with("key", key.as_str())),
    }
}

//! Small numbers that no two owners share: host indexes, ports, slots.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::ext::{again, fenced, pauses};
use super::{
    Condition, Key, Lease, MAX_WRITES, Prefix, Record, StateRecord, StateStore, StateStoreExt,
    Transaction,
};
use crate::{Context, Error, ErrorKind, Result};

/// The numbers from 0 up to a pool's size, each owned by at most one owner,
/// each owner with at most one.
///
/// The pool is the records below its key: `by-index/<number>` with the owner
/// and `by-owner/<owner>` with the number, always written together.
///
/// ```
/// use flock_core::Context;
/// use flock_core::state::{Key, MemoryStore, StateStoreExt};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let (store, ctx) = (MemoryStore::new(), Context::new());
/// let hosts = Key::new("indexes/hosts")?;
/// let pool = store.index_pool(&hosts, 254);
/// assert_eq!(pool.allocate(&ctx, "web", None).await?, 0);
/// assert_eq!(pool.allocate(&ctx, "db", None).await?, 1);
/// assert_eq!(pool.allocate(&ctx, "web", None).await?, 0);
/// pool.release(&ctx, "web", None).await?;
/// assert_eq!(pool.allocate(&ctx, "cache", None).await?, 0);
/// # Ok::<(), flock_core::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct IndexPool<'s, S: ?Sized> {
    store: &'s S,
    key: Key,
    size: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Slot {
    index: u32,
    owner: String,
}

impl StateRecord for Slot {
    const VERSION: u32 = 1;
}

impl<'s, S: StateStore + ?Sized> IndexPool<'s, S> {
    pub(super) fn new(store: &'s S, key: Key, size: u32) -> Self {
        Self { store, key, size }
    }

    /// The owner's number: the one it has, or the lowest that is free.
    /// Idempotent for an owner. A fence holds also where there is nothing to
    /// write.
    ///
    /// # Errors
    /// [`ErrorKind::QuotaExceeded`] if all numbers are taken;
    /// [`ErrorKind::InvalidConfig`] if the owner's name is empty or too long;
    /// those of [`StateStore::list`] and [`StateStore::commit`].
    pub async fn allocate(&self, ctx: &Context, owner: &str, fence: Option<&Lease>) -> Result<u32> {
        let by_owner = self.by_owner(owner)?;
        let mut pauses = pauses();
        loop {
            if let Some(slot) = self.store.load::<Slot>(ctx, &by_owner).await? {
                let unchanged = Condition::Unchanged(slot.revision);
                match self.check_fence(ctx, &by_owner, unchanged, fence).await {
                    Ok(()) => return Ok(slot.value.index),
                    Err(error) => again(ctx, error, &mut pauses).await?,
                }
                continue;
            }
            let Some(index) = self.lowest_free(ctx).await? else {
                // The last one may have become the owner's own meanwhile.
                if self.store.get(ctx, &by_owner).await?.is_some() {
                    continue;
                }
                return Err(self.full());
            };
            let slot = Slot { index, owner: owner.to_owned() }.to_document()?;
            let transaction = Transaction::new()
                .put(by_owner.clone(), slot.clone(), Condition::Absent)
                .put(self.by_index(index)?, slot, Condition::Absent);
            match self.store.commit(ctx, &fenced(transaction, fence)).await {
                Ok(_) => return Ok(index),
                Err(error) => again(ctx, error, &mut pauses).await?,
            }
        }
    }

    /// The numbers of several owners, in their order: for each the one it has,
    /// or the lowest that is free and not among `avoid`. As
    /// [`allocate`](Self::allocate) for each, in few transactions.
    ///
    /// Idempotent for the owners. A call that is cancelled may have done a part
    /// of it.
    ///
    /// # Errors
    /// Those of [`allocate`](Self::allocate); if there are too few numbers,
    /// nothing is allocated.
    pub async fn allocate_all(
        &self,
        ctx: &Context,
        owners: &[String],
        avoid: &HashSet<u32>,
        fence: Option<&Lease>,
    ) -> Result<Vec<u32>> {
        let mut pauses = pauses();
        loop {
            match self.try_allocate_all(ctx, owners, avoid, fence).await {
                Ok(numbers) => return Ok(numbers),
                Err(error) => again(ctx, error, &mut pauses).await?,
            }
        }
    }

    async fn try_allocate_all(
        &self,
        ctx: &Context,
        owners: &[String],
        avoid: &HashSet<u32>,
        fence: Option<&Lease>,
    ) -> Result<Vec<u32>> {
        let taken = self.taken(ctx).await?;
        let used: HashSet<u32> = taken.iter().map(|(index, _)| *index).collect();
        let mut numbers: HashMap<String, u32> =
            taken.into_iter().map(|(index, owner)| (owner, index)).collect();
        let mut free =
            (0..self.size).filter(|index| !used.contains(index) && !avoid.contains(index));
        let (mut all, mut writes) = (Vec::with_capacity(owners.len()), Vec::new());
        for owner in owners {
            if let Some(index) = numbers.get(owner) {
                all.push(*index);
                continue;
            }
            let index = free.next().ok_or_else(|| self.full())?;
            numbers.insert(owner.clone(), index);
            let slot = Slot { index, owner: owner.clone() }.to_document()?;
            writes.push((self.by_owner(owner)?, self.by_index(index)?, slot));
            all.push(index);
        }
        for some in writes.chunks(MAX_WRITES / 2) {
            let transaction = some.iter().fold(Transaction::new(), |transaction, write| {
                let (by_owner, by_index, slot) = write.clone();
                transaction.put(by_owner, slot.clone(), Condition::Absent).put(
                    by_index,
                    slot,
                    Condition::Absent,
                )
            });
            self.store.commit(ctx, &fenced(transaction, fence)).await?;
        }
        Ok(all)
    }

    /// Gives the owner's number back. Idempotent. A fence holds also where
    /// there is nothing to give back.
    ///
    /// # Errors
    /// Those of [`StateStore::get`] and [`StateStore::commit`].
    pub async fn release(&self, ctx: &Context, owner: &str, fence: Option<&Lease>) -> Result<()> {
        let by_owner = self.by_owner(owner)?;
        let mut pauses = pauses();
        loop {
            let released = match self.store.load::<Slot>(ctx, &by_owner).await? {
                Some(slot) => {
                    let transaction = Transaction::new()
                        .delete(by_owner.clone(), Condition::Unchanged(slot.revision))
                        .delete(self.by_index(slot.value.index)?, Condition::Any);
                    self.store.commit(ctx, &fenced(transaction, fence)).await.map(drop)
                }
                None => self.check_fence(ctx, &by_owner, Condition::Absent, fence).await,
            };
            match released {
                Ok(()) => return Ok(()),
                Err(error) => again(ctx, error, &mut pauses).await?,
            }
        }
    }

    /// Fails if the lease is over, or what was read of `key` no longer holds.
    /// Without a lease there is nothing to ask.
    async fn check_fence(
        &self,
        ctx: &Context,
        key: &Key,
        condition: Condition,
        fence: Option<&Lease>,
    ) -> Result<()> {
        let Some(lease) = fence else { return Ok(()) };
        let check = Transaction::new().check(key.clone(), condition).with_fence(lease);
        self.store.commit(ctx, &check).await.map(drop)
    }

    /// The numbers that are taken, with their owners, in order.
    ///
    /// # Errors
    /// Those of [`StateStore::list`]; [`ErrorKind::InvalidData`] if there is
    /// something else below the pool's key.
    pub async fn taken(&self, ctx: &Context) -> Result<Vec<(u32, String)>> {
        let slots = self.store.load_all::<Slot>(ctx, &self.indexes()?).await?;
        Ok(slots.into_iter().map(|slot| (slot.value.index, slot.value.owner)).collect())
    }

    /// The lowest number that nobody has; `None` if all are taken.
    async fn lowest_free(&self, ctx: &Context) -> Result<Option<u32>> {
        let taken = self.store.list(ctx, &self.indexes()?).await?.records;
        // The keys are sorted by number, so the first gap is the lowest.
        let number = |record: &Record| record.key.name().parse::<u32>().ok();
        let mut free = 0;
        for index in taken.iter().filter_map(number) {
            if index != free {
                break;
            }
            free += 1;
        }
        Ok((free < self.size).then_some(free))
    }

    fn full(&self) -> Error {
        let what = format!("all {} numbers of '{}' are taken", self.size, self.key);
        Error::new(ErrorKind::QuotaExceeded, what).with("pool", self.key.as_str())
    }

    fn indexes(&self) -> Result<Prefix> {
        Ok(self.key.child("by-index")?.below())
    }

    /// As wide as the widest number, so that the keys sort by number.
    fn by_index(&self, index: u32) -> Result<Key> {
        self.key.child("by-index")?.child(&format!("{index:010}"))
    }

    fn by_owner(&self, owner: &str) -> Result<Key> {
        self.key.child("by-owner")?.child(owner)
    }
}

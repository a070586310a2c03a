//! The store in memory: for tests, and for programs that keep nothing.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;

use super::lease::check_ttl;
use super::{
    Action, Changes, Event, EventSource, FencingToken, Key, Lease, LeaseInfo, Listing, LogLimits,
    Prefix, Record, Revision, StateStore, Transaction, Watch, no_history,
};
use crate::{Context, Result};

/// A store in this process's memory; clones are the same store.
///
/// Leases end by tokio's clock, so tests that pause it can step through them.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    /// The newest revision, for watches that wait.
    newest: Arc<watch::Sender<Revision>>,
}

#[derive(Debug, Default)]
struct Inner {
    revision: Revision,
    records: BTreeMap<Key, Record>,
    leases: BTreeMap<Key, Held>,
    log: Log,
}

#[derive(Debug)]
struct Held {
    holder: String,
    token: FencingToken,
    expires: tokio::time::Instant,
}

/// The changes that watches can still be given.
#[derive(Debug, Default)]
struct Log {
    changes: VecDeque<Changes>,
    limits: LogLimits,
    events: usize,
    bytes: usize,
    /// What came up to here is no longer kept.
    dropped: Revision,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Arc::default(), newest: Arc::new(watch::Sender::new(Revision::START)) }
    }

    /// Keeps at most that many changes for watches that lag behind or start
    /// from an earlier revision; 10,000 by default.
    #[must_use]
    pub fn with_history(self, changes: usize) -> Self {
        self.lock().log.limits.changes = changes;
        self
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock; if it did, what it left
        // would still be a whole store, as every change is made in one go.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    fn held(&self, name: &Key) -> Option<&Held> {
        self.leases.get(name).filter(|held| held.expires > tokio::time::Instant::now())
    }

    fn holds(&self, lease: &Lease) -> bool {
        self.held(&lease.name).is_some_and(|held| held.token == lease.token)
    }

    fn next_revision(&mut self) -> Revision {
        self.revision = Revision(self.revision.0 + 1);
        self.revision
    }

    fn verify(&self, transaction: &Transaction) -> Result<()> {
        if let Some(lease) = transaction.fence().filter(|lease| !self.holds(lease)) {
            return Err(lease.lost());
        }
        for write in transaction.writes() {
            let current = self.records.get(&write.key).map(|record| record.revision);
            if !write.condition.holds(current) {
                return Err(write.conflict(current));
            }
        }
        Ok(())
    }

    fn apply(&mut self, transaction: &Transaction) -> Revision {
        let revision = Revision(self.revision.0 + 1);
        let mut events = Vec::new();
        for write in transaction.writes() {
            match &write.action {
                Action::Put(value) => {
                    let record = Record::new(write.key.clone(), value.clone(), revision);
                    self.records.insert(write.key.clone(), record.clone());
                    events.push(Event::Put(record));
                }
                Action::Delete if self.records.remove(&write.key).is_some() => {
                    events.push(Event::Delete(write.key.clone()));
                }
                Action::Delete | Action::Check => {}
            }
        }
        if !events.is_empty() {
            self.revision = revision;
            self.log.push(Changes::new(revision, events));
        }
        self.revision
    }
}

impl Log {
    fn push(&mut self, changes: Changes) {
        self.events += changes.events.len();
        self.bytes += bytes(&changes);
        self.changes.push_back(changes);
        while self.events > self.limits.changes || self.bytes > self.limits.bytes {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.events -= oldest.events.len();
            self.bytes -= bytes(&oldest);
            self.dropped = oldest.revision;
        }
    }

    /// The first transaction after a revision that changes something below
    /// the prefix.
    fn next(&self, after: Revision, prefix: &Prefix) -> Option<Changes> {
        let start = self.changes.partition_point(|changes| changes.revision <= after);
        self.changes.iter().skip(start).find_map(|changes| {
            let below = |event: &&Event| prefix.contains(event.key());
            let events: Vec<Event> = changes.events.iter().filter(below).cloned().collect();
            (!events.is_empty()).then(|| Changes::new(changes.revision, events))
        })
    }
}

fn bytes(changes: &Changes) -> usize {
    let size = |event: &Event| match event {
        Event::Put(record) => record.key.as_str().len() + record.value.as_str().len(),
        Event::Delete(key) => key.as_str().len(),
    };
    changes.events.iter().map(size).sum()
}

#[async_trait]
impl StateStore for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Record>> {
        enter(ctx).await?;
        Ok(self.lock().records.get(key).cloned())
    }

    async fn list(&self, ctx: &Context, prefix: &Prefix) -> Result<Listing> {
        enter(ctx).await?;
        let inner = self.lock();
        let records = below(&inner.records, prefix).cloned().collect();
        Ok(Listing::new(records, inner.revision))
    }

    async fn commit(&self, ctx: &Context, transaction: &Transaction) -> Result<Revision> {
        transaction.validate()?;
        enter(ctx).await?;
        let mut inner = self.lock();
        inner.verify(transaction).map_err(|error| error.in_backend("memory"))?;
        let revision = inner.apply(transaction);
        // Still under the lock, so that watches hear of revisions in order.
        self.newest.send_replace(inner.revision);
        Ok(revision)
    }

    async fn watch(
        &self,
        ctx: &Context,
        prefix: &Prefix,
        after: Option<Revision>,
    ) -> Result<Watch> {
        enter(ctx).await?;
        let inner = self.lock();
        let after = after.unwrap_or(inner.revision);
        if after < inner.log.dropped || after > inner.revision {
            return Err(no_history(after, inner.log.dropped, inner.revision).in_backend("memory"));
        }
        Ok(Watch::new(Box::new(MemoryWatch {
            store: self.clone(),
            newest: self.newest.subscribe(),
            prefix: prefix.clone(),
            after,
        })))
    }

    async fn acquire(
        &self,
        ctx: &Context,
        name: &Key,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>> {
        check_ttl(ttl)?;
        enter(ctx).await?;
        let asked = Instant::now();
        let mut inner = self.lock();
        if inner.held(name).is_some() {
            return Ok(None);
        }
        let token = FencingToken::new(inner.next_revision().0);
        let expires = tokio::time::Instant::now() + ttl;
        inner.leases.retain(|_, held| held.expires > tokio::time::Instant::now());
        inner.leases.insert(name.clone(), Held { holder: holder.to_owned(), token, expires });
        Ok(Some(Lease::new(name.clone(), holder.to_owned(), token, asked, ttl)))
    }

    async fn renew(&self, ctx: &Context, lease: &Lease, ttl: Duration) -> Result<Lease> {
        check_ttl(ttl)?;
        enter(ctx).await?;
        let asked = Instant::now();
        let mut inner = self.lock();
        if !inner.holds(lease) {
            return Err(lease.lost().in_backend("memory"));
        }
        if let Some(held) = inner.leases.get_mut(&lease.name) {
            held.expires = tokio::time::Instant::now() + ttl;
        }
        Ok(Lease::new(lease.name.clone(), lease.holder.clone(), lease.token, asked, ttl))
    }

    async fn release(&self, ctx: &Context, lease: &Lease) -> Result<()> {
        enter(ctx).await?;
        let mut inner = self.lock();
        if inner.holds(lease) {
            inner.leases.remove(&lease.name);
        }
        Ok(())
    }

    async fn lease_info(&self, ctx: &Context, name: &Key) -> Result<Option<LeaseInfo>> {
        enter(ctx).await?;
        let inner = self.lock();
        Ok(inner.held(name).map(|held| {
            let remaining = held.expires.saturating_duration_since(tokio::time::Instant::now());
            LeaseInfo::new(held.holder.clone(), held.token, remaining)
        }))
    }
}

/// Every call begins here. Nothing in this store ever waits, so without a
/// yield now and then a loop of calls would keep other tasks from running.
async fn enter(ctx: &Context) -> Result<()> {
    tokio::task::coop::consume_budget().await;
    ctx.check()
}

fn below<'a>(
    records: &'a BTreeMap<Key, Record>,
    prefix: &'a Prefix,
) -> impl Iterator<Item = &'a Record> {
    let range = (Bound::Included(prefix.start()), Bound::Unbounded);
    let from_start = records.range::<str, _>(range).map(|(_, record)| record);
    from_start.take_while(|record| prefix.contains(&record.key))
}

struct MemoryWatch {
    store: MemoryStore,
    newest: watch::Receiver<Revision>,
    prefix: Prefix,
    after: Revision,
}

#[async_trait]
impl EventSource for MemoryWatch {
    async fn next(&mut self) -> Result<Changes> {
        loop {
            tokio::task::coop::consume_budget().await;
            self.newest.mark_unchanged();
            {
                let inner = self.store.lock();
                if self.after < inner.log.dropped {
                    let (dropped, newest) = (inner.log.dropped, inner.revision);
                    return Err(no_history(self.after, dropped, newest).in_backend("memory"));
                }
                if let Some(changes) = inner.log.next(self.after, &self.prefix) {
                    self.after = changes.revision;
                    return Ok(changes);
                }
                // Nothing here concerns the prefix: the history may go.
                self.after = inner.revision;
            }
            // The sender is part of the store, which this watch keeps.
            if self.newest.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

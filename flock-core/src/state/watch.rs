//! Watching changes.

use std::fmt;

use async_trait::async_trait;

use super::{Key, Record, Revision};
use crate::{Context, Result};

/// One change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The record was made or replaced.
    Put(Record),
    /// The record was deleted.
    Delete(Key),
}

impl Event {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(record) => &record.key,
            Self::Delete(key) => key,
        }
    }
}

/// What one transaction changed below the prefix watched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// The store's revision after the transaction: where to watch from once
    /// these changes are dealt with.
    pub revision: Revision,
    /// The changes, at least one, in the transaction's order.
    pub events: Vec<Event>,
}

impl Changes {
    /// Changes as a store hands them out.
    #[must_use]
    pub fn new(revision: Revision, events: Vec<Event>) -> Self {
        Self { revision, events }
    }
}

/// What a store implements for its watches.
#[async_trait]
pub trait EventSource: Send {
    /// Waits for the next transaction that changes something below the
    /// prefix. Must be cancel-safe: no change is lost with a dropped future.
    ///
    /// # Errors
    /// As for [`Watch::next`].
    async fn next(&mut self) -> Result<Changes>;
}

/// The changes below a prefix, as they come: each once, none left out, in the
/// order of their revisions. Dropping it ends the watch.
pub struct Watch(Box<dyn EventSource>);

impl Watch {
    /// A watch over a store's own source of events.
    #[must_use]
    pub fn new(source: Box<dyn EventSource>) -> Self {
        Self(source)
    }

    /// Waits for the next transaction that changes something. Cancel-safe:
    /// what a cancelled call did not hand out, the next call does.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the watch was
    /// read so slowly that the store no longer has the history: list again
    /// and open a new one. [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled)
    /// or [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) when the context
    /// ends; [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where
    /// the store cannot be reached. After all but the first, asking again goes
    /// on where it stopped.
    pub async fn next(&mut self, ctx: &Context) -> Result<Changes> {
        ctx.run(self.0.next()).await
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

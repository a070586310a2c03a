//! Changes: what is written, on which conditions, and under whose lease.

use std::collections::HashSet;

use super::{Document, Key, Lease, MAX_DOCUMENT, Revision};
use crate::{Error, ErrorKind, Result};

/// The most writes in one transaction: etcd's default limit.
pub const MAX_WRITES: usize = 128;

/// The most bytes of documents in one transaction: as many as one document
/// may have.
pub const MAX_TRANSACTION_BYTES: usize = MAX_DOCUMENT;

/// What must be true of a key for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Condition {
    /// Nothing.
    Any,
    /// There is no record.
    Absent,
    /// The record is still the one of that revision.
    Unchanged(Revision),
}

impl Condition {
    /// Whether the condition holds where the record is of revision `current`.
    #[must_use]
    pub fn holds(self, current: Option<Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Unchanged(revision) => current == Some(revision),
        }
    }
}

/// What is done with a key. A store answers
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) to one that it
/// does not know, before anything has an effect; so also to a [`Condition`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The record is made or replaced. Writing an equal value counts as a
    /// change, too.
    Put(Document),
    /// The record is deleted, if there is one.
    Delete,
    /// Nothing: the condition alone counts.
    Check,
}

/// One key's part in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Write {
    /// The key.
    pub key: Key,
    /// On what condition.
    pub condition: Condition,
    /// What is done.
    pub action: Action,
}

/// Several writes that happen together or not at all.
///
/// ```
/// use flock_core::state::{Condition, Document, Key, Transaction};
///
/// let transaction = Transaction::new()
///     .put(Key::new("volumes/data")?, Document::of(&"web/01")?, Condition::Absent)
///     .check(Key::new("nodes/draining")?, Condition::Absent);
/// assert_eq!(transaction.writes().len(), 2);
/// # Ok::<(), flock_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    writes: Vec<Write>,
    fence: Option<Lease>,
}

impl Transaction {
    /// An empty transaction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a record.
    #[must_use]
    pub fn put(self, key: Key, value: Document, condition: Condition) -> Self {
        self.push(key, condition, Action::Put(value))
    }

    /// Deletes a record, if there is one.
    #[must_use]
    pub fn delete(self, key: Key, condition: Condition) -> Self {
        self.push(key, condition, Action::Delete)
    }

    /// Demands a condition of a key that is not written.
    #[must_use]
    pub fn check(self, key: Key, condition: Condition) -> Self {
        self.push(key, condition, Action::Check)
    }

    /// Demands that the lease is still held when the transaction happens. Of
    /// several calls, the last one counts.
    #[must_use]
    pub fn with_fence(mut self, lease: &Lease) -> Self {
        self.fence = Some(lease.clone());
        self
    }

    /// The writes, in the order they were added.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The lease that must be held.
    #[must_use]
    pub fn fence(&self) -> Option<&Lease> {
        self.fence.as_ref()
    }

    /// Whether any store may take the transaction; stores ask this first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if two writes are of the same key;
    /// [`ErrorKind::QuotaExceeded`] if there are more than [`MAX_WRITES`], or
    /// more than [`MAX_TRANSACTION_BYTES`] of documents.
    pub fn validate(&self) -> Result<()> {
        if self.writes.len() > MAX_WRITES {
            let what = format!("the transaction has {} writes", self.writes.len());
            return Err(Error::new(ErrorKind::QuotaExceeded, what)
                .during("state.commit")
                .hint(format!("a transaction has at most {MAX_WRITES} writes: split it")));
        }
        let mut seen = HashSet::new();
        if let Some(write) = self.writes.iter().find(|write| !seen.insert(&write.key)) {
            let what = format!("the transaction writes '{}' twice", write.key);
            return Err(Error::new(ErrorKind::InvalidConfig, what).during("state.commit"));
        }
        let bytes: usize = self.writes.iter().map(|write| write.action.bytes()).sum();
        if bytes > MAX_TRANSACTION_BYTES {
            let what = format!("the transaction has {bytes} bytes of documents");
            return Err(Error::new(ErrorKind::QuotaExceeded, what).during("state.commit").hint(
                format!("documents and transactions have at most {MAX_TRANSACTION_BYTES} bytes"),
            ));
        }
        Ok(())
    }

    fn push(mut self, key: Key, condition: Condition, action: Action) -> Self {
        self.writes.push(Write { key, condition, action });
        self
    }
}

impl Action {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(document) => document.as_str().len(),
            Self::Delete | Self::Check => 0,
        }
    }
}

const REVISION: &str = "revision";
const NO_RECORD: &str = "none";

impl Write {
    /// The error of a write whose condition does not hold where the record is
    /// of revision `current`.
    #[must_use]
    pub fn conflict(&self, current: Option<Revision>) -> Error {
        let key = &self.key;
        let what = match (self.condition, current) {
            (Condition::Unchanged(_), None) => format!("'{key}' was deleted meanwhile"),
            (Condition::Unchanged(_), Some(_)) => format!("'{key}' was changed meanwhile"),
            _ => format!("'{key}' is there already"),
        };
        let current = current.map_or_else(|| NO_RECORD.to_owned(), |found| found.to_string());
        Error::new(ErrorKind::Conflict, what)
            .during("state.commit")
            .with("key", key.as_str())
            .with(REVISION, current)
    }
}

/// What the record that a failed condition was about is now: `None` if the
/// error is not of a failed condition, `Some(None)` if there is no record.
#[must_use]
pub fn current_revision(error: &Error) -> Option<Option<Revision>> {
    match (error.kind(), error.context_value(REVISION)?) {
        (ErrorKind::Conflict, NO_RECORD) => Some(None),
        (ErrorKind::Conflict, number) => number.parse().ok().map(|number| Some(Revision(number))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_tells_what_is_there() {
        let key = Key::new("a").unwrap();
        let write = Write { key, condition: Condition::Absent, action: Action::Delete };
        let error = write.conflict(Some(Revision(7)));
        assert_eq!(current_revision(&error), Some(Some(Revision(7))));
        assert_eq!(current_revision(&write.conflict(None)), Some(None));
        assert_eq!(current_revision(&Error::new(ErrorKind::Conflict, "held")), None);
    }

    #[test]
    fn a_transaction_that_no_store_takes_is_refused() {
        let key = |n: usize| Key::new(format!("k/{n}")).unwrap();
        let check = |transaction: Transaction, n| transaction.check(key(n), Condition::Any);
        let many = (0..=MAX_WRITES).fold(Transaction::new(), check);
        assert_eq!(many.validate().unwrap_err().kind(), ErrorKind::QuotaExceeded);
        let twice = [1, 1].into_iter().fold(Transaction::new(), check);
        assert_eq!(twice.validate().unwrap_err().kind(), ErrorKind::InvalidConfig);
        let big = Document::of(&"x".repeat(MAX_DOCUMENT - 2)).unwrap();
        let full = Transaction::new().put(key(1), big, Condition::Any);
        assert!(full.validate().is_ok());
        let over = full.put(key(2), Document::of(&0).unwrap(), Condition::Any);
        assert_eq!(over.validate().unwrap_err().kind(), ErrorKind::QuotaExceeded);
    }
}

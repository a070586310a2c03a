//! What a deploy is about to do, kept in the state store: written down before
//! it is done, so that the next run knows what this one may have left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use flock_core::state::{
    Condition, Key, MAX_WRITES, Prefix, StateRecord, StateStore, StateStoreExt as _, Transaction,
};
use flock_core::{Context, Error, ErrorKind, Owner, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::error::BACKEND;

/// Where the intents are.
const DEPLOYS: &str = "cloudstack/deploys";
/// How many writes wait before those who write wait, too.
const WAITING: usize = 1024;

/// A deploy of one node that was, or may have been, sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The host name that was asked for.
    pub(super) host: String,
    /// Which of the node's deploys it was, from 0.
    pub(super) attempt: u32,
    /// When it was about to be sent, in milliseconds since 1970.
    pub(super) at: i64,
    /// CloudStack's id of the machine, once it was told.
    pub(super) id: Option<String>,
    /// The job, once it was told.
    pub(super) job: Option<String>,
}

impl Intent {
    /// A deploy that is about to be sent.
    pub(super) fn new(host: String, attempt: u32) -> Self {
        Self { host, attempt, at: Timestamp::now().as_millisecond(), id: None, job: None }
    }

    /// How long ago it was sent.
    pub(super) fn age(&self) -> Duration {
        let age = Timestamp::now().as_millisecond().saturating_sub(self.at);
        Duration::from_millis(u64::try_from(age).unwrap_or_default())
    }
}

impl StateRecord for Intent {
    const VERSION: u32 = 1;
}

/// The intents of one request. Without a store it keeps nothing, and tags,
/// names and job ids must do.
#[derive(Debug)]
pub(super) struct Journal {
    base: Option<Key>,
    writes: mpsc::Sender<Entry>,
}

/// Does the writes of a [`Journal`], many in one transaction.
pub(super) struct Writer {
    store: Option<Arc<dyn StateStore>>,
    writes: mpsc::Receiver<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    /// `None` deletes.
    intent: Option<Intent>,
    done: oneshot::Sender<Result<()>>,
}

impl Journal {
    /// The journal of the owner's request, and what does its writes for as
    /// long as it is polled.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the owner's names are too long for a
    /// key.
    pub(super) fn open(
        store: Option<Arc<dyn StateStore>>,
        owner: &Owner,
    ) -> Result<(Self, Writer)> {
        let base = store.as_ref().map(|_| base(owner)).transpose()?;
        let (sender, receiver) = mpsc::channel(WAITING);
        Ok((Self { base, writes: sender }, Writer { store, writes: receiver }))
    }

    /// Writes an intent down; when this returns it is kept.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn note(&self, ctx: &Context, node: &str, intent: &Intent) -> Result<()> {
        self.write(ctx, node, Some(intent.clone())).await
    }

    /// Forgets an intent: the node has its tags, which tell all that matters.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn forget(&self, ctx: &Context, node: &str) -> Result<()> {
        self.write(ctx, node, None).await
    }

    async fn write(&self, ctx: &Context, node: &str, intent: Option<Intent>) -> Result<()> {
        let Some(base) = &self.base else { return Ok(()) };
        let (sender, receiver) = oneshot::channel();
        let entry = Entry { key: base.child(node)?, intent, done: sender };
        ctx.run(async {
            self.writes.send(entry).await.map_err(|_| ended())?;
            receiver.await.map_err(|_| ended())?
        })
        .await
    }
}

impl Writer {
    /// What earlier runs of the request have written down, by node.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn read(
        &self,
        ctx: &Context,
        owner: &Owner,
    ) -> Result<HashMap<String, Intent>> {
        let Some(store) = &self.store else { return Ok(HashMap::new()) };
        let below: Prefix = base(owner)?.below();
        let loaded = store.load_all::<Intent>(ctx, &below).await?;
        Ok(loaded.into_iter().map(|record| (record.key.name(), record.value)).collect())
    }

    /// Writes what is to be written, until the journal is dropped or the
    /// context ends.
    pub(super) async fn run(mut self, ctx: &Context) -> Error {
        let Some(store) = self.store.take() else { return ctx.ended().await };
        let mut entries = Vec::new();
        loop {
            // Whatever has come while the last transaction was written.
            let received = self.writes.recv_many(&mut entries, MAX_WRITES);
            tokio::select! {
                ended = ctx.ended() => return ended,
                count = received => if count == 0 {
                    return ctx.ended().await;
                },
            }
            let written = commit(&*store, ctx, &entries).await;
            for entry in entries.drain(..) {
                // Whoever does not wait any more needs no answer.
                let _ = entry.done.send(written.clone());
            }
        }
    }
}

async fn commit(store: &dyn StateStore, ctx: &Context, entries: &[Entry]) -> Result<()> {
    // A transaction writes each key once: the last of several counts.
    let mut last: HashMap<&Key, &Option<Intent>> = HashMap::new();
    last.extend(entries.iter().map(|entry| (&entry.key, &entry.intent)));
    let mut transaction = Transaction::new();
    for (key, intent) in last {
        transaction = match intent {
            Some(intent) => transaction.put(key.clone(), intent.to_document()?, Condition::Any),
            None => transaction.delete(key.clone(), Condition::Any),
        };
    }
    store.commit(ctx, &transaction).await.map(drop)
}

/// All intents of a namespace, each with its node's owner and name.
///
/// # Errors
/// Those of the store.
pub(super) async fn all(
    store: &dyn StateStore,
    ctx: &Context,
    namespace: &str,
) -> Result<Vec<(Owner, String, Intent)>> {
    let below = Key::new(DEPLOYS)?.child(namespace)?.below();
    let loaded = store.load_all::<Intent>(ctx, &below).await?;
    let known = loaded.into_iter().filter_map(|record| {
        let segments = record.key.segments();
        let [.., app, request, node] = segments.as_slice() else { return None };
        let owner = Owner::new(namespace, app, request.parse().ok()?);
        Some((owner, node.clone(), record.value))
    });
    Ok(known.collect())
}

/// Forgets a node's intent. Idempotent.
///
/// # Errors
/// Those of the store.
pub(super) async fn forget(
    store: &dyn StateStore,
    ctx: &Context,
    owner: &Owner,
    node: &str,
) -> Result<()> {
    let transaction = Transaction::new().delete(base(owner)?.child(node)?, Condition::Any);
    store.commit(ctx, &transaction).await.map(drop)
}

fn base(owner: &Owner) -> Result<Key> {
    let request = owner.request.to_string();
    Key::new(DEPLOYS)?.child(&owner.namespace)?.child(&owner.app)?.child(&request)
}

fn ended() -> Error {
    Error::new(ErrorKind::Unexpected, "the journal is closed").in_backend(BACKEND)
}

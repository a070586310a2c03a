//! What those who deploy remember beside the backend: which names with numbers
//! are given, and which deploys are not finished.
//!
//! It is for whoever calls a backend, and needs nothing of it but a name for
//! the place. A backend may keep a journal of its own beside it, as
//! `CloudStackProvisioner::with_state` does: `Deployments` says which names a
//! request has and that it is to be asked again, the journal what was sent for
//! each of its nodes. Both may be in the same store.
//!
//! ```
//! use std::sync::Arc;
//! use flock_core::deployments::Deployments;
//! use flock_core::provisioner::DeploySpec;
//! use flock_core::state::MemoryStore;
//! use flock_core::{Context, Owner, RequestId};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let ctx = Context::new();
//! let deployments = Deployments::new(Arc::new(MemoryStore::new()), "docker", "local")?;
//! let owner = Owner::new("default", "web", RequestId::random());
//!
//! let names = deployments.reserve(&ctx, &owner, 2, ["web-1"]).await?;
//! assert_eq!(names, ["web-2", "web-3"]);
//!
//! let spec = DeploySpec::new(owner.clone(), "image", names);
//! deployments.begin(&ctx, &spec).await?;
//! // … deploy; if this process ends meanwhile, another one finds it:
//! assert_eq!(deployments.unfinished(&ctx, "default", "web").await?, [spec]);
//! deployments.end(&ctx, &owner).await?;
//! # Ok::<(), flock_core::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::provisioner::DeploySpec;
use crate::state::{
    Condition, IndexPool, Key, StateRecord, StateStore, StateStoreExt as _, Transaction,
};
use crate::{Context, Owner, Result};

/// The most nodes of an application that have numbers.
const MAX_NUMBER: u32 = 1_000_000;

/// Names given and deploys begun at one place: an account of a cloud, a
/// cluster. Whoever shares the store shares them.
///
/// A deploy's spec is kept whole until it is finished, with its user data and
/// environment: the store must be as safe as they are.
#[derive(Clone)]
pub struct Deployments {
    store: Arc<dyn StateStore>,
    base: Key,
}

impl fmt::Debug for Deployments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployments").field("base", &self.base).finish_non_exhaustive()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    spec: DeploySpec,
    note: Option<String>,
}

impl StateRecord for Begun {
    const VERSION: u32 = 1;
}

impl Deployments {
    /// Those of a backend at a place: what tells two of its accounts apart,
    /// such as a host's name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) for names
    /// that are empty or too long.
    pub fn new(store: Arc<dyn StateStore>, backend: &str, place: &str) -> Result<Self> {
        let base = Key::new("deployments")?.child(backend)?.child(place)?;
        Ok(Self { store, base })
    }

    /// Gives names to `count` nodes of the owner's application: its own name
    /// and the lowest free numbers from 1, `web-1`. None of them is among
    /// `taken`, the names of nodes that others may have made, unless this
    /// request got it before. No two requests get the same.
    ///
    /// Idempotent for a request and a number of nodes.
    ///
    /// # Errors
    /// [`ErrorKind::QuotaExceeded`](crate::ErrorKind::QuotaExceeded) if there
    /// are no numbers left; those of the store.
    pub async fn reserve(
        &self,
        ctx: &Context,
        owner: &Owner,
        count: u32,
        taken: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<String>> {
        let owners: Vec<_> = (0..count).map(|n| format!("{}/{n}", owner.request)).collect();
        let numbers = taken.into_iter().filter_map(|name| index(&owner.app, name.as_ref()));
        let avoid: HashSet<u32> = numbers.collect();
        let key = self.numbers(&owner.namespace, &owner.app)?;
        let given = self.pool(&key).allocate_all(ctx, &owners, &avoid, None).await?;
        Ok(given.into_iter().map(|index| format!("{}-{}", owner.app, index + 1)).collect())
    }

    /// Gives the names of nodes that are gone back. What is no such name is
    /// left out. Idempotent.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn release(
        &self,
        ctx: &Context,
        namespace: &str,
        app: &str,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<()> {
        let gone: HashSet<u32> =
            names.into_iter().filter_map(|name| index(app, name.as_ref())).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let key = self.numbers(namespace, app)?;
        let pool = self.pool(&key);
        for (index, owner) in pool.taken(ctx).await? {
            if gone.contains(&index) {
                pool.release(ctx, &owner, None).await?;
            }
        }
        Ok(())
    }

    /// Keeps a deploy until it is finished. One of the same request is
    /// replaced.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn begin(&self, ctx: &Context, spec: &DeploySpec) -> Result<()> {
        self.begin_with_note(ctx, spec, None).await
    }

    /// As [`begin`](Self::begin), with what whoever finishes it has to know
    /// beside the spec; [`note`](Self::note) gives it back.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn begin_with_note(
        &self,
        ctx: &Context,
        spec: &DeploySpec,
        note: Option<String>,
    ) -> Result<()> {
        let key = self.begun(&spec.owner.namespace, &spec.owner.app)?;
        let key = key.child(&spec.owner.request.to_string())?;
        let begun = Begun { spec: spec.clone(), note };
        self.store.save(ctx, &key, &begun, Condition::Any, None).await.map(drop)
    }

    /// The note of a deploy that is not finished, if it was given one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn note(&self, ctx: &Context, owner: &Owner) -> Result<Option<String>> {
        let key = self.begun(&owner.namespace, &owner.app)?.child(&owner.request.to_string())?;
        let begun = self.store.load::<Begun>(ctx, &key).await?;
        Ok(begun.and_then(|record| record.value.note))
    }

    /// Forgets a deploy: it is finished, or nobody wants it any more.
    /// Idempotent.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn end(&self, ctx: &Context, owner: &Owner) -> Result<()> {
        let key = self.begun(&owner.namespace, &owner.app)?.child(&owner.request.to_string())?;
        let transaction = Transaction::new().delete(key, Condition::Any);
        self.store.commit(ctx, &transaction).await.map(drop)
    }

    /// The deploys of an application that were begun and are not finished:
    /// under way, interrupted, or with nodes that failed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn unfinished(
        &self,
        ctx: &Context,
        namespace: &str,
        app: &str,
    ) -> Result<Vec<DeploySpec>> {
        let below = self.begun(namespace, app)?.below();
        let begun = self.store.load_all::<Begun>(ctx, &below).await?;
        Ok(begun.into_iter().map(|record| record.value.spec).collect())
    }

    fn pool(&self, key: &Key) -> IndexPool<'_, dyn StateStore> {
        self.store.index_pool(key, MAX_NUMBER)
    }

    fn numbers(&self, namespace: &str, app: &str) -> Result<Key> {
        self.base.child("numbers")?.child(namespace)?.child(app)
    }

    fn begun(&self, namespace: &str, app: &str) -> Result<Key> {
        self.base.child("begun")?.child(namespace)?.child(app)
    }
}

/// The index in the pool of a name with a number: 0 for `web-1`.
fn index(app: &str, name: &str) -> Option<u32> {
    let number = name.strip_prefix(app)?.strip_prefix('-')?;
    let is_written_so = number.starts_with(|first: char| matches!(first, '1'..='9'));
    let number: u32 = number.parse().ok().filter(|_| is_written_so)?;
    number.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RequestId;
    use crate::state::MemoryStore;

    #[test]
    fn numbers_of_names() {
        for (name, wanted) in [
            ("web-1", Some(0)),
            ("web-12", Some(11)),
            ("web-0", None),
            ("web-01", None),
            ("web-+1", None),
            ("web-1a", None),
            ("web2-1", None),
            ("web", None),
        ] {
            assert_eq!(index("web", name), wanted, "{name}");
        }
    }

    #[tokio::test]
    async fn names_are_given_once_and_come_back() {
        let deployments = Deployments::new(Arc::new(MemoryStore::new()), "test", "here").unwrap();
        let (ctx, none) = (Context::new(), [""; 0]);
        let owner = |app: &str| Owner::new("default", app, RequestId::random());
        let (a, b) = (owner("web"), owner("web"));
        assert_eq!(deployments.reserve(&ctx, &a, 2, none).await.unwrap(), ["web-1", "web-2"]);
        let taken = ["web-4", "db-3", "web"];
        assert_eq!(deployments.reserve(&ctx, &b, 2, taken).await.unwrap(), ["web-3", "web-5"]);
        // Its own nodes are there by now.
        let again = deployments.reserve(&ctx, &a, 3, ["web-1", "web-2"]).await.unwrap();
        assert_eq!(again, ["web-1", "web-2", "web-4"]);
        assert_eq!(deployments.reserve(&ctx, &owner("db"), 1, none).await.unwrap(), ["db-1"]);
        deployments.release(&ctx, "default", "web", ["web-2", "web", "db-1"]).await.unwrap();
        assert_eq!(deployments.reserve(&ctx, &owner("web"), 1, none).await.unwrap(), ["web-2"]);
    }

    #[tokio::test]
    async fn what_is_begun_is_unfinished_until_its_end() {
        let deployments = Deployments::new(Arc::new(MemoryStore::new()), "test", "here").unwrap();
        let ctx = Context::new();
        let owner = Owner::new("default", "web", RequestId::random());
        let spec = DeploySpec::new(owner.clone(), "image", ["web-1"]);
        deployments.begin(&ctx, &spec).await.unwrap();
        deployments.begin(&ctx, &spec).await.unwrap();
        let unfinished = async |app| deployments.unfinished(&ctx, "default", app).await.unwrap();
        assert_eq!(unfinished("web").await, std::slice::from_ref(&spec));
        assert_eq!(deployments.note(&ctx, &owner).await.unwrap(), None);
        let note = Some("a file".to_owned());
        deployments.begin_with_note(&ctx, &spec, note.clone()).await.unwrap();
        assert_eq!(deployments.note(&ctx, &owner).await.unwrap(), note);
        assert_eq!(unfinished("other").await, []);
        deployments.end(&ctx, &owner).await.unwrap();
        deployments.end(&ctx, &owner).await.unwrap();
        assert_eq!(unfinished("web").await, []);
    }
}

//! The suite for state stores.

mod concurrency;
mod handles;
mod leases;
mod records;
mod transactions;
mod watches;
#[cfg(test)]
mod wrong;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Failure, Fixture, Suite, SuiteOn};
use crate::state::{Document, Key, Prefix, StateStore};
use crate::{Context, Result};

/// What the suite must know about a store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SuiteOptions {
    /// Whether a store can be opened again, while it is open or later, and
    /// has the same records then. False by default.
    pub reopening: bool,
    /// How many changes the stores under test keep for watches, where that
    /// can be set; make it a small number. `None`, the default, leaves out the
    /// case that needs a store to forget.
    pub history: Option<usize>,
    /// The time of leases that the suite lets run out: as short as the store's
    /// clock can measure, but not so short that a busy machine makes cases
    /// fail; 600 ms by default.
    pub shortest_lease: Duration,
}

impl Default for SuiteOptions {
    fn default() -> Self {
        Self { reopening: false, history: None, shortest_lease: Duration::from_millis(600) }
    }
}

impl SuiteOptions {
    /// The stores can be opened again.
    #[must_use]
    pub fn with_reopening(mut self) -> Self {
        self.reopening = true;
        self
    }

    /// The stores keep that many changes.
    #[must_use]
    pub fn with_history(mut self, changes: usize) -> Self {
        self.history = Some(changes);
        self
    }

    /// The store's clock is that coarse.
    #[must_use]
    pub fn with_shortest_lease(mut self, shortest: Duration) -> Self {
        self.shortest_lease = shortest;
        self
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn StateStore>>> + Send>>;
type Open = Arc<dyn Fn(String) -> Opening + Send + Sync>;

/// The store that a case runs on, and how to open it once more.
pub(super) struct Subject {
    store: Arc<dyn StateStore>,
    options: SuiteOptions,
    name: String,
    open: Open,
    ctx: Context,
}

impl Subject {
    async fn reopen(&self) -> Result<Arc<dyn StateStore>> {
        (self.open)(self.name.clone()).await
    }

    /// A lease's time that is surely not over before a few calls are done.
    fn long(&self) -> Duration {
        self.options.shortest_lease.max(Duration::from_secs(30))
    }

    fn short(&self) -> Duration {
        self.options.shortest_lease
    }

    /// Waits until a short lease is over, twice its time at the most.
    async fn until_free(&self, name: &Key) -> Result<(), Failure> {
        let pause = self.short() / 10;
        for _ in 0..20 {
            if self.store.lease_info(&self.ctx, name).await?.is_none() {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
        }
        Err(Failure::new(format!("the lease '{name}' does not end")))
    }
}

struct Stores {
    options: SuiteOptions,
    open: Open,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("options", &self.options).finish_non_exhaustive()
    }
}

#[async_trait]
impl Fixture for Stores {
    type Subject = Subject;

    async fn set_up(&self) -> Result<Subject> {
        let name = format!("flock-test-{}", uuid::Uuid::new_v4().simple());
        Ok(Subject {
            store: (self.open)(name.clone()).await?,
            options: self.options.clone(),
            name,
            open: Arc::clone(&self.open),
            ctx: Context::new(),
        })
    }
}

/// The behaviour that every [`StateStore`] must show.
///
/// `open` opens the store of that name, which is a fresh one in every case:
/// another name is a store that has nothing to do with it; the same name is
/// the same store again, which is only asked for with [`SuiteOptions::reopening`].
///
/// ```no_run
/// use std::process::ExitCode;
/// use std::sync::Arc;
/// use flock_core::conformance::{self, state::SuiteOptions};
/// use flock_core::state::{MemoryStore, StateStore};
///
/// fn main() -> ExitCode {
///     let open = |_name| async { Ok(Arc::new(MemoryStore::new()) as Arc<dyn StateStore>) };
///     conformance::main([conformance::state::suite("memory", SuiteOptions::default(), open)])
/// }
/// ```
pub fn suite<F, Opened>(name: &str, options: SuiteOptions, open: F) -> Suite
where
    F: Fn(String) -> Opened + Send + Sync + 'static,
    Opened: Future<Output = Result<Arc<dyn StateStore>>> + Send + 'static,
{
    let open: Open = Arc::new(move |name| Box::pin(open(name)));
    let stores = Stores { options, open };
    let options = stores.options.clone();
    let cases = Suite::new(format!("state::{name}")).on(stores);
    let cases = transactions::cases(records::cases(cases));
    let cases = leases::cases(watches::cases(cases, &options));
    handles::cases(concurrency::cases(cases), &options).done()
}

type Cases = SuiteOn<Stores>;

fn key(text: &str) -> Result<Key> {
    Key::new(text)
}

fn prefix(text: &str) -> Result<Prefix> {
    text.parse()
}

fn doc(value: impl serde::Serialize) -> Result<Document> {
    Document::of(&value)
}

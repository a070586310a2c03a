//! The embedded store: one SQLite file that several processes share.

mod clock;
mod error;
mod leases;
mod records;
mod schema;

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use self::clock::Clock;
use self::error::InFile;
use super::lease::check_ttl;
use super::{
    Changes, EventSource, Key, Lease, LeaseInfo, Listing, LogLimits, Prefix, Record, Revision,
    StateStore, Transaction, Watch,
};
use crate::{Context, Error, ErrorKind, Result};

/// Where the store is, and how patient.
///
/// ```
/// use std::time::Duration;
/// use flock_core::state::SqliteConfig;
///
/// let config = SqliteConfig::at("/srv/flock/state.db").with_wait(Duration::from_secs(5));
/// assert_eq!(config.wait_ms, 5000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SqliteConfig {
    /// The database file; by default `flock/state.db` in the user's data
    /// directory. Must be on a local file system: the write-ahead log needs
    /// memory that all processes share.
    pub path: Option<PathBuf>,
    /// How long a call waits for other processes, in milliseconds; 30,000 by
    /// default. A call's own deadline can only make it shorter.
    pub wait_ms: u64,
    /// How often a watch looks for what other processes did, in milliseconds;
    /// 50 by default. Changes by this process show at once.
    pub poll_ms: u64,
    /// How many changes are kept for watches that lag behind or start from an
    /// earlier revision; 10,000 by default. They are also kept below 64 MiB.
    pub history: usize,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self { path: None, wait_ms: 30_000, poll_ms: 50, history: LogLimits::default().changes }
    }
}

impl SqliteConfig {
    /// The configuration for a store in that file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }

    /// Where the store is or will be: the path given, or the default one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if there is neither a path nor a home.
    pub fn location(&self) -> Result<PathBuf> {
        match &self.path {
            Some(path) => Ok(path.clone()),
            None => schema::default_path(),
        }
    }

    /// Sets how long a call waits for other processes.
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Sets how often a watch looks for what other processes did.
    #[must_use]
    pub fn with_poll(mut self, poll: Duration) -> Self {
        self.poll_ms = u64::try_from(poll.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Sets how many changes are kept for watches.
    #[must_use]
    pub fn with_history(mut self, changes: usize) -> Self {
        self.history = changes;
        self
    }
}

/// A store in an SQLite file, for several processes of one machine at once;
/// clones share the connections.
///
/// Every commit is on the disk when its call returns. A process that is killed
/// at any moment leaves a sound file and no part of a transaction. Leases end
/// by the machine's clock since boot, which nobody can set. Calls need a tokio
/// runtime with time. If the file is removed or replaced while it is open, all
/// calls fail with [`ErrorKind::Unavailable`]; a new file counts revisions and
/// tokens anew.
///
/// The file is made with permissions for the user alone, as is its directory;
/// records may tell more than others should know.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path()).finish_non_exhaustive()
    }
}

struct Shared {
    path: PathBuf,
    /// Which file the path meant when it was opened.
    identity: Option<Identity>,
    writer: Arc<Mutex<Connection>>,
    /// Apart from the writer, so that reading does not wait for a commit.
    reader: Arc<Mutex<Connection>>,
    clock: Clock,
    wait: Duration,
    poll: Duration,
    limits: LogLimits,
    /// Counts up when there may be something new for watches.
    news: watch::Sender<u64>,
    polled: Mutex<Polled>,
}

/// What the last look for changes by other processes saw.
struct Polled {
    at: Instant,
    data_version: i64,
}

impl SqliteStore {
    /// Opens the store, and makes it where it is missing.
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidData`] if the file is damaged or the database of
    ///   another program; [`ErrorKind::Unsupported`] if a newer flock made it,
    ///   or its file system cannot be used;
    /// - [`ErrorKind::PermissionDenied`], [`ErrorKind::QuotaExceeded`] (no
    ///   room) or another kind for an I/O error;
    /// - [`ErrorKind::Unavailable`] if another process keeps it busy;
    /// - [`ErrorKind::InvalidConfig`] if there is neither a path nor a home.
    pub async fn open(ctx: &Context, config: SqliteConfig) -> Result<Self> {
        let context = ctx.clone();
        let open = blocking(move || Shared::open(&context, &config));
        let shared = ctx.run(open).await.map_err(|error| error.during("state.open"))?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Where the store is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

impl Shared {
    fn open(ctx: &Context, config: &SqliteConfig) -> Result<Self> {
        let path = config.location()?;
        // Absolute, so that no name has a meaning of its own to SQLite, and a
        // change of directory does not matter.
        let path = std::path::absolute(&path)
            .map_err(|source| Error::io("find the state store", &path, source))?;
        let wait = Duration::from_millis(config.wait_ms);
        schema::create(&path)?;
        let writer = schema::open(ctx, &path, wait)?;
        let reader = schema::open(ctx, &path, wait)?;
        let polled = Polled { at: Instant::now(), data_version: data_version(&reader, &path)? };
        Ok(Self {
            identity: identity(&path),
            path,
            writer: Arc::new(Mutex::new(writer)),
            reader: Arc::new(Mutex::new(reader)),
            clock: Clock::new(),
            wait,
            poll: Duration::from_millis(config.poll_ms.max(1)),
            limits: LogLimits { changes: config.history, ..LogLimits::default() },
            news: watch::Sender::new(0),
            polled: Mutex::new(polled),
        })
    }

    /// Fails if the file was removed or replaced. SQLite does not notice, and
    /// goes on with a file that nobody else can open.
    fn check_file(&self) -> Result<()> {
        if identity(&self.path) == self.identity {
            return Ok(());
        }
        let what = format!("the state store {} was removed or replaced", self.path.display());
        Err(Error::new(ErrorKind::Unavailable, what)
            .permanent()
            .with("path", self.path.display().to_string())
            .hint("start again, to open the store that is there now"))
    }

    /// Looks whether another process has committed something, unless that was
    /// done a moment ago, by whichever watch.
    async fn look_for_news(self: &Arc<Self>, ctx: &Context) -> Result<()> {
        let mut polled = self.polled.lock().await;
        if polled.at.elapsed() < self.poll / 2 {
            return Ok(());
        }
        let read =
            |shared: &Self, connection: &mut Connection| data_version(connection, &shared.path);
        let found = call(self, &self.reader, ctx, "state.watch", read).await?;
        if found != polled.data_version {
            self.news.send_modify(|count| *count = count.wrapping_add(1));
        }
        *polled = Polled { at: Instant::now(), data_version: found };
        Ok(())
    }
}

/// Device and inode: the same for all names of a file, and no other's.
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Elsewhere an open file can be neither removed nor replaced.
#[cfg(not(unix))]
fn identity(_path: &Path) -> Option<Identity> {
    None
}

/// Changes whenever another connection has committed.
fn data_version(connection: &Connection, path: &Path) -> Result<i64> {
    connection
        .prepare_cached("PRAGMA data_version")
        .and_then(|mut pragma| pragma.query_row([], |row| row.get(0)))
        .in_file(path)
}

/// Runs `work` on a connection, in a thread where it may block.
///
/// Waiting for the connection ends with the context; so does waiting for
/// another process. Work that has begun is finished even if nobody waits for
/// it any more: it takes the lock with it.
async fn call<T: Send + 'static>(
    shared: &Arc<Shared>,
    connection: &Arc<Mutex<Connection>>,
    ctx: &Context,
    operation: &'static str,
    work: impl FnOnce(&Shared, &mut Connection) -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = ctx.run(async {
        let mut connection = Arc::clone(connection).lock_owned().await;
        let (shared, context) = (Arc::clone(shared), ctx.clone());
        blocking(move || {
            context.check()?;
            shared.check_file()?;
            schema::patient(&mut connection, &context, shared.wait).in_file(&shared.path)?;
            // If the context ended the waiting, say that, not "busy".
            work(&shared, &mut connection).map_err(|error| match context.check() {
                Err(ended) if error.kind() == ErrorKind::Unavailable => ended.caused_by(error),
                _ => error,
            })
        })
        .await
    });
    done.await.map_err(|error| error.in_backend("sqlite").during(operation))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|ended| {
        let what = "the state store's thread ended before its work";
        Err(Error::new(ErrorKind::Unexpected, what).caused_by(ended))
    })
}

#[async_trait]
impl StateStore for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Record>> {
        let key = key.clone();
        call(&self.shared, &self.shared.reader, ctx, "state.get", move |shared, connection| {
            records::get(connection, &shared.path, &key)
        })
        .await
    }

    async fn list(&self, ctx: &Context, prefix: &Prefix) -> Result<Listing> {
        let prefix = prefix.clone();
        call(&self.shared, &self.shared.reader, ctx, "state.list", move |shared, connection| {
            records::list(connection, &shared.path, &prefix)
        })
        .await
    }

    async fn commit(&self, ctx: &Context, transaction: &Transaction) -> Result<Revision> {
        transaction.validate()?;
        let transaction = transaction.clone();
        call(&self.shared, &self.shared.writer, ctx, "state.commit", move |shared, connection| {
            let (path, clock, limits) = (&shared.path, &shared.clock, shared.limits);
            let revision = records::commit(connection, path, &transaction, clock, limits)?;
            shared.news.send_modify(|count| *count = count.wrapping_add(1));
            Ok(revision)
        })
        .await
    }

    async fn watch(
        &self,
        ctx: &Context,
        prefix: &Prefix,
        after: Option<Revision>,
    ) -> Result<Watch> {
        let news = self.shared.news.subscribe();
        let start = call(
            &self.shared,
            &self.shared.reader,
            ctx,
            "state.watch",
            move |shared, connection| records::watch_start(connection, &shared.path, after),
        );
        let after = start.await?;
        let shared = Arc::clone(&self.shared);
        let (prefix, ready) = (prefix.clone(), VecDeque::new());
        Ok(Watch::new(Box::new(SqliteWatch { shared, news, prefix, after, ready })))
    }

    async fn acquire(
        &self,
        ctx: &Context,
        name: &Key,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>> {
        check_ttl(ttl)?;
        let asked = Instant::now();
        let (owned, by) = (name.clone(), holder.to_owned());
        let take = move |shared: &Shared, connection: &mut Connection| {
            leases::acquire(connection, &shared.path, &owned, &by, ttl, &shared.clock)
        };
        let token = call(&self.shared, &self.shared.writer, ctx, "state.acquire", take).await?;
        Ok(token.map(|token| Lease::new(name.clone(), holder.to_owned(), token, asked, ttl)))
    }

    async fn renew(&self, ctx: &Context, lease: &Lease, ttl: Duration) -> Result<Lease> {
        check_ttl(ttl)?;
        let asked = Instant::now();
        let owned = lease.clone();
        call(&self.shared, &self.shared.writer, ctx, "state.renew", move |shared, connection| {
            leases::renew(connection, &shared.path, &owned, ttl, &shared.clock)
        })
        .await?;
        Ok(Lease::new(lease.name.clone(), lease.holder.clone(), lease.token, asked, ttl))
    }

    async fn release(&self, ctx: &Context, lease: &Lease) -> Result<()> {
        let owned = lease.clone();
        call(&self.shared, &self.shared.writer, ctx, "state.release", move |shared, connection| {
            leases::release(connection, &shared.path, &owned)
        })
        .await
    }

    async fn lease_info(&self, ctx: &Context, name: &Key) -> Result<Option<LeaseInfo>> {
        let name = name.clone();
        call(&self.shared, &self.shared.reader, ctx, "state.lease_info", move |shared, found| {
            leases::info(found, &shared.path, &name, &shared.clock)
        })
        .await
    }
}

struct SqliteWatch {
    shared: Arc<Shared>,
    news: watch::Receiver<u64>,
    prefix: Prefix,
    /// Everything up to here is in `ready` or was handed out.
    after: Revision,
    ready: VecDeque<Changes>,
}

#[async_trait]
impl EventSource for SqliteWatch {
    async fn next(&mut self) -> Result<Changes> {
        let ctx = Context::new();
        loop {
            if let Some(changes) = self.ready.pop_front() {
                return Ok(changes);
            }
            self.news.mark_unchanged();
            let (prefix, after) = (self.prefix.clone(), self.after);
            let read = move |shared: &Shared, connection: &mut Connection| {
                records::changes(connection, &shared.path, &prefix, after)
            };
            let (found, seen) =
                call(&self.shared, &self.shared.reader, &ctx, "state.watch", read).await?;
            let idle = found.is_empty() && seen == self.after;
            self.after = seen;
            self.ready = found.into();
            if idle {
                self.wait(&ctx).await?;
            }
        }
    }
}

impl SqliteWatch {
    /// Waits until there may be something new.
    async fn wait(&mut self, ctx: &Context) -> Result<()> {
        while tokio::time::timeout(self.shared.poll, self.news.changed()).await.is_err() {
            self.shared.look_for_news(ctx).await?;
        }
        Ok(())
    }
}

//! One pair of eyes on all machines of a deploy: a list of those under way,
//! again and again, instead of a look at every job.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flock_core::{Context, Error, ErrorKind, Result};
use tokio::sync::{Notify, watch};

use crate::api::Machine;
use crate::client::{Client, Parameters};

/// How many machines one request asks for: their ids fit into an address of
/// 4 KiB, and into the smallest page.
const IDS: usize = 100;
/// A look comes after this part of the time that the oldest machine under way
/// has taken so far.
const AGE_PART: u32 = 20;

/// How often machines are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Polling {
    pub(super) shortest: Duration,
    pub(super) longest: Duration,
}

/// What was last seen of a machine.
#[derive(Debug, Clone)]
pub(super) enum Sight {
    /// It was not looked at yet.
    NotYet,
    /// It was there.
    There(Arc<Machine>),
    /// It is not there any more.
    Gone,
    /// It cannot be looked at.
    Failed(Error),
}

/// Watches machines for as long as [`run`](Watch::run) is polled.
#[derive(Debug)]
pub(super) struct Watch {
    client: Client,
    polling: Polling,
    watched: Mutex<HashMap<String, Watched>>,
    added: Notify,
}

#[derive(Debug)]
struct Watched {
    since: Instant,
    sight: watch::Sender<Sight>,
}

/// Sees one machine; it is watched until this is dropped.
#[derive(Debug)]
pub(super) struct View {
    id: String,
    watch: Arc<Watch>,
    sight: watch::Receiver<Sight>,
}

impl Watch {
    pub(super) fn new(client: Client, polling: Polling) -> Self {
        Self { client, polling, watched: Mutex::default(), added: Notify::new() }
    }

    /// Watches one more machine, which must not be watched already.
    pub(super) fn follow(self: &Arc<Self>, id: &str) -> View {
        let (sender, receiver) = watch::channel(Sight::NotYet);
        self.lock().insert(id.to_owned(), Watched { since: Instant::now(), sight: sender });
        self.added.notify_one();
        View { id: id.to_owned(), watch: Arc::clone(self), sight: receiver }
    }

    /// What was last seen of a machine, if it is watched and was there.
    pub(super) fn last(&self, id: &str) -> Option<Arc<Machine>> {
        match &*self.lock().get(id)?.sight.borrow() {
            Sight::There(machine) => Some(Arc::clone(machine)),
            _ => None,
        }
    }

    /// Whether anybody sees this machine.
    pub(super) fn is_watched(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    fn fail(&self, id: &str, error: &Error) {
        if let Some(watched) = self.lock().get(id) {
            watched.sight.send_replace(Sight::Failed(error.clone()));
        }
    }

    /// Looks again and again, until the context ends.
    pub(super) async fn run(&self, ctx: &Context) -> Error {
        loop {
            let Some(oldest) = self.oldest() else {
                tokio::select! {
                    ended = ctx.ended() => return ended,
                    () = self.added.notified() => continue,
                }
            };
            let pause = (oldest / AGE_PART).clamp(self.polling.shortest, self.polling.longest);
            if let Err(ended) = ctx.sleep(pause).await {
                return ended;
            }
            self.look(ctx).await;
        }
    }

    /// Looks at all machines once.
    async fn look(&self, ctx: &Context) {
        let ids: Vec<String> = self.lock().keys().cloned().collect();
        for ids in ids.chunks(IDS) {
            match self.list(ctx, ids).await {
                Ok(machines) => self.tell(ids, machines),
                Err(error) if is_lasting(&error) => ids.iter().for_each(|id| self.fail(id, &error)),
                Err(error) => tracing::debug!(%error, "cannot look at the machines now"),
            }
        }
    }

    async fn list(&self, ctx: &Context, ids: &[String]) -> Result<Vec<Machine>> {
        let listed = self.client.machines(ctx, &Parameters::new().with_list("ids", ids)).await;
        match listed {
            // One id that CloudStack does not know any more fails them all.
            Err(error) if is_unknown(&error) => self.one_by_one(ctx, ids).await,
            listed => listed,
        }
    }

    async fn one_by_one(&self, ctx: &Context, ids: &[String]) -> Result<Vec<Machine>> {
        let mut machines = Vec::new();
        for id in ids {
            match self.client.machine(ctx, id).await {
                Ok(machine) => machines.push(machine),
                Err(error) if is_unknown(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(machines)
    }

    fn tell(&self, ids: &[String], machines: Vec<Machine>) {
        let mut seen: HashMap<String, Machine> =
            machines.into_iter().map(|machine| (machine.id.clone(), machine)).collect();
        let watched = self.lock();
        for id in ids {
            let Some(watched) = watched.get(id) else { continue };
            let sight = match seen.remove(id) {
                Some(machine) if !machine.is_gone() => Sight::There(Arc::new(machine)),
                _ => Sight::Gone,
            };
            watched.sight.send_replace(sight);
        }
    }

    fn oldest(&self) -> Option<Duration> {
        self.lock().values().map(|watched| watched.since.elapsed()).max()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// The next sight of the machine; waits for it.
    ///
    /// # Errors
    /// The end of the context.
    pub(super) async fn next(&mut self, ctx: &Context) -> Result<Sight> {
        ctx.run(async {
            // The sender is kept for as long as this is.
            let gone = |_| Error::new(ErrorKind::Unexpected, "nobody looks any more");
            self.sight.changed().await.map_err(gone)?;
            Ok(self.sight.borrow_and_update().clone())
        })
        .await
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.watch.lock().remove(&self.id);
    }
}

/// Whether the error says that something is not there: CloudStack's codes for
/// it are those of a wrong parameter.
pub(super) fn is_unknown(error: &Error) -> bool {
    let code = error.context_value("errorcode");
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidConfig)
        && code.is_none_or(|code| matches!(code, "430" | "431"))
}

/// Whether asking again cannot help. All else passes, or is left to the time
/// limit of each machine.
pub(super) fn is_lasting(error: &Error) -> bool {
    use ErrorKind::{InvalidConfig, PermissionDenied, Unauthenticated, Unsupported};
    matches!(error.kind(), Unauthenticated | PermissionDenied | InvalidConfig | Unsupported)
}

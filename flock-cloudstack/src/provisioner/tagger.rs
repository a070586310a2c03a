//! Tags for many machines by few requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flock_core::{Context, Error, Owner, Result};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::watch::Watch;
use crate::api::Machine;
use crate::client::{Client, JobId, JobStatus};
use crate::tags::{self, Resource};

/// How many machines one request tags.
const BATCH: usize = 100;
/// How often a machine's tags are asked for.
const MAX_TRIES: u32 = 4;

/// Puts the owner's tag on the machines of a deploy, for as long as
/// [`run`](Tagger::run) is polled. That the tags are there is seen by the
/// [`Watch`]; jobs are asked about only when that takes long.
#[derive(Debug)]
pub(super) struct Tagger {
    client: Client,
    owner: Owner,
    watch: Arc<Watch>,
    /// How long machines are gathered for a request.
    gathering: Duration,
    state: Mutex<State>,
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Untagged>,
    sent: Vec<Batch>,
    failed: HashMap<String, Error>,
}

/// A machine without its tags.
#[derive(Debug, Clone)]
struct Untagged {
    id: String,
    /// The node's name, where it has to be tagged too.
    name: Option<String>,
    tries: u32,
}

/// Machines whose tags were asked for by one request.
#[derive(Debug)]
struct Batch {
    machines: Vec<Untagged>,
    /// `None` where the reply got lost.
    job: Option<JobId>,
    sent: Instant,
    /// When to ask what became of it.
    ask: Instant,
}

impl Tagger {
    pub(super) fn new(
        client: Client,
        owner: Owner,
        watch: Arc<Watch>,
        gathering: Duration,
    ) -> Self {
        let (state, added) = (Mutex::default(), Notify::new());
        Self { client, owner, watch, gathering, state, added }
    }

    /// Has a machine tagged. `name` is the node's, where the machine's own
    /// names do not tell it.
    pub(super) fn add(&self, id: &str, name: Option<&str>) {
        let machine = Untagged { id: id.to_owned(), name: name.map(str::to_owned), tries: 0 };
        self.lock().waiting.push(machine);
        self.added.notify_one();
    }

    /// Whether the machine has the owner's tags, and its name's.
    pub(super) fn has_tags(&self, machine: &Machine, name: Option<&str>) -> bool {
        let has_name =
            name.is_none_or(|name| machine.tags.get(tags::NAME).is_some_and(|t| t == name));
        has_name && tags::owner(&self.owner.namespace, &machine.tags).as_ref() == Some(&self.owner)
    }

    /// Why the machine cannot be tagged.
    pub(super) fn failure(&self, id: &str) -> Option<Error> {
        self.lock().failed.get(id).cloned()
    }

    /// Tags what is added, until the context ends.
    pub(super) async fn run(&self, ctx: &Context) -> Error {
        loop {
            if self.is_idle() {
                tokio::select! {
                    ended = ctx.ended() => return ended,
                    () = self.added.notified() => {}
                }
            }
            self.send(ctx).await;
            if let Err(ended) = ctx.sleep(self.gathering).await {
                return ended;
            }
            self.ask(ctx).await;
        }
    }

    /// Asks for the tags of all that wait for them.
    pub(super) async fn send(&self, ctx: &Context) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        // Who is tried again may be what made a whole batch fail.
        let (alike, alone): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|one| one.name.is_none() && one.tries == 0);
        let batches = alike.chunks(BATCH).map(<[_]>::to_vec);
        let batches = batches.chain(alone.into_iter().map(|one| vec![one]));
        let mut requests = JoinSet::new();
        for machines in batches {
            let (client, ctx, owner) = (self.client.clone(), ctx.clone(), self.owner.clone());
            requests.spawn(async move {
                let answer = put(&client, &ctx, &owner, &machines).await;
                (machines, answer)
            });
        }
        while let Some(ended) = requests.join_next().await {
            // A task that panicked leaves its machines to the time limit.
            if let Ok((machines, answer)) = ended {
                self.note(machines, answer);
            }
        }
    }

    /// Takes down what a request was answered.
    fn note(&self, machines: Vec<Untagged>, answer: Result<JobId>) {
        let job = match answer {
            Ok(job) => Some(job),
            Err(error) if super::watch::is_lasting(&error) => return self.retry(machines, &error),
            // It may have had its effect: that shows.
            Err(error) => {
                tracing::debug!(%error, "whether machines were tagged will show");
                None
            }
        };
        let now = Instant::now();
        let batch = Batch { machines, job, sent: now, ask: now + self.gathering * 5 };
        self.lock().sent.push(batch);
    }

    /// Asks about batches whose tags do not show for long.
    async fn ask(&self, ctx: &Context) {
        let sent = std::mem::take(&mut self.lock().sent);
        for mut batch in sent {
            batch.machines.retain(|one| self.is_untagged(one));
            if batch.machines.is_empty() {
                continue;
            }
            if batch.ask > Instant::now() {
                self.lock().sent.push(batch);
                continue;
            }
            let Some(job) = &batch.job else {
                let lost = Error::new(flock_core::ErrorKind::Unavailable, "the tags do not show");
                self.retry(batch.machines, &lost);
                continue;
            };
            match self.client.job(ctx, job).await.map(|job| job.status) {
                Ok(JobStatus::Failed(error)) => self.retry(batch.machines, &error),
                // Still at work, or done and about to show, or not to be known.
                _ => {
                    batch.ask = Instant::now() + batch.sent.elapsed();
                    self.lock().sent.push(batch);
                }
            }
        }
    }

    /// Has machines tagged again, one by one, or gives them up.
    fn retry(&self, machines: Vec<Untagged>, error: &Error) {
        let mut state = self.lock();
        for mut machine in machines {
            machine.tries += 1;
            if machine.tries < MAX_TRIES {
                state.waiting.push(machine);
            } else {
                state.failed.insert(machine.id, error.clone());
            }
        }
    }

    /// Whether somebody waits for the machine's tags. What is not watched any
    /// more is nobody's concern.
    fn is_untagged(&self, machine: &Untagged) -> bool {
        let name = machine.name.as_deref();
        self.watch.is_watched(&machine.id)
            && !self.watch.last(&machine.id).is_some_and(|seen| self.has_tags(&seen, name))
    }

    fn is_idle(&self) -> bool {
        let state = self.lock();
        state.waiting.is_empty() && state.sent.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to tag these machines.
async fn put(
    client: &Client,
    ctx: &Context,
    owner: &Owner,
    machines: &[Untagged],
) -> Result<JobId> {
    let ids: Vec<_> = machines.iter().map(|machine| machine.id.clone()).collect();
    let pairs = owner.to_pairs().into_iter();
    let name = machines.first().and_then(|machine| machine.name.clone());
    let pairs = pairs.chain(name.map(|name| (tags::NAME, name)));
    tags::begin(client, ctx, Resource::Machine, &ids, pairs).await.map(|started| started.job)
}

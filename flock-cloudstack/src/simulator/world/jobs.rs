//! Asynchronous jobs: what works on what, one after the other, until when.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Event, World};
use crate::simulator::error::ApiError;

/// What a job does to the world. Both calls happen under the world's lock.
pub(crate) trait Work: std::fmt::Debug + Send {
    /// When the job starts: checks the states and shows that it works.
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError>;

    /// When its time is over: the effect, and the result as JSON.
    fn finish(&mut self, world: &mut World) -> Result<String, ApiError>;

    /// When the job fails: back to a state that a failed job leaves. Also
    /// called after a `begin` that failed.
    fn abandon(&mut self, world: &mut World);

    /// When the job is to fail although something was done: all of it, unless
    /// the work knows better.
    fn stop_half_way(&mut self, world: &mut World) {
        if self.finish(world).is_err() {
            self.abandon(world);
        }
    }
}

/// How a job is to differ from what it would have been.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobFate {
    /// How much longer it takes.
    pub(crate) slower: Duration,
    /// How it fails.
    pub(crate) failure: Option<Failure>,
}

/// How a job is made to fail.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: ApiError,
    /// With (a part of) its effect.
    pub(crate) is_half_way: bool,
}

/// What a job is about.
pub(crate) type Instance = (&'static str, Uuid);

/// A job to be started.
#[derive(Debug)]
pub(crate) struct NewJob {
    /// The id that the caller chose.
    pub(crate) id: Option<Uuid>,
    pub(crate) owner: Uuid,
    pub(crate) user: Uuid,
    pub(crate) command: &'static str,
    pub(crate) instance: Option<Instance>,
    /// Jobs on the same thing run one after the other.
    pub(crate) queue: Option<Uuid>,
    pub(crate) duration: Duration,
    pub(crate) fate: JobFate,
    pub(crate) work: Box<dyn Work>,
}

/// A job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: Uuid,
    pub(crate) owner: Uuid,
    pub(crate) user: Uuid,
    pub(crate) command: &'static str,
    pub(crate) instance: Option<Instance>,
    pub(crate) created: i64,
    pub(crate) completed: Option<i64>,
    pub(crate) phase: Phase,
}

/// How far a job is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Waiting or at work.
    Pending(Pending),
    /// Done, with the result.
    Succeeded(Box<RawValue>),
    /// Over.
    Failed(ApiError),
}

/// What a job has still to do.
#[derive(Debug)]
pub(crate) struct Pending {
    fate: JobFate,
    /// Away while it is at the world.
    work: Option<Box<dyn Work>>,
}

/// The result that says no more than that it worked.
#[derive(Debug, Serialize)]
pub(crate) struct Success {
    pub(crate) success: bool,
}

impl World {
    /// Starts a job, or has it wait for those on the same thing.
    pub(crate) fn start_job(&mut self, new: NewJob) -> Uuid {
        let id = new.id.unwrap_or_else(Uuid::new_v4);
        let free = new.queue.and_then(|queue| self.busy.get(&queue).copied());
        let begin = free.map_or(self.time, |free| free.max(self.time));
        let end = begin + new.duration + new.fate.slower;
        if let Some(queue) = new.queue {
            self.busy.insert(queue, end);
        }
        let pending = Pending { fate: new.fate, work: Some(new.work) };
        let job = Job {
            id,
            owner: new.owner,
            user: new.user,
            command: new.command,
            instance: new.instance,
            created: self.clock.now(),
            completed: None,
            phase: Phase::Pending(pending),
        };
        self.jobs.insert(id, job);
        self.schedule(end, Event::FinishJob(id, new.queue));
        if begin <= self.time {
            self.begin_job(id);
        } else {
            self.schedule(begin, Event::BeginJob(id));
        }
        id
    }

    pub(super) fn begin_job(&mut self, id: Uuid) {
        let Some(mut work) = self.take_work(id) else { return };
        match work.begin(self) {
            Ok(()) => {
                self.mark_job(id, Some(id));
                if let Some(Job { phase: Phase::Pending(pending), .. }) = self.jobs.get_mut(id) {
                    pending.work = Some(work);
                }
            }
            Err(error) => {
                work.abandon(self);
                self.end_job(id, Err(error.in_job()));
            }
        }
    }

    pub(super) fn finish_job(&mut self, id: Uuid, queue: Option<Uuid>) {
        if let Some(queue) = queue
            && self.busy.get(&queue).is_some_and(|end| *end <= self.time)
        {
            self.busy.remove(&queue);
        }
        let Some(mut work) = self.take_work(id) else { return };
        self.mark_job(id, None);
        let failure = self.failure(id);
        let outcome = match failure {
            None => work.finish(self).map_err(|error| {
                work.abandon(self);
                error.in_job()
            }),
            Some(failure) => {
                match failure.is_half_way {
                    true => work.stop_half_way(self),
                    false => work.abandon(self),
                }
                Err(failure.error)
            }
        };
        self.end_job(id, outcome);
    }

    fn end_job(&mut self, id: Uuid, outcome: Result<String, ApiError>) {
        let now = self.clock.now();
        let broken = |_| ApiError::internal("The job's result cannot be read");
        let outcome = outcome.and_then(|json| RawValue::from_string(json).map_err(broken));
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.completed = Some(now);
        job.phase = match outcome {
            Ok(result) => Phase::Succeeded(result),
            Err(error) => Phase::Failed(error),
        };
        self.schedule(self.time + self.options.job_expiry, Event::ForgetJob(id));
    }

    fn take_work(&mut self, id: Uuid) -> Option<Box<dyn Work>> {
        match &mut self.jobs.get_mut(id)?.phase {
            Phase::Pending(pending) => pending.work.take(),
            _ => None,
        }
    }

    fn failure(&self, id: Uuid) -> Option<Failure> {
        match &self.jobs.get(id)?.phase {
            Phase::Pending(pending) => pending.fate.failure.clone(),
            _ => None,
        }
    }

    /// Notes at what the job is about that it works on it, or no longer does.
    fn mark_job(&mut self, id: Uuid, job: Option<Uuid>) {
        match self.jobs.get(id).and_then(|job| job.instance) {
            Some((MACHINE, of)) => {
                self.machines.get_mut(of).into_iter().for_each(|one| one.job = job);
            }
            Some((VOLUME, of)) => {
                self.volumes.get_mut(of).into_iter().for_each(|one| one.job = job);
            }
            _ => {}
        }
    }
}

/// What `jobinstancetype` says of a virtual machine.
pub(crate) const MACHINE: &str = "VirtualMachine";
/// What `jobinstancetype` says of a volume.
pub(crate) const VOLUME: &str = "Volume";

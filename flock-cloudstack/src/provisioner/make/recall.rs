//! Finding the machine that a deploy has made whose answer nobody has.
//!
//! A deploy's job has an id that follows from request and node
//! ([`NodeName::job`](super::NodeName::job)), so CloudStack can be asked about
//! a deploy that may never have arrived. It makes the machine first and the
//! job a moment later, which is why names count as well.

use std::time::{Duration, Instant};

use flock_core::secret::Secret;
use flock_core::{ErrorKind, Result};
use serde_json::Value;

use super::Making;
use crate::api::Machine;
use crate::client::{Job, JobId, JobStatus};
use crate::provisioner::survey::{Found, look};
use crate::provisioner::watch::{is_lasting, is_unknown};

impl Making {
    /// The machine that an earlier deploy of this node by this request made.
    /// `untagged` are those that may be it. Waits if such a deploy may have
    /// been sent a moment ago.
    pub(super) async fn recall(&mut self, untagged: &[Machine]) -> Result<Option<Machine>> {
        let job = self.node.job(&self.run.spec.owner, self.attempt);
        let works_on = |machine: &&Machine| machine.job_id.as_deref() == Some(job.as_str());
        if let Some(machine) = untagged.iter().find(works_on) {
            self.job = Some(job);
            return Ok(Some(machine.clone()));
        }
        let Some(intent) = self.intent.clone() else { return self.by_job().await };
        if let Some(machine) = self.by_id(intent.id.as_deref()).await? {
            self.job = intent.job.map(JobId::new);
            return Ok(Some(machine));
        }
        let patience = self.run.provisioner.settle_time.saturating_sub(intent.age());
        self.search(patience, true).await
    }

    /// Looks for the machine of a deploy that may be under way, until it shows
    /// or has had time enough to. Of machines that are known by their name
    /// alone, one is accepted at the end if `by_name`.
    pub(super) async fn search(
        &mut self,
        patience: Duration,
        by_name: bool,
    ) -> Result<Option<Machine>> {
        let shortest = self.run.provisioner.polling.shortest;
        let (begun, mut pause) = (Instant::now(), shortest);
        loop {
            let is_last = begun.elapsed() >= patience;
            match self.glance(by_name && is_last).await {
                Ok(Some(machine)) => return Ok(Some(machine)),
                Ok(None) if is_last => return Ok(None),
                Ok(None) => {}
                Err(error) if is_lasting(&error) || self.is_late() => return Err(error),
                Err(error) => tracing::debug!(%error, "cannot look for the node's machine now"),
            }
            self.ctx.sleep(pause).await?;
            pause = (pause * 2).min(patience / 4).max(shortest);
        }
    }

    async fn glance(&mut self, by_name: bool) -> Result<Option<Machine>> {
        if let Some(machine) = self.by_job().await? {
            return Ok(Some(machine));
        }
        let found = self.look().await?;
        let alike = || found.untagged.into_iter().find(|machine| self.resembles(machine));
        Ok(found.ours.or_else(|| if by_name { alike() } else { None }))
    }

    /// The machine that a job of this node's deploys made and that is still
    /// there. The next attempt is then behind the jobs whose machines are not.
    pub(super) async fn by_job(&mut self) -> Result<Option<Machine>> {
        loop {
            let id = self.node.job(&self.run.spec.owner, self.attempt);
            let Some(job) = self.known(&id).await? else { return Ok(None) };
            let machine = match instance(&job) {
                Some(machine) => self.by_id(Some(machine)).await?,
                None => self.look().await?.untagged.into_iter().find(|one| self.resembles(one)),
            };
            match (machine, job.status) {
                (Some(machine), _) => {
                    self.job = Some(id);
                    return Ok(Some(machine));
                }
                (None, JobStatus::Pending) => return Ok(None),
                (None, _) => self.attempt += 1,
            }
        }
    }

    /// Goes behind all attempts that CloudStack knows.
    pub(super) async fn next_attempt(&mut self) -> Result<()> {
        while self.known(&self.node.job(&self.run.spec.owner, self.attempt)).await?.is_some() {
            self.attempt += 1;
        }
        self.job = None;
        Ok(())
    }

    /// The job that made this machine, if CloudStack still knows it.
    pub(super) async fn job_of(&mut self, machine: &Machine) -> Result<Option<Job>> {
        if let Some(id) = &self.job {
            return self.known(id).await;
        }
        for attempt in 0.. {
            let id = self.node.job(&self.run.spec.owner, attempt);
            let Some(job) = self.known(&id).await? else { break };
            if instance(&job) == Some(machine.id.as_str()) {
                (self.job, self.attempt) = (Some(id), attempt);
                return Ok(Some(job));
            }
        }
        Ok(None)
    }

    /// The password that CloudStack made for the machine; `None` if it does
    /// not tell any more.
    pub(super) async fn password(&mut self, machine: &Machine) -> Result<Option<Secret>> {
        let mut pause = self.run.provisioner.polling.shortest;
        while let Some(job) = self.job_of(machine).await? {
            match job.status {
                // The machine may be up a moment before its job ends.
                JobStatus::Pending if !self.is_late() => self.ctx.sleep(pause).await?,
                JobStatus::Succeeded(result) => return Ok(password(&result)),
                _ => break,
            }
            pause = (pause * 2).min(self.run.provisioner.polling.longest);
        }
        Ok(None)
    }

    pub(super) async fn look(&self) -> Result<Found> {
        look(self.client(), &self.ctx, &self.run.spec.owner, &self.node).await
    }

    /// The job, if CloudStack knows it.
    pub(super) async fn known(&self, id: &JobId) -> Result<Option<Job>> {
        match self.client().job(&self.ctx, id).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if is_unknown(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn by_id(&self, id: Option<&str>) -> Result<Option<Machine>> {
        let Some(id) = id else { return Ok(None) };
        match self.client().machine(&self.ctx, id).await {
            Ok(machine) => Ok((!machine.is_gone()).then_some(machine)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a machine of one of the node's host names is as this deploy
    /// would have made it.
    pub(super) fn resembles(&self, machine: &Machine) -> bool {
        let template = machine.template_id.as_deref();
        machine.display_name == self.node.as_str()
            && template.is_none_or(|template| template == self.run.spec.image.as_str())
    }

    /// Whether the node has taken longer than a job may.
    pub(super) fn is_late(&self) -> bool {
        self.ctx.check().is_err() || self.begun.elapsed() > self.client().config().job_timeout
    }
}

/// The machine that a job is about.
fn instance(job: &Job) -> Option<&str> {
    let result = match &job.status {
        JobStatus::Succeeded(result) => {
            result.pointer("/virtualmachine/id").and_then(Value::as_str)
        }
        _ => None,
    };
    job.instance.as_deref().or(result)
}

/// The password in the result of a deploy or a start.
fn password(result: &Value) -> Option<Secret> {
    let password = result.pointer("/virtualmachine/password")?.as_str()?;
    (!password.is_empty()).then(|| Secret::new(password))
}

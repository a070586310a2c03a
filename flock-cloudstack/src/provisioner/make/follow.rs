//! Waiting for a machine to be up, and for its tags.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flock_core::provisioner::NodeStatus;
use flock_core::{Context, Error, ErrorKind, Result};

use super::Making;
use crate::api::Machine;
use crate::client::JobStatus;
use crate::error::BACKEND;
use crate::provisioner::node::status;
use crate::provisioner::watch::{Sight, View};

/// After how many looks a job is asked about whose machine does not stir: one
/// that stands still, and one that is starting.
const STILL_LOOKS: u32 = 10;
const STARTING_LOOKS: u32 = 600;

impl Making {
    /// Waits until the machine is up, or as far as it should get. A job is
    /// asked about only where the machine's state leaves a question.
    pub(super) async fn until_up(&mut self, view: &mut View, id: &str) -> Result<Machine> {
        let limited = self.limited();
        let shortest = self.run.provisioner.polling.shortest;
        let (mut since, mut patience) = (Instant::now(), shortest * STILL_LOOKS);
        let mut was_starting = false;
        loop {
            let machine = match view.next(&limited).await {
                Ok(Sight::There(machine)) => Some(machine),
                Ok(Sight::Gone) => None,
                Ok(Sight::NotYet) => continue,
                Ok(Sight::Failed(error)) => return Err(error),
                Err(ended) => return Err(self.too_late(ended)),
            };
            let now = machine.as_ref().map(|machine| status(&machine.state));
            if let (Some(machine), Some(now)) = (&machine, now)
                && self.is_up(machine, now)
            {
                return Ok(Machine::clone(machine));
            }
            let is_due = match now {
                Some(NodeStatus::Starting) => since.elapsed() > shortest * STARTING_LOOKS,
                // Waiting for an address alone.
                Some(NodeStatus::Running) => false,
                Some(NodeStatus::Stopped | NodeStatus::Unknown | NodeStatus::Stopping) => {
                    let has_job = machine.is_some_and(|machine| machine.job_id.is_some());
                    !has_job && (was_starting || since.elapsed() > patience)
                }
                _ => true,
            };
            was_starting = now == Some(NodeStatus::Starting);
            if is_due {
                if let Some(machine) = self.judge(id).await? {
                    return Ok(machine);
                }
                (since, patience) = (Instant::now(), patience * 2);
            }
        }
    }

    /// Whether the machine is as a deployed one should be.
    fn is_up(&self, machine: &Arc<Machine>, now: NodeStatus) -> bool {
        let plan = &self.run.plan;
        match now {
            NodeStatus::Running => !plan.wait_for_address || !machine.addresses().is_empty(),
            NodeStatus::Stopped => self.is_stopped_on_purpose,
            _ => false,
        }
    }

    /// Asks about the job of a machine that is not up: `None` if it is still
    /// at work.
    async fn judge(&mut self, id: &str) -> Result<Option<Machine>> {
        let job = match &self.job {
            Some(job) => self.known(job).await?,
            None => None,
        };
        match job.map(|job| job.status) {
            Some(JobStatus::Pending) => return Ok(None),
            Some(JobStatus::Failed(error)) => return Err(error.with("id", id)),
            Some(JobStatus::Succeeded(_)) | None => {}
        }
        // What was seen may be from before the job's end.
        let machine = self.client().machine(&self.ctx, id).await?;
        match status(&machine.state) {
            _ if machine.is_gone() => {
                let message = "the node was destroyed while it was made";
                Err(Error::new(ErrorKind::NotFound, message).in_backend(BACKEND))
            }
            NodeStatus::Failed => {
                let message = "CloudStack could not make the node, and does not say why";
                Err(Error::new(ErrorKind::Unexpected, message).in_backend(BACKEND))
            }
            // Somebody has stopped it, or it was not to be started.
            NodeStatus::Running | NodeStatus::Stopped => Ok(Some(machine)),
            _ => Ok(None),
        }
    }

    /// Waits until the machine's tags show.
    pub(super) async fn until_tagged(
        &mut self,
        view: &mut View,
        id: &str,
        name: Option<&str>,
    ) -> Result<()> {
        let limited = self.limited();
        loop {
            let last = self.run.watch.last(id);
            if last.is_some_and(|machine| self.run.tagger.has_tags(&machine, name)) {
                return Ok(());
            }
            if let Some(error) = self.run.tagger.failure(id) {
                return Err(error.hint("without its tags flock does not list the node"));
            }
            match view.next(&limited).await {
                Ok(Sight::Gone) => {
                    let message = "the node was destroyed while it was made";
                    return Err(Error::new(ErrorKind::NotFound, message).in_backend(BACKEND));
                }
                Ok(Sight::Failed(error)) => return Err(error),
                Ok(Sight::NotYet | Sight::There(_)) => {}
                Err(ended) => return Err(self.too_late(ended)),
            }
        }
    }

    /// The context, ending when a job should have.
    fn limited(&self) -> Context {
        let left = self.client().config().job_timeout.saturating_sub(self.begun.elapsed());
        // Time for one more look, so that what is up already counts.
        self.ctx.clone().with_timeout(left.max(Duration::from_secs(1)))
    }

    /// The error for a machine that takes longer than a job may.
    fn too_late(&self, ended: Error) -> Error {
        if self.ctx.check().is_err() {
            return ended;
        }
        let seconds = self.client().config().job_timeout.as_secs();
        let message = format!("the node is not up after {seconds} seconds; its job goes on");
        let error = Error::new(ErrorKind::Timeout, message).in_backend(BACKEND);
        match &self.job {
            Some(job) => error.with("job", job.as_str()),
            None => error,
        }
        .caused_by(ended)
    }
}

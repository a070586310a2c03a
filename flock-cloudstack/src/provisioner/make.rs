//! One node of a deploy, from whatever there is of it to a running one.

mod create;
mod follow;
mod recall;

use std::sync::Arc;
use std::time::Instant;

use flock_core::provisioner::{Node, NodeStatus};
use flock_core::secret::Secret;
use flock_core::{Context, Error, ErrorKind, Result};
use tokio::sync::OwnedSemaphorePermit;

use super::PasswordSink;
use super::deploy::Run;
use super::journal::Intent;
use super::names::NodeName;
use super::node::{node_of, status};
use super::survey::Found;
use crate::api::Machine;
use crate::blocking;
use crate::client::{Client, JobId};
use crate::error::BACKEND;

/// A node in the making.
pub(super) struct Making {
    run: Arc<Run>,
    ctx: Context,
    node: NodeName,
    /// What an earlier run, or this one, has written down of it.
    intent: Option<Intent>,
    /// Which of the node's deploys is the next, from 0.
    attempt: u32,
    /// Which of the node's host names is tried.
    variant: u32,
    /// The job that brings the machine up, once there is one.
    job: Option<JobId>,
    /// Whether the machine was finished before, and stopped by somebody.
    is_stopped_on_purpose: bool,
    begun: Instant,
}

impl Making {
    pub(super) fn new(run: Arc<Run>, ctx: Context, node: NodeName, intent: Option<Intent>) -> Self {
        let attempt = intent.as_ref().map_or(0, |intent| intent.attempt);
        Self {
            run,
            ctx,
            node,
            intent,
            attempt,
            variant: 0,
            job: None,
            is_stopped_on_purpose: false,
            begun: Instant::now(),
        }
    }

    /// Makes the node. The slot is given back as soon as the machine is up.
    pub(super) async fn make(mut self, found: Found, slot: OwnedSemaphorePermit) -> Result<Node> {
        let (id, machine) = self.obtain(found).await?;
        self.run.note_id(&self.node, &id);
        let mut view = self.run.watch.follow(&id);
        let name = self.name_tag(machine.as_ref());
        if !machine
            .as_ref()
            .is_some_and(|machine| self.run.tagger.has_tags(machine, name.as_deref()))
        {
            self.run.tagger.add(&id, name.as_deref());
        }
        let up = self.until_up(&mut view, &id).await;
        drop(slot);
        // A machine that failed is tagged too, so that it is listed and can be
        // destroyed.
        let tagged = self.until_tagged(&mut view, &id, name.as_deref()).await;
        let machine = up.map_err(|error| self.advise(error))?;
        tagged?;
        let node = node_of(self.run.spec.owner.clone(), &machine);
        self.hand_over_password(&node, &machine).await?;
        if self.intent.is_some() {
            // What is not forgotten is only looked up once more.
            if let Err(error) = self.run.journal.forget(&self.ctx, self.node.as_str()).await {
                tracing::debug!(%error, "an intent stays in the journal");
            }
        }
        Ok(node)
    }

    fn client(&self) -> &Client {
        &self.run.provisioner.client
    }

    /// The name to tag the machine with, unless its host name tells it.
    fn name_tag(&self, machine: Option<&Machine>) -> Option<String> {
        let host = machine.map_or_else(|| self.node.host(self.variant), |found| found.name.clone());
        (host != self.node.as_str()).then(|| self.node.as_str().to_owned())
    }

    /// Finds the node's machine, or begins one: its id, and the machine where
    /// it was there.
    async fn obtain(&mut self, mut found: Found) -> Result<(String, Option<Machine>)> {
        if let Some(other) = &found.other {
            return Err(self.taken(other, "another request made it"));
        }
        let mut machine = found.ours.take();
        let may_be_there = self.run.is_rerun || self.intent.is_some() || !found.untagged.is_empty();
        if machine.is_none() && may_be_there {
            machine = self.recall(&found.untagged).await?;
            if let (None, Some(stranger)) = (&machine, found.untagged.first()) {
                return Err(self.taken(stranger, "it has no tags of flock"));
            }
        }
        if let Some(machine) = machine
            && self.adopt(&machine).await?
        {
            return Ok((machine.id.clone(), Some(machine)));
        }
        if !found.in_the_way.is_empty() {
            self.variant = self.free_variant(&found.in_the_way);
        }
        self.create().await
    }

    /// The first host name that none of these machines has.
    fn free_variant(&self, others: &[Machine]) -> u32 {
        let is_taken =
            |host: &str| others.iter().any(|other| other.name.eq_ignore_ascii_case(host));
        (0..super::names::VARIANTS)
            .find(|variant| !is_taken(&self.node.host(*variant)))
            .unwrap_or_default()
    }

    /// Takes over a machine that this request made, and sets it going where
    /// that is missing. False if a new one has to be made in its place.
    async fn adopt(&mut self, machine: &Machine) -> Result<bool> {
        let there = node_of(self.run.spec.owner.clone(), machine);
        let mut wanted = self.run.spec.clone();
        wanted.size = wanted.size.map(|_| self.run.plan.size.clone());
        wanted.require_same(&there)?;
        tracing::debug!(node = self.node.as_str(), id = machine.id, "found the node's machine");
        match status(&machine.state) {
            NodeStatus::Failed => {
                // CloudStack neither starts nor mends such a machine.
                self.run.note_id(&self.node, &machine.id);
                self.run.provisioner.destroy_machine(&self.ctx, &machine.id).await?;
                self.next_attempt().await?;
                Ok(false)
            }
            NodeStatus::Stopped if self.run.plan.start => {
                self.start_half_made(machine).await?;
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    /// Starts a stopped machine unless it was up before: then somebody wanted
    /// it stopped.
    async fn start_half_made(&mut self, machine: &Machine) -> Result<()> {
        use crate::client::JobStatus;

        let made = self.job_of(machine).await?;
        let is_half_made = match made.as_ref().map(|job| &job.status) {
            Some(JobStatus::Failed(_)) => true,
            Some(JobStatus::Pending) => false,
            Some(JobStatus::Succeeded(_)) => {
                self.is_stopped_on_purpose = true;
                false
            }
            // CloudStack does not know it, or not any more. A deploy that was
            // written down and not crossed out did not end.
            None => {
                self.is_stopped_on_purpose = self.intent.is_none();
                self.intent.is_some()
            }
        };
        if is_half_made {
            let started = self.client().start_machine(&self.ctx, &machine.id).await?;
            self.job = Some(started.job);
        }
        Ok(())
    }

    /// Hands the machine's password over, if it has one and somebody asked.
    async fn hand_over_password(&mut self, node: &Node, machine: &Machine) -> Result<()> {
        if !(self.run.plan.password_enabled || machine.password_enabled) {
            return Ok(());
        }
        let Some(passwords) = self.run.provisioner.passwords.clone() else {
            self.run.tell_of_passwords(&self.ctx);
            return Ok(());
        };
        match self.password(machine).await? {
            Some(password) => {
                take_password(&self.ctx, passwords, node, password).await.map_err(|error| {
                    let message =
                        format!("the node '{}' runs, but its password was not taken", node.name);
                    Error::new(error.kind(), message)
                        .in_backend(BACKEND)
                        .hint("deploy again with the same request to have it once more")
                        .caused_by(error)
                })
            }
            None => {
                let text = format!(
                    "CloudStack does not tell the password of '{}' any more; \
                     resetPasswordForVirtualMachine makes a new one",
                    node.name
                );
                self.ctx.message(flock_core::progress::Level::Warning, text);
                Ok(())
            }
        }
    }

    /// The error for a name that something else has.
    fn taken(&self, machine: &Machine, why: &str) -> Error {
        let name = self.node.as_str();
        Error::new(ErrorKind::AlreadyExists, format!("there is a node '{name}' already: {why}"))
            .in_backend(BACKEND)
            .with("id", &machine.id)
            .with("host_name", &machine.name)
            .hint("choose another name, or destroy it")
    }

    /// Says what can be done about a machine that is there but not up.
    fn advise(&self, error: Error) -> Error {
        let error = match &self.job {
            Some(job) => error.with("job", job.as_str()),
            None => error,
        };
        error.hint("deploy again with the same request to finish it, or destroy the node")
    }
}

/// Calls the sink where it may block.
async fn take_password(
    ctx: &Context,
    sink: PasswordSink,
    node: &Node,
    password: Secret,
) -> Result<()> {
    let node = node.clone();
    blocking::run(ctx, move |_| sink(&node, password)).await
}

//! Starting, stopping, restarting and destroying machines.
//!
//! All of it goes by the machine's state: it is asked for, and the machine is
//! looked at again. So a lost reply costs one more look, and nothing is asked
//! for that is so already.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flock_core::provisioner::{Node, NodeStatus, StopOptions};
use flock_core::{Context, Error, ErrorKind, Owner, Result};

use super::CloudStackProvisioner;
use super::node::{node, status};
use super::watch::is_unknown;
use crate::api::{Machine, Volume};
use crate::client::{JobId, Parameters, Started};
use crate::error::{BACKEND, is_outcome_unknown};

/// How often a change is asked for whose answer got lost.
const MAX_TRIES: u32 = 4;

impl CloudStackProvisioner {
    /// Our machine of that id.
    pub(super) async fn ours(&self, ctx: &Context, id: &str) -> Result<(Machine, Node)> {
        let machine = self.client.machine(ctx, id).await?;
        match node(self.namespace(), &machine) {
            Some(node) => Ok((machine, node)),
            None => self.stray(ctx, id).await?.ok_or_else(|| no_such_node(id)),
        }
    }

    pub(super) async fn start_node(&self, ctx: &Context, id: &str) -> Result<Node> {
        for _ in 0..MAX_TRIES {
            let (machine, node) = self.ours(ctx, id).await?;
            match node.status {
                NodeStatus::Running => return Ok(node),
                NodeStatus::Stopped => {
                    let started = self.client.start_machine(ctx, id).await;
                    self.await_change(ctx, started).await?;
                }
                NodeStatus::Starting | NodeStatus::Stopping => self.pass(ctx, &machine).await?,
                _ => return Err(not_now(&machine, "started")),
            }
        }
        Err(unsettled(id))
    }

    pub(super) async fn stop_node(
        &self,
        ctx: &Context,
        id: &str,
        options: &StopOptions,
    ) -> Result<Node> {
        self.ours(ctx, id).await?;
        self.halt(ctx, id, options.grace).await?;
        self.ours(ctx, id).await.map(|(_, node)| node)
    }

    /// Stops a machine: asks it to shut down, and cuts its power if it has not
    /// within `grace`.
    async fn halt(&self, ctx: &Context, id: &str, grace: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut grace = grace;
        for _ in 0..MAX_TRIES {
            let machine = self.client.machine(ctx, id).await?;
            let left = grace.saturating_sub(begun.elapsed());
            match status(&machine.state) {
                NodeStatus::Stopped => return Ok(()),
                NodeStatus::Starting => self.pass(ctx, &machine).await?,
                NodeStatus::Running | NodeStatus::Stopping if left.is_zero() => {
                    let forced = self.client.stop_machine(ctx, id, true).await;
                    self.await_change(ctx, forced).await?;
                }
                NodeStatus::Running | NodeStatus::Stopping => {
                    let gentle = self.shut_down(&ctx.clone().with_timeout(left), &machine).await;
                    ctx.check()?;
                    if let Err(error) = gentle {
                        tracing::debug!(%error, id, "the machine does not shut down by itself");
                        grace = Duration::ZERO;
                    }
                }
                _ => return Err(not_now(&machine, "stopped")),
            }
        }
        Err(unsettled(id))
    }

    /// Asks a machine to shut down, unless it is about to, and waits for it.
    async fn shut_down(&self, ctx: &Context, machine: &Machine) -> Result<()> {
        if status(&machine.state) == NodeStatus::Stopping {
            return self.pass(ctx, machine).await;
        }
        let asked = self.client.stop_machine(ctx, &machine.id, false).await;
        self.await_change(ctx, asked).await
    }

    pub(super) async fn reboot_node(&self, ctx: &Context, id: &str) -> Result<Node> {
        let (machine, found) = self.ours(ctx, id).await?;
        if found.status != NodeStatus::Running {
            return Err(not_now(&machine, "restarted"));
        }
        let started = self.client.reboot_machine(ctx, id).await?;
        self.client.wait(ctx, &started.job).await?;
        self.ours(ctx, id).await.map(|(_, node)| node)
    }

    pub(super) async fn destroy_node(&self, ctx: &Context, id: &str) -> Result<()> {
        let (machine, node) = self.ours(ctx, id).await?;
        if let Err(error) = self.destroy_machine(ctx, id).await {
            // Somebody else may have destroyed it meanwhile.
            if !self.is_gone(ctx, id).await? {
                return Err(error);
            }
        }
        if machine.tags.contains_key(Owner::NAMESPACE) {
            return Ok(());
        }
        self.forget(ctx, &node).await
    }

    /// Destroys a machine, whatever its tags. Data disks are detached first,
    /// from the stopped machine, so that nothing is lost that it had not
    /// written yet.
    pub(super) async fn destroy_machine(&self, ctx: &Context, id: &str) -> Result<()> {
        self.detach_disks(ctx, id).await?;
        let mut expunge = self.expunge && !self.may_not_expunge.load(Ordering::Relaxed);
        for _ in 0..MAX_TRIES {
            let asked = self.client.destroy_machine(ctx, id, expunge).await;
            let destroyed = self.await_change(ctx, asked).await;
            if self.is_gone(ctx, id).await? {
                return Ok(());
            }
            match destroyed {
                Ok(()) => {}
                Err(error) if expunge && is_refusal(&error) => {
                    // Not every account may expunge. The machine is destroyed
                    // all the same, and CloudStack expunges it later.
                    expunge = false;
                    self.may_not_expunge.store(true, Ordering::Relaxed);
                }
                Err(error) if expunge && error.kind() == ErrorKind::Unexpected => expunge = false,
                Err(error) => return Err(error),
            }
        }
        Err(unsettled(id))
    }

    async fn is_gone(&self, ctx: &Context, id: &str) -> Result<bool> {
        match self.client.machine(ctx, id).await {
            Ok(machine) => Ok(machine.is_gone()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Detaches the machine's data disks. They stay.
    async fn detach_disks(&self, ctx: &Context, id: &str) -> Result<()> {
        let disks = self.disks(ctx, id).await?;
        if disks.is_empty() {
            return Ok(());
        }
        let machine = self.client.machine(ctx, id).await?;
        if !matches!(status(&machine.state), NodeStatus::Stopped | NodeStatus::Failed) {
            self.halt(ctx, id, StopOptions::default().grace).await?;
        }
        for disk in disks {
            match self.client.detach_volume(ctx, &disk.id).await {
                Ok(_) => {}
                // It may be detached: by somebody else, or by the call whose
                // answer got lost.
                Err(error) if is_unknown(&error) || is_outcome_unknown(&error) => {
                    tracing::debug!(%error, volume = disk.id, "whether it is detached will show");
                }
                Err(error) => return Err(error.with("volume", disk.id)),
            }
        }
        match self.disks(ctx, id).await?.first() {
            None => Ok(()),
            Some(disk) => {
                let message = format!("the data disk '{}' cannot be detached", disk.name);
                Err(Error::new(ErrorKind::Conflict, message)
                    .retryable()
                    .in_backend(BACKEND)
                    .with("node", id)
                    .with("volume", &disk.id))
            }
        }
    }

    async fn disks(&self, ctx: &Context, id: &str) -> Result<Vec<Volume>> {
        let asked = Parameters::new().with("virtualmachineid", id).with("type", "DATADISK");
        self.client.volumes(ctx, &asked).await
    }

    /// Waits for what a change began. A lost answer is no error: the next look
    /// shows what became of it.
    async fn await_change(&self, ctx: &Context, begun: Result<Started>) -> Result<()> {
        match begun {
            Ok(started) => self.client.wait(ctx, &started.job).await.map(drop),
            Err(error) if is_outcome_unknown(&error) => {
                tracing::debug!(%error, "whether it was begun will show");
                ctx.sleep(self.polling.shortest).await
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for what works on the machine now.
    async fn pass(&self, ctx: &Context, machine: &Machine) -> Result<()> {
        let limited = ctx.clone().with_timeout(self.client.config().job_timeout);
        if let Some(job) = &machine.job_id {
            match self.client.wait(&limited, &JobId::new(job)).await {
                // What it failed with is its caller's concern.
                Err(error) if limited.check().is_err() => return Err(error),
                _ => return Ok(()),
            }
        }
        let mut pause = self.polling.shortest;
        loop {
            limited.sleep(pause).await?;
            let now = self.client.machine(&limited, &machine.id).await?;
            if now.state != machine.state || now.job_id.is_some() {
                return Ok(());
            }
            pause = (pause * 2).min(self.polling.longest);
        }
    }
}

/// Whether a machine was not expunged because the account may not. The job
/// says so as an internal error, of which users are told no more than that.
fn is_refusal(error: &Error) -> bool {
    let text = error.to_string();
    error.kind() == ErrorKind::PermissionDenied
        || error.kind() == ErrorKind::Unexpected
            && ["expunge", "contact your system administrator"]
                .iter()
                .any(|part| text.contains(part))
}

fn no_such_node(id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no node '{id}'"))
        .in_backend(BACKEND)
        .with("node", id)
}

fn not_now(machine: &Machine, what: &str) -> Error {
    let message = format!("the node is in state {} and cannot be {what}", machine.state);
    Error::new(ErrorKind::Conflict, message).in_backend(BACKEND).with("node", &machine.id)
}

fn unsettled(id: &str) -> Error {
    let message = "the node did not come into the state that was asked for";
    Error::new(ErrorKind::Conflict, message).retryable().in_backend(BACKEND).with("node", id)
}

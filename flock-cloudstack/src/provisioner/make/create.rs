//! Sending a deploy, once.

use flock_core::{Error, ErrorKind, Result};

use super::Making;
use crate::api::Machine;
use crate::client::Started;
use crate::error::{BACKEND, is_outcome_unknown, not_protocol};
use crate::provisioner::journal::Intent;
use crate::provisioner::names::VARIANTS;

/// How often a deploy is sent that got lost without an effect.
const MAX_SENDS: u32 = 5;

impl Making {
    /// Begins a machine: its id, and the machine where it turned out to be
    /// there. A second deploy is sent only once the first one certainly had no
    /// effect.
    pub(super) async fn create(&mut self) -> Result<(String, Option<Machine>)> {
        let mut sends = 0;
        loop {
            let found = match self.send().await {
                Ok(started) => return Ok((self.note(started).await?, None)),
                Err(error) if is_outcome_unknown(&error) => {
                    sends += 1;
                    let patience = self.run.provisioner.settle_time;
                    match self.search(patience, true).await {
                        Ok(None) if sends >= MAX_SENDS => return Err(lost(error)),
                        Ok(found) => found,
                        Err(_) => return Err(lost(error)),
                    }
                }
                Err(error) if may_have_left_something(&error) => self.after_refusal(error).await?,
                Err(error) => return Err(error),
            };
            if let Some(machine) = found
                && self.adopt(&machine).await?
            {
                return Ok((machine.id.clone(), Some(machine)));
            }
        }
    }

    /// Writes down that a deploy is about to be sent, and sends it.
    async fn send(&mut self) -> Result<Started> {
        let host = self.node.host(self.variant);
        let intent = Intent::new(host.clone(), self.attempt);
        self.run.journal.note(&self.ctx, self.node.as_str(), &intent).await?;
        self.intent = Some(intent);
        let job = self.node.job(&self.run.spec.owner, self.attempt);
        let asked = self
            .run
            .plan
            .parameters
            .clone()
            .with("name", host)
            .with("displayname", self.node.as_str())
            .with("customjobid", job.as_str());
        self.client().deploy_machine(&self.ctx, &asked).await
    }

    /// Keeps what the answer to a deploy says: the machine's id above all.
    async fn note(&mut self, started: Started) -> Result<String> {
        let Some(id) = started.id else {
            return Err(not_protocol("deployVirtualMachine", "the reply names no machine"));
        };
        self.run.note_id(&self.node, &id);
        if let Some(intent) = &mut self.intent {
            intent.id = Some(id.clone());
            intent.job = Some(started.job.as_str().to_owned());
            // Without it the job and the tags tell the same.
            let noted = self.run.journal.note(&self.ctx, self.node.as_str(), intent).await;
            if let Err(error) = noted {
                tracing::warn!(%error, id, "cannot write a machine's id down");
            }
        }
        self.job = Some(started.job);
        Ok(id)
    }

    /// Finds out why a deploy was refused that may have left something, or
    /// met something that is there: the host name or the job's id. Gives the
    /// machine if it is the node's; without one, another deploy may be sent.
    async fn after_refusal(&mut self, refused: Error) -> Result<Option<Machine>> {
        let before = self.attempt;
        if let Some(machine) = self.by_job().await? {
            return Ok(Some(machine));
        }
        let found = self.look().await?;
        if let Some(other) = &found.other {
            return Err(self.taken(other, "another request made it").caused_by(refused));
        }
        if found.ours.is_some() {
            return Ok(found.ours);
        }
        let is_used_up = self.attempt > before;
        if is_used_up || refused.kind() == ErrorKind::Unexpected {
            // CloudStack makes the machine before it looks at the job's id, or
            // fails, and leaves it behind (`ApiServer.processAsyncCmd` of 4.22).
            // There was none of that name a moment ago.
            let left = found.untagged.into_iter().find(|machine| self.resembles(machine));
            return if left.is_some() || is_used_up { Ok(left) } else { Err(refused) };
        }
        if let Some(stranger) = found.untagged.first() {
            // Another process may be between the machine and its job.
            let patience = self.run.provisioner.settle_time;
            let found = self.search(patience, false).await?;
            let stranger = || self.taken(stranger, "it has no tags of flock").caused_by(refused);
            return found.map(Some).ok_or_else(stranger);
        }
        // The name belongs to another node, to a machine that is destroyed but
        // not expunged, or to one that the account does not see.
        self.variant += 1;
        if self.variant < VARIANTS { Ok(None) } else { Err(refused) }
    }
}

/// Whether a deploy that was refused so may have made something, or was
/// refused for something that is there.
fn may_have_left_something(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Unexpected)
}

/// The error of a deploy of which nobody knows what became.
fn lost(error: Error) -> Error {
    let message = "whether the node was begun cannot be told now";
    Error::new(ErrorKind::Unavailable, message)
        .in_backend(BACKEND)
        .hint("deploy again with the same request: it looks before it makes anything")
        .caused_by(error)
}

//! Machines that a run which was killed has left without tags: only the state
//! store knows whose they are.

use flock_core::provisioner::{Node, NodeStatus};
use flock_core::{Context, ErrorKind, ListFilter, Owner, Result};
use serde_json::Value;

use super::CloudStackProvisioner;
use super::journal::{self, Intent};
use super::names::NodeName;
use super::node::node_of;
use super::watch::is_unknown;
use crate::api::Machine;
use crate::client::JobStatus;

/// A machine without tags, and what it was to be.
struct Stray {
    owner: Owner,
    name: String,
    machine: Machine,
}

impl Stray {
    fn node(&self) -> Node {
        let mut node = node_of(self.owner.clone(), &self.machine);
        node.name.clone_from(&self.name);
        if node.status != NodeStatus::Starting {
            // Whatever the machine does, the deploy has not come to its end.
            node.status = NodeStatus::Failed;
        }
        node
    }
}

impl CloudStackProvisioner {
    /// The nodes of the filter whose machines have no tags; `listed` are those
    /// whose machines have.
    pub(super) async fn strays(
        &self,
        ctx: &Context,
        filter: &ListFilter,
        listed: &[Node],
    ) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        for (owner, name, intent) in self.intents(ctx).await? {
            let is_listed = |id: &String| listed.iter().any(|node| node.id.as_str() == id);
            if !filter.matches(&owner) || intent.id.as_ref().is_some_and(is_listed) {
                continue;
            }
            if let Some(machine) = self.untagged(ctx, &owner, &name, &intent).await? {
                nodes.push(Stray { owner, name, machine }.node());
            }
        }
        Ok(nodes)
    }

    /// The node whose machine has this id and no tags.
    pub(super) async fn stray(&self, ctx: &Context, id: &str) -> Result<Option<(Machine, Node)>> {
        for (owner, name, intent) in self.intents(ctx).await? {
            if intent.id.as_deref().is_some_and(|known| known != id) {
                continue;
            }
            match self.untagged(ctx, &owner, &name, &intent).await? {
                Some(machine) if machine.id == id => {
                    let stray = Stray { owner, name, machine };
                    return Ok(Some((stray.machine.clone(), stray.node())));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Forgets a node's deploy once its machine is gone.
    pub(super) async fn forget(&self, ctx: &Context, node: &Node) -> Result<()> {
        match &self.state {
            Some(store) => journal::forget(&**store, ctx, &node.owner, &node.name).await,
            None => Ok(()),
        }
    }

    async fn intents(&self, ctx: &Context) -> Result<Vec<(Owner, String, Intent)>> {
        match &self.state {
            Some(store) => journal::all(&**store, ctx, self.namespace()).await,
            None => Ok(Vec::new()),
        }
    }

    /// The machine that came of an intent, if it is there and has no tags.
    async fn untagged(
        &self,
        ctx: &Context,
        owner: &Owner,
        name: &str,
        intent: &Intent,
    ) -> Result<Option<Machine>> {
        let id = match &intent.id {
            Some(id) => Some(id.clone()),
            None => {
                let job = NodeName::new(owner, name).job(owner, intent.attempt);
                match self.client.job(ctx, &job).await {
                    Ok(job) => job.instance.clone().or_else(|| made(&job.status)),
                    Err(error) if is_unknown(&error) => None,
                    Err(error) => return Err(error),
                }
            }
        };
        let Some(id) = id else { return Ok(None) };
        match self.client.machine(ctx, &id).await {
            Ok(machine) if machine.is_gone() || machine.tags.contains_key(Owner::NAMESPACE) => {
                Ok(None)
            }
            Ok(machine) => Ok(Some(machine)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The machine in the result of a deploy.
fn made(status: &JobStatus) -> Option<String> {
    let JobStatus::Succeeded(result) = status else { return None };
    result.pointer("/virtualmachine/id").and_then(Value::as_str).map(str::to_owned)
}

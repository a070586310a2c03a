//! A dry run of a provisioner.

use async_trait::async_trait;

use super::{DryRun, conflict, missing, taken};
use crate::provisioner::{
    DeploySpec, Deployment, MountSource, Node, NodeOutcome, NodeStatus, Provisioner,
    ProvisionerCapabilities, StopOptions,
};
use crate::{Context, Health, ListFilter, NodeId, Operation, Result};

#[async_trait]
impl<T: Provisioner> Provisioner for DryRun<T> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> ProvisionerCapabilities {
        self.inner.capabilities()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        self.inner.check(ctx).await
    }

    async fn deploy(&self, ctx: &Context, spec: &DeploySpec) -> Result<Deployment> {
        ctx.check()?;
        spec.validate(&self.inner.capabilities())?;
        let there = Provisioner::list(self, ctx, &ListFilter::app(&spec.owner.app)).await?;
        let outcome = |name: &String| {
            let found = there.iter().find(|node| node.name == *name);
            match self.plan_node(spec, name, found) {
                Ok(node) => NodeOutcome::ready(node),
                Err(error) => NodeOutcome::failed(name, None, error),
            }
        };
        Ok(Deployment::new(spec.names.iter().map(outcome).collect()))
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Node>> {
        let listed = self.inner.list(ctx, filter).await?;
        let wanted = |node: &Node| filter.matches(&node.owner);
        let mut nodes = self.plan.lock().nodes.apply(listed, |node| &node.id, wanted);
        nodes.sort_by(|a, b| (&a.name, &a.owner.app).cmp(&(&b.name, &b.owner.app)));
        Ok(nodes)
    }

    async fn get(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        ctx.check()?;
        let planned = self.plan.lock().nodes.find(node);
        match planned {
            Some(Some(node)) => Ok(node),
            Some(None) => Err(missing("node", node.as_str())),
            None => self.inner.get(ctx, node).await,
        }
    }

    async fn start(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        self.turn(ctx, node, NodeStatus::Stopped, NodeStatus::Running).await
    }

    async fn stop(&self, ctx: &Context, node: &NodeId, _options: &StopOptions) -> Result<Node> {
        self.turn(ctx, node, NodeStatus::Running, NodeStatus::Stopped).await
    }

    async fn destroy(&self, ctx: &Context, node: &NodeId) -> Result<()> {
        let found = Provisioner::get(self, ctx, node).await?;
        let mut plan = self.plan.lock();
        let summary = format!("destroy node '{}'", found.name);
        plan.step(Operation::NodeDestroy, node.as_str(), summary);
        plan.nodes.remove(node.clone());
        Ok(())
    }
}

impl<T: Provisioner> DryRun<T> {
    /// The node as it would be; `found` is the one of that name now.
    fn plan_node(&self, spec: &DeploySpec, name: &str, found: Option<&Node>) -> Result<Node> {
        let mut plan = self.plan.lock();
        if let Some(found) = found {
            if found.owner != spec.owner {
                return Err(taken("node", name, found.id.as_str()));
            }
            spec.require_same(found)?;
            if !matches!(found.status, NodeStatus::Starting | NodeStatus::Failed) {
                return Ok(found.clone());
            }
            plan.step(Operation::NodeCreate, name, format!("finish node '{name}'"));
            let node = Node { status: NodeStatus::Running, ..found.clone() };
            plan.nodes.put(node.id.clone(), node.clone());
            return Ok(node);
        }
        if plan.images.is_gone(&spec.image) {
            return Err(missing("image", spec.image.as_str()));
        }
        for mount in &spec.mounts {
            if let MountSource::Volume(volume) = &mount.source
                && plan.volumes.is_gone(volume)
            {
                return Err(missing("volume", volume.as_str()));
            }
        }
        let summary = format!("make node '{name}' from image '{}'", spec.image);
        plan.step(Operation::NodeCreate, name, summary);
        let mut node = Node::new(plan.id("node"), name, spec.owner.clone(), NodeStatus::Running);
        node.image = Some(spec.image.clone());
        node.size = spec.size.clone();
        node.ports = spec.ports.clone();
        plan.nodes.put(node.id.clone(), node.clone());
        Ok(node)
    }

    async fn turn(
        &self,
        ctx: &Context,
        id: &NodeId,
        from: NodeStatus,
        to: NodeStatus,
    ) -> Result<Node> {
        self.inner.capabilities().require_stop_start()?;
        let found = Provisioner::get(self, ctx, id).await?;
        if found.status == to {
            return Ok(found);
        }
        if found.status != from {
            return Err(conflict(format!("node '{id}' is {}", found.status)));
        }
        let (operation, verb) = match to {
            NodeStatus::Running => (Operation::NodeStart, "start"),
            _ => (Operation::NodeStop, "stop"),
        };
        let mut plan = self.plan.lock();
        plan.step(operation, id.as_str(), format!("{verb} node '{}'", found.name));
        let node = Node { status: to, ..found };
        plan.nodes.put(id.clone(), node.clone());
        Ok(node)
    }
}

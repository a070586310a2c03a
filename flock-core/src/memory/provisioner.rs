//! Nodes in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::MemoryBackend;
use super::faults::Fate;
use super::world::{NodeRecord, Phase, State, taken};
use crate::backend::check_options;
use crate::image_builder::ImageStatus;
use crate::progress::Level;
use crate::provisioner::{
    DeploySpec, Deployment, Mount, MountSource, Node, NodeOutcome, NodeStatus, Provisioner,
    ProvisionerCapabilities, StopOptions,
};
use crate::volume_driver::Attachment;
use crate::{Context, Error, ErrorKind, Health, ListFilter, NodeId, Operation, Result};

#[async_trait]
impl Provisioner for MemoryBackend {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> ProvisionerCapabilities {
        self.settings.nodes.clone()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        self.call(ctx, Operation::NodeCheck, "", async |_| self.health()).await
    }

    async fn deploy(&self, ctx: &Context, spec: &DeploySpec) -> Result<Deployment> {
        self.call(ctx, Operation::NodeDeploy, spec.names.join(","), async |fate: Fate| {
            self.validate_deploy(spec)?;
            fate.pass()?;
            self.require_image(spec)?;
            let mut outcomes = Vec::with_capacity(spec.names.len());
            for name in &spec.names {
                outcomes.push(self.deploy_node(ctx, spec, name).await);
            }
            Ok(Deployment::new(outcomes))
        })
        .await
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Node>> {
        self.call(ctx, Operation::NodeList, "", async |_| self.list_nodes(ctx, filter)).await
    }

    async fn get(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        self.call(ctx, Operation::NodeGet, node.as_str(), async |_| self.node_view(node)).await
    }

    async fn start(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        use NodeStatus::{Running, Starting, Stopped};
        self.call(ctx, Operation::NodeStart, node.as_str(), async |fate: Fate| {
            self.settings.nodes.require_stop_start()?;
            fate.pass()?;
            self.turn(ctx, node, [Stopped, Starting, Running], Duration::ZERO).await
        })
        .await
    }

    async fn stop(&self, ctx: &Context, node: &NodeId, options: &StopOptions) -> Result<Node> {
        use NodeStatus::{Running, Stopped, Stopping};
        self.call(ctx, Operation::NodeStop, node.as_str(), async |fate: Fate| {
            self.settings.nodes.require_stop_start()?;
            fate.pass()?;
            let takes = self.settings.shutdown_time.min(options.grace);
            self.turn(ctx, node, [Running, Stopping, Stopped], takes).await
        })
        .await
    }

    async fn destroy(&self, ctx: &Context, node: &NodeId) -> Result<()> {
        self.call(ctx, Operation::NodeDestroy, node.as_str(), async |fate: Fate| {
            self.node_view(node)?;
            let mut state = self.world.lock();
            if let Err(error) = fate.pass() {
                let record = state.node(self.namespace(), node)?;
                record.phase = Phase::settled(NodeStatus::Failed);
                return Err(error);
            }
            state.nodes.remove(node);
            for record in state.volumes.values_mut() {
                record.volume.attachments.retain(|attachment| attachment.node != *node);
            }
            Ok(())
        })
        .await
    }
}

impl MemoryBackend {
    fn validate_deploy(&self, spec: &DeploySpec) -> Result<()> {
        spec.validate(&self.settings.nodes)?;
        check_options(&spec.options, &[])?;
        spec.owner.require_namespace(self.namespace())?;
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
        let unknown = |name: &&String| !Self::NETWORKS.contains(&name.as_str());
        if let Some(network) = spec.networks.iter().find(unknown) {
            return invalid(format!("the memory backend has no network '{network}'"));
        }
        match &spec.size {
            Some(size) if !Self::SIZES.contains(&size.as_str()) => {
                invalid(format!("the memory backend has no size '{size}'"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a spec whose image cannot be deployed, unless all its nodes are
    /// there already.
    fn require_image(&self, spec: &DeploySpec) -> Result<()> {
        let mut state = self.world.lock();
        if spec.names.iter().all(|name| node_named(&mut state, spec, name).is_some()) {
            return Ok(());
        }
        let image = state.image(self.namespace(), &spec.image)?.view();
        if image.status == ImageStatus::Ready {
            return Ok(());
        }
        let message = format!("image '{}' is not ready", image.id);
        Err(Error::new(ErrorKind::Conflict, message).with("image", image.id.as_str()))
    }

    async fn deploy_node(&self, ctx: &Context, spec: &DeploySpec, name: &str) -> NodeOutcome {
        let mut id = None;
        let made = self.call(ctx, Operation::NodeCreate, name, async |fate: Fate| {
            let (placed, running_at) = self.place_node(spec, name, fate)?;
            if fate == Fate::ReplyLost {
                return self.settle(ctx, running_at).await.and_then(|()| self.node_view(&placed));
            }
            id = Some(placed.clone());
            fate.pass()?;
            self.settle(ctx, running_at).await?;
            self.node_view(&placed)
        });
        match made.await {
            Ok(node) => NodeOutcome::ready(node),
            Err(error) => NodeOutcome::failed(name, id, error),
        }
    }

    /// Finds the node that this request has made, or makes it; answers when it
    /// will be running.
    fn place_node(&self, spec: &DeploySpec, name: &str, fate: Fate) -> Result<(NodeId, Instant)> {
        let phase = match fate {
            Fate::HalfWay => Phase::settled(NodeStatus::Failed),
            _ => Phase::towards(NodeStatus::Starting, self.ready_at(), NodeStatus::Running),
        };
        let mut state = self.world.lock();
        if let Some(record) = node_named(&mut state, spec, name) {
            if record.node.owner != spec.owner {
                return Err(taken("node", name, record.node.id.as_str()));
            }
            spec.require_same(&record.node)?;
            if record.phase.current() == NodeStatus::Failed {
                record.phase = phase;
            }
            return Ok((record.node.id.clone(), record.phase.settles_at()));
        }
        let node = self.new_node(&mut state, spec, name)?;
        let id = node.id.clone();
        mount_volumes(&mut state, &id, &spec.mounts);
        state.nodes.insert(id.clone(), NodeRecord { node, phase });
        Ok((id, phase.settles_at()))
    }

    fn new_node(&self, state: &mut State, spec: &DeploySpec, name: &str) -> Result<Node> {
        self.check_mounts(state, spec)?;
        let number = state.number();
        let host = self.host_for(state, number)?;
        let id = format!("node-{number}");
        let mut node = Node::new(id, name, spec.owner.clone(), NodeStatus::Starting);
        node.image = Some(spec.image.clone());
        node.size = Some(spec.size.clone().unwrap_or_else(|| Self::SIZES[0].to_owned()));
        node.host = Some(host);
        let [.., high, low] = number.to_be_bytes();
        node.addresses = vec![IpAddr::V4(Ipv4Addr::new(10, 0, high, low))];
        node.ports = spec.ports.clone();
        for port in node.ports.iter_mut().filter(|port| port.host.is_none()) {
            // From the range that is kept for such ports.
            let free = 49152 + state.number() % 16384;
            port.host = u16::try_from(free).ok();
        }
        Ok(node)
    }

    /// The next host in turn that is up.
    fn host_for(&self, state: &State, number: u64) -> Result<String> {
        let hosts = &self.settings.hosts;
        let up: Vec<_> = hosts.iter().filter(|host| !state.hosts_down.contains(*host)).collect();
        let turn = usize::try_from(number).unwrap_or_default() % up.len().max(1);
        let host = up.get(turn).map(|host| (*host).clone());
        host.ok_or_else(|| Error::new(ErrorKind::Unavailable, "every host is down"))
    }

    /// Whether the volumes are there and free.
    fn check_mounts(&self, state: &mut State, spec: &DeploySpec) -> Result<()> {
        for mount in &spec.mounts {
            let MountSource::Volume(id) = &mount.source else { continue };
            let attached = !state.volume(self.namespace(), id)?.volume.attachments.is_empty();
            if attached && !self.settings.volumes.attach_many {
                let message = format!("volume '{id}' is attached to another node");
                return Err(Error::new(ErrorKind::Conflict, message).with("volume", id.as_str()));
            }
        }
        Ok(())
    }

    fn list_nodes(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Node>> {
        let state = self.world.lock();
        if let Some(host) = self.settings.hosts.iter().find(|host| state.hosts_down.contains(*host))
        {
            if !filter.partial {
                return Err(down(host));
            }
            ctx.message(Level::Warning, format!("host '{host}' is down: its nodes are left out"));
        }
        let all = state.nodes.values().map(NodeRecord::view);
        let mut nodes: Vec<_> = all
            .filter(|node| node.owner.namespace == self.namespace() && filter.matches(&node.owner))
            .filter(|node| node.host.as_ref().is_none_or(|host| !state.hosts_down.contains(host)))
            .collect();
        nodes.sort_by(|a, b| (&a.name, &a.owner.app).cmp(&(&b.name, &b.owner.app)));
        Ok(nodes)
    }

    /// The node as it is now, unless its host is down.
    fn node_view(&self, id: &NodeId) -> Result<Node> {
        let mut state = self.world.lock();
        let node = state.node(self.namespace(), id)?.view();
        match &node.host {
            Some(host) if state.hosts_down.contains(host) => Err(down(host)),
            _ => Ok(node),
        }
    }

    /// Brings a node from one lasting status over another to a third, which
    /// takes this much longer than anything does.
    async fn turn(
        &self,
        ctx: &Context,
        id: &NodeId,
        [from, via, to]: [NodeStatus; 3],
        takes: Duration,
    ) -> Result<Node> {
        self.node_view(id)?;
        let done_at = {
            let mut state = self.world.lock();
            let record = state.node(self.namespace(), id)?;
            let now = record.phase.current();
            if now == from {
                record.phase = Phase::towards(via, self.ready_at() + takes, to);
            } else if now != to && now != via {
                let message = format!("node '{id}' is {now}");
                return Err(Error::new(ErrorKind::Conflict, message).with("node", id.as_str()));
            }
            record.phase.settles_at()
        };
        self.settle(ctx, done_at).await?;
        self.node_view(id)
    }
}

/// The node of that name in the application of the spec.
fn node_named<'a>(
    state: &'a mut State,
    spec: &DeploySpec,
    name: &str,
) -> Option<&'a mut NodeRecord> {
    let wanted = &spec.owner;
    state.nodes.values_mut().find(|record| {
        let node = &record.node;
        node.name == name
            && (&node.owner.namespace, &node.owner.app) == (&wanted.namespace, &wanted.app)
    })
}

fn mount_volumes(state: &mut State, node: &NodeId, mounts: &[Mount]) {
    for mount in mounts {
        let MountSource::Volume(id) = &mount.source else { continue };
        let Some(record) = state.volumes.get_mut(id) else { continue };
        let mut attachment = Attachment::new(node.clone());
        attachment.path = Some(mount.target.clone());
        attachment.read_only = mount.read_only;
        record.volume.attachments.push(attachment);
    }
}

fn down(host: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("host '{host}' does not answer"))
        .with("endpoint", host)
}

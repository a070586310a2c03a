//! Nodes: virtual machines and containers, made from images.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Error, ErrorKind, Health, ImageId, ListFilter, NodeId, Owner, Result, VolumeId,
};

/// Makes nodes from images and looks after them.
///
/// # The contract
///
/// The [conformance suite](crate::conformance) holds every backend and every
/// [layer](crate::layers) to this:
///
/// - Everything made carries its [`Owner`] tag. A backend works in one
///   namespace; nodes of another one, or without a tag, are
///   [`ErrorKind::NotFound`] by id and are never listed. A spec whose owner
///   names another namespace is [`ErrorKind::InvalidConfig`].
/// - [`deploy`](Provisioner::deploy) is idempotent by node name and owner tag,
///   so a caller that lost the reply calls again with the same spec. Two such
///   calls at once make one node; the later one answers with it, or with a
///   retryable [`ErrorKind::Conflict`].
/// - [`list`](Provisioner::list) is complete or fails: a list that lacked the
///   nodes of a host which did not answer would have them made twice. Who
///   wants the rest says so with [`ListFilter::partial`].
/// - A failed operation leaves what [`list`](Provisioner::list) shows and a
///   second call finishes or destroys.
/// - When the context ends, a method returns soon with
///   [`ErrorKind::Cancelled`] or [`ErrorKind::Timeout`]; what was begun may
///   have happened or happen still, and shows in `list`. A context that has
///   ended beforehand has no effect.
/// - What [`capabilities`](Provisioner::capabilities) excludes is refused
///   with [`ErrorKind::Unsupported`] before anything has an effect.
///
/// Dropping a returned future is safe in the same sense as ending the
/// context: nothing is lost, but nobody is told what became of it.
#[async_trait]
pub trait Provisioner: Send + Sync {
    /// The backend's name, for example `docker`.
    fn name(&self) -> &str;

    /// What this backend can do, known without asking a service.
    fn capabilities(&self) -> ProvisionerCapabilities;

    /// Whether the backend can be used: reachable, authorised, of a version
    /// that is supported. Has no side effects.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]; [`ErrorKind::Unauthenticated`];
    /// [`ErrorKind::PermissionDenied`]; [`ErrorKind::Unsupported`] for a
    /// version that is not.
    async fn check(&self, ctx: &Context) -> Result<Health>;

    /// Makes the nodes of `spec`, one for each name, and answers with the
    /// outcome of each, in the order of the names.
    ///
    /// A node that fails does not stop the others. When the context ends
    /// midway the answer still has every name: those not finished carry the
    /// context's error, and their id as soon as the backend gave one.
    ///
    /// A name is unique among the nodes of an application in its namespace:
    /// two applications may have a node of the same name, so a backend whose
    /// own names are shared by more than that puts both into them.
    ///
    /// Idempotent. Of a node that has the name already:
    ///
    /// - The same request made it: it is finished if it is half made, and
    ///   answered as it is. One that was finished and then stopped stays
    ///   stopped, as somebody wanted it so; a backend to which a node that was
    ///   never started looks the same keeps a mark of its own.
    /// - The same request made it from another image or in another size, as
    ///   far as the backend still knows: an outcome of
    ///   [`ErrorKind::Conflict`] that is not retryable. Deploy changes no
    ///   node. [`DeploySpec::require_same`] compares.
    /// - Another request made it: an outcome of [`ErrorKind::AlreadyExists`].
    ///
    /// # Errors
    /// For the whole call, before any effect: [`ErrorKind::InvalidConfig`],
    /// [`ErrorKind::Unsupported`], and those of [`check`](Provisioner::check).
    /// For one node, in its outcome: [`ErrorKind::NotFound`] for a missing
    /// image or volume, [`ErrorKind::QuotaExceeded`], and any other.
    async fn deploy(&self, ctx: &Context, spec: &DeploySpec) -> Result<Deployment>;

    /// Our nodes that match `filter`, sorted by name, and those of one name by
    /// application. Nodes still being made, and
    /// half-made ones, are among them. Nothing found is an empty list.
    ///
    /// # Errors
    /// Those of [`check`](Provisioner::check).
    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Node>>;

    /// One node.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn get(&self, ctx: &Context, node: &NodeId) -> Result<Node>;

    /// Starts a stopped node and waits until it runs. Idempotent: a running
    /// node is answered as it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] for a node in a state
    /// that cannot be started; [`ErrorKind::Unsupported`].
    async fn start(&self, ctx: &Context, node: &NodeId) -> Result<Node>;

    /// Asks a node to shut down, gives it [`StopOptions::grace`] for that,
    /// cuts its power if it has not by then, and waits until it has stopped.
    /// Idempotent: a stopped node is answered as it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`];
    /// [`ErrorKind::Unsupported`].
    async fn stop(&self, ctx: &Context, node: &NodeId, options: &StopOptions) -> Result<Node>;

    /// Destroys a node, running or not, and what belongs to it alone. Volumes
    /// attached to it are detached and stay.
    ///
    /// A node that is gone is [`ErrorKind::NotFound`], so that a typing error
    /// is told from a success; a caller that repeats a lost call takes it for
    /// one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`].
    async fn destroy(&self, ctx: &Context, node: &NodeId) -> Result<()>;
}

/// What a provisioner can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProvisionerCapabilities {
    /// Nodes can be stopped and started again.
    pub stop_start: bool,
    /// [`DeploySpec::size`] names a size that the backend knows.
    pub sizes: bool,
    /// [`DeploySpec::resources`] is honoured.
    pub resources: bool,
    /// [`DeploySpec::ports`] is honoured.
    pub ports: bool,
    /// [`DeploySpec::mounts`] is honoured.
    pub mounts: bool,
    /// [`DeploySpec::networks`] names networks that the backend knows.
    pub networks: bool,
    /// [`DeploySpec::env`] is honoured.
    pub env: bool,
    /// [`DeploySpec::user_data`] is honoured.
    pub user_data: bool,
    /// The most nodes one deploy may ask for; `None` for no bound.
    pub max_nodes: Option<u32>,
}

impl ProvisionerCapabilities {
    /// Fails unless nodes can be stopped and started.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`].
    pub fn require_stop_start(&self) -> Result<()> {
        if self.stop_start {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "nodes cannot be stopped or started here"))
    }
}

/// Nodes wanted: one for each name, alike in all else.
///
/// The environment and the user data may hold secrets: `Debug` shows neither,
/// only the variables' names. Serialised, the spec is complete, as it must be
/// to be read again, so what it was written to is as secret as they are.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeploySpec {
    /// The tag of every node.
    pub owner: Owner,
    /// The nodes' names: not empty, no name twice. Each is unique among the
    /// nodes of the owner's application.
    pub names: Vec<String>,
    /// What they are made from.
    pub image: ImageId,
    /// The backend's name for a size, for example a service offering.
    pub size: Option<String>,
    /// Bounds on what a node may use.
    pub resources: Resources,
    /// Ports of the node made reachable from outside.
    pub ports: Vec<PortMapping>,
    /// Volumes and directories mounted in the node.
    pub mounts: Vec<Mount>,
    /// The backend's names of networks to join; empty for its default.
    pub networks: Vec<String>,
    /// Environment of the main process.
    pub env: BTreeMap<String, String>,
    /// Handed to the node at its first start (cloud-init and the like).
    pub user_data: Option<String>,
    /// Options that only this backend has, by the names it documents. An
    /// unknown one is [`ErrorKind::InvalidConfig`].
    pub options: BTreeMap<String, serde_json::Value>,
}

impl DeploySpec {
    /// Nodes of these names from this image, with the backend's defaults.
    pub fn new(
        owner: Owner,
        image: impl Into<ImageId>,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            owner,
            names: names.into_iter().map(Into::into).collect(),
            image: image.into(),
            size: None,
            resources: Resources::default(),
            ports: Vec::new(),
            mounts: Vec::new(),
            networks: Vec::new(),
            env: BTreeMap::new(),
            user_data: None,
            options: BTreeMap::new(),
        }
    }

    /// Sets [`size`](Self::size).
    #[must_use]
    pub fn with_size(mut self, size: impl Into<String>) -> Self {
        self.size = Some(size.into());
        self
    }

    /// Sets [`resources`](Self::resources).
    #[must_use]
    pub fn with_resources(mut self, resources: Resources) -> Self {
        self.resources = resources;
        self
    }

    /// Adds one more of the [`ports`](Self::ports).
    #[must_use]
    pub fn with_port(mut self, port: PortMapping) -> Self {
        self.ports.push(port);
        self
    }

    /// Adds one more of the [`mounts`](Self::mounts).
    #[must_use]
    pub fn with_mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Adds one more of the [`networks`](Self::networks).
    #[must_use]
    pub fn with_network(mut self, network: impl Into<String>) -> Self {
        self.networks.push(network.into());
        self
    }

    /// Sets one variable of the [environment](Self::env).
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets [`user_data`](Self::user_data).
    #[must_use]
    pub fn with_user_data(mut self, user_data: impl Into<String>) -> Self {
        self.user_data = Some(user_data.into());
        self
    }

    /// Sets one of the [`options`](Self::options).
    #[must_use]
    pub fn with_option(
        mut self,
        name: impl Into<String>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Checks what can be checked without the backend: names there, not empty
    /// and unique, and nothing asked for that `capabilities` excludes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`]; [`ErrorKind::Unsupported`].
    pub fn validate(&self, capabilities: &ProvisionerCapabilities) -> Result<()> {
        self.validate_names(capabilities.max_nodes)?;
        let wanted = [
            (self.size.is_some(), capabilities.sizes, "named sizes"),
            (self.resources != Resources::default(), capabilities.resources, "resource bounds"),
            (!self.ports.is_empty(), capabilities.ports, "port mappings"),
            (!self.mounts.is_empty(), capabilities.mounts, "mounts"),
            (!self.networks.is_empty(), capabilities.networks, "named networks"),
            (!self.env.is_empty(), capabilities.env, "environment variables"),
            (self.user_data.is_some(), capabilities.user_data, "user data"),
        ];
        match wanted.into_iter().find(|(asked, able, _)| *asked && !able) {
            Some((_, _, what)) => {
                Err(Error::new(ErrorKind::Unsupported, format!("nodes cannot have {what} here")))
            }
            None => Ok(()),
        }
    }

    /// Checks that `node`, which the same request made, is one of this spec, as
    /// far as can be told: its image and its size, where both are known.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`], not retryable.
    pub fn require_same(&self, node: &Node) -> Result<()> {
        let differs = |what: &str, there: &str, wanted: &str| {
            let message = format!(
                "node '{}' was made by this request with {what} '{there}', not '{wanted}'",
                node.name
            );
            Err(Error::new(ErrorKind::Conflict, message)
                .permanent()
                .with("node", node.id.as_str())
                .hint("destroy it first, or deploy under another request"))
        };
        match (&node.image, &node.size, &self.size) {
            (Some(image), ..) if *image != self.image => {
                differs("image", image.as_str(), self.image.as_str())
            }
            (_, Some(there), Some(wanted)) if there != wanted => differs("size", there, wanted),
            _ => Ok(()),
        }
    }

    fn validate_names(&self, max_nodes: Option<u32>) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
        if self.names.is_empty() {
            return invalid("no node name given".to_owned());
        }
        let mut seen = std::collections::BTreeSet::new();
        for name in &self.names {
            if name.is_empty() {
                return invalid("a node name is empty".to_owned());
            }
            if !seen.insert(name) {
                return invalid(format!("the node name '{name}' is given twice"));
            }
        }
        match max_nodes {
            Some(max) if self.names.len() > max as usize => Err(Error::new(
                ErrorKind::Unsupported,
                format!("{} nodes asked for, at most {max} at once", self.names.len()),
            )),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for DeploySpec {
    /// Without the values of the environment and the user data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let env: BTreeMap<_, _> = self.env.keys().map(|name| (name, Hidden)).collect();
        f.debug_struct("DeploySpec")
            .field("owner", &self.owner)
            .field("names", &self.names)
            .field("image", &self.image)
            .field("size", &self.size)
            .field("resources", &self.resources)
            .field("ports", &self.ports)
            .field("mounts", &self.mounts)
            .field("networks", &self.networks)
            .field("env", &env)
            .field("user_data", &self.user_data.as_ref().map(|_| Hidden))
            .field("options", &self.options)
            .finish()
    }
}

/// Stands for a value that is not shown.
struct Hidden;

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Bounds on what one node may use; `None` leaves the backend's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Resources {
    /// Processors.
    pub cpus: Option<u32>,
    /// Relative weight when processors are scarce, 1 to 1024.
    pub cpu_shares: Option<u32>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Size of the root disk in bytes.
    pub disk: Option<u64>,
}

impl Resources {
    /// Sets [`cpus`](Self::cpus).
    #[must_use]
    pub fn with_cpus(mut self, cpus: u32) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// Sets [`cpu_shares`](Self::cpu_shares).
    #[must_use]
    pub fn with_cpu_shares(mut self, cpu_shares: u32) -> Self {
        self.cpu_shares = Some(cpu_shares);
        self
    }

    /// Sets [`memory`](Self::memory).
    #[must_use]
    pub fn with_memory(mut self, memory: u64) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Sets [`disk`](Self::disk).
    #[must_use]
    pub fn with_disk(mut self, disk: u64) -> Self {
        self.disk = Some(disk);
        self
    }
}

/// A port of a node made reachable on its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PortMapping {
    /// The port on the host; `None` lets the backend choose a free one.
    pub host: Option<u16>,
    /// The port in the node.
    pub node: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl PortMapping {
    /// A TCP port of the node at a port of the host, `None` for any free one.
    #[must_use]
    pub fn tcp(host: Option<u16>, node: u16) -> Self {
        Self { host, node, protocol: Protocol::Tcp }
    }

    /// A UDP port of the node at a port of the host, `None` for any free one.
    #[must_use]
    pub fn udp(host: Option<u16>, node: u16) -> Self {
        Self { host, node, protocol: Protocol::Udp }
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// Something mounted in a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where in the node.
    pub target: PathBuf,
    /// Whether the node may only read it.
    pub read_only: bool,
}

impl Mount {
    /// A writable mount.
    pub fn new(source: MountSource, target: impl Into<PathBuf>) -> Self {
        Self { source, target: target.into(), read_only: false }
    }

    /// Sets [`read_only`](Self::read_only).
    #[must_use]
    pub fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MountSource {
    /// A volume of the backend that the node is on.
    Volume(VolumeId),
    /// A directory of the node's host.
    HostPath(PathBuf),
}

/// What became of a deploy: the outcome of every node, in the order of the
/// names asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Deployment {
    /// One outcome for each name.
    pub nodes: Vec<NodeOutcome>,
}

/// What became of one node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeOutcome {
    /// The name asked for.
    pub name: String,
    /// The node's id, as soon as the backend gave one: a failed node with an
    /// id is there and can be destroyed.
    pub id: Option<NodeId>,
    /// The node, or why there is none.
    pub result: Result<Node>,
}

impl Deployment {
    /// A deployment with these outcomes.
    #[must_use]
    pub fn new(nodes: Vec<NodeOutcome>) -> Self {
        Self { nodes }
    }

    /// The nodes that are there.
    pub fn succeeded(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter_map(|outcome| outcome.result.as_ref().ok())
    }

    /// The outcomes that are errors.
    pub fn failed(&self) -> impl Iterator<Item = (&NodeOutcome, &Error)> {
        self.nodes.iter().filter_map(|outcome| Some((outcome, outcome.result.as_ref().err()?)))
    }

    /// All nodes, if every one is there.
    ///
    /// # Errors
    /// The first node's error otherwise.
    pub fn into_nodes(self) -> Result<Vec<Node>> {
        self.nodes.into_iter().map(|outcome| outcome.result).collect()
    }
}

impl NodeOutcome {
    /// A node that is there.
    #[must_use]
    pub fn ready(node: Node) -> Self {
        Self { name: node.name.clone(), id: Some(node.id.clone()), result: Ok(node) }
    }

    /// A node that failed; `id` if the backend has given one.
    pub fn failed(name: impl Into<String>, id: Option<NodeId>, error: Error) -> Self {
        Self { name: name.into(), id, result: Err(error) }
    }
}

/// A node as its backend reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Node {
    /// The backend's name for it.
    pub id: NodeId,
    /// The name it was asked for by.
    pub name: String,
    /// Its tag.
    pub owner: Owner,
    /// What it is doing.
    pub status: NodeStatus,
    /// The image it was made from, where the backend still knows.
    pub image: Option<ImageId>,
    /// The size it was made with.
    pub size: Option<String>,
    /// The host it is on: an engine's or a hypervisor's name.
    pub host: Option<String>,
    /// Its addresses, the main one first.
    pub addresses: Vec<IpAddr>,
    /// Its ports reachable on the host.
    pub ports: Vec<PortMapping>,
    /// More that only this backend knows, by the names it documents.
    pub details: BTreeMap<String, String>,
}

impl Node {
    /// A node of that id, name, tag and status; the rest is unknown yet.
    pub fn new(
        id: impl Into<NodeId>,
        name: impl Into<String>,
        owner: Owner,
        status: NodeStatus,
    ) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            owner,
            status,
            image: None,
            size: None,
            host: None,
            addresses: Vec::new(),
            ports: Vec::new(),
            details: BTreeMap::new(),
        }
    }
}

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NodeStatus {
    /// Being made or starting.
    Starting,
    /// Running.
    Running,
    /// Being stopped.
    Stopping,
    /// Stopped; it can be started.
    Stopped,
    /// Half-made or broken: a repeated deploy or a destroy mends it.
    Failed,
    /// The backend's state has no counterpart here, or cannot be told now.
    Unknown,
}

impl std::fmt::Display for NodeStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        })
    }
}

/// How to stop a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StopOptions {
    /// How long the node may take to shut down by itself before its power is
    /// cut. Zero cuts it at once.
    pub grace: Duration,
}

impl Default for StopOptions {
    /// Half a minute.
    fn default() -> Self {
        Self { grace: Duration::from_secs(30) }
    }
}

impl StopOptions {
    /// Sets [`grace`](Self::grace).
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// What can be said with a provisioner's own verbs.
#[async_trait]
pub trait ProvisionerExt: Provisioner {
    /// The node of that name; names are unique among an application's nodes.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; those of
    /// [`list`](Provisioner::list).
    async fn find(&self, ctx: &Context, app: &str, name: &str) -> Result<Node> {
        let nodes = self.list(ctx, &ListFilter::app(app)).await?;
        nodes.into_iter().find(|node| node.name == name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("'{app}' has no node '{name}'"))
                .in_backend(self.name().to_owned())
                .with("node", name)
        })
    }

    /// Destroys what a deploy left: the nodes of this request, whole or half
    /// made. Nodes that are gone already count as destroyed; answers how many
    /// were destroyed here.
    ///
    /// # Errors
    /// The first node's that cannot be destroyed, after all were tried.
    async fn destroy_request(&self, ctx: &Context, owner: &Owner) -> Result<usize> {
        let mut destroyed = 0;
        let mut first = None;
        for node in self.list(ctx, &ListFilter::request(owner)).await? {
            match self.destroy(ctx, &node.id).await {
                Ok(()) => destroyed += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map_or(Ok(destroyed), Err)
    }
}

impl<T: Provisioner + ?Sized> ProvisionerExt for T {}

#[async_trait]
impl<T: Provisioner + ?Sized> Provisioner for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn capabilities(&self) -> ProvisionerCapabilities {
        (**self).capabilities()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        (**self).check(ctx).await
    }

    async fn deploy(&self, ctx: &Context, spec: &DeploySpec) -> Result<Deployment> {
        (**self).deploy(ctx, spec).await
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Node>> {
        (**self).list(ctx, filter).await
    }

    async fn get(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        (**self).get(ctx, node).await
    }

    async fn start(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        (**self).start(ctx, node).await
    }

    async fn stop(&self, ctx: &Context, node: &NodeId, options: &StopOptions) -> Result<Node> {
        (**self).stop(ctx, node, options).await
    }

    async fn destroy(&self, ctx: &Context, node: &NodeId) -> Result<()> {
        (**self).destroy(ctx, node).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RequestId;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let owner = Owner::new("default", "web", RequestId::random());
        let spec = DeploySpec::new(owner, "image", ["web"])
            .with_env("TOKEN", "hush")
            .with_user_data("password: hush");
        let shown = format!("{spec:?} {spec:#?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hush"), "{shown}");
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<DeploySpec>(&json).unwrap(), spec);
    }
}

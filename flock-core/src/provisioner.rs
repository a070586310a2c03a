//! Nodes: virtual machines and containers, made from images.

mod spec;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Context, Error, ErrorKind, Health, ImageId, ListFilter, NodeId, Owner, Result};

pub use self::spec::{DeploySpec, Mount, MountSource, PortMapping, Protocol, Resources};

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
    /// [`ErrorKind::Unsupported`], those of [`check`](Provisioner::check), and
    /// what concerns the image, which all nodes need: [`ErrorKind::NotFound`]
    /// if there is none of that id, [`ErrorKind::Conflict`] if it is not
    /// ready. Where every node is there already the image may be gone: a
    /// backend need not look for it then.
    /// For one node, in its outcome: [`ErrorKind::NotFound`] for a missing
    /// volume, [`ErrorKind::QuotaExceeded`], and any other.
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

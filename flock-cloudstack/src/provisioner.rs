//! Nodes on CloudStack: virtual machines made from templates.

mod deploy;
mod journal;
mod life;
mod make;
mod names;
mod node;
mod options;
mod resolve;
mod strays;
mod survey;
mod tagger;
mod under_way;
mod watch;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use flock_core::provisioner::{
    DeploySpec, Deployment, Node, Provisioner, ProvisionerCapabilities, StopOptions,
};
use flock_core::secret::Secret;
use flock_core::state::StateStore;
use flock_core::{Context, Health, ImageId, ListFilter, NodeId, Result};

pub use self::options::DeployOption;
use self::under_way::UnderWay;
use self::watch::Polling;
use crate::client::Client;
use crate::error::BACKEND;
use crate::{health, tags};

/// Gets the passwords of new nodes, each at least once: if a run ends before
/// it is told that a password was taken, the next one hands it over again.
/// An error fails the node's outcome, not the node.
///
/// It runs on a thread of tokio's for work that blocks, so it may write a file
/// or ask a service, and several may run at once. It is not cut short: one
/// that is still at work when the context ends goes on, while the node's
/// outcome is the end of the context, and the next deploy of the same request
/// calls it again. One that panics fails the outcome.
pub type PasswordSink = Arc<dyn Fn(&Node, Secret) -> Result<()> + Send + Sync>;

/// Makes nodes on CloudStack and looks after them.
///
/// # What is made
///
/// A node is a virtual machine whose host name is the node's, with the
/// application's in front unless it starts so (`web` of the application `shop`
/// is `shop-web`, `shop-1` stays), and with the namespace's, unless that is
/// the default one. It is made valid, and gets digits at its end where that
/// changed it, or where the name is taken by another node or by a machine that
/// is destroyed but not expunged. The display name is the node's.
///
/// Machines carry the owner's tags as resource tags. Only machines that do are
/// seen, and of those destroyed but not expunged none.
///
/// The image is a template's id, the size a service offering's name or id;
/// networks are names or ids. [`DeployOption`] names what else can be said.
///
/// # Sizes
///
/// The size decides what [`Resources`](flock_core::provisioner::Resources) mean:
///
/// | | a size that fixes it | a size that leaves it open (a custom one) |
/// |---|---|---|
/// | `cpus` | at most so many: a size with more is refused, one with fewer is taken | exactly so many; must be given |
/// | `memory` | at most so much, likewise | exactly so much, rounded up to whole MiB; must be given |
/// | `disk` | the root disk's size, rounded up to whole GiB; CloudStack takes none smaller than the template's, and LXC none at all | the same |
/// | `cpu_shares` | [`Unsupported`](flock_core::ErrorKind::Unsupported): sizes say how processors are shared | the same |
///
/// What does not fit is [`InvalidConfig`](flock_core::ErrorKind::InvalidConfig)
/// for the whole deploy, before any machine is made.
///
/// # No machine twice
///
/// A deploy is sent under a job id that follows from request and node
/// (`customjobid`). After a lost answer, or in a run after one that was
/// killed, CloudStack is asked for that job, and for machines of that name,
/// before anything is sent again. With a [state store](Self::with_state) each
/// deploy is written down before it is sent. Machines are tagged a moment after they
/// were made; one that a killed run has left without tags is adopted by the
/// next deploy of the same request. Until then only a state store tells whose
/// it is: with one it is listed, as failed, and can be destroyed.
///
/// # Many at once
///
/// Up to [`max_concurrency`](Self::with_max_concurrency) machines are in the
/// making at once. One list of them, repeated at an interval that grows with
/// their age, tells how far they are; jobs are asked about only where that
/// leaves a question. Tags are put on many machines by one request.
///
/// # Example
///
/// ```no_run
/// use flock_cloudstack::{Client, CloudStackConfig, CloudStackProvisioner, DeployOption};
/// use flock_core::provisioner::{DeploySpec, Provisioner};
/// use flock_core::{Context, Owner, RequestId, Result};
///
/// # async fn example(config: CloudStackConfig) -> Result<()> {
/// let nodes = CloudStackProvisioner::new(Client::new(config)?);
/// let owner = Owner::new("default", "web", RequestId::random());
/// let spec = DeploySpec::new(owner, "50459b99-5fe0-11ea-9a56-1e006800018c", ["web-1", "web-2"])
///     .with_size("small.local")
///     .with_option(DeployOption::ZONE, "zone-1");
/// for outcome in nodes.deploy(&Context::new(), &spec).await?.nodes {
///     match outcome.result {
///         Ok(node) => println!("{} {:?}", node.name, node.addresses),
///         Err(error) => println!("{} failed: {error}", outcome.name),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CloudStackProvisioner {
    client: Client,
    state: Option<Arc<dyn StateStore>>,
    passwords: Option<PasswordSink>,
    max_concurrency: NonZeroUsize,
    expunge: bool,
    /// Whether CloudStack has said that the account may not.
    may_not_expunge: Arc<AtomicBool>,
    settle_time: Duration,
    polling: Polling,
    under_way: UnderWay,
}

impl fmt::Debug for CloudStackProvisioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudStackProvisioner")
            .field("client", &self.client)
            .field("state", &self.state.as_ref().map(|store| store.name()))
            .field("max_concurrency", &self.max_concurrency)
            .field("expunge", &self.expunge)
            .finish_non_exhaustive()
    }
}

impl CloudStackProvisioner {
    /// Nodes in the namespace of the client's configuration.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            state: None,
            passwords: None,
            max_concurrency: NonZeroUsize::MIN.saturating_add(49),
            expunge: true,
            may_not_expunge: Arc::default(),
            settle_time: Duration::from_secs(15),
            polling: Polling {
                shortest: Duration::from_millis(100),
                longest: Duration::from_secs(5),
            },
            under_way: UnderWay::default(),
        }
    }

    /// Writes deploys down in this store before they are sent, and reads there
    /// what earlier runs have sent. Without one, names, tags and job ids tell.
    ///
    /// This is a journal of single machines, for the time of a deploy. Which
    /// numbers an application's nodes have, and which deploys are to be asked
    /// for again after a crash, [`Deployments`] remembers for the caller; both
    /// can use the same store.
    ///
    /// [`Deployments`]: flock_core::deployments::Deployments
    #[must_use]
    pub fn with_state(mut self, store: Arc<dyn StateStore>) -> Self {
        self.state = Some(store);
        self
    }

    /// Takes the passwords that CloudStack makes for nodes of templates which
    /// say so. Without it they are lost: nobody can log in with a password until
    /// `resetPasswordForVirtualMachine`, which wants a stopped machine, has made
    /// a new one. [`PasswordSink`] says how it is called.
    #[must_use]
    pub fn with_password_sink(
        mut self,
        sink: impl Fn(&Node, Secret) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.passwords = Some(Arc::new(sink));
        self
    }

    /// Sets how many machines are in the making at once. Default: 50.
    ///
    /// The client has a bound of its own on requests under way at once,
    /// [`max_concurrency`](crate::CloudStackConfig::max_concurrency).
    #[must_use]
    pub fn with_max_concurrency(mut self, machines: NonZeroUsize) -> Self {
        self.max_concurrency = machines;
        self
    }

    /// Sets whether destroyed machines are expunged at once. Default: true.
    /// Where the account may not, they are destroyed, and CloudStack expunges
    /// them later.
    #[must_use]
    pub fn with_expunge(mut self, expunge: bool) -> Self {
        self.expunge = expunge;
        self
    }

    /// Sets how long a deploy whose answer got lost may take to show, before
    /// it counts as not arrived and is sent again. Default: 15 seconds.
    #[must_use]
    pub fn with_settle_time(mut self, settle_time: Duration) -> Self {
        self.settle_time = settle_time;
        self
    }

    /// Sets the shortest and the longest time between two looks at machines in
    /// the making. Default: 100 milliseconds and 5 seconds.
    #[must_use]
    pub fn with_polling(mut self, shortest: Duration, longest: Duration) -> Self {
        let shortest = shortest.max(Duration::from_millis(1));
        self.polling = Polling { shortest, longest: longest.max(shortest) };
        self
    }

    /// Restarts a running node and waits until it was. Not idempotent.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](flock_core::ErrorKind::NotFound);
    /// [`ErrorKind::Conflict`](flock_core::ErrorKind::Conflict) for a node
    /// that does not run; those of [`Client::run`].
    pub async fn reboot(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        self.reboot_node(ctx, node.as_str()).await.map_err(|error| error.during("node.reboot"))
    }

    /// The id of the template of exactly this name, `APP:VERSION` where flock
    /// or flockr made it; whoever made it, and whether it is ready or not.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](flock_core::ErrorKind::NotFound), with the
    /// nearest names; [`ErrorKind::InvalidConfig`](flock_core::ErrorKind::InvalidConfig)
    /// if several templates have the name; those of [`Client::list`].
    pub async fn find_image(&self, ctx: &Context, name: &str) -> Result<ImageId> {
        resolve::template(&self.client, ctx, name).await
    }

    fn namespace(&self) -> &str {
        &self.client.config().namespace
    }
}

/// What nodes can do here.
fn capabilities() -> ProvisionerCapabilities {
    let mut able = ProvisionerCapabilities::default();
    able.stop_start = true;
    able.sizes = true;
    able.resources = true;
    able.networks = true;
    able.user_data = true;
    able
}

#[async_trait]
impl Provisioner for CloudStackProvisioner {
    fn name(&self) -> &str {
        BACKEND
    }

    fn capabilities(&self) -> ProvisionerCapabilities {
        capabilities()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        health::check(&self.client, ctx).await.map_err(|error| error.during("node.check"))
    }

    /// As [`Provisioner::deploy`] says. A node whose machine CloudStack could
    /// not start (state `Error`) is replaced by the next deploy of the same
    /// request.
    async fn deploy(&self, ctx: &Context, spec: &DeploySpec) -> Result<Deployment> {
        let deployed = deploy::deploy(self, ctx, spec).await;
        deployed.map_err(|error| error.in_backend(BACKEND).during("node.deploy"))
    }

    /// As [`Provisioner::list`] says. With a [state store](Self::with_state)
    /// also those that a killed run has left without tags, as failed.
    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Node>> {
        let asked = tags::filter(self.namespace(), filter);
        let machines = self.client.machines(ctx, &asked).await;
        let machines = machines.map_err(|error| error.during("node.list"))?;
        // Of thousands, each makes room for its node.
        let ours = machines.into_iter().filter_map(|one| node::node(self.namespace(), &one));
        let mut nodes: Vec<_> = ours.filter(|node| filter.matches(&node.owner)).collect();
        let strays = self.strays(ctx, filter, &nodes).await;
        nodes.extend(strays.map_err(|error| error.during("node.list"))?);
        nodes.sort_by(|a, b| (&a.name, &a.owner.app).cmp(&(&b.name, &b.owner.app)));
        Ok(nodes)
    }

    async fn get(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        let found = self.ours(ctx, node.as_str()).await;
        found.map(|(_, node)| node).map_err(|error| error.during("node.get"))
    }

    async fn start(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        self.start_node(ctx, node.as_str()).await.map_err(|error| error.during("node.start"))
    }

    async fn stop(&self, ctx: &Context, node: &NodeId, options: &StopOptions) -> Result<Node> {
        let stopped = self.stop_node(ctx, node.as_str(), options).await;
        stopped.map_err(|error| error.during("node.stop"))
    }

    async fn destroy(&self, ctx: &Context, node: &NodeId) -> Result<()> {
        self.destroy_node(ctx, node.as_str()).await.map_err(|error| error.during("node.destroy"))
    }
}

//! The suite for volume drivers.

mod attach;
mod create;
mod data;
mod interrupted;
mod size;
mod snapshots;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::subject::unless;
use super::{
    Failure, FaultInjector, Fixture, Outcome, Suite, SuiteOn, ensure, expect_eq, expect_some,
};
use crate::volume_driver::{
    AttachOptions, Attachment, Volume, VolumeCapabilities, VolumeDriver, VolumeSpec, VolumeStatus,
};
use crate::{Context, ListFilter, NodeId, Owner, RequestId, Result, VolumeId};

/// What a fixture's subjects offer, which decides the cases that can run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SuiteOptions {
    /// What the driver can do.
    pub capabilities: VolumeCapabilities,
    /// How many nodes there are to attach to.
    pub nodes: usize,
    /// There is a driver in a second namespace.
    pub foreign: bool,
    /// Faults can be injected.
    pub faults: bool,
    /// Data can be written and read.
    pub data: bool,
}

impl SuiteOptions {
    /// A driver with these capabilities and one node to attach to.
    #[must_use]
    pub fn new(capabilities: VolumeCapabilities) -> Self {
        Self { capabilities, nodes: 1, foreign: false, faults: false, data: false }
    }

    /// Subjects have this many nodes; two are enough for every case.
    #[must_use]
    pub fn with_nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Subjects have a driver in a second namespace.
    #[must_use]
    pub fn with_foreign(mut self) -> Self {
        self.foreign = true;
        self
    }

    /// Subjects have faults that can be injected.
    #[must_use]
    pub fn with_faults(mut self) -> Self {
        self.faults = true;
        self
    }

    /// Subjects offer a way to the data.
    #[must_use]
    pub fn with_data(mut self) -> Self {
        self.data = true;
        self
    }
}

/// A driver to test, with what the cases need beside it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Subject {
    /// The driver. Its namespace holds nothing yet.
    pub driver: Arc<dyn VolumeDriver>,
    /// The namespace that it works in.
    pub namespace: String,
    /// Nodes to attach to.
    pub nodes: Vec<NodeId>,
    /// A valid id that no volume has.
    pub unknown: VolumeId,
    /// A valid id that no node has.
    pub unknown_node: NodeId,
    /// A driver for the same backend in another namespace, and that.
    pub foreign: Option<(Arc<dyn VolumeDriver>, String)>,
    /// Injects faults beneath the driver.
    pub faults: Option<Arc<dyn FaultInjector>>,
    /// A way to the data.
    pub data: Option<Arc<dyn Data>>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("driver", &self.driver.name())
            .field("namespace", &self.namespace)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

/// Reads and writes volumes the way a node does that has them.
#[async_trait]
pub trait Data: Send + Sync + 'static {
    /// Writes a few bytes at a place that is always the same.
    ///
    /// # Errors
    /// Whatever the node says, above all if it may only read.
    async fn write(&self, volume: &VolumeId, node: &NodeId, bytes: &[u8]) -> Result<()>;

    /// Reads what was last written; nothing from a new volume.
    ///
    /// # Errors
    /// Whatever the node says.
    async fn read(&self, volume: &VolumeId, node: &NodeId) -> Result<Vec<u8>>;
}

#[async_trait]
impl Data for crate::memory::MemoryBackend {
    async fn write(&self, volume: &VolumeId, node: &NodeId, bytes: &[u8]) -> Result<()> {
        Self::write(self, volume, node, bytes)
    }

    async fn read(&self, volume: &VolumeId, node: &NodeId) -> Result<Vec<u8>> {
        Self::read(self, volume, node)
    }
}

impl Subject {
    /// A driver that works in this namespace, nodes to attach to, and valid
    /// ids that no volume and no node has.
    pub fn new(
        driver: Arc<dyn VolumeDriver>,
        namespace: impl Into<String>,
        nodes: impl IntoIterator<Item = NodeId>,
        unknown: impl Into<VolumeId>,
        unknown_node: impl Into<NodeId>,
    ) -> Self {
        Self {
            driver,
            namespace: namespace.into(),
            nodes: nodes.into_iter().collect(),
            unknown: unknown.into(),
            unknown_node: unknown_node.into(),
            foreign: None,
            faults: None,
            data: None,
        }
    }

    /// Adds a driver for the same backend in another namespace.
    #[must_use]
    pub fn with_foreign(
        mut self,
        driver: Arc<dyn VolumeDriver>,
        namespace: impl Into<String>,
    ) -> Self {
        self.foreign = Some((driver, namespace.into()));
        self
    }

    /// Adds faults beneath the driver.
    #[must_use]
    pub fn with_faults(mut self, faults: impl FaultInjector) -> Self {
        self.faults = Some(Arc::new(faults));
        self
    }

    /// Adds a way to the data.
    #[must_use]
    pub fn with_data(mut self, data: impl Data) -> Self {
        self.data = Some(Arc::new(data));
        self
    }

    fn owner(&self) -> Owner {
        Owner::new(&self.namespace, "app", RequestId::random())
    }

    /// The smallest volume of that name, for a new request.
    fn spec(&self, name: &str) -> Result<VolumeSpec> {
        Ok(VolumeSpec::new(self.owner(), name, self.size()?))
    }

    fn size(&self) -> Result<u64> {
        let capabilities = self.driver.capabilities();
        capabilities.round_size(capabilities.min_size)
    }

    /// The next larger size that can be had.
    fn larger(&self) -> Result<u64> {
        Ok(self.size()?.saturating_add(self.driver.capabilities().size_unit.max(1)))
    }

    async fn create(&self, name: &str) -> Result<Volume> {
        self.driver.create(&Context::new(), &self.spec(name)?).await
    }

    async fn list(&self) -> Result<Vec<Volume>> {
        self.driver.list(&Context::new(), &ListFilter::all()).await
    }

    async fn attach(&self, volume: &Volume, node: &NodeId) -> Result<Attachment> {
        self.driver.attach(&Context::new(), &volume.id, node, &AttachOptions::default()).await
    }

    async fn detach(&self, volume: &Volume, node: &NodeId) -> Result<()> {
        self.driver.detach(&Context::new(), &volume.id, node).await
    }

    async fn get(&self, volume: &Volume) -> Result<Volume> {
        self.driver.get(&Context::new(), &volume.id).await
    }

    async fn destroy(&self, volume: &Volume) -> Result<()> {
        self.driver.destroy(&Context::new(), &volume.id).await
    }

    fn node(&self) -> Result<&NodeId, Failure> {
        expect_some(self.nodes.first(), "the subject's first node")
    }

    fn other_node(&self) -> Result<&NodeId, Failure> {
        expect_some(self.nodes.get(1), "the subject's second node")
    }

    fn foreign(&self) -> Result<(&dyn VolumeDriver, &str), Failure> {
        let foreign = expect_some(self.foreign.as_ref(), "the subject's second namespace")?;
        Ok((&*foreign.0, &foreign.1))
    }

    fn faults(&self) -> Result<&dyn FaultInjector, Failure> {
        Ok(&**expect_some(self.faults.as_ref(), "the subject's faults")?)
    }

    fn data(&self) -> Result<&dyn Data, Failure> {
        Ok(&**expect_some(self.data.as_ref(), "the subject's way to the data")?)
    }

    /// Fails unless the volume is the only one there, ready.
    async fn expect_only(&self, volume: &Volume) -> Outcome {
        let volumes = self.list().await?;
        let ids: Vec<_> = volumes.iter().map(|volume| &volume.id).collect();
        expect_eq(ids, vec![&volume.id], "volumes listed")?;
        expect_eq(volumes[0].status, VolumeStatus::Ready, "its status")
    }

    async fn expect_none(&self) -> Outcome {
        let names: Vec<_> = self.list().await?.into_iter().map(|volume| volume.name).collect();
        ensure(names.is_empty(), format!("volumes are there that should not be: {names:?}"))
    }

    /// Fails unless the volume is attached to just these nodes.
    async fn expect_attached(&self, volume: &Volume, nodes: &[&NodeId]) -> Outcome {
        let found = self.get(volume).await?;
        let mut at: Vec<_> = found.attachments.iter().map(|at| &at.node).collect();
        let mut wanted = nodes.to_vec();
        at.sort();
        wanted.sort();
        expect_eq(at, wanted, "nodes that the volume is attached to")
    }
}

/// Why a case cannot run on these subjects.
struct Reasons {
    options: SuiteOptions,
}

impl Reasons {
    fn nodes(&self, needed: usize) -> Option<&'static str> {
        let reason = if needed > 1 { "needs two nodes" } else { "needs a node" };
        unless(self.options.nodes >= needed, reason)
    }

    fn foreign(&self) -> Option<&'static str> {
        unless(self.options.foreign, "no second namespace")
    }

    fn faults(&self) -> Option<&'static str> {
        unless(self.options.faults, "no fault injection")
    }

    fn data(&self) -> Option<&'static str> {
        unless(self.options.data, "no way to the data").or(self.nodes(1))
    }
}

/// The suite `volume::<name>`.
///
/// `options` says what the fixture's subjects offer: it decides which cases
/// run, which are shown as ignored with the reason, and which turn into their
/// counterpart that wants [`ErrorKind::Unsupported`](crate::ErrorKind).
#[must_use]
pub fn suite<F>(name: &str, options: &SuiteOptions, fixture: F) -> Suite
where
    F: Fixture<Subject = Subject>,
{
    let on = Suite::new(format!("volume::{name}")).on(fixture);
    let reasons = Reasons { options: options.clone() };
    let on: SuiteOn<F> = create::cases(on, &reasons);
    let on = attach::cases(on, &reasons);
    let on = size::cases(on, &reasons);
    let on = snapshots::cases(on, &reasons);
    let on = data::cases(on, &reasons);
    interrupted::cases(on, &reasons).done()
}

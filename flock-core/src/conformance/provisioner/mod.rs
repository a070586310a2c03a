//! The suite for provisioners.

mod deploy;
mod interrupted;
mod life;

use std::fmt;
use std::sync::Arc;

use super::{
    Failure, FaultInjector, Fixture, Outcome, Suite, SuiteOn, ensure, expect_eq, expect_some,
};
use crate::provisioner::{
    DeploySpec, Deployment, Node, NodeStatus, Provisioner, ProvisionerCapabilities,
};
use crate::{Context, ImageId, ListFilter, NodeId, Owner, RequestId, Result, VolumeDriver};

/// What a fixture's subjects offer, which decides the cases that can run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SuiteOptions {
    /// What the provisioner can do.
    pub capabilities: ProvisionerCapabilities,
    /// There is a provisioner in a second namespace.
    pub foreign: bool,
    /// Faults can be injected.
    pub faults: bool,
    /// There is a volume driver whose volumes can be attached to the nodes.
    pub volumes: bool,
    /// There is an image whose nodes do not shut down when they are asked to.
    pub stubborn: bool,
}

impl SuiteOptions {
    /// A provisioner with these capabilities and nothing beside it.
    #[must_use]
    pub fn new(capabilities: ProvisionerCapabilities) -> Self {
        Self { capabilities, foreign: false, faults: false, volumes: false, stubborn: false }
    }

    /// Subjects have a provisioner in a second namespace.
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

    /// Subjects have a volume driver.
    #[must_use]
    pub fn with_volumes(mut self) -> Self {
        self.volumes = true;
        self
    }

    /// Subjects have an image whose nodes do not shut down by themselves.
    #[must_use]
    pub fn with_stubborn(mut self) -> Self {
        self.stubborn = true;
        self
    }
}

type Adjust = Arc<dyn Fn(&mut DeploySpec) + Send + Sync>;

/// A provisioner to test, with what the cases need beside it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Subject {
    /// The provisioner. Its namespace holds no node yet.
    pub provisioner: Arc<dyn Provisioner>,
    /// The namespace that it works in.
    pub namespace: String,
    /// An image to deploy, small and quick to start.
    pub image: ImageId,
    /// A valid id that no image has.
    pub unknown_image: ImageId,
    /// A valid id that no node has.
    pub unknown: NodeId,
    /// A provisioner of the same backend in another namespace, with that and
    /// an image it can deploy.
    pub foreign: Option<(Arc<dyn Provisioner>, String, ImageId)>,
    /// Injects faults beneath the provisioner.
    pub faults: Option<Arc<dyn FaultInjector>>,
    /// A driver whose volumes can be attached to the nodes.
    pub volumes: Option<Arc<dyn VolumeDriver>>,
    /// An image whose nodes do not shut down when they are asked to.
    pub stubborn: Option<ImageId>,
    adjust: Option<Adjust>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("provisioner", &self.provisioner.name())
            .field("namespace", &self.namespace)
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

impl Subject {
    /// A provisioner that works in this namespace, an image to deploy, and
    /// valid ids that no image and no node has.
    pub fn new(
        provisioner: Arc<dyn Provisioner>,
        namespace: impl Into<String>,
        image: impl Into<ImageId>,
        unknown_image: impl Into<ImageId>,
        unknown: impl Into<NodeId>,
    ) -> Self {
        Self {
            provisioner,
            namespace: namespace.into(),
            image: image.into(),
            unknown_image: unknown_image.into(),
            unknown: unknown.into(),
            foreign: None,
            faults: None,
            volumes: None,
            stubborn: None,
            adjust: None,
        }
    }

    /// Adds a provisioner of the same backend in another namespace, and an
    /// image it can deploy.
    #[must_use]
    pub fn with_foreign(
        mut self,
        provisioner: Arc<dyn Provisioner>,
        namespace: impl Into<String>,
        image: impl Into<ImageId>,
    ) -> Self {
        self.foreign = Some((provisioner, namespace.into(), image.into()));
        self
    }

    /// Adds faults beneath the provisioner.
    #[must_use]
    pub fn with_faults(mut self, faults: impl FaultInjector) -> Self {
        self.faults = Some(Arc::new(faults));
        self
    }

    /// Adds a driver whose volumes can be attached to the nodes.
    #[must_use]
    pub fn with_volumes(mut self, driver: Arc<dyn VolumeDriver>) -> Self {
        self.volumes = Some(driver);
        self
    }

    /// Adds an image whose nodes do not shut down when they are asked to.
    #[must_use]
    pub fn with_stubborn(mut self, image: impl Into<ImageId>) -> Self {
        self.stubborn = Some(image.into());
        self
    }

    /// Completes every spec with what the backend cannot do without: a size,
    /// options.
    #[must_use]
    pub fn with_adjust(mut self, adjust: impl Fn(&mut DeploySpec) + Send + Sync + 'static) -> Self {
        self.adjust = Some(Arc::new(adjust));
        self
    }

    fn owner(&self) -> Owner {
        Owner::new(&self.namespace, "app", RequestId::random())
    }

    /// Nodes of these names, for a new request.
    fn spec(&self, names: &[&str]) -> DeploySpec {
        self.spec_for(self.owner(), &self.image, names)
    }

    fn spec_for(&self, owner: Owner, image: &ImageId, names: &[&str]) -> DeploySpec {
        let mut spec = DeploySpec::new(owner, image.clone(), names.iter().copied());
        if let Some(adjust) = &self.adjust {
            adjust(&mut spec);
        }
        spec
    }

    async fn deploy(&self, spec: &DeploySpec) -> Result<Deployment> {
        self.provisioner.deploy(&Context::new(), spec).await
    }

    /// One running node of that name.
    async fn node(&self, name: &str) -> Result<Node, Failure> {
        let nodes = self.deploy(&self.spec(&[name])).await?.into_nodes()?;
        expect_some(nodes.into_iter().next(), "the deployed node")
    }

    async fn get(&self, node: &Node) -> Result<Node> {
        self.provisioner.get(&Context::new(), &node.id).await
    }

    async fn destroy(&self, node: &Node) -> Result<()> {
        self.provisioner.destroy(&Context::new(), &node.id).await
    }

    async fn list(&self) -> Result<Vec<Node>> {
        self.provisioner.list(&Context::new(), &ListFilter::all()).await
    }

    async fn names(&self) -> Result<Vec<String>> {
        Ok(self.list().await?.into_iter().map(|node| node.name).collect())
    }

    fn foreign(&self) -> Result<(&dyn Provisioner, Owner, &ImageId), Failure> {
        let foreign = expect_some(self.foreign.as_ref(), "the subject's second namespace")?;
        Ok((&*foreign.0, Owner::new(&foreign.1, "app", RequestId::random()), &foreign.2))
    }

    fn faults(&self) -> Result<&dyn FaultInjector, Failure> {
        Ok(&**expect_some(self.faults.as_ref(), "the subject's faults")?)
    }

    async fn expect_none(&self) -> Outcome {
        let names = self.names().await?;
        ensure(names.is_empty(), format!("nodes are there that should not be: {names:?}"))
    }

    /// Fails unless a deploy of the same spec gives running nodes of all its
    /// names that are the only ones there, whatever an earlier one has left.
    async fn expect_finished(&self, spec: &DeploySpec) -> Outcome {
        let nodes = self.deploy(spec).await?.into_nodes()?;
        let names: Vec<_> = nodes.iter().map(|node| &node.name).collect();
        expect_eq(names, spec.names.iter().collect::<Vec<_>>(), "names deployed")?;
        let running = nodes.iter().all(|node| node.status == NodeStatus::Running);
        ensure(running, format!("a deployed node does not run: {nodes:?}"))?;
        let filter = ListFilter::request(&spec.owner);
        let listed = self.provisioner.list(&Context::new(), &filter).await?;
        let mut ids: Vec<_> = nodes.iter().map(|node| &node.id).collect();
        let mut listed: Vec<_> = listed.iter().map(|node| &node.id).collect();
        ids.sort();
        listed.sort();
        expect_eq(listed, ids, "nodes of the request")
    }
}

/// The suite `node::<name>`.
///
/// `options` says what the fixture's subjects offer: it decides which cases
/// run, which are shown as ignored with the reason, and which turn into their
/// counterpart that wants [`ErrorKind::Unsupported`](crate::ErrorKind).
#[must_use]
pub fn suite<F>(name: &str, options: &SuiteOptions, fixture: F) -> Suite
where
    F: Fixture<Subject = Subject>,
{
    let on: SuiteOn<F> = Suite::new(format!("node::{name}")).on(fixture);
    let on = deploy::cases(on, options);
    let on = life::cases(on, options);
    interrupted::cases(on, options).done()
}

//! The suite for image builders.

mod build;
mod interrupted;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{
    Failure, FaultInjector, Fixture, Outcome, Suite, SuiteOn, ensure, expect_eq, expect_some,
};
use crate::image_builder::{
    Image, ImageBuilder, ImageCapabilities, ImageSource, ImageSpec, ImageStatus,
};
use crate::provisioner::{DeploySpec, Node, NodeStatus};
use crate::{Context, ImageId, ListFilter, Owner, Provisioner, RequestId, Result};

/// What a fixture's subjects offer, which decides the cases that can run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SuiteOptions {
    /// What the builder can do.
    pub capabilities: ImageCapabilities,
    /// There is a builder in a second namespace.
    pub foreign: bool,
    /// Faults can be injected.
    pub faults: bool,
    /// There is a provisioner that deploys the images.
    pub nodes: bool,
    /// There is a source that cannot be built.
    pub broken: bool,
}

impl SuiteOptions {
    /// A builder with these capabilities and nothing beside it.
    #[must_use]
    pub fn new(capabilities: ImageCapabilities) -> Self {
        Self { capabilities, foreign: false, faults: false, nodes: false, broken: false }
    }

    /// Subjects have a builder in a second namespace.
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

    /// Subjects have a provisioner that deploys the images.
    #[must_use]
    pub fn with_nodes(mut self) -> Self {
        self.nodes = true;
        self
    }

    /// Subjects have a source that cannot be built.
    #[must_use]
    pub fn with_broken(mut self) -> Self {
        self.broken = true;
        self
    }
}

type Adjust = Arc<dyn Fn(&mut DeploySpec) + Send + Sync>;

/// A builder to test, with what the cases need beside it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Subject {
    /// The builder. Its namespace holds nothing yet.
    pub builder: Arc<dyn ImageBuilder>,
    /// The namespace that it works in.
    pub namespace: String,
    /// A source that is small and quick to build.
    pub source: ImageSource,
    /// A source of the same kind that is not there.
    pub missing: ImageSource,
    /// A valid id that no image has.
    pub unknown: ImageId,
    /// A source that is there and cannot be built.
    pub broken: Option<ImageSource>,
    /// A builder for the same backend in another namespace, and that.
    pub foreign: Option<(Arc<dyn ImageBuilder>, String)>,
    /// Injects faults beneath the builder.
    pub faults: Option<Arc<dyn FaultInjector>>,
    /// A provisioner that deploys the images.
    pub nodes: Option<Arc<dyn Provisioner>>,
    adjust: Option<Adjust>,
    held: Option<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("builder", &self.builder.name())
            .field("namespace", &self.namespace)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Subject {
    /// A builder that works in this namespace, a source to build from, one of
    /// the same kind that is not there, and a valid id that no image has.
    pub fn new(
        builder: Arc<dyn ImageBuilder>,
        namespace: impl Into<String>,
        source: ImageSource,
        missing: ImageSource,
        unknown: impl Into<ImageId>,
    ) -> Self {
        Self {
            builder,
            namespace: namespace.into(),
            source,
            missing,
            unknown: unknown.into(),
            broken: None,
            foreign: None,
            faults: None,
            nodes: None,
            adjust: None,
            held: None,
        }
    }

    /// Adds a source that is there and cannot be built.
    #[must_use]
    pub fn with_broken(mut self, source: ImageSource) -> Self {
        self.broken = Some(source);
        self
    }

    /// Adds a builder for the same backend in another namespace.
    #[must_use]
    pub fn with_foreign(
        mut self,
        builder: Arc<dyn ImageBuilder>,
        namespace: impl Into<String>,
    ) -> Self {
        self.foreign = Some((builder, namespace.into()));
        self
    }

    /// Adds faults beneath the builder.
    #[must_use]
    pub fn with_faults(mut self, faults: impl FaultInjector) -> Self {
        self.faults = Some(Arc::new(faults));
        self
    }

    /// Adds a provisioner that deploys the images.
    #[must_use]
    pub fn with_nodes(mut self, provisioner: Arc<dyn Provisioner>) -> Self {
        self.nodes = Some(provisioner);
        self
    }

    /// Completes every spec of a node with what the provisioner cannot do
    /// without: a size, options.
    #[must_use]
    pub fn with_adjust(mut self, adjust: impl Fn(&mut DeploySpec) + Send + Sync + 'static) -> Self {
        self.adjust = Some(Arc::new(adjust));
        self
    }

    /// Keeps something alive as long as the subject, for example the
    /// temporary directory with its sources.
    #[must_use]
    pub fn with_held(mut self, held: impl Send + Sync + 'static) -> Self {
        self.held = Some(Arc::new(held));
        self
    }

    fn owner(&self) -> Owner {
        Owner::new(&self.namespace, "app", RequestId::random())
    }

    /// An image of that name and version, for a new request.
    fn spec(&self, name: &str, version: &str) -> ImageSpec {
        ImageSpec::new(self.owner(), name, version, self.source.clone())
    }

    async fn build(&self, name: &str, version: &str) -> Result<Image> {
        self.builder.build(&Context::new(), &self.spec(name, version)).await
    }

    async fn get(&self, image: &Image) -> Result<Image> {
        self.builder.get(&Context::new(), &image.id).await
    }

    async fn delete(&self, image: &Image) -> Result<()> {
        self.builder.delete(&Context::new(), &image.id).await
    }

    async fn list(&self) -> Result<Vec<Image>> {
        self.builder.list(&Context::new(), &ListFilter::all()).await
    }

    /// A running node made from the image, and the provisioner it is of.
    async fn node(&self, image: &Image) -> Result<(&dyn Provisioner, Node), Failure> {
        let nodes = &**expect_some(self.nodes.as_ref(), "the subject's provisioner")?;
        let mut spec = DeploySpec::new(self.owner(), image.id.clone(), ["web"]);
        if let Some(adjust) = &self.adjust {
            adjust(&mut spec);
        }
        let made = nodes.deploy(&Context::new(), &spec).await?.into_nodes()?;
        let node = expect_some(made.into_iter().next(), "the deployed node")?;
        expect_eq(node.status, NodeStatus::Running, "the node's status")?;
        Ok((nodes, node))
    }

    fn foreign(&self) -> Result<(&dyn ImageBuilder, Owner), Failure> {
        let foreign = expect_some(self.foreign.as_ref(), "the subject's second namespace")?;
        Ok((&*foreign.0, Owner::new(&foreign.1, "app", RequestId::random())))
    }

    fn faults(&self) -> Result<&dyn FaultInjector, Failure> {
        Ok(&**expect_some(self.faults.as_ref(), "the subject's faults")?)
    }

    async fn expect_none(&self) -> Outcome {
        let images = self.list().await?;
        ensure(images.is_empty(), format!("images are there that should not be: {images:?}"))
    }

    /// Fails unless the image is the only one there, ready.
    async fn expect_only(&self, image: &Image) -> Outcome {
        let images = self.list().await?;
        let ids: Vec<_> = images.iter().map(|image| &image.id).collect();
        expect_eq(ids, vec![&image.id], "images listed")?;
        expect_eq(images[0].status, ImageStatus::Ready, "its status")
    }

    /// Fails unless a build of the same spec gives a ready image that is the
    /// only one of that name, whatever an earlier one has left.
    async fn expect_finished(&self, spec: &ImageSpec) -> Outcome {
        let image = self.builder.build(&Context::new(), spec).await?;
        expect_eq(image.status, ImageStatus::Ready, "the status after the second call")?;
        let listed = self.list().await?;
        let named: Vec<_> = listed.iter().filter(|image| image.name == spec.name).collect();
        expect_eq(named.len(), 1, "images of that name")?;
        expect_eq(&named[0].id, &image.id, "the id of the image listed")
    }
}

/// The suite `image::<name>`.
///
/// `options` says what the fixture's subjects offer: it decides which cases
/// run, which are shown as ignored with the reason, and which turn into their
/// counterpart that wants [`ErrorKind::Unsupported`](crate::ErrorKind).
#[must_use]
pub fn suite<F>(name: &str, options: &SuiteOptions, fixture: F) -> Suite
where
    F: Fixture<Subject = Subject>,
{
    let on: SuiteOn<F> = Suite::new(format!("image::{name}")).on(fixture);
    let on = build::cases(on, options);
    interrupted::cases(on, options).done()
}

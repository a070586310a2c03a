//! The memory backend with a mistake in it that real backends make.

use std::time::Duration;

use async_trait::async_trait;
use flock_core::image_builder::{
    ApplianceFormat, Image, ImageBuilderExt, ImageCapabilities, ImageSource, ImageSpec, ImageStatus,
};
use flock_core::memory::MemoryBackend;
use flock_core::provisioner::{
    DeploySpec, Deployment, Node, NodeOutcome, NodeStatus, ProvisionerCapabilities, StopOptions,
};
use flock_core::volume_driver::{
    AttachOptions, Attachment, Snapshot, SnapshotSpec, Volume, VolumeCapabilities, VolumeDriverExt,
    VolumeSpec, VolumeStatus,
};
use flock_core::{
    Context, Error, ErrorKind, Health, ImageBuilder, ImageId, ListFilter, NodeId, Owner,
    Provisioner, RequestId, Result, SnapshotId, VolumeDriver, VolumeId,
};

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    ListsForeign,
    FindsForeign,
    IgnoresFilter,
    ListsBackwards,
    IgnoresContext,
    ResendsBlindly,
    TakesWhatIsThere,
    ReadyBeforeComplete,
    GoneIsFine,
    DestroysAttached,
    StealsVolumes,
    AlwaysWritable,
    LosesData,
    TellsTheSizeAskedFor,
    ClaimsToResize,
    SilentlyPoor,
    LosesOutcomes,
    SortsOutcomes,
    OneFailsAll,
    ClaimsToStop,
    CutsAtOnce,
    StartsTheStopped,
    IgnoresTheImage,
    SharesNames,
    KeepsVolumesOfTheGone,
    BuildsFromAnything,
    HidesBrokenSources,
}

/// The memory backend with a mistake.
pub(crate) struct Buggy {
    inner: MemoryBackend,
    /// The other namespace of the same world.
    foreign: MemoryBackend,
    bug: Bug,
}

impl Buggy {
    pub(crate) fn new(inner: MemoryBackend, bug: Bug) -> Self {
        let foreign = if inner.namespace() == "other" { "default" } else { "other" };
        Self { foreign: inner.in_namespace(foreign), inner, bug }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    fn context(&self, ctx: &Context) -> Context {
        if self.has(Bug::IgnoresContext) { Context::new() } else { ctx.clone() }
    }

    fn filter(&self, filter: &ListFilter) -> ListFilter {
        if self.has(Bug::IgnoresFilter) { ListFilter::all() } else { filter.clone() }
    }

    fn owner(&self, owner: &Owner) -> Owner {
        if !self.has(Bug::ResendsBlindly) {
            return owner.clone();
        }
        Owner::new(&owner.namespace, &owner.app, RequestId::random())
    }

    /// The answer of a removal.
    fn gone(&self, result: Result<()>) -> Result<()> {
        match result {
            Err(error) if self.has(Bug::GoneIsFine) && error.kind() == ErrorKind::NotFound => {
                Ok(())
            }
            result => result,
        }
    }

    /// Whether a foreign thing is to be tried after this result.
    fn tries_foreign<T>(&self, result: &Result<T>) -> bool {
        let missing = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        self.has(Bug::FindsForeign) && missing
    }

    fn takes<T>(&self, result: &Result<T>) -> bool {
        let taken = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists);
        self.has(Bug::TakesWhatIsThere) && taken
    }

    fn in_order<T>(&self, mut things: Vec<T>) -> Vec<T> {
        if self.has(Bug::ListsBackwards) {
            things.reverse();
        }
        things
    }
}

#[async_trait]
impl VolumeDriver for Buggy {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> VolumeCapabilities {
        VolumeDriver::capabilities(&self.inner)
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        VolumeDriver::check(&self.inner, ctx).await
    }

    async fn create(&self, ctx: &Context, spec: &VolumeSpec) -> Result<Volume> {
        let mut sent = spec.clone();
        sent.owner = self.owner(&spec.owner);
        let mut created = self.inner.create(&self.context(ctx), &sent).await;
        if self.takes(&created) {
            return VolumeDriverExt::find(&self.inner, ctx, &spec.name).await;
        }
        if let (Ok(volume), Bug::TellsTheSizeAskedFor) = (&mut created, self.bug) {
            volume.size = spec.size;
        }
        created
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Volume>> {
        let mut volumes = VolumeDriver::list(&self.inner, ctx, &self.filter(filter)).await?;
        if self.has(Bug::ListsForeign) {
            volumes.extend(VolumeDriver::list(&self.foreign, ctx, filter).await?);
        }
        if self.has(Bug::ReadyBeforeComplete) {
            volumes.iter_mut().for_each(|volume| volume.status = VolumeStatus::Ready);
        }
        Ok(self.in_order(volumes))
    }

    async fn get(&self, ctx: &Context, volume: &VolumeId) -> Result<Volume> {
        let got = VolumeDriver::get(&self.inner, ctx, volume).await;
        if self.tries_foreign(&got) {
            return VolumeDriver::get(&self.foreign, ctx, volume).await;
        }
        got
    }

    async fn attach(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        node: &NodeId,
        options: &AttachOptions,
    ) -> Result<Attachment> {
        let mut options = options.clone();
        options.take_over |= self.has(Bug::StealsVolumes);
        options.read_only &= !self.has(Bug::AlwaysWritable);
        if self.has(Bug::SilentlyPoor) {
            options = AttachOptions::default();
        }
        let attached = self.inner.attach(&self.context(ctx), volume, node, &options).await?;
        if self.has(Bug::LosesData) {
            self.inner.write(volume, node, b"")?;
        }
        Ok(attached)
    }

    async fn detach(&self, ctx: &Context, volume: &VolumeId, node: &NodeId) -> Result<()> {
        self.gone(self.inner.detach(ctx, volume, node).await)
    }

    async fn resize(&self, ctx: &Context, volume: &VolumeId, size: u64) -> Result<Volume> {
        if self.has(Bug::ClaimsToResize) {
            let mut resized = VolumeDriver::get(&self.inner, ctx, volume).await?;
            resized.size = size;
            return Ok(resized);
        }
        self.inner.resize(ctx, volume, size).await
    }

    async fn snapshot(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        spec: &SnapshotSpec,
    ) -> Result<Snapshot> {
        self.inner.snapshot(ctx, volume, spec).await
    }

    async fn list_snapshots(
        &self,
        ctx: &Context,
        volume: Option<&VolumeId>,
        filter: &ListFilter,
    ) -> Result<Vec<Snapshot>> {
        Ok(self.in_order(self.inner.list_snapshots(ctx, volume, filter).await?))
    }

    async fn delete_snapshot(&self, ctx: &Context, snapshot: &SnapshotId) -> Result<()> {
        self.gone(self.inner.delete_snapshot(ctx, snapshot).await)
    }

    async fn destroy(&self, ctx: &Context, volume: &VolumeId) -> Result<()> {
        if self.has(Bug::DestroysAttached) {
            let attachments = VolumeDriver::get(&self.inner, ctx, volume).await?.attachments;
            for attachment in attachments {
                self.inner.detach(ctx, volume, &attachment.node).await?;
            }
        }
        self.gone(VolumeDriver::destroy(&self.inner, &self.context(ctx), volume).await)
    }
}

#[async_trait]
impl Provisioner for Buggy {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> ProvisionerCapabilities {
        Provisioner::capabilities(&self.inner)
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        Provisioner::check(&self.inner, ctx).await
    }

    async fn deploy(&self, ctx: &Context, spec: &DeploySpec) -> Result<Deployment> {
        let mut sent = spec.clone();
        sent.owner = self.owner(&spec.owner);
        let there = Provisioner::list(&self.inner, &Context::new(), &ListFilter::all()).await?;
        if self.has(Bug::IgnoresTheImage) {
            // Of whatever is there already.
            let same = there.iter().find(|node| node.owner == sent.owner);
            sent.image = same.and_then(|node| node.image.clone()).unwrap_or(sent.image);
        }
        if self.has(Bug::SharesNames) && there.iter().any(|node| sent.names.contains(&node.name)) {
            return Err(Error::new(ErrorKind::AlreadyExists, "there is a node of that name"));
        }
        let mut deployment = self.inner.deploy(&self.context(ctx), &sent).await?;
        if self.has(Bug::StartsTheStopped) {
            for outcome in &mut deployment.nodes {
                if let Some(id) = &outcome.id {
                    outcome.result = self.inner.start(ctx, id).await;
                }
            }
        }
        match self.bug {
            Bug::LosesOutcomes => deployment.nodes.retain(|outcome| outcome.result.is_ok()),
            Bug::SortsOutcomes => deployment.nodes.sort_by(|a, b| a.name.cmp(&b.name)),
            Bug::OneFailsAll => {
                if let Some((_, error)) = deployment.failed().next() {
                    return Err(error.clone());
                }
            }
            Bug::TakesWhatIsThere => {
                let all = Provisioner::list(&self.inner, ctx, &ListFilter::all()).await?;
                for outcome in &mut deployment.nodes {
                    let there = all.iter().find(|node| node.name == outcome.name);
                    if let (true, Some(node)) = (self.takes(&outcome.result), there) {
                        *outcome = NodeOutcome::ready(node.clone());
                    }
                }
            }
            _ => {}
        }
        Ok(deployment)
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Node>> {
        let mut nodes = Provisioner::list(&self.inner, ctx, &self.filter(filter)).await?;
        if self.has(Bug::ListsForeign) {
            nodes.extend(Provisioner::list(&self.foreign, ctx, filter).await?);
        }
        if self.has(Bug::ReadyBeforeComplete) {
            nodes.iter_mut().for_each(|node| node.status = NodeStatus::Running);
        }
        Ok(self.in_order(nodes))
    }

    async fn get(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        let got = Provisioner::get(&self.inner, ctx, node).await;
        if self.tries_foreign(&got) {
            return Provisioner::get(&self.foreign, ctx, node).await;
        }
        got
    }

    async fn start(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        self.inner.start(ctx, node).await
    }

    async fn stop(&self, ctx: &Context, node: &NodeId, options: &StopOptions) -> Result<Node> {
        if self.has(Bug::ClaimsToStop) {
            let mut stopped = Provisioner::get(&self.inner, ctx, node).await?;
            stopped.status = NodeStatus::Stopped;
            return Ok(stopped);
        }
        let grace = if self.has(Bug::CutsAtOnce) { Duration::ZERO } else { options.grace };
        self.inner.stop(ctx, node, &StopOptions::default().with_grace(grace)).await
    }

    async fn destroy(&self, ctx: &Context, node: &NodeId) -> Result<()> {
        if self.has(Bug::KeepsVolumesOfTheGone) {
            let volumes = VolumeDriver::list(&self.inner, ctx, &ListFilter::all()).await?;
            for volume in volumes {
                if volume.attachments.iter().any(|attachment| attachment.node == *node) {
                    self.inner.detach(ctx, &volume.id, node).await?;
                    VolumeDriver::destroy(&self.inner, ctx, &volume.id).await?;
                }
            }
        }
        self.gone(Provisioner::destroy(&self.inner, &self.context(ctx), node).await)
    }
}

#[async_trait]
impl ImageBuilder for Buggy {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> ImageCapabilities {
        ImageBuilder::capabilities(&self.inner)
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        ImageBuilder::check(&self.inner, ctx).await
    }

    async fn build(&self, ctx: &Context, spec: &ImageSpec) -> Result<Image> {
        let mut sent = spec.clone();
        sent.owner = self.owner(&spec.owner);
        let broken = match &spec.source {
            ImageSource::Appliance { path, .. } => std::fs::metadata(path).map(|meta| meta.len()),
            _ => Ok(1),
        };
        let hides = match broken {
            Ok(0) => self.has(Bug::HidesBrokenSources),
            Err(_) => self.has(Bug::BuildsFromAnything),
            Ok(_) => false,
        };
        if hides {
            let path = std::env::current_exe()
                .map_err(|error| Error::io("find", "this program".as_ref(), error))?;
            sent.source = ImageSource::Appliance { path, format: ApplianceFormat::Tar };
        }
        let built = self.inner.build(&self.context(ctx), &sent).await;
        if self.takes(&built) {
            return ImageBuilderExt::find(&self.inner, ctx, &spec.name, &spec.version).await;
        }
        built
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Image>> {
        let mut images = ImageBuilder::list(&self.inner, ctx, &self.filter(filter)).await?;
        if self.has(Bug::ListsForeign) {
            images.extend(ImageBuilder::list(&self.foreign, ctx, filter).await?);
        }
        if self.has(Bug::ReadyBeforeComplete) {
            images.iter_mut().for_each(|image| image.status = ImageStatus::Ready);
        }
        Ok(self.in_order(images))
    }

    async fn get(&self, ctx: &Context, image: &ImageId) -> Result<Image> {
        let got = ImageBuilder::get(&self.inner, ctx, image).await;
        if self.tries_foreign(&got) {
            return ImageBuilder::get(&self.foreign, ctx, image).await;
        }
        got
    }

    async fn delete(&self, ctx: &Context, image: &ImageId) -> Result<()> {
        if self.has(Bug::DestroysAttached) {
            for node in Provisioner::list(&self.inner, ctx, &ListFilter::all()).await? {
                Provisioner::destroy(&self.inner, ctx, &node.id).await?;
            }
        }
        self.gone(self.inner.delete(&self.context(ctx), image).await)
    }
}

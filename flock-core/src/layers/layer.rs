//! What the layers have in common: one policy, applied to every method.

use std::future::Future;

use async_trait::async_trait;

use crate::image_builder::{Image, ImageBuilder, ImageCapabilities, ImageSpec};
use crate::provisioner::{
    DeploySpec, Deployment, Node, Provisioner, ProvisionerCapabilities, StopOptions,
};
use crate::volume_driver::{
    AttachOptions, Attachment, Snapshot, SnapshotSpec, Volume, VolumeCapabilities, VolumeDriver,
    VolumeSpec,
};
use crate::{
    Context, Health, ImageId, ListFilter, NodeId, Operation, Result, SnapshotId, VolumeId,
};

/// What a [`Layer`] does around each call.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use flock_core::layers::{Layer, Policy};
/// use flock_core::memory::MemoryBackend;
/// use flock_core::{Context, Operation, Provisioner, Result};
///
/// /// Counts the calls.
/// #[derive(Default)]
/// struct Count(AtomicU64);
///
/// impl Policy for Count {
///     async fn around<T, C, W>(&self, ctx: &Context, _operation: Operation, call: C) -> Result<T>
///     where
///         T: Send,
///         C: Fn(Context) -> W + Send + Sync,
///         W: Future<Output = Result<T>> + Send,
///     {
///         self.0.fetch_add(1, Ordering::Relaxed);
///         call(ctx.clone()).await
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let backend = Layer::new(MemoryBackend::new(), Count::default());
/// Provisioner::check(&backend, &Context::new()).await?;
/// assert_eq!(backend.policy().0.load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
pub trait Policy: Send + Sync {
    /// Runs a call. `call` makes it with the context it is given, and may be
    /// made several times.
    ///
    /// # Errors
    /// Those of the call, and the policy's own.
    fn around<T, C, W>(
        &self,
        ctx: &Context,
        operation: Operation,
        call: C,
    ) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        C: Fn(Context) -> W + Send + Sync,
        W: Future<Output = Result<T>> + Send;

    /// Runs a call after which a thing is gone: a destroy, a delete, a
    /// detach. Unless a policy says otherwise, like any other.
    ///
    /// # Errors
    /// As [`around`](Policy::around).
    fn around_removal<C, W>(
        &self,
        ctx: &Context,
        operation: Operation,
        call: C,
    ) -> impl Future<Output = Result<()>> + Send
    where
        C: Fn(Context) -> W + Send + Sync,
        W: Future<Output = Result<()>> + Send,
    {
        self.around(ctx, operation, call)
    }

    /// Runs a deploy, whose single nodes have outcomes of their own. Unless a
    /// policy says otherwise, like any other.
    ///
    /// # Errors
    /// As [`around`](Policy::around).
    fn around_deploy<C, W>(
        &self,
        ctx: &Context,
        spec: &DeploySpec,
        call: C,
    ) -> impl Future<Output = Result<Deployment>> + Send
    where
        C: Fn(Context, DeploySpec) -> W + Send + Sync,
        W: Future<Output = Result<Deployment>> + Send,
    {
        async move {
            let call = |ctx| call(ctx, spec.clone());
            self.around(ctx, Operation::NodeDeploy, call).await
        }
    }
}

/// A backend with a policy around every call.
#[derive(Debug, Clone)]
pub struct Layer<T, P> {
    inner: T,
    policy: P,
}

impl<T, P> Layer<T, P> {
    /// Wraps `inner`.
    pub fn new(inner: T, policy: P) -> Self {
        Self { inner, policy }
    }

    /// What is wrapped.
    pub fn inner(&self) -> &T {
        &self.inner
    }

    /// The policy.
    pub fn policy(&self) -> &P {
        &self.policy
    }
}

#[async_trait]
impl<T: Provisioner, P: Policy> Provisioner for Layer<T, P> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> ProvisionerCapabilities {
        self.inner.capabilities()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        let call = |ctx| async move { self.inner.check(&ctx).await };
        self.policy.around(ctx, Operation::NodeCheck, call).await
    }

    async fn deploy(&self, ctx: &Context, spec: &DeploySpec) -> Result<Deployment> {
        let call = |ctx, spec| async move { self.inner.deploy(&ctx, &spec).await };
        self.policy.around_deploy(ctx, spec, call).await
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Node>> {
        let call = |ctx| async move { self.inner.list(&ctx, filter).await };
        self.policy.around(ctx, Operation::NodeList, call).await
    }

    async fn get(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        let call = |ctx| async move { self.inner.get(&ctx, node).await };
        self.policy.around(ctx, Operation::NodeGet, call).await
    }

    async fn start(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
        let call = |ctx| async move { self.inner.start(&ctx, node).await };
        self.policy.around(ctx, Operation::NodeStart, call).await
    }

    async fn stop(&self, ctx: &Context, node: &NodeId, options: &StopOptions) -> Result<Node> {
        let call = |ctx| async move { self.inner.stop(&ctx, node, options).await };
        self.policy.around(ctx, Operation::NodeStop, call).await
    }

    async fn destroy(&self, ctx: &Context, node: &NodeId) -> Result<()> {
        let call = |ctx| async move { self.inner.destroy(&ctx, node).await };
        self.policy.around_removal(ctx, Operation::NodeDestroy, call).await
    }
}

#[async_trait]
impl<T: ImageBuilder, P: Policy> ImageBuilder for Layer<T, P> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> ImageCapabilities {
        self.inner.capabilities()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        let call = |ctx| async move { self.inner.check(&ctx).await };
        self.policy.around(ctx, Operation::ImageCheck, call).await
    }

    async fn build(&self, ctx: &Context, spec: &ImageSpec) -> Result<Image> {
        let call = |ctx| async move { self.inner.build(&ctx, spec).await };
        self.policy.around(ctx, Operation::ImageBuild, call).await
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Image>> {
        let call = |ctx| async move { self.inner.list(&ctx, filter).await };
        self.policy.around(ctx, Operation::ImageList, call).await
    }

    async fn get(&self, ctx: &Context, image: &ImageId) -> Result<Image> {
        let call = |ctx| async move { self.inner.get(&ctx, image).await };
        self.policy.around(ctx, Operation::ImageGet, call).await
    }

    async fn delete(&self, ctx: &Context, image: &ImageId) -> Result<()> {
        let call = |ctx| async move { self.inner.delete(&ctx, image).await };
        self.policy.around_removal(ctx, Operation::ImageDelete, call).await
    }
}

#[async_trait]
impl<T: VolumeDriver, P: Policy> VolumeDriver for Layer<T, P> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> VolumeCapabilities {
        self.inner.capabilities()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        let call = |ctx| async move { self.inner.check(&ctx).await };
        self.policy.around(ctx, Operation::VolumeCheck, call).await
    }

    async fn create(&self, ctx: &Context, spec: &VolumeSpec) -> Result<Volume> {
        let call = |ctx| async move { self.inner.create(&ctx, spec).await };
        self.policy.around(ctx, Operation::VolumeCreate, call).await
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Volume>> {
        let call = |ctx| async move { self.inner.list(&ctx, filter).await };
        self.policy.around(ctx, Operation::VolumeList, call).await
    }

    async fn get(&self, ctx: &Context, volume: &VolumeId) -> Result<Volume> {
        let call = |ctx| async move { self.inner.get(&ctx, volume).await };
        self.policy.around(ctx, Operation::VolumeGet, call).await
    }

    async fn attach(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        node: &NodeId,
        options: &AttachOptions,
    ) -> Result<Attachment> {
        let call = |ctx| async move { self.inner.attach(&ctx, volume, node, options).await };
        self.policy.around(ctx, Operation::VolumeAttach, call).await
    }

    async fn detach(&self, ctx: &Context, volume: &VolumeId, node: &NodeId) -> Result<()> {
        let call = |ctx| async move { self.inner.detach(&ctx, volume, node).await };
        self.policy.around_removal(ctx, Operation::VolumeDetach, call).await
    }

    async fn resize(&self, ctx: &Context, volume: &VolumeId, size: u64) -> Result<Volume> {
        let call = |ctx| async move { self.inner.resize(&ctx, volume, size).await };
        self.policy.around(ctx, Operation::VolumeResize, call).await
    }

    async fn snapshot(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        spec: &SnapshotSpec,
    ) -> Result<Snapshot> {
        let call = |ctx| async move { self.inner.snapshot(&ctx, volume, spec).await };
        self.policy.around(ctx, Operation::SnapshotCreate, call).await
    }

    async fn list_snapshots(
        &self,
        ctx: &Context,
        volume: Option<&VolumeId>,
        filter: &ListFilter,
    ) -> Result<Vec<Snapshot>> {
        let call = |ctx| async move { self.inner.list_snapshots(&ctx, volume, filter).await };
        self.policy.around(ctx, Operation::SnapshotList, call).await
    }

    async fn delete_snapshot(&self, ctx: &Context, snapshot: &SnapshotId) -> Result<()> {
        let call = |ctx| async move { self.inner.delete_snapshot(&ctx, snapshot).await };
        self.policy.around_removal(ctx, Operation::SnapshotDelete, call).await
    }

    async fn destroy(&self, ctx: &Context, volume: &VolumeId) -> Result<()> {
        let call = |ctx| async move { self.inner.destroy(&ctx, volume).await };
        self.policy.around_removal(ctx, Operation::VolumeDestroy, call).await
    }
}

//! A backend in memory, for programs that test themselves.
//!
//! [`MemoryBackend`] implements all three traits over one small world, in
//! which a node needs an image that is ready and a volume is attached to a
//! node that is there. It keeps the contract of every trait, takes its time
//! ([`with_latency`](MemoryBackend::with_latency)), can be made poor in
//! capabilities, and fails where it is told to ([`Faults`]).

mod faults;
mod image_builder;
mod provisioner;
mod volume_driver;
mod world;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::faults::Fate;
pub use self::faults::{Call, Faults};
use self::world::World;
use crate::image_builder::{ApplianceFormat, ImageCapabilities, SourceKind};
use crate::provisioner::ProvisionerCapabilities;
use crate::volume_driver::VolumeCapabilities;
use crate::{Context, Endpoint, Error, ErrorKind, Health, NodeId, Operation, Owner, Result};
use crate::{RequestId, VolumeId};

/// A provisioner, image builder and volume driver in memory.
///
/// Clones are the same backend. [`in_namespace`](MemoryBackend::in_namespace)
/// makes another one in the same world.
///
/// Sizes that nodes can have are [`MemoryBackend::SIZES`], networks
/// [`MemoryBackend::NETWORKS`]; backend options there are none.
#[derive(Debug, Clone)]
pub struct MemoryBackend {
    world: Arc<World>,
    settings: Arc<Settings>,
    faults: Faults,
}

#[derive(Debug, Clone)]
struct Settings {
    namespace: String,
    latency: Duration,
    shutdown_time: Duration,
    hosts: Vec<String>,
    nodes: ProvisionerCapabilities,
    images: ImageCapabilities,
    volumes: VolumeCapabilities,
}

impl MemoryBackend {
    /// The names of the sizes a node can have.
    pub const SIZES: [&'static str; 3] = ["small", "medium", "large"];

    /// The names of the networks a node can join.
    pub const NETWORKS: [&'static str; 2] = ["default", "storage"];

    /// A backend in a world of its own: namespace `default`, two hosts named
    /// `host-1` and `host-2`, a latency of a millisecond, able to do
    /// everything but shrink volumes and attach them to many nodes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            world: Arc::default(),
            settings: Arc::new(Settings {
                namespace: "default".to_owned(),
                latency: Duration::from_millis(1),
                shutdown_time: Duration::ZERO,
                hosts: vec!["host-1".to_owned(), "host-2".to_owned()],
                nodes: node_capabilities(),
                images: image_capabilities(),
                volumes: volume_capabilities(),
            }),
            faults: Faults::default(),
        }
    }

    /// A backend in the same world with the same settings that works in
    /// another namespace. It has its own faults and its own record of calls.
    #[must_use]
    pub fn in_namespace(&self, namespace: impl Into<String>) -> Self {
        let settings = Settings { namespace: namespace.into(), ..(*self.settings).clone() };
        Self {
            world: Arc::clone(&self.world),
            settings: Arc::new(settings),
            faults: Faults::default(),
        }
    }

    /// Sets how long a thing takes to become what it was asked to be.
    #[must_use]
    pub fn with_latency(self, latency: Duration) -> Self {
        self.with(|settings| settings.latency = latency)
    }

    /// Sets how long a node takes to shut down by itself when it is asked to,
    /// beyond the latency; nothing unless set. With less
    /// [grace](crate::provisioner::StopOptions::grace) than that its power is
    /// cut.
    #[must_use]
    pub fn with_shutdown_time(self, time: Duration) -> Self {
        self.with(|settings| settings.shutdown_time = time)
    }

    /// Sets the hosts that nodes are spread over. None given means one.
    #[must_use]
    pub fn with_hosts(self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut hosts: Vec<String> = hosts.into_iter().map(Into::into).collect();
        if hosts.is_empty() {
            hosts.push("host-1".to_owned());
        }
        self.with(|settings| settings.hosts = hosts)
    }

    /// Sets what the provisioner can do.
    #[must_use]
    pub fn with_node_capabilities(self, capabilities: ProvisionerCapabilities) -> Self {
        self.with(|settings| settings.nodes = capabilities)
    }

    /// Sets what the image builder can do.
    #[must_use]
    pub fn with_image_capabilities(self, capabilities: ImageCapabilities) -> Self {
        self.with(|settings| settings.images = capabilities)
    }

    /// Sets what the volume driver can do.
    #[must_use]
    pub fn with_volume_capabilities(self, capabilities: VolumeCapabilities) -> Self {
        self.with(|settings| settings.volumes = capabilities)
    }

    /// The namespace it works in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.settings.namespace
    }

    /// A tag for a new request of this application, in this namespace.
    pub fn owner(&self, app: impl Into<String>) -> Owner {
        Owner::new(self.namespace(), app, RequestId::random())
    }

    /// What is to go wrong, and what was called.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Makes a host unreachable, or reachable again. What runs on it goes on,
    /// but cannot be asked about or changed.
    pub fn set_host_down(&self, host: &str, down: bool) {
        let mut state = self.world.lock();
        if down {
            state.hosts_down.insert(host.to_owned());
        } else {
            state.hosts_down.remove(host);
        }
    }

    /// Writes `data` to a volume as the node does that has it, in place of
    /// all that was there.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] if the volume is not
    /// attached there; [`ErrorKind::PermissionDenied`] if it is attached for
    /// reading only; [`ErrorKind::QuotaExceeded`] if it is too small.
    pub fn write(&self, volume: &VolumeId, node: &NodeId, data: &[u8]) -> Result<()> {
        let mut state = self.world.lock();
        let record = state.volume(self.namespace(), volume)?;
        if attachment(&record.volume, node)?.read_only {
            let message = format!("node '{node}' may only read volume '{volume}'");
            return Err(Error::new(ErrorKind::PermissionDenied, message));
        }
        if data.len() as u64 > record.volume.size {
            let message = format!("{} bytes do not fit on volume '{volume}'", data.len());
            return Err(Error::new(ErrorKind::QuotaExceeded, message));
        }
        record.data = data.to_vec();
        Ok(())
    }

    /// Reads what was last written to a volume, as a node that has it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] if the volume is not
    /// attached there.
    pub fn read(&self, volume: &VolumeId, node: &NodeId) -> Result<Vec<u8>> {
        let mut state = self.world.lock();
        let record = state.volume(self.namespace(), volume)?;
        attachment(&record.volume, node)?;
        Ok(record.data.clone())
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// Runs one call: records it, applies the faults asked for, and names the
    /// backend and the operation in its errors.
    async fn call<T, W>(
        &self,
        ctx: &Context,
        operation: Operation,
        target: impl Into<String>,
        work: impl FnOnce(Fate) -> W + Send,
    ) -> Result<T>
    where
        W: Future<Output = Result<T>> + Send,
    {
        let result = async {
            ctx.check()?;
            let fate = self.faults.admit(ctx, operation, target.into()).await?;
            fate.reply(work(fate).await?)
        };
        result.await.map_err(|error: Error| error.in_backend("memory").during(operation.as_str()))
    }

    async fn settle(&self, ctx: &Context, at: Instant) -> Result<()> {
        ctx.sleep(at.saturating_duration_since(Instant::now())).await
    }

    fn ready_at(&self) -> Instant {
        Instant::now() + self.settings.latency
    }

    fn health(&self) -> Result<Health> {
        let state = self.world.lock();
        let endpoints = self.settings.hosts.iter().map(|host| {
            if state.hosts_down.contains(host) {
                Endpoint::unhealthy(host, "it is down")
            } else {
                Endpoint::healthy(host, Some(env!("CARGO_PKG_VERSION").to_owned()))
            }
        });
        let endpoints: Vec<_> = endpoints.collect();
        if endpoints.iter().all(|endpoint| endpoint.problem.is_some()) {
            return Err(Error::new(ErrorKind::Unavailable, "every host is down"));
        }
        Ok(Health::new("memory", endpoints))
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

fn attachment<'a>(
    volume: &'a crate::volume_driver::Volume,
    node: &NodeId,
) -> Result<&'a crate::volume_driver::Attachment> {
    volume.attachments.iter().find(|attachment| attachment.node == *node).ok_or_else(|| {
        let message = format!("volume '{}' is not attached to node '{node}'", volume.id);
        Error::new(ErrorKind::Conflict, message)
    })
}

fn node_capabilities() -> ProvisionerCapabilities {
    ProvisionerCapabilities {
        stop_start: true,
        sizes: true,
        resources: true,
        ports: true,
        mounts: true,
        networks: true,
        env: true,
        user_data: true,
        max_nodes: Some(100),
    }
}

fn image_capabilities() -> ImageCapabilities {
    use ApplianceFormat::{Qcow2, Raw, Tar, Vhd};
    use SourceKind::{Appliance, Image, Installer, Recipe};
    ImageCapabilities {
        sources: [Appliance, Recipe, Installer, Image].into(),
        formats: [Tar, Raw, Vhd, Qcow2].into(),
        delete_in_use: false,
    }
}

fn volume_capabilities() -> VolumeCapabilities {
    VolumeCapabilities {
        attach_many: false,
        take_over: true,
        read_only: true,
        grow: true,
        shrink: false,
        resize_attached: false,
        snapshots: true,
        snapshot_empty: true,
        restore: true,
        min_size: 1 << 12,
        max_size: Some(1 << 40),
        size_unit: 1 << 12,
        max_per_node: Some(8),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::image_builder::{ImageSource, ImageSpec};
    use crate::progress::{Level, ProgressEvent, ProgressReporter};
    use crate::provisioner::{DeploySpec, NodeStatus};
    use crate::{ImageBuilder, ListFilter, Provisioner};

    async fn two_nodes(backend: &MemoryBackend) -> Vec<crate::provisioner::Node> {
        let path = std::env::current_exe().unwrap();
        let source = ImageSource::Appliance { path, format: ApplianceFormat::Raw };
        let spec = ImageSpec::new(backend.owner("web"), "web", "1", source);
        let ctx = Context::new();
        let image = backend.build(&ctx, &spec).await.unwrap();
        let spec = DeploySpec::new(backend.owner("web"), image.id, ["a", "b"]);
        backend.deploy(&ctx, &spec).await.unwrap().into_nodes().unwrap()
    }

    #[derive(Default)]
    struct Messages(Mutex<Vec<String>>);

    impl ProgressReporter for Messages {
        fn report(&self, event: ProgressEvent) {
            if let ProgressEvent::Message { level: Level::Warning, text } = event {
                self.0.lock().unwrap().push(text);
            }
        }
    }

    #[tokio::test]
    async fn a_list_is_complete_or_fails_unless_a_partial_one_will_do() {
        let backend = MemoryBackend::new();
        let nodes = two_nodes(&backend).await;
        let down = nodes[0].host.clone().unwrap();
        assert_ne!(nodes[1].host.as_ref(), Some(&down));
        backend.set_host_down(&down, true);

        let messages = Arc::new(Messages::default());
        let ctx = Context::new().with_progress(messages.clone());
        let failed = Provisioner::list(&backend, &ctx, &ListFilter::all()).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Unavailable);
        assert_eq!(failed.context_value("endpoint"), Some(down.as_str()));
        let partial = ListFilter::all().with_partial(true);
        let rest = Provisioner::list(&backend, &ctx, &partial).await.unwrap();
        assert_eq!(rest, [nodes[1].clone()]);
        let told = messages.0.lock().unwrap().join("");
        assert!(told.contains(&down), "{told}");
        let health = Provisioner::check(&backend, &ctx).await.unwrap();
        let broken = health.endpoints.iter().filter(|endpoint| endpoint.problem.is_some());
        assert_eq!(broken.count(), 1);

        backend.set_host_down(&down, false);
        assert_eq!(Provisioner::list(&backend, &ctx, &partial).await.unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn things_take_their_time_and_finish_without_being_watched() {
        let backend = MemoryBackend::new();
        let image = two_nodes(&backend).await.swap_remove(0).image.unwrap();
        let backend = backend.with_latency(Duration::from_secs(10));
        let spec = DeploySpec::new(backend.owner("web"), image, ["c"]);
        let ctx = Context::new();
        let one_second = tokio::time::timeout(Duration::from_secs(1), backend.deploy(&ctx, &spec));
        assert!(one_second.await.is_err());
        let status = async || {
            let nodes = Provisioner::list(&backend, &ctx, &ListFilter::request(&spec.owner)).await;
            nodes.unwrap()[0].status
        };
        assert_eq!(status().await, NodeStatus::Starting);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(status().await, NodeStatus::Running);
    }

    #[tokio::test]
    async fn faults_happen_to_the_call_they_were_asked_for_and_once() {
        let backend = MemoryBackend::new();
        let ctx = Context::new();
        let list = async || Provisioner::list(&backend, &ctx, &ListFilter::all()).await.is_ok();
        assert!(list().await);
        let error = Error::new(ErrorKind::PermissionDenied, "no");
        backend.faults().fail_nth(Operation::NodeList, 2, error);
        assert_eq!([list().await, list().await, list().await], [true, false, true]);
        backend.faults().fail_half_way(Operation::NodeList, 1);
        backend.faults().clear();
        assert!(list().await);
        assert_eq!(backend.faults().count(Operation::NodeList), 5);
        assert_eq!(backend.faults().calls()[0].to_string(), "node.list ");
    }
}

//! The memory backend as a subject of the conformance suites, behind any
//! layer.

// Every test program uses another part of it.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use flock_core::conformance::{image_builder, provisioner, volume_driver};
use flock_core::image_builder::{ApplianceFormat, ImageSource, ImageSpec};
use flock_core::layers::{Retry, RetryPolicy};
use flock_core::memory::MemoryBackend;
use flock_core::provisioner::DeploySpec;
use flock_core::{
    Context, Error, ErrorKind, ImageBuilder, ImageId, NodeId, Owner, Provisioner, RequestId,
    Result, VolumeDriver,
};

/// Tries again soon.
pub(crate) fn with_retry<T>(inner: T) -> Retry<T> {
    let mut policy = RetryPolicy::default();
    policy.first_delay = Duration::from_millis(1);
    Retry::new(inner, policy)
}

/// An appliance file, one that is empty, and a path where there is none.
pub(crate) struct Sources {
    directory: tempfile::TempDir,
}

impl Sources {
    pub(crate) fn new() -> Result<Self> {
        let directory = tempfile::tempdir().map_err(|error| {
            Error::new(ErrorKind::Unexpected, "no temporary directory").caused_by(error)
        })?;
        for (name, content) in [("good.tar", "an appliance"), ("empty.tar", "")] {
            let path = directory.path().join(name);
            std::fs::write(&path, content).map_err(|error| Error::io("write", &path, error))?;
        }
        Ok(Self { directory })
    }

    pub(crate) fn source(&self, name: &str) -> ImageSource {
        let path = self.directory.path().join(name);
        ImageSource::Appliance { path, format: ApplianceFormat::Tar }
    }
}

/// An image in the backend's namespace.
pub(crate) async fn image(backend: &MemoryBackend) -> Result<ImageId> {
    let sources = Sources::new()?;
    let spec = ImageSpec::new(backend.owner("base"), "base", "1", sources.source("good.tar"));
    Ok(backend.build(&Context::new(), &spec).await?.id)
}

/// Two running nodes.
pub(crate) async fn nodes(backend: &MemoryBackend) -> Result<Vec<NodeId>> {
    let owner = Owner::new(backend.namespace(), "hosts", RequestId::random());
    let spec = DeploySpec::new(owner, image(backend).await?, ["one", "two"]);
    let nodes = backend.deploy(&Context::new(), &spec).await?.into_nodes()?;
    Ok(nodes.into_iter().map(|node| node.id).collect())
}

pub(crate) async fn volume_subject<T: VolumeDriver + 'static>(
    backend: MemoryBackend,
    layer: impl Fn(MemoryBackend) -> T,
) -> Result<volume_driver::Subject> {
    let nodes = nodes(&backend).await?;
    let other = backend.in_namespace("other");
    let driver = Arc::new(layer(backend.clone()));
    Ok(volume_driver::Subject::new(driver, backend.namespace(), nodes, "volume-0", "node-0")
        .with_foreign(Arc::new(layer(other)), "other")
        .with_faults(backend.faults().clone())
        .with_data(backend))
}

pub(crate) fn volume_options(backend: &MemoryBackend) -> volume_driver::SuiteOptions {
    let capabilities = VolumeDriver::capabilities(backend);
    volume_driver::SuiteOptions::new(capabilities)
        .with_nodes(2)
        .with_foreign()
        .with_faults()
        .with_data()
}

pub(crate) async fn node_subject<T: Provisioner + 'static>(
    backend: MemoryBackend,
    layer: impl Fn(MemoryBackend) -> T,
) -> Result<provisioner::Subject> {
    // Asked to shut down, they do so when every case has ended.
    let backend = backend.with_shutdown_time(Duration::from_secs(24 * 3600));
    let other = backend.in_namespace("other");
    let (ours, theirs) = (image(&backend).await?, image(&other).await?);
    let layered = Arc::new(layer(backend.clone()));
    let stubborn = ours.clone();
    Ok(provisioner::Subject::new(layered, backend.namespace(), ours, "image-0", "node-0")
        .with_stubborn(stubborn)
        .with_foreign(Arc::new(layer(other)), "other", theirs)
        .with_faults(backend.faults().clone())
        .with_volumes(Arc::new(with_retry(backend))))
}

pub(crate) fn node_options(backend: &MemoryBackend) -> provisioner::SuiteOptions {
    provisioner::SuiteOptions::new(Provisioner::capabilities(backend))
        .with_foreign()
        .with_faults()
        .with_volumes()
        .with_stubborn()
}

pub(crate) async fn image_subject<T: ImageBuilder + 'static>(
    backend: MemoryBackend,
    layer: impl Fn(MemoryBackend) -> T,
) -> Result<image_builder::Subject> {
    let sources = Sources::new()?;
    let other = backend.in_namespace("other");
    let builder = Arc::new(layer(backend.clone()));
    let (good, missing) = (sources.source("good.tar"), sources.source("missing.tar"));
    let subject =
        image_builder::Subject::new(builder, backend.namespace(), good, missing, "image-0");
    Ok(subject
        .with_broken(sources.source("empty.tar"))
        .with_foreign(Arc::new(layer(other)), "other")
        .with_faults(backend.faults().clone())
        .with_nodes(Arc::new(with_retry(backend)))
        .with_held(sources))
}

pub(crate) fn image_options(backend: &MemoryBackend) -> image_builder::SuiteOptions {
    let capabilities = ImageBuilder::capabilities(backend);
    image_builder::SuiteOptions::new(capabilities)
        .with_foreign()
        .with_faults()
        .with_nodes()
        .with_broken()
}

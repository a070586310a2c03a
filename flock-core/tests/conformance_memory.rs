//! The three traits' suites on the memory backend, on it behind each layer,
//! behind a trait object, and poor in capabilities.

mod memory;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use flock_core::conformance::{Suite, image_builder, main as run, provisioner, volume_driver};
use flock_core::image_builder::{ApplianceFormat, SourceKind};
use flock_core::layers::{ConcurrencyLimit, Permits, Retry, TimeLimits, Timeout};
use flock_core::memory::MemoryBackend;
use flock_core::provisioner::ProvisionerCapabilities;
use flock_core::volume_driver::VolumeCapabilities;
use flock_core::{Error, ErrorKind, ImageBuilder, Operation, Provisioner, VolumeDriver};

/// The three suites on backends made by `make`, seen through `layer`.
fn suites<T>(
    name: &str,
    make: impl Fn() -> MemoryBackend + Copy + Send + Sync + 'static,
    layer: impl Fn(MemoryBackend) -> T + Copy + Send + Sync + 'static,
) -> [Suite; 3]
where
    T: Provisioner + ImageBuilder + VolumeDriver + 'static,
{
    let sample = make();
    [
        volume_driver::suite(name, &memory::volume_options(&sample), move || {
            memory::volume_subject(make(), layer)
        }),
        provisioner::suite(name, &memory::node_options(&sample), move || {
            memory::node_subject(make(), layer)
        }),
        image_builder::suite(name, &memory::image_options(&sample), move || {
            memory::image_subject(make(), layer)
        }),
    ]
}

/// Behind trait objects, as an embedding program holds them.
fn dyn_suites() -> [Suite; 3] {
    let sample = MemoryBackend::new();
    [
        volume_driver::suite("memory+dyn", &memory::volume_options(&sample), || {
            memory::volume_subject(MemoryBackend::new(), |backend| -> Arc<dyn VolumeDriver> {
                Arc::new(backend)
            })
        }),
        provisioner::suite("memory+dyn", &memory::node_options(&sample), || {
            memory::node_subject(MemoryBackend::new(), |backend| -> Arc<dyn Provisioner> {
                Arc::new(backend)
            })
        }),
        image_builder::suite("memory+dyn", &memory::image_options(&sample), || {
            memory::image_subject(MemoryBackend::new(), |backend| -> Arc<dyn ImageBuilder> {
                Arc::new(backend)
            })
        }),
    ]
}

fn with_timeout<T>(inner: T) -> Timeout<T> {
    Timeout::new(inner, TimeLimits::default())
}

fn with_limit<T>(inner: T) -> ConcurrencyLimit<T> {
    ConcurrencyLimit::new(inner, Permits::new(2))
}

/// Some operations break once before they have an effect and once after it.
/// Only a retry around them makes the suites pass.
fn shaky_with_retry(inner: MemoryBackend) -> Retry<MemoryBackend> {
    let broken = Error::new(ErrorKind::Unavailable, "not now");
    for operation in [
        Operation::NodeDeploy,
        Operation::NodeStop,
        Operation::ImageBuild,
        Operation::VolumeAttach,
        Operation::VolumeList,
    ] {
        inner.faults().fail_nth(operation, 1, broken.clone());
        inner.faults().lose_reply(operation, 2);
    }
    memory::with_retry(inner)
}

fn poor() -> MemoryBackend {
    let mut images = ImageBuilder::capabilities(&MemoryBackend::new());
    images.sources = [SourceKind::Appliance].into();
    images.formats = [ApplianceFormat::Tar].into();
    images.delete_in_use = true;
    // Room for the few bytes that the suite writes.
    let mut volumes = VolumeCapabilities::default();
    volumes.min_size = 16;
    MemoryBackend::new()
        .with_node_capabilities(ProvisionerCapabilities::default())
        .with_image_capabilities(images)
        .with_volume_capabilities(volumes)
}

/// What the backend does only if it is told to.
fn rich() -> MemoryBackend {
    let mut volumes = VolumeDriver::capabilities(&MemoryBackend::new());
    volumes.attach_many = true;
    volumes.shrink = true;
    volumes.resize_attached = true;
    volumes.snapshot_empty = false;
    MemoryBackend::new().with_volume_capabilities(volumes)
}

fn slow() -> MemoryBackend {
    MemoryBackend::new().with_latency(Duration::from_millis(20))
}

fn main() -> ExitCode {
    let all = |inner| memory::with_retry(with_limit(with_timeout(inner)));
    let suites = [
        suites("memory", MemoryBackend::new, |inner| inner),
        suites("memory+poor", poor, |inner| inner),
        suites("memory+rich", rich, |inner| inner),
        suites("memory+slow", slow, |inner| inner),
        suites("memory+retry", MemoryBackend::new, memory::with_retry),
        suites("memory-shaky+retry", MemoryBackend::new, shaky_with_retry),
        suites("memory+timeout", MemoryBackend::new, with_timeout),
        suites("memory+limit", MemoryBackend::new, with_limit),
        suites("memory+all", slow, all),
        dyn_suites(),
    ];
    run(suites.into_iter().flatten())
}

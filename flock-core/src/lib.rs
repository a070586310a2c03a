//! The vocabulary of flock, and the pipeline that makes appliances.
//!
//! flock takes a base operating system and an application, makes an appliance
//! of them, and runs it wherever a *backend* can: a cloud, container engines,
//! hypervisors. This crate holds what all of them share. A program that embeds
//! flock speaks to the traits; a backend implements them.
//!
//! | trait | makes | verbs |
//! |---|---|---|
//! | [`ImageBuilder`] | images | check, build, list, get, delete |
//! | [`Provisioner`] | nodes from images | check, deploy, list, get, start, stop, destroy |
//! | [`VolumeDriver`] | volumes for nodes | check, create, list, get, attach, detach, resize, snapshot, destroy |
//!
//! # Using a backend
//!
//! Every call takes a [`Context`]: until when it may take, whether it is still
//! wanted, and whom to tell how far it is ([`progress`]). What is made is
//! tagged with an [`Owner`]: a namespace that a backend keeps to, an
//! application, and the request that made it. A request that was interrupted,
//! or whose answer was lost, is made again with the same owner: it finishes
//! what was begun and makes nothing twice. That is the heart of the
//! [contract](Provisioner#the-contract), and what the layers rely on.
//!
//! ```
//! use std::time::Duration;
//! use flock_core::layers::{Retry, RetryPolicy};
//! use flock_core::memory::MemoryBackend;
//! use flock_core::volume_driver::VolumeSpec;
//! use flock_core::{Context, ErrorKind, Owner, RequestId, Result, VolumeDriver};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let volumes = Retry::new(MemoryBackend::new(), RetryPolicy::default());
//! let ctx = Context::new().with_timeout(Duration::from_secs(60));
//! let owner = Owner::new("default", "shop", RequestId::random());
//!
//! let volume = volumes.create(&ctx, &VolumeSpec::new(owner, "orders", 1 << 30)).await?;
//! match VolumeDriver::destroy(&volumes, &ctx, &volume.id).await {
//!     // Programs decide by the kind; people read message, causes and hints.
//!     Err(error) if error.kind() == ErrorKind::Conflict => {
//!         eprintln!("{error}: {}", error.hints().collect::<Vec<_>>().join("; "));
//!     }
//!     other => other?,
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`ctx.cancel()`](Context::cancel) from anywhere ends the calls under way;
//! what they began shows in `list`. Wrap a backend in [`layers`] for retries,
//! time limits, a bound on concurrency, or a dry run that says what would be
//! done. For tests of a program there is [`memory`], whose calls fail where
//! they are told to.
//!
//! # Building an appliance
//!
//! Without any file of configuration; [`appliance`] has more of it.
//!
//! ```no_run
//! use flock_core::app::{ApplicationConfig, RepositoryType};
//! use flock_core::appliance::{self, BuildRequest};
//! use flock_core::location::Location;
//! use flock_core::{Context, Result};
//!
//! # async fn example() -> Result<()> {
//! let base: Location = "oci://docker.io/library/debian:13-slim".parse()?;
//! let site: Location = "https://github.com/mozilla/pdf.js.git".parse()?;
//! let site = ApplicationConfig::new(site, RepositoryType::Git, "/var/www/html");
//! let request = BuildRequest::new("viewer", base, "viewer.tar")?.with_application(site);
//! let built = appliance::build(&Context::new(), &request).await?;
//! println!("{} of {} bytes", built.output.display(), built.size);
//! # Ok(())
//! # }
//! ```
//!
//! With [`with_format`](appliance::BuildRequest::with_format) it is a disk that
//! boots, as raw, VHD or qcow2; [`rootfs`] lists what else there is for disks.
//!
//! # Writing a backend
//!
//! 1. Implement the trait. Its methods say what they must do, and with which
//!    kind of error they refuse. Say in `capabilities` what can be done, and
//!    call the spec's `validate` first, so that what cannot is refused before
//!    anything has an effect: [`DeploySpec::validate`],
//!    [`VolumeSpec::validate`], [`ImageSpec::validate`], [`check_options`],
//!    [`Owner::require_namespace`].
//! 2. Store the owner's tag beside the thing itself ([`Owner::to_pairs`]):
//!    that is what makes `list` know what is yours, after a crash too.
//! 3. Before making anything, look for the name. There with the same owner:
//!    finish it if it is half made and answer with it. With another owner:
//!    [`ErrorKind::AlreadyExists`].
//! 4. Wait with [`Context::run`] and [`Context::sleep`], ask
//!    [`Context::check`] in loops that block, and move blocking work to
//!    `tokio::task::spawn_blocking`.
//! 5. Map the service's errors to [`Error`] once: the kind to match on, the
//!    service's own code with [`Error::with`], what to do with
//!    [`Error::hint`]. Mark as [`retryable`](Error::retryable) only what the
//!    same call can mend.
//! 6. Run the conformance suite on it, from the first day.
//!
//! ## Of nodes
//!
//! A backend of machines on a rack, with the test program that holds it to
//! the contract. Where a service would be asked, it looks into a list.
//!
//! ```
//! use std::sync::{Mutex, MutexGuard, PoisonError};
//!
//! use flock_core::backend::check_options;
//! use flock_core::provisioner::{
//!     DeploySpec, Deployment, Node, NodeOutcome, NodeStatus, ProvisionerCapabilities, StopOptions,
//! };
//! use flock_core::{
//!     Context, Endpoint, Error, ErrorKind, Health, ImageId, ListFilter, NodeId, Provisioner,
//!     RequestId, Result, async_trait,
//! };
//!
//! /// Keeps machines as long as the program runs.
//! struct Rack {
//!     namespace: String,
//!     /// What its machines can run.
//!     image: ImageId,
//!     nodes: Mutex<Vec<Node>>,
//! }
//!
//! impl Rack {
//!     fn new(namespace: &str) -> Self {
//!         let (image, nodes) = (ImageId::new("minimal"), Mutex::default());
//!         Self { namespace: namespace.to_owned(), image, nodes }
//!     }
//!
//!     fn nodes(&self) -> MutexGuard<'_, Vec<Node>> {
//!         self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
//!     }
//!
//!     /// The node of that name: the one that this request has made, or a new one.
//!     fn place(&self, spec: &DeploySpec, name: &str) -> Result<Node> {
//!         let mut nodes = self.nodes();
//!         // A name is unique within its application.
//!         let app = &spec.owner.app;
//!         if let Some(there) = nodes.iter().find(|n| n.name == name && n.owner.app == *app) {
//!             if there.owner != spec.owner {
//!                 let message = format!("another request has made node '{name}'");
//!                 return Err(Error::new(ErrorKind::AlreadyExists, message).in_backend("rack"));
//!             }
//!             spec.require_same(there)?;
//!             // A backend whose nodes can be half made would finish it here.
//!             return Ok(there.clone());
//!         }
//!         let id = format!("machine-{}", RequestId::random());
//!         let mut node = Node::new(id, name, spec.owner.clone(), NodeStatus::Running);
//!         node.image = Some(spec.image.clone());
//!         nodes.push(node.clone());
//!         Ok(node)
//!     }
//!
//!     /// Changes the status of a node and answers with it.
//!     fn turn(&self, id: &NodeId, status: NodeStatus) -> Result<Node> {
//!         let mut nodes = self.nodes();
//!         let node = nodes.iter_mut().find(|node| node.id == *id);
//!         let node = node.ok_or_else(|| missing("node", id.as_str()))?;
//!         node.status = status;
//!         Ok(node.clone())
//!     }
//! }
//!
//! fn missing(what: &'static str, id: &str) -> Error {
//!     let message = format!("no {what} '{id}'");
//!     Error::new(ErrorKind::NotFound, message).in_backend("rack").with(what, id)
//! }
//!
//! #[async_trait]
//! impl Provisioner for Rack {
//!     fn name(&self) -> &str {
//!         "rack"
//!     }
//!
//!     fn capabilities(&self) -> ProvisionerCapabilities {
//!         let mut capabilities = ProvisionerCapabilities::default();
//!         capabilities.stop_start = true;
//!         capabilities
//!     }
//!
//!     async fn check(&self, ctx: &Context) -> Result<Health> {
//!         ctx.check()?;
//!         Ok(Health::new("rack", vec![Endpoint::healthy("this program", None)]))
//!     }
//!
//!     async fn deploy(&self, ctx: &Context, spec: &DeploySpec) -> Result<Deployment> {
//!         spec.validate(&self.capabilities())?;
//!         check_options(&spec.options, &[])?;
//!         spec.owner.require_namespace(&self.namespace)?;
//!         // All nodes need it, so it is one error, not one for each.
//!         if spec.image != self.image {
//!             return Err(missing("image", spec.image.as_str()));
//!         }
//!         // Each name has an outcome of its own, also when the context ends.
//!         let outcome = |name: &String| match ctx.check().and_then(|()| self.place(spec, name)) {
//!             Ok(node) => NodeOutcome::ready(node),
//!             Err(error) => NodeOutcome::failed(name, None, error),
//!         };
//!         Ok(Deployment::new(spec.names.iter().map(outcome).collect()))
//!     }
//!
//!     async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Node>> {
//!         ctx.check()?;
//!         let wanted = |node: &&Node| filter.matches(&node.owner);
//!         let mut nodes: Vec<_> = self.nodes().iter().filter(wanted).cloned().collect();
//!         nodes.sort_by(|a, b| (&a.name, &a.owner.app).cmp(&(&b.name, &b.owner.app)));
//!         Ok(nodes)
//!     }
//!
//!     async fn get(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
//!         ctx.check()?;
//!         let found = self.nodes().iter().find(|there| there.id == *node).cloned();
//!         found.ok_or_else(|| missing("node", node.as_str()))
//!     }
//!
//!     async fn start(&self, ctx: &Context, node: &NodeId) -> Result<Node> {
//!         ctx.check()?;
//!         self.turn(node, NodeStatus::Running)
//!     }
//!
//!     async fn stop(&self, ctx: &Context, node: &NodeId, _: &StopOptions) -> Result<Node> {
//!         // These machines need no grace; others get `StopOptions::grace`.
//!         ctx.check()?;
//!         self.turn(node, NodeStatus::Stopped)
//!     }
//!
//!     async fn destroy(&self, ctx: &Context, node: &NodeId) -> Result<()> {
//!         ctx.check()?;
//!         let mut nodes = self.nodes();
//!         let before = nodes.len();
//!         nodes.retain(|there| there.id != *node);
//!         if nodes.len() < before { Ok(()) } else { Err(missing("node", node.as_str())) }
//!     }
//! }
//!
//! # fn main() -> std::process::ExitCode {
//! # // What follows is a test program of its own, `harness = false`.
//! use std::process::ExitCode;
//! use std::sync::Arc;
//! use flock_core::conformance;
//! use flock_core::conformance::provisioner::{Subject, SuiteOptions, suite};
//!
//! # fn test_program() -> ExitCode {
//! // A fresh backend for every case, an image that it can deploy, and ids
//! // that no image and no node has.
//! let fixture = || async {
//!     let rack = Arc::new(Rack::new("test"));
//!     Ok(Subject::new(rack, "test", "minimal", "no-image", "no-machine"))
//! };
//! let options = SuiteOptions::new(Rack::new("test").capabilities());
//! conformance::main([suite("rack", &options, fixture)])
//! # }
//! # test_program()
//! # }
//! ```
//!
//! A backend that has a second namespace, volumes, or a way to break its
//! service says so (`SuiteOptions::with_foreign` and its like, and the same
//! on the `Subject`), and gets the cases about them.
//!
//! ## Of images
//!
//! A backend of images that are files, whose work blocks:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::path::Path;
//! use std::sync::{Mutex, MutexGuard, PoisonError};
//!
//! use flock_core::backend::check_options;
//! use flock_core::image_builder::{
//!     ApplianceFormat, Image, ImageCapabilities, ImageSource, ImageSpec, ImageStatus, SourceKind,
//! };
//! use flock_core::{
//!     Context, Endpoint, Error, ErrorKind, Health, ImageBuilder, ImageId, ListFilter,
//!     RequestId, Result, async_trait,
//! };
//!
//! /// Knows files as images, as long as the program runs.
//! struct Shelf {
//!     namespace: String,
//!     /// By name and version, which are unique together.
//!     images: Mutex<BTreeMap<(String, String), Image>>,
//! }
//!
//! impl Shelf {
//!     fn images(&self) -> MutexGuard<'_, BTreeMap<(String, String), Image>> {
//!         self.images.lock().unwrap_or_else(PoisonError::into_inner)
//!     }
//! }
//!
//! /// The size of a file. Touching a disk blocks, so it has a thread for it.
//! async fn size_of(ctx: &Context, path: &Path) -> Result<u64> {
//!     let asked = path.to_owned();
//!     let work = tokio::task::spawn_blocking(move || std::fs::metadata(asked));
//!     let metadata = ctx.run(async {
//!         let ended = work.await.map_err(|error| {
//!             Error::new(ErrorKind::Unexpected, "a worker ended early").caused_by(error)
//!         })?;
//!         ended.map_err(|error| Error::io("read", path, error))
//!     });
//!     Ok(metadata.await?.len())
//! }
//!
//! #[async_trait]
//! impl ImageBuilder for Shelf {
//!     fn name(&self) -> &str {
//!         "shelf"
//!     }
//!
//!     fn capabilities(&self) -> ImageCapabilities {
//!         let mut capabilities = ImageCapabilities::default();
//!         capabilities.sources = [SourceKind::Appliance].into();
//!         capabilities.formats = [ApplianceFormat::Tar].into();
//!         capabilities
//!     }
//!
//!     async fn check(&self, ctx: &Context) -> Result<Health> {
//!         ctx.check()?;
//!         Ok(Health::new("shelf", vec![Endpoint::healthy("this program", None)]))
//!     }
//!
//!     async fn build(&self, ctx: &Context, spec: &ImageSpec) -> Result<Image> {
//!         ctx.check()?;
//!         spec.validate(&self.capabilities())?;
//!         spec.owner.require_namespace(&self.namespace)?;
//!         check_options(&spec.options, &[])?;
//!         let ImageSource::Appliance { path, .. } = &spec.source else {
//!             return Err(Error::new(ErrorKind::Unsupported, "only appliances go on the shelf"));
//!         };
//!         let size = size_of(ctx, path).await?;
//!         if size == 0 {
//!             let message = format!("{} is empty", path.display());
//!             return Err(Error::new(ErrorKind::InvalidData, message));
//!         }
//!         let mut images = self.images();
//!         let key = (spec.name.clone(), spec.version.clone());
//!         if let Some(there) = images.get(&key) {
//!             if there.owner == spec.owner {
//!                 return Ok(there.clone());
//!             }
//!             let message = format!("another request has made image '{}'", spec.name);
//!             return Err(Error::new(ErrorKind::AlreadyExists, message));
//!         }
//!         let id = ImageId::new(format!("image-{}", RequestId::random()));
//!         let owner = spec.owner.clone();
//!         let mut image =
//!             Image::new(id, &spec.name, &spec.version, owner, ImageStatus::Ready);
//!         image.size = Some(size);
//!         images.insert(key, image.clone());
//!         Ok(image)
//!     }
//!
//!     async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Image>> {
//!         ctx.check()?;
//!         // A map is sorted, as the list must be.
//!         Ok(self.images().values().filter(|image| filter.matches(&image.owner)).cloned().collect())
//!     }
//!
//!     async fn get(&self, ctx: &Context, image: &ImageId) -> Result<Image> {
//!         ctx.check()?;
//!         let found = self.images().values().find(|there| there.id == *image).cloned();
//!         found.ok_or_else(|| missing(image))
//!     }
//!
//!     async fn delete(&self, ctx: &Context, image: &ImageId) -> Result<()> {
//!         ctx.check()?;
//!         let mut images = self.images();
//!         let before = images.len();
//!         images.retain(|_, there| there.id != *image);
//!         if images.len() < before { Ok(()) } else { Err(missing(image)) }
//!     }
//! }
//!
//! fn missing(image: &ImageId) -> Error {
//!     Error::new(ErrorKind::NotFound, format!("no image '{image}'")).in_backend("shelf")
//! }
//!
//! # fn main() -> std::process::ExitCode {
//! # // What follows is a test program of its own, `harness = false`.
//! use std::process::ExitCode;
//! use std::sync::Arc;
//! use flock_core::conformance;
//! use flock_core::conformance::image_builder::{SuiteOptions, Subject, suite};
//!
//! # fn test_program() -> ExitCode {
//! let shelf = || Shelf { namespace: "test".to_owned(), images: Mutex::default() };
//! let options = SuiteOptions::new(shelf().capabilities());
//! let fixture = move || async move {
//!     let at = |path: &str| ImageSource::Appliance {
//!         path: path.into(),
//!         format: ApplianceFormat::Tar,
//!     };
//!     let (good, missing) = (at("Cargo.toml"), at("no-such-file"));
//!     Ok(Subject::new(Arc::new(shelf()), "test", good, missing, "none 0"))
//! };
//! conformance::main([suite("shelf", &options, fixture)])
//! # }
//! # test_program()
//! # }
//! ```
//!
//! # Testing a backend
//!
//! With the feature `conformance`, each trait has a suite of named cases that
//! hold a backend to the contract. The ends of the examples above are whole
//! test programs, each a target of its own with `harness = false`: a fixture
//! that makes a fresh subject for every case, and options that say what it
//! offers. What a
//! backend cannot do is shown as ignored with the reason, and the cases turn
//! round: it must be refused. The repository's `examples/own_backend` is a
//! complete volume driver with its test.
//!
//! ```toml
//! [dev-dependencies]
//! flock-core = { version = "0.1", features = ["conformance"] }
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! # What is where
//!
//! - The traits with their types: [`provisioner`], [`image_builder`],
//!   [`volume_driver`]; what they share: [`backend`], [`owner`], [`id`],
//!   [`operation`].
//! - What every call carries and gives: [`context`], [`progress`], [`error`];
//!   values that are not to be shown: [`secret`].
//! - Around backends: [`layers`], [`memory`], and the conformance suites,
//!   `conformance`.
//! - Making an appliance: [`app`] reads an application's `config.yaml`,
//!   [`appliance`] builds it; a [`location`] says where something is, `fetch`
//!   brings what it is made of through the [`cache`], [`rootfs`] is the pipeline
//!   itself, usable alone: tars, disks, ext4 file systems, boot loaders.
//! - What flock remembers: [`state`]; in it [`deployments`], the numbers of
//!   nodes and the deploys that are not finished. What it is told: [`settings`] and
//!   [`profile`], read by [`document`]; what this machine lacks: [`doctor`].
//!
//! # Crates in the API
//!
//! flock-core runs on tokio 1. What waits needs a runtime whose time is
//! enabled ([`Context`] says which of its methods do), what fetches one whose
//! I/O is, too; `#[tokio::main]` enables both.
//!
//! Four crates show in its signatures, and a breaking release of theirs is
//! one of flock-core's: [`async_trait`](macro@async_trait) 0.1 (the traits), [`serde_json`] 1
//! (its `Value` as an option of a backend), [`url`] 2 ([`Location`]) and
//! `serde` 1 (what can be read and written). The first three are re-exported,
//! so that a backend need not name their versions.
//!
//! [`Location`]: location::Location
//!
//! # Features
//!
//! | feature | default | brings |
//! |---|---|---|
//! | `fetch` | yes | downloads over HTTP(S), git checkouts, OCI images from registries |
//! | `sqlite` | yes | the embedded state store |
//! | `conformance` | no | the conformance suites, for the tests of backends and stores |
//!
//! [`DeploySpec::validate`]: provisioner::DeploySpec::validate
//! [`ImageSpec::validate`]: image_builder::ImageSpec::validate
//! [`VolumeSpec::validate`]: volume_driver::VolumeSpec::validate
//! [`check_options`]: backend::check_options

// Without all features, some links lead to what is not there.
#![cfg_attr(
    not(all(feature = "conformance", feature = "fetch", feature = "sqlite")),
    allow(rustdoc::broken_intra_doc_links)
)]

pub mod app;
pub mod appliance;
pub mod backend;
pub mod cache;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod context;
pub mod deployments;
pub mod doctor;
pub mod document;
pub mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod id;
pub mod image_builder;
pub mod layers;
pub mod location;
mod lockfile;
pub mod memory;
pub mod operation;
pub mod owner;
pub mod profile;
pub mod progress;
pub mod provisioner;
pub mod rootfs;
pub mod secret;
pub mod settings;
pub mod state;
pub mod volume_driver;

pub use async_trait::async_trait;
pub use serde_json;
pub use url;

pub use backend::{Endpoint, Health, ListFilter};
pub use context::Context;
pub use error::{Error, ErrorKind, Result};
pub use id::{ImageId, NodeId, SnapshotId, VolumeId};
pub use image_builder::{ImageBuilder, ImageBuilderExt};
pub use operation::{Operation, OperationClass};
pub use owner::{Owner, RequestId};
pub use provisioner::{Provisioner, ProvisionerExt};
pub use volume_driver::{VolumeDriver, VolumeDriverExt};

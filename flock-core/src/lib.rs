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
//! # Writing a backend
//!
//! 1. Implement the trait. Say in `capabilities` what can be done, and call
//!    the spec's `validate` first, so that what cannot is refused before
//!    anything has an effect: [`VolumeSpec::validate`] and its like,
//!    [`check_options`], [`Owner::require_namespace`].
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
//!
//! A backend of images that are files in a directory:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::{Mutex, PoisonError};
//!
//! use async_trait::async_trait;
//! use flock_core::backend::check_options;
//! use flock_core::image_builder::{
//!     ApplianceFormat, Image, ImageCapabilities, ImageSource, ImageSpec, ImageStatus, SourceKind,
//! };
//! use flock_core::{
//!     Context, Endpoint, Error, ErrorKind, Health, ImageBuilder, ImageId, ListFilter, Result,
//! };
//!
//! /// Knows files as images, as long as the program runs.
//! struct Shelf {
//!     namespace: String,
//!     images: Mutex<BTreeMap<ImageId, Image>>,
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
//!         let size = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?.len();
//!         if size == 0 {
//!             let message = format!("{} is empty", path.display());
//!             return Err(Error::new(ErrorKind::InvalidData, message));
//!         }
//!         let id = ImageId::new(format!("{} {}", spec.name, spec.version));
//!         let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
//!         if let Some(there) = images.get(&id) {
//!             if there.owner == spec.owner {
//!                 return Ok(there.clone());
//!             }
//!             let message = format!("another request has made image '{id}'");
//!             return Err(Error::new(ErrorKind::AlreadyExists, message));
//!         }
//!         let owner = spec.owner.clone();
//!         let mut image =
//!             Image::new(id.clone(), &spec.name, &spec.version, owner, ImageStatus::Ready);
//!         image.size = Some(size);
//!         images.insert(id, image.clone());
//!         Ok(image)
//!     }
//!
//!     async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Image>> {
//!         ctx.check()?;
//!         let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
//!         Ok(images.values().filter(|image| filter.matches(&image.owner)).cloned().collect())
//!     }
//!
//!     async fn get(&self, ctx: &Context, image: &ImageId) -> Result<Image> {
//!         ctx.check()?;
//!         let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
//!         images.get(image).cloned().ok_or_else(|| missing(image))
//!     }
//!
//!     async fn delete(&self, ctx: &Context, image: &ImageId) -> Result<()> {
//!         ctx.check()?;
//!         let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
//!         images.remove(image).map(drop).ok_or_else(|| missing(image))
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
//! hold a backend to the contract. The end of the code above is the whole
//! test program for it, a target with `harness = false`: a fixture that makes
//! a fresh subject for every case, and a profile of what it offers. What a
//! backend cannot do is shown as ignored with the reason, and the cases turn
//! round: it must be refused. The repository's `examples/own_backend` is a
//! complete volume driver with its test.
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
//!   [`appliance`] builds it; `fetch` brings what it is made of through the
//!   [`cache`], [`rootfs`] is the pipeline itself, usable alone.
//! - What flock remembers: [`state`]. What it is told: [`settings`] and
//!   [`profile`], read by [`document`]; what this machine lacks: [`doctor`].
//!
//! # Features
//!
//! | feature | default | brings |
//! |---|---|---|
//! | `fetch` | yes | downloads over HTTP(S), git checkouts, OCI images from registries |
//! | `sqlite` | yes | the embedded state store |
//! | `conformance` | no | the conformance suites, for the tests of backends and stores |
//!
//! [`VolumeSpec::validate`]: volume_driver::VolumeSpec::validate
//! [`check_options`]: backend::check_options

pub mod app;
pub mod appliance;
pub mod backend;
pub mod cache;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod context;
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

pub use backend::{Endpoint, Health, ListFilter};
pub use context::Context;
pub use error::{Error, ErrorKind, Result};
pub use id::{ImageId, NodeId, SnapshotId, VolumeId};
pub use image_builder::{ImageBuilder, ImageBuilderExt};
pub use operation::{Operation, OperationClass};
pub use owner::{Owner, RequestId};
pub use provisioner::{Provisioner, ProvisionerExt};
pub use volume_driver::{VolumeDriver, VolumeDriverExt};

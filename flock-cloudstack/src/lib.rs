//! flock on Apache CloudStack.
//!
//! [`Client`] speaks to the API: signed requests, every error in flock's
//! terms, lists read to their end, jobs that can be waited for in another
//! process. It can be used alone. Three backends work with it:
//!
//! | backend | trait of flock-core | makes |
//! |---|---|---|
//! | [`CloudStackImageBuilder`] | [`ImageBuilder`](flock_core::ImageBuilder) | templates of appliances |
//! | [`CloudStackProvisioner`] | [`Provisioner`](flock_core::Provisioner) | virtual machines of templates |
//! | [`CloudStackVolumeDriver`] | [`VolumeDriver`](flock_core::VolumeDriver) | data disks and their snapshots |
//!
//! # The whole way
//!
//! An appliance becomes a template, the template three nodes, and one of them
//! fails. The cloud is the [`simulator`], so this runs as it is; for a real one
//! [make the configuration](#a-real-cloud) and leave the faults out.
//!
//! ```
//! use flock_cloudstack::image_builder::TemplateOptions;
//! use flock_cloudstack::simulator::{Fault, Simulator, SimulatorOptions};
//! use flock_cloudstack::{Client, CloudStackImageBuilder, CloudStackProvisioner, DeployOption};
//! use flock_core::image_builder::{ApplianceFormat, ImageSource, ImageSpec};
//! use flock_core::layers::{Retry, RetryPolicy};
//! use flock_core::provisioner::DeploySpec;
//! use flock_core::{
//!     Context, ErrorKind, ImageBuilder, ListFilter, Owner, Provisioner, RequestId, Result,
//! };
//!
//! # /// A tar with one file, as `tar cf` would write it.
//! # fn appliance(directory: &std::path::Path) -> std::io::Result<std::path::PathBuf> {
//! #     let path = directory.join("shop.tar");
//! #     let mut tar = tar::Builder::new(std::fs::File::create(&path)?);
//! #     let mut header = tar::Header::new_ustar();
//! #     header.set_size(5);
//! #     header.set_mode(0o644);
//! #     tar.append_data(&mut header, "etc/hostname", &b"shop\n"[..])?;
//! #     tar.finish()?;
//! #     Ok(path)
//! # }
//! #[tokio::main]
//! async fn main() -> Result<()> {
//! #   let directory = tempfile::tempdir().unwrap();
//! #   let tar = appliance(directory.path()).unwrap();
//!     let simulator = Simulator::start(SimulatorOptions::new()).await?;
//!     let client = Client::new(simulator.config().with_namespace("lab"))?;
//!     let ctx = Context::new();
//!
//!     // The template: `tar` is the path of a root file system's archive, which
//!     // is sent to CloudStack itself.
//!     let options = TemplateOptions::new()
//!         .with_zones(["zone-1"])
//!         .with_os_type("Debian GNU/Linux 12 (64-bit)");
//!     let images = CloudStackImageBuilder::new(client.clone()).with_options(options);
//!     let owner = Owner::new("lab", "shop", RequestId::random());
//!     let source = ImageSource::Appliance { path: tar, format: ApplianceFormat::Tar };
//!     let image = images.build(&ctx, &ImageSpec::new(owner, "shop", "v1", source)).await?;
//!
//!     // The nodes. CloudStack is to say once that it has no room.
//!     let full = Fault::FailJob { code: 533, text: "no capacity left".to_owned() };
//!     simulator.faults().once("deployVirtualMachine", full);
//!     let nodes = Retry::new(CloudStackProvisioner::new(client.clone()), RetryPolicy::default());
//!     let owner = Owner::new("lab", "shop", RequestId::random());
//!     let spec = DeploySpec::new(owner, image.id.clone(), ["shop-1", "shop-2", "shop-3"])
//!         .with_size("Small Instance")
//!         .with_option(DeployOption::ZONE, "zone-1");
//!     let deployment = nodes.deploy(&ctx, &spec).await?;
//!     for (outcome, error) in deployment.failed() {
//!         // A failed node with an id is there, and can be destroyed.
//!         eprintln!("{} {:?}: {error}", outcome.name, outcome.id);
//!         assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
//!         assert_eq!(error.context_value("command"), Some("deployVirtualMachine"));
//!     }
//!     assert_eq!((deployment.succeeded().count(), deployment.failed().count()), (2, 1));
//!
//!     // The same request again: what runs is left alone, the rest is made.
//!     let made = nodes.deploy(&ctx, &spec).await?.into_nodes()?;
//!     assert_eq!(made.len(), 3);
//!
//!     for node in nodes.list(&ctx, &ListFilter::app("shop")).await? {
//!         println!("{} {} {:?}", node.name, node.status, node.addresses);
//!         nodes.destroy(&ctx, &node.id).await?;
//!     }
//!     images.delete(&ctx, &image.id).await?;
//!     simulator.stop().await;
//!     Ok(())
//! }
//! ```
//!
//! The repository's `examples/on_cloudstack.rs` goes on from here: time limits,
//! numbered names, and a deploy that another run finishes.
//!
//! # A real cloud
//!
//! ```no_run
//! use flock_cloudstack::{Client, CloudStackConfig};
//! use flock_core::profile::Profile;
//! use flock_core::secret::SecretSource;
//! use flock_core::{Context, Provisioner};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let ctx = Context::new();
//! let url = "https://cloud.example.org/client/api".parse()?;
//! let secret = SecretSource::File { file: "/run/secrets/cloud".into() };
//! let profile = Profile::new("production", url, "my-api-key", secret).with_namespace("lab");
//! let client = Client::new(CloudStackConfig::from_profile(&ctx, &profile)?)?;
//! // Whether it is there, of a version that is known, and lets this account in.
//! let health = flock_cloudstack::CloudStackProvisioner::new(client).check(&ctx).await?;
//! println!("{health:?}");
//! # Ok(())
//! # }
//! ```
//!
//! [`CloudStackConfig::new`] does with a secret at hand. A file of profiles is
//! read by [`Profiles::load`](flock_core::profile::Profiles::load).
//!
//! # What the traits do not say
//!
//! [Layers](flock_core::layers) implement the traits, so what only CloudStack
//! can do is not to be called through them: [`reboot`](CloudStackProvisioner::reboot),
//! [`find_image`](CloudStackProvisioner::find_image),
//! [`wait`](CloudStackImageBuilder::wait), [`copy`](CloudStackImageBuilder::copy)
//! and their like. Keep a clone of the backend for them. It is cheap: clones
//! share one client, with its connections and its bounds on requests.
//!
//! ```
//! # use flock_cloudstack::simulator::{Simulator, SimulatorOptions};
//! # use flock_cloudstack::{Client, CloudStackProvisioner};
//! # use flock_core::layers::{Retry, RetryPolicy, TimeLimits, Timeout};
//! # use flock_core::{Context, ListFilter, Provisioner};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> flock_core::Result<()> {
//! # let simulator = Simulator::start(SimulatorOptions::new()).await?;
//! # let (client, ctx) = (Client::new(simulator.config())?, Context::new());
//! let cloudstack = CloudStackProvisioner::new(client);
//! let nodes = Timeout::new(cloudstack.clone(), TimeLimits::default());
//! let nodes = Retry::new(nodes, RetryPolicy::default());
//!
//! let image = cloudstack.find_image(&ctx, "Debian 12 (KVM)").await?;
//! for node in nodes.list(&ctx, &ListFilter::app("shop")).await? {
//!     cloudstack.reboot(&ctx, &node.id).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Everything else that CloudStack has can be asked with [`Client::call`] and
//! [`Client::run`].
//!
//! # After a crash
//!
//! Names, tags and job ids tell what an earlier run has sent, so a deploy that
//! is asked for again with the same [`Owner`](flock_core::Owner) makes nothing
//! twice. Two things make that easier, and both may be in one
//! [store](flock_core::state):
//!
//! - [`Deployments`](flock_core::deployments::Deployments) remembers for the
//!   caller which numbers an application's nodes have, and which deploys were
//!   begun and not finished; its place is [`CloudStackConfig::place`].
//! - [`CloudStackProvisioner::with_state`] writes each machine down before it is
//!   sent, for clouds that do not take `customjobid`, and spares a look at
//!   CloudStack.
//!
//! # Errors
//!
//! Decide by [`Error::kind`](flock_core::Error::kind); what CloudStack said stands in the
//! message, its code in the context.
//!
//! | `errorcode` | [`ErrorKind`](flock_core::ErrorKind) |
//! |---|---|
//! | 401, 511 | `Unauthenticated`; `PermissionDenied` if the account is known and lacks the command |
//! | 405, 432 | `Unsupported` |
//! | 400, 430, 431 | `NotFound` or `AlreadyExists` where the text of a 430 or 431 says so; else `InvalidConfig` |
//! | 429, 503, 534 | `Unavailable` |
//! | 531 | `PermissionDenied` |
//! | 532, 533, 535 | `QuotaExceeded` |
//! | 536, 537 | `Conflict` |
//! | 431, 530 of volumes and snapshots | what the text says: mostly `Conflict` |
//! | 530, any other | `Unexpected` |
//!
//! No answer is `Unavailable` or `Timeout`, one that is not CloudStack's
//! `InvalidData`. [`is_outcome_unknown`] tells whether a change may have
//! happened all the same.
//!
//! | value of the context | what it is |
//! |---|---|
//! | `command` | the API's command, `deployVirtualMachine` |
//! | `errorcode`, `cserrorcode` | CloudStack's codes |
//! | `job` | the job that failed or was waited for: [`Client::wait`] goes on with it |
//! | `id` | what the failed command or deploy has made, or what is in its way |
//! | `node`, `image`, `volume`, `snapshot` | what it is about, by id, and where there is none yet by name |
//! | `host_name`, `template`, `app`, `zone` | the names of it |
//! | `host`, `url`, `address` | who was spoken to, without logins and queries |
//! | `http_status` | of an answer that is not CloudStack's |
//! | `option`, `profile`, `key` | what is wrong in what was given |
//! | `clock_difference_seconds` | how far this machine's clock is from CloudStack's |
//! | `outcome` | `unknown`: see [`is_outcome_unknown`] |
//! | `attempts` | how many there were ([`Retry`](flock_core::layers::Retry)) |
//!
//! # What is where
//!
//! - To speak to CloudStack: [`Client`], [`config`], [`Parameters`], jobs
//!   ([`Job`], [`JobId`], [`Started`]), [`open_reply`]; [`signature`] for
//!   requests that another program sends.
//! - What CloudStack answers, typed: [`api`]; the client's methods for it are
//!   described there too.
//! - Templates: [`image_builder`]. Machines: [`CloudStackProvisioner`] with
//!   [`DeployOption`] and [`PasswordSink`]. Disks: [`CloudStackVolumeDriver`]
//!   with [`VolumeOption`].
//! - For tests: [`simulator`].
//!
//! # Runtime
//!
//! tokio 1, with its time and its I/O enabled: `tokio = { version = "1",
//! features = ["rt-multi-thread", "macros"] }` and `#[tokio::main]`, which
//! enables both. A runtime of one thread will do. Files are read on tokio's
//! threads for what blocks; so are [`PasswordSink`]s called. Only
//! [`CloudStackConfig::from_profile`] and [`Client::new`] block their caller,
//! on the file or the program that has the secret and on the certificates.
//!
//! # Crates in the API
//!
//! A breaking release of these is one of flock-cloudstack's:
//!
//! - flock-core, with what it [names](flock_core#crates-in-the-api): the traits
//!   are `async_trait`'s.
//! - [`url`] 2, the addresses of [`CloudStackConfig`] and
//!   [`image_builder::Upload`].
//! - [`serde_json`] 1, whose `Value` are replies and options.
//! - `serde` 1, what can be read and written, and [`Client::call_as`].
//!
//! flock-core re-exports `url`, `serde_json` and `async_trait`, so a program
//! need not name their versions.
//!
//! # Features
//!
//! | feature | default | brings |
//! |---|---|---|
//! | `simulator` | no | a server that behaves like CloudStack, for tests and for trying things out |

// Without the simulator, some links lead to what is not there.
#![cfg_attr(not(feature = "simulator"), allow(rustdoc::broken_intra_doc_links))]

pub mod api;
mod blocking;
mod client;
pub mod config;
mod error;
mod health;
pub mod image_builder;
mod names;
mod naming;
mod provisioner;
mod redact;
pub mod signature;
#[cfg(feature = "simulator")]
pub mod simulator;
mod tags;
mod tls;
mod upload;
mod volume_driver;

pub use client::{Client, Job, JobId, JobStatus, Parameters, Started, open_reply};
pub use config::{CloudStackConfig, Method};
pub use error::is_outcome_unknown;
pub use image_builder::CloudStackImageBuilder;
pub use provisioner::{CloudStackProvisioner, DeployOption, PasswordSink};
pub use volume_driver::{CloudStackVolumeDriver, VolumeOption};

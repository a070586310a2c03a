//! flock on Apache CloudStack.
//!
//! [`Client`] speaks to the API: signed requests, every error in flock's
//! terms, lists read to their end, jobs that can be waited for in another
//! process. It can be used alone. [`CloudStackImageBuilder`] makes templates of
//! appliances, [`CloudStackProvisioner`] nodes of templates, and
//! [`CloudStackVolumeDriver`] data disks.

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

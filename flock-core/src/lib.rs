//! The vocabulary of flock, and the pipeline that makes appliances.

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

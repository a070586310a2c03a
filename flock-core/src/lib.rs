//! The vocabulary of flock, and the pipeline that makes appliances.

pub mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod context;
pub mod error;
pub mod id;
pub mod image_builder;
pub mod layers;
pub mod memory;
pub mod operation;
pub mod owner;
pub mod progress;
pub mod provisioner;
pub mod secret;
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

//! The vocabulary of flock, and the pipeline that makes appliances.

pub mod cache;
pub mod context;
pub mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod id;
mod lockfile;
pub mod owner;
pub mod progress;
pub mod rootfs;
pub mod secret;

pub use context::Context;
pub use error::{Error, ErrorKind, Result};
pub use id::{ImageId, NodeId, SnapshotId, VolumeId};
pub use owner::{Owner, RequestId};

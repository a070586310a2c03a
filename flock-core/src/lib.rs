//! The vocabulary of flock, and the pipeline that makes appliances.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod context;
pub mod error;
pub mod id;
pub mod owner;
pub mod progress;
pub mod secret;
pub mod state;

pub use context::Context;
pub use error::{Error, ErrorKind, Result};
pub use id::{ImageId, NodeId, SnapshotId, VolumeId};
pub use owner::{Owner, RequestId};

//! What: a volume driver that flock does not have, written with flock-core
//! alone (`driver.rs`), and used like any other.
//!
//! Needs: nothing but a temporary directory.
//!
//! Run: `cargo run -p flock-examples --example own_backend`
//! Test: `cargo test -p flock-examples --test own_backend` runs flock's
//! conformance suite on it.
//!
//! Prints:
//!
//! ```text
//! volume data of 1024 bytes is ready
//! web-1 wrote to it; a second node may not have it: volume 'demo/data' is attached to 'web-1'
//! taken over by web-2, which reads: hello
//! ```
#![allow(clippy::print_stdout)]

mod driver;

use std::sync::Arc;

use flock_core::layers::{Retry, RetryPolicy};
use flock_core::volume_driver::{AttachOptions, Attachment, VolumeSpec};
use flock_core::{Context, Error, ErrorKind, NodeId, Owner, RequestId, Result, VolumeDriver};

use driver::DirectoryVolumes;

#[tokio::main]
async fn main() -> Result<()> {
    let root = tempfile::tempdir().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "no temporary directory").caused_by(error)
    })?;
    for node in ["web-1", "web-2"] {
        let path = root.path().join("nodes").join(node);
        std::fs::create_dir_all(&path).map_err(|error| Error::io("create", &path, error))?;
    }
    // Every layer fits around it.
    let driver = Retry::new(DirectoryVolumes::new(root.path(), "demo"), RetryPolicy::default());
    let volumes: Arc<dyn VolumeDriver> = Arc::new(driver);

    let ctx = Context::new();
    let owner = Owner::new("demo", "web", RequestId::random());
    let volume = volumes.create(&ctx, &VolumeSpec::new(owner, "data", 1024)).await?;
    println!("volume {} of {} bytes is ready", volume.name, volume.size);

    let (first, second) = (NodeId::new("web-1"), NodeId::new("web-2"));
    let options = AttachOptions::default();
    let path = greeting(&volumes.attach(&ctx, &volume.id, &first, &options).await?)?;
    std::fs::write(&path, "hello").map_err(|error| Error::io("write", &path, error))?;
    match volumes.attach(&ctx, &volume.id, &second, &options).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {
            println!("web-1 wrote to it; a second node may not have it: {error}");
        }
        other => drop(other?),
    }

    let attached = volumes.attach(&ctx, &volume.id, &second, &options.with_take_over(true)).await?;
    let path = greeting(&attached)?;
    let text = std::fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
    println!("taken over by web-2, which reads: {text}");
    Ok(())
}

fn greeting(attachment: &Attachment) -> Result<std::path::PathBuf> {
    let path = attachment.path.as_ref().map(|path| path.join("greeting"));
    path.ok_or_else(|| Error::new(ErrorKind::Unexpected, "the driver did not say where it is"))
}

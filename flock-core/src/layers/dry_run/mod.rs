//! Calls that change nothing, and the plan of what they would have changed.

mod images;
mod nodes;
mod plan;
mod volumes;

pub use plan::{Plan, Step};

use crate::{Error, ErrorKind};

/// Answers as the backend would, but sends it nothing that changes anything:
/// what would be changed becomes a step of a [`Plan`].
///
/// Reads are passed on. What is planned is seen by later calls: a volume to be
/// made has an id (`dry-run:volume-1`), is listed, and can be attached to a
/// node; one to be destroyed is gone. What needs no change makes no step.
///
/// A call that cannot work fails as it would: capabilities, names in use,
/// things that are missing, attached elsewhere or in the wrong state. What
/// only the backend can judge is not: its options, sizes and networks, quotas,
/// the namespace, an image that a provisioner of its own is asked for, and
/// whether nodes that are there need an image.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flock_core::Result<()> {
/// use flock_core::layers::DryRun;
/// use flock_core::memory::MemoryBackend;
/// use flock_core::volume_driver::VolumeSpec;
/// use flock_core::{Context, ListFilter, VolumeDriver};
///
/// let (backend, ctx) = (MemoryBackend::new(), Context::new());
/// let dry = DryRun::new(backend.clone());
/// let spec = VolumeSpec::new(backend.owner("web"), "data", 1 << 20);
/// let volume = dry.create(&ctx, &spec).await?;
/// dry.resize(&ctx, &volume.id, 2 << 20).await?;
/// assert_eq!(
///     dry.plan().to_string(),
///     "1. volume.create: make volume 'data' of 1048576 bytes\n\
///      2. volume.resize: grow volume 'data' to 2097152 bytes\n"
/// );
/// assert!(VolumeDriver::list(&backend, &ctx, &ListFilter::all()).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DryRun<T> {
    inner: T,
    plan: Plan,
}

impl<T> DryRun<T> {
    /// Plans from nothing.
    pub fn new(inner: T) -> Self {
        Self::with_plan(inner, Plan::default())
    }

    /// Goes on with a plan, so that a provisioner, an image builder and a
    /// volume driver that are three values plan together.
    pub fn with_plan(inner: T, plan: Plan) -> Self {
        Self { inner, plan }
    }

    /// The plan so far. Clones of it see what is added later.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

fn missing(what: &'static str, id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no {what} '{id}'")).with(what, id)
}

fn taken(what: &'static str, name: &str, id: &str) -> Error {
    let message = format!("another request has made a {what} named '{name}'");
    Error::new(ErrorKind::AlreadyExists, message).with(what, id)
}

fn conflict(message: String) -> Error {
    Error::new(ErrorKind::Conflict, message)
}

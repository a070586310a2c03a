//! Volumes: data that outlives the nodes it is attached to.

mod spec;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Context, Error, ErrorKind, Health, ListFilter, NodeId, Owner, Result};
use crate::{SnapshotId, VolumeId};

pub use self::spec::{AttachOptions, SnapshotSpec, VolumeCapabilities, VolumeSpec};

/// Makes volumes and brings them to nodes.
///
/// # The contract
///
/// As for [`Provisioner`](crate::Provisioner): owner tags, idempotence by
/// request id, half-failed work that shows in `list`, ends of the context.
/// Above all no method loses data: a volume that is attached is neither
/// destroyed nor taken away from its node unless the call says so.
#[async_trait]
pub trait VolumeDriver: Send + Sync {
    /// The backend's name, for example `flocker`.
    fn name(&self) -> &str;

    /// What this backend can do, known without asking a service.
    fn capabilities(&self) -> VolumeCapabilities;

    /// Whether the backend can be used. Has no side effects.
    ///
    /// # Errors
    /// As [`Provisioner::check`](crate::Provisioner::check).
    async fn check(&self, ctx: &Context) -> Result<Health>;

    /// Makes the volume of `spec`, attached to nothing, and waits until it can
    /// be attached.
    ///
    /// Idempotent: a volume of that name made by the same request is finished
    /// if it needs to be and answered as it is. One from another request is
    /// [`ErrorKind::AlreadyExists`]; names are unique in a namespace. After an
    /// error the volume may be there with another status; its id, where the
    /// backend has given one, is the error's context value `volume`.
    ///
    /// # Errors
    /// Before any effect: [`ErrorKind::InvalidConfig`] for an empty name or a
    /// size out of bounds; [`ErrorKind::Unsupported`];
    /// [`ErrorKind::NotFound`] for a missing source snapshot. Later:
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::QuotaExceeded`], any other.
    async fn create(&self, ctx: &Context, spec: &VolumeSpec) -> Result<Volume>;

    /// Our volumes that match `filter`, by name. Half-made ones are among
    /// them. Nothing found is an empty list.
    ///
    /// # Errors
    /// Those of [`check`](VolumeDriver::check).
    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Volume>>;

    /// One volume.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn get(&self, ctx: &Context, volume: &VolumeId) -> Result<Volume>;

    /// Attaches a volume to a node and waits until the node can use it.
    ///
    /// `node` is one of the provisioner of the same backend; a driver that
    /// stands alone documents what its nodes are, and how they are named.
    ///
    /// Idempotent: attached to that node in that mode already, the attachment
    /// is answered as it is, with the same device and path.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for the volume or the node;
    /// [`ErrorKind::Conflict`] if it is attached elsewhere, unless
    /// [`AttachOptions::take_over`] is set or the backend attaches to many, or
    /// if it is attached here in the other mode, or if the volume or the node
    /// is in a state that forbids it; [`ErrorKind::QuotaExceeded`] if the node
    /// has as many as it can; [`ErrorKind::Unsupported`].
    async fn attach(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        node: &NodeId,
        options: &AttachOptions,
    ) -> Result<Attachment>;

    /// Detaches a volume from a node, after what was written has reached it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for the volume, or if it is not attached to
    /// that node; [`ErrorKind::Conflict`] while it is in use there.
    async fn detach(&self, ctx: &Context, volume: &VolumeId, node: &NodeId) -> Result<()>;

    /// Changes the size, in bytes, of a volume; its data stays. Idempotent: a
    /// volume of that size is answered as it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::InvalidConfig`] for a size out of
    /// bounds; [`ErrorKind::Conflict`] for an attached volume where the
    /// backend resizes only detached ones; [`ErrorKind::Unsupported`].
    async fn resize(&self, ctx: &Context, volume: &VolumeId, size: u64) -> Result<Volume>;

    /// Keeps the volume's data as it is now under a name. Idempotent by name
    /// and request id, like [`create`](VolumeDriver::create).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::AlreadyExists`];
    /// [`ErrorKind::InvalidConfig`] for an empty name;
    /// [`ErrorKind::Conflict`] for a volume that was never attached, see
    /// [`VolumeCapabilities::snapshot_empty`]; [`ErrorKind::Unsupported`].
    async fn snapshot(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        spec: &SnapshotSpec,
    ) -> Result<Snapshot>;

    /// Our snapshots of a volume that match `filter`, oldest first; those of
    /// destroyed volumes too where `volume` is `None` and the backend keeps
    /// them.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for the volume; [`ErrorKind::Unsupported`].
    async fn list_snapshots(
        &self,
        ctx: &Context,
        volume: Option<&VolumeId>,
        filter: &ListFilter,
    ) -> Result<Vec<Snapshot>>;

    /// Deletes a snapshot. One that is gone is [`ErrorKind::NotFound`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`];
    /// [`ErrorKind::Unsupported`].
    async fn delete_snapshot(&self, ctx: &Context, snapshot: &SnapshotId) -> Result<()>;

    /// Destroys a volume and its data, finished or not. One that is gone is
    /// [`ErrorKind::NotFound`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] while it is attached.
    async fn destroy(&self, ctx: &Context, volume: &VolumeId) -> Result<()>;
}

/// A volume as its backend reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Volume {
    /// The backend's name for it.
    pub id: VolumeId,
    /// Its name.
    pub name: String,
    /// Its tag.
    pub owner: Owner,
    /// Its size in bytes.
    pub size: u64,
    /// How far it is.
    pub status: VolumeStatus,
    /// Where it is attached.
    pub attachments: Vec<Attachment>,
    /// More that only this backend knows, by the names it documents.
    pub details: BTreeMap<String, String>,
}

impl Volume {
    /// A volume of that id, name, tag, size in bytes and status, attached to
    /// nothing.
    pub fn new(
        id: impl Into<VolumeId>,
        name: impl Into<String>,
        owner: Owner,
        size: u64,
        status: VolumeStatus,
    ) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            owner,
            size,
            status,
            attachments: Vec::new(),
            details: BTreeMap::new(),
        }
    }
}

/// How far a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum VolumeStatus {
    /// Being made.
    Creating,
    /// There: it can be attached, or is.
    Ready,
    /// Being destroyed.
    Deleting,
    /// Half-made or broken: a repeated create or a destroy mends it.
    Failed,
}

/// A volume at a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attachment {
    /// The node.
    pub node: NodeId,
    /// The block device it appears as in the node, where it is one and the
    /// backend knows.
    pub device: Option<PathBuf>,
    /// Where it is mounted, where the backend mounts.
    pub path: Option<PathBuf>,
    /// Whether the node may only read it.
    pub read_only: bool,
}

impl Attachment {
    /// A writable attachment whose device and path are unknown.
    pub fn new(node: impl Into<NodeId>) -> Self {
        Self { node: node.into(), device: None, path: None, read_only: false }
    }
}

/// A snapshot as its backend reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The backend's name for it.
    pub id: SnapshotId,
    /// Its name.
    pub name: String,
    /// Its tag.
    pub owner: Owner,
    /// The volume whose data it keeps.
    pub volume: VolumeId,
    /// The volume's size in bytes when it was made.
    pub size: u64,
}

impl Snapshot {
    /// A snapshot of `volume`, made when that had `size` bytes.
    pub fn new(
        id: impl Into<SnapshotId>,
        name: impl Into<String>,
        owner: Owner,
        volume: VolumeId,
        size: u64,
    ) -> Self {
        Self { id: id.into(), name: name.into(), owner, volume, size }
    }
}

/// What can be said with a volume driver's own verbs.
#[async_trait]
pub trait VolumeDriverExt: VolumeDriver {
    /// The volume of that name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none.
    async fn find(&self, ctx: &Context, name: &str) -> Result<Volume> {
        let volumes = self.list(ctx, &ListFilter::all()).await?;
        volumes.into_iter().find(|volume| volume.name == name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no volume '{name}'"))
                .in_backend(self.name().to_owned())
                .with("volume", name)
        })
    }
}

impl<T: VolumeDriver + ?Sized> VolumeDriverExt for T {}

#[async_trait]
impl<T: VolumeDriver + ?Sized> VolumeDriver for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn capabilities(&self) -> VolumeCapabilities {
        (**self).capabilities()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        (**self).check(ctx).await
    }

    async fn create(&self, ctx: &Context, spec: &VolumeSpec) -> Result<Volume> {
        (**self).create(ctx, spec).await
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Volume>> {
        (**self).list(ctx, filter).await
    }

    async fn get(&self, ctx: &Context, volume: &VolumeId) -> Result<Volume> {
        (**self).get(ctx, volume).await
    }

    async fn attach(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        node: &NodeId,
        options: &AttachOptions,
    ) -> Result<Attachment> {
        (**self).attach(ctx, volume, node, options).await
    }

    async fn detach(&self, ctx: &Context, volume: &VolumeId, node: &NodeId) -> Result<()> {
        (**self).detach(ctx, volume, node).await
    }

    async fn resize(&self, ctx: &Context, volume: &VolumeId, size: u64) -> Result<Volume> {
        (**self).resize(ctx, volume, size).await
    }

    async fn snapshot(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        spec: &SnapshotSpec,
    ) -> Result<Snapshot> {
        (**self).snapshot(ctx, volume, spec).await
    }

    async fn list_snapshots(
        &self,
        ctx: &Context,
        volume: Option<&VolumeId>,
        filter: &ListFilter,
    ) -> Result<Vec<Snapshot>> {
        (**self).list_snapshots(ctx, volume, filter).await
    }

    async fn delete_snapshot(&self, ctx: &Context, snapshot: &SnapshotId) -> Result<()> {
        (**self).delete_snapshot(ctx, snapshot).await
    }

    async fn destroy(&self, ctx: &Context, volume: &VolumeId) -> Result<()> {
        (**self).destroy(ctx, volume).await
    }
}

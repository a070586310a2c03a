//! Volumes: data that outlives the nodes it is attached to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Context, Error, ErrorKind, Health, ListFilter, NodeId, Owner, Result};
use crate::{SnapshotId, VolumeId};

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

/// What a volume driver can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VolumeCapabilities {
    /// One volume can be attached to several nodes at once.
    pub attach_many: bool,
    /// [`AttachOptions::take_over`] is honoured.
    pub take_over: bool,
    /// [`AttachOptions::read_only`] is honoured.
    pub read_only: bool,
    /// Volumes can grow.
    pub grow: bool,
    /// Volumes can shrink.
    pub shrink: bool,
    /// Volumes can be resized while they are attached.
    pub resize_attached: bool,
    /// Snapshots can be made, listed and deleted.
    pub snapshots: bool,
    /// A volume that was never attached to a node, and so holds nothing, has
    /// snapshots too; without it, that is [`ErrorKind::Conflict`].
    pub snapshot_empty: bool,
    /// [`VolumeSpec::source`] is honoured.
    pub restore: bool,
    /// The smallest size in bytes.
    pub min_size: u64,
    /// The largest size in bytes; `None` where only the backend knows.
    pub max_size: Option<u64>,
    /// Sizes are rounded up to a multiple of this, in bytes; at least 1.
    pub size_unit: u64,
    /// The most volumes one node can have; `None` where only the backend
    /// knows.
    pub max_per_node: Option<u32>,
}

impl Default for VolumeCapabilities {
    /// Nothing but create, attach, detach and destroy, of any size.
    fn default() -> Self {
        Self {
            attach_many: false,
            take_over: false,
            read_only: false,
            grow: false,
            shrink: false,
            resize_attached: false,
            snapshots: false,
            snapshot_empty: false,
            restore: false,
            min_size: 1,
            max_size: None,
            size_unit: 1,
            max_per_node: None,
        }
    }
}

impl VolumeCapabilities {
    /// The size that a volume of `current` bytes gets when it is resized to
    /// `size` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a size out of bounds;
    /// [`ErrorKind::Unsupported`] for a change that is excluded;
    /// [`ErrorKind::Conflict`] if the volume has to be detached for it.
    pub fn resized(&self, current: u64, size: u64, attached: bool) -> Result<u64> {
        let size = self.round_size(size)?;
        let (able, verb) = match size.cmp(&current) {
            std::cmp::Ordering::Equal => return Ok(size),
            std::cmp::Ordering::Greater => (self.grow, "grow"),
            std::cmp::Ordering::Less => (self.shrink, "shrink"),
        };
        if !able {
            return Err(Error::new(ErrorKind::Unsupported, format!("volumes cannot {verb} here")));
        }
        if attached && !self.resize_attached {
            let message = "an attached volume cannot be resized here";
            return Err(Error::new(ErrorKind::Conflict, message).hint("detach it first"));
        }
        Ok(size)
    }

    /// Fails unless snapshots can be made.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`].
    pub fn require_snapshots(&self) -> Result<()> {
        if self.snapshots {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "volumes have no snapshots here"))
    }

    /// The size that a volume asked for with `size` bytes gets.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a size out of bounds.
    pub fn round_size(&self, size: u64) -> Result<u64> {
        let max = self.max_size.unwrap_or(u64::MAX);
        let rounded = size.checked_next_multiple_of(self.size_unit.max(1));
        match rounded {
            Some(rounded) if size >= self.min_size && rounded <= max => Ok(rounded),
            _ => {
                let min = self.min_size;
                let message = format!("a volume of {size} bytes is not between {min} and {max}");
                Err(Error::new(ErrorKind::InvalidConfig, message))
            }
        }
    }
}

/// A volume wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VolumeSpec {
    /// The tag.
    pub owner: Owner,
    /// The name, unique in the namespace.
    pub name: String,
    /// The size in bytes; the backend rounds it up to its unit.
    pub size: u64,
    /// A snapshot whose data it starts with; empty otherwise.
    pub source: Option<SnapshotId>,
    /// Options that only this backend has, by the names it documents. An
    /// unknown one is [`ErrorKind::InvalidConfig`].
    pub options: BTreeMap<String, serde_json::Value>,
}

impl VolumeSpec {
    /// An empty volume of that name and size in bytes.
    pub fn new(owner: Owner, name: impl Into<String>, size: u64) -> Self {
        Self { owner, name: name.into(), size, source: None, options: BTreeMap::new() }
    }

    /// Sets [`source`](Self::source).
    #[must_use]
    pub fn with_source(mut self, source: impl Into<SnapshotId>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets one of the [`options`](Self::options).
    #[must_use]
    pub fn with_option(
        mut self,
        name: impl Into<String>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Checks what can be checked without the backend, and answers with the
    /// size that the volume will have.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`]; [`ErrorKind::Unsupported`].
    pub fn validate(&self, capabilities: &VolumeCapabilities) -> Result<u64> {
        if self.name.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "a volume needs a name"));
        }
        if self.source.is_some() && !capabilities.restore {
            let message = "volumes cannot be made from snapshots here";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        capabilities.round_size(self.size)
    }
}

/// How to attach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttachOptions {
    /// The node may only read it.
    pub read_only: bool,
    /// If it is attached to another node, it is detached there first, after
    /// what was written there has reached it where that node still answers.
    pub take_over: bool,
}

impl AttachOptions {
    /// Sets [`read_only`](Self::read_only).
    #[must_use]
    pub fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Sets [`take_over`](Self::take_over).
    #[must_use]
    pub fn with_take_over(mut self, take_over: bool) -> Self {
        self.take_over = take_over;
        self
    }

    /// Checks that nothing is asked for that `capabilities` excludes.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`].
    pub fn validate(&self, capabilities: &VolumeCapabilities) -> Result<()> {
        if self.read_only && !capabilities.read_only {
            let message = "volumes cannot be attached for reading only here";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if self.take_over && !capabilities.take_over {
            let message = "volumes cannot be taken away from the node that has them here";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .hint("detach the volume from that node first"));
        }
        Ok(())
    }
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

/// A snapshot wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SnapshotSpec {
    /// The tag.
    pub owner: Owner,
    /// The name, unique among the volume's snapshots.
    pub name: String,
}

impl SnapshotSpec {
    /// A snapshot of that name.
    pub fn new(owner: Owner, name: impl Into<String>) -> Self {
        Self { owner, name: name.into() }
    }

    /// Checks what can be checked without the backend.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an empty name;
    /// [`ErrorKind::Unsupported`].
    pub fn validate(&self, capabilities: &VolumeCapabilities) -> Result<()> {
        capabilities.require_snapshots()?;
        if self.name.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "a snapshot needs a name"));
        }
        Ok(())
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

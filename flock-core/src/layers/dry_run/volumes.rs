//! A dry run of a volume driver.

use async_trait::async_trait;

use super::{DryRun, conflict, missing, taken};
use crate::volume_driver::{
    AttachOptions, Attachment, Snapshot, SnapshotSpec, Volume, VolumeCapabilities, VolumeDriver,
    VolumeSpec, VolumeStatus,
};
use crate::{Context, Error, ErrorKind, Health, ListFilter, NodeId, Operation, Result};
use crate::{SnapshotId, VolumeId};

#[async_trait]
impl<T: VolumeDriver> VolumeDriver for DryRun<T> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> VolumeCapabilities {
        self.inner.capabilities()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        self.inner.check(ctx).await
    }

    async fn create(&self, ctx: &Context, spec: &VolumeSpec) -> Result<Volume> {
        ctx.check()?;
        let size = spec.validate(&self.inner.capabilities())?;
        self.check_snapshot(ctx, spec.source.as_ref()).await?;
        let there = VolumeDriver::list(self, ctx, &ListFilter::all()).await?;
        let same = there.iter().find(|volume| volume.name == spec.name);
        let mut plan = self.plan.lock();
        let (id, verb) = match same {
            Some(volume) if volume.owner != spec.owner => {
                return Err(taken("volume", &spec.name, volume.id.as_str()));
            }
            Some(volume) if volume.status == VolumeStatus::Ready => return Ok(volume.clone()),
            Some(volume) if volume.status == VolumeStatus::Deleting => {
                return Err(conflict(format!("volume '{}' is being destroyed", spec.name)));
            }
            Some(volume) => (volume.id.clone(), "finish"),
            None => (VolumeId::new(plan.id("volume")), "make"),
        };
        let summary = format!("{verb} volume '{}' of {size} bytes", spec.name);
        plan.step(Operation::VolumeCreate, &spec.name, summary);
        let owner = spec.owner.clone();
        let volume = Volume::new(id, &spec.name, owner, size, VolumeStatus::Ready);
        plan.volumes.put(volume.id.clone(), volume.clone());
        Ok(volume)
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Volume>> {
        let listed = self.inner.list(ctx, filter).await?;
        let wanted = |volume: &Volume| filter.matches(&volume.owner);
        let volumes = self.plan.lock().volumes.apply(listed, |volume| &volume.id, wanted);
        let mut volumes: Vec<_> = volumes.into_iter().map(|volume| self.without(volume)).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    async fn get(&self, ctx: &Context, volume: &VolumeId) -> Result<Volume> {
        ctx.check()?;
        let planned = self.plan.lock().volumes.find(volume);
        let found = match planned {
            Some(Some(volume)) => volume,
            Some(None) => return Err(missing("volume", volume.as_str())),
            None => self.inner.get(ctx, volume).await?,
        };
        Ok(self.without(found))
    }

    async fn attach(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        node: &NodeId,
        options: &AttachOptions,
    ) -> Result<Attachment> {
        let capabilities = self.inner.capabilities();
        options.validate(&capabilities)?;
        let mut found = VolumeDriver::get(self, ctx, volume).await?;
        if let Some(attachment) = found.attachments.iter().find(|at| at.node == *node) {
            if attachment.read_only == options.read_only {
                return Ok(attachment.clone());
            }
            let message = format!("volume '{volume}' is attached to '{node}' in the other mode");
            return Err(conflict(message));
        }
        if found.status != VolumeStatus::Ready {
            return Err(conflict(format!("volume '{volume}' is not ready")));
        }
        match found.attachments.first() {
            Some(other) if !options.take_over && !capabilities.attach_many => {
                return Err(conflict(format!("volume '{volume}' is attached to '{}'", other.node)));
            }
            _ => {}
        }
        let mut plan = self.plan.lock();
        if plan.nodes.is_gone(node) {
            return Err(missing("node", node.as_str()));
        }
        let verb = if options.take_over { "take over" } else { "attach" };
        let summary = format!("{verb} volume '{}' to node '{node}'", found.name);
        plan.step(Operation::VolumeAttach, volume.as_str(), summary);
        if options.take_over {
            found.attachments.clear();
        }
        let attachment =
            Attachment { read_only: options.read_only, ..Attachment::new(node.clone()) };
        found.attachments.push(attachment.clone());
        plan.volumes.put(volume.clone(), found);
        Ok(attachment)
    }

    async fn detach(&self, ctx: &Context, volume: &VolumeId, node: &NodeId) -> Result<()> {
        let mut found = VolumeDriver::get(self, ctx, volume).await?;
        let before = found.attachments.len();
        found.attachments.retain(|attachment| attachment.node != *node);
        if found.attachments.len() == before {
            let message = format!("volume '{volume}' is not attached to node '{node}'");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let mut plan = self.plan.lock();
        let summary = format!("detach volume '{}' from node '{node}'", found.name);
        plan.step(Operation::VolumeDetach, volume.as_str(), summary);
        plan.volumes.put(volume.clone(), found);
        Ok(())
    }

    async fn resize(&self, ctx: &Context, volume: &VolumeId, size: u64) -> Result<Volume> {
        let mut found = VolumeDriver::get(self, ctx, volume).await?;
        let attached = !found.attachments.is_empty();
        let size = self.inner.capabilities().resized(found.size, size, attached)?;
        if size == found.size {
            return Ok(found);
        }
        let verb = if size > found.size { "grow" } else { "shrink" };
        let mut plan = self.plan.lock();
        let summary = format!("{verb} volume '{}' to {size} bytes", found.name);
        plan.step(Operation::VolumeResize, volume.as_str(), summary);
        found.size = size;
        plan.volumes.put(volume.clone(), found.clone());
        Ok(found)
    }

    async fn snapshot(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        spec: &SnapshotSpec,
    ) -> Result<Snapshot> {
        spec.validate(&self.inner.capabilities())?;
        let found = VolumeDriver::get(self, ctx, volume).await?;
        let there = self.list_snapshots(ctx, Some(volume), &ListFilter::all()).await?;
        match there.into_iter().find(|snapshot| snapshot.name == spec.name) {
            Some(same) if same.owner == spec.owner => return Ok(same),
            Some(other) => return Err(taken("snapshot", &spec.name, other.id.as_str())),
            None => {}
        }
        let mut plan = self.plan.lock();
        let summary = format!("make snapshot '{}' of volume '{}'", spec.name, found.name);
        plan.step(Operation::SnapshotCreate, volume.as_str(), summary);
        let (id, owner) = (SnapshotId::new(plan.id("snapshot")), spec.owner.clone());
        let snapshot = Snapshot::new(id, &spec.name, owner, volume.clone(), found.size);
        plan.snapshots.put(snapshot.id.clone(), snapshot.clone());
        Ok(snapshot)
    }

    async fn list_snapshots(
        &self,
        ctx: &Context,
        volume: Option<&VolumeId>,
        filter: &ListFilter,
    ) -> Result<Vec<Snapshot>> {
        self.inner.capabilities().require_snapshots()?;
        let planned = volume.and_then(|volume| self.plan.lock().volumes.find(volume));
        let listed = match (volume, planned) {
            (Some(volume), Some(None)) => return Err(missing("volume", volume.as_str())),
            // The backend does not know a volume that is only planned.
            (Some(volume), Some(_)) if volume.as_str().starts_with("dry-run:") => Vec::new(),
            _ => self.inner.list_snapshots(ctx, volume, filter).await?,
        };
        let wanted = |snapshot: &Snapshot| {
            filter.matches(&snapshot.owner) && volume.is_none_or(|id| snapshot.volume == *id)
        };
        Ok(self.plan.lock().snapshots.apply(listed, |snapshot| &snapshot.id, wanted))
    }

    async fn delete_snapshot(&self, ctx: &Context, snapshot: &SnapshotId) -> Result<()> {
        self.inner.capabilities().require_snapshots()?;
        self.check_snapshot(ctx, Some(snapshot)).await?;
        let mut plan = self.plan.lock();
        let summary = format!("delete snapshot '{snapshot}'");
        plan.step(Operation::SnapshotDelete, snapshot.as_str(), summary);
        plan.snapshots.remove(snapshot.clone());
        Ok(())
    }

    async fn destroy(&self, ctx: &Context, volume: &VolumeId) -> Result<()> {
        let found = VolumeDriver::get(self, ctx, volume).await?;
        if let Some(attachment) = found.attachments.first() {
            let message = format!("volume '{volume}' is attached to '{}'", attachment.node);
            return Err(conflict(message).hint("detach it first"));
        }
        let mut plan = self.plan.lock();
        let summary = format!("destroy volume '{}' and its data", found.name);
        plan.step(Operation::VolumeDestroy, volume.as_str(), summary);
        plan.volumes.remove(volume.clone());
        Ok(())
    }
}

impl<T: VolumeDriver> DryRun<T> {
    /// The volume without its attachments to nodes that would be gone.
    fn without(&self, mut volume: Volume) -> Volume {
        let plan = self.plan.lock();
        volume.attachments.retain(|attachment| !plan.nodes.is_gone(&attachment.node));
        volume
    }

    /// Fails if the snapshot is not there.
    async fn check_snapshot(&self, ctx: &Context, id: Option<&SnapshotId>) -> Result<()> {
        let Some(id) = id else { return Ok(()) };
        let all = self.list_snapshots(ctx, None, &ListFilter::all()).await?;
        if all.iter().any(|snapshot| snapshot.id == *id) {
            return Ok(());
        }
        Err(missing("snapshot", id.as_str()))
    }
}

//! Volumes in memory.

use std::path::PathBuf;

use async_trait::async_trait;
use tokio::time::Instant;

use super::MemoryBackend;
use super::faults::Fate;
use super::world::{Phase, SnapshotRecord, State, VolumeRecord, taken};
use crate::backend::check_options;
use crate::provisioner::NodeStatus;
use crate::volume_driver::{
    AttachOptions, Attachment, Snapshot, SnapshotSpec, Volume, VolumeCapabilities, VolumeDriver,
    VolumeSpec, VolumeStatus,
};
use crate::{Context, Error, ErrorKind, Health, ListFilter, NodeId, Operation, Result};
use crate::{SnapshotId, VolumeId};

#[async_trait]
impl VolumeDriver for MemoryBackend {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> VolumeCapabilities {
        self.settings.volumes.clone()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        self.call(ctx, Operation::VolumeCheck, "", async |_| self.health()).await
    }

    async fn create(&self, ctx: &Context, spec: &VolumeSpec) -> Result<Volume> {
        self.call(ctx, Operation::VolumeCreate, &spec.name, async |fate: Fate| {
            let (id, ready_at) = self.place_volume(spec, fate)?;
            let named = |error: Error| error.with("volume", id.as_str());
            fate.pass().map_err(named)?;
            self.settle(ctx, ready_at).await.map_err(named)?;
            Ok(self.world.lock().volume(self.namespace(), &id)?.view())
        })
        .await
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Volume>> {
        self.call(ctx, Operation::VolumeList, "", async |_| {
            let state = self.world.lock();
            let all = state.volumes.values().map(VolumeRecord::view);
            let mut volumes: Vec<_> = all
                .filter(|volume| volume.owner.namespace == self.namespace())
                .filter(|volume| filter.matches(&volume.owner))
                .collect();
            volumes.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(volumes)
        })
        .await
    }

    async fn get(&self, ctx: &Context, volume: &VolumeId) -> Result<Volume> {
        self.call(ctx, Operation::VolumeGet, volume.as_str(), async |_| {
            Ok(self.world.lock().volume(self.namespace(), volume)?.view())
        })
        .await
    }

    async fn attach(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        node: &NodeId,
        options: &AttachOptions,
    ) -> Result<Attachment> {
        let target = format!("{volume} {node}");
        self.call(ctx, Operation::VolumeAttach, target, async |fate: Fate| {
            options.validate(&self.settings.volumes)?;
            let attachment = self.attach_now(volume, node, options, fate)?;
            ctx.sleep(self.settings.latency).await?;
            Ok(attachment)
        })
        .await
    }

    async fn detach(&self, ctx: &Context, volume: &VolumeId, node: &NodeId) -> Result<()> {
        let target = format!("{volume} {node}");
        self.call(ctx, Operation::VolumeDetach, target, async |fate: Fate| {
            fate.pass()?;
            let mut state = self.world.lock();
            let attachments = &mut state.volume(self.namespace(), volume)?.volume.attachments;
            let before = attachments.len();
            attachments.retain(|attachment| attachment.node != *node);
            if attachments.len() == before {
                let message = format!("volume '{volume}' is not attached to node '{node}'");
                return Err(Error::new(ErrorKind::NotFound, message));
            }
            Ok(())
        })
        .await
    }

    async fn resize(&self, ctx: &Context, volume: &VolumeId, size: u64) -> Result<Volume> {
        self.call(ctx, Operation::VolumeResize, volume.as_str(), async |fate: Fate| {
            fate.pass()?;
            let mut state = self.world.lock();
            let record = state.volume(self.namespace(), volume)?;
            let attached = !record.volume.attachments.is_empty();
            let size = self.settings.volumes.resized(record.volume.size, size, attached)?;
            record.volume.size = size;
            record.data.truncate(usize::try_from(size).unwrap_or(usize::MAX));
            Ok(record.view())
        })
        .await
    }

    async fn snapshot(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        spec: &SnapshotSpec,
    ) -> Result<Snapshot> {
        let target = format!("{volume} {}", spec.name);
        self.call(ctx, Operation::SnapshotCreate, target, async |fate: Fate| {
            spec.validate(&self.settings.volumes)?;
            spec.owner.require_namespace(self.namespace())?;
            fate.pass()?;
            self.snapshot_now(volume, spec)
        })
        .await
    }

    async fn list_snapshots(
        &self,
        ctx: &Context,
        volume: Option<&VolumeId>,
        filter: &ListFilter,
    ) -> Result<Vec<Snapshot>> {
        let target = volume.map(VolumeId::as_str).unwrap_or_default();
        self.call(ctx, Operation::SnapshotList, target, async |_| {
            self.settings.volumes.require_snapshots()?;
            let mut state = self.world.lock();
            if let Some(id) = volume {
                state.volume(self.namespace(), id)?;
            }
            let mut records: Vec<_> = state
                .snapshots
                .values()
                .filter(|record| record.snapshot.owner.namespace == self.namespace())
                .filter(|record| filter.matches(&record.snapshot.owner))
                .filter(|record| volume.is_none_or(|id| record.snapshot.volume == *id))
                .collect();
            records.sort_by_key(|record| record.number);
            Ok(records.into_iter().map(|record| record.snapshot.clone()).collect())
        })
        .await
    }

    async fn delete_snapshot(&self, ctx: &Context, snapshot: &SnapshotId) -> Result<()> {
        self.call(ctx, Operation::SnapshotDelete, snapshot.as_str(), async |fate: Fate| {
            self.settings.volumes.require_snapshots()?;
            fate.pass()?;
            let mut state = self.world.lock();
            state.snapshot(self.namespace(), snapshot)?;
            state.snapshots.remove(snapshot);
            Ok(())
        })
        .await
    }

    async fn destroy(&self, ctx: &Context, volume: &VolumeId) -> Result<()> {
        self.call(ctx, Operation::VolumeDestroy, volume.as_str(), async |fate: Fate| {
            let mut state = self.world.lock();
            let record = state.volume(self.namespace(), volume)?;
            if let Some(attachment) = record.volume.attachments.first() {
                let message = format!("volume '{volume}' is attached to '{}'", attachment.node);
                return Err(Error::new(ErrorKind::Conflict, message).hint("detach it first"));
            }
            if let Err(error) = fate.pass() {
                record.phase = Phase::settled(VolumeStatus::Deleting);
                return Err(error);
            }
            state.volumes.remove(volume);
            Ok(())
        })
        .await
    }
}

impl MemoryBackend {
    /// Finds the volume that this request has made, or makes it; answers when
    /// it will be ready.
    fn place_volume(&self, spec: &VolumeSpec, fate: Fate) -> Result<(VolumeId, Instant)> {
        let size = spec.validate(&self.settings.volumes)?;
        check_options(&spec.options, &[])?;
        spec.owner.require_namespace(self.namespace())?;
        let phase = match fate {
            Fate::HalfWay => Phase::settled(VolumeStatus::Failed),
            _ => Phase::towards(VolumeStatus::Creating, self.ready_at(), VolumeStatus::Ready),
        };
        let mut state = self.world.lock();
        let same = state.volumes.values_mut().find(|record| {
            let volume = &record.volume;
            volume.name == spec.name && volume.owner.namespace == spec.owner.namespace
        });
        if let Some(record) = same {
            if record.volume.owner != spec.owner {
                return Err(taken("volume", &spec.name, record.volume.id.as_str()));
            }
            match record.phase.current() {
                VolumeStatus::Failed => record.phase = phase,
                VolumeStatus::Deleting => {
                    let message = format!("volume '{}' is being destroyed", spec.name);
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
                VolumeStatus::Creating | VolumeStatus::Ready => {}
            }
            return Ok((record.volume.id.clone(), record.phase.settles_at()));
        }
        let data = self.source_data(&state, spec, size)?;
        let id = VolumeId::new(format!("volume-{}", state.number()));
        let owner = spec.owner.clone();
        let volume = Volume::new(id.clone(), &spec.name, owner, size, VolumeStatus::Creating);
        let is_empty = spec.source.is_none();
        state.volumes.insert(id.clone(), VolumeRecord { volume, phase, is_empty, data });
        Ok((id, phase.settles_at()))
    }

    fn source_data(&self, state: &State, spec: &VolumeSpec, size: u64) -> Result<Vec<u8>> {
        let Some(source) = &spec.source else { return Ok(Vec::new()) };
        let record = state.snapshot(self.namespace(), source)?;
        if record.snapshot.size > size {
            let needed = record.snapshot.size;
            let message = format!("snapshot '{source}' needs {needed} bytes, not {size}");
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        Ok(record.data.clone())
    }

    fn attach_now(
        &self,
        volume: &VolumeId,
        node: &NodeId,
        options: &AttachOptions,
        fate: Fate,
    ) -> Result<Attachment> {
        let mut state = self.world.lock();
        let found = state.volume(self.namespace(), volume)?.view();
        let at = state.node(self.namespace(), node)?.view();
        if let Some(attachment) = found.attachments.iter().find(|at| at.node == *node) {
            return same_mode(attachment, options);
        }
        let conflict = |message: String| Err(Error::new(ErrorKind::Conflict, message));
        if found.status != VolumeStatus::Ready {
            return conflict(format!("volume '{volume}' is not ready"));
        }
        if at.status == NodeStatus::Failed {
            return conflict(format!("node '{node}' is broken"));
        }
        let many = self.settings.volumes.attach_many;
        if let (Some(other), false) = (found.attachments.first(), many || options.take_over) {
            return conflict(format!("volume '{volume}' is attached to '{}'", other.node));
        }
        let device = self.free_device(&state, node)?;
        let record = state.volume(self.namespace(), volume)?;
        let attachments = &mut record.volume.attachments;
        if options.take_over {
            attachments.clear();
        }
        fate.pass()?;
        record.is_empty = false;
        let mut attachment = Attachment::new(node.clone());
        attachment.device = Some(device);
        attachment.read_only = options.read_only;
        attachments.push(attachment.clone());
        Ok(attachment)
    }

    /// The first device name that no volume of the node has.
    fn free_device(&self, state: &State, node: &NodeId) -> Result<PathBuf> {
        let taken: Vec<_> = state
            .volumes_at(node)
            .flat_map(|volume| &volume.attachments)
            .filter(|attachment| attachment.node == *node)
            .map(|attachment| attachment.device.clone())
            .collect();
        let most = self.settings.volumes.max_per_node.unwrap_or(25) as usize;
        let mut names = ('b'..='z').map(|letter| PathBuf::from(format!("/dev/vd{letter}")));
        let free = names.find(|name| !taken.contains(&Some(name.clone())));
        free.filter(|_| taken.len() < most).ok_or_else(|| {
            let message = format!("node '{node}' has as many volumes as it can");
            Error::new(ErrorKind::QuotaExceeded, message).with("node", node.as_str())
        })
    }

    fn snapshot_now(&self, volume: &VolumeId, spec: &SnapshotSpec) -> Result<Snapshot> {
        let mut state = self.world.lock();
        let record = state.volume(self.namespace(), volume)?;
        if record.is_empty && !self.settings.volumes.snapshot_empty {
            let message = format!("volume '{volume}' was never attached and holds nothing");
            return Err(Error::new(ErrorKind::Conflict, message).hint("attach it once"));
        }
        let (size, data) = (record.volume.size, record.data.clone());
        let same = state
            .snapshots
            .values()
            .map(|record| &record.snapshot)
            .find(|snapshot| snapshot.volume == *volume && snapshot.name == spec.name);
        if let Some(snapshot) = same {
            if snapshot.owner != spec.owner {
                return Err(taken("snapshot", &spec.name, snapshot.id.as_str()));
            }
            return Ok(snapshot.clone());
        }
        let number = state.number();
        let id = SnapshotId::new(format!("snapshot-{number}"));
        let snapshot =
            Snapshot::new(id.clone(), &spec.name, spec.owner.clone(), volume.clone(), size);
        state.snapshots.insert(id, SnapshotRecord { snapshot: snapshot.clone(), number, data });
        Ok(snapshot)
    }
}

/// The attachment that is there, if it is of the mode asked for.
fn same_mode(attachment: &Attachment, options: &AttachOptions) -> Result<Attachment> {
    if attachment.read_only == options.read_only {
        return Ok(attachment.clone());
    }
    let mode = if attachment.read_only { "for reading only" } else { "for writing" };
    let message = format!("the volume is attached to '{}' {mode}", attachment.node);
    Err(Error::new(ErrorKind::Conflict, message).hint("detach it first"))
}

//! Snapshots of volumes.

use flock_core::volume_driver::{Snapshot, SnapshotSpec, VolumeDriver as _};
use flock_core::{Context, Error, ErrorKind, ListFilter, Owner, Result, SnapshotId, VolumeId};
use jiff::Timestamp;

use super::record::Record;
use super::{CloudStackVolumeDriver, LXC, is_missing, looked_at_again};
use crate::api;
use crate::api::lenient::moment;
use crate::client::Parameters;
use crate::error::{BACKEND, is_outcome_unknown};
use crate::tags::{self, Resource};

/// The tag that holds the size in bytes, which older versions do not tell.
const SIZE: &str = "flock.size";
/// The tag that holds when the snapshot was asked for: CloudStack tells whole
/// seconds only.
const TIME: &str = "flock.time";
/// The states of a snapshot that is of no use: `Snapshot.State` in CloudStack
/// 4.22.
const USELESS: [&str; 4] = ["Destroying", "Destroyed", "Error", "Hidden"];

impl CloudStackVolumeDriver {
    pub(super) async fn snapshot_now(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        spec: &SnapshotSpec,
    ) -> Result<Snapshot> {
        spec.validate(&self.capabilities())?;
        spec.owner.require_namespace(self.namespace())?;
        let _turn = self.names.turn(ctx, &format!("{volume} {}", spec.name)).await?;
        let record = self.record(ctx, volume.as_str()).await?;
        if let Some(snapshot) = self.snapshot_named(ctx, volume, spec).await? {
            return Ok(snapshot);
        }
        record.require_ready()?;
        if record.hypervisor() == Some(LXC) {
            let message = format!("volume '{}' is of LXC, which has no snapshots", record.name);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        self.make_snapshot(ctx, &record, spec).await
    }

    async fn make_snapshot(
        &self,
        ctx: &Context,
        record: &Record,
        spec: &SnapshotSpec,
    ) -> Result<Snapshot> {
        let asked = Parameters::new()
            .with("volumeid", record.id())
            .with("name", &spec.name)
            .with_pairs("tags", self.snapshot_tags(record, spec));
        let made = match self.client.create_snapshot(ctx, &asked).await {
            Ok(started) => {
                let made = self.client.wait(ctx, &started.job).await;
                // Versions that take no tags here need them now, even if the
                // wait ended early.
                if let Some(id) = &started.id {
                    self.tag_snapshot(ctx, id, record, spec).await?;
                }
                made.map(drop)
            }
            Err(error) => Err(error),
        };
        match (self.snapshot_named(ctx, &VolumeId::new(record.id()), spec).await, made) {
            (Ok(Some(snapshot)), Ok(())) => Ok(snapshot),
            (Ok(Some(snapshot)), Err(error)) if is_outcome_unknown(&error) => Ok(snapshot),
            (_, Err(error)) => Err(looked_at_again(error)),
            (Err(error), Ok(())) => Err(error),
            (Ok(None), Ok(())) => {
                let message =
                    format!("snapshot '{}' was made, but CloudStack does not show it", spec.name);
                Err(Error::new(ErrorKind::Unexpected, message).retryable())
            }
        }
    }

    fn snapshot_tags(&self, record: &Record, spec: &SnapshotSpec) -> Vec<(String, String)> {
        let owner = spec.owner.to_pairs().map(|(key, value)| (key.to_owned(), value));
        let more = [
            (tags::NAME, spec.name.clone()),
            (SIZE, record.size().to_string()),
            (TIME, Timestamp::now().to_string()),
        ];
        owner.into_iter().chain(more.map(|(key, value)| (key.to_owned(), value))).collect()
    }

    async fn tag_snapshot(
        &self,
        ctx: &Context,
        id: &str,
        record: &Record,
        spec: &SnapshotSpec,
    ) -> Result<()> {
        let made = self.client.snapshot(ctx, id).await?;
        if Owner::from_pairs(&made.tags).is_some() {
            return Ok(());
        }
        let all = self.snapshot_tags(record, spec);
        tags::put(&self.client, ctx, Resource::Snapshot, &[id.to_owned()], all).await
    }

    /// The request's snapshot of that volume and name, if it is there.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] for one of another request.
    async fn snapshot_named(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        spec: &SnapshotSpec,
    ) -> Result<Option<Snapshot>> {
        let all = self.snapshots_of(ctx, Some(volume), &ListFilter::all()).await?;
        let Some(found) = all.into_iter().find(|snapshot| snapshot.name == spec.name) else {
            return Ok(None);
        };
        if found.owner == spec.owner {
            return Ok(Some(found));
        }
        let message = format!("there is a snapshot '{}' of this volume already", spec.name);
        Err(Error::new(ErrorKind::AlreadyExists, message)
            .in_backend(BACKEND)
            .with("snapshot", found.id.as_str())
            .hint("choose another name, or delete that one"))
    }

    pub(super) async fn snapshots_of(
        &self,
        ctx: &Context,
        volume: Option<&VolumeId>,
        filter: &ListFilter,
    ) -> Result<Vec<Snapshot>> {
        let mut asked = tags::filter(self.namespace(), filter);
        if let Some(volume) = volume {
            self.record(ctx, volume.as_str()).await?;
            asked = asked.with("volumeid", volume.as_str());
        }
        let mut found = self.client.snapshots(ctx, &asked).await?;
        found.sort_by_cached_key(|snapshot| {
            let asked_for: Option<Timestamp> =
                snapshot.tags.get(TIME).and_then(|time| time.parse().ok());
            (moment(&snapshot.created), asked_for)
        });
        let ours = found.iter().filter_map(|snapshot| self.view_snapshot(snapshot));
        Ok(ours.filter(|snapshot| filter.matches(&snapshot.owner)).collect())
    }

    pub(super) async fn delete_snapshot_now(&self, ctx: &Context, id: &SnapshotId) -> Result<()> {
        self.our_snapshot(ctx, id).await?;
        let Err(error) = self.client.delete_snapshot(ctx, id.as_str()).await else { return Ok(()) };
        match self.our_snapshot(ctx, id).await {
            Err(gone) if is_outcome_unknown(&error) && is_missing(&gone) => Ok(()),
            _ => Err(looked_at_again(error)),
        }
    }

    /// Fails unless a volume of `size` bytes can be made of the snapshot.
    pub(super) async fn require_source(
        &self,
        ctx: &Context,
        id: &SnapshotId,
        size: u64,
    ) -> Result<()> {
        let snapshot = self.our_snapshot(ctx, id).await?;
        if snapshot.size <= size {
            return Ok(());
        }
        let needed = snapshot.size;
        let message = format!("snapshot '{}' needs {needed} bytes, not {size}", snapshot.name);
        Err(Error::new(ErrorKind::InvalidConfig, message).with("snapshot", id.as_str()))
    }

    async fn our_snapshot(&self, ctx: &Context, id: &SnapshotId) -> Result<Snapshot> {
        let missing = || {
            Error::new(ErrorKind::NotFound, format!("there is no snapshot '{id}'"))
                .in_backend(BACKEND)
                .with("snapshot", id.as_str())
        };
        match self.client.snapshot(ctx, id.as_str()).await {
            Ok(snapshot) => self.view_snapshot(&snapshot).ok_or_else(missing),
            Err(error) if is_missing(&error) => Err(missing().caused_by(error)),
            Err(error) => Err(error),
        }
    }

    /// The snapshot, if it is one of this namespace and of use.
    fn view_snapshot(&self, snapshot: &api::Snapshot) -> Option<Snapshot> {
        if USELESS.contains(&snapshot.state.as_str()) {
            return None;
        }
        let owner = tags::owner(self.namespace(), &snapshot.tags)?;
        let name = snapshot.tags.get(tags::NAME).unwrap_or(&snapshot.name);
        let size = snapshot.tags.get(SIZE).and_then(|size| size.parse().ok());
        let size = size.or(snapshot.virtual_size).unwrap_or(0);
        let volume = VolumeId::new(&snapshot.volume_id);
        Some(Snapshot::new(snapshot.id.as_str(), name, owner, volume, size))
    }
}

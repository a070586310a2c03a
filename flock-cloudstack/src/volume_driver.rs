//! Data disks.

mod create;
mod mark;
mod place;
mod record;
mod snapshot;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use flock_core::volume_driver::{
    AttachOptions, Attachment, Snapshot, SnapshotSpec, Volume, VolumeCapabilities, VolumeDriver,
    VolumeSpec, VolumeStatus,
};
use flock_core::{
    Context, Error, ErrorKind, Health, ListFilter, NodeId, Operation, Result, SnapshotId, VolumeId,
};

use self::mark::Mark;
pub use self::place::VolumeOption;
use self::record::Record;
use crate::client::{Client, Parameters};
use crate::error::{BACKEND, is_outcome_unknown};
use crate::names::Names;
use crate::{health, tags};

/// CloudStack's unit for the sizes of volumes.
const GIB: u64 = 1 << 30;
/// A hypervisor whose volumes can be neither resized nor kept.
const LXC: &str = "LXC";
/// The waits between two looks at a volume that another call is working on.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Volumes as CloudStack's data disks.
///
/// # What CloudStack makes of it
///
/// - Sizes are whole GiB. Volumes grow; they do not shrink, which most
///   hypervisors cannot do and which loses data. XenServer grows a volume only
///   while it is detached or its machine is stopped
///   ([`ErrorKind::Conflict`] otherwise).
/// - A volume is at one node. Taking it over detaches it from the other node
///   first, as [`detach`](VolumeDriver::detach) does: the hypervisor asks the
///   node to let go of the disk. Unmount it there before, where that is
///   possible.
/// - The device's name in the node is the guest's affair and not told; the
///   disk's number at the hypervisor is the detail `device_id`.
/// - Volumes of LXC machines can be neither resized nor have snapshots
///   ([`ErrorKind::Unsupported`]).
/// - A volume that was never attached holds nothing and has no snapshots
///   ([`ErrorKind::Conflict`]).
/// - The volume and the node must be in the same zone.
///
/// # Names and tags
///
/// The owner and the name are tags. As CloudStack takes no tags while it makes
/// a volume, a new one is first called
/// `flock:NAMESPACE:NAME:APP:REQUEST` and gets its own name when it is tagged
/// (from CloudStack 4.16 on; before that it stays), so that one which an
/// interrupted call left behind is found by [`list`](VolumeDriver::list), and
/// finished by the next [`create`](VolumeDriver::create). CloudStack has no
/// unique names: after making a volume the driver looks who else has the name,
/// and the later one gives way.
///
/// [`VolumeOption`] names what a spec can say beyond name and size.
///
/// ```no_run
/// use flock_cloudstack::{Client, CloudStackConfig, CloudStackVolumeDriver};
/// use flock_core::secret::Secret;
/// use flock_core::volume_driver::{VolumeDriver, VolumeSpec};
/// use flock_core::{Context, Owner, RequestId, Result};
///
/// # async fn example(secret: Secret) -> Result<()> {
/// let url = "https://cloud.example.org/client/api".parse().unwrap();
/// let client = Client::new(CloudStackConfig::new(url, "my-api-key", secret))?;
/// let volumes = CloudStackVolumeDriver::new(client).with_disk_offering("Custom");
/// let owner = Owner::new("default", "web", RequestId::random());
/// let volume = volumes.create(&Context::new(), &VolumeSpec::new(owner, "data", 20 << 30)).await?;
/// println!("{} is ready", volume.id);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CloudStackVolumeDriver {
    client: Client,
    zone: Option<String>,
    disk_offering: Option<String>,
    /// The names that are being worked on in this process.
    names: Arc<Names>,
}

impl CloudStackVolumeDriver {
    /// A driver for the client's account and namespace.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, zone: None, disk_offering: None, names: Arc::default() }
    }

    /// Sets the zone for new volumes, by name or id. Default: the only one
    /// that the account sees.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Sets the disk offering of new volumes, by name or id. Default: the only
    /// one whose size can be chosen, or the only one of just the size asked
    /// for.
    #[must_use]
    pub fn with_disk_offering(mut self, offering: impl Into<String>) -> Self {
        self.disk_offering = Some(offering.into());
        self
    }

    fn namespace(&self) -> &str {
        &self.client.config().namespace
    }

    /// Our volumes among those for which `parameters` hold.
    async fn records(&self, ctx: &Context, parameters: Parameters) -> Result<Vec<Record>> {
        let asked = parameters.with("type", "DATADISK");
        let volumes = self.client.volumes(ctx, &asked).await?;
        let read = |volume| Record::read(self.namespace(), volume);
        Ok(volumes.into_iter().filter_map(read).collect())
    }

    /// Our volumes that `filter` means, tagged or not yet.
    async fn all(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Record>> {
        let tagged = self.records(ctx, tags::filter(self.namespace(), filter)).await?;
        let keyword = Mark::prefix(self.namespace());
        let marked = self.records(ctx, Parameters::new().with("keyword", keyword)).await?;
        let mut all = record::merge(tagged, marked);
        all.retain(|record| filter.matches(&record.owner));
        Ok(all)
    }

    /// One of our volumes.
    async fn record(&self, ctx: &Context, id: &str) -> Result<Record> {
        let volume = self.client.volume(ctx, id).await.map_err(unknown_volume(id))?;
        Record::read(self.namespace(), volume).ok_or_else(|| {
            let message = format!("volume '{id}' is not one of flock's in '{}'", self.namespace());
            unknown_volume(id)(Error::new(ErrorKind::NotFound, message))
        })
    }

    async fn attach_now(
        &self,
        ctx: &Context,
        id: &str,
        node: &NodeId,
        options: &AttachOptions,
    ) -> Result<Attachment> {
        options.validate(&self.capabilities())?;
        let record = self.record(ctx, id).await?;
        match record.attachment() {
            Some(attachment) if attachment.node == *node => {
                self.wait_while(ctx, record, "Attaching").await?;
                return Ok(attachment);
            }
            Some(other) if options.take_over => {
                self.detach_from(ctx, id, &other.node).await?;
            }
            Some(other) => {
                let message =
                    format!("volume '{}' is attached to node '{}'", record.name, other.node);
                return Err(Error::new(ErrorKind::Conflict, message)
                    .with("node", other.node.as_str())
                    .hint("detach it there first"));
            }
            None => record.require_ready()?,
        }
        match self.client.attach_volume(ctx, id, node.as_str()).await {
            Ok(_) => Ok(Attachment::new(node.clone())),
            Err(error) => self.attached_after_all(ctx, id, node, error).await,
        }
    }

    /// The attachment that is there in spite of an error: another call has
    /// made it, or the reply got lost.
    async fn attached_after_all(
        &self,
        ctx: &Context,
        id: &str,
        node: &NodeId,
        error: Error,
    ) -> Result<Attachment> {
        let Ok(record) = self.record(ctx, id).await else { return Err(looked_at_again(error)) };
        match record.attachment() {
            Some(attachment) if attachment.node == *node => Ok(attachment),
            _ => Err(looked_at_again(error)),
        }
    }

    /// Waits for a volume that another call is working on, as long as it is in
    /// that state.
    async fn wait_while(&self, ctx: &Context, mut record: Record, state: &str) -> Result<Record> {
        let (begun, mut wait) = (Instant::now(), FIRST_WAIT);
        while record.state() == state {
            if begun.elapsed() > self.client.config().job_timeout {
                let message = format!("volume '{}' is still in the state {state}", record.name);
                return Err(Error::new(ErrorKind::Timeout, message).retryable());
            }
            ctx.sleep(wait).await?;
            wait = (wait * 2).min(LONGEST_WAIT);
            record = self.record(ctx, record.id()).await?;
        }
        Ok(record)
    }

    /// Detaches a volume that is at this node.
    async fn detach_from(&self, ctx: &Context, id: &str, node: &NodeId) -> Result<()> {
        let Err(error) = self.client.detach_volume(ctx, id).await else { return Ok(()) };
        let is_there = |record: &Record| record.attachment().is_some_and(|at| at.node == *node);
        match self.record(ctx, id).await {
            Ok(record) if !is_there(&record) => Ok(()),
            _ => Err(looked_at_again(error)),
        }
    }

    async fn resize_now(&self, ctx: &Context, id: &str, size: u64) -> Result<Volume> {
        let record = self.record(ctx, id).await?;
        let is_attached = record.attachment().is_some();
        let wanted = self.capabilities().resized(record.size(), size, is_attached)?;
        if wanted == record.size() {
            return Ok(record.view());
        }
        record.require_ready()?;
        record.require_growth()?;
        let grown = self.client.grow_volume(ctx, id, wanted / GIB).await;
        let now = self.record(ctx, id).await;
        match (grown, now) {
            (_, Ok(record)) if record.size() == wanted => Ok(record.view()),
            (Err(error), _) => Err(looked_at_again(error)),
            (Ok(_), Err(error)) => Err(error),
            (Ok(_), Ok(record)) => {
                let message = format!("the volume has {} bytes now, not {wanted}", record.size());
                Err(Error::new(ErrorKind::Unexpected, message))
            }
        }
    }

    /// Deletes a volume; the reply may get lost.
    async fn remove(&self, ctx: &Context, id: &str) -> Result<()> {
        let Err(error) = self.client.delete_volume(ctx, id).await else { return Ok(()) };
        match self.client.volume(ctx, id).await {
            Err(gone) if is_outcome_unknown(&error) && is_missing(&gone) => Ok(()),
            _ => Err(looked_at_again(error)),
        }
    }
}

#[async_trait]
impl VolumeDriver for CloudStackVolumeDriver {
    fn name(&self) -> &str {
        BACKEND
    }

    fn capabilities(&self) -> VolumeCapabilities {
        let mut can = VolumeCapabilities::default();
        can.take_over = true;
        can.grow = true;
        can.resize_attached = true;
        can.snapshots = true;
        can.restore = true;
        can.min_size = GIB;
        can.size_unit = GIB;
        can
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        health::check(&self.client, ctx).await.map_err(during(Operation::VolumeCheck))
    }

    async fn create(&self, ctx: &Context, spec: &VolumeSpec) -> Result<Volume> {
        self.create_now(ctx, spec).await.map_err(during(Operation::VolumeCreate))
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Volume>> {
        let records = self.all(ctx, filter).await.map_err(during(Operation::VolumeList))?;
        let mut volumes: Vec<_> = records.iter().map(Record::view).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
        Ok(volumes)
    }

    async fn get(&self, ctx: &Context, volume: &VolumeId) -> Result<Volume> {
        let record = self.record(ctx, volume.as_str()).await;
        Ok(record.map_err(during(Operation::VolumeGet))?.view())
    }

    async fn attach(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        node: &NodeId,
        options: &AttachOptions,
    ) -> Result<Attachment> {
        let attached = self.attach_now(ctx, volume.as_str(), node, options).await;
        attached.map_err(on(Operation::VolumeAttach, volume))
    }

    async fn detach(&self, ctx: &Context, volume: &VolumeId, node: &NodeId) -> Result<()> {
        let failed = on(Operation::VolumeDetach, volume);
        let record = self.record(ctx, volume.as_str()).await.map_err(&failed)?;
        if record.attachment().is_none_or(|attachment| attachment.node != *node) {
            let message = format!("volume '{}' is not attached to node '{node}'", record.name);
            return Err(failed(Error::new(ErrorKind::NotFound, message)));
        }
        self.detach_from(ctx, volume.as_str(), node).await.map_err(failed)
    }

    async fn resize(&self, ctx: &Context, volume: &VolumeId, size: u64) -> Result<Volume> {
        let resized = self.resize_now(ctx, volume.as_str(), size).await;
        resized.map_err(on(Operation::VolumeResize, volume))
    }

    async fn snapshot(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        spec: &SnapshotSpec,
    ) -> Result<Snapshot> {
        let made = self.snapshot_now(ctx, volume, spec).await;
        made.map_err(on(Operation::SnapshotCreate, volume))
    }

    async fn list_snapshots(
        &self,
        ctx: &Context,
        volume: Option<&VolumeId>,
        filter: &ListFilter,
    ) -> Result<Vec<Snapshot>> {
        let listed = self.snapshots_of(ctx, volume, filter).await;
        listed.map_err(during(Operation::SnapshotList))
    }

    async fn delete_snapshot(&self, ctx: &Context, snapshot: &SnapshotId) -> Result<()> {
        let deleted = self.delete_snapshot_now(ctx, snapshot).await;
        deleted.map_err(during(Operation::SnapshotDelete))
    }

    async fn destroy(&self, ctx: &Context, volume: &VolumeId) -> Result<()> {
        let failed = on(Operation::VolumeDestroy, volume);
        let record = self.record(ctx, volume.as_str()).await.map_err(&failed)?;
        if let Some(attachment) = record.attachment() {
            let node = &attachment.node;
            let message = format!("volume '{}' is attached to node '{node}'", record.name);
            let error = Error::new(ErrorKind::Conflict, message).with("node", node.as_str());
            return Err(failed(error.hint("detach it first")));
        }
        self.remove(ctx, volume.as_str()).await.map_err(failed)
    }
}

/// Says which operation failed.
fn during(operation: Operation) -> impl Fn(Error) -> Error {
    move |error| error.in_backend(BACKEND).during(operation.as_str())
}

/// Says which operation failed on which volume.
fn on(operation: Operation, volume: &VolumeId) -> impl Fn(Error) -> Error {
    move |error| {
        let error = match error.context_value("volume") {
            Some(_) => error,
            None => error.with("volume", volume.as_str()),
        };
        during(operation)(error)
    }
}

/// The error for a volume that is not there, in which CloudStack's own is the
/// cause.
fn unknown_volume(id: &str) -> impl Fn(Error) -> Error {
    move |error| {
        if !is_missing(&error) {
            return error;
        }
        Error::new(ErrorKind::NotFound, format!("there is no volume '{id}'"))
            .in_backend(BACKEND)
            .with("volume", id)
            .caused_by(error)
    }
}

/// Whether a thing asked for by its id is not there. CloudStack says the same
/// of what is no id at all.
fn is_missing(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// A change whose reply got lost may be asked for again: every operation looks
/// at what is there before it changes anything.
fn looked_at_again(error: Error) -> Error {
    if is_outcome_unknown(&error) { error.retryable() } else { error }
}

impl Record {
    /// Fails where the hypervisor cannot make the volume larger now
    /// (`VolumeApiServiceImpl` of CloudStack 4.22). CloudStack says so only in
    /// the text of a failed job, and not to everybody.
    fn require_growth(&self) -> Result<()> {
        let name = &self.name;
        match self.hypervisor() {
            Some("XenServer") if self.is_in_use() => {
                let message =
                    format!("XenServer cannot make volume '{name}' larger while it is in use");
                Err(Error::new(ErrorKind::Conflict, message)
                    .hint("stop the node, or detach the volume"))
            }
            Some(LXC) => {
                let message = format!("volume '{name}' is of LXC, whose volumes cannot be resized");
                Err(Error::new(ErrorKind::Unsupported, message))
            }
            _ => Ok(()),
        }
    }

    /// Fails unless the volume can be attached, resized and kept.
    fn require_ready(&self) -> Result<()> {
        if self.status() == VolumeStatus::Ready {
            return Ok(());
        }
        let message = format!("volume '{}' is not ready: its state is {}", self.name, self.state());
        Err(Error::new(ErrorKind::Conflict, message).with("state", self.state()))
    }
}

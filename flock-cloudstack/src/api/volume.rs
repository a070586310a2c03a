//! Volumes and their snapshots.

use std::collections::BTreeMap;

use flock_core::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::lenient;
use crate::client::reply::single;
use crate::client::{Client, Parameters, Started, read};
use crate::error::BACKEND;

/// A volume: the disk that a virtual machine starts from, or a data disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Volume {
    /// CloudStack's id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// The name, which others may have too.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
    /// `ROOT` or `DATADISK`.
    #[serde(default, deserialize_with = "lenient::text", rename = "type")]
    pub kind: String,
    /// How far it is: `Allocated` until it is first attached, then `Ready`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub state: String,
    /// Size in bytes.
    #[serde(default, deserialize_with = "lenient::some_number")]
    pub size: Option<u64>,
    /// The zone that it is in.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "zoneid")]
    pub zone_id: Option<String>,
    /// That zone's name.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "zonename")]
    pub zone_name: Option<String>,
    /// The name of what says its kind; its id where there is no name.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "diskofferingname")]
    pub disk_offering_name: Option<String>,
    /// The virtual machine that it is attached to.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "virtualmachineid")]
    pub virtual_machine_id: Option<String>,
    /// What that machine is doing: `Running`, `Stopped`, ….
    #[serde(default, deserialize_with = "lenient::some_text", rename = "vmstate")]
    pub virtual_machine_state: Option<String>,
    /// The hypervisor that it was made by; `None`, as a text, for one that was
    /// never attached.
    #[serde(default, deserialize_with = "lenient::some_text")]
    pub hypervisor: Option<String>,
    /// Its number among that machine's disks; the first is 0.
    #[serde(default, deserialize_with = "lenient::some_number", rename = "deviceid")]
    pub device_id: Option<u64>,
    /// When it was made, as `2021-10-04T08:41:23+0000`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub created: String,
    /// Its tags.
    #[serde(default, deserialize_with = "lenient::tags")]
    pub tags: BTreeMap<String, String>,
}

/// What a volume held at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// CloudStack's id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// The name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
    /// The volume that it was made of.
    #[serde(default, deserialize_with = "lenient::text", rename = "volumeid")]
    pub volume_id: String,
    /// How far it is: `BackedUp` when it can be used.
    #[serde(default, deserialize_with = "lenient::text")]
    pub state: String,
    /// The volume's size in bytes when it was made, where CloudStack tells.
    #[serde(default, deserialize_with = "lenient::some_number", rename = "virtualsize")]
    pub virtual_size: Option<u64>,
    /// When it was made, as `2021-10-04T08:41:23+0000`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub created: String,
    /// Its tags.
    #[serde(default, deserialize_with = "lenient::tags")]
    pub tags: BTreeMap<String, String>,
}

impl Client {
    /// The account's volumes for which `parameters` of `listVolumes` hold.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn volumes(&self, ctx: &Context, parameters: &Parameters) -> Result<Vec<Volume>> {
        self.list(ctx, "listVolumes", parameters).await
    }

    /// One volume.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; those of [`call`](Client::call).
    pub async fn volume(&self, ctx: &Context, id: &str) -> Result<Volume> {
        let volumes = self.volumes(ctx, &Parameters::new().with("id", id)).await?;
        let found = volumes.into_iter().find(|volume| volume.id == id);
        found.ok_or_else(|| missing("volume", id))
    }

    /// Begins to make a data disk, with the parameters of `createVolume`. Its
    /// id is in the answer.
    ///
    /// # Errors
    /// Those of [`start`](Client::start).
    pub async fn create_volume(&self, ctx: &Context, parameters: &Parameters) -> Result<Started> {
        self.start(ctx, "createVolume", parameters).await
    }

    /// Attaches a volume to a virtual machine, and waits for it.
    ///
    /// # Errors
    /// Those of [`run`](Client::run): [`ErrorKind::Conflict`] if it is attached
    /// already, or the machine neither runs nor is stopped.
    pub async fn attach_volume(&self, ctx: &Context, id: &str, machine: &str) -> Result<Volume> {
        let asked = Parameters::new().with("id", id).with("virtualmachineid", machine);
        self.run_on_volume(ctx, "attachVolume", &asked).await
    }

    /// Detaches a volume from its virtual machine, and waits for it.
    ///
    /// # Errors
    /// Those of [`run`](Client::run).
    pub async fn detach_volume(&self, ctx: &Context, id: &str) -> Result<Volume> {
        self.run_on_volume(ctx, "detachVolume", &Parameters::new().with("id", id)).await
    }

    /// Makes a volume larger, and waits for it. `size` is in GiB.
    ///
    /// # Errors
    /// Those of [`run`](Client::run).
    pub async fn grow_volume(&self, ctx: &Context, id: &str, size: u64) -> Result<Volume> {
        // With `shrinkok` CloudStack would also count the new size wrongly
        // against the account's limit (VolumeApiServiceImpl of 4.18).
        let asked = Parameters::new().with("id", id).with("size", size.to_string());
        self.run_on_volume(ctx, "resizeVolume", &asked).await
    }

    /// Gives a volume another name, and waits for it. CloudStack before 4.16
    /// accepts this and changes nothing.
    ///
    /// # Errors
    /// Those of [`run`](Client::run).
    pub async fn rename_volume(&self, ctx: &Context, id: &str, name: &str) -> Result<Volume> {
        let asked = Parameters::new().with("id", id).with("name", name);
        self.run_on_volume(ctx, "updateVolume", &asked).await
    }

    /// Deletes a volume that is attached to nothing, with its data.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn delete_volume(&self, ctx: &Context, id: &str) -> Result<()> {
        self.call(ctx, "deleteVolume", &Parameters::new().with("id", id)).await.map(drop)
    }

    /// The account's snapshots for which `parameters` of `listSnapshots` hold,
    /// the newest first.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn snapshots(&self, ctx: &Context, parameters: &Parameters) -> Result<Vec<Snapshot>> {
        self.list(ctx, "listSnapshots", parameters).await
    }

    /// One snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; those of [`call`](Client::call).
    pub async fn snapshot(&self, ctx: &Context, id: &str) -> Result<Snapshot> {
        let snapshots = self.snapshots(ctx, &Parameters::new().with("id", id)).await?;
        let found = snapshots.into_iter().find(|snapshot| snapshot.id == id);
        found.ok_or_else(|| missing("snapshot", id))
    }

    /// Begins to make a snapshot, with the parameters of `createSnapshot`. Its
    /// id is in the answer.
    ///
    /// # Errors
    /// Those of [`start`](Client::start).
    pub async fn create_snapshot(&self, ctx: &Context, parameters: &Parameters) -> Result<Started> {
        self.start(ctx, "createSnapshot", parameters).await
    }

    /// Deletes a snapshot, and waits for it.
    ///
    /// # Errors
    /// Those of [`run`](Client::run).
    pub async fn delete_snapshot(&self, ctx: &Context, id: &str) -> Result<()> {
        self.run(ctx, "deleteSnapshot", &Parameters::new().with("id", id)).await.map(drop)
    }

    async fn run_on_volume(
        &self,
        ctx: &Context,
        command: &str,
        parameters: &Parameters,
    ) -> Result<Volume> {
        read(command, single(self.run(ctx, command, parameters).await?))
    }
}

fn missing(what: &'static str, id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no {what} '{id}'"))
        .in_backend(BACKEND)
        .with(what, id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_is_read_from_what_versions_write() {
        let volume: Volume = serde_json::from_value(json!({
            "id": 7, "name": "data", "type": "DATADISK", "state": "Ready", "size": "1073741824",
            "deviceid": 1, "virtualmachineid": "", "isextractable": "true",
            "tags": [{"key": "flock.app", "value": "web", "account": "a"}],
        }))
        .unwrap();
        assert_eq!((volume.id.as_str(), volume.size), ("7", Some(1 << 30)));
        assert_eq!((volume.virtual_machine_id, volume.device_id), (None, Some(1)));
        assert_eq!(volume.tags["flock.app"], "web");
    }
}

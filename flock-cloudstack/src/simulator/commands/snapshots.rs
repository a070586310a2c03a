//! Snapshots of volumes.

use std::collections::HashSet;

use serde::Serialize;
use uuid::Uuid;

use super::call::{Call, named, to_json};
use super::lists::{contains, has_any, same};
use super::parameters::{Entity, MADE_FOR, OWNED, PAGED, boolean, id, ids, map, string};
use super::{Command, Outcome};
use crate::simulator::clock::date;
use crate::simulator::error::ApiError;
use crate::simulator::options::{Hypervisor, Resource};
use crate::simulator::views::{DOMAIN, TagView, tags};
use crate::simulator::world::World;
use crate::simulator::world::jobs::{Success, Work};
use crate::simulator::world::records::{Snapshot, VolumeState};

pub(super) const COMMANDS: &[Command] = &[
    Command::job(
        "createSnapshot",
        "Creates an instant snapshot of a volume.",
        &[
            MADE_FOR,
            &[
                boolean("asyncbackup"),
                string("name"),
                boolean("quiescevm"),
                map("tags"),
                id("volumeid", Entity::Volume).required(),
            ],
        ],
        create_snapshot,
    ),
    Command::sync(
        "listSnapshots",
        "Lists all available snapshots for the account.",
        &[
            PAGED,
            OWNED,
            &[
                id("id", Entity::Snapshot),
                ids("ids", Entity::Snapshot),
                string("name"),
                map("tags"),
                id("volumeid", Entity::Volume),
                id("zoneid", Entity::Zone),
            ],
        ],
        list_snapshots,
    ),
    Command::job(
        "deleteSnapshot",
        "Deletes a snapshot of a disk volume.",
        &[&[id("id", Entity::Snapshot).required()]],
        delete_snapshot,
    ),
];

#[derive(Debug, Serialize)]
struct SnapshotView<'a> {
    id: Uuid,
    name: &'a str,
    account: &'a str,
    domainid: Uuid,
    domain: &'static str,
    snapshottype: &'static str,
    intervaltype: &'static str,
    volumeid: Uuid,
    volumename: &'a str,
    volumetype: &'static str,
    zoneid: Uuid,
    created: String,
    state: &'static str,
    virtualsize: u64,
    physicalsize: u64,
    revertable: bool,
    tags: Vec<TagView<'a>>,
}

impl<'a> SnapshotView<'a> {
    fn new(world: &'a World, one: &'a Snapshot) -> Self {
        Self {
            id: one.id,
            name: &one.name,
            account: world.account_name(one.owner),
            domainid: world.domain(),
            domain: DOMAIN,
            snapshottype: "MANUAL",
            intervaltype: "MANUAL",
            volumeid: one.volume,
            volumename: &one.volume_name,
            volumetype: if one.is_of_root { "ROOT" } else { "DATADISK" },
            zoneid: one.zone,
            created: date(one.created),
            state: if one.is_ready { "BackedUp" } else { "BackingUp" },
            virtualsize: one.size,
            physicalsize: if one.is_ready { one.size } else { 0 },
            revertable: false,
            tags: tags(world, "Snapshot", one.id, Some(one.owner), &one.tags),
        }
    }
}

fn list_snapshots(call: &mut Call<'_>) -> Outcome {
    let ids: HashSet<_> = call.ids("ids").into_iter().chain(call.id("id")).collect();
    let owner = if call.is_admin && !ids.is_empty() { None } else { call.listed_owner()? };
    let (name, keyword) = (call.text("name"), call.text("keyword"));
    let (volume, zone) = (call.id("volumeid"), call.id("zoneid"));
    let tags = call.request.pairs("tags");
    let wanted = call.world.snapshots.iter().filter(|one| {
        owner.is_none_or(|owner| one.owner == owner)
            && (ids.is_empty() || ids.contains(&one.id))
            && name.is_none_or(|name| same(&one.name, name))
            && keyword.is_none_or(|keyword| contains(&one.name, keyword))
            && volume.is_none_or(|volume| one.volume == volume)
            && zone.is_none_or(|zone| one.zone == zone)
            && has_any(&one.tags, &tags)
    });
    call.page()?.list("snapshot", wanted, |one| SnapshotView::new(call.world, one))
}

/// Takes a snapshot.
#[derive(Debug)]
struct Create {
    snapshot: Uuid,
    volume: Uuid,
}

impl Create {
    /// The volume is free again, unless it is gone.
    fn release(&self, world: &mut World) {
        if let Some(volume) = world.volumes.get_mut(self.volume)
            && volume.state == VolumeState::Snapshotting
        {
            volume.state = VolumeState::Ready;
        }
    }
}

impl Work for Create {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        let volume = world.volume(self.volume)?;
        match volume.state {
            VolumeState::Ready => {
                volume.state = VolumeState::Snapshotting;
                Ok(())
            }
            state => Err(ApiError::internal(format!(
                "Volume {} is not in Ready state but {}. Cannot take snapshot.",
                self.volume,
                state.as_str()
            ))),
        }
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        self.release(world);
        let gone = || ApiError::internal("Unable to find the snapshot");
        world.snapshots.get_mut(self.snapshot).ok_or_else(gone)?.is_ready = true;
        let snapshot = world.snapshots.get(self.snapshot).ok_or_else(gone)?;
        named("snapshot", &SnapshotView::new(world, snapshot))
    }

    fn abandon(&mut self, world: &mut World) {
        self.release(world);
        world.snapshots.remove(self.snapshot);
    }
}

fn create_snapshot(call: &mut Call<'_>) -> Outcome {
    let (owner, id) = (call.owner()?, call.required_id("volumeid")?);
    call.world.check_limit(owner, Resource::Snapshots, 1)?;
    let snapshot = Uuid::new_v4();
    let created = call.world.clock.now();
    let tags = call.request.pairs("tags");
    let volume = call.world.volume(id)?;
    if volume.state == VolumeState::Allocated {
        return Err(ApiError::parameter(format!(
            "VolumeId: {id} is not in Ready state but Allocated. Cannot take snapshot."
        )));
    }
    if volume.hypervisor == Some(Hypervisor::Lxc) {
        let text = format!("Volume {id} is of the hypervisor LXC, which has no snapshots");
        return Err(ApiError::parameter(text));
    }
    let name = call
        .request
        .text("name")
        .map_or_else(|| format!("{}_{created}", volume.name), str::to_owned);
    let record = Snapshot {
        id: snapshot,
        owner,
        name,
        zone: volume.zone,
        volume: id,
        volume_name: volume.name.clone(),
        is_of_root: volume.is_root,
        size: volume.size,
        is_ready: false,
        created,
        tags: tags.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect(),
    };
    let queue = volume.attached.map_or(id, |attached| attached.machine);
    call.world.snapshots.insert(snapshot, record);
    let work = Create { snapshot, volume: id };
    call.start(Some(snapshot), Some(("Snapshot", snapshot)), Some(queue), work)
}

/// Removes a snapshot.
#[derive(Debug)]
struct Delete(Uuid);

impl Work for Delete {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        match world.snapshots.get(self.0).map(|snapshot| snapshot.is_ready) {
            Some(true) => Ok(()),
            Some(false) => Err(ApiError::internal(format!(
                "Can't delete snapshot {}: it is not in BackedUp state yet",
                self.0
            ))),
            None => {
                Err(ApiError::internal(format!("Unable to find a snapshot with id {}", self.0)))
            }
        }
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        world.snapshots.remove(self.0);
        to_json(&Success { success: true })
    }

    fn abandon(&mut self, _: &mut World) {}
}

fn delete_snapshot(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("id")?;
    call.start(None, Some(("Snapshot", id)), Some(id), Delete(id))
}

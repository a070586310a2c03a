//! Volumes: lists, sizes, and deletion, which happens at once.

use std::collections::HashSet;

use uuid::Uuid;

use super::call::{Call, success};
use super::lists::{contains, has_any, same};
use super::parameters::{Entity, OWNED, PAGED, id, ids, map, string};
use super::{Command, Outcome};
use crate::simulator::error::ApiError;
use crate::simulator::views;
use crate::simulator::world::World;
use crate::simulator::world::records::VolumeState;

pub(super) const COMMANDS: &[Command] = &[
    Command::sync(
        "listVolumes",
        "Lists all volumes.",
        &[
            PAGED,
            OWNED,
            &[
                id("diskofferingid", Entity::DiskOffering),
                id("id", Entity::Volume),
                ids("ids", Entity::Volume),
                string("name"),
                string("state"),
                map("tags"),
                string("type"),
                id("virtualmachineid", Entity::Machine),
                id("zoneid", Entity::Zone),
            ],
        ],
        list_volumes,
    ),
    Command::sync(
        "deleteVolume",
        "Deletes a detached disk volume.",
        &[&[id("id", Entity::Volume).required()]],
        delete_volume,
    ),
];

/// The smallest custom disk, in GiB (`custom.diskoffering.size.min`).
pub(super) const MIN_GIB: u64 = 1;
/// The largest custom disk, in GiB (`custom.diskoffering.size.max`).
pub(super) const MAX_GIB: u64 = 1024;

fn list_volumes(call: &mut Call<'_>) -> Outcome {
    let ids: HashSet<_> = call.ids("ids").into_iter().chain(call.id("id")).collect();
    let owner = if call.is_admin && !ids.is_empty() { None } else { call.listed_owner()? };
    let (name, keyword, state) = (call.text("name"), call.text("keyword"), call.text("state"));
    let (kind, machine) = (call.text("type"), call.id("virtualmachineid"));
    let (offering, zone) = (call.id("diskofferingid"), call.id("zoneid"));
    let tags = call.request.pairs("tags");
    let wanted = call.world.volumes.iter().filter(|one| {
        owner.is_none_or(|owner| one.owner == owner)
            && (ids.is_empty() || ids.contains(&one.id))
            && name.is_none_or(|name| same(&one.name, name))
            && keyword.is_none_or(|keyword| contains(&one.name, keyword))
            && state.is_none_or(|state| same(one.state.as_str(), state))
            && kind.is_none_or(|kind| same(if one.is_root { "ROOT" } else { "DATADISK" }, kind))
            && machine.is_none_or(|id| one.attached.is_some_and(|there| there.machine == id))
            && offering.is_none_or(|offering| one.offering == Some(offering))
            && zone.is_none_or(|zone| one.zone == zone)
            && has_any(&one.tags, &tags)
    });
    call.page()?.list("volume", wanted, |one| views::volume(call.world, one))
}

fn delete_volume(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("id")?;
    let volume = call.world.volume(id)?;
    if volume.attached.is_some() {
        return Err(ApiError::parameter("Please specify a volume that is not attached to any VM."));
    }
    if !matches!(volume.state, VolumeState::Allocated | VolumeState::Ready) || volume.job.is_some()
    {
        let state = volume.state.as_str();
        let text = format!("The volume {id} cannot be deleted now, it is {state}");
        return Err(ApiError::parameter(text));
    }
    call.world.remove_volume(id);
    success()
}

/// The size in bytes of a disk of this offering; `size` is in GiB, and only
/// for those that are custom.
pub(super) fn offered_size(
    world: &World,
    offering: Uuid,
    size: Option<i64>,
) -> Result<u64, ApiError> {
    let gone = || ApiError::parameter(format!("Please specify a valid disk offering: {offering}"));
    let offering = world.disk_offerings.get(offering).ok_or_else(gone)?;
    match (offering.gib, size) {
        (Some(gib), None) => Ok(gib << 30),
        (Some(_), Some(_)) => {
            Err(ApiError::parameter("This disk offering does not allow custom size"))
        }
        (None, None) => {
            Err(ApiError::parameter("This disk offering requires a custom size specified"))
        }
        (None, Some(size)) => custom_size(size),
    }
}

/// A size in GiB that somebody chose, in bytes.
pub(super) fn custom_size(gib: i64) -> Result<u64, ApiError> {
    match u64::try_from(gib) {
        Ok(gib) if (MIN_GIB..=MAX_GIB).contains(&gib) => Ok(gib << 30),
        _ => Err(ApiError::parameter(format!(
            "Invalid size for custom volume creation: {gib} GB, the volume size must be between \
             {MIN_GIB} and {MAX_GIB} GB"
        ))),
    }
}

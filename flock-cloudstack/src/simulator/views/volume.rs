//! A volume in replies.

use serde::Serialize;
use uuid::Uuid;

use super::{DOMAIN, PENDING, TagView, tags};
use crate::simulator::clock::date;
use crate::simulator::world::World;
use crate::simulator::world::records::{Volume, VolumeState};

#[derive(Debug, Serialize)]
pub(crate) struct VolumeView<'a> {
    id: Uuid,
    name: &'a str,
    zoneid: Uuid,
    zonename: &'a str,
    r#type: &'static str,
    size: u64,
    created: String,
    state: &'static str,
    account: &'a str,
    domainid: Uuid,
    domain: &'static str,
    storagetype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<&'static str>,
    hypervisor: &'static str,
    destroyed: bool,
    isextractable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deviceid: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attached: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    virtualmachineid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vmname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vmdisplayname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vmstate: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diskofferingid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diskofferingname: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diskofferingdisplaytext: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    templateid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshotid: Option<Uuid>,
    quiescevm: bool,
    displayvolume: bool,
    tags: Vec<TagView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobstatus: Option<u8>,
}

/// A volume as it looks in replies.
pub(crate) fn volume<'a>(world: &'a World, volume: &'a Volume) -> VolumeView<'a> {
    let attached = volume.attached;
    let machine = attached.and_then(|attached| world.machines.get(attached.machine));
    let offering = volume.offering.and_then(|id| world.disk_offerings.get(id));
    VolumeView {
        id: volume.id,
        name: &volume.name,
        zoneid: volume.zone,
        zonename: world.zones.get(volume.zone).map_or("", |zone| &zone.name),
        r#type: if volume.is_root { "ROOT" } else { "DATADISK" },
        size: volume.size,
        created: date(volume.created),
        state: volume.state.as_str(),
        account: world.account_name(volume.owner),
        domainid: world.domain(),
        domain: DOMAIN,
        storagetype: "shared",
        storage: (volume.state != VolumeState::Allocated).then_some("primary-1"),
        hypervisor: volume.hypervisor.map_or("None", |hypervisor| hypervisor.as_str()),
        destroyed: false,
        isextractable: true,
        deviceid: attached.map(|attached| attached.device),
        attached: attached.map(|attached| date(attached.since)),
        virtualmachineid: attached.map(|attached| attached.machine),
        vmname: machine.map(|machine| machine.name.as_str()),
        vmdisplayname: machine.map(|machine| machine.display_name.as_str()),
        vmstate: machine.map(|machine| machine.state.as_str()),
        diskofferingid: volume.offering,
        diskofferingname: offering.map(|offering| offering.name),
        diskofferingdisplaytext: offering.map(|offering| offering.text),
        templateid: volume.template,
        snapshotid: volume.snapshot,
        quiescevm: false,
        displayvolume: true,
        tags: tags(world, "Volume", volume.id, Some(volume.owner), &volume.tags),
        jobid: volume.job,
        jobstatus: volume.job.map(|_| PENDING),
    }
}

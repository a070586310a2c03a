//! Deployment of a virtual machine: what is checked and made at once.

mod job;
pub(crate) mod names;
mod place;
pub(crate) mod user_data;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use uuid::Uuid;

use self::job::Deploy;
pub(crate) use self::job::{password, set_state, show};
use self::names::{check_host_name, check_unique};
use self::place::{Disk, Place};
use super::call::Call;
use super::parameters::{Entity, MADE_FOR, boolean, id, ids, list, long, map, string};
use super::{Command, Outcome};
use crate::simulator::error::ApiError;
use crate::simulator::options::Resource;
use crate::simulator::world::jobs::MACHINE;
use crate::simulator::world::records::{
    Attached, Machine, MachineState, Size, Volume, VolumeState,
};

pub(super) const COMMANDS: &[Command] = &[Command::job(
    "deployVirtualMachine",
    "Creates and automatically starts a virtual machine based on a service offering, disk \
     offering, and template.",
    &[
        MADE_FOR,
        &[
            ids("affinitygroupids", Entity::AffinityGroup),
            list("affinitygroupnames"),
            map("details"),
            id("diskofferingid", Entity::DiskOffering),
            string("displayname"),
            boolean("displayvm"),
            string("group"),
            string("hypervisor"),
            string("ipaddress"),
            string("keypair"),
            list("keypairs"),
            string("name"),
            ids("networkids", Entity::Network),
            long("rootdisksize"),
            ids("securitygroupids", Entity::SecurityGroup),
            list("securitygroupnames"),
            id("serviceofferingid", Entity::ServiceOffering).required(),
            long("size"),
            boolean("startvm"),
            id("templateid", Entity::Template).required(),
            string("userdata").up_to(1_048_576),
            id("zoneid", Entity::Zone).required(),
        ],
    ],
    deploy,
)];

fn deploy(call: &mut Call<'_>) -> Outcome {
    let id = Uuid::new_v4();
    let place = Place::find(call)?;
    let name = name(call, id)?;
    check_unique(call.world, &place.networks, &name)?;
    check_limits(call, &place)?;
    let user_data = user_data::checked(call)?;
    let address = address(call)?;
    let nics = call.world.connect(&place.networks, &name, address)?;
    let machine = Machine {
        id,
        number: call.world.machines.next_number(),
        owner: place.owner,
        display_name: call.text("displayname").unwrap_or(&name).to_owned(),
        name,
        group: call.text("group").map(str::to_owned),
        zone: place.zone,
        template: place.template,
        template_name: place.template_name,
        template_text: place.template_text,
        os_type: place.os_type,
        is_password_enabled: place.is_password_enabled,
        offering: place.offering,
        size: place.size,
        hypervisor: place.hypervisor,
        state: MachineState::Stopped,
        created: call.world.clock.now(),
        nics,
        security_groups: place.security_groups,
        affinity_groups: place.affinity_groups,
        key_pairs: place.key_pairs,
        user_data,
        details: place.details,
        job: None,
        destructions: 0,
        tags: Vec::new(),
    };
    call.world.machines.insert(id, machine);
    add_disks(call, id, &place.root, place.data.as_ref());
    let starts = call.boolean("startvm") != Some(false);
    let work = Deploy::new(id, starts, call.is_admin);
    call.start(Some(id), Some((MACHINE, id)), Some(id), work)
}

/// The name that was asked for, or one made of the id.
fn name(call: &Call<'_>, id: Uuid) -> Result<String, ApiError> {
    let name = call.text("name").map_or_else(|| format!("VM-{id}"), str::to_owned);
    check_host_name(&name)?;
    Ok(name)
}

fn address(call: &Call<'_>) -> Result<Option<Ipv4Addr>, ApiError> {
    let Some(text) = call.text("ipaddress") else { return Ok(None) };
    let wrong = |_| ApiError::parameter(format!("Format for IP address is invalid: {text}"));
    text.parse().map(Some).map_err(wrong)
}

fn check_limits(call: &Call<'_>, place: &Place) -> Result<(), ApiError> {
    let Size { cpus, memory, .. } = place.size;
    let disks = std::iter::once(&place.root).chain(&place.data);
    let (count, bytes) = disks.fold((0, 0), |(count, sum), disk| (count + 1, sum + disk.size));
    let wanted = [
        (Resource::Machines, 1),
        (Resource::Processors, u64::from(cpus)),
        (Resource::Memory, u64::from(memory)),
        (Resource::Volumes, count),
        (Resource::PrimaryStorage, bytes >> 30),
    ];
    let check = |(resource, more)| call.world.check_limit(place.owner, resource, more);
    wanted.into_iter().try_for_each(check)
}

fn add_disks(call: &mut Call<'_>, machine: Uuid, root: &Disk, data: Option<&Disk>) {
    let Some(record) = call.world.machines.get(machine) else { return };
    let (owner, zone, number) = (record.owner, record.zone, record.number);
    let (hypervisor, template) = (record.hypervisor, record.template);
    let created = record.created;
    for (device, disk) in std::iter::once(root).chain(data).enumerate() {
        let is_root = device == 0;
        let kind = if is_root { "ROOT" } else { "DATA" };
        let device = i64::from(!is_root);
        call.world.add_volume(Volume {
            id: Uuid::new_v4(),
            owner,
            name: format!("{kind}-{number}"),
            zone,
            is_root,
            size: disk.size,
            offering: disk.offering,
            template: is_root.then_some(template),
            snapshot: None,
            hypervisor: Some(hypervisor),
            state: VolumeState::Allocated,
            attached: Some(Attached { machine, device, since: created }),
            created,
            job: None,
            tags: Vec::new(),
        });
    }
}

/// What `details[0].cpuNumber` and so on say; the case of the names does not
/// count.
fn detail<'d>(details: &'d BTreeMap<String, String>, name: &str) -> Option<&'d str> {
    let found = details.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

//! A virtual machine in replies.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Serialize;
use uuid::Uuid;

use super::{DOMAIN, PENDING, TagView, tags};
use crate::simulator::clock::date;
use crate::simulator::world::World;
use crate::simulator::world::records::{Machine, MachineState, Nic};

#[derive(Debug, Serialize)]
pub(crate) struct MachineView<'a> {
    id: Uuid,
    name: &'a str,
    displayname: &'a str,
    account: &'a str,
    userid: Option<Uuid>,
    username: &'a str,
    domainid: Uuid,
    domain: &'static str,
    created: String,
    state: &'static str,
    haenable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    zoneid: Uuid,
    zonename: &'a str,
    templateid: Uuid,
    templatename: &'a str,
    templatedisplaytext: &'a str,
    passwordenabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    serviceofferingid: Uuid,
    serviceofferingname: &'a str,
    cpunumber: u32,
    cpuspeed: u32,
    memory: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpuused: Option<&'static str>,
    guestosid: Uuid,
    ostypeid: Uuid,
    osdisplayname: &'a str,
    rootdeviceid: u8,
    rootdevicetype: &'static str,
    securitygroup: Vec<GroupView<'a>>,
    nic: Vec<NicView<'a>>,
    hypervisor: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instancename: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    keypairs: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    userdata: Option<&'a str>,
    affinitygroup: Vec<AffinityView<'a>>,
    details: &'a BTreeMap<String, String>,
    displayvm: bool,
    isdynamicallyscalable: bool,
    tags: Vec<TagView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobstatus: Option<u8>,
}

#[derive(Debug, Serialize)]
struct GroupView<'a> {
    id: Uuid,
    name: &'a str,
    description: &'a str,
    account: &'a str,
}

#[derive(Debug, Serialize)]
struct AffinityView<'a> {
    id: Uuid,
    name: &'a str,
    r#type: &'a str,
}

#[derive(Debug, Serialize)]
struct NicView<'a> {
    id: Uuid,
    networkid: Uuid,
    networkname: &'a str,
    netmask: &'static str,
    gateway: Option<Ipv4Addr>,
    ipaddress: Ipv4Addr,
    macaddress: String,
    traffictype: &'static str,
    r#type: &'static str,
    isdefault: bool,
    deviceid: String,
}

/// What beyond its record is told of a machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told<'a> {
    /// Its password, which is told once.
    pub(crate) password: Option<&'a str>,
    /// Whether its user data is told.
    pub(crate) user_data: bool,
    /// Whether what only administrators see is told.
    pub(crate) internal: bool,
}

/// A virtual machine as it looks in replies.
pub(crate) fn machine<'a>(
    world: &'a World,
    machine: &'a Machine,
    told: Told<'a>,
) -> MachineView<'a> {
    let owner = world.accounts.get(machine.owner);
    MachineView {
        id: machine.id,
        name: &machine.name,
        displayname: &machine.display_name,
        account: world.account_name(machine.owner),
        userid: owner.map(|account| account.user),
        username: world.account_name(machine.owner),
        domainid: world.domain(),
        domain: DOMAIN,
        created: date(machine.created),
        state: machine.state.as_str(),
        haenable: false,
        group: machine.group.as_deref(),
        zoneid: machine.zone,
        zonename: world.zones.get(machine.zone).map_or("", |zone| &zone.name),
        templateid: machine.template,
        templatename: &machine.template_name,
        templatedisplaytext: &machine.template_text,
        passwordenabled: machine.is_password_enabled,
        password: told.password,
        serviceofferingid: machine.offering,
        serviceofferingname: world
            .service_offerings
            .get(machine.offering)
            .map_or("", |offering| offering.name),
        cpunumber: machine.size.cpus,
        cpuspeed: machine.size.mhz,
        memory: machine.size.memory,
        cpuused: (machine.state == MachineState::Running).then_some("0.1%"),
        guestosid: machine.os_type,
        ostypeid: machine.os_type,
        osdisplayname: world.os_types.get(machine.os_type).map_or("", |one| one.description),
        rootdeviceid: 0,
        rootdevicetype: "ROOT",
        securitygroup: groups(world, machine),
        nic: nics(world, machine),
        hypervisor: machine.hypervisor.as_str(),
        instancename: told.internal.then(|| format!("i-2-{}-VM", machine.number)),
        keypairs: machine.key_pairs.join(","),
        userdata: machine.user_data.as_deref().filter(|_| told.user_data),
        affinitygroup: affinity(world, machine),
        details: &machine.details,
        displayvm: true,
        isdynamicallyscalable: false,
        tags: tags(world, "UserVm", machine.id, Some(machine.owner), &machine.tags),
        jobid: machine.job,
        jobstatus: machine.job.map(|_| PENDING),
    }
}

fn groups<'a>(world: &'a World, machine: &Machine) -> Vec<GroupView<'a>> {
    let all = machine.security_groups.iter().filter_map(|id| world.security_groups.get(*id));
    all.map(|group| GroupView {
        id: group.id,
        name: &group.name,
        description: &group.description,
        account: world.account_name(group.owner),
    })
    .collect()
}

fn affinity<'a>(world: &'a World, machine: &Machine) -> Vec<AffinityView<'a>> {
    let all = machine.affinity_groups.iter().filter_map(|id| world.affinity_groups.get(*id));
    all.map(|group| AffinityView { id: group.id, name: &group.name, r#type: &group.kind }).collect()
}

fn nics<'a>(world: &'a World, machine: &Machine) -> Vec<NicView<'a>> {
    machine.nics.iter().enumerate().map(|(index, nic)| card(world, index, nic)).collect()
}

fn card<'a>(world: &'a World, index: usize, nic: &Nic) -> NicView<'a> {
    let network = world.networks.get(nic.network);
    let [a, b, c, d] = nic.address.octets();
    NicView {
        id: nic.id,
        networkid: nic.network,
        networkname: network.map_or("", |network| &network.name),
        netmask: "255.255.0.0",
        gateway: network.map(crate::simulator::world::records::Network::gateway),
        ipaddress: nic.address,
        macaddress: format!("1e:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}"),
        traffictype: "Guest",
        r#type: "Shared",
        isdefault: index == 0,
        deviceid: index.to_string(),
    }
}

//! Virtual machines: lists, and what changes at once.

use std::collections::HashSet;

use uuid::Uuid;

use super::call::{Call, named};
use super::deploy::names::check_host_name;
use super::lists::{contains, has_any, same};
use super::parameters::{Entity, OWNED, PAGED, boolean, id, ids, list, map, string};
use super::{Command, Outcome};
use crate::simulator::error::ApiError;
use crate::simulator::options::Hypervisor;
use crate::simulator::views::{self, Told};
use crate::simulator::world::World;
use crate::simulator::world::records::{Machine, MachineState, Tags};

pub(super) const COMMANDS: &[Command] = &[
    Command::sync(
        "listVirtualMachines",
        "List the virtual machines owned by the account.",
        &[
            PAGED,
            OWNED,
            &[
                id("affinitygroupid", Entity::AffinityGroup),
                list("details"),
                boolean("displayvm"),
                string("hypervisor"),
                id("id", Entity::Machine),
                ids("ids", Entity::Machine),
                string("keypair"),
                string("name"),
                id("networkid", Entity::Network),
                id("securitygroupid", Entity::SecurityGroup),
                id("serviceofferingid", Entity::ServiceOffering),
                string("state"),
                map("tags"),
                id("templateid", Entity::Template),
                boolean("userdata"),
                id("zoneid", Entity::Zone),
            ],
        ],
        list_machines,
    ),
    Command::sync(
        "updateVirtualMachine",
        "Updates properties of a virtual machine. The VM has to be stopped and restarted for the \
         new properties to take effect.",
        &[&[
            string("displayname"),
            string("group"),
            id("id", Entity::Machine).required(),
            string("name"),
            string("userdata").up_to(1_048_576),
        ]],
        update_machine,
    ),
    Command::sync(
        "recoverVirtualMachine",
        "Recovers a virtual machine.",
        &[&[id("id", Entity::Machine).required()]],
        recover_machine,
    ),
    Command::sync(
        "getVirtualMachineUserData",
        "Returns user data associated with the VM",
        &[&[id("virtualmachineid", Entity::Machine).required()]],
        get_user_data,
    ),
];

/// What is asked of a list of machines.
struct Filter<'a> {
    owner: Option<Uuid>,
    ids: HashSet<Uuid>,
    name: Option<&'a str>,
    keyword: Option<&'a str>,
    state: Option<&'a str>,
    zone: Option<Uuid>,
    template: Option<Uuid>,
    offering: Option<Uuid>,
    network: Option<Uuid>,
    security_group: Option<Uuid>,
    affinity_group: Option<Uuid>,
    hypervisor: Option<Hypervisor>,
    key_pair: Option<&'a str>,
    tags: Vec<(String, Option<String>)>,
    sees_destroyed: bool,
}

impl<'a> Filter<'a> {
    fn new(call: &Call<'a>) -> Result<Self, ApiError> {
        let ids: HashSet<_> = call.ids("ids").into_iter().chain(call.id("id")).collect();
        Ok(Self {
            // Asked for by id, an administrator's list is of all accounts.
            owner: if call.is_admin && !ids.is_empty() { None } else { call.listed_owner()? },
            ids,
            name: call.text("name"),
            keyword: call.text("keyword"),
            state: call.text("state"),
            zone: call.id("zoneid"),
            template: call.id("templateid"),
            offering: call.id("serviceofferingid"),
            network: call.id("networkid"),
            security_group: call.id("securitygroupid"),
            affinity_group: call.id("affinitygroupid"),
            hypervisor: call.text("hypervisor").and_then(Hypervisor::parse),
            key_pair: call.text("keypair"),
            tags: call.request.pairs("tags"),
            sees_destroyed: call.is_admin,
        })
    }

    fn fits(&self, one: &Machine) -> bool {
        let is = |wanted: Option<Uuid>, id: Uuid| wanted.is_none_or(|wanted| wanted == id);
        let has = |wanted: Option<Uuid>, ids: &[Uuid]| wanted.is_none_or(|id| ids.contains(&id));
        is(self.owner, one.owner)
            && (self.ids.is_empty() || self.ids.contains(&one.id))
            && (self.sees_destroyed || !is_gone(one.state))
            && self.name.is_none_or(|name| same(&one.name, name))
            && self.state.is_none_or(|state| is_state(one.state, state))
            && is(self.zone, one.zone)
            && is(self.template, one.template)
            && is(self.offering, one.offering)
            && has(self.security_group, &one.security_groups)
            && has(self.affinity_group, &one.affinity_groups)
            && self.network.is_none_or(|id| one.nics.iter().any(|nic| nic.network == id))
            && self.hypervisor.is_none_or(|hypervisor| one.hypervisor == hypervisor)
            && self.key_pair.is_none_or(|name| one.key_pairs.iter().any(|one| same(one, name)))
            && self.keyword.is_none_or(|word| {
                contains(&one.name, word)
                    || contains(&one.display_name, word)
                    || contains(one.state.as_str(), word)
            })
            && has_any(&one.tags as &Tags, &self.tags)
    }
}

fn is_gone(state: MachineState) -> bool {
    matches!(state, MachineState::Destroyed | MachineState::Expunging)
}

/// `Present` is CloudStack's word for all that is not destroyed.
fn is_state(state: MachineState, wanted: &str) -> bool {
    match same(wanted, "Present") {
        true => !is_gone(state),
        false => same(state.as_str(), wanted),
    }
}

fn list_machines(call: &mut Call<'_>) -> Outcome {
    let filter = Filter::new(call)?;
    let told = Told {
        user_data: call.boolean("userdata") == Some(true),
        internal: call.is_admin,
        ..Told::default()
    };
    let world = &*call.world;
    // A few by their ids need no walk through all.
    let by_id: Vec<&Machine>;
    let (few, all) = if filter.ids.is_empty() {
        (None, Some(world.machines.iter()))
    } else {
        by_id = in_order(world, &filter.ids);
        (Some(by_id.iter().copied()), None)
    };
    let machines = few.into_iter().flatten().chain(all.into_iter().flatten());
    let wanted = machines.filter(|machine| filter.fits(machine));
    call.page()?.list("virtualmachine", wanted, |one| views::machine(world, one, told))
}

fn in_order<'w>(world: &'w World, ids: &HashSet<Uuid>) -> Vec<&'w Machine> {
    let mut found: Vec<_> = ids.iter().filter_map(|id| world.machines.get(*id)).collect();
    found.sort_by_key(|machine| machine.number);
    found
}

fn update_machine(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("id")?;
    let user_data = super::deploy::user_data::checked(call)?;
    if let Some(name) = call.text("name") {
        check_host_name(name)?;
        rename(call.world, id, name)?;
    }
    let (display_name, group) = (call.text("displayname"), call.text("group"));
    let machine = call.world.machine(id)?;
    if let Some(text) = display_name {
        text.clone_into(&mut machine.display_name);
    }
    if let Some(text) = group {
        machine.group = Some(text.to_owned());
    }
    if user_data.is_some() {
        machine.user_data = user_data;
    }
    show(call, id)
}

fn rename(world: &mut World, id: Uuid, name: &str) -> Result<(), ApiError> {
    let machine = world.machine(id)?;
    let (nics, old) = (machine.nics.clone(), machine.name.clone());
    if same(&old, name) {
        return Ok(());
    }
    let networks: Vec<_> = nics.iter().map(|nic| nic.network).collect();
    super::deploy::names::check_unique(world, &networks, name)?;
    world.rename(&nics, &old, name);
    name.clone_into(&mut world.machine(id)?.name);
    Ok(())
}

fn recover_machine(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("id")?;
    if !call.is_admin && !call.world.options.user_expunge {
        return Err(ApiError::denied(
            "Recovering a vm can only be done by an Admin. Or when the \
             allow.user.expunge.recover.vm key is set.",
        ));
    }
    let machine = call.world.machine(id)?;
    if machine.state != MachineState::Destroyed {
        return Err(ApiError::parameter(format!(
            "Unable to recover the virtual machine {id}: it is not in Destroyed state but {}",
            machine.state.as_str()
        )));
    }
    let owner = machine.owner;
    call.world.check_limit(owner, crate::simulator::options::Resource::Machines, 1)?;
    call.world.machine(id)?.state = MachineState::Stopped;
    show(call, id)
}

fn show(call: &mut Call<'_>, id: Uuid) -> Outcome {
    let told = Told { internal: call.is_admin, ..Told::default() };
    let gone = || ApiError::no_entity(call.command.name, "id", id);
    let machine = call.world.machines.get(id).ok_or_else(gone)?;
    named("virtualmachine", &views::machine(call.world, machine, told))
}

#[derive(Debug, serde::Serialize)]
struct UserDataView<'a> {
    virtualmachineid: Uuid,
    userdata: &'a str,
}

fn get_user_data(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("virtualmachineid")?;
    let machine = call.world.machines.get(id);
    let userdata = machine.and_then(|one| one.user_data.as_deref()).unwrap_or_default();
    named("virtualmachineuserdata", &UserDataView { virtualmachineid: id, userdata })
}

//! Affinity groups.

use serde::Serialize;
use uuid::Uuid;

use super::call::{Call, named, to_json};
use super::lists::{contains, same};
use super::parameters::{Entity, MADE_FOR, OWNED, PAGED, id, string};
use super::{Command, Outcome};
use crate::simulator::error::ApiError;
use crate::simulator::views::DOMAIN;
use crate::simulator::world::World;
use crate::simulator::world::jobs::{Success, Work};
use crate::simulator::world::records::AffinityGroup;

pub(super) const COMMANDS: &[Command] = &[
    Command::sync(
        "listAffinityGroups",
        "Lists affinity groups",
        &[
            PAGED,
            OWNED,
            &[
                id("id", Entity::AffinityGroup),
                string("name"),
                string("type"),
                id("virtualmachineid", Entity::Machine),
            ],
        ],
        list_groups,
    ),
    Command::sync(
        "listAffinityGroupTypes",
        "Lists affinity group types available",
        &[PAGED],
        list_types,
    ),
    Command::job(
        "createAffinityGroup",
        "Creates an affinity/anti-affinity group",
        &[MADE_FOR, &[string("description"), string("name").required(), string("type").required()]],
        create_group,
    ),
    Command::job(
        "deleteAffinityGroup",
        "Deletes affinity group",
        &[MADE_FOR, &[id("id", Entity::AffinityGroup), string("name")]],
        delete_group,
    ),
];

const TYPES: [&str; 2] = ["host affinity", "host anti-affinity"];

#[derive(Debug, Serialize)]
struct GroupView<'a> {
    id: Uuid,
    name: &'a str,
    description: &'a str,
    r#type: &'a str,
    account: &'a str,
    domainid: Uuid,
    domain: &'static str,
    #[serde(rename = "virtualmachineIds")]
    machines: Vec<Uuid>,
}

impl<'a> GroupView<'a> {
    fn new(world: &'a World, group: &'a AffinityGroup) -> Self {
        let machines = world.machines.iter().filter(|one| one.affinity_groups.contains(&group.id));
        Self {
            id: group.id,
            name: &group.name,
            description: &group.description,
            r#type: &group.kind,
            account: world.account_name(group.owner),
            domainid: world.domain(),
            domain: DOMAIN,
            machines: machines.map(|machine| machine.id).collect(),
        }
    }
}

fn list_groups(call: &mut Call<'_>) -> Outcome {
    let (id, name, kind) = (call.id("id"), call.text("name"), call.text("type"));
    let keyword = call.text("keyword");
    let owner = if id.is_some() { None } else { call.listed_owner()? };
    let machine = call.id("virtualmachineid").and_then(|id| call.world.machines.get(id));
    let wanted = call.world.affinity_groups.iter().filter(|one| {
        id.is_none_or(|id| one.id == id)
            && owner.is_none_or(|owner| one.owner == owner)
            && name.is_none_or(|name| same(&one.name, name))
            && kind.is_none_or(|kind| same(&one.kind, kind))
            && keyword.is_none_or(|keyword| contains(&one.name, keyword))
            && machine.is_none_or(|machine| machine.affinity_groups.contains(&one.id))
    });
    call.page()?.list("affinitygroup", wanted, |one| GroupView::new(call.world, one))
}

#[derive(Debug, Serialize)]
struct TypeView {
    r#type: &'static str,
}

fn list_types(call: &mut Call<'_>) -> Outcome {
    call.page()?.list("affinityGroupType", TYPES.into_iter(), |kind| TypeView { r#type: kind })
}

/// Shows a new group.
#[derive(Debug)]
struct Create(Uuid);

impl Work for Create {
    fn begin(&mut self, _: &mut World) -> Result<(), ApiError> {
        Ok(())
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        let gone = || ApiError::internal("Unable to find the affinity group");
        let group = world.affinity_groups.get(self.0).ok_or_else(gone)?;
        named("affinitygroup", &GroupView::new(world, group))
    }

    fn abandon(&mut self, world: &mut World) {
        world.affinity_groups.remove(self.0);
    }
}

fn create_group(call: &mut Call<'_>) -> Outcome {
    let (owner, name) = (call.owner()?, call.required("name")?);
    let kind = call.required("type")?;
    let Some(kind) = TYPES.into_iter().find(|one| same(one, kind)) else {
        let text = format!("Unable to create affinity group, no processor for the type {kind}");
        return Err(ApiError::parameter(text));
    };
    if find(call.world, owner, name).is_some() {
        return Err(ApiError::parameter(format!(
            "Unable to create affinity group, a group with name {name} already exists."
        )));
    }
    let id = Uuid::new_v4();
    let group = AffinityGroup {
        id,
        owner,
        name: name.to_owned(),
        description: call.text("description").unwrap_or_default().to_owned(),
        kind: kind.to_owned(),
    };
    call.world.affinity_groups.insert(id, group);
    call.start(Some(id), Some(("AffinityGroup", id)), None, Create(id))
}

/// Removes a group.
#[derive(Debug)]
struct Delete(Uuid);

impl Work for Delete {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        match world.machines.iter().any(|machine| machine.affinity_groups.contains(&self.0)) {
            true => Err(ApiError::internal("Cannot delete affinity group when it's in use")),
            false => Ok(()),
        }
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        world.affinity_groups.remove(self.0);
        to_json(&Success { success: true })
    }

    fn abandon(&mut self, _: &mut World) {}
}

fn delete_group(call: &mut Call<'_>) -> Outcome {
    let group = match (call.id("id"), call.text("name")) {
        (Some(id), None) => id,
        (None, Some(name)) => find(call.world, call.owner()?, name).ok_or_else(|| {
            ApiError::parameter(format!("Unable to find affinity group by name {name}"))
        })?,
        _ => return Err(ApiError::parameter("Either id or name of the group is required")),
    };
    call.start(None, Some(("AffinityGroup", group)), Some(group), Delete(group))
}

fn find(world: &World, owner: Uuid, name: &str) -> Option<Uuid> {
    let is_it = |group: &&AffinityGroup| group.owner == owner && same(&group.name, name);
    world.affinity_groups.iter().find(is_it).map(|group| group.id)
}

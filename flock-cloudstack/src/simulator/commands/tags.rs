//! Tags on machines, templates, volumes and so on.

use uuid::Uuid;

use super::call::{Call, to_json};
use super::lists::{contains, same};
use super::parameters::{OWNED, PAGED, Parameter, list, map, string};
use super::{Command, Outcome};
use crate::simulator::error::ApiError;
use crate::simulator::views::{TagView, tags as view};
use crate::simulator::world::World;
use crate::simulator::world::jobs::{Success, Work};
use crate::simulator::world::records::Tags;

pub(super) const COMMANDS: &[Command] = &[
    Command::job(
        "createTags",
        "Creates resource tag(s)",
        &[RESOURCES, &[map("tags").required()]],
        create_tags,
    ),
    Command::job(
        "deleteTags",
        "Deleting resource tag(s)",
        &[RESOURCES, &[map("tags")]],
        delete_tags,
    ),
    Command::sync(
        "listTags",
        "List resource tag(s)",
        &[
            PAGED,
            OWNED,
            &[string("key"), string("resourceid"), string("resourcetype"), string("value")],
        ],
        list_tags,
    ),
];

const RESOURCES: &[Parameter] =
    &[list("resourceids").required(), string("resourcetype").required()];

/// The most characters of a tag's key or value.
const MAX_TAG: usize = 255;

/// What can have tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Machine,
    Network,
    SecurityGroup,
    Snapshot,
    Template,
    Volume,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Machine,
        Self::Network,
        Self::SecurityGroup,
        Self::Snapshot,
        Self::Template,
        Self::Volume,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "UserVm",
            Self::Network => "Network",
            Self::SecurityGroup => "SecurityGroup",
            Self::Snapshot => "Snapshot",
            Self::Template => "Template",
            Self::Volume => "Volume",
        }
    }

    fn parse(text: &str) -> Result<Self, ApiError> {
        Self::ALL
            .into_iter()
            .find(|kind| same(kind.as_str(), text))
            .ok_or_else(|| ApiError::parameter(format!("Invalid resource type {text}")))
    }

    /// All of the kind, with their owners and tags.
    fn all(self, world: &World) -> Vec<(Uuid, Option<Uuid>, &Tags)> {
        match self {
            Self::Machine => {
                world.machines.iter().map(|one| (one.id, Some(one.owner), &one.tags)).collect()
            }
            Self::Network => world.networks.iter().map(|one| (one.id, None, &one.tags)).collect(),
            Self::SecurityGroup => {
                let all = world.security_groups.iter();
                all.map(|one| (one.id, Some(one.owner), &one.tags)).collect()
            }
            Self::Snapshot => {
                world.snapshots.iter().map(|one| (one.id, Some(one.owner), &one.tags)).collect()
            }
            Self::Template => {
                world.templates.iter().map(|one| (one.id, one.owner, &one.tags)).collect()
            }
            Self::Volume => {
                world.volumes.iter().map(|one| (one.id, Some(one.owner), &one.tags)).collect()
            }
        }
    }

    /// The owner and the tags of one.
    fn find(self, world: &mut World, id: Uuid) -> Option<(Option<Uuid>, &mut Tags)> {
        match self {
            Self::Machine => world.machines.get_mut(id).map(|one| (Some(one.owner), &mut one.tags)),
            Self::Network => world.networks.get_mut(id).map(|one| (None, &mut one.tags)),
            Self::SecurityGroup => {
                world.security_groups.get_mut(id).map(|one| (Some(one.owner), &mut one.tags))
            }
            Self::Snapshot => {
                world.snapshots.get_mut(id).map(|one| (Some(one.owner), &mut one.tags))
            }
            Self::Template => world.templates.get_mut(id).map(|one| (one.owner, &mut one.tags)),
            Self::Volume => world.volumes.get_mut(id).map(|one| (Some(one.owner), &mut one.tags)),
        }
    }
}

/// What a job does to the tags of some things.
#[derive(Debug)]
struct Change {
    kind: Kind,
    ids: Vec<String>,
    tags: Vec<(String, Option<String>)>,
    caller: Uuid,
    is_admin: bool,
    removes: bool,
}

impl Change {
    fn resource(&self, text: &str) -> Result<Uuid, ApiError> {
        Uuid::parse_str(text).map_err(|_| self.no_resource(text))
    }

    fn no_resource(&self, id: &str) -> ApiError {
        let kind = self.kind.as_str();
        ApiError::internal(format!("Unable to find resource by id {id} and type {kind}"))
    }

    /// The tags of the resource, if the caller may change them.
    fn tags<'w>(&self, world: &'w mut World, id: &str) -> Result<&'w mut Tags, ApiError> {
        let found = self.kind.find(world, self.resource(id)?);
        let (owner, tags) = found.ok_or_else(|| self.no_resource(id))?;
        match self.is_admin || owner == Some(self.caller) {
            true => Ok(tags),
            false => Err(ApiError::denied(format!("The resource {id} is another account's"))),
        }
    }

    fn check_new(&self, tags: &Tags, id: &str) -> Result<(), ApiError> {
        let is_there = |key: &str| tags.iter().any(|(there, _)| same(there, key));
        match self.tags.iter().find(|(key, _)| is_there(key)) {
            None => Ok(()),
            Some((key, _)) => {
                let kind = self.kind.as_str();
                Err(ApiError::internal(format!("tag {key} already on {kind} with id {id}")))
            }
        }
    }
}

impl Work for Change {
    /// All is checked before anything is changed: tags come to all of the
    /// resources or to none.
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        for id in &self.ids {
            let tags = self.tags(world, id)?;
            if !self.removes {
                self.check_new(tags, id)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        for id in &self.ids {
            let tags = self.tags(world, id)?;
            if self.removes {
                let goes = |key: &str, value: &str| {
                    let is_it = |(wanted, only): &(String, Option<String>)| {
                        same(wanted, key) && only.as_ref().is_none_or(|only| only == value)
                    };
                    self.tags.is_empty() || self.tags.iter().any(is_it)
                };
                tags.retain(|(key, value)| !goes(key, value));
            } else {
                let new = self.tags.iter();
                tags.extend(
                    new.map(|(key, value)| (key.clone(), value.clone().unwrap_or_default())),
                );
            }
        }
        to_json(&Success { success: true })
    }

    fn abandon(&mut self, _: &mut World) {}
}

fn create_tags(call: &mut Call<'_>) -> Outcome {
    change(call, false)
}

fn delete_tags(call: &mut Call<'_>) -> Outcome {
    change(call, true)
}

fn change(call: &mut Call<'_>, removes: bool) -> Outcome {
    let tags = call.request.pairs("tags");
    let is_long = |text: &str| text.chars().count() > MAX_TAG;
    for (key, value) in &tags {
        if key.is_empty() || is_long(key) || value.as_ref().is_some_and(|value| is_long(value)) {
            let text = format!("Tag's key or value is empty or longer than {MAX_TAG} characters");
            return Err(ApiError::parameter(text));
        }
        if !removes && value.is_none() {
            return Err(ApiError::parameter(format!("The tag {key} has no value")));
        }
    }
    if !removes && tags.is_empty() {
        return Err(ApiError::parameter("tags need a key and a value"));
    }
    let work = Change {
        kind: Kind::parse(call.required("resourcetype")?)?,
        ids: call.list("resourceids").into_iter().map(str::to_owned).collect(),
        tags,
        caller: call.account,
        is_admin: call.is_admin,
        removes,
    };
    call.start_quick(work)
}

fn list_tags(call: &mut Call<'_>) -> Outcome {
    let owner = call.listed_owner()?;
    let kinds = match call.text("resourcetype") {
        Some(text) => vec![Kind::parse(text)?],
        None => Kind::ALL.to_vec(),
    };
    let resource = call.text("resourceid").and_then(|text| Uuid::parse_str(text).ok());
    let is_any = call.text("resourceid").is_none();
    let (key, value) = (call.text("key"), call.text("value"));
    let keyword = call.text("keyword");
    let world = &*call.world;
    let wanted = kinds
        .into_iter()
        .flat_map(|kind| kind.all(world).into_iter().map(move |found| (kind, found)))
        .filter(|(_, (id, of, _))| {
            (is_any || Some(*id) == resource) && owner.is_none_or(|owner| *of == Some(owner))
        })
        .flat_map(|(kind, (id, of, tags))| view(world, kind.as_str(), id, of, tags))
        .filter(|tag: &TagView<'_>| {
            key.is_none_or(|key| same(tag.key, key))
                && value.is_none_or(|value| same(tag.value, value))
                && keyword.is_none_or(|word| contains(tag.key, word) || contains(tag.value, word))
        });
    call.page()?.list("tag", wanted, |tag| tag)
}

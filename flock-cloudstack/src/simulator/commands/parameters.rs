//! What parameters a command has, and the checks that all of them pass.

use uuid::Uuid;

use super::Command;
use crate::simulator::error::ApiError;
use crate::simulator::request::Request;
use crate::simulator::world::World;

/// A parameter of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    /// The most characters.
    pub(crate) length: usize,
}

/// What a parameter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Boolean,
    Integer,
    Long,
    Date,
    List,
    Map,
    /// The id of something that must be there.
    Id(Entity),
    /// Ids with commas between them.
    Ids(Entity),
}

impl Kind {
    /// What `listApis` calls it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Long => "long",
            Self::Date => "date",
            Self::List | Self::Ids(_) => "list",
            Self::Map => "map",
            Self::Id(_) => "uuid",
        }
    }
}

/// What an id can be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entity {
    Account,
    AffinityGroup,
    DiskOffering,
    Domain,
    Job,
    KeyPair,
    Machine,
    Network,
    OsCategory,
    OsType,
    SecurityGroup,
    SecurityRule,
    ServiceOffering,
    Snapshot,
    Template,
    Volume,
    Zone,
    /// Of what the simulator has none of: projects, hosts, pods and so on.
    Absent,
}

impl Parameter {
    /// This parameter, without which the command fails.
    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// This parameter with another length.
    pub(crate) const fn up_to(mut self, length: usize) -> Self {
        self.length = length;
        self
    }
}

const fn new(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, required: false, length: 255 }
}

pub(crate) const fn string(name: &'static str) -> Parameter {
    new(name, Kind::String)
}

pub(crate) const fn boolean(name: &'static str) -> Parameter {
    new(name, Kind::Boolean)
}

pub(crate) const fn integer(name: &'static str) -> Parameter {
    new(name, Kind::Integer)
}

pub(crate) const fn long(name: &'static str) -> Parameter {
    new(name, Kind::Long)
}

pub(crate) const fn date(name: &'static str) -> Parameter {
    new(name, Kind::Date)
}

pub(crate) const fn list(name: &'static str) -> Parameter {
    new(name, Kind::List)
}

pub(crate) const fn map(name: &'static str) -> Parameter {
    new(name, Kind::Map)
}

pub(crate) const fn id(name: &'static str, entity: Entity) -> Parameter {
    new(name, Kind::Id(entity))
}

pub(crate) const fn ids(name: &'static str, entity: Entity) -> Parameter {
    new(name, Kind::Ids(entity))
}

/// What every list takes.
pub(crate) const PAGED: &[Parameter] = &[string("keyword"), integer("page"), integer("pagesize")];

/// What lists of things that have an owner take.
pub(crate) const OWNED: &[Parameter] = &[
    string("account"),
    id("domainid", Entity::Domain),
    boolean("isrecursive"),
    boolean("listall"),
    id("projectid", Entity::Absent),
];

/// What calls that make something take.
pub(crate) const MADE_FOR: &[Parameter] =
    &[string("account"), id("domainid", Entity::Domain), id("projectid", Entity::Absent)];

/// Checks a request against its command's parameters, in their order.
pub(crate) fn check(
    command: &Command,
    request: &Request,
    world: &World,
    caller: Uuid,
) -> Result<(), ApiError> {
    for parameter in command.parameters() {
        check_one(command, parameter, request, world, caller)?;
    }
    Ok(())
}

fn check_one(
    command: &Command,
    parameter: &Parameter,
    request: &Request,
    world: &World,
    caller: Uuid,
) -> Result<(), ApiError> {
    let name = parameter.name;
    if parameter.kind == Kind::Map {
        let is_missing = parameter.required && request.map(name).next().is_none();
        return if is_missing { Err(ApiError::missing(command.name, name)) } else { Ok(()) };
    }
    let Some(value) = request.text(name) else {
        return match parameter.required {
            true => Err(ApiError::missing(command.name, name)),
            false => Ok(()),
        };
    };
    if parameter.kind == Kind::String && value.chars().count() > parameter.length {
        let most = parameter.length;
        let text = format!("Value greater than max allowed length {most} for param: {name}");
        return Err(ApiError::parameter(text));
    }
    let resolve = |entity, value: &str| {
        let id = Uuid::parse_str(value).ok();
        let access = id.map_or(Access::None, |id| access(world, entity, id, caller));
        access.check(command.name, name, value)
    };
    match parameter.kind {
        Kind::Integer => check_number::<i32>(command.name, name, value),
        Kind::Long => check_number::<i64>(command.name, name, value),
        Kind::Id(entity) => resolve(entity, value),
        Kind::Ids(entity) => {
            request.list(name).into_iter().try_for_each(|value| resolve(entity, value))
        }
        _ => Ok(()),
    }
}

fn check_number<T: std::str::FromStr>(
    command: &str,
    name: &str,
    value: &str,
) -> Result<(), ApiError> {
    if value.trim().parse::<T>().is_ok() {
        return Ok(());
    }
    let command = command.to_ascii_lowercase();
    Err(ApiError::parameter(format!(
        "Unable to execute API command {command} due to invalid value. Invalid number {value} for \
         parameter {name}"
    )))
}

/// What an account may do with a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Granted,
    Denied,
    None,
}

impl Access {
    fn check(self, command: &str, parameter: &str, value: &str) -> Result<(), ApiError> {
        match self {
            Self::Granted => Ok(()),
            Self::None => Err(ApiError::no_entity(command, parameter, value)),
            Self::Denied => Err(ApiError::denied(format!(
                "Acct does not have permission to operate with resource {parameter}={value}"
            ))),
        }
    }

    fn open(is_there: bool) -> Self {
        if is_there { Self::Granted } else { Self::None }
    }
}

fn access(world: &World, entity: Entity, id: Uuid, caller: Uuid) -> Access {
    let owned = |owner: Option<Uuid>| match owner {
        None => Access::None,
        Some(owner) if owner == caller || world.is_admin(caller) => Access::Granted,
        Some(_) => Access::Denied,
    };
    match entity {
        Entity::Absent => Access::None,
        Entity::Account => owned(world.accounts.get(id).map(|one| one.id)),
        Entity::AffinityGroup => owned(world.affinity_groups.get(id).map(|one| one.owner)),
        Entity::DiskOffering => Access::open(world.disk_offerings.get(id).is_some()),
        Entity::Domain => Access::open(id == world.domain()),
        Entity::Job => owned(world.jobs.get(id).map(|one| one.owner)),
        Entity::KeyPair => owned(world.key_pairs.get(id).map(|one| one.owner)),
        Entity::Machine => owned(world.machines.get(id).map(|one| one.owner)),
        Entity::Network => Access::open(world.networks.get(id).is_some()),
        Entity::OsCategory => Access::open(world.os_types.iter().any(|one| one.category == id)),
        Entity::OsType => Access::open(world.os_types.get(id).is_some()),
        Entity::SecurityGroup => owned(world.security_groups.get(id).map(|one| one.owner)),
        Entity::SecurityRule => owned(world.rule_owner(id)),
        Entity::ServiceOffering => Access::open(world.service_offerings.get(id).is_some()),
        Entity::Snapshot => owned(world.snapshots.get(id).map(|one| one.owner)),
        Entity::Template => match world.templates.get(id) {
            None => Access::None,
            Some(template) if world.may_use(template, caller) => Access::Granted,
            Some(_) => Access::Denied,
        },
        Entity::Volume => owned(world.volumes.get(id).map(|one| one.owner)),
        Entity::Zone => Access::open(world.zones.get(id).is_some()),
    }
}

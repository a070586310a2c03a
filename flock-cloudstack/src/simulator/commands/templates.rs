//! Templates: lists, and what changes at once.

use std::collections::HashSet;

use uuid::Uuid;

use super::call::{Call, named};
use super::lists::{contains, has_any, same};
use super::parameters::{Entity, OWNED, PAGED, boolean, id, ids, list, map, string};
use super::{Command, Outcome};
use crate::simulator::error::ApiError;
use crate::simulator::options::Hypervisor;
use crate::simulator::views;
use crate::simulator::world::World;
use crate::simulator::world::template::{Template, ZoneCopy};

pub(super) const COMMANDS: &[Command] = &[
    Command::sync(
        "listTemplates",
        "List all public, private, and privileged templates.",
        &[
            PAGED,
            OWNED,
            &[
                string("arch"),
                list("details"),
                string("hypervisor"),
                id("id", Entity::Template),
                ids("ids", Entity::Template),
                boolean("isready"),
                string("name"),
                boolean("showunique"),
                map("tags"),
                string("templatefilter").required(),
                string("templatetype"),
                id("zoneid", Entity::Zone),
            ],
        ],
        list_templates,
    ),
    Command::sync(
        "updateTemplate",
        "Updates attributes of a template.",
        &[&[
            map("details"),
            string("displaytext").up_to(4096),
            id("id", Entity::Template).required(),
            boolean("isdynamicallyscalable"),
            string("name"),
            id("ostypeid", Entity::OsType),
            boolean("passwordenabled"),
            boolean("requireshvm"),
            boolean("sshkeyenabled"),
        ]],
        update_template,
    ),
];

/// Which templates are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Community,
    Executable,
    Featured,
    Own,
    OwnExecutable,
    Shared,
    SharedExecutable,
}

impl Scope {
    fn parse(text: &str, is_admin: bool) -> Result<Self, ApiError> {
        match text.to_ascii_lowercase().as_str() {
            "all" if is_admin => Ok(Self::All),
            "all" => Err(ApiError::parameter(
                "Filter all can be specified by root admin only, not by others",
            )),
            "community" => Ok(Self::Community),
            "executable" => Ok(Self::Executable),
            "featured" => Ok(Self::Featured),
            "self" => Ok(Self::Own),
            "selfexecutable" => Ok(Self::OwnExecutable),
            "shared" => Ok(Self::Shared),
            "sharedexecutable" => Ok(Self::SharedExecutable),
            _ => Err(ApiError::parameter(format!("Invalid template filter: {text}"))),
        }
    }

    fn shows(self, template: &Template, copy: &ZoneCopy, owner: Uuid, name: &str) -> bool {
        let is_own = template.owner == Some(owner);
        let is_shared = template.shared_with.contains(name);
        let (flags, is_ready) = (template.flags, copy.stage.is_ready());
        match self {
            Self::All => true,
            Self::Community => flags.public && !flags.featured,
            Self::Featured => flags.public && flags.featured,
            Self::Executable => is_ready && (is_own || is_shared || flags.public),
            Self::Own => is_own,
            Self::OwnExecutable => is_own && is_ready,
            Self::Shared => is_shared,
            Self::SharedExecutable => is_shared && is_ready,
        }
    }
}

fn list_templates(call: &mut Call<'_>) -> Outcome {
    let scope = Scope::parse(call.required("templatefilter")?, call.is_admin)?;
    let owner = call.owner()?;
    let account = call.world.account_name(owner);
    let ids: HashSet<_> = call.ids("ids").into_iter().chain(call.id("id")).collect();
    let (name, keyword) = (call.text("name"), call.text("keyword"));
    let (zone, ready) = (call.id("zoneid"), call.boolean("isready"));
    let hypervisor = call.text("hypervisor").and_then(Hypervisor::parse);
    let (arch, kind) = (call.text("arch"), call.text("templatetype"));
    let tags = call.request.pairs("tags");
    let unique = call.boolean("showunique") == Some(true);
    let templates = call.world.templates.iter().filter(|one| {
        (ids.is_empty() || ids.contains(&one.id))
            && name.is_none_or(|name| same(&one.name, name))
            && keyword.is_none_or(|keyword| contains(&one.name, keyword))
            && hypervisor.is_none_or(|hypervisor| one.hypervisor == hypervisor)
            && arch.is_none_or(|arch| same(&one.arch, arch))
            && kind.is_none_or(|kind| same(one.kind(), kind))
            && has_any(&one.tags, &tags)
    });
    let wanted = templates.flat_map(|one| {
        let fits = move |(in_zone, copy): &(&Uuid, &ZoneCopy)| {
            zone.is_none_or(|zone| **in_zone == zone)
                && ready.is_none_or(|ready| copy.stage.is_ready() == ready)
                && scope.shows(one, copy, owner, account)
        };
        let copies = one.zones.iter().filter(fits).map(move |(zone, copy)| (one, *zone, copy));
        copies.take(if unique { 1 } else { usize::MAX })
    });
    call.page()?
        .list("template", wanted, |(one, zone, copy)| views::template(call.world, one, zone, copy))
}

/// The template, if the caller may change it.
pub(super) fn own<'w>(call: &'w mut Call<'_>, id: Uuid) -> Result<&'w mut Template, ApiError> {
    let (account, is_admin) = (call.account, call.is_admin);
    let gone = || ApiError::parameter(format!("Unable to find template with id {id}"));
    let template = call.world.templates.get_mut(id).ok_or_else(gone)?;
    match is_admin || template.owner == Some(account) {
        true => Ok(template),
        false => Err(ApiError::denied(format!("The template {id} is another account's"))),
    }
}

fn update_template(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("id")?;
    let (name, text, os_type) = (call.text("name"), call.text("displaytext"), call.id("ostypeid"));
    let details = call.request.fields("details");
    let flags = ["passwordenabled", "requireshvm", "sshkeyenabled", "isdynamicallyscalable"]
        .map(|name| call.boolean(name));
    let template = own(call, id)?;
    if let Some(name) = name {
        template.name = name.into();
    }
    if let Some(text) = text {
        template.text = text.into();
    }
    template.os_type = os_type.unwrap_or(template.os_type);
    template.details.extend(details);
    let [password, hvm, ssh_key, scalable] = flags;
    let old = template.flags;
    template.flags.password = password.unwrap_or(old.password);
    template.flags.hvm = hvm.unwrap_or(old.hvm);
    template.flags.ssh_key = ssh_key.unwrap_or(old.ssh_key);
    template.flags.scalable = scalable.unwrap_or(old.scalable);
    show_first(call.world, id)
}

/// The template in the first of its zones.
pub(super) fn show_first(world: &World, id: Uuid) -> Outcome {
    let gone = || ApiError::internal(format!("Unable to find template with id {id}"));
    let template = world.templates.get(id).ok_or_else(gone)?;
    let (zone, copy) = template.zones.iter().next().ok_or_else(gone)?;
    named("template", &views::template(world, template, *zone, copy))
}

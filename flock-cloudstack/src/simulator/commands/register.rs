//! Registration of templates: by address, and what uploads share with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::call::{Call, Errand};
use super::lists::Page;
use super::parameters::{Entity, MADE_FOR, Parameter, boolean, id, integer, list, map, string};
use super::{Command, Outcome, Prepare};
use crate::simulator::content;
use crate::simulator::error::ApiError;
use crate::simulator::format::Format;
use crate::simulator::options::{Hypervisor, Resource};
use crate::simulator::views;
use crate::simulator::world::World;
use crate::simulator::world::template::{Flags, Stage, Template, ZoneCopy};

pub(super) const COMMANDS: &[Command] = &[Command::sync(
    "registerTemplate",
    "Registers an existing template into the CloudStack cloud. ",
    &[
        MADE_FOR,
        TEMPLATE,
        &[boolean("directdownload"), string("url").required().up_to(2048), ZONE, list("zoneids")],
    ],
    register,
)
.preparing(Prepare::RemoteSize)];

/// Also `-1`, which is no id.
const ZONE: Parameter = string("zoneid");

/// What every way to make a template takes.
pub(super) const TEMPLATE: &[Parameter] = &[
    string("arch"),
    integer("bits"),
    string("checksum"),
    boolean("deployasis"),
    map("details"),
    string("displaytext").up_to(4096),
    string("format").required(),
    string("hypervisor").required(),
    boolean("isdynamicallyscalable"),
    boolean("isextractable"),
    boolean("isfeatured"),
    boolean("ispublic"),
    boolean("isrouting"),
    string("name").required(),
    id("ostypeid", Entity::OsType),
    boolean("passwordenabled"),
    boolean("requireshvm"),
    boolean("sshkeyenabled"),
    string("templatetag"),
    string("templatetype"),
];

/// `zoneids` for every zone.
const ALL_ZONES: &str = "-1";

fn register(call: &mut Call<'_>) -> Outcome {
    let mut template = record(call)?;
    let zones = zones(call, template.hypervisor)?;
    let url = call.required("url")?;
    let direct = call.boolean("directdownload") == Some(true);
    if direct && template.hypervisor != Hypervisor::Kvm {
        let text = "Parameter directdownload is only allowed for KVM templates";
        return Err(ApiError::parameter(text));
    }
    template.flags.direct_download = direct;
    template.url = Some(url.to_owned());
    let stage = if direct { Stage::Bypassed } else { Stage::Registered };
    let created = template.created;
    template.zones =
        zones.iter().map(|zone| (*zone, ZoneCopy::new(created, stage.clone()))).collect();
    let template_id = template.id;
    call.world.templates.insert(template_id, template);
    if !direct {
        call.errands
            .extend(zones.iter().map(|zone| Errand::Fetch { template: template_id, zone: *zone }));
    }
    show_all(call.world, template_id)
}

/// The template in all its zones.
pub(super) fn show_all(world: &World, id: Uuid) -> Outcome {
    let template = world.templates.get(id);
    let copies = template
        .iter()
        .flat_map(|template| template.zones.iter().map(|(zone, copy)| (*template, *zone, copy)));
    let page = Page::new(None, None, usize::MAX)?;
    page.list("template", copies, |(template, zone, copy)| {
        views::template(world, template, zone, copy)
    })
}

/// The template that a request describes, in no zone yet.
pub(super) fn record(call: &Call<'_>) -> Result<Template, ApiError> {
    let owner = call.owner()?;
    call.world.check_limit(owner, Resource::Templates, 1)?;
    let (name, text) = (call.required("name")?, call.text("displaytext"));
    if text.is_none() && call.world.version() < (4, 19) {
        return Err(ApiError::missing(call.command.name, "displaytext"));
    }
    let format = call.required("format")?;
    let format = Format::parse(format)
        .ok_or_else(|| ApiError::parameter(format!("Please specify a valid format: {format}")))?;
    let hypervisor = call.required("hypervisor")?;
    let hypervisor = Hypervisor::parse(hypervisor)
        .ok_or_else(|| ApiError::parameter(format!("Hypervisor Type: {hypervisor} is invalid.")))?;
    let missing = || ApiError::missing(call.command.name, "ostypeid");
    let checksum = call.text("checksum").map(str::to_owned);
    if let Some(checksum) = &checksum {
        content::Checksum::parse(checksum).map_err(ApiError::parameter)?;
    }
    Ok(Template {
        id: Uuid::new_v4(),
        owner: Some(owner),
        name: Arc::from(name),
        text: Arc::from(text.unwrap_or(name)),
        format,
        hypervisor,
        os_type: call.id("ostypeid").ok_or_else(missing)?,
        flags: flags(call),
        bits: call.integer("bits").unwrap_or(64),
        arch: call.text("arch").unwrap_or("x86_64").to_owned(),
        tag: call.text("templatetag").map(str::to_owned),
        checksum,
        url: None,
        details: call.request.fields("details"),
        shared_with: BTreeSet::new(),
        created: call.world.clock.now(),
        zones: std::collections::BTreeMap::new(),
        tags: Vec::new(),
    })
}

fn flags(call: &Call<'_>) -> Flags {
    let is = |name| call.boolean(name) == Some(true);
    Flags {
        public: is("ispublic"),
        // Only administrators feature templates; of others it is ignored.
        featured: is("isfeatured") && call.is_admin,
        extractable: is("isextractable"),
        password: is("passwordenabled"),
        ssh_key: is("sshkeyenabled"),
        hvm: call.boolean("requireshvm") != Some(false),
        scalable: is("isdynamicallyscalable"),
        direct_download: false,
    }
}

/// The zones to register in.
fn zones(call: &Call<'_>, hypervisor: Hypervisor) -> Result<Vec<Uuid>, ApiError> {
    let (one, several) = (call.text("zoneid"), call.list("zoneids"));
    let all = one == Some(ALL_ZONES) || several.contains(&ALL_ZONES);
    let wanted = match (one, several.as_slice()) {
        (Some(_), [_, ..]) => {
            let text = "Both zoneid and zoneids cannot be specified at the same time";
            return Err(ApiError::parameter(text));
        }
        (None, []) => return Err(ApiError::missing(call.command.name, "zoneids")),
        _ if all && !call.is_admin => {
            let text = "Only admins can create templates that are available in all zones";
            return Err(ApiError::denied(text));
        }
        _ if all => call.world.zones.iter().map(|zone| zone.id).collect(),
        (Some(zone), []) => vec![zone_id(call, "zoneid", zone)?],
        (None, zones) => {
            zones.iter().map(|zone| zone_id(call, "zoneids", zone)).collect::<Result<_, _>>()?
        }
    };
    match wanted.iter().find(|zone| !offers(call.world, **zone, hypervisor)) {
        Some(zone) if !all => Err(no_hypervisor(*zone, hypervisor)),
        _ => Ok(wanted),
    }
}

fn zone_id(call: &Call<'_>, parameter: &str, text: &str) -> Result<Uuid, ApiError> {
    let known = |id: &Uuid| call.world.zones.get(*id).is_some();
    let id = Uuid::parse_str(text).ok().filter(known);
    id.ok_or_else(|| ApiError::no_entity(call.command.name, parameter, text))
}

/// Whether a zone has hosts of this hypervisor.
pub(super) fn offers(world: &World, zone: Uuid, hypervisor: Hypervisor) -> bool {
    world.zones.get(zone).is_some_and(|zone| zone.hypervisors.contains(&hypervisor))
}

pub(super) fn no_hypervisor(zone: Uuid, hypervisor: Hypervisor) -> ApiError {
    let name = hypervisor.as_str();
    ApiError::parameter(format!("The zone {zone} has no hosts of the hypervisor {name}"))
}

//! Templates: what is done to them by jobs.

use std::path::PathBuf;

use serde::Serialize;
use uuid::Uuid;

use super::call::{Call, named, to_json};
use super::parameters::{Entity, boolean, id, ids, string};
use super::register::offers;
use super::templates::{own, show_first};
use super::{Command, Outcome};
use crate::simulator::clock::date;
use crate::simulator::error::ApiError;
use crate::simulator::world::jobs::{Success, Work};
use crate::simulator::world::template::{Stage, Template, ZoneCopy};
use crate::simulator::world::{Download, World};

pub(super) const COMMANDS: &[Command] = &[
    Command::job(
        "deleteTemplate",
        "Deletes a template from the system. All virtual machines using the deleted template will \
         not be affected.",
        &[&[boolean("forced"), id("id", Entity::Template).required(), id("zoneid", Entity::Zone)]],
        delete,
    ),
    Command::job(
        "copyTemplate",
        "Copies a template from one zone to another.",
        &[&[
            id("destzoneid", Entity::Zone),
            ids("destzoneids", Entity::Zone),
            id("id", Entity::Template).required(),
            id("sourcezoneid", Entity::Zone),
        ]],
        copy,
    ),
    Command::job(
        "extractTemplate",
        "Extracts a template",
        &[&[
            id("id", Entity::Template).required(),
            string("mode").required(),
            string("url").up_to(2048),
            id("zoneid", Entity::Zone),
        ]],
        extract,
    ),
];

/// What `jobinstancetype` says of a template.
const TEMPLATE: &str = "Template";

fn find(world: &mut World, id: Uuid) -> Result<&mut Template, ApiError> {
    let gone = || ApiError::internal(format!("Unable to find template with id {id}"));
    world.templates.get_mut(id).ok_or_else(gone)
}

/// Removes a template from one zone or from all.
#[derive(Debug)]
struct Delete {
    template: Uuid,
    zone: Option<Uuid>,
    forced: bool,
}

impl Work for Delete {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        let template = find(world, self.template)?;
        if let Some(zone) = self.zone
            && !template.zones.contains_key(&zone)
        {
            return Err(ApiError::internal(format!(
                "Unable to find template with id {} in zone {zone}",
                self.template
            )));
        }
        let uses = world.machines.iter().filter(|machine| {
            machine.template == self.template && self.zone.is_none_or(|zone| machine.zone == zone)
        });
        let count = uses.count();
        match count > 0 && !self.forced {
            true => Err(ApiError::internal(format!(
                "Unable to delete template with id: {} because {count} VM instances are using it",
                self.template
            ))),
            false => Ok(()),
        }
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        let template = find(world, self.template)?;
        let gone: Vec<_> = match self.zone {
            Some(zone) => template.zones.remove(&zone).into_iter().collect(),
            None => std::mem::take(&mut template.zones).into_values().collect(),
        };
        if template.zones.is_empty() {
            world.templates.remove(self.template);
            world.uploads.retain(|_, ticket| ticket.template != self.template);
        }
        let zone = self.zone;
        let is_of = |download: &Download| {
            download.template == self.template && zone.is_none_or(|zone| download.zone == zone)
        };
        world.downloads.retain(|_, download| !is_of(download));
        world.garbage.extend(gone.into_iter().filter_map(|copy| copy.file));
        to_json(&Success { success: true })
    }

    fn abandon(&mut self, _: &mut World) {}
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let (template, zone) = (call.required_id("id")?, call.id("zoneid"));
    own(call, template)?;
    let forced = call.boolean("forced") == Some(true);
    let work = Delete { template, zone, forced };
    call.start(None, Some((TEMPLATE, template)), Some(template), work)
}

/// Copies a template into other zones.
#[derive(Debug)]
struct Copy {
    template: Uuid,
    source: Uuid,
    zones: Vec<Uuid>,
    /// Those of the zones where it was not before.
    new: Vec<Uuid>,
}

impl Copy {
    fn source(&self, world: &mut World) -> Result<ZoneCopy, ApiError> {
        let found = find(world, self.template)?.zones.get(&self.source).cloned();
        found.filter(|copy| copy.stage.is_ready()).ok_or_else(|| {
            ApiError::internal(format!(
                "Unable to copy the template {}: it is not ready in the zone {}",
                self.template, self.source
            ))
        })
    }
}

impl Work for Copy {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        self.source(world)?;
        let hypervisor = find(world, self.template)?.hypervisor;
        if let Some(zone) = self.zones.iter().find(|zone| !offers(world, **zone, hypervisor)) {
            let name = hypervisor.as_str();
            let text = format!("The zone {zone} has no hosts of the hypervisor {name}");
            return Err(ApiError::internal(text));
        }
        let now = world.clock.now();
        let template = find(world, self.template)?;
        for zone in &self.zones {
            if !template.zones.contains_key(zone) {
                template.zones.insert(*zone, ZoneCopy::new(now, Stage::Downloading(0)));
                self.new.push(*zone);
            }
        }
        Ok(())
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        // A file is kept once, in the zone it came to.
        let source = ZoneCopy { file: None, ..self.source(world)? };
        let template = find(world, self.template)?;
        for zone in &self.new {
            if let Some(copy) = template.zones.get_mut(zone) {
                *copy = ZoneCopy { created: copy.created, ..source.clone() };
            }
        }
        show_first(world, self.template)
    }

    fn abandon(&mut self, world: &mut World) {
        if let Some(template) = world.templates.get_mut(self.template) {
            template.zones.retain(|zone, _| !self.new.contains(zone));
        }
    }
}

fn copy(call: &mut Call<'_>) -> Outcome {
    let template = call.required_id("id")?;
    let mut zones = call.ids("destzoneids");
    zones.extend(call.id("destzoneid"));
    if zones.is_empty() {
        let text = "Either destzoneid or destzoneids parameters have to be specified.";
        return Err(ApiError::parameter(text));
    }
    let first = own(call, template)?.zones.keys().next().copied();
    let Some(source) = call.id("sourcezoneid").or(first) else {
        return Err(ApiError::missing(call.command.name, "sourcezoneid"));
    };
    if zones.contains(&source) {
        return Err(ApiError::parameter("Please specify different source and destination zones."));
    }
    let work = Copy { template, source, zones, new: Vec::new() };
    call.start(None, Some((TEMPLATE, template)), Some(template), work)
}

#[derive(Debug, Serialize)]
#[allow(non_snake_case, reason = "the names are CloudStack's")]
struct ExtractView<'a> {
    id: Uuid,
    name: &'a str,
    extractId: Uuid,
    accountid: Option<Uuid>,
    state: &'static str,
    created: String,
    extractMode: &'static str,
    url: String,
    zoneid: Uuid,
    zonename: &'a str,
}

/// Makes an address from which a template can be fetched.
#[derive(Debug)]
struct Extract {
    template: Uuid,
    zone: Uuid,
    is_admin: bool,
}

impl Extract {
    fn check(&self, world: &mut World) -> Result<PathBuf, ApiError> {
        let (id, is_admin) = (self.template, self.is_admin);
        let template = find(world, id)?;
        if !template.flags.extractable && !is_admin {
            let text = format!("Unable to extract template id={id} as it's not extractable");
            return Err(ApiError::internal(text));
        }
        let copy = template.zones.get(&self.zone).filter(|copy| copy.stage.is_ready());
        let copy = copy.ok_or_else(|| {
            let zone = self.zone;
            ApiError::internal(format!("The template {id} is not ready in the zone {zone}"))
        })?;
        copy.file.clone().ok_or_else(|| {
            ApiError::internal(format!(
                "This simulator did not keep the file of the template {id}: it was started \
                 without storage, or the template did not come from outside into this zone"
            ))
        })
    }
}

impl Work for Extract {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        self.check(world).map(|_| ())
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        let file = self.check(world)?;
        let number = Uuid::new_v4();
        let kept = file.file_name().unwrap_or_default().to_string_lossy();
        let extension = kept.split_once('.').map_or("", |(_, extension)| extension);
        let name = format!("{number}.{extension}");
        let url = format!("{}/userdata/{name}", world.upload_url);
        let download = Download { template: self.template, zone: self.zone, file };
        world.downloads.insert(name, download);
        let gone = || ApiError::internal("Unable to find the template");
        let template = world.templates.get(self.template).ok_or_else(gone)?;
        named(
            "template",
            &ExtractView {
                id: template.id,
                name: &template.name,
                extractId: number,
                accountid: template.owner,
                state: "DOWNLOAD_URL_CREATED",
                created: date(world.clock.now()),
                extractMode: HTTP_DOWNLOAD,
                url,
                zoneid: self.zone,
                zonename: world.zones.get(self.zone).map_or("", |zone| &zone.name),
            },
        )
    }

    fn abandon(&mut self, _: &mut World) {}
}

const HTTP_DOWNLOAD: &str = "HTTP_DOWNLOAD";

fn extract(call: &mut Call<'_>) -> Outcome {
    let (template, mode) = (call.required_id("id")?, call.required("mode")?);
    if !mode.eq_ignore_ascii_case(HTTP_DOWNLOAD) {
        return Err(ApiError::parameter(format!(
            "Please specify a valid extract mode: {mode} is not {HTTP_DOWNLOAD}"
        )));
    }
    let first = call.world.templates.get(template).and_then(|one| one.zones.keys().next().copied());
    let Some(zone) = call.id("zoneid").or(first) else {
        return Err(ApiError::missing(call.command.name, "zoneid"));
    };
    let work = Extract { template, zone, is_admin: call.is_admin };
    call.start(None, Some((TEMPLATE, template)), Some(template), work)
}

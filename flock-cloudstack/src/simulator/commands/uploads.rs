//! Templates that are uploaded: the announcement.

use serde::Serialize;
use uuid::Uuid;

use super::call::{Call, named};
use super::parameters::{Entity, MADE_FOR, id};
use super::register::{TEMPLATE, no_hypervisor, offers, record};
use super::{Command, Outcome};
use crate::simulator::clock::date;
use crate::simulator::upload::ticket;
use crate::simulator::world::template::{Stage, ZoneCopy};
use crate::simulator::world::{Event, Ticket};

pub(super) const COMMANDS: &[Command] = &[Command::sync(
    "getUploadParamsForTemplate",
    "upload an existing template into the CloudStack cloud. ",
    &[MADE_FOR, TEMPLATE, &[id("zoneid", Entity::Zone).required()]],
    announce,
)
.in_envelope("postuploadtemplateresponse")];

#[derive(Debug, Serialize)]
struct ParametersView {
    id: Uuid,
    #[serde(rename = "postURL")]
    post_url: String,
    metadata: String,
    expires: String,
    signature: String,
}

fn announce(call: &mut Call<'_>) -> Outcome {
    let zone = call.required_id("zoneid")?;
    let mut template = record(call)?;
    if !offers(call.world, zone, template.hypervisor) {
        return Err(no_hypervisor(zone, template.hypervisor));
    }
    template.zones.insert(zone, ZoneCopy::new(template.created, Stage::NotUploaded));
    let id = template.id;
    let number = Uuid::new_v4();
    let timeout = call.world.options.upload_timeout;
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    let ticket = Ticket {
        template: id,
        zone,
        metadata: ticket::metadata(id, &template.name),
        expires: call.world.clock.now().saturating_add(seconds),
        is_used: false,
    };
    let post_url = format!("{}/upload/{number}", call.world.upload_url);
    let expires = date(ticket.expires);
    let metadata = ticket.metadata.clone();
    let signature = ticket::sign(&call.world.upload_key, &metadata, &post_url, &expires);
    call.world.templates.insert(id, template);
    call.world.uploads.insert(number, ticket);
    call.world.schedule_in(timeout, Event::UploadAbandoned(number));
    named("getuploadparams", &ParametersView { id, post_url, metadata, expires, signature })
}

//! A template in replies: one for each zone that it is in.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::{DOMAIN, TagView, tags};
use crate::simulator::clock::date;
use crate::simulator::world::World;
use crate::simulator::world::template::{Stage, Template, ZoneCopy};

#[derive(Debug, Serialize)]
pub(crate) struct TemplateView<'a> {
    id: Uuid,
    name: &'a str,
    displaytext: &'a str,
    ispublic: bool,
    created: String,
    isready: bool,
    passwordenabled: bool,
    format: &'static str,
    isfeatured: bool,
    #[serde(rename = "crossZones")]
    cross_zones: bool,
    ostypeid: Uuid,
    ostypename: &'a str,
    account: &'a str,
    zoneid: Uuid,
    zonename: &'a str,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    physicalsize: Option<u64>,
    templatetype: &'static str,
    hypervisor: &'static str,
    domainid: Uuid,
    domain: &'static str,
    isextractable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    templatetag: Option<&'a str>,
    bits: i64,
    arch: &'a str,
    sshkeyenabled: bool,
    requireshvm: bool,
    isdynamicallyscalable: bool,
    directdownload: bool,
    deployasis: bool,
    details: &'a BTreeMap<String, String>,
    downloaddetails: [DownloadView; 1],
    tags: Vec<TagView<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DownloadView {
    datastore: &'static str,
    datastore_role: &'static str,
    download_percent: String,
    download_state: &'static str,
}

/// A template as it looks in replies, in one of its zones.
pub(crate) fn template<'a>(
    world: &'a World,
    template: &'a Template,
    zone: Uuid,
    copy: &'a ZoneCopy,
) -> TemplateView<'a> {
    let flags = template.flags;
    let is_known = copy.physical_size > 0;
    TemplateView {
        id: template.id,
        name: &template.name,
        displaytext: &template.text,
        ispublic: flags.public,
        created: date(copy.created),
        isready: copy.stage.is_ready(),
        passwordenabled: flags.password,
        format: template.format.as_str(),
        isfeatured: flags.featured,
        cross_zones: false,
        ostypeid: template.os_type,
        ostypename: world.os_types.get(template.os_type).map_or("", |one| one.description),
        account: template.owner.map_or("system", |owner| world.account_name(owner)),
        zoneid: zone,
        zonename: world.zones.get(zone).map_or("", |zone| &zone.name),
        status: copy.stage.status(),
        size: is_known.then_some(copy.size),
        physicalsize: is_known.then_some(copy.physical_size),
        templatetype: template.kind(),
        hypervisor: template.hypervisor.as_str(),
        domainid: world.domain(),
        domain: DOMAIN,
        isextractable: flags.extractable,
        checksum: template.checksum.as_deref(),
        url: template.url.as_deref(),
        templatetag: template.tag.as_deref(),
        bits: template.bits,
        arch: &template.arch,
        sshkeyenabled: flags.ssh_key,
        requireshvm: flags.hvm,
        isdynamicallyscalable: flags.scalable,
        directdownload: flags.direct_download,
        deployasis: false,
        details: &template.details,
        downloaddetails: [download(&copy.stage)],
        tags: tags(world, "Template", template.id, template.owner, &template.tags),
    }
}

fn download(stage: &Stage) -> DownloadView {
    DownloadView {
        datastore: "secondary-1",
        datastore_role: "Image",
        download_percent: stage.percent().to_string(),
        download_state: stage.download_state(),
    }
}

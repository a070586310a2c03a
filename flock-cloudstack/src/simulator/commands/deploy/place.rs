//! Where and with what a machine is deployed, from what the request asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::detail;
use crate::simulator::commands::{Call, key_pairs, volumes};
use crate::simulator::error::ApiError;
use crate::simulator::options::Hypervisor;
use crate::simulator::world::records::{ServiceOffering, Size, Zone};
use crate::simulator::world::template::Template;

/// Everything that a machine needs, found and checked.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) owner: Uuid,
    pub(super) zone: Uuid,
    pub(super) template: Uuid,
    pub(super) template_name: Arc<str>,
    pub(super) template_text: Arc<str>,
    pub(super) os_type: Uuid,
    pub(super) is_password_enabled: bool,
    pub(super) hypervisor: Hypervisor,
    pub(super) offering: Uuid,
    pub(super) size: Size,
    pub(super) details: BTreeMap<String, String>,
    pub(super) root: Disk,
    pub(super) data: Option<Disk>,
    pub(super) networks: Vec<Uuid>,
    pub(super) security_groups: Vec<Uuid>,
    pub(super) affinity_groups: Vec<Uuid>,
    pub(super) key_pairs: Vec<String>,
}

/// A disk to be made.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) offering: Option<Uuid>,
    /// Bytes.
    pub(super) size: u64,
}

impl Place {
    /// Finds what the request asks for.
    pub(super) fn find(call: &Call<'_>) -> Result<Self, ApiError> {
        let owner = call.owner()?;
        let gone = |name: &'static str| move || ApiError::missing("deployVirtualMachine", name);
        let (world, zone) = (&*call.world, call.required_id("zoneid")?);
        let zone = world.zones.get(zone).ok_or_else(gone("zoneid"))?;
        let template = world.templates.get(call.required_id("templateid")?);
        let template = template.ok_or_else(gone("templateid"))?;
        let offering = world.service_offerings.get(call.required_id("serviceofferingid")?);
        let offering = offering.ok_or_else(gone("serviceofferingid"))?;
        let template_size = check_template(call, template, zone)?;
        let details = call.request.fields("details");
        Ok(Self {
            owner,
            zone: zone.id,
            template: template.id,
            template_name: Arc::clone(&template.name),
            template_text: Arc::clone(&template.text),
            os_type: template.os_type,
            is_password_enabled: template.flags.password,
            hypervisor: template.hypervisor,
            offering: offering.id,
            size: size(offering, &details)?,
            details,
            root: root_disk(call, template.hypervisor, offering, template_size)?,
            data: data_disk(call)?,
            networks: networks(call, zone)?,
            security_groups: security_groups(call, zone, owner)?,
            affinity_groups: affinity_groups(call, owner)?,
            key_pairs: key_pairs(call, owner)?,
        })
    }
}

/// Whether the template can be deployed in the zone, and the size of its disk.
fn check_template(call: &Call<'_>, template: &Template, zone: &Zone) -> Result<u64, ApiError> {
    let (id, name) = (template.id, &zone.name);
    let Some(copy) = template.zones.get(&zone.id) else {
        let text = format!("Template {id} is not available in zone {name}");
        return Err(ApiError::parameter(text));
    };
    if !copy.stage.is_ready() {
        let text = format!("Template {id} is not ready for deployment in zone {name}");
        return Err(ApiError::parameter(text));
    }
    if let Some(text) = call.text("hypervisor")
        && Hypervisor::parse(text) != Some(template.hypervisor)
    {
        return Err(ApiError::parameter(format!(
            "Hypervisor passed to the deployVm call, is different from the hypervisor type of the \
             template: {text}, {}",
            template.hypervisor.as_str()
        )));
    }
    if !zone.hypervisors.contains(&template.hypervisor) {
        let hypervisor = template.hypervisor.as_str();
        let text = format!("The zone {name} has no hosts of the hypervisor {hypervisor}");
        return Err(ApiError::parameter(text));
    }
    Ok(copy.size)
}

fn size(offering: &ServiceOffering, details: &BTreeMap<String, String>) -> Result<Size, ApiError> {
    const NAMES: [&str; 3] = ["cpuNumber", "cpuSpeed", "memory"];
    if let Some(size) = offering.size {
        return match NAMES.iter().find(|name| detail(details, name).is_some()) {
            None => Ok(size),
            Some(name) => Err(ApiError::parameter(format!(
                "{name} cannot be given for the service offering {}, which is not custom",
                offering.name
            ))),
        };
    }
    let number = |name: &str, otherwise: Option<u32>| {
        let given = match detail(details, name) {
            None => otherwise,
            Some(text) => text.parse().ok().filter(|number| *number > 0),
        };
        given.ok_or_else(|| {
            ApiError::parameter(format!(
                "Invalid or missing {name} value, specify a number greater than 0 for the custom \
                 service offering {}",
                offering.name
            ))
        })
    };
    let [cpus, mhz, memory] = NAMES;
    Ok(Size {
        cpus: number(cpus, None)?,
        mhz: number(mhz, Some(1000))?,
        memory: number(memory, None)?,
    })
}

fn root_disk(
    call: &Call<'_>,
    hypervisor: Hypervisor,
    offering: &ServiceOffering,
    template_size: u64,
) -> Result<Disk, ApiError> {
    let fixed = offering.root_disk.and_then(|gib| i64::try_from(gib).ok());
    let Some(gib) = call.integer("rootdisksize").or(fixed) else {
        return Ok(Disk { offering: None, size: template_size });
    };
    if matches!(hypervisor, Hypervisor::Lxc | Hypervisor::Hyperv) {
        return Err(ApiError::parameter(format!(
            "Hypervisor {} does not support rootdisksize override",
            hypervisor.as_str()
        )));
    }
    let bytes = u64::try_from(gib).ok().filter(|gib| *gib > 0).and_then(|gib| gib.checked_mul(GIB));
    match bytes {
        None => Err(ApiError::parameter("Root disk size should be a positive number.")),
        Some(bytes) if bytes < template_size => Err(ApiError::parameter(format!(
            "rootdisksize override ({gib} GB) is smaller than template size ({} GB)",
            template_size.div_ceil(GIB)
        ))),
        Some(size) => Ok(Disk { offering: None, size }),
    }
}

const GIB: u64 = 1 << 30;

fn data_disk(call: &Call<'_>) -> Result<Option<Disk>, ApiError> {
    let Some(offering) = call.id("diskofferingid") else { return Ok(None) };
    let size = volumes::offered_size(call.world, offering, call.integer("size"))?;
    Ok(Some(Disk { offering: Some(offering), size }))
}

/// The networks that were asked for, or the zone's first.
fn networks(call: &Call<'_>, zone: &Zone) -> Result<Vec<Uuid>, ApiError> {
    let wanted = call.ids("networkids");
    let is_elsewhere =
        |id: &&Uuid| call.world.networks.get(**id).is_none_or(|network| network.zone != zone.id);
    if let Some(network) = wanted.iter().find(is_elsewhere) {
        let name = &zone.name;
        let text = format!("Network {network} does not belong to the zone {name}");
        return Err(ApiError::parameter(text));
    }
    if !wanted.is_empty() {
        return Ok(wanted);
    }
    let first = call.world.networks.iter().find(|network| network.zone == zone.id);
    match first {
        Some(network) => Ok(vec![network.id]),
        None => Err(ApiError::parameter(format!("No network is there in the zone {}", zone.name))),
    }
}

fn security_groups(call: &Call<'_>, zone: &Zone, owner: Uuid) -> Result<Vec<Uuid>, ApiError> {
    let (ids, names) = (call.ids("securitygroupids"), call.list("securitygroupnames"));
    if !ids.is_empty() && !names.is_empty() {
        let text = "securitygroupids parameter is mutually exclusive with securitygroupnames";
        return Err(ApiError::parameter(text));
    }
    if !zone.security_groups {
        return match ids.is_empty() && names.is_empty() {
            true => Ok(Vec::new()),
            false => Err(ApiError::parameter(format!(
                "Can't create vm with security groups; security group feature is not enabled in \
                 the zone {}",
                zone.name
            ))),
        };
    }
    let groups = &call.world.security_groups;
    let named = |name: &str| {
        let is_it = |group: &&crate::simulator::world::records::SecurityGroup| {
            group.owner == owner && group.name.eq_ignore_ascii_case(name)
        };
        let found = groups.iter().find(is_it).map(|group| group.id);
        found.ok_or_else(|| ApiError::parameter(format!("Unable to find group by name {name}")))
    };
    if !names.is_empty() {
        return names.into_iter().map(named).collect();
    }
    match ids.is_empty() {
        true => Ok(named("default").into_iter().collect()),
        false => Ok(ids),
    }
}

fn affinity_groups(call: &Call<'_>, owner: Uuid) -> Result<Vec<Uuid>, ApiError> {
    let (ids, names) = (call.ids("affinitygroupids"), call.list("affinitygroupnames"));
    if !ids.is_empty() && !names.is_empty() {
        let text = "affinitygroupids parameter is mutually exclusive with affinitygroupnames";
        return Err(ApiError::parameter(text));
    }
    let named = |name: &str| {
        let found = call.world.affinity_groups.iter();
        let mut found =
            found.filter(|one| one.owner == owner && one.name.eq_ignore_ascii_case(name));
        let text = || format!("Unable to find affinity group by name {name}");
        found.next().map(|group| group.id).ok_or_else(|| ApiError::parameter(text()))
    };
    match names.is_empty() {
        true => Ok(ids),
        false => names.into_iter().map(named).collect(),
    }
}

fn key_pairs(call: &Call<'_>, owner: Uuid) -> Result<Vec<String>, ApiError> {
    let names = call.text("keypair").into_iter().chain(call.list("keypairs"));
    let known = |name: &str| match key_pairs::find(call.world, owner, name) {
        Some(_) => Ok(name.to_owned()),
        None => Err(ApiError::parameter(format!("A key pair with name '{name}' was not found."))),
    };
    names.map(known).collect()
}

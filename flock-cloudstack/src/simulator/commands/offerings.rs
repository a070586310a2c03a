//! Zones, hypervisors, operating systems, and offerings.

use std::collections::BTreeSet;

use serde::Serialize;
use uuid::Uuid;

use super::call::Call;
use super::lists::{contains, same};
use super::parameters::{Entity, OWNED, PAGED, boolean, id, integer, string};
use super::{Command, Outcome};
use crate::simulator::world::records::{DiskOffering, OsType, ServiceOffering, Zone};

pub(super) const COMMANDS: &[Command] = &[
    Command::sync(
        "listZones",
        "Lists zones",
        &[
            PAGED,
            &[
                boolean("available"),
                id("id", Entity::Zone),
                string("name"),
                string("networktype"),
                boolean("showcapacities"),
            ],
        ],
        list_zones,
    ),
    Command::sync(
        "listHypervisors",
        "List hypervisors",
        &[&[id("zoneid", Entity::Zone)]],
        list_hypervisors,
    ),
    Command::sync(
        "listOsTypes",
        "Lists all supported OS types for this cloud.",
        &[
            PAGED,
            &[
                string("description"),
                id("id", Entity::OsType),
                id("oscategoryid", Entity::OsCategory),
            ],
        ],
        list_os_types,
    ),
    Command::sync(
        "listServiceOfferings",
        "Lists all available service offerings.",
        &[
            PAGED,
            OWNED,
            &[
                integer("cpunumber"),
                id("id", Entity::ServiceOffering),
                boolean("issystem"),
                integer("memory"),
                string("name"),
                id("virtualmachineid", Entity::Machine),
                id("zoneid", Entity::Zone),
            ],
        ],
        list_service_offerings,
    ),
    Command::sync(
        "listDiskOfferings",
        "Lists all available disk offerings.",
        &[
            PAGED,
            OWNED,
            &[id("id", Entity::DiskOffering), string("name"), id("zoneid", Entity::Zone)],
        ],
        list_disk_offerings,
    ),
];

#[derive(Debug, Serialize)]
struct ZoneView<'a> {
    id: Uuid,
    name: &'a str,
    networktype: &'static str,
    securitygroupsenabled: bool,
    allocationstate: &'static str,
    dhcpprovider: &'static str,
    localstorageenabled: bool,
    r#type: &'static str,
    tags: [(); 0],
}

impl<'a> ZoneView<'a> {
    fn new(zone: &'a Zone) -> Self {
        Self {
            id: zone.id,
            name: &zone.name,
            networktype: "Advanced",
            securitygroupsenabled: zone.security_groups,
            allocationstate: "Enabled",
            dhcpprovider: "VirtualRouter",
            localstorageenabled: true,
            r#type: "Core",
            tags: [],
        }
    }
}

fn list_zones(call: &mut Call<'_>) -> Outcome {
    let (id, name) = (call.id("id"), call.text("name"));
    let (keyword, kind) = (call.text("keyword"), call.text("networktype"));
    let wanted = call.world.zones.iter().filter(|zone| {
        id.is_none_or(|id| zone.id == id)
            && name.is_none_or(|name| same(&zone.name, name))
            && keyword.is_none_or(|keyword| contains(&zone.name, keyword))
            && kind.is_none_or(|kind| same("Advanced", kind))
    });
    call.page()?.list("zone", wanted, ZoneView::new)
}

#[derive(Debug, Serialize)]
struct HypervisorView {
    name: &'static str,
}

fn list_hypervisors(call: &mut Call<'_>) -> Outcome {
    let zone = call.id("zoneid");
    let zones = call.world.zones.iter().filter(|one| zone.is_none_or(|zone| one.id == zone));
    let names: BTreeSet<_> =
        zones.flat_map(|zone| &zone.hypervisors).map(|one| one.as_str()).collect();
    let page = super::lists::Page::new(None, None, names.len())?;
    page.list("hypervisor", names.into_iter(), |name| HypervisorView { name })
}

#[derive(Debug, Serialize)]
struct OsTypeView {
    id: Uuid,
    oscategoryid: Uuid,
    name: &'static str,
    description: &'static str,
    isuserdefined: bool,
}

impl From<&OsType> for OsTypeView {
    fn from(one: &OsType) -> Self {
        Self {
            id: one.id,
            oscategoryid: one.category,
            name: one.description,
            description: one.description,
            isuserdefined: false,
        }
    }
}

fn list_os_types(call: &mut Call<'_>) -> Outcome {
    let (id, category) = (call.id("id"), call.id("oscategoryid"));
    let (text, keyword) = (call.text("description"), call.text("keyword"));
    let wanted = call.world.os_types.iter().filter(|one| {
        id.is_none_or(|id| one.id == id)
            && category.is_none_or(|category| one.category == category)
            && text.is_none_or(|text| is_like(one.description, text))
            && keyword.is_none_or(|keyword| contains(one.description, keyword))
    });
    call.page()?.list("ostype", wanted, OsTypeView::from)
}

/// SQL's `LIKE '%pattern%'`: `%` stands for any text, `_` for one character.
fn is_like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let pattern: Vec<char> = format!("%{}%", pattern.to_lowercase()).chars().collect();
    let mut ends = BTreeSet::from([0]);
    for wanted in pattern {
        ends = match wanted {
            '%' => ends.first().map(|first| (*first..=text.len()).collect()).unwrap_or_default(),
            _ => {
                let fits =
                    |at: &usize| text.get(*at).is_some_and(|one| wanted == '_' || *one == wanted);
                ends.into_iter().filter(fits).map(|at| at + 1).collect()
            }
        };
    }
    ends.contains(&text.len())
}

#[derive(Debug, Serialize)]
struct ServiceOfferingView {
    id: Uuid,
    name: &'static str,
    displaytext: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpunumber: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpuspeed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rootdisksize: Option<u64>,
    storagetype: &'static str,
    provisioningtype: &'static str,
    offerha: bool,
    limitcpuuse: bool,
    isvolatile: bool,
    issystem: bool,
    defaultuse: bool,
    iscustomized: bool,
    dynamicscalingenabled: bool,
    state: &'static str,
}

impl From<&ServiceOffering> for ServiceOfferingView {
    fn from(one: &ServiceOffering) -> Self {
        Self {
            id: one.id,
            name: one.name,
            displaytext: one.text,
            cpunumber: one.size.map(|size| size.cpus),
            cpuspeed: one.size.map(|size| size.mhz),
            memory: one.size.map(|size| size.memory),
            rootdisksize: one.root_disk,
            storagetype: "shared",
            provisioningtype: "thin",
            offerha: false,
            limitcpuuse: false,
            isvolatile: false,
            issystem: false,
            defaultuse: false,
            iscustomized: one.size.is_none(),
            dynamicscalingenabled: true,
            state: "Active",
        }
    }
}

fn list_service_offerings(call: &mut Call<'_>) -> Outcome {
    let (id, name, keyword) = (call.id("id"), call.text("name"), call.text("keyword"));
    let (cpus, memory) = (call.integer("cpunumber"), call.integer("memory"));
    let is_system = call.boolean("issystem") == Some(true);
    let wanted = call.world.service_offerings.iter().filter(|one| {
        !is_system
            && id.is_none_or(|id| one.id == id)
            && name.is_none_or(|name| same(one.name, name))
            && keyword.is_none_or(|keyword| contains(one.name, keyword))
            && cpus.is_none_or(|cpus| one.size.is_some_and(|size| i64::from(size.cpus) == cpus))
            && memory.is_none_or(|mib| one.size.is_some_and(|size| i64::from(size.memory) == mib))
    });
    call.page()?.list("serviceoffering", wanted, ServiceOfferingView::from)
}

#[derive(Debug, Serialize)]
struct DiskOfferingView {
    id: Uuid,
    name: &'static str,
    displaytext: &'static str,
    disksize: u64,
    iscustomized: bool,
    storagetype: &'static str,
    provisioningtype: &'static str,
    displayoffering: bool,
    disksizestrictness: bool,
    state: &'static str,
}

impl From<&DiskOffering> for DiskOfferingView {
    fn from(one: &DiskOffering) -> Self {
        Self {
            id: one.id,
            name: one.name,
            displaytext: one.text,
            disksize: one.gib.unwrap_or(0),
            iscustomized: one.gib.is_none(),
            storagetype: "shared",
            provisioningtype: "thin",
            displayoffering: true,
            disksizestrictness: false,
            state: "Active",
        }
    }
}

fn list_disk_offerings(call: &mut Call<'_>) -> Outcome {
    let (id, name, keyword) = (call.id("id"), call.text("name"), call.text("keyword"));
    let wanted = call.world.disk_offerings.iter().filter(|one| {
        id.is_none_or(|id| one.id == id)
            && name.is_none_or(|name| same(one.name, name))
            && keyword.is_none_or(|keyword| contains(one.name, keyword))
    });
    call.page()?.list("diskoffering", wanted, DiskOfferingView::from)
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn descriptions_match_as_in_sql() {
        for (pattern, expected) in [
            ("debian", true),
            ("12", true),
            ("GNU%64", true),
            ("1_ (64", true),
            ("1_(", false),
            ("", true),
            ("Ubuntu", false),
        ] {
            assert_eq!(is_like("Debian GNU/Linux 12 (64-bit)", pattern), expected, "{pattern}");
        }
    }
}

//! What a fresh cloud offers: operating systems, offerings, networks and
//! templates. Their ids follow from their names, so that they are the same
//! after a restart.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::records::{DiskOffering, Network, OsType, ServiceOffering, Size, Zone};
use super::table::Table;
use super::template::{Flags, Stage, Template, ZoneCopy};
use crate::simulator::format::Format;
use crate::simulator::options::{Hypervisor, ZoneOptions};

/// Operating systems by category, in CloudStack's words.
const OS_TYPES: &[(&str, &[&str])] = &[
    ("CentOS", &["CentOS 6.5 (64-bit)", "CentOS 7", "CentOS 7.9", "CentOS 8", "CentOS Stream 9"]),
    (
        "Debian",
        &[
            "Debian GNU/Linux 7(64-bit)",
            "Debian GNU/Linux 10 (64-bit)",
            "Debian GNU/Linux 11 (64-bit)",
            "Debian GNU/Linux 12 (64-bit)",
        ],
    ),
    ("Oracle", &["Oracle Linux 7", "Oracle Linux 8", "Oracle Linux 9"]),
    ("RedHat", &["Red Hat Enterprise Linux 7", "Red Hat Enterprise Linux 8.0", "Rocky Linux 9"]),
    ("SUSE", &["SUSE Linux Enterprise Server 12 (64-bit)", "openSUSE 15"]),
    (
        "Ubuntu",
        &[
            "Ubuntu 14.04 (64-bit)",
            "Ubuntu 16.04 (64-bit)",
            "Ubuntu 18.04 LTS",
            "Ubuntu 20.04 LTS",
            "Ubuntu 22.04 LTS",
            "Ubuntu 24.04 LTS",
        ],
    ),
    ("Unix", &["FreeBSD 12 (64-bit)", "FreeBSD 13 (64-bit)"]),
    ("Windows", &["Windows Server 2019 (64-bit)", "Windows Server 2022 (64-bit)"]),
    (
        "Other",
        &[
            "Other (32-bit)",
            "Other (64-bit)",
            "Other Linux (32-bit)",
            "Other Linux (64-bit)",
            "Other PV (64-bit)",
        ],
    ),
];

/// An id that follows from a name.
pub(crate) fn stable_id(kind: &str, name: &str) -> Uuid {
    let digest = Sha256::new().chain_update(kind).chain_update(":").chain_update(name).finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, from)| *byte = from);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

pub(crate) fn os_types() -> Table<OsType> {
    let all = OS_TYPES.iter().flat_map(|(category, names)| {
        names.iter().map(|description| OsType {
            id: stable_id("ostype", description),
            category: stable_id("oscategory", category),
            description,
        })
    });
    all.map(|one| (one.id, one)).collect()
}

pub(crate) fn service_offerings() -> Table<ServiceOffering> {
    let size = |cpus, mhz, memory| Some(Size { cpus, mhz, memory });
    let all = [
        ("Small Instance", "1 CPU at 500 MHz, 512 MiB", size(1, 500, 512), None),
        ("Medium Instance", "1 CPU at 1 GHz, 1 GiB", size(1, 1000, 1024), None),
        ("Large Instance", "2 CPUs at 2 GHz, 4 GiB", size(2, 2000, 4096), None),
        ("Custom Instance", "as many CPUs and as much memory as you choose", None, None),
        ("Small Instance with 20 GB root disk", "as Small", size(1, 500, 512), Some(20)),
    ];
    let all = all.map(|(name, text, size, root_disk)| {
        let id = stable_id("serviceoffering", name);
        (id, ServiceOffering { id, name, text, size, root_disk })
    });
    all.into_iter().collect()
}

pub(crate) fn disk_offerings() -> Table<DiskOffering> {
    let all = [
        ("Small", "Small Disk, 5 GB", Some(5)),
        ("Medium", "Medium Disk, 20 GB", Some(20)),
        ("Large", "Large Disk, 100 GB", Some(100)),
        ("Custom", "Custom Disk", None),
    ];
    let all = all.map(|(name, text, gib)| {
        let id = stable_id("diskoffering", name);
        (id, DiskOffering { id, name, text, gib })
    });
    all.into_iter().collect()
}

pub(crate) fn zones(options: &[ZoneOptions]) -> Table<Zone> {
    let all = options.iter().map(|zone| {
        let id = stable_id("zone", &zone.name);
        let zone = Zone {
            id,
            name: zone.name.as_str().into(),
            hypervisors: zone.hypervisors.clone(),
            security_groups: zone.security_groups,
            capacity: zone.capacity,
        };
        (id, zone)
    });
    all.collect()
}

/// The networks of all zones: 10.1.0.0/16, 10.2.0.0/16 and so on.
pub(crate) fn networks(options: &[ZoneOptions]) -> Table<Network> {
    let named = options.iter().flat_map(|zone| zone.networks.iter().map(move |name| (zone, name)));
    let all = named.zip((1..=u8::MAX).cycle()).map(|((zone, name), number)| {
        let id = stable_id("network", &format!("{}/{name}", zone.name));
        let network = Network {
            id,
            zone: stable_id("zone", &zone.name),
            name: name.as_str().into(),
            base: Ipv4Addr::new(10, number, 0, 0),
            used: HashSet::new(),
            cursor: 1,
            names: HashSet::new(),
            tags: Vec::new(),
        };
        (id, network)
    });
    all.collect()
}

/// One ready template for each hypervisor that is in a zone.
pub(crate) fn templates(zones: &Table<Zone>, now: i64) -> Table<Template> {
    let all = Hypervisor::ALL.into_iter().filter_map(|hypervisor| {
        let has = |zone: &&Zone| zone.hypervisors.contains(&hypervisor);
        let copies: BTreeMap<_, _> =
            zones.iter().filter(has).map(|zone| (zone.id, ready(now))).collect();
        let template = brought(hypervisor, copies, now);
        (!template.zones.is_empty()).then_some((template.id, template))
    });
    all.collect()
}

fn ready(now: i64) -> ZoneCopy {
    let size = 2 << 30;
    ZoneCopy { physical_size: size, size, ..ZoneCopy::new(now, Stage::Ready) }
}

fn brought(hypervisor: Hypervisor, zones: BTreeMap<Uuid, ZoneCopy>, now: i64) -> Template {
    let name = format!("Debian 12 ({})", hypervisor.as_str());
    Template {
        id: stable_id("template", &name),
        owner: None,
        text: Arc::from(name.as_str()),
        name: Arc::from(name.as_str()),
        format: usual_format(hypervisor),
        hypervisor,
        os_type: stable_id("ostype", "Debian GNU/Linux 12 (64-bit)"),
        flags: Flags { public: true, featured: true, hvm: true, ..Flags::default() },
        bits: 64,
        arch: "x86_64".to_owned(),
        tag: None,
        checksum: None,
        url: None,
        details: BTreeMap::new(),
        shared_with: std::collections::BTreeSet::new(),
        created: now,
        zones,
        tags: Vec::new(),
    }
}

fn usual_format(hypervisor: Hypervisor) -> Format {
    match hypervisor {
        Hypervisor::Lxc => Format::Tar,
        Hypervisor::Kvm => Format::Qcow2,
        Hypervisor::Vmware => Format::Ova,
        Hypervisor::XenServer | Hypervisor::Hyperv | Hypervisor::Simulator => Format::Vhd,
    }
}

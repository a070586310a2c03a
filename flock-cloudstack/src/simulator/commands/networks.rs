//! Networks.

use std::net::Ipv4Addr;

use serde::Serialize;
use uuid::Uuid;

use super::call::Call;
use super::lists::{contains, has_any, same};
use super::parameters::{Entity, OWNED, PAGED, boolean, id, map, string};
use super::{Command, Outcome};
use crate::simulator::views::{DOMAIN, TagView, tags};
use crate::simulator::world::World;
use crate::simulator::world::records::Network;

pub(super) const COMMANDS: &[Command] = &[
    Command::sync(
        "listNetworks",
        "Lists all available networks.",
        &[
            PAGED,
            OWNED,
            &[
                boolean("canusefordeploy"),
                id("id", Entity::Network),
                string("name"),
                map("tags"),
                string("type"),
                id("zoneid", Entity::Zone),
            ],
        ],
        list_networks,
    ),
    Command::sync(
        "listPublicIpAddresses",
        "Lists all public ip addresses",
        &[PAGED, OWNED, &[id("id", Entity::Absent), id("zoneid", Entity::Zone)]],
        list_public_addresses,
    ),
];

/// The type of all networks that there are.
const SHARED: &str = "Shared";

#[derive(Debug, Serialize)]
struct NetworkView<'a> {
    id: Uuid,
    name: &'a str,
    displaytext: &'a str,
    broadcastdomaintype: &'static str,
    traffictype: &'static str,
    gateway: Ipv4Addr,
    netmask: &'static str,
    cidr: String,
    zoneid: Uuid,
    zonename: &'a str,
    state: &'static str,
    r#type: &'static str,
    acltype: &'static str,
    domainid: Uuid,
    domain: &'static str,
    subdomainaccess: bool,
    canusefordeploy: bool,
    issystem: bool,
    isdefault: bool,
    ispersistent: bool,
    restartrequired: bool,
    specifyipranges: bool,
    networkdomain: &'static str,
    service: [ServiceView; 2],
    tags: Vec<TagView<'a>>,
}

#[derive(Debug, Serialize)]
struct ServiceView {
    name: &'static str,
}

impl<'a> NetworkView<'a> {
    fn new(world: &'a World, network: &'a Network) -> Self {
        Self {
            id: network.id,
            name: &network.name,
            displaytext: &network.name,
            broadcastdomaintype: "Vlan",
            traffictype: "Guest",
            gateway: network.gateway(),
            netmask: "255.255.0.0",
            cidr: format!("{}/16", network.base),
            zoneid: network.zone,
            zonename: world.zones.get(network.zone).map_or("", |zone| &zone.name),
            state: "Setup",
            r#type: SHARED,
            acltype: "Domain",
            domainid: world.domain(),
            domain: DOMAIN,
            subdomainaccess: true,
            canusefordeploy: true,
            issystem: false,
            isdefault: false,
            ispersistent: false,
            restartrequired: false,
            specifyipranges: true,
            networkdomain: "cs.internal",
            service: [ServiceView { name: "Dhcp" }, ServiceView { name: "UserData" }],
            tags: tags(world, "Network", network.id, None, &network.tags),
        }
    }
}

fn list_networks(call: &mut Call<'_>) -> Outcome {
    let (id, zone, name) = (call.id("id"), call.id("zoneid"), call.text("name"));
    let (kind, keyword) = (call.text("type"), call.text("keyword"));
    let is_deployable = call.boolean("canusefordeploy") != Some(false);
    let tags = call.request.pairs("tags");
    let wanted = call.world.networks.iter().filter(|one| {
        is_deployable
            && id.is_none_or(|id| one.id == id)
            && zone.is_none_or(|zone| one.zone == zone)
            && name.is_none_or(|name| same(&one.name, name))
            && kind.is_none_or(|kind| same(SHARED, kind))
            && keyword.is_none_or(|keyword| contains(&one.name, keyword))
            && has_any(&one.tags, &tags)
    });
    call.page()?.list("network", wanted, |one| NetworkView::new(call.world, one))
}

/// There are none: machines have addresses of shared networks.
fn list_public_addresses(call: &mut Call<'_>) -> Outcome {
    call.page()?.list("publicipaddress", std::iter::empty::<()>(), |()| ())
}

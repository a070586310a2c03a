//! Security groups and their rules.

use serde::Serialize;
use uuid::Uuid;

use super::call::{Call, named, success, to_json};
use super::lists::{contains, has_any, same};
use super::parameters::{
    Entity, MADE_FOR, OWNED, PAGED, Parameter, id, integer, list, map, string,
};
use super::{Command, Outcome};
use crate::simulator::error::ApiError;
use crate::simulator::views::{DOMAIN, TagView, tags};
use crate::simulator::world::World;
use crate::simulator::world::jobs::{Success, Work};
use crate::simulator::world::records::{Rule, SecurityGroup};

pub(super) const COMMANDS: &[Command] = &[
    Command::sync(
        "listSecurityGroups",
        "Lists security groups",
        &[
            PAGED,
            OWNED,
            &[
                id("id", Entity::SecurityGroup),
                string("securitygroupname"),
                map("tags"),
                id("virtualmachineid", Entity::Machine),
            ],
        ],
        list_groups,
    ),
    Command::sync(
        "createSecurityGroup",
        "Creates a security group",
        &[MADE_FOR, &[string("description"), string("name").required()]],
        create_group,
    ),
    Command::sync(
        "deleteSecurityGroup",
        "Deletes security group",
        &[MADE_FOR, &[id("id", Entity::SecurityGroup), string("name")]],
        delete_group,
    ),
    Command::job(
        "authorizeSecurityGroupIngress",
        "Authorizes a particular ingress rule for this security group",
        &[MADE_FOR, RULE],
        authorize_ingress,
    ),
    Command::job(
        "authorizeSecurityGroupEgress",
        "Authorizes a particular egress rule for this security group",
        &[MADE_FOR, RULE],
        authorize_egress,
    ),
    Command::job(
        "revokeSecurityGroupIngress",
        "Deletes a particular ingress rule from this security group",
        &[&[id("id", Entity::SecurityRule).required()]],
        revoke,
    ),
    Command::job(
        "revokeSecurityGroupEgress",
        "Deletes a particular egress rule from this security group",
        &[&[id("id", Entity::SecurityRule).required()]],
        revoke,
    ),
];

const RULE: &[Parameter] = &[
    list("cidrlist"),
    integer("endport"),
    integer("icmpcode"),
    integer("icmptype"),
    string("protocol"),
    id("securitygroupid", Entity::SecurityGroup),
    string("securitygroupname"),
    integer("startport"),
    map("usersecuritygrouplist"),
];

#[derive(Debug, Serialize)]
struct GroupView<'a> {
    id: Uuid,
    name: &'a str,
    description: &'a str,
    account: &'a str,
    domainid: Uuid,
    domain: &'static str,
    ingressrule: &'a [Rule],
    egressrule: &'a [Rule],
    tags: Vec<TagView<'a>>,
    virtualmachinecount: usize,
    virtualmachineids: Vec<Uuid>,
}

impl<'a> GroupView<'a> {
    fn new(world: &'a World, group: &'a SecurityGroup) -> Self {
        let machines = users(world, group.id);
        Self {
            id: group.id,
            name: &group.name,
            description: &group.description,
            account: world.account_name(group.owner),
            domainid: world.domain(),
            domain: DOMAIN,
            ingressrule: &group.ingress,
            egressrule: &group.egress,
            tags: tags(world, "SecurityGroup", group.id, Some(group.owner), &group.tags),
            virtualmachinecount: machines.len(),
            virtualmachineids: machines,
        }
    }
}

/// The machines in a group.
fn users(world: &World, group: Uuid) -> Vec<Uuid> {
    let users = world.machines.iter().filter(|one| one.security_groups.contains(&group));
    users.map(|machine| machine.id).collect()
}

fn list_groups(call: &mut Call<'_>) -> Outcome {
    let (id, name) = (call.id("id"), call.text("securitygroupname"));
    let (keyword, tags) = (call.text("keyword"), call.request.pairs("tags"));
    let owner = if id.is_some() { None } else { call.listed_owner()? };
    let machine = call.id("virtualmachineid");
    let of_machine = machine.map(|id| {
        call.world.machines.get(id).map(|one| one.security_groups.clone()).unwrap_or_default()
    });
    let wanted = call.world.security_groups.iter().filter(|one| {
        id.is_none_or(|id| one.id == id)
            && owner.is_none_or(|owner| one.owner == owner)
            && name.is_none_or(|name| same(&one.name, name))
            && keyword.is_none_or(|keyword| contains(&one.name, keyword))
            && of_machine.as_ref().is_none_or(|groups| groups.contains(&one.id))
            && has_any(&one.tags, &tags)
    });
    call.page()?.list("securitygroup", wanted, |one| GroupView::new(call.world, one))
}

fn create_group(call: &mut Call<'_>) -> Outcome {
    let (owner, name) = (call.owner()?, call.required("name")?);
    if find(call.world, owner, name).is_some() {
        return Err(ApiError::parameter(format!(
            "Unable to create security group, a group with name {name} already exists."
        )));
    }
    let text = call.text("description").unwrap_or_default();
    let id = call.world.add_security_group(owner, name, text);
    let group = call.world.security_groups.get(id).ok_or_else(|| missing(name))?;
    named("securitygroup", &GroupView::new(call.world, group))
}

fn delete_group(call: &mut Call<'_>) -> Outcome {
    let group = match (call.id("id"), call.text("name")) {
        (Some(id), None) => id,
        (None, Some(name)) => find(call.world, call.owner()?, name).ok_or_else(|| missing(name))?,
        _ => return Err(ApiError::parameter("Either id or name of the group is required")),
    };
    let record = call.world.security_groups.get(group);
    if record.is_some_and(|group| same(&group.name, "default")) {
        return Err(ApiError::parameter("The network group default is reserved"));
    }
    let machines = users(call.world, group).len();
    if machines > 0 {
        return Err(ApiError::in_use(format!(
            "Cannot delete group when it's in use by virtual machines: {machines} of them"
        )));
    }
    call.world.security_groups.remove(group);
    success()
}

fn find(world: &World, owner: Uuid, name: &str) -> Option<Uuid> {
    let is_it = |group: &&SecurityGroup| group.owner == owner && same(&group.name, name);
    world.security_groups.iter().find(is_it).map(|group| group.id)
}

fn missing(name: &str) -> ApiError {
    ApiError::parameter(format!("Unable to find security group by name {name}"))
}

/// Adds rules to a group.
#[derive(Debug)]
struct Authorize {
    group: Uuid,
    rules: Vec<Rule>,
    is_egress: bool,
}

impl Authorize {
    fn rules<'w>(&self, world: &'w mut World) -> Result<&'w mut Vec<Rule>, ApiError> {
        let gone = || ApiError::internal("Unable to find the security group");
        let group = world.security_groups.get_mut(self.group).ok_or_else(gone)?;
        Ok(if self.is_egress { &mut group.egress } else { &mut group.ingress })
    }
}

impl Work for Authorize {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        let new = &self.rules;
        let is_there = |rule: &Rule| new.iter().any(|new| is_same(new, rule));
        match self.rules(world)?.iter().any(is_there) {
            true => Err(ApiError::internal("A rule like this exists already in the group")),
            false => Ok(()),
        }
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        let new = self.rules.clone();
        self.rules(world)?.extend(new);
        let gone = || ApiError::internal("Unable to find the security group");
        let group = world.security_groups.get(self.group).ok_or_else(gone)?;
        named("securitygroup", &GroupView::new(world, group))
    }

    fn abandon(&mut self, _: &mut World) {}
}

/// Whether two rules let the same through.
fn is_same(one: &Rule, other: &Rule) -> bool {
    Rule { id: other.id, ..one.clone() } == *other
}

fn authorize_ingress(call: &mut Call<'_>) -> Outcome {
    authorize(call, false)
}

fn authorize_egress(call: &mut Call<'_>) -> Outcome {
    authorize(call, true)
}

fn authorize(call: &mut Call<'_>, is_egress: bool) -> Outcome {
    let group = match (call.id("securitygroupid"), call.text("securitygroupname")) {
        (Some(id), None) => id,
        (None, Some(name)) => find(call.world, call.owner()?, name).ok_or_else(|| missing(name))?,
        _ => {
            let text = "Either securityGroupId or securityGroupName is required by the command";
            return Err(ApiError::parameter(text));
        }
    };
    let rules = rules(call)?;
    call.start_quick(Authorize { group, rules, is_egress })
}

/// The rules that a request asks for: one for each network or group.
fn rules(call: &Call<'_>) -> Result<Vec<Rule>, ApiError> {
    let model = model(call)?;
    let cidrs = call.list("cidrlist");
    let mut rules = Vec::new();
    for cidr in &cidrs {
        check_cidr(cidr)?;
        rules.push(Rule { id: Uuid::new_v4(), cidr: Some((*cidr).to_owned()), ..model.clone() });
    }
    for entry in call.request.map("usersecuritygrouplist") {
        rules.push(Rule {
            id: Uuid::new_v4(),
            group: entry.get("group").cloned(),
            account: entry.get("account").cloned(),
            ..model.clone()
        });
    }
    if rules.is_empty() {
        rules.push(Rule { cidr: Some("0.0.0.0/0".to_owned()), ..model });
    }
    Ok(rules)
}

/// A rule with the protocol and ports of the request.
fn model(call: &Call<'_>) -> Result<Rule, ApiError> {
    let protocol = call.text("protocol").unwrap_or("all").to_ascii_lowercase();
    let rule = Rule {
        id: Uuid::new_v4(),
        start_port: call.integer("startport"),
        end_port: call.integer("endport").or(call.integer("startport")),
        icmp_type: call.integer("icmptype"),
        icmp_code: call.integer("icmpcode"),
        cidr: None,
        group: None,
        account: None,
        tags: [],
        protocol,
    };
    let is_port = |port: &i64| (0..=65_535).contains(port);
    match rule.protocol.as_str() {
        "tcp" | "udp" => match (rule.start_port.filter(is_port), rule.end_port.filter(is_port)) {
            (Some(start), Some(end)) if start <= end => Ok(rule),
            _ => Err(ApiError::parameter(
                "Invalid port numbers: start and end port are needed, \
                                          from 0 to 65535, in this order",
            )),
        },
        "icmp" => match (rule.icmp_type, rule.icmp_code) {
            (Some(-1..=255), Some(-1..=255)) => Ok(rule),
            _ => Err(ApiError::parameter("Invalid icmp type and code specified")),
        },
        "all" if rule.start_port.is_none() => Ok(rule),
        "all" => Err(ApiError::parameter("No ports go with the protocol all")),
        number if number.parse::<u8>().is_ok() => Ok(rule),
        other => Err(ApiError::parameter(format!("Invalid protocol {other}"))),
    }
}

fn check_cidr(cidr: &str) -> Result<(), ApiError> {
    let is_cidr = cidr.split_once('/').is_some_and(|(address, bits)| {
        match (address.parse(), bits.parse::<u8>()) {
            (Ok(std::net::IpAddr::V4(_)), Ok(bits)) => bits <= 32,
            (Ok(std::net::IpAddr::V6(_)), Ok(bits)) => bits <= 128,
            _ => false,
        }
    });
    match is_cidr {
        true => Ok(()),
        false => Err(ApiError::parameter(format!("Invalid cidr {cidr}"))),
    }
}

/// Takes a rule away.
#[derive(Debug)]
struct Revoke(Uuid);

impl Work for Revoke {
    fn begin(&mut self, _: &mut World) -> Result<(), ApiError> {
        Ok(())
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        for group in world.security_groups.iter_mut() {
            group.ingress.retain(|rule| rule.id != self.0);
            group.egress.retain(|rule| rule.id != self.0);
        }
        to_json(&Success { success: true })
    }

    fn abandon(&mut self, _: &mut World) {}
}

fn revoke(call: &mut Call<'_>) -> Outcome {
    let rule = call.required_id("id")?;
    call.start_quick(Revoke(rule))
}

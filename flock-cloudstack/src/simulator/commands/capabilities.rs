//! What the server can do.

use std::collections::BTreeSet;

use serde::Serialize;
use uuid::Uuid;

use super::call::{Call, named};
use super::lists::{Page, same};
use super::parameters::string;
use super::{Command, Outcome, all};
use crate::simulator::error::ApiError;

pub(super) const COMMANDS: &[Command] = &[
    Command::sync("listCapabilities", "Lists capabilities", &[], list_capabilities),
    Command::sync(
        "listApis",
        "lists all available apis on the server, provided by the Api Discovery plugin",
        &[&[string("name")]],
        list_apis,
    ),
    Command::sync("getApiLimit", "Get API limit count for the caller", &[], get_limit),
];

#[derive(Debug, Serialize)]
struct Capabilities<'a> {
    securitygroupsenabled: bool,
    dynamicrolesenabled: bool,
    cloudstackversion: &'a str,
    userpublictemplateenabled: bool,
    #[serde(rename = "supportELB")]
    load_balancing: &'static str,
    projectinviterequired: bool,
    allowusercreateprojects: bool,
    customdiskofferingminsize: u64,
    customdiskofferingmaxsize: u64,
    regionsecondaryenabled: bool,
    kvmsnapshotenabled: bool,
    allowuserviewdestroyedvm: bool,
    allowuserexpungerecovervm: bool,
    allowuserexpungerecovervolume: bool,
    defaultuipagesize: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    apilimitmax: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apilimitinterval: Option<u64>,
}

fn list_capabilities(call: &mut Call<'_>) -> Outcome {
    let options = &call.world.options;
    let rate_limit = options.rate_limit;
    named(
        "capability",
        &Capabilities {
            securitygroupsenabled: call.world.zones.iter().any(|zone| zone.security_groups),
            dynamicrolesenabled: true,
            cloudstackversion: &options.version,
            userpublictemplateenabled: true,
            load_balancing: "false",
            projectinviterequired: false,
            allowusercreateprojects: false,
            customdiskofferingminsize: super::volumes::MIN_GIB,
            customdiskofferingmaxsize: super::volumes::MAX_GIB,
            regionsecondaryenabled: false,
            kvmsnapshotenabled: true,
            allowuserviewdestroyedvm: false,
            allowuserexpungerecovervm: options.user_expunge,
            allowuserexpungerecovervolume: false,
            defaultuipagesize: 20,
            apilimitmax: rate_limit.map(|(calls, _)| calls),
            apilimitinterval: rate_limit.map(|(_, interval)| interval.as_secs()),
        },
    )
}

#[derive(Debug, Serialize)]
struct ApiView {
    name: &'static str,
    description: &'static str,
    isasync: bool,
    params: Vec<ParameterView>,
}

#[derive(Debug, Serialize)]
struct ParameterView {
    name: &'static str,
    r#type: &'static str,
    length: usize,
    required: bool,
}

fn list_apis(call: &mut Call<'_>) -> Outcome {
    let name = call.text("name");
    let denied = call.caller()?.denied.clone();
    let is_wanted = |command: &&Command| is_allowed(command, &denied);
    let apis: Vec<_> = all()
        .into_iter()
        .filter(|command| is_wanted(command))
        .filter(|command| name.is_none_or(|name| same(command.name, name)))
        .collect();
    if apis.is_empty() {
        let name = name.unwrap_or_default();
        return Err(ApiError::internal(format!(
            "No API of the name {name} is there for the caller"
        )));
    }
    // This list has no pages.
    let page = Page::new(None, None, apis.len())?;
    page.list("api", apis.into_iter(), |command| ApiView {
        name: command.name,
        description: command.what,
        isasync: command.is_async,
        params: command
            .parameters()
            .map(|parameter| ParameterView {
                name: parameter.name,
                r#type: parameter.kind.as_str(),
                length: parameter.length,
                required: parameter.required,
            })
            .collect(),
    })
}

fn is_allowed(command: &Command, denied: &BTreeSet<String>) -> bool {
    !denied.contains(&command.name.to_ascii_lowercase())
}

#[derive(Debug, Serialize)]
struct LimitView<'a> {
    account: &'a str,
    accountid: Uuid,
    #[serde(rename = "apiIssued")]
    issued: u32,
    #[serde(rename = "apiAllowed")]
    allowed: i64,
    #[serde(rename = "expireAfter")]
    expire_after: u128,
}

fn get_limit(call: &mut Call<'_>) -> Outcome {
    let caller = call.caller()?;
    let (issued, left) = call.world.throttle.used(caller.id);
    let allowed = call.world.options.rate_limit.map(|(calls, _)| i64::from(calls));
    named(
        "apilimit",
        &LimitView {
            account: &caller.name,
            accountid: caller.id,
            issued,
            allowed: allowed.map_or(-1, |allowed| (allowed - i64::from(issued)).max(0)),
            expire_after: left.as_millis(),
        },
    )
}

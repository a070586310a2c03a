//! Accounts, their users and limits; the one domain, and no projects.

use serde::Serialize;
use uuid::Uuid;

use super::call::{Call, named};
use super::lists::same;
use super::parameters::{Entity, OWNED, PAGED, boolean, id, integer, long, string};
use super::{Command, Outcome};
use crate::simulator::clock::date;
use crate::simulator::error::ApiError;
use crate::simulator::options::{Resource, Role};
use crate::simulator::views::DOMAIN;
use crate::simulator::world::World;
use crate::simulator::world::records::Account;

pub(super) const COMMANDS: &[Command] = &[
    Command::sync(
        "listAccounts",
        "Lists accounts and provides detailed account information for listed accounts",
        &[
            PAGED,
            &[
                id("domainid", Entity::Domain),
                id("id", Entity::Account),
                boolean("isrecursive"),
                boolean("listall"),
                string("name"),
            ],
        ],
        list_accounts,
    ),
    Command::sync(
        "listUsers",
        "Lists user accounts",
        &[PAGED, &[string("account"), id("domainid", Entity::Domain), string("username")]],
        list_users,
    ),
    Command::sync(
        "getUser",
        "Find user account by API key",
        &[&[string("userapikey").required()]],
        get_user,
    ),
    Command::sync(
        "listResourceLimits",
        "Lists resource limits.",
        &[PAGED, OWNED, &[long("id"), integer("resourcetype"), string("resourcetypename")]],
        list_limits,
    ),
    Command::sync(
        "listDomains",
        "Lists domains and provides detailed information for listed domains",
        &[PAGED, &[id("id", Entity::Domain), boolean("listall"), string("name")]],
        list_domains,
    ),
    Command::sync(
        "listProjects",
        "Lists projects and provides detailed information for listed projects",
        &[PAGED, OWNED, &[id("id", Entity::Absent), string("name")]],
        list_projects,
    ),
];

#[derive(Debug, Serialize)]
struct AccountView<'a> {
    id: Uuid,
    name: &'a str,
    accounttype: u8,
    rolename: &'static str,
    domainid: Uuid,
    domain: &'static str,
    state: &'static str,
    created: String,
    user: [UserView<'a>; 1],
}

#[derive(Debug, Serialize)]
struct UserView<'a> {
    id: Uuid,
    username: &'a str,
    account: &'a str,
    accountid: Uuid,
    accounttype: u8,
    rolename: &'static str,
    domainid: Uuid,
    domain: &'static str,
    state: &'static str,
    created: String,
    apikey: &'a str,
}

impl<'a> UserView<'a> {
    fn new(world: &World, account: &'a Account) -> Self {
        let (accounttype, rolename) = role(account);
        Self {
            id: account.user,
            username: &account.name,
            account: &account.name,
            accountid: account.id,
            accounttype,
            rolename,
            domainid: world.domain(),
            domain: DOMAIN,
            state: state(account),
            created: date(account.created),
            apikey: &account.api_key,
        }
    }
}

impl<'a> AccountView<'a> {
    fn new(world: &World, account: &'a Account) -> Self {
        let (accounttype, rolename) = role(account);
        Self {
            id: account.id,
            name: &account.name,
            accounttype,
            rolename,
            domainid: world.domain(),
            domain: DOMAIN,
            state: state(account),
            created: date(account.created),
            user: [UserView::new(world, account)],
        }
    }
}

fn role(account: &Account) -> (u8, &'static str) {
    match account.role {
        Role::Admin => (1, "Root Admin"),
        Role::User => (0, "User"),
    }
}

fn state(account: &Account) -> &'static str {
    if account.is_enabled { "enabled" } else { "disabled" }
}

/// The accounts that the caller sees: all if `everybody`, or the own one.
fn visible<'w>(
    call: &'w Call<'_>,
    everybody: bool,
    name: Option<&'w str>,
) -> impl Iterator<Item = &'w Account> {
    let everybody = everybody && call.is_admin;
    let own = call.account;
    call.world
        .accounts
        .iter()
        .filter(move |account| everybody || account.id == own)
        .filter(move |account| name.is_none_or(|name| same(&account.name, name)))
}

fn list_accounts(call: &mut Call<'_>) -> Outcome {
    let id = call.id("id");
    let everybody = id.is_some() || call.boolean("listall") == Some(true);
    let accounts = visible(call, everybody, call.text("name"));
    let wanted = accounts.filter(|account| id.is_none_or(|id| account.id == id));
    call.page()?.list("account", wanted, |account| AccountView::new(call.world, account))
}

fn list_users(call: &mut Call<'_>) -> Outcome {
    let (account, user) = (call.text("account"), call.text("username"));
    let wanted =
        visible(call, true, account).filter(|one| user.is_none_or(|user| same(&one.name, user)));
    call.page()?.list("user", wanted, |account| UserView::new(call.world, account))
}

fn get_user(call: &mut Call<'_>) -> Outcome {
    let key = call.required("userapikey")?;
    let found = call.world.keys.get(key).and_then(|id| call.world.accounts.get(*id));
    match found.filter(|account| call.is_admin || account.id == call.account) {
        Some(account) => named("user", &UserView::new(call.world, account)),
        None => Err(ApiError::parameter("Unable to find a user with the given API key")),
    }
}

#[derive(Debug, Serialize)]
struct LimitView<'a> {
    account: &'a str,
    domainid: Uuid,
    domain: &'static str,
    resourcetype: String,
    resourcetypename: &'static str,
    max: i64,
}

fn list_limits(call: &mut Call<'_>) -> Outcome {
    let (number, name) = (call.integer("resourcetype"), call.text("resourcetypename"));
    let owner = call.owner()?;
    let account = call.world.accounts.get(owner).ok_or_else(ApiError::unverified)?;
    let wanted = Resource::ALL
        .into_iter()
        .filter(|one| number.is_none_or(|number| number == i64::from(one.number())))
        .filter(|one| name.is_none_or(|name| same(one.as_str(), name)));
    call.page()?.list("resourcelimit", wanted, |resource| LimitView {
        account: &account.name,
        domainid: call.world.domain(),
        domain: DOMAIN,
        resourcetype: resource.number().to_string(),
        resourcetypename: resource.as_str(),
        max: account.limits.get(&resource).map_or(-1, |most| i64::try_from(*most).unwrap_or(-1)),
    })
}

#[derive(Debug, Serialize)]
struct DomainView {
    id: Uuid,
    name: &'static str,
    level: u8,
    haschild: bool,
    path: &'static str,
}

fn list_domains(call: &mut Call<'_>) -> Outcome {
    let name = call.text("name");
    let wanted = name.is_none_or(|name| same(DOMAIN, name)).then(|| call.world.domain());
    call.page()?.list("domain", wanted.into_iter(), |id| DomainView {
        id,
        name: DOMAIN,
        level: 0,
        haschild: false,
        path: DOMAIN,
    })
}

fn list_projects(call: &mut Call<'_>) -> Outcome {
    call.page()?.list("project", std::iter::empty::<()>(), |()| ())
}

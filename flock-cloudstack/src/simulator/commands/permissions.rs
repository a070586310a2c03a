//! Who may use a template.

use std::collections::BTreeSet;

use serde::Serialize;
use uuid::Uuid;

use super::call::{Call, named, success};
use super::parameters::{Entity, boolean, id, list, string};
use super::templates::own;
use super::{Command, Outcome};
use crate::simulator::error::ApiError;

pub(super) const COMMANDS: &[Command] = &[
    Command::sync(
        "listTemplatePermissions",
        "List template visibility and all accounts that have permissions to view this template.",
        &[&[id("id", Entity::Template).required()]],
        list_permissions,
    ),
    Command::sync(
        "updateTemplatePermissions",
        "Updates a template visibility permissions. A public template is visible to all accounts \
         within the same domain. A private template is visible only to the owner of the template.",
        &[&[
            list("accounts"),
            id("id", Entity::Template).required(),
            boolean("isextractable"),
            boolean("isfeatured"),
            boolean("ispublic"),
            string("op"),
        ]],
        update_permissions,
    ),
];

#[derive(Debug, Serialize)]
struct PermissionsView<'a> {
    id: Uuid,
    ispublic: bool,
    domainid: Uuid,
    account: &'a BTreeSet<String>,
}

fn list_permissions(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("id")?;
    let domainid = call.world.domain();
    let template = own(call, id)?;
    let view = PermissionsView {
        id,
        ispublic: template.flags.public,
        domainid,
        account: &template.shared_with,
    };
    named("templatepermission", &view)
}

fn update_permissions(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("id")?;
    let accounts = accounts(call)?;
    let (op, is_admin) = (call.text("op"), call.is_admin);
    let [public, featured, extractable] =
        ["ispublic", "isfeatured", "isextractable"].map(|name| call.boolean(name));
    let template = own(call, id)?;
    match op.map(str::to_ascii_lowercase).as_deref() {
        None if accounts.is_empty() => {}
        Some("add") => template.shared_with.extend(accounts),
        Some("remove") => template.shared_with.retain(|name| !accounts.contains(name)),
        Some("reset") => template.shared_with.clear(),
        _ => {
            return Err(ApiError::parameter(
                "Invalid operation on accounts, the operation must be either \"add\", \"remove\" \
                 or \"reset\"",
            ));
        }
    }
    let old = template.flags;
    template.flags.public = public.unwrap_or(old.public);
    template.flags.featured = featured.filter(|_| is_admin).unwrap_or(old.featured);
    template.flags.extractable = extractable.unwrap_or(old.extractable);
    success()
}

/// The accounts that the request names, as they are written.
fn accounts(call: &Call<'_>) -> Result<Vec<String>, ApiError> {
    let known = |name: &str| match call.world.account_named(name) {
        Some(account) => Ok(account.name.to_string()),
        None => Err(ApiError::parameter(format!("Unable to find account by name {name}"))),
    };
    call.list("accounts").into_iter().map(known).collect()
}

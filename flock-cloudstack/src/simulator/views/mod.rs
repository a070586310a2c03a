//! How machines, templates and volumes look in replies.

mod machine;
mod template;
mod volume;

pub(crate) use self::machine::{Told, machine};
pub(crate) use self::template::template;
pub(crate) use self::volume::volume;

use serde::Serialize;
use uuid::Uuid;

use super::world::World;
use super::world::records::Tags;

/// A tag of something.
#[derive(Debug, Serialize)]
pub(crate) struct TagView<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
    pub(crate) resourcetype: &'static str,
    pub(crate) resourceid: Uuid,
    pub(crate) account: &'a str,
    pub(crate) domainid: Uuid,
    pub(crate) domain: &'static str,
}

/// The tags of one thing.
pub(crate) fn tags<'a>(
    world: &'a World,
    kind: &'static str,
    id: Uuid,
    owner: Option<Uuid>,
    tags: &'a Tags,
) -> Vec<TagView<'a>> {
    let account = owner.map_or("system", |owner| world.account_name(owner));
    let view = |(key, value): &'a (String, String)| TagView {
        key,
        value,
        resourcetype: kind,
        resourceid: id,
        account,
        domainid: world.domain(),
        domain: DOMAIN,
    };
    tags.iter().map(view).collect()
}

/// The name of the only domain.
pub(crate) const DOMAIN: &str = "ROOT";
/// `jobstatus` of what a job works on.
const PENDING: u8 = 0;

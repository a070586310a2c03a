//! SSH key pairs.

use serde::Serialize;
use uuid::Uuid;

use super::call::{Call, Prepared, named, success};
use super::lists::{contains, same};
use super::parameters::{Entity, MADE_FOR, OWNED, PAGED, id, string};
use super::{Command, Outcome, Prepare};
use crate::simulator::error::ApiError;
use crate::simulator::key_pair::public_fingerprint;
use crate::simulator::views::DOMAIN;
use crate::simulator::world::World;
use crate::simulator::world::records::KeyPair;

pub(super) const COMMANDS: &[Command] = &[
    Command::sync(
        "listSSHKeyPairs",
        "List registered keypairs",
        &[PAGED, OWNED, &[string("fingerprint"), id("id", Entity::KeyPair), string("name")]],
        list_pairs,
    ),
    Command::sync(
        "registerSSHKeyPair",
        "Register a public key in a keypair under a certain name",
        &[MADE_FOR, &[string("name").required(), string("publickey").required().up_to(5120)]],
        register_pair,
    ),
    Command::sync(
        "createSSHKeyPair",
        "Create a new keypair and returns the private key",
        &[MADE_FOR, &[string("name").required()]],
        create_pair,
    )
    .preparing(Prepare::KeyPair),
    Command::sync(
        "deleteSSHKeyPair",
        "Deletes a keypair by name",
        &[MADE_FOR, &[string("name").required()]],
        delete_pair,
    ),
];

#[derive(Debug, Serialize)]
struct PairView<'a> {
    id: Uuid,
    name: &'a str,
    account: &'a str,
    domainid: Uuid,
    domain: &'static str,
    fingerprint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    privatekey: Option<&'a str>,
}

impl<'a> PairView<'a> {
    fn new(world: &'a World, pair: &'a KeyPair) -> Self {
        Self {
            id: pair.id,
            name: &pair.name,
            account: world.account_name(pair.owner),
            domainid: world.domain(),
            domain: DOMAIN,
            fingerprint: &pair.fingerprint,
            privatekey: None,
        }
    }
}

fn list_pairs(call: &mut Call<'_>) -> Outcome {
    let (id, name) = (call.id("id"), call.text("name"));
    let (fingerprint, keyword) = (call.text("fingerprint"), call.text("keyword"));
    let owner = call.listed_owner()?;
    let wanted = call.world.key_pairs.iter().filter(|one| {
        id.is_none_or(|id| one.id == id)
            && owner.is_none_or(|owner| one.owner == owner)
            && name.is_none_or(|name| same(&one.name, name))
            && fingerprint.is_none_or(|fingerprint| one.fingerprint == fingerprint)
            && keyword.is_none_or(|keyword| contains(&one.name, keyword))
    });
    call.page()?.list("sshkeypair", wanted, |one| PairView::new(call.world, one))
}

fn register_pair(call: &mut Call<'_>) -> Outcome {
    let owner = call.owner()?;
    let invalid = || ApiError::parameter("Public key is invalid");
    let fingerprint = public_fingerprint(call.required("publickey")?).ok_or_else(invalid)?;
    let is_known = |pair: &KeyPair| pair.owner == owner && pair.fingerprint == fingerprint;
    check_name(call, owner)?;
    if call.world.key_pairs.iter().any(is_known) {
        return Err(ApiError::parameter(format!(
            "A key pair with key '{fingerprint}' already exists for this account."
        )));
    }
    add(call, owner, fingerprint, None)
}

fn create_pair(call: &mut Call<'_>) -> Outcome {
    let owner = call.owner()?;
    check_name(call, owner)?;
    match std::mem::take(&mut call.prepared) {
        Prepared::KeyPair(made) => {
            add(call, owner, made.fingerprint, Some(made.private_key.expose()))
        }
        Prepared::Nothing => Err(ApiError::internal("The key pair could not be made")),
    }
}

fn check_name(call: &Call<'_>, owner: Uuid) -> Result<(), ApiError> {
    let name = call.required("name")?;
    match find(call.world, owner, name) {
        None => Ok(()),
        Some(_) => Err(ApiError::parameter(format!(
            "A key pair with name '{name}' already exists for this account."
        ))),
    }
}

fn add(
    call: &mut Call<'_>,
    owner: Uuid,
    fingerprint: String,
    private_key: Option<&str>,
) -> Outcome {
    let name = call.required("name")?.to_owned();
    let id = Uuid::new_v4();
    call.world.key_pairs.insert(id, KeyPair { id, owner, name, fingerprint });
    let gone = || ApiError::internal("The key pair is gone");
    let pair = call.world.key_pairs.get(id).ok_or_else(gone)?;
    named("keypair", &PairView { privatekey: private_key, ..PairView::new(call.world, pair) })
}

fn delete_pair(call: &mut Call<'_>) -> Outcome {
    let (owner, name) = (call.owner()?, call.required("name")?);
    let found = find(call.world, owner, name).ok_or_else(|| {
        ApiError::parameter(format!(
            "A key pair with name '{name}' does not exist for account {} in specified domain id",
            call.world.account_name(owner)
        ))
    })?;
    call.world.key_pairs.remove(found);
    success()
}

/// The key pair of this name.
pub(super) fn find(world: &World, owner: Uuid, name: &str) -> Option<Uuid> {
    let is_it = |pair: &&KeyPair| pair.owner == owner && same(&pair.name, name);
    world.key_pairs.iter().find(is_it).map(|pair| pair.id)
}

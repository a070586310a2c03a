//! Who sent a request: keys, signature, and until when it is valid.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::clock;
use super::error::ApiError;
use super::options::SimulatorOptions;
use super::request::Request;
use super::signature;
use super::world::World;

/// How far ahead `expires` may be where that is enforced: 15 minutes.
const MAX_EXPIRES: i64 = 15 * 60;

/// Who sent a request.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) account: Uuid,
    pub(crate) user: Uuid,
    pub(crate) is_admin: bool,
    pub(crate) denied: BTreeSet<String>,
}

/// Finds out who sent a request. Whatever is wrong, the answer is the same.
pub(crate) fn verify(
    world: &World,
    request: &Request,
    options: &SimulatorOptions,
) -> Result<Caller, ApiError> {
    let account = request
        .text("apikey")
        .and_then(|key| world.keys.get(key))
        .and_then(|id| world.accounts.get(*id))
        .filter(|account| account.is_enabled)
        .filter(|_| !request.is_ambiguous() && is_current(world, request, options))
        .filter(|account| signature::is_valid(request, account.secret_key.expose()))
        .ok_or_else(ApiError::unverified)?;
    Ok(Caller {
        account: account.id,
        user: account.user,
        is_admin: account.is_admin(),
        denied: account.denied.clone(),
    })
}

/// Whether the request is still valid by the server's clock.
fn is_current(world: &World, request: &Request, options: &SimulatorOptions) -> bool {
    let has_expiry = request.text("signatureversion") == Some("3");
    if !has_expiry {
        return !options.post_only;
    }
    let Some(expires) = request.text("expires").and_then(clock::parse) else { return false };
    let now = world.clock.now();
    expires >= now && !(options.post_only && expires > now + MAX_EXPIRES)
}

//! Whether CloudStack can be used, for the `check` of every trait.

use flock_core::backend::{Endpoint, Health};
use flock_core::{Context, Result};
use serde_json::Value;

use crate::client::reply::single;
use crate::client::{Client, Parameters};
use crate::error::BACKEND;

/// Asks CloudStack who it is: reachable, the key accepted, the version.
///
/// # Errors
/// Those of [`Client::call`].
pub(crate) async fn check(client: &Client, ctx: &Context) -> Result<Health> {
    let body = client.call(ctx, "listCapabilities", &Parameters::new()).await?;
    let told = single(body);
    let version = told.get("cloudstackversion").and_then(Value::as_str).map(str::to_owned);
    let mut address = client.config().url.clone();
    // A user name in it has no effect, but need not be seen.
    let _cannot_be_one = address.set_username("");
    Ok(Health::new(BACKEND, vec![Endpoint::healthy(address, version)]))
}

//! The backends that commands work with, as the profile describes them.

use std::time::Duration;

use flock_cloudstack::{Client, CloudStackConfig};
use flock_core::profile::{self, FILE_NAME, Profiles};
use flock_core::{Context, Error, ErrorKind, Result};

use crate::commands::Session;

/// A client of the CloudStack that the profile in use describes.
///
/// # Errors
/// Those of [`config`] and of [`Client::new`].
pub(crate) fn client(session: &Session, ctx: &Context) -> Result<Client> {
    Client::new(config(session, ctx)?)
}

/// The same, which waits for each job for that long at most.
///
/// # Errors
/// Those of [`client`].
pub(crate) fn client_within(
    session: &Session,
    ctx: &Context,
    timeout: Option<Duration>,
) -> Result<Client> {
    let config = config(session, ctx)?;
    let timeout = timeout.unwrap_or(config.job_timeout);
    Client::new(config.with_job_timeout(timeout))
}

/// How to reach the CloudStack that the profile in use describes. Warns of a
/// file with a secret that others may read. Blocks where the secret key has to
/// be fetched.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if there is no profile, or it lacks something;
/// [`ErrorKind::NotFound`] for a profile that is not there; those of
/// [`CloudStackConfig::from_profile`].
pub(crate) fn config(session: &Session, ctx: &Context) -> Result<CloudStackConfig> {
    let settings = &session.settings;
    let (path, profiles): (_, Profiles) =
        settings.profiles(&session.places)?.ok_or_else(no_profiles)?;
    if let Some(warning) = profile::exposure(&path.value, &profiles)? {
        session.printer.warning(&warning);
    }
    let profile = profiles.select(settings.profile.value.as_deref())?;
    let incomplete = |error: Error| match error.context_value("key") {
        Some(_) => error.hint(format!("fill it in in {}", path.value.display())),
        None => error,
    };
    let mut config = CloudStackConfig::from_profile(ctx, profile).map_err(incomplete)?;
    if config.ca_file.is_none() {
        config.ca_file.clone_from(&settings.ca_file.value);
    }
    Ok(config)
}

fn no_profiles() -> Error {
    let message = format!("there is no {FILE_NAME} that says how to reach CloudStack");
    Error::new(ErrorKind::InvalidConfig, message)
        .hint(format!(
            "write one with url, apikey and secretkey as ./{FILE_NAME} or \
             ~/.config/flock/{FILE_NAME}, or name it with --config"
        ))
        .hint("`flock config show` tells which file is read")
}

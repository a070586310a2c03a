//! Deleting templates.

use std::time::{Duration, Instant};

use flock_core::image_builder::ImageStatus;
use flock_core::progress::Level;
use flock_core::{Context, Error, ErrorKind, ImageId, Result};

use super::group::{Group, zone_name};
use super::{CloudStackImageBuilder, is_missing};
use crate::api::Machine;
use crate::client::Parameters;
use crate::error::{BACKEND, is_outcome_unknown};

/// The waits between two tries.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often a try may fail for a passing reason.
const MAX_FAILURES: u32 = 5;
/// How many of the machines that need a template are named.
const MOST_NAMES: usize = 3;

/// How a template is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// The zone to delete it from, by name or id. Default: all that it is in.
    pub zone: Option<String>,
    /// Whether to delete it even if virtual machines were made from it. They
    /// go on, but cannot be reinstalled. Default: false.
    pub force: bool,
}

impl DeleteOptions {
    /// From all zones, unless virtual machines were made from it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`zone`](Self::zone).
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Sets [`force`](Self::force).
    #[must_use]
    pub fn with_force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }
}

impl CloudStackImageBuilder {
    /// Deletes a template of ours. One that CloudStack is still fetching it
    /// does not let go of: this waits until it does. Safe to cancel: made
    /// again, it goes on, or says that it is gone.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], also for a zone that it is not in;
    /// [`ErrorKind::Conflict`] while virtual machines need it, destroyed ones
    /// too until they are expunged; those of
    /// [`Client::run`](crate::Client::run).
    pub async fn delete_with(
        &self,
        ctx: &Context,
        image: &ImageId,
        options: &DeleteOptions,
    ) -> Result<()> {
        ctx.check()?;
        let group = self.require(ctx, image).await?;
        let zone = match &options.zone {
            Some(zone) => Some(zone_id(&group, zone)?),
            None => None,
        };
        self.remove(ctx, &group, zone.as_deref(), options.force).await
    }

    /// Deletes a template. As deleting twice does no harm, it is tried again
    /// after a lost answer.
    pub(super) async fn remove(
        &self,
        ctx: &Context,
        group: &Group,
        zone: Option<&str>,
        force: bool,
    ) -> Result<()> {
        let limited = &ctx.clone().with_timeout(self.client.config().job_timeout);
        let (mut failures, mut wait, mut told) = (0, FIRST_WAIT, false);
        let begun = Instant::now();
        loop {
            let error = match self.client.delete_template(limited, &group.id, zone, force).await {
                Ok(()) => return Ok(()),
                Err(error) if is_missing(&error) => return Ok(()),
                Err(error) => error.with("image", &group.id),
            };
            if !is_in_use(&error) && self.is_busy(limited, group, &error).await? {
                if !std::mem::replace(&mut told, true) {
                    let text = format!("{} is deleted when CloudStack lets go of it", group.name);
                    ctx.message(Level::Info, text);
                }
            } else if failures < MAX_FAILURES && may_pass(&error) {
                failures += 1;
            } else {
                return Err(self.refusal(limited, group, zone, error).await);
            }
            tracing::debug!(template = group.id, %error, elapsed = ?begun.elapsed(), "deleting again");
            limited.sleep(wait).await.map_err(|end| busy(group, &end, error))?;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// The error, with who needs the template if that is why.
    async fn refusal(
        &self,
        ctx: &Context,
        group: &Group,
        zone: Option<&str>,
        error: Error,
    ) -> Error {
        let says_so = is_in_use(&error);
        if !says_so && error.kind() != ErrorKind::Unexpected {
            return error;
        }
        match self.needed_by(ctx, group, zone).await {
            needed_by if says_so || !needed_by.is_empty() => in_use(group, &needed_by, error),
            _ => error,
        }
    }

    /// The names of the virtual machines that were made from the template, as
    /// far as the account sees them: none where it may not list them.
    async fn needed_by(&self, ctx: &Context, group: &Group, zone: Option<&str>) -> Vec<String> {
        let asked = Parameters::new().with("templateid", &group.id).with_some("zoneid", zone);
        let machines = match self.client.machines(ctx, &asked).await {
            Ok(machines) => machines,
            Err(error) => {
                tracing::debug!(template = group.id, %error, "cannot tell what needs a template");
                return Vec::new();
            }
        };
        // Versions that do not know the parameter list all of them.
        let needs = |machine: &Machine| machine.template_id.as_deref() == Some(&group.id);
        machines.into_iter().filter(needs).map(|machine| machine.name).collect()
    }

    /// Whether CloudStack refuses because it works on the template. It says so
    /// to administrators only.
    async fn is_busy(&self, ctx: &Context, group: &Group, error: &Error) -> Result<bool> {
        if error.kind() != ErrorKind::Unexpected {
            return Ok(false);
        }
        let now = self.group(ctx, &group.id).await?;
        let image = now.as_ref().and_then(Group::image);
        Ok(image.is_some_and(|image| image.status == ImageStatus::Building))
    }
}

/// The id of a zone that the template is in.
pub(super) fn zone_id(group: &Group, zone: &str) -> Result<String> {
    let is_it = |name: &str, id: &str| name == zone || id == zone;
    let mut ids = group
        .zones
        .iter()
        .filter_map(|item| item.zone_id.clone().filter(|id| is_it(zone_name(item), id)));
    ids.next().ok_or_else(|| {
        let names: Vec<_> = group.zones.iter().map(zone_name).collect();
        let message = format!("template {} is not in a zone '{zone}'", group.name);
        Error::new(ErrorKind::NotFound, message)
            .in_backend(BACKEND)
            .with("image", &group.id)
            .with("zone", zone)
            .hint(format!("it is in {}", names.join(", ")))
    })
}

/// `TemplateManagerImpl.deleteTemplate`: "… because there are [2] VM instances
/// using it", in older versions "… because VM instances: [a] are using it".
/// Who is no administrator is told of an internal error only.
fn is_in_use(error: &Error) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    text.contains("using it") || text.contains("used by")
}

fn in_use(group: &Group, needed_by: &[String], error: Error) -> Error {
    let mut by = needed_by.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
    match needed_by.len() {
        0 => by.push_str("virtual machines"),
        all if all > MOST_NAMES => by.push_str(&format!(" and {} more", all - MOST_NAMES)),
        _ => {}
    }
    let message = format!("template {} is needed by {by}", group.name);
    Error::new(ErrorKind::Conflict, message)
        .in_backend(BACKEND)
        .with("image", &group.id)
        .hint("destroy them first; destroyed ones count until they are expunged")
        .hint("or force it: they go on, but cannot be reinstalled")
        .caused_by(error)
}

fn busy(group: &Group, end: &Error, error: Error) -> Error {
    Error::new(end.kind(), format!("CloudStack has not let go of template {}", group.name))
        .in_backend(BACKEND)
        .with("image", &group.id)
        .hint("delete it again later")
        .caused_by(error)
}

/// Whether another try may do better.
fn may_pass(error: &Error) -> bool {
    is_outcome_unknown(error) || error.is_retryable()
}

//! What can be done with a template that is there.

use flock_core::image_builder::{Image, ImageStatus};
use flock_core::{Context, Error, ErrorKind, ImageId, Result};

use super::group::Group;
use super::remove::zone_id;
use super::wait::Waited;
use super::{CloudStackImageBuilder, missing};
use crate::error::BACKEND;
use crate::naming;

impl CloudStackImageBuilder {
    /// Waits until a template of ours is ready in all its zones. Reports how
    /// far it is. Safe to cancel.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::InvalidData`],
    /// [`ErrorKind::QuotaExceeded`], [`ErrorKind::Unavailable`] or
    /// [`ErrorKind::Unexpected`] if it failed, with CloudStack's words;
    /// [`ErrorKind::Timeout`] after the client's `job_timeout`; those of
    /// [`Client::call`](crate::Client::call).
    pub async fn wait(&self, ctx: &Context, image: &ImageId) -> Result<Image> {
        self.require(ctx, image).await?;
        match self.wait_for(ctx, image.as_str(), None).await? {
            Waited::Ready(group) => group.image().ok_or_else(|| missing(image.as_str())),
            Waited::Failed(error) => Err(error.with("image", image.as_str())),
        }
    }

    /// Copies a template of ours to further zones, by name or id, and waits
    /// until it is ready there. Zones that have it are passed over, so it can
    /// be repeated.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for the template or a zone;
    /// [`ErrorKind::Conflict`] if it is ready in no zone yet; those of
    /// [`wait`](Self::wait) and of [`Client::run`](crate::Client::run).
    pub async fn copy(&self, ctx: &Context, image: &ImageId, zones: &[String]) -> Result<Image> {
        let group = self.require(ctx, image).await?;
        let there = self.client.zones(ctx).await?;
        let ids: Vec<_> = zones
            .iter()
            .map(|zone| naming::find(there.clone(), zone).map(|zone| zone.id))
            .collect::<Result<_>>()?;
        let named = |error: Error| error.with("image", image.as_str());
        self.spread(ctx, &group, &ids).await.map_err(named)?;
        match self.wait_for(ctx, image.as_str(), Some(&ids)).await? {
            Waited::Ready(group) => group.image().ok_or_else(|| missing(image.as_str())),
            Waited::Failed(error) => Err(named(error)),
        }
    }

    /// The address from which a template of ours can be downloaded. It wants
    /// no login, and holds for some hours: whoever knows it has the template.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] if it is not ready, or
    /// may not be downloaded; those of [`Client::run`](crate::Client::run).
    pub async fn extract(
        &self,
        ctx: &Context,
        image: &ImageId,
        zone: Option<&str>,
    ) -> Result<url::Url> {
        let group = self.require(ctx, image).await?;
        let conflict = |why: &str| {
            let message = format!("template {} {why}", group.name);
            Error::new(ErrorKind::Conflict, message).in_backend(BACKEND).with("image", &group.id)
        };
        let ready = group.zones.iter().filter(|item| item.is_ready);
        let zone = match zone {
            Some(zone) => Some(zone_id(&group, zone)?),
            None => ready.filter_map(|item| item.zone_id.clone()).next(),
        };
        if zone.is_none() {
            return Err(conflict("is not ready"));
        }
        if !group.zones.iter().any(|item| item.is_extractable) {
            return Err(conflict("may not be downloaded").hint("register it as extractable"));
        }
        let url = self.client.extract_template(ctx, &group.id, zone.as_deref()).await?;
        url.parse().map_err(|source| {
            let message = "CloudStack gives something else than an address for a download";
            Error::new(ErrorKind::InvalidData, message).in_backend(BACKEND).caused_by(source)
        })
    }

    /// Copies a template to those of the zones that lack it, from one where it
    /// is ready.
    pub(super) async fn spread(
        &self,
        ctx: &Context,
        group: &Group,
        zones: &[String],
    ) -> Result<()> {
        let lacking = group.missing(zones);
        if lacking.is_empty() {
            return Ok(());
        }
        let mut ready = group.zones.iter().filter(|item| item.is_ready);
        let Some(source) = ready.next() else {
            let status = group.image().map_or(ImageStatus::Building, |image| image.status);
            let message = format!("template {} is {status:?} and in no zone ready", group.name);
            return Err(Error::new(ErrorKind::Conflict, message).in_backend(BACKEND));
        };
        self.client.copy_template(ctx, &group.id, source.zone_id.as_deref(), &lacking).await
    }
}

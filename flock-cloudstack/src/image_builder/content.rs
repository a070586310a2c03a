//! Building under the request that follows from the content.

use flock_core::image_builder::{Image, ImageSource, ImageSpec};
use flock_core::rootfs::checksum::Checksum;
use flock_core::{Context, Error, ErrorKind, Operation, Owner, RequestId, Result};

use super::build::Build;
use super::options::ChecksumChoice;
use super::plan::Plan;
use super::{CloudStackImageBuilder, Upload, UrlUpload};
use crate::error::BACKEND;
use crate::upload;

impl CloudStackImageBuilder {
    /// Builds `app:version` as [`build`] does, under the [request] that
    /// follows from the content, which is told by its SHA-256 or, where the
    /// appliance is somewhere already, by its address. Called again with the
    /// same content it finishes what an earlier call has begun, and otherwise
    /// gives what is there. Safe to cancel.
    ///
    /// An appliance for a web server is read once, while it is sent, unless a
    /// template of that name is there: then it has to be known first whether
    /// it is the same.
    ///
    /// # Errors
    /// Those of [`build`].
    ///
    /// [`build`]: flock_core::image_builder::ImageBuilder::build
    /// [request]: Self::request
    pub async fn build_content(
        &self,
        ctx: &Context,
        app: &str,
        version: &str,
        source: &ImageSource,
    ) -> Result<Image> {
        let built = self.build_under_content(ctx, app, version, source).await;
        built.map_err(|error| error.in_backend(BACKEND).during(Operation::ImageBuild.as_str()))
    }

    async fn build_under_content(
        &self,
        ctx: &Context,
        app: &str,
        version: &str,
        source: &ImageSource,
    ) -> Result<Image> {
        // Until the content is known, another request stands for it.
        let owner = Owner::new(self.namespace(), app, RequestId::random());
        let spec = ImageSpec::new(owner, app, version, source.clone());
        let mut plan = self.plan(ctx, &spec).await?;
        let _turn = self.names.turn(ctx, &plan.name).await?;
        let content = self.content(ctx, &mut plan).await?;
        plan.set_request(self.request(app, version, &content))?;
        Build { builder: self, ctx, plan: &plan }.run().await
    }

    /// What tells the content from others. What was sent to find that out need
    /// not be sent again, and what was summed up not be summed up.
    async fn content(&self, ctx: &Context, plan: &mut Plan) -> Result<String> {
        if let Upload::Url(given) = &plan.upload {
            return Ok(given.url.to_string());
        }
        let sum = match self.sent(ctx, plan).await? {
            Some(sum) => sum,
            None => self.summed_up(ctx, plan).await?,
        };
        if plan.checksum == ChecksumChoice::Compute {
            plan.checksum = ChecksumChoice::Known(sum);
        }
        Ok(sum.to_string())
    }

    /// Sends the appliance to a web server, if it goes to one, and will
    /// whatever its checksum.
    async fn sent(&self, ctx: &Context, plan: &mut Plan) -> Result<Option<Checksum>> {
        let (Upload::Put(put), Some(appliance)) = (&plan.upload, &plan.appliance) else {
            return Ok(None);
        };
        let build = Build { builder: self, ctx, plan };
        if !build.there().await?.is_empty() && !plan.force {
            return Ok(None);
        }
        let (url, sum) = build.send(put, appliance, true).await?;
        plan.upload = Upload::Url(UrlUpload::new(url));
        Ok(sum)
    }

    async fn summed_up(&self, ctx: &Context, plan: &Plan) -> Result<Checksum> {
        match (plan.checksum, &plan.appliance) {
            (ChecksumChoice::Known(sum), _) => Ok(sum),
            (_, Some(appliance)) => upload::sha256(ctx, appliance).await,
            (_, None) => Err(Error::new(ErrorKind::Unexpected, "there is no appliance")),
        }
    }
}

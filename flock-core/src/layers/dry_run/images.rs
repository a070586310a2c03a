//! A dry run of an image builder.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{DryRun, conflict, missing, taken};
use crate::image_builder::{
    Image, ImageBuilder, ImageCapabilities, ImageSource, ImageSpec, ImageStatus,
};
use crate::{Context, Error, ErrorKind, Health, ImageId, ListFilter, Operation, Result};

#[async_trait]
impl<T: ImageBuilder> ImageBuilder for DryRun<T> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> ImageCapabilities {
        self.inner.capabilities()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        self.inner.check(ctx).await
    }

    async fn build(&self, ctx: &Context, spec: &ImageSpec) -> Result<Image> {
        ctx.check()?;
        spec.validate(&self.inner.capabilities())?;
        self.check_source(ctx, &spec.source).await?;
        let there = ImageBuilder::list(self, ctx, &ListFilter::all()).await?;
        let same =
            there.iter().find(|image| image.name == spec.name && image.version == spec.version);
        let mut plan = self.plan.lock();
        let (id, verb) = match same {
            Some(image) if image.owner != spec.owner => {
                return Err(taken("image", &spec.name, image.id.as_str()));
            }
            Some(image) if image.status == ImageStatus::Ready => return Ok(image.clone()),
            Some(image) => (image.id.clone(), "finish"),
            None => (ImageId::new(plan.id("image")), "build"),
        };
        let (name, version) = (&spec.name, &spec.version);
        let summary = format!("{verb} image '{name}' {version} from {}", spec.source.kind());
        plan.step(Operation::ImageBuild, format!("{name} {version}"), summary);
        let image = Image::new(id, name, version, spec.owner.clone(), ImageStatus::Ready);
        plan.images.put(image.id.clone(), image.clone());
        Ok(image)
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Image>> {
        let listed = self.inner.list(ctx, filter).await?;
        let wanted = |image: &Image| filter.matches(&image.owner);
        let mut images = self.plan.lock().images.apply(listed, |image| &image.id, wanted);
        images.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        Ok(images)
    }

    async fn get(&self, ctx: &Context, image: &ImageId) -> Result<Image> {
        ctx.check()?;
        let planned = self.plan.lock().images.find(image);
        match planned {
            Some(Some(image)) => Ok(image),
            Some(None) => Err(missing("image", image.as_str())),
            None => self.inner.get(ctx, image).await,
        }
    }

    async fn delete(&self, ctx: &Context, image: &ImageId) -> Result<()> {
        let found = ImageBuilder::get(self, ctx, image).await?;
        let mut plan = self.plan.lock();
        let needed = plan.nodes.present().any(|node| node.image.as_ref() == Some(image));
        if needed && !self.inner.capabilities().delete_in_use {
            return Err(conflict(format!("planned nodes need image '{image}'")));
        }
        let summary = format!("delete image '{}' {}", found.name, found.version);
        plan.step(Operation::ImageDelete, image.as_str(), summary);
        plan.images.remove(image.clone());
        Ok(())
    }
}

impl<T: ImageBuilder> DryRun<T> {
    /// Fails if the source is not there.
    async fn check_source(&self, ctx: &Context, source: &ImageSource) -> Result<()> {
        match source {
            ImageSource::Appliance { path, .. } => require_file(path.clone()).await,
            ImageSource::Recipe { directory, file } => require_file(directory.join(file)).await,
            ImageSource::Installer { medium, answers } => {
                require_file(medium.clone()).await?;
                require_file(answers.clone()).await
            }
            ImageSource::Image { image } => {
                let source = ImageBuilder::get(self, ctx, image).await?;
                if source.status == ImageStatus::Ready {
                    return Ok(());
                }
                Err(conflict(format!("image '{image}' is not ready")))
            }
        }
    }
}

async fn require_file(path: PathBuf) -> Result<()> {
    let asked = path.clone();
    let found = tokio::task::spawn_blocking(move || std::fs::metadata(asked)).await;
    found
        .map_err(|error| {
            Error::new(ErrorKind::Unexpected, "a worker ended early").caused_by(error)
        })?
        .map(drop)
        .map_err(|error| Error::io("read", &path, error))
}

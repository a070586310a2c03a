//! Images in memory.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::time::Instant;

use super::MemoryBackend;
use super::faults::Fate;
use super::world::{ImageRecord, Phase, taken};
use crate::backend::check_options;
use crate::image_builder::{
    Image, ImageBuilder, ImageCapabilities, ImageSource, ImageSpec, ImageStatus,
};
use crate::{Context, Error, ErrorKind, Health, ImageId, ListFilter, Operation, Result};

#[async_trait]
impl ImageBuilder for MemoryBackend {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> ImageCapabilities {
        self.settings.images.clone()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        self.call(ctx, Operation::ImageCheck, "", async |_| self.health()).await
    }

    async fn build(&self, ctx: &Context, spec: &ImageSpec) -> Result<Image> {
        let target = format!("{} {}", spec.name, spec.version);
        self.call(ctx, Operation::ImageBuild, target, |fate| self.build_image(ctx, spec, fate))
            .await
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Image>> {
        self.call(ctx, Operation::ImageList, "", async |_| {
            let state = self.world.lock();
            let all = state.images.values().map(ImageRecord::view);
            let mut images: Vec<_> = all
                .filter(|image| image.owner.namespace == self.namespace())
                .filter(|image| filter.matches(&image.owner))
                .collect();
            images.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
            Ok(images)
        })
        .await
    }

    async fn get(&self, ctx: &Context, image: &ImageId) -> Result<Image> {
        self.call(ctx, Operation::ImageGet, image.as_str(), async |_| {
            Ok(self.world.lock().image(self.namespace(), image)?.view())
        })
        .await
    }

    async fn delete(&self, ctx: &Context, image: &ImageId) -> Result<()> {
        self.call(ctx, Operation::ImageDelete, image.as_str(), async |fate: Fate| {
            let mut state = self.world.lock();
            state.image(self.namespace(), image)?;
            let in_use =
                state.nodes.values().any(|record| record.node.image.as_ref() == Some(image));
            if in_use && !self.settings.images.delete_in_use {
                let message = format!("nodes were made from image '{image}'");
                return Err(Error::new(ErrorKind::Conflict, message).hint("destroy them first"));
            }
            if let Err(error) = fate.pass() {
                let record = state.image(self.namespace(), image)?;
                record.phase = Phase::settled(ImageStatus::Failed);
                return Err(error);
            }
            state.images.remove(image);
            Ok(())
        })
        .await
    }
}

impl MemoryBackend {
    async fn build_image(&self, ctx: &Context, spec: &ImageSpec, fate: Fate) -> Result<Image> {
        spec.validate(&self.settings.images)?;
        check_options(&spec.options, &[])?;
        spec.owner.require_namespace(self.namespace())?;
        let size = self.source_size(&spec.source).await?;
        let (id, ready_at) = self.place_image(spec, size, fate)?;
        let named = |error: Error| error.with("image", id.as_str());
        fate.pass().map_err(named)?;
        self.settle(ctx, ready_at).await.map_err(named)?;
        Ok(self.world.lock().image(self.namespace(), &id)?.view())
    }

    /// Finds the image that this request has made, or makes it; answers when
    /// it will be ready.
    fn place_image(
        &self,
        spec: &ImageSpec,
        size: Option<u64>,
        fate: Fate,
    ) -> Result<(ImageId, Instant)> {
        let phase = match fate {
            Fate::HalfWay => Phase::settled(ImageStatus::Failed),
            _ => Phase::towards(ImageStatus::Building, self.ready_at(), ImageStatus::Ready),
        };
        let mut state = self.world.lock();
        let same = state.images.values_mut().find(|record| {
            let image = &record.image;
            image.owner.namespace == spec.owner.namespace
                && image.name == spec.name
                && image.version == spec.version
        });
        if let Some(record) = same {
            if record.image.owner != spec.owner {
                return Err(taken("image", &spec.name, record.image.id.as_str()));
            }
            if record.phase.current() == ImageStatus::Failed {
                record.phase = phase;
            }
            return Ok((record.image.id.clone(), record.phase.settles_at()));
        }
        let id = ImageId::new(format!("image-{}", state.number()));
        let owner = spec.owner.clone();
        let mut image =
            Image::new(id.clone(), &spec.name, &spec.version, owner, ImageStatus::Building);
        image.size = size;
        state.images.insert(id.clone(), ImageRecord { image, phase });
        Ok((id, phase.settles_at()))
    }

    /// The size of a source that is there and can be built.
    async fn source_size(&self, source: &ImageSource) -> Result<Option<u64>> {
        match source {
            ImageSource::Appliance { path, .. } => appliance_size(path.clone()).await.map(Some),
            ImageSource::Recipe { directory, file } => {
                appliance_size(directory.join(file)).await.map(|_| None)
            }
            ImageSource::Installer { medium, answers } => {
                appliance_size(answers.clone()).await?;
                appliance_size(medium.clone()).await.map(Some)
            }
            ImageSource::Image { image } => {
                let source = self.world.lock().image(self.namespace(), image)?.view();
                if source.status != ImageStatus::Ready {
                    let message = format!("image '{image}' is not ready");
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
                Ok(source.size)
            }
        }
    }
}

/// The size of a file with something in it.
async fn appliance_size(path: PathBuf) -> Result<u64> {
    let asked = path.clone();
    let metadata = tokio::task::spawn_blocking(move || std::fs::metadata(asked)).await;
    let metadata = metadata
        .map_err(|error| {
            Error::new(ErrorKind::Unexpected, "a worker ended early").caused_by(error)
        })?
        .map_err(|error| Error::io("read", &path, error))?;
    refuse_empty(&path, &metadata)?;
    Ok(metadata.len())
}

fn refuse_empty(path: &Path, metadata: &std::fs::Metadata) -> Result<()> {
    if metadata.is_file() && metadata.len() > 0 {
        return Ok(());
    }
    let message = format!("{} is not a file with something in it", path.display());
    Err(Error::new(ErrorKind::InvalidData, message).with("path", path.display().to_string()))
}

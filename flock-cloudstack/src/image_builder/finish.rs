//! From a template that CloudStack knows of to one that is ready everywhere.

use flock_core::image_builder::Image;
use flock_core::{Error, ErrorKind, Result};

use super::build::{Begun, Build};
use super::missing;
use super::wait::Waited;
use crate::error::BACKEND;

impl Build<'_> {
    /// Waits until it is ready in every zone that was asked for, if that was
    /// asked for. Sees to it that there is no other of the same request.
    pub(super) async fn finish(&self, begun: &Begun) -> Result<Image> {
        let named = |error: Error| error.with("image", &begun.id);
        if !self.plan.wait {
            let group = self.builder.group(self.ctx, &begun.id).await.map_err(named)?;
            return group.and_then(|group| group.image()).ok_or_else(|| missing(&begun.id));
        }
        // Others may have made one of that name at the same time.
        self.give_way(&begun.id, &self.ours().await.map_err(named)?).await?;
        let mut id = begun.id.clone();
        loop {
            let image = self.ready(&id).await.map_err(|error| error.with("image", &id))?;
            let mut mine = self.ours().await?;
            self.give_way(&id, &mine).await?;
            mine.retain(|group| self.is_mine(group));
            match self.best_of(mine).await? {
                Some(best) if best.id == id => return Ok(image),
                Some(best) => id = best.id,
                None => return Err(vanished(&id)),
            }
        }
    }

    /// Waits until it is ready where it is, copies it to zones that lack it,
    /// and waits for those.
    async fn ready(&self, id: &str) -> Result<Image> {
        let asked = self.plan.asked();
        let mut waited = self.builder.wait_for(self.ctx, id, asked).await?;
        if let (Waited::Ready(group), Some(zones)) = (&waited, asked)
            && !group.missing(zones).is_empty()
        {
            self.builder.spread(self.ctx, group, zones).await?;
            waited = self.builder.wait_for(self.ctx, id, asked).await?;
        }
        match waited {
            Waited::Ready(group) => group.image().ok_or_else(|| missing(id)),
            Waited::Failed(error) => Err(error),
        }
    }
}

/// Somebody has deleted it meanwhile.
fn vanished(id: &str) -> Error {
    Error::new(ErrorKind::Conflict, "the template was deleted while it was waited for")
        .in_backend(BACKEND)
        .with("image", id)
        .retryable()
}

//! Templates of one name, of which CloudStack allows several.

use flock_core::image_builder::ImageStatus;
use flock_core::{Error, ErrorKind, Result};

use super::build::Build;
use super::group::Group;
use crate::error::BACKEND;

impl Build<'_> {
    /// Our templates of that name.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if there is one that flock has not made.
    pub(super) async fn there(&self) -> Result<Vec<Group>> {
        let mut groups = self.builder.groups(self.ctx).await?;
        groups.retain(|group| group.name == self.plan.name);
        if let Some(group) = groups.iter().find(|group| group.owner.is_none()) {
            return Err(self.taken(group));
        }
        groups.retain(|group| self.builder.is_ours(group));
        Ok(groups)
    }

    /// The same, whatever else is there.
    pub(super) async fn ours(&self) -> Result<Vec<Group>> {
        let mut groups = self.builder.groups(self.ctx).await?;
        groups.retain(|group| group.name == self.plan.name && self.builder.is_ours(group));
        Ok(groups)
    }

    pub(super) fn is_mine(&self, group: &Group) -> bool {
        group.owner.as_ref() == Some(&self.plan.owner)
    }

    /// Of several templates for one request, the one that stays: a ready one,
    /// then one that may become it, then the first. The others are deleted.
    pub(super) async fn best_of(&self, mut mine: Vec<Group>) -> Result<Option<Group>> {
        mine.sort_by_cached_key(|group| {
            let status = group.image().map_or(ImageStatus::Failed, |image| image.status);
            let rank = match status {
                ImageStatus::Ready => 0,
                ImageStatus::Building => 1,
                _ => 2,
            };
            (rank, group.seniority())
        });
        let mut mine = mine.into_iter();
        let best = mine.next();
        for other in mine {
            tracing::info!(template = other.id, "deleting a template made twice");
            self.builder.remove(self.ctx, &other, None, false).await?;
        }
        Ok(best)
    }

    /// Deletes the template if another request, which could not be seen when
    /// this one began, has made one of that name before it.
    pub(super) async fn give_way(&self, id: &str, ours: &[Group]) -> Result<()> {
        let Some(mine) = ours.iter().find(|group| group.id == id) else { return Ok(()) };
        let is_first =
            |group: &&Group| !self.is_mine(group) && group.seniority() < mine.seniority();
        match ours.iter().find(is_first) {
            Some(other) => {
                self.builder.remove(self.ctx, mine, None, false).await?;
                Err(self.taken(other))
            }
            None => Ok(()),
        }
    }

    pub(super) fn taken(&self, group: &Group) -> Error {
        let name = &self.plan.name;
        let error = |message: String| {
            Error::new(ErrorKind::AlreadyExists, message)
                .in_backend(BACKEND)
                .with("image", &group.id)
        };
        match group.owner {
            Some(_) => error(format!("template {name} is there, and made from something else"))
                .hint("take another version, or replace it by force"),
            None => error(format!("a template {name} is there that flock has not made"))
                .hint("take another version, or delete it by hand"),
        }
    }
}

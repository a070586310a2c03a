//! Making volumes, and finishing those that were begun.

use flock_core::backend::check_options;
use flock_core::volume_driver::{Volume, VolumeDriver as _, VolumeSpec, VolumeStatus};
use flock_core::{Context, Error, ErrorKind, Result};

use super::mark::Mark;
use super::record::{Record, merge};
use super::{CloudStackVolumeDriver, GIB, VolumeOption, is_missing, looked_at_again};
use crate::client::Parameters;
use crate::error::{BACKEND, is_outcome_unknown};
use crate::tags::{self, Resource};

impl CloudStackVolumeDriver {
    pub(super) async fn create_now(&self, ctx: &Context, spec: &VolumeSpec) -> Result<Volume> {
        let size = spec.validate(&self.capabilities())?;
        check_options(&spec.options, &VolumeOption::ALL)?;
        spec.owner.require_namespace(self.namespace())?;
        let mark = Mark::new(&spec.owner, &spec.name)?;
        let _turn = self.names.turn(ctx, &spec.name).await?;
        let record = match self.settle(ctx, &mark).await? {
            Some(record) if record.status() != VolumeStatus::Deleting => record,
            deleted => {
                if let Some(record) = deleted {
                    self.clear_away(ctx, &record).await?;
                }
                self.make(ctx, spec, &mark, size).await?
            }
        };
        let id = record.id().to_owned();
        self.finish(ctx, spec, record, size).await.map_err(|error| error.with("volume", id))
    }

    /// Sends the request for a new volume, and answers with what is there by
    /// that name afterwards.
    async fn make(
        &self,
        ctx: &Context,
        spec: &VolumeSpec,
        mark: &Mark,
        size: u64,
    ) -> Result<Record> {
        if let Some(source) = &spec.source {
            self.require_source(ctx, source, size).await?;
        }
        let place = self.place(ctx, spec, size).await?;
        let asked = place.with("name", mark.to_string());
        let lost = match self.client.create_volume(ctx, &asked).await {
            Ok(started) => {
                let named = |error: Error| match &started.id {
                    Some(id) => error.with("volume", id),
                    None => error,
                };
                self.client.wait(ctx, &started.job).await.map_err(named)?;
                None
            }
            Err(error) if is_outcome_unknown(&error) => Some(error),
            Err(error) => return Err(error),
        };
        match self.settle(ctx, mark).await? {
            Some(record) => Ok(record),
            None => Err(lost.map_or_else(|| vanished(&spec.name), looked_at_again)),
        }
    }

    /// Finds the volume that has the name of `mark`, if there is one, and that
    /// it is of the same request. Of several the first one stays; ours that
    /// came later are deleted: nobody has got to know of them.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if the first one is of another request.
    async fn settle(&self, ctx: &Context, mark: &Mark) -> Result<Option<Record>> {
        let mut records = self.named(ctx, &mark.name).await?;
        records.sort_by(|a, b| a.seniority().cmp(&b.seniority()));
        let mut records = records.into_iter();
        let Some(first) = records.next() else { return Ok(None) };
        for later in records.filter(|later| later.owner == mark.owner && !later.is_tagged) {
            self.clear_away(ctx, &later).await?;
        }
        if first.owner == mark.owner {
            return Ok(Some(first));
        }
        let message = format!("there is a volume '{}' already", mark.name);
        Err(Error::new(ErrorKind::AlreadyExists, message)
            .in_backend(BACKEND)
            .with("volume", first.id())
            .with("app", &first.owner.app)
            .hint("choose another name, or destroy that one"))
    }

    /// The volumes of that name, whoever made them.
    async fn named(&self, ctx: &Context, name: &str) -> Result<Vec<Record>> {
        let by_tag = Parameters::new().with_pairs("tags", [(tags::NAME, name)]);
        let keyword = Mark::prefix_of_name(self.namespace(), name);
        let tagged = self.records(ctx, by_tag).await?;
        let marked = self.records(ctx, Parameters::new().with("keyword", keyword)).await?;
        let mut records = merge(tagged, marked);
        records.retain(|record| record.name == name);
        Ok(records)
    }

    /// Deletes a volume that was never finished.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for one that was.
    async fn clear_away(&self, ctx: &Context, record: &Record) -> Result<()> {
        if record.is_tagged {
            let message = format!("volume '{}' is being destroyed", record.name);
            return Err(Error::new(ErrorKind::Conflict, message)
                .with("volume", record.id())
                .hint("wait until it is gone, or destroy it to have that done now"));
        }
        match self.remove(ctx, record.id()).await {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Brings a volume to its end: as large as asked for, tagged, with its own
    /// name.
    async fn finish(
        &self,
        ctx: &Context,
        spec: &VolumeSpec,
        record: Record,
        size: u64,
    ) -> Result<Volume> {
        let mut record = self.wait_until_made(ctx, record).await?;
        if !record.is_tagged {
            if record.size() < size {
                self.client
                    .grow_volume(ctx, record.id(), size / GIB)
                    .await
                    .map_err(looked_at_again)?;
            }
            record = self.tag(ctx, spec, record).await?;
        }
        if record.own_name() == spec.name {
            return Ok(record.view());
        }
        // The name in CloudStack is for people who look there. The tags count,
        // so a cloud that does not let it be changed is as good.
        if let Err(error) = self.client.rename_volume(ctx, record.id(), &spec.name).await {
            tracing::warn!(volume = record.id(), %error, "the volume keeps its first name");
        }
        Ok(record.view())
    }

    async fn tag(&self, ctx: &Context, spec: &VolumeSpec, record: Record) -> Result<Record> {
        let id = [record.id().to_owned()];
        let owner = spec.owner.to_pairs().map(|(key, value)| (key.to_owned(), value));
        let all = owner.into_iter().chain([(tags::NAME.to_owned(), spec.name.clone())]);
        let put = tags::put(&self.client, ctx, Resource::Volume, &id, all).await;
        let now = self.record(ctx, record.id()).await;
        match (put, now) {
            // Another call may have put them.
            (_, Ok(record)) if record.is_tagged => Ok(record),
            (Err(error), _) => Err(looked_at_again(error)),
            (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(_)) => Err(vanished(&spec.name)),
        }
    }

    /// Waits for a volume that another call is making.
    async fn wait_until_made(&self, ctx: &Context, record: Record) -> Result<Record> {
        let record = self.wait_while(ctx, record, "Creating").await?;
        if record.status() == VolumeStatus::Deleting {
            let message = format!("CloudStack could not make volume '{}'", record.name);
            return Err(Error::new(ErrorKind::Unexpected, message)
                .hint("`flock cloudstack call listAsyncJobs` shows why it failed"));
        }
        Ok(record)
    }
}

/// The error for a volume that CloudStack says it made and does not show.
fn vanished(name: &str) -> Error {
    let message =
        format!("volume '{name}' was made, but CloudStack does not show it as it should be");
    Error::new(ErrorKind::Unexpected, message).in_backend(BACKEND).retryable()
}

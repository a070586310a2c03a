//! From a spec to a template: what is there is found, what is missing is made.

use std::time::{Duration, Instant};

use flock_core::image_builder::{Image, ImageBuilder as _, ImageSpec};
use flock_core::progress::Level;
use flock_core::rootfs::checksum::Checksum;
use flock_core::{Context, Error, ErrorKind, Result};
use url::Url;

use super::appliance::Appliance;
use super::group::Group;
use super::options::{ChecksumChoice, TemplateOptions};
use super::plan::Plan;
use super::status::State;
use super::{CloudStackImageBuilder, DirectUpload, PutUpload, ServeUpload, Upload, hypervisor};
use crate::api::{NewTemplate, UploadParams, Zones};
use crate::error::{BACKEND, is_outcome_unknown};
use crate::tags::{self, Resource};
use crate::upload::{self, Direct, Put, Sent, Server};

/// How often a direct upload is begun, each time with a new record.
const MAX_UPLOADS: u32 = 3;
/// The wait before the second of them; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The wait between two looks for what a lost answer may have made.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often tags are put on.
const MAX_TAGGINGS: u32 = 3;

impl CloudStackImageBuilder {
    pub(super) async fn build_template(&self, ctx: &Context, spec: &ImageSpec) -> Result<Image> {
        let plan = self.plan(ctx, spec).await?;
        let _turn = self.names.turn(ctx, &plan.name).await?;
        Build { builder: self, ctx, plan: &plan }.run().await
    }

    /// What will be done for a spec, checked.
    pub(super) async fn plan(&self, ctx: &Context, spec: &ImageSpec) -> Result<Plan> {
        ctx.check()?;
        spec.validate(&self.capabilities())?;
        spec.owner.require_namespace(self.namespace())?;
        let options = TemplateOptions::from_values(&spec.options)?.or(&self.options);
        Plan::make(ctx, &self.client, spec, options).await
    }
}

/// A template in the making.
pub(super) struct Build<'a> {
    pub(super) builder: &'a CloudStackImageBuilder,
    pub(super) ctx: &'a Context,
    pub(super) plan: &'a Plan,
}

/// A template that CloudStack knows of, and what has to stay until it is
/// ready.
pub(super) struct Begun {
    pub(super) id: String,
    #[expect(dead_code, reason = "it serves for as long as it is kept")]
    server: Option<Server>,
}

impl Build<'_> {
    pub(super) async fn run(&self) -> Result<Image> {
        let there = self.there().await?;
        if self.plan.force {
            for group in &there {
                self.builder.remove(self.ctx, group, None, false).await?;
            }
            return self.anew().await;
        }
        if let Some(other) = there.iter().find(|group| !self.is_mine(group)) {
            return Err(self.taken(other));
        }
        match self.best_of(there).await? {
            Some(group) => self.resume(group).await,
            None => self.anew().await,
        }
    }

    async fn anew(&self) -> Result<Image> {
        let begun = self.begin().await?;
        self.finish(&begun).await
    }

    /// Goes on with what an earlier call of the same request has begun.
    async fn resume(&self, group: Group) -> Result<Image> {
        let is_lost = |state: State| match state {
            State::Failed(_) => true,
            // Its address was told once, to a call that has ended.
            State::NotUploaded => true,
            _ => false,
        };
        if group.states(None).any(is_lost) {
            self.builder.remove(self.ctx, &group, None, false).await?;
            return self.anew().await;
        }
        if !group.is_tagged {
            self.tag(&group.id).await.map_err(|error| error.with("image", &group.id))?;
        }
        let is_ready = group.states(self.plan.asked()).all(|state| state == State::Ready);
        let server = match &self.plan.upload {
            Upload::Serve(serve) if !is_ready => Some(self.serve(serve).await?),
            _ => None,
        };
        let begun = Begun { id: group.id.clone(), server };
        match self.finish(&begun).await {
            // It failed after it was found: what was fetched from was gone.
            Err(error) if is_failure(&error) => {
                self.ctx.message(Level::Warning, format!("{error}; it is registered anew"));
                self.builder.remove(self.ctx, &group, None, false).await?;
                drop(begun);
                self.anew().await
            }
            other => other,
        }
    }

    /// Makes the template's record and brings the appliance there.
    async fn begin(&self) -> Result<Begun> {
        if let Some(warning) = hypervisor::warning(&self.plan.template.hypervisor) {
            self.ctx.message(Level::Warning, warning);
        }
        let alone = |id| Begun { id, server: None };
        match (&self.plan.upload, &self.plan.appliance) {
            (Upload::Url(given), _) => {
                let checksum = match self.plan.checksum {
                    ChecksumChoice::Known(sum) => Some(written(&sum)),
                    _ => None,
                };
                self.register(given.url.as_str(), checksum).await.map(alone)
            }
            (_, None) => {
                // A plan without a file has an address.
                Err(Error::new(ErrorKind::Unexpected, "there is no appliance").in_backend(BACKEND))
            }
            (Upload::Put(put), Some(appliance)) => self.put(put, appliance).await.map(alone),
            (Upload::Serve(serve), Some(_)) => {
                let server = self.serve(serve).await?;
                let checksum = self.checksum().await?;
                let id = self.register(server.url.as_str(), checksum).await?;
                Ok(Begun { id, server: Some(server) })
            }
            (Upload::Direct(direct), Some(appliance)) => {
                self.direct(direct, appliance).await.map(alone)
            }
        }
    }

    /// The checksum for an upload that wants it beforehand.
    async fn checksum(&self) -> Result<Option<String>> {
        Ok(match (self.plan.checksum, &self.plan.appliance) {
            (ChecksumChoice::Known(sum), _) => Some(written(&sum)),
            (ChecksumChoice::Compute, Some(appliance)) => {
                Some(written(&upload::sha256(self.ctx, appliance).await?))
            }
            _ => None,
        })
    }

    async fn put(&self, put: &PutUpload, appliance: &Appliance) -> Result<String> {
        let wanted = self.plan.checksum == ChecksumChoice::Compute;
        let (url, sum) = self.send(put, appliance, wanted).await?;
        let checksum = match self.plan.checksum {
            ChecksumChoice::Known(sum) => Some(sum),
            _ => sum,
        };
        self.register(url.as_str(), checksum.as_ref().map(written)).await
    }

    /// Sends the appliance to a web server. Gives the address at which
    /// CloudStack sees it, and its checksum if that is wanted.
    pub(super) async fn send(
        &self,
        put: &PutUpload,
        appliance: &Appliance,
        checksum: bool,
    ) -> Result<(Url, Option<Checksum>)> {
        let (name, _) = &self.plan.image;
        let file = self.plan.file_name(appliance, put.versioned);
        let display = put.display_url.as_ref().unwrap_or(&put.upload_url);
        let sending = Put {
            ctx: self.ctx,
            appliance,
            upload: put,
            target: upload::below(&put.upload_url, name, &file),
            display: upload::below(display, name, &file),
        };
        let sum = sending.run(checksum).await?;
        Ok((sending.display, sum))
    }

    async fn serve(&self, serve: &ServeUpload) -> Result<Server> {
        let Some(appliance) = &self.plan.appliance else {
            let message = "there is no appliance to serve";
            return Err(Error::new(ErrorKind::Unexpected, message).in_backend(BACKEND));
        };
        let secret = &self.builder.client.config().secret_key;
        let about = [
            ("flock.serve", self.plan.owner.request.to_string()),
            ("flock.stamp", appliance.stamp()),
        ];
        let about = about.iter().map(|(name, value)| (*name, value.as_str()));
        let token = crate::signature::sign(about, secret);
        let token: String = token.chars().filter(char::is_ascii_alphanumeric).collect();
        let file = self.plan.file_name(appliance, true);
        Server::start(self.ctx, serve, appliance, &token, &file).await
    }

    /// Registers the template at an address, and tags it.
    async fn register(&self, url: &str, checksum: Option<String>) -> Result<String> {
        let template = self.plan.template.clone().with_checksum(checksum);
        let client = &self.builder.client;
        let made = client.register_template(self.ctx, &template, url, &self.plan.zones).await;
        let id = match made {
            Ok(items) => items.into_iter().map(|item| item.id).next().unwrap_or_default(),
            Err(error) if is_outcome_unknown(&error) => match self.find_lost().await? {
                Some(group) => group.id,
                None => return Err(lost(error)),
            },
            Err(error) => return Err(self.explained(error)),
        };
        self.tag(&id).await.map_err(|error| error.with("image", &id))?;
        Ok(id)
    }

    /// Looks for a template that a request whose answer got lost may have
    /// made: CloudStack may still be at it.
    async fn find_lost(&self) -> Result<Option<Group>> {
        let begun = Instant::now();
        loop {
            let found = self.ours().await?.into_iter().find(|group| self.is_mine(group));
            if found.is_some() || begun.elapsed() >= self.builder.patience.lost_reply {
                return Ok(found);
            }
            self.ctx.sleep(LOOK_AGAIN).await?;
        }
    }

    /// Puts the owner's tags on; they go on together or not at all.
    pub(super) async fn tag(&self, id: &str) -> Result<()> {
        let name = (tags::NAME, self.plan.name.clone());
        let all: Vec<_> = self.plan.owner.to_pairs().into_iter().chain([name]).collect();
        let ids = [id.to_owned()];
        let client = &self.builder.client;
        for tries in 1.. {
            let put = tags::put(client, self.ctx, Resource::Template, &ids, all.clone()).await;
            let Err(error) = put else { break };
            // Tags that are there already are an error, which is well.
            let now = self.builder.group(self.ctx, id).await?;
            if now.is_some_and(|group| group.is_tagged) {
                break;
            }
            if tries == MAX_TAGGINGS || !(is_outcome_unknown(&error) || error.is_retryable()) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Uploads directly; what went wrong is taken away and begun anew.
    async fn direct(&self, direct: &DirectUpload, appliance: &Appliance) -> Result<String> {
        let template = self.plan.template.clone().with_checksum(self.checksum().await?);
        let mut wait = FIRST_WAIT;
        for tries in 1.. {
            let error = match self.direct_once(direct, appliance, &template).await {
                Ok(id) => return Ok(id),
                Err(error) if tries == MAX_UPLOADS || !error.is_retryable() => return Err(error),
                Err(error) => error,
            };
            self.ctx.message(Level::Warning, format!("{error}; the upload is begun anew"));
            self.ctx.sleep(error.retry_after().unwrap_or_default().max(wait)).await?;
            wait *= 2;
        }
        Err(Error::new(ErrorKind::Unexpected, "no upload was tried").in_backend(BACKEND))
    }

    async fn direct_once(
        &self,
        direct: &DirectUpload,
        appliance: &Appliance,
        template: &NewTemplate,
    ) -> Result<String> {
        let params = self.upload_params(template).await?;
        let id = params.id.clone();
        self.tag(&id).await.map_err(|error| error.with("image", &id))?;
        let sending = Direct {
            ctx: self.ctx,
            appliance,
            options: direct,
            params: &params,
            file_name: safe(&self.plan.file_name(appliance, true)),
        };
        let error = match sending.run().await {
            Ok(Sent::Accepted) => return Ok(id),
            Ok(Sent::Unknown(_)) if self.has_arrived(&id).await? => return Ok(id),
            Ok(Sent::Unknown(error)) | Err(error) => error.with("image", &id),
        };
        // What was cancelled is finished by the next call.
        if self.ctx.check().is_ok()
            && let Some(group) = self.builder.group(self.ctx, &id).await?
        {
            self.builder.remove(self.ctx, &group, None, false).await?;
        }
        Err(error)
    }

    /// Makes a record to upload to. One whose address got lost is of no use.
    async fn upload_params(&self, template: &NewTemplate) -> Result<UploadParams> {
        let Zones::Some(zones) = &self.plan.zones else {
            let message = "an upload needs a zone";
            return Err(Error::new(ErrorKind::InvalidConfig, message).in_backend(BACKEND));
        };
        let zone = zones.first().map_or("", String::as_str);
        let asked = self.builder.client.template_upload_params(self.ctx, template, zone).await;
        match asked {
            Err(error) if is_outcome_unknown(&error) => {
                if let Some(group) = self.find_lost().await? {
                    self.builder.remove(self.ctx, &group, None, false).await?;
                }
                Err(lost(error))
            }
            other => other,
        }
    }

    /// Whether CloudStack has got an upload whose answer was lost. It looks
    /// after uploads once a minute.
    async fn has_arrived(&self, id: &str) -> Result<bool> {
        let begun = Instant::now();
        loop {
            let group = self.builder.group(self.ctx, id).await?;
            let states: Vec<_> = group.iter().flat_map(|group| group.states(None)).collect();
            if states.iter().any(|state| matches!(state, State::Failed(_))) {
                return Ok(false);
            }
            let is_open = |state: &State| matches!(state, State::NotUploaded | State::Uploading);
            if !states.is_empty() && !states.iter().any(is_open) {
                return Ok(true);
            }
            if begun.elapsed() >= self.builder.patience.upload {
                // What has begun to arrive may be a large file at the end.
                return Ok(states.contains(&State::Uploading));
            }
            self.ctx.sleep(LOOK_AGAIN).await?;
        }
    }

    /// What a person can do about a refused registration.
    fn explained(&self, error: Error) -> Error {
        let text = error.to_string().to_ascii_lowercase();
        match &self.plan.zones {
            Zones::All if text.contains("all zones") || text.contains("admin") => {
                error.hint("only root administrators register in all zones; name the zones")
            }
            _ if text.contains("url") => error.hint(
                "CloudStack's management server must reach that address, and be told its length",
            ),
            _ => error,
        }
    }
}

/// Whether a template was found not to become ready.
fn is_failure(error: &Error) -> bool {
    error.context_value("status").is_some()
}

/// An answer that got lost, and nothing to show for it: the same call looks
/// again before it asks anew.
fn lost(error: Error) -> Error {
    error.retryable()
}

/// A checksum as CloudStack writes it (`DigestHelper`, from 4.11 on).
fn written(sum: &Checksum) -> String {
    format!("{{SHA-256}}{}", sum.hex())
}

/// A file name for a header: what is not plain becomes a hyphen.
fn safe(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .collect()
}

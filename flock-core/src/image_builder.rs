//! Images: what nodes are made from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Context, Error, ErrorKind, Health, ImageId, ListFilter, Owner, Result};

/// Makes images that a provisioner of the same backend deploys.
///
/// # The contract
///
/// As for [`Provisioner`](crate::Provisioner): owner tags, idempotence by
/// request id, half-failed work that shows in `list`, ends of the context.
/// In particular an image that is not complete is never
/// [`ImageStatus::Ready`].
#[async_trait]
pub trait ImageBuilder: Send + Sync {
    /// The backend's name, for example `docker`.
    fn name(&self) -> &str;

    /// What this backend can do, known without asking a service.
    fn capabilities(&self) -> ImageCapabilities;

    /// Whether the backend can be used. Has no side effects.
    ///
    /// # Errors
    /// As [`Provisioner::check`](crate::Provisioner::check).
    async fn check(&self, ctx: &Context) -> Result<Health>;

    /// Makes the image of `spec` and waits until it is ready.
    ///
    /// Idempotent: an image of that name and version made by the same request
    /// is finished if it needs to be and answered as it is. One from another
    /// request is [`ErrorKind::AlreadyExists`]. After an error the image may
    /// be there with another status; its id, where the backend has given one,
    /// is the error's context value `image`.
    ///
    /// # Errors
    /// Before any effect: [`ErrorKind::InvalidConfig`],
    /// [`ErrorKind::Unsupported`] for a source that is not supported,
    /// [`ErrorKind::NotFound`] for a source that is not there.
    /// Later: [`ErrorKind::InvalidData`] for a source that cannot be built;
    /// [`ErrorKind::QuotaExceeded`]; any other.
    async fn build(&self, ctx: &Context, spec: &ImageSpec) -> Result<Image>;

    /// Our images that match `filter`, by name and version. Unfinished and
    /// broken ones are among them. Nothing found is an empty list.
    ///
    /// # Errors
    /// Those of [`check`](ImageBuilder::check).
    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Image>>;

    /// One image.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn get(&self, ctx: &Context, image: &ImageId) -> Result<Image>;

    /// Deletes an image, finished or not. One that is gone is
    /// [`ErrorKind::NotFound`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] while nodes need it,
    /// where the backend forbids that.
    async fn delete(&self, ctx: &Context, image: &ImageId) -> Result<()>;
}

/// What an image builder can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageCapabilities {
    /// The kinds of source it builds from.
    pub sources: BTreeSet<SourceKind>,
    /// The formats of appliance it takes, for [`SourceKind::Appliance`].
    pub formats: BTreeSet<ApplianceFormat>,
    /// An image that nodes were made from can be deleted while they are there.
    pub delete_in_use: bool,
}

/// An image wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageSpec {
    /// The tag.
    pub owner: Owner,
    /// The name, usually the application's.
    pub name: String,
    /// The version; name and version together are unique in the namespace.
    pub version: String,
    /// What it is made from.
    pub source: ImageSource,
    /// Options that only this backend has, by the names it documents. An
    /// unknown one is [`ErrorKind::InvalidConfig`].
    pub options: BTreeMap<String, serde_json::Value>,
}

impl ImageSpec {
    /// An image of that name and version from that source, with the backend's
    /// defaults.
    pub fn new(
        owner: Owner,
        name: impl Into<String>,
        version: impl Into<String>,
        source: ImageSource,
    ) -> Self {
        Self { owner, name: name.into(), version: version.into(), source, options: BTreeMap::new() }
    }

    /// Sets one of the [`options`](Self::options).
    #[must_use]
    pub fn with_option(
        mut self,
        name: impl Into<String>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Checks what can be checked without the backend.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an empty name or version;
    /// [`ErrorKind::Unsupported`] for a source or a format that
    /// `capabilities` excludes.
    pub fn validate(&self, capabilities: &ImageCapabilities) -> Result<()> {
        if self.name.is_empty() || self.version.is_empty() {
            let message = "an image needs a name and a version";
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        let kind = self.source.kind();
        if !capabilities.sources.contains(&kind) {
            let message = format!("images cannot be built from {kind} here");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        match &self.source {
            ImageSource::Appliance { format, .. } if !capabilities.formats.contains(format) => {
                let message = format!("appliances of format {format} are not taken here");
                Err(Error::new(ErrorKind::Unsupported, message))
            }
            _ => Ok(()),
        }
    }
}

/// What an image is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum ImageSource {
    /// A finished appliance, as [`rootfs`](crate::rootfs) writes it.
    Appliance {
        /// The file.
        path: PathBuf,
        /// What is in it.
        format: ApplianceFormat,
    },
    /// A directory with a recipe that the backend runs: a Dockerfile, a Puppet
    /// manifest.
    Recipe {
        /// The directory, all of which the recipe may read.
        directory: PathBuf,
        /// The recipe's file within it.
        file: PathBuf,
    },
    /// An installation medium and the answers to its questions: a kickstart
    /// file or a preseed.
    Installer {
        /// The medium, an ISO file.
        medium: PathBuf,
        /// The file with the answers.
        answers: PathBuf,
    },
    /// An image that is there, to be copied under another name or version.
    Image {
        /// The image.
        image: ImageId,
    },
}

impl ImageSource {
    /// Which kind this is.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Appliance { .. } => SourceKind::Appliance,
            Self::Recipe { .. } => SourceKind::Recipe,
            Self::Installer { .. } => SourceKind::Installer,
            Self::Image { .. } => SourceKind::Image,
        }
    }
}

/// The kinds of [`ImageSource`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SourceKind {
    /// A finished appliance.
    Appliance,
    /// A directory with a recipe.
    Recipe,
    /// An installation medium with answers.
    Installer,
    /// Another image.
    Image,
}

impl std::fmt::Display for SourceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Appliance => "an appliance",
            Self::Recipe => "a recipe",
            Self::Installer => "an installer",
            Self::Image => "another image",
        })
    }
}

/// What an appliance file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ApplianceFormat {
    /// A root file system as a tar archive, compressed or not.
    Tar,
    /// A disk as it is, byte for byte.
    Raw,
    /// A disk in Microsoft's Virtual Hard Disk format, fixed or dynamic.
    Vhd,
    /// A disk in QEMU's format, version 2 or 3.
    Qcow2,
}

impl ApplianceFormat {
    /// The format that a file's name speaks of, behind the extension of a
    /// compression; `None` if of none.
    ///
    /// ```
    /// use std::path::Path;
    /// use flock_core::image_builder::ApplianceFormat;
    ///
    /// let format = ApplianceFormat::from_file_name(Path::new("web.vhd.gz"));
    /// assert_eq!(format, Some(ApplianceFormat::Vhd));
    /// ```
    #[must_use]
    pub fn from_file_name(path: &Path) -> Option<Self> {
        crate::appliance::named_format(path)
    }
}

impl std::fmt::Display for ApplianceFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tar => "tar",
            Self::Raw => "raw",
            Self::Vhd => "vhd",
            Self::Qcow2 => "qcow2",
        })
    }
}

/// An image as its backend reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Image {
    /// The backend's name for it.
    pub id: ImageId,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its tag.
    pub owner: Owner,
    /// How far it is.
    pub status: ImageStatus,
    /// Its size in bytes, where the backend tells.
    pub size: Option<u64>,
    /// More that only this backend knows, by the names it documents.
    pub details: BTreeMap<String, String>,
}

impl Image {
    /// An image of that id, name, version, tag and status.
    pub fn new(
        id: impl Into<ImageId>,
        name: impl Into<String>,
        version: impl Into<String>,
        owner: Owner,
        status: ImageStatus,
    ) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            version: version.into(),
            owner,
            status,
            size: None,
            details: BTreeMap::new(),
        }
    }
}

/// How far an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ImageStatus {
    /// Being built, uploaded or unpacked.
    Building,
    /// Complete: nodes can be made from it.
    Ready,
    /// Half-made or broken: a repeated build or a delete mends it.
    Failed,
}

/// What can be said with an image builder's own verbs.
#[async_trait]
pub trait ImageBuilderExt: ImageBuilder {
    /// The image of that name and version, matched exactly.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none.
    async fn find(&self, ctx: &Context, name: &str, version: &str) -> Result<Image> {
        let images = self.list(ctx, &ListFilter::all()).await?;
        images.into_iter().find(|image| image.name == name && image.version == version).ok_or_else(
            || {
                Error::new(ErrorKind::NotFound, format!("no image '{name}' of version '{version}'"))
                    .in_backend(self.name().to_owned())
                    .with("image", name)
            },
        )
    }
}

impl<T: ImageBuilder + ?Sized> ImageBuilderExt for T {}

#[async_trait]
impl<T: ImageBuilder + ?Sized> ImageBuilder for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn capabilities(&self) -> ImageCapabilities {
        (**self).capabilities()
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        (**self).check(ctx).await
    }

    async fn build(&self, ctx: &Context, spec: &ImageSpec) -> Result<Image> {
        (**self).build(ctx, spec).await
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Image>> {
        (**self).list(ctx, filter).await
    }

    async fn get(&self, ctx: &Context, image: &ImageId) -> Result<Image> {
        (**self).get(ctx, image).await
    }

    async fn delete(&self, ctx: &Context, image: &ImageId) -> Result<()> {
        (**self).delete(ctx, image).await
    }
}

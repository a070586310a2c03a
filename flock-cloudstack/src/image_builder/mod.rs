//! Templates from appliances.
//!
//! [`CloudStackImageBuilder`] brings an appliance to CloudStack, registers it
//! as a template, and waits until virtual machines can be made from it.
//!
//! # Bringing the bytes
//!
//! CloudStack takes a template in one of two ways: it fetches an address, or
//! it is sent the file. [`Upload`] has both, and for addresses three ways for
//! the file to get there:
//!
//! | [`Upload`] | the file goes | wants |
//! |---|---|---|
//! | `Direct` | from here to CloudStack | the secondary storage VM reachable from here |
//! | `Put` | from here to a web server, by HTTP PUT | a web server that takes it |
//! | `Serve` | CloudStack fetches it from here | this machine reachable from the cloud |
//! | `Url` | it is there already | nothing |
//!
//! Whatever CloudStack fetches has to be within reach of its management
//! server, which asks for the length, and of the secondary storage VM, which
//! fetches it (`secstorage.allowed.internal.sites` for private addresses).
//!
//! # What is checked first
//!
//! CloudStack finds most mistakes after the upload, some of them only when the
//! first machine does not start. Before anything is sent the builder looks
//! whether the file is what it is said to be, whether it can be unpacked there,
//! whether a VHD is one that XenServer takes (dynamic, of whole MiB), whether
//! the zones have a hypervisor that takes the format, and whether zone and OS
//! type are there: unknown ones are refused with the nearest names.
//!
//! # Names and owners
//!
//! A template is called `NAME:VERSION`. CloudStack has no unique names, so the
//! builder keeps to the templates that carry flock's tags: `flock.name` beside
//! those of the [`Owner`]. As tags are put on by a second request, the owner
//! also stands in the display text: a template that an interrupted call left
//! behind is listed, and finished by the same call made again. Of two of one
//! name that were made at once, the later one gives way.
//!
//! # Details of an image
//!
//! [`Image::details`] has `created`, `format`, `hypervisor`, `os_type`, and for
//! each zone `zone.NAME` with CloudStack's words for how far it is there. An
//! image is ready when it is ready in every zone that it is listed in.
//!
//! [`Image::details`]: flock_core::image_builder::Image::details

mod appliance;
mod build;
mod content;
mod copies;
mod finish;
mod group;
mod hypervisor;
mod mark;
mod method;
mod namesakes;
mod options;
mod plan;
mod remove;
mod status;
mod wait;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flock_core::image_builder::{
    ApplianceFormat, Image, ImageBuilder, ImageCapabilities, ImageSpec, SourceKind,
};
use flock_core::rootfs::checksum::Checksum;
use flock_core::{
    Context, Error, ErrorKind, Health, ImageId, ListFilter, Operation, Owner, RequestId, Result,
};
use uuid::Uuid;

pub(crate) use self::appliance::Appliance;
pub(crate) use self::method::shown;
pub use self::method::{DirectUpload, PutUpload, ServeUpload, Upload, UrlUpload};
pub use self::options::{ALL_ZONES, ChecksumChoice, TemplateOptions};
pub use self::remove::DeleteOptions;

use self::group::Group;
use crate::api::TemplateFilter;
use crate::client::{Client, Parameters};
use crate::error::BACKEND;
use crate::names::Names;
use crate::{blocking, health, upload};

/// Makes CloudStack's templates from appliances. The [module](self) says how.
///
/// ```no_run
/// use flock_cloudstack::image_builder::TemplateOptions;
/// use flock_cloudstack::{Client, CloudStackConfig, CloudStackImageBuilder};
/// use flock_core::image_builder::{ApplianceFormat, ImageBuilder, ImageSource, ImageSpec};
/// use flock_core::secret::Secret;
/// use flock_core::{Context, Owner, RequestId, Result};
///
/// # async fn example(secret: Secret) -> Result<()> {
/// let url = "https://cloud.example.org/client/api".parse().unwrap();
/// let client = Client::new(CloudStackConfig::new(url, "my-api-key", secret))?;
/// let options = TemplateOptions::new().with_zones(["paris"]).with_os_type("Debian GNU/Linux 12 (64-bit)");
/// let images = CloudStackImageBuilder::new(client).with_options(options);
///
/// let owner = Owner::new("default", "shop", RequestId::random());
/// let source = ImageSource::Appliance { path: "shop.vhd".into(), format: ApplianceFormat::Vhd };
/// let image = images.build(&Context::new(), &ImageSpec::new(owner, "shop", "v1.0", source)).await?;
/// println!("{} is ready", image.id);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CloudStackImageBuilder {
    client: Client,
    options: TemplateOptions,
    patience: Patience,
    /// The names that are being worked on in this process.
    names: Arc<Names>,
}

/// For how long what is waited for may look as it should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patience {
    /// After how long without a change people are told. Default: 5 minutes.
    pub stall: Duration,
    /// How long a status may stay that flock does not know, before it counts
    /// as a failure: CloudStack tells failures in words of their own. Default:
    /// 30 seconds.
    pub unknown: Duration,
    /// How long CloudStack may take to notice an upload whose answer got lost,
    /// before it is begun anew; it looks every minute. Default: 150 seconds.
    pub upload: Duration,
    /// How long a template may be looked for that a lost answer may have made.
    /// Default: 10 seconds.
    pub lost_reply: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(300),
            unknown: Duration::from_secs(30),
            upload: Duration::from_secs(150),
            lost_reply: Duration::from_secs(10),
        }
    }
}

impl Patience {
    /// Sets [`stall`](Self::stall).
    #[must_use]
    pub fn with_stall(mut self, stall: Duration) -> Self {
        self.stall = stall;
        self
    }

    /// Sets [`unknown`](Self::unknown).
    #[must_use]
    pub fn with_unknown(mut self, unknown: Duration) -> Self {
        self.unknown = unknown;
        self
    }

    /// Sets [`upload`](Self::upload).
    #[must_use]
    pub fn with_upload(mut self, upload: Duration) -> Self {
        self.upload = upload;
        self
    }

    /// Sets [`lost_reply`](Self::lost_reply).
    #[must_use]
    pub fn with_lost_reply(mut self, lost_reply: Duration) -> Self {
        self.lost_reply = lost_reply;
        self
    }
}

impl CloudStackImageBuilder {
    /// A builder for the client's account and namespace.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            options: TemplateOptions::new(),
            patience: Patience::default(),
            names: Arc::default(),
        }
    }

    /// Sets the options that hold where a spec has none of that name.
    #[must_use]
    pub fn with_options(mut self, options: TemplateOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets how long to wait for what.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The request id for what this content becomes under this name: always
    /// the same, so that a program which was killed finishes, when it is
    /// started again, what it had begun. The content is any text that tells
    /// one from another: a checksum, an address.
    #[must_use]
    pub fn request(&self, app: &str, version: &str, content: &str) -> RequestId {
        // Any fixed one will do (RFC 9562, section 6.6).
        const SPACE: Uuid = Uuid::from_u128(0x6b1f_a7c4_0f0e_4b57_9d0a_5e1f_7c3b_8d21);
        let parts = [self.namespace(), app, version, content];
        let name = parts.map(|part| format!("{}:{part}", part.len())).concat();
        let id = Uuid::new_v5(&SPACE, name.as_bytes());
        // A UUID is what a request id reads.
        id.to_string().parse().unwrap_or_else(|_| RequestId::random())
    }

    /// The SHA-256 of an appliance's file, after a look whether it is one.
    /// Reports progress. For [`request`](Self::request) and for
    /// [`ChecksumChoice::Known`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::InvalidData`] for a file that is
    /// not of that format; [`ErrorKind::Unsupported`] for one that CloudStack
    /// could not unpack; others of reading; the end of the context.
    pub async fn checksum(
        &self,
        ctx: &Context,
        path: &Path,
        format: ApplianceFormat,
    ) -> Result<Checksum> {
        let path = path.to_owned();
        let opened = blocking::run(ctx, move |ctx| Appliance::open(&path, format, ctx)).await?;
        upload::sha256(ctx, &opened).await
    }

    /// Our images of that name, matched exactly, by version. Safe to cancel.
    ///
    /// # Errors
    /// Those of [`check`](ImageBuilder::check).
    pub async fn versions(&self, ctx: &Context, name: &str) -> Result<Vec<Image>> {
        let mut images = self.list(ctx, &ListFilter::all()).await?;
        images.retain(|image| image.name == name);
        Ok(images)
    }

    /// The namespace that it works in: the client's.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.client.config().namespace
    }

    /// The account's own templates, flock's and others.
    async fn groups(&self, ctx: &Context) -> Result<Vec<Group>> {
        let own = TemplateFilter::Own;
        Ok(Group::all(self.client.templates(ctx, own, &Parameters::new()).await?))
    }

    /// The template with this id, if it is there and of our namespace.
    async fn group(&self, ctx: &Context, id: &str) -> Result<Option<Group>> {
        let asked = Parameters::new().with("id", id);
        let items = match self.client.templates(ctx, TemplateFilter::Own, &asked).await {
            Ok(items) => items,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let group = Group::all(items).into_iter().find(|group| group.id == id);
        Ok(group.filter(|group| self.is_ours(group)))
    }

    fn is_ours(&self, group: &Group) -> bool {
        group.owner.as_ref().is_some_and(|owner: &Owner| owner.namespace == self.namespace())
    }

    async fn require(&self, ctx: &Context, id: &ImageId) -> Result<Group> {
        self.group(ctx, id.as_str()).await?.ok_or_else(|| missing(id.as_str()))
    }
}

#[async_trait]
impl ImageBuilder for CloudStackImageBuilder {
    fn name(&self) -> &str {
        BACKEND
    }

    fn capabilities(&self) -> ImageCapabilities {
        use ApplianceFormat::{Qcow2, Raw, Tar, Vhd};

        let mut capabilities = ImageCapabilities::default();
        capabilities.sources = [SourceKind::Appliance].into();
        capabilities.formats = [Tar, Raw, Vhd, Qcow2].into();
        capabilities
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        health::check(&self.client, ctx)
            .await
            .map_err(|error| error.during(Operation::ImageCheck.as_str()))
    }

    async fn build(&self, ctx: &Context, spec: &ImageSpec) -> Result<Image> {
        let built = self.build_template(ctx, spec).await;
        built.map_err(|error| error.in_backend(BACKEND).during(Operation::ImageBuild.as_str()))
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Image>> {
        let groups =
            self.groups(ctx).await.map_err(|error| error.during(Operation::ImageList.as_str()))?;
        let ours = groups.iter().filter(|group| self.is_ours(group)).filter_map(Group::image);
        let mut images: Vec<_> = ours.filter(|image| filter.matches(&image.owner)).collect();
        images.sort_by(|a, b| (&a.name, &a.version, &a.id).cmp(&(&b.name, &b.version, &b.id)));
        Ok(images)
    }

    async fn get(&self, ctx: &Context, image: &ImageId) -> Result<Image> {
        let found = self
            .require(ctx, image)
            .await
            .map_err(|error| error.during(Operation::ImageGet.as_str()))?;
        found.image().ok_or_else(|| missing(image.as_str()))
    }

    async fn delete(&self, ctx: &Context, image: &ImageId) -> Result<()> {
        let deleted = self.delete_with(ctx, image, &DeleteOptions::default()).await;
        deleted.map_err(|error| error.during(Operation::ImageDelete.as_str()))
    }
}

/// Whether an error of a call about one template says that it is not there, or
/// not the account's. CloudStack says so in several ways.
fn is_missing(error: &Error) -> bool {
    let code = error.context_value("errorcode");
    match error.kind() {
        ErrorKind::NotFound => true,
        ErrorKind::PermissionDenied => code == Some("531"),
        ErrorKind::InvalidConfig => {
            code == Some("431") && error.to_string().to_ascii_lowercase().contains("valid template")
        }
        _ => false,
    }
}

fn missing(id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no template '{id}' of flock's"))
        .in_backend(BACKEND)
        .with("image", id)
        .hint("`flock template list` shows those that there are")
}

//! What stands in an application's `config.yaml`.

use std::path::PathBuf;

use serde::Serialize;

use super::disk::DiskConfig;
use super::values::Ids;
use crate::document::{Affects, Problem};
use crate::image_builder::ApplianceFormat;
use crate::location::Location;
use crate::rootfs::checksum::Checksum;
use crate::rootfs::compress::Format;

/// An application's configuration, as its file has it.
///
/// Keys that are missing, or still hold the placeholder of a generated file,
/// are `None` here and listed by [`AppConfig::unfinished`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AppConfig {
    /// The version of the file's format. Default: 1, the only one so far.
    pub version: u32,
    /// How the appliance is built.
    pub build: BuildConfig,
    /// How it is registered as a template.
    pub template: TemplateConfig,
    /// How nodes are deployed from the template.
    pub deploy: DeployConfig,
    #[serde(skip)]
    pub(super) unfinished: Vec<Problem>,
}

impl AppConfig {
    /// What still keeps this application from being built, registered or
    /// deployed: missing keys and placeholders, in the order of the file.
    pub fn unfinished(&self) -> impl Iterator<Item = &Problem> {
        self.unfinished.iter()
    }

    /// Whether nothing stands in the way of a build.
    #[must_use]
    pub fn is_buildable(&self) -> bool {
        !self.unfinished.iter().any(|problem| problem.affects == Affects::Build)
    }

    /// The compression of the appliance: `build.compression` where it is
    /// given; otherwise gzip if `template.isextractable` is true, as flockr
    /// had it, and none if not.
    #[must_use]
    pub fn compression(&self) -> Format {
        match (self.build.compression, self.template.isextractable) {
            (Some(compression), _) => compression,
            (None, Some(true)) => Format::GZIP,
            (None, _) => Format::None,
        }
    }
}

/// The section `build`: what the appliance is made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BuildConfig {
    /// Where flockr unpacked. flock unpacks nothing and does not use it.
    pub tmpdir: Option<PathBuf>,
    /// The format of the base.
    pub base_format: BaseFormat,
    /// The base operating system (`base_url`).
    pub base: Option<Location>,
    /// The checksum the base must have.
    pub base_checksum: Option<Checksum>,
    /// Whether applications are merged into the base at all.
    pub deploy_app: bool,
    /// The applications, in the order in which they are merged: the one of
    /// the `application_…` keys first, then those of the list.
    pub applications: Vec<ApplicationConfig>,
    /// The compression, where the file says one; see
    /// [`AppConfig::compression`].
    pub compression: Option<Format>,
    /// Globs of paths in the finished appliance that are left out.
    pub exclude: Vec<String>,
    /// Files that are put into the appliance at the end.
    pub inject: InjectConfig,
    /// The disk, for appliances that are one.
    pub disk: DiskConfig,
    /// The most that the appliance's contents may amount to, in bytes before
    /// compression; `None` for the default limit.
    pub max_size: Option<u64>,
    /// The most bytes that may come out of a compressed input for each one in
    /// it; `None` for the default limit.
    pub max_ratio: Option<u64>,
}

/// The format of a base.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BaseFormat {
    /// A tar archive of the root file system, compressed or not; also a
    /// directory or an OCI image.
    #[default]
    Tar,
}

/// One application that is merged into the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ApplicationConfig {
    /// Where it is to be had.
    pub repository: Location,
    /// What is there.
    #[serde(rename = "type")]
    pub kind: RepositoryType,
    /// The directory of the appliance that it replaces, from the root.
    pub wwwroot: String,
    /// The branch, tag or commit of a git repository; `None` for its default
    /// branch.
    pub reference: Option<String>,
    /// How many leading directories are taken off the names in a tar archive.
    pub strip_components: u32,
    /// The owner all its files get; `None` for the one in the archive, or for
    /// what comes from git the superuser.
    pub owner: Option<Ids>,
    /// The checksum its tar archive must have.
    pub checksum: Option<Checksum>,
}

impl ApplicationConfig {
    /// The application of that kind at `repository`, which replaces the
    /// directory `wwwroot` of the appliance. Everything of it is taken, with
    /// the owners it has; of a git repository, the default branch.
    pub fn new(
        repository: impl Into<Location>,
        kind: RepositoryType,
        wwwroot: impl Into<String>,
    ) -> Self {
        Self {
            repository: repository.into(),
            kind,
            wwwroot: wwwroot.into(),
            reference: None,
            strip_components: 0,
            owner: None,
            checksum: None,
        }
    }

    /// Sets [`reference`](Self::reference).
    #[must_use]
    pub fn with_reference(mut self, reference: Option<String>) -> Self {
        self.reference = reference;
        self
    }

    /// Sets [`strip_components`](Self::strip_components).
    #[must_use]
    pub fn with_strip_components(mut self, count: u32) -> Self {
        self.strip_components = count;
        self
    }

    /// Sets [`owner`](Self::owner).
    #[must_use]
    pub fn with_owner(mut self, owner: Option<Ids>) -> Self {
        self.owner = owner;
        self
    }

    /// Sets [`checksum`](Self::checksum).
    #[must_use]
    pub fn with_checksum(mut self, checksum: Option<Checksum>) -> Self {
        self.checksum = checksum;
        self
    }
}

/// How an application is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RepositoryType {
    /// A tar archive, compressed or not; also a directory, with all that is in
    /// it.
    Tar,
    /// A git repository.
    Git,
}

/// Files that are put into the appliance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InjectConfig {
    /// The host name, written to `/etc/hostname`.
    pub hostname: Option<String>,
    /// What becomes `/etc/resolv.conf`.
    pub resolv_conf: Option<InjectedContent>,
    /// SSH keys that may log in as root, written to
    /// `/root/.ssh/authorized_keys`.
    pub authorized_keys: Vec<InjectedContent>,
    /// Further files.
    pub files: Vec<InjectedFileConfig>,
}

impl InjectConfig {
    /// Whether there is nothing to put in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Sets [`hostname`](Self::hostname).
    #[must_use]
    pub fn with_hostname(mut self, name: impl Into<String>) -> Self {
        self.hostname = Some(name.into());
        self
    }

    /// Sets [`resolv_conf`](Self::resolv_conf).
    #[must_use]
    pub fn with_resolv_conf(mut self, content: InjectedContent) -> Self {
        self.resolv_conf = Some(content);
        self
    }

    /// Adds one more of the [`authorized_keys`](Self::authorized_keys).
    #[must_use]
    pub fn with_authorized_key(mut self, key: InjectedContent) -> Self {
        self.authorized_keys.push(key);
        self
    }

    /// Adds one more of the [`files`](Self::files).
    #[must_use]
    pub fn with_file(mut self, file: InjectedFileConfig) -> Self {
        self.files.push(file);
        self
    }

    /// Everything that is put in, but the host name.
    pub fn contents(&self) -> impl Iterator<Item = &InjectedContent> {
        let files = self.files.iter().map(|file| &file.content);
        self.resolv_conf.iter().chain(&self.authorized_keys).chain(files)
    }

    /// As [`InjectConfig::contents`], to be changed.
    pub(crate) fn contents_mut(&mut self) -> impl Iterator<Item = &mut InjectedContent> {
        let files = self.files.iter_mut().map(|file| &mut file.content);
        self.resolv_conf.iter_mut().chain(&mut self.authorized_keys).chain(files)
    }
}

/// A file that is put into the appliance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InjectedFileConfig {
    /// Its path in the appliance, from the root.
    pub path: String,
    /// What is in it.
    #[serde(flatten)]
    pub content: InjectedContent,
    /// Its permission bits. Default: 0644.
    pub mode: u32,
    /// Its owner. Default: 0:0.
    pub owner: Ids,
}

impl InjectedFileConfig {
    /// A file at `path` in the appliance, with mode 0644 and owner 0:0.
    pub fn new(path: impl Into<String>, content: InjectedContent) -> Self {
        Self { path: path.into(), content, mode: 0o644, owner: Ids::ROOT }
    }

    /// Sets [`mode`](Self::mode).
    #[must_use]
    pub fn with_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets [`owner`](Self::owner).
    #[must_use]
    pub fn with_owner(mut self, owner: Ids) -> Self {
        self.owner = owner;
        self
    }
}

/// What is in a file that is put into the appliance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum InjectedContent {
    /// This text.
    #[serde(rename = "content")]
    Inline(String),
    /// What this file of the building machine holds.
    #[serde(rename = "source")]
    File(PathBuf),
}

/// The section `template`: how CloudStack is told of the appliance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TemplateConfig {
    /// The zone's id.
    pub zoneid: Option<String>,
    /// CloudStack's name of the operating system: "CentOS 7".
    pub ostype: Option<String>,
    /// Where the appliance is uploaded to with HTTP PUT.
    pub upload_url: Option<Location>,
    /// Where CloudStack fetches it from.
    pub display_url: Option<Location>,
    /// The hypervisor: LXC, XenServer, KVM.
    pub hypervisor: Option<String>,
    /// The format of the appliance.
    pub format: Option<TemplateFormat>,
    /// Whether it needs hardware virtualisation.
    pub hvm: Option<bool>,
    /// Whether it has the script that sets passwords.
    pub passwordenabled: Option<bool>,
    /// Whether it is compressed and may be downloaded.
    pub isextractable: Option<bool>,
    /// Whether the version is in the name of the file that is uploaded;
    /// flockr had the key, and did not use it.
    pub versionate: Option<bool>,
}

/// The format of an appliance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TemplateFormat {
    /// A tar archive, for LXC.
    Tar,
    /// A disk image, for XenServer.
    Vhd,
    /// A disk image in QEMU's format, for KVM.
    Qcow2,
    /// A disk image, byte for byte.
    Raw,
}

impl From<TemplateFormat> for ApplianceFormat {
    fn from(format: TemplateFormat) -> Self {
        match format {
            TemplateFormat::Tar => Self::Tar,
            TemplateFormat::Vhd => Self::Vhd,
            TemplateFormat::Qcow2 => Self::Qcow2,
            TemplateFormat::Raw => Self::Raw,
        }
    }
}

/// The section `deploy`: how nodes are made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeployConfig {
    /// The names of the nodes' security groups.
    pub security_groups: Vec<String>,
    /// The zone's id.
    pub zoneid: Option<String>,
    /// The name of the service offering.
    pub instance_size: Option<String>,
}

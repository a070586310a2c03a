//! Appliances: a base and its applications as one root file system in a file.
//!
//! Without any file, from code alone:
//!
//! ```
//! use flock_core::Context;
//! use flock_core::app::{ApplicationConfig, RepositoryType};
//! use flock_core::appliance::{self, BuildRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> flock_core::Result<()> {
//! # let home = tempfile::tempdir().unwrap();
//! # let here = home.path();
//! # for name in ["base/etc", "site"] {
//! #     std::fs::create_dir_all(here.join(name)).unwrap();
//! # }
//! # std::fs::write(here.join("site/index.html"), "hello").unwrap();
//! let site = ApplicationConfig::new(here.join("site"), RepositoryType::Tar, "/var/www/html");
//! let request = BuildRequest::new("shop", here.join("base"), here.join("shop.tar"))?
//! #   .with_cache_dir(here.join("cache"))
//!     .with_application(site);
//! let built = appliance::build(&Context::new(), &request).await?;
//! assert_eq!(built.output, here.join("shop.tar"));
//! # Ok(())
//! # }
//! ```
//!
//! A base from elsewhere is a [`Location`] too: `"oci://…".parse()?`. From an
//! application's `config.yaml` and the user's settings:
//!
//! ```
//! use flock_core::app::{App, AppConfig};
//! use flock_core::appliance::BuildRequest;
//! use flock_core::settings::{Places, Settings};
//!
//! # fn main() -> flock_core::Result<()> {
//! # let home = tempfile::tempdir().unwrap();
//! # let home = home.path();
//! let config = AppConfig::parse(
//!     "
//! build:
//!   base_url: base
//!   application_repository: site
//!   repository_type: TAR
//!   application_wwwroot: /var/www/html
//! ",
//!     "the shop's configuration",
//! )?;
//! let app = App::new("shop", home, config);
//! let places = Places::new(home, home.join("config"), home.join("cache"));
//! let settings = Settings::resolve(&places, [], |_variable| None)?;
//!
//! let request = BuildRequest::from_app(&app, &settings)?;
//! assert_eq!(request.output, home.join("shop.tar"));
//! # Ok(())
//! # }
//! ```

mod build;
mod check;
mod disk;
mod inject;
mod naming;
mod paths;
mod sources;

use std::mem::discriminant;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::app::{App, ApplicationConfig, DiskConfig, InjectConfig, InjectedContent};
use crate::cache::Cache;
use crate::image_builder::ApplianceFormat;
use crate::location::Location;
use crate::rootfs::checksum::Checksum;
use crate::rootfs::compress::Format;
use crate::rootfs::decompress::Limits;
use crate::settings::{DEFAULT_CACHE_MAX_AGE, Settings};
use crate::{Error, ErrorKind, Result};

pub use build::{build, build_to};
pub use check::MissingInput;
pub(crate) use naming::{file_name, named_format};

/// The most that may be in an appliance unless its configuration says
/// otherwise, in bytes before compression: 64 GiB.
pub const DEFAULT_MAX_SIZE: u64 = 64 << 30;

/// An appliance wanted: everything a build needs to know. Every path in it is
/// ready for use.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BuildRequest {
    /// The application's name.
    pub app: String,
    /// The base operating system.
    pub base: Location,
    /// The checksum it must have.
    pub base_checksum: Option<Checksum>,
    /// What is merged into it, in this order; empty builds the base alone.
    pub applications: Vec<ApplicationConfig>,
    /// Globs of paths in the appliance that are left out.
    pub exclude: Vec<String>,
    /// Files that are put in.
    pub inject: InjectConfig,
    /// The most that may be in it, in bytes before compression.
    pub max_size: u64,
    /// The most bytes that may come out of a compressed input for each one in
    /// it, see [`Limits::max_ratio`].
    pub max_ratio: u64,
    /// What it becomes: a tar archive or a disk.
    pub format: ApplianceFormat,
    /// What the disk is like, if it becomes one.
    pub disk: DiskConfig,
    /// How it is compressed.
    pub compression: Format,
    /// The file it becomes.
    #[serde(serialize_with = "lossy")]
    pub output: PathBuf,
    /// Whether a file that is there may be replaced.
    pub force: bool,
    /// The directory for downloads and unpacked bases.
    #[serde(serialize_with = "lossy")]
    pub cache_dir: PathBuf,
    /// How long a download may be used without asking its server.
    #[serde(skip)]
    pub cache_max_age: Duration,
    /// A PEM file of certificate authorities to trust besides the system's.
    #[serde(skip)]
    pub ca_file: Option<PathBuf>,
    /// A file with logins by host, as in
    /// `FetchOptions::credentials_file`.
    #[serde(skip)]
    pub credentials_file: Option<PathBuf>,
    /// How many threads compress, as far as the memory goes.
    pub threads: NonZeroUsize,
    /// The most bytes of memory that compressing may take, and that a
    /// compressed input may make its decoder take. `None` for the defaults of
    /// [`CompressionSettings`](crate::rootfs::compress::CompressionSettings)
    /// and [`Limits`].
    pub memory: Option<u64>,
    /// Whether the appliance is safe on the disk before it gets its name.
    /// Without it a loss of power, though not of the process, may leave an
    /// incomplete one.
    pub sync: bool,
    /// `SOURCE_DATE_EPOCH` in seconds, see
    /// [`TreeOptions`](crate::rootfs::TreeOptions).
    pub source_date_epoch: Option<i64>,
    /// The file that asks for it, which the output must not replace.
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// The output that follows from the application and the compression, as
    /// long as no other was asked for.
    #[serde(skip)]
    derived_output: Option<PathBuf>,
    /// The compression as configured, as long as no other was asked for.
    #[serde(skip)]
    configured_compression: Option<Format>,
}

impl BuildRequest {
    /// The base alone, written to `output`, under the name `app` in messages.
    /// It is compressed as the output's name says, see
    /// [`BuildRequest::with_output`]; not at all if it says nothing. It is a
    /// tar unless [`BuildRequest::with_format`] asks for a disk: a name that
    /// says otherwise is refused.
    ///
    /// Nothing is left out or put in; at most [`DEFAULT_MAX_SIZE`]; a file
    /// that is there is not replaced; synced to the disk; as many threads as
    /// there are cores; the user's own cache ([`Cache::user`]), whose
    /// downloads are used for an hour without asking their server; no
    /// `SOURCE_DATE_EPOCH`. Relative paths are taken from the working
    /// directory.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the user has no home directory, where
    /// the cache would be.
    pub fn new(
        app: impl Into<String>,
        base: impl Into<Location>,
        output: impl Into<PathBuf>,
    ) -> Result<Self> {
        Ok(Self {
            app: app.into(),
            base: base.into(),
            base_checksum: None,
            applications: Vec::new(),
            exclude: Vec::new(),
            inject: InjectConfig::default(),
            max_size: DEFAULT_MAX_SIZE,
            max_ratio: Limits::default().max_ratio,
            format: ApplianceFormat::Tar,
            disk: DiskConfig::default(),
            compression: Format::None,
            output: PathBuf::new(),
            force: false,
            cache_dir: Cache::user()?.dir().to_path_buf(),
            cache_max_age: DEFAULT_CACHE_MAX_AGE,
            ca_file: None,
            credentials_file: None,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            memory: None,
            sync: true,
            source_date_epoch: None,
            config: None,
            derived_output: None,
            configured_compression: Some(Format::None),
        }
        .with_output(output))
    }

    /// What the configuration of `app` asks for, within `settings`. The
    /// appliance becomes `APP/APP.tar`, or `.tar.gz` or `.tar.zst`, as with
    /// flockr.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if something is missing in the
    /// configuration, with all that is in the message.
    pub fn from_app(app: &App, settings: &Settings) -> Result<Self> {
        let name = app.config_path().display().to_string();
        app.config.check_buildable(&name)?;
        let build = &app.config.build;
        let Some(base) = &build.base else {
            return Err(Error::new(ErrorKind::InvalidConfig, format!("{name} names no base")));
        };
        let here = app.directory.as_path();
        let compression = app.config.compression();
        let format = ApplianceFormat::Tar;
        let output = app.appliance_path(format);
        let applications = if build.deploy_app { build.applications.as_slice() } else { &[] };
        Ok(Self {
            app: app.name.clone(),
            base: location_within(base, here),
            base_checksum: build.base_checksum,
            applications: applications.iter().map(|one| application_within(one, here)).collect(),
            exclude: build.exclude.clone(),
            inject: inject_within(&build.inject, here),
            max_size: build.max_size.unwrap_or(DEFAULT_MAX_SIZE),
            max_ratio: build.max_ratio.unwrap_or(Limits::default().max_ratio),
            format,
            disk: build.disk.clone(),
            compression,
            derived_output: Some(output.clone()),
            output,
            force: false,
            cache_dir: settings.cache_dir.value.clone(),
            cache_max_age: settings.cache_max_age.value,
            ca_file: settings.ca_file.value.clone(),
            credentials_file: settings.credentials_file.value.clone(),
            threads: settings.threads.value,
            memory: settings.memory.value,
            sync: true,
            source_date_epoch: None,
            config: Some(app.config_path()),
            configured_compression: Some(compression),
        })
    }

    /// Sets [`base_checksum`](Self::base_checksum).
    #[must_use]
    pub fn with_base_checksum(mut self, checksum: Option<Checksum>) -> Self {
        self.base_checksum = checksum;
        self
    }

    /// Adds one more of the [`applications`](Self::applications).
    #[must_use]
    pub fn with_application(mut self, application: ApplicationConfig) -> Self {
        self.applications.push(application);
        self
    }

    /// Sets [`exclude`](Self::exclude).
    #[must_use]
    pub fn with_exclude(mut self, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.exclude = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`inject`](Self::inject).
    #[must_use]
    pub fn with_inject(mut self, inject: InjectConfig) -> Self {
        self.inject = inject;
        self
    }

    /// Sets [`max_ratio`](Self::max_ratio).
    #[must_use]
    pub fn with_max_ratio(mut self, ratio: u64) -> Self {
        self.max_ratio = ratio;
        self
    }

    /// Sets [`memory`](Self::memory).
    #[must_use]
    pub fn with_memory(mut self, bytes: Option<u64>) -> Self {
        self.memory = bytes;
        self
    }

    /// Sets [`max_size`](Self::max_size).
    #[must_use]
    pub fn with_max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// Sets [`compression`](Self::compression). The name of an output that
    /// nobody asked for follows it; one that was asked for, before or after,
    /// stays.
    #[must_use]
    pub fn with_compression(mut self, compression: Format) -> Self {
        self.compression = compression;
        self.configured_compression = None;
        self.follow()
    }

    /// Sets [`format`](Self::format). The name of an output that nobody asked
    /// for follows it; one that speaks of another format is refused by
    /// [`BuildRequest::check`].
    #[must_use]
    pub fn with_format(mut self, format: ApplianceFormat) -> Self {
        self.format = format;
        self.follow()
    }

    /// Sets [`disk`](Self::disk).
    #[must_use]
    pub fn with_disk(mut self, disk: DiskConfig) -> Self {
        self.disk = disk;
        self
    }

    /// Gives an output that nobody asked for the name of what is made.
    fn follow(mut self) -> Self {
        if let Some(derived) = self.derived_output.as_mut() {
            let follows = self.output == *derived;
            derived.set_file_name(file_name(&self.app, self.format, self.compression));
            if follows {
                self.output.clone_from(derived);
            }
        }
        self
    }

    /// Sets [`output`](Self::output). A compression that nobody asked for
    /// follows its name: none for `.tar`, gzip for `.gz` and `.tgz`, zstd for
    /// `.zst` and `.tzst`, with the configured level if it is configured; a
    /// name that says nothing leaves it as configured. One that was asked for,
    /// before or after, stays; a name that says otherwise is then refused by
    /// [`BuildRequest::check`].
    #[must_use]
    pub fn with_output(mut self, output: impl Into<PathBuf>) -> Self {
        self.output = output.into();
        self.derived_output = None;
        if let Some(configured) = self.configured_compression {
            // What flock cannot write is for the check to refuse.
            let named = Format::from_file_name(&self.output).ok().flatten();
            self.compression = named
                .filter(|named| discriminant(named) != discriminant(&configured))
                .unwrap_or(configured);
        }
        self
    }

    /// Sets [`force`](Self::force).
    #[must_use]
    pub fn with_force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Sets [`cache_dir`](Self::cache_dir).
    #[must_use]
    pub fn with_cache_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache_dir = directory.into();
        self
    }

    /// Sets [`ca_file`](Self::ca_file).
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Sets [`credentials_file`](Self::credentials_file).
    #[must_use]
    pub fn with_credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials_file = Some(path.into());
        self
    }

    /// Sets [`cache_max_age`](Self::cache_max_age).
    #[must_use]
    pub fn with_cache_max_age(mut self, age: Duration) -> Self {
        self.cache_max_age = age;
        self
    }

    /// Sets [`threads`](Self::threads).
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets [`sync`](Self::sync).
    #[must_use]
    pub fn with_sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Sets [`source_date_epoch`](Self::source_date_epoch).
    #[must_use]
    pub fn with_source_date_epoch(mut self, seconds: Option<i64>) -> Self {
        self.source_date_epoch = seconds;
        self
    }
}

fn location_within(location: &Location, directory: &Path) -> Location {
    match location.within(directory) {
        Location::Path(path) => Location::Path(paths::tidy(&path)),
        other => other,
    }
}

fn application_within(application: &ApplicationConfig, directory: &Path) -> ApplicationConfig {
    ApplicationConfig {
        repository: location_within(&application.repository, directory),
        ..application.clone()
    }
}

fn inject_within(inject: &InjectConfig, directory: &Path) -> InjectConfig {
    let mut inject = inject.clone();
    for content in inject.contents_mut() {
        if let InjectedContent::File(path) = content {
            *path = paths::tidy(&directory.join(&*path));
        }
    }
    inject
}

/// JSON has no bytes, and a build must not fail for the name of its output.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// An appliance that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Built {
    /// The file. In JSON, U+FFFD stands for what is not UTF-8 in it.
    #[serde(serialize_with = "lossy")]
    pub output: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// The number of entries in it.
    pub entries: u64,
    /// What it is.
    pub format: ApplianceFormat,
    /// How it is compressed.
    pub compression: Format,
}

impl Built {
    /// A tar archive of that many bytes and entries.
    pub fn new(output: impl Into<PathBuf>, size: u64, entries: u64, compression: Format) -> Self {
        let format = ApplianceFormat::Tar;
        Self { output: output.into(), size, entries, format, compression }
    }

    /// Sets [`format`](Self::format).
    #[must_use]
    pub fn with_format(mut self, format: ApplianceFormat) -> Self {
        self.format = format;
        self
    }
}

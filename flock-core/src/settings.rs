//! flock's own settings, each with the place it came from.
//!
//! The first of these that gives a value decides: a flag, the environment, the
//! project's `flock.yaml`, the user's `flock.yaml`, the default. A relative
//! path is taken from the directory of the file it stands in, or from the
//! working directory.
//!
//! ```
//! use flock_core::settings::{Places, Settings, ValueSource};
//!
//! let places = Places::new("/srv/project", "/home/me/.config/flock", "/home/me/.cache/flock");
//! let flags = [("threads", "4")];
//! let settings = Settings::resolve(&places, flags, |_variable| None)?;
//! assert_eq!(settings.threads.value.get(), 4);
//! assert_eq!(settings.threads.source, ValueSource::Flag { name: "--threads" });
//! # Ok::<(), flock_core::Error>(())
//! ```

mod layers;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use etcetera::BaseStrategy as _;
use serde::{Serialize, Serializer};

use self::layers::Layers;
pub use self::values::parse_age;
use self::values::{age, color, count, memory, path, progress, some_path};
use crate::profile::{self, Profiles};
use crate::{Error, ErrorKind, Result};

/// The name of the settings file, in the project and in the user's directory.
pub const FILE_NAME: &str = "flock.yaml";

/// One of flock's settings: its names in files, on the command line and in the
/// environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// The key in `flock.yaml`.
    pub key: &'static str,
    /// The flag.
    pub flag: &'static str,
    /// The environment variable.
    pub variable: &'static str,
    /// What holds without any of them, in words.
    pub default: &'static str,
    /// What it is.
    pub what: &'static str,
}

/// Every setting. Help, `flock config show` and the documentation are made
/// from this list or tested against it.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "cache_dir",
        flag: "--cache-dir",
        variable: "FLOCK_CACHE_DIR",
        default: "`flock` in the user's cache directory",
        what: "Directory for downloads and unpacked bases",
    },
    Setting {
        key: "cache_max_age",
        flag: "--cache-max-age",
        variable: "FLOCK_CACHE_MAX_AGE",
        default: "`1h`",
        what: "How long a download may be used unasked: a number with s, m, h or d",
    },
    Setting {
        key: "ca_file",
        flag: "--ca-file",
        variable: "FLOCK_CA_FILE",
        default: "the system's authorities alone",
        what: "PEM file of certificate authorities to trust too",
    },
    Setting {
        key: "credentials_file",
        flag: "--credentials-file",
        variable: "FLOCK_CREDENTIALS_FILE",
        default: "for registries what `docker login` wrote",
        what: "File with logins by host, as docker's config.json",
    },
    Setting {
        key: "threads",
        flag: "--threads",
        variable: "FLOCK_THREADS",
        default: "one for each processor",
        what: "How many threads compress, as far as the memory goes",
    },
    Setting {
        key: "memory",
        flag: "--memory",
        variable: "FLOCK_MEMORY",
        default: "`96MiB` to compress, `128MiB` for what a compressed input needs",
        what: "Most memory for compression, and for what a compressed input needs",
    },
    Setting {
        key: "config",
        flag: "--config",
        variable: "FLOCK_CONFIG",
        default: "the first `flockr.yaml` in the usual places",
        what: "File with the profiles",
    },
    Setting {
        key: "profile",
        flag: "--profile",
        variable: "FLOCK_PROFILE",
        default: "`production`, or the only one",
        what: "Profile to use",
    },
    Setting {
        key: "color",
        flag: "--color",
        variable: "FLOCK_COLOR",
        default: "`auto`",
        what: "Colours: auto, always or never",
    },
    Setting {
        key: "progress",
        flag: "--progress",
        variable: "FLOCK_PROGRESS",
        default: "`auto`",
        what: "Progress: auto (bars on a terminal), json (lines on standard error) or none",
    },
];

/// Environment variables beside those of [`SETTINGS`], each with its meaning.
pub const OTHER_VARIABLES: &[(&str, &str)] = &[
    ("FLOCK_NO_PROGRESS", "Set to anything: as `FLOCK_PROGRESS=none`"),
    ("FLOCK_LOG", "What is logged to standard error, as in `flock_core=debug`"),
    ("NO_COLOR", "Set to anything: as `FLOCK_COLOR=never`, unless that is set"),
    (
        "SOURCE_DATE_EPOCH",
        "The newest time, in seconds since 1970, that anything in an appliance has; what flock itself puts in gets it",
    ),
];

/// How long a download is used without asking its server, unless a setting
/// says otherwise: an hour.
pub const DEFAULT_CACHE_MAX_AGE: Duration = Duration::from_secs(3600);

/// The least that the setting `memory` may be: 16 MiB. With less hardly any
/// compressed input could be read.
pub const MIN_MEMORY: u64 = 16 << 20;

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub source: ValueSource,
}

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum ValueSource {
    /// The command line.
    Flag {
        /// The flag.
        name: &'static str,
    },
    /// The environment.
    Env {
        /// The variable.
        name: &'static str,
    },
    /// A file of the project.
    Project {
        /// The file.
        path: PathBuf,
    },
    /// A file in the user's configuration directory.
    User {
        /// The file.
        path: PathBuf,
    },
    /// A file of the machine.
    System {
        /// The file.
        path: PathBuf,
    },
    /// Nothing else was given.
    Default,
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag { name } => write!(f, "flag {name}"),
            Self::Env { name } => write!(f, "variable {name}"),
            Self::Project { path } => write!(f, "project file {}", path.display()),
            Self::User { path } => write!(f, "user file {}", path.display()),
            Self::System { path } => write!(f, "system file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Where settings are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Places {
    /// The project's directory.
    pub project: PathBuf,
    /// flock's directory in the user's configuration.
    pub user: PathBuf,
    /// flock's directory in the user's cache.
    pub cache: PathBuf,
}

impl Places {
    /// These places.
    pub fn new(
        project: impl Into<PathBuf>,
        user: impl Into<PathBuf>,
        cache: impl Into<PathBuf>,
    ) -> Self {
        Self { project: project.into(), user: user.into(), cache: cache.into() }
    }

    /// The usual places of the user, by the XDG base directory specification,
    /// for a project in `project`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the user has no home directory.
    pub fn usual(project: impl Into<PathBuf>) -> Result<Self> {
        let base = etcetera::choose_base_strategy().map_err(|source| {
            Error::new(ErrorKind::InvalidConfig, "cannot tell where this user's files are")
                .hint("set HOME")
                .caused_by(source)
        })?;
        Ok(Self::new(project, base.config_dir().join("flock"), base.cache_dir().join("flock")))
    }
}

/// flock's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Settings {
    /// The directory for downloads and unpacked bases.
    pub cache_dir: Sourced<PathBuf>,
    /// How long a download may be used without asking its server.
    #[serde(serialize_with = "sourced_seconds")]
    pub cache_max_age: Sourced<Duration>,
    /// A PEM file of certificate authorities to trust besides the system's.
    pub ca_file: Sourced<Option<PathBuf>>,
    /// A file with logins by host.
    pub credentials_file: Sourced<Option<PathBuf>>,
    /// How many threads compress.
    pub threads: Sourced<NonZeroUsize>,
    /// The most memory, in bytes, that compressing may take, and that a
    /// compressed input may make its decoder take; `None` for the defaults of
    /// each.
    pub memory: Sourced<Option<u64>>,
    /// The file with the profiles, where one was named.
    pub config: Sourced<Option<PathBuf>>,
    /// The profile, where one was named.
    pub profile: Sourced<Option<String>>,
    /// When output is coloured.
    pub color: Sourced<ColorChoice>,
    /// How progress is shown.
    pub progress: Sourced<ProgressStyle>,
}

fn sourced_seconds<S: Serializer>(
    duration: &Sourced<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Sourced { value: duration.value.as_secs(), source: duration.source.clone() }
        .serialize(serializer)
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ColorChoice {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl fmt::Display for ColorChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProgressStyle {
    /// As bars, if standard error is a terminal.
    Auto,
    /// As lines of JSON on standard error.
    Json,
    /// Not at all.
    None,
}

impl fmt::Display for ProgressStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::None => "none",
        })
    }
}

impl Settings {
    /// Settles every setting. `flags` are pairs of a setting's key and its
    /// text; `variable` looks up the environment. Reads the two settings
    /// files, of which none needs to be there.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a text that is no value of its
    /// setting, naming where it came from; another if a file cannot be read.
    pub fn resolve<'a>(
        places: &Places,
        flags: impl IntoIterator<Item = (&'a str, &'a str)>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let layers = Layers {
            flags: flags.into_iter().map(|(key, text)| (key, text.to_owned())).collect(),
            variables: layers::variables(variable),
            files: vec![
                layers::file(&places.project.join(FILE_NAME), |path| ValueSource::Project {
                    path,
                })?,
                layers::file(&places.user.join(FILE_NAME), |path| ValueSource::User { path })?,
            ],
        };
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            cache_dir: layers.pick("cache_dir", path, || places.cache.clone())?,
            cache_max_age: layers.pick("cache_max_age", age, || DEFAULT_CACHE_MAX_AGE)?,
            ca_file: layers.pick("ca_file", some_path, || None)?,
            credentials_file: layers.pick("credentials_file", some_path, || None)?,
            threads: layers.pick("threads", count, || threads)?,
            memory: layers.pick("memory", memory, || None)?,
            config: layers.pick("config", some_path, || None)?,
            profile: layers.pick("profile", |text, _| Ok(Some(text.to_owned())), || None)?,
            color: layers.pick("color", color, || ColorChoice::Auto)?,
            progress: layers.pick("progress", progress, || ProgressStyle::Auto)?,
        })
    }

    /// The file with the profiles and what is in it: the one of the setting,
    /// or the first there is of the project's `flockr.yaml`, the user's, and
    /// `/etc/flockr/flockr.yaml`. `None` if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the file of the setting is not there; those
    /// of [`Profiles::load`].
    pub fn profiles(&self, places: &Places) -> Result<Option<(Sourced<PathBuf>, Profiles)>> {
        if let Some(path) = &self.config.value {
            let source = self.config.source.clone();
            let profiles = Profiles::load(path)?;
            return Ok(Some((Sourced { value: path.clone(), source }, profiles)));
        }
        let project = places.project.join(profile::FILE_NAME);
        let user = places.user.join(profile::FILE_NAME);
        let system = PathBuf::from(profile::SYSTEM_FILE);
        for (value, source) in [
            (project.clone(), ValueSource::Project { path: project }),
            (user.clone(), ValueSource::User { path: user }),
            (system.clone(), ValueSource::System { path: system }),
        ] {
            if value.try_exists().map_err(|error| Error::io("read", &value, error))? {
                let profiles = Profiles::load(&value)?;
                return Ok(Some((Sourced { value, source }, profiles)));
            }
        }
        Ok(None)
    }
}

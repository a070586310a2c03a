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

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy as _;
use serde::{Serialize, Serializer};

use crate::app::parse_size;
use crate::document::{self, Affects, Key, Reader};
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
            variables: variables(variable),
            files: vec![
                file(&places.project.join(FILE_NAME), |path| ValueSource::Project { path })?,
                file(&places.user.join(FILE_NAME), |path| ValueSource::User { path })?,
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

/// Everything that was given, as texts.
struct Layers<'a> {
    flags: HashMap<&'a str, String>,
    variables: HashMap<&'static str, (&'static str, String)>,
    files: Vec<HashMap<&'static str, Written>>,
}

/// A value as it stands in a file.
struct Written {
    text: String,
    source: ValueSource,
    directory: PathBuf,
}

impl Layers<'_> {
    /// The first value given for `key`, as `parse` understands it. `parse`
    /// also gets the directory that relative paths are taken from.
    fn pick<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str, &Path) -> Result<T, String>,
        default: impl FnOnce() -> T,
    ) -> Result<Sourced<T>> {
        let here = Path::new("");
        let flag = SETTINGS.iter().find(|setting| setting.key == key).map_or("", |s| s.flag);
        let given = if let Some(text) = self.flags.get(key) {
            Some((text, ValueSource::Flag { name: flag }, here, flag.to_owned()))
        } else if let Some((name, text)) = self.variables.get(key) {
            Some((text, ValueSource::Env { name }, here, (*name).to_owned()))
        } else {
            self.files.iter().find_map(|file| file.get(key)).map(|written| {
                let place = format!("{}: {key}", written.source);
                (&written.text, written.source.clone(), written.directory.as_path(), place)
            })
        };
        let Some((text, source, directory, place)) = given else {
            return Ok(Sourced { value: default(), source: ValueSource::Default });
        };
        match parse(text, directory) {
            Ok(value) => Ok(Sourced { value, source }),
            Err(why) => {
                let message = format!("{place}: {why}");
                Err(Error::new(ErrorKind::InvalidConfig, message).with("setting", key))
            }
        }
    }
}

/// What the environment gives; an empty variable gives nothing.
fn variables(
    lookup: impl Fn(&str) -> Option<String>,
) -> HashMap<&'static str, (&'static str, String)> {
    let set = |name: &str| lookup(name).filter(|text| !text.is_empty());
    let mut variables: HashMap<_, _> = SETTINGS
        .iter()
        .filter_map(|s| set(s.variable).map(|text| (s.key, (s.variable, text))))
        .collect();
    for (key, name, means) in
        [("color", "NO_COLOR", "never"), ("progress", "FLOCK_NO_PROGRESS", "none")]
    {
        if set(name).is_some() {
            variables.entry(key).or_insert((name, means.to_owned()));
        }
    }
    variables
}

const KEYS: &[Key] = &[
    Key::new("version"),
    Key::new("cache_dir"),
    Key::new("cache_max_age"),
    Key::new("ca_file"),
    Key::new("credentials_file"),
    Key::new("threads"),
    Key::new("memory"),
    Key::new("config"),
    Key::new("profile"),
    Key::new("color"),
    Key::new("progress"),
];

/// What a settings file gives; one that is not there gives nothing.
fn file(path: &Path, source: fn(PathBuf) -> ValueSource) -> Result<HashMap<&'static str, Written>> {
    let text = match document::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(error),
    };
    let name = path.display().to_string();
    let mut reader = Reader::default();
    let mut values = HashMap::new();
    if let Some(root) = reader.parse(&text) {
        let section = reader.section(&root, "", Affects::File, KEYS);
        reader.parsed(&section, "version", |text| match text {
            "1" => Ok(()),
            other => Err(format!("'{other}' is not a version of this format; this flock knows 1")),
        });
        let directory = path.parent().unwrap_or(Path::new(""));
        for setting in SETTINGS {
            let check = |text: &str| check(setting.key, text, directory).map(|()| text.to_owned());
            let Some(text) = reader.parsed(&section, setting.key, check) else { continue };
            let (source, directory) = (source(path.to_owned()), directory.to_owned());
            values.insert(setting.key, Written { text, source, directory });
        }
    }
    let problems = reader.into_problems();
    if problems.is_empty() { Ok(values) } else { Err(document::error(&name, &problems)) }
}

/// Whether a text is a value of the setting, so that a file's mistakes are
/// told at once, and also where a nearer layer gives the value.
fn check(key: &str, text: &str, directory: &Path) -> Result<(), String> {
    match key {
        "cache_dir" | "ca_file" | "credentials_file" | "config" => path(text, directory).map(drop),
        "cache_max_age" => age(text, directory).map(drop),
        "threads" => count(text, directory).map(drop),
        "memory" => memory(text, directory).map(drop),
        "color" => color(text, directory).map(drop),
        "progress" => progress(text, directory).map(drop),
        _ => Ok(()),
    }
}

fn path(text: &str, directory: &Path) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("an empty path".to_owned());
    }
    Ok(directory.join(text))
}

fn some_path(text: &str, directory: &Path) -> Result<Option<PathBuf>, String> {
    path(text, directory).map(Some)
}

fn count(text: &str, _: &Path) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number of threads"))
}

fn memory(text: &str, _: &Path) -> Result<Option<u64>, String> {
    match parse_size(text) {
        Ok(bytes) if bytes >= MIN_MEMORY => Ok(Some(bytes)),
        Ok(_) => Err(format!("'{text}' is too little memory: 16MiB is the least")),
        Err(_) => Err(format!("'{text}' is not an amount of memory, such as 512MiB or 2GiB")),
    }
}

fn age(text: &str, _: &Path) -> Result<Duration, String> {
    parse_age(text)
}

/// Reads an age as the settings have it: a number with `s`, `m`, `h` or `d`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not an age, such as 30d, 12h, 90m or 0s");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

fn color(text: &str, _: &Path) -> Result<ColorChoice, String> {
    match text {
        "auto" => Ok(ColorChoice::Auto),
        "always" => Ok(ColorChoice::Always),
        "never" => Ok(ColorChoice::Never),
        _ => Err(format!("'{text}' is none of auto, always and never")),
    }
}

fn progress(text: &str, _: &Path) -> Result<ProgressStyle, String> {
    match text {
        "auto" => Ok(ProgressStyle::Auto),
        "json" => Ok(ProgressStyle::Json),
        "none" => Ok(ProgressStyle::None),
        _ => Err(format!("'{text}' is none of auto, json and none")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new(project: &str, user: &str) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            for (directory, text) in [("project", project), ("user", user)] {
                let directory = home.0.path().join(directory);
                fs::create_dir(&directory).unwrap();
                if !text.is_empty() {
                    fs::write(directory.join(FILE_NAME), text).unwrap();
                }
            }
            home
        }

        fn places(&self) -> Places {
            let path = self.0.path();
            Places::new(path.join("project"), path.join("user"), path.join("cache"))
        }

        fn resolve(&self, flags: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Settings> {
            let variable = |name: &str| {
                env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            Settings::resolve(&self.places(), flags.iter().copied(), variable)
        }
    }

    #[test]
    fn the_nearest_layer_wins() {
        let home =
            Home::new("threads: 3\ncache_dir: t\n", "threads: 4\ncache_dir: u\ncolor: never\n");
        let flag = home.resolve(&[("threads", "1")], &[("FLOCK_THREADS", "2")]).unwrap();
        assert_eq!(
            (flag.threads.value.get(), &flag.threads.source),
            (1, &ValueSource::Flag { name: "--threads" })
        );
        let env = home.resolve(&[], &[("FLOCK_THREADS", "2")]).unwrap();
        assert_eq!(env.threads.source, ValueSource::Env { name: "FLOCK_THREADS" });
        let project = home.resolve(&[], &[("FLOCK_THREADS", "")]).unwrap();
        assert_eq!(project.threads.value.get(), 3);
        assert!(matches!(project.threads.source, ValueSource::Project { .. }));
        assert_eq!(project.cache_dir.value, home.0.path().join("project/t"));
        assert_eq!(project.color.value, ColorChoice::Never);
        assert!(matches!(project.color.source, ValueSource::User { .. }));
        assert_eq!(project.profile.source, ValueSource::Default);
        let plain = Home::new("", "");
        let default = plain.resolve(&[], &[]).unwrap().cache_dir;
        assert_eq!(
            (default.value, default.source),
            (plain.0.path().join("cache"), ValueSource::Default)
        );
    }

    #[test]
    fn a_wrong_value_names_its_place() {
        let home = Home::new("\nthreads: many\n", "");
        let error = home.resolve(&[], &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        let said = error.to_string();
        assert!(
            said.ends_with("flock.yaml:2:10: threads: 'many' is not a number of threads"),
            "{said}"
        );
        for (name, value) in [
            ("FLOCK_THREADS", "0"),
            ("FLOCK_MEMORY", "much"),
            ("FLOCK_MEMORY", "1MiB"),
            ("FLOCK_CACHE_MAX_AGE", "soon"),
            ("FLOCK_CACHE_MAX_AGE", "1é"),
            ("FLOCK_COLOR", "pink"),
            ("FLOCK_PROGRESS", "loud"),
        ] {
            let error = Home::new("", "").resolve(&[], &[(name, value)]).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
        let unknown = Home::new("", "cache_dri: x").resolve(&[], &[]).unwrap_err();
        assert_eq!(unknown.hints().next(), Some("did you mean 'cache_dir'?"));
        assert!(Home::new("version: 2", "").resolve(&[], &[]).is_err());
    }

    #[test]
    fn all_mistakes_of_a_file_are_told() {
        let home = Home::new("thread: 3\nprogress: sometimes\nmemory: much\n", "");
        let said = home.resolve(&[("progress", "none")], &[]).unwrap_err().to_string();
        for mistake in [
            ":1:1: unknown key 'thread'",
            ":2:11: progress: 'sometimes' is none of auto, json and none",
            ":3:9: memory: 'much' is not an amount of memory",
        ] {
            assert!(said.contains(mistake), "{said}");
        }
    }

    #[test]
    fn the_conventional_variables_count() {
        let home = Home::new("", "");
        let quiet = home.resolve(&[], &[("NO_COLOR", "1"), ("FLOCK_NO_PROGRESS", "1")]).unwrap();
        assert_eq!(quiet.color.value, ColorChoice::Never);
        assert_eq!(quiet.color.source, ValueSource::Env { name: "NO_COLOR" });
        assert_eq!(quiet.progress.value, ProgressStyle::None);
        let own = home.resolve(&[], &[("NO_COLOR", "1"), ("FLOCK_COLOR", "always")]).unwrap();
        assert_eq!(own.color.value, ColorChoice::Always);
    }

    #[test]
    fn profiles_come_from_the_nearest_file() {
        let home = Home::new("", "");
        let settings = home.resolve(&[], &[]).unwrap();
        let user = home.0.path().join("user").join(profile::FILE_NAME);
        fs::write(&user, "a: {apikey: u}").unwrap();
        let (from, _) = settings.profiles(&home.places()).unwrap().unwrap();
        assert_eq!(from.source, ValueSource::User { path: user });
        let project = home.0.path().join("project").join(profile::FILE_NAME);
        fs::write(&project, "a: {apikey: p}").unwrap();
        let (from, _) = settings.profiles(&home.places()).unwrap().unwrap();
        assert_eq!(from.value, project);
        let named = home.resolve(&[], &[("FLOCK_CONFIG", "/nowhere/flockr.yaml")]).unwrap();
        let error = named.profiles(&home.places()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn every_setting_is_a_key_and_is_documented() {
        let keys: Vec<_> = KEYS.iter().skip(1).map(|key| key.name).collect();
        let settings: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        assert_eq!(keys, settings);

        let docs = include_str!("../../docs/configuration.md");
        for Setting { key, flag, variable, default, what } in SETTINGS {
            let row = format!("| `{key}` | `{flag}` | `{variable}` | {default} | {what} |\n");
            assert!(docs.contains(&row), "docs/configuration.md lacks this row:\n{row}");
        }
        for (name, what) in OTHER_VARIABLES {
            let row = format!("| `{name}` | {what} |\n");
            assert!(docs.contains(&row), "docs/configuration.md lacks this row:\n{row}");
        }
    }
}

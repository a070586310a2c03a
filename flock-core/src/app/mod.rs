//! Applications: a directory each, with a `config.yaml` that says what the
//! appliance is made of.
//!
//! The file is flockr's, unchanged, with new keys that are all optional. Paths
//! in it that are relative are taken from the application's directory.
//!
//! ```
//! use flock_core::app::AppConfig;
//!
//! let text = "
//! build:
//!   base_url: oci://docker.io/debian:13-slim
//!   application_repository: https://example.org/site.git
//!   repository_type: GIT
//!   application_wwwroot: /var/www/html
//! ";
//! let config = AppConfig::parse(text, "web/config.yaml")?;
//! assert!(config.is_buildable());
//!
//! let error = AppConfig::parse("build: {base_ulr: x}", "web/config.yaml").unwrap_err();
//! assert_eq!(error.to_string(), "web/config.yaml:1:9: unknown key 'build.base_ulr'");
//! assert_eq!(error.hints().next(), Some("did you mean 'base_url'?"));
//! # Ok::<(), flock_core::Error>(())
//! ```

mod config;
mod create;
mod disk;
mod parse;
mod values;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::appliance::file_name;
use crate::document::{self, Problem};
use crate::image_builder::ApplianceFormat;
use crate::{Error, ErrorKind, Result};

pub use crate::location::Location;
pub use config::{
    AppConfig, ApplicationConfig, BaseFormat, BuildConfig, DeployConfig, InjectConfig,
    InjectedContent, InjectedFileConfig, RepositoryType, TemplateConfig, TemplateFormat,
};
pub use create::{NewApp, create};
pub use disk::{DiskConfig, VhdSubformat};
pub use values::{Ids, parse_size};

/// The name of an application's configuration file.
pub const CONFIG_FILE: &str = "config.yaml";

impl AppConfig {
    /// Parses the text of a `config.yaml`. `name` stands for the file in
    /// errors. Placeholders and missing keys are no errors here; see
    /// [`AppConfig::unfinished`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`], with every problem in its message.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        parse::parse(text).map_err(|problems| document::error(name, &in_the_way(problems)))
    }

    /// Reads and parses a `config.yaml`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; [`ErrorKind::InvalidConfig`]
    /// as from [`AppConfig::parse`]; another if it cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(&document::read(path)?, &path.display().to_string())
    }

    /// Everything that is wrong with a text, whatever it stands in the way of;
    /// empty for a `config.yaml` that is fit for every use.
    #[must_use]
    pub fn problems(text: &str) -> Vec<Problem> {
        match parse::parse(text) {
            Ok(config) => config.unfinished,
            Err(problems) => problems,
        }
    }

    /// As [`AppConfig::problems`], of a file.
    ///
    /// # Errors
    /// As of reading the file.
    pub fn load_problems(path: &Path) -> Result<Vec<Problem>> {
        Ok(Self::problems(&document::read(path)?))
    }

    /// Fails if something stands in the way of a build; `name` stands for the
    /// file in the error.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`], with every such problem in its message.
    pub fn check_buildable(&self, name: &str) -> Result<()> {
        if self.is_buildable() {
            return Ok(());
        }
        let build = |problem: &&Problem| problem.affects == document::Affects::Build;
        let problems: Vec<_> = self.unfinished.iter().filter(build).cloned().collect();
        Err(document::error(name, &problems))
    }
}

/// Of the problems of a file that cannot be understood, those that make it so.
fn in_the_way(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.retain(|problem| problem.affects == document::Affects::File);
    problems
}

/// An application on this machine: its name, its directory, its configuration.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct App {
    /// Its name, which is that of its directory.
    pub name: String,
    /// Its directory.
    pub directory: PathBuf,
    /// Its configuration.
    pub config: AppConfig,
}

impl App {
    /// An application that need not stand in a file. Relative paths of its
    /// configuration are taken from `directory`, where its appliance goes too.
    pub fn new(name: impl Into<String>, directory: impl Into<PathBuf>, config: AppConfig) -> Self {
        Self { name: name.into(), directory: directory.into(), config }
    }

    /// Opens the application `name` of the directory `parent`. The name may
    /// also be a path, which is taken from there.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such application, with the
    /// nearest name in the hint; those of [`AppConfig::load`].
    pub fn open(parent: &Path, name: &str) -> Result<Self> {
        let (name, directory) = locate(parent, name)?;
        let config = AppConfig::load(&directory.join(CONFIG_FILE))?;
        Ok(Self { name, directory, config })
    }

    /// The path of its configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.directory.join(CONFIG_FILE)
    }

    /// Where a build puts the appliance of this format, unless it is told
    /// otherwise: `APP/APP.tar.gz`.
    #[must_use]
    pub fn appliance_path(&self, format: ApplianceFormat) -> PathBuf {
        self.directory.join(file_name(&self.name, format, self.config.compression()))
    }
}

/// The name and the directory of the application `name` in `parent`, whatever
/// the state of its configuration.
///
/// # Errors
/// [`ErrorKind::NotFound`] if there is none; [`ErrorKind::InvalidConfig`] for
/// a path without a name, such as `..`.
pub fn locate(parent: &Path, name: &str) -> Result<(String, PathBuf)> {
    let directory = parent.join(name);
    let config = directory.join(CONFIG_FILE);
    let there = config.try_exists().map_err(|source| Error::io("read", &config, source))?;
    if !there {
        return Err(no_such_app(parent, name));
    }
    let resolved =
        directory.canonicalize().map_err(|source| Error::io("read", &directory, source))?;
    match resolved.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok((name.to_owned(), directory)),
        None => {
            let message = format!("the directory {} has no name to build by", resolved.display());
            Err(Error::new(ErrorKind::InvalidConfig, message))
        }
    }
}

fn no_such_app(parent: &Path, name: &str) -> Error {
    let config = parent.join(name).join(CONFIG_FILE);
    let message = format!("no application '{name}': {} is not there", config.display());
    let error = Error::new(ErrorKind::NotFound, message).with("app", name);
    let known = list(parent).unwrap_or_default();
    match document::nearest(name, known.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint("an application is a directory with a config.yaml in it"),
    }
}

/// The names of the applications in `parent`, sorted: its directories that
/// hold a `config.yaml`. An empty path is the working directory.
///
/// # Errors
/// As of reading the directory.
pub fn list(parent: &Path) -> Result<Vec<String>> {
    let parent = if parent == Path::new("") { Path::new(".") } else { parent };
    let failed = |source: io::Error| Error::io("read", parent, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(parent).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_app = entry.path().join(CONFIG_FILE).is_file();
        if let (true, Ok(name)) = (is_app, entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

//! What of flock works on this machine, and what to do about the rest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Access, access, statvfs};
use serde::Serialize;

use crate::Error;
use crate::profile::{self, Profile};
use crate::secret::SecretSource;
use crate::settings::{Places, Settings};

/// Less free space than this is worth a warning: 2 GiB.
const LITTLE_SPACE: u64 = 2 << 30;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What it is about: `git`, `cache directory`.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// What to do, where there is something to do.
    pub hint: Option<String>,
}

/// How a [`Check`] came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// It works.
    Ok,
    /// Something that not everybody needs does not work, or soon may not.
    Warning,
    /// Nothing can be built like this.
    Broken,
}

impl Check {
    fn new(name: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self { name, state, detail: detail.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Looks at this machine with these settings. Changes nothing; runs
/// `git --version` and opens no connection. Blocks.
#[must_use]
pub fn examine(settings: &Settings, places: &Places) -> Vec<Check> {
    let cache = &settings.cache_dir.value;
    vec![
        git(),
        directory("cache directory", cache, "--cache-dir or FLOCK_CACHE_DIR"),
        space("cache space", cache),
        profiles(settings, places),
    ]
}

fn git() -> Check {
    const NAME: &str = "git";
    let output =
        Command::new("git").arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout);
            Check::new(NAME, State::Ok, version.trim())
        }
        Ok(output) => Check::new(NAME, State::Warning, format!("git fails: {}", output.status))
            .hint("reinstall git; applications of type GIT need it"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Check::new(NAME, State::Warning, "not installed")
                .hint("applications of type GIT need it; on Debian: apt-get install git")
        }
        Err(error) => Check::new(NAME, State::Warning, format!("git cannot be run: {error}"))
            .hint("applications of type GIT need it"),
    }
}

/// Whether flock can write there, or make it where it is not there yet.
fn directory(name: &'static str, path: &Path, setting: &str) -> Check {
    let shown = path.display();
    let elsewhere = format!("make it writable, or choose another with {setting}");
    let nearest = nearest_existing(path);
    let usable = fs::metadata(&nearest).is_ok_and(|metadata| metadata.is_dir())
        && access(&nearest, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    match (usable, nearest == path) {
        (true, true) => Check::new(name, State::Ok, format!("{shown} is writable")),
        (true, false) => Check::new(name, State::Ok, format!("{shown} will be made when needed")),
        (false, _) => {
            let detail =
                format!("{} is not a directory that this user can write to", nearest.display());
            Check::new(name, State::Broken, detail).hint(elsewhere)
        }
    }
}

fn space(name: &'static str, path: &Path) -> Check {
    let nearest = nearest_existing(path);
    match statvfs(&nearest) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let tenths = free / (1 << 30) * 10 + free % (1 << 30) * 10 / (1 << 30);
            let detail = format!("{}.{} GiB free at {}", tenths / 10, tenths % 10, path.display());
            if free >= LITTLE_SPACE {
                return Check::new(name, State::Ok, detail);
            }
            Check::new(name, State::Warning, detail)
                .hint("a base that arrives compressed is unpacked there; free some space")
        }
        Err(error) => {
            let error = io::Error::from(error);
            let detail = format!("cannot ask for the free space at {}: {error}", nearest.display());
            Check::new(name, State::Warning, detail)
        }
    }
}

/// The path itself, or the nearest directory above it that is there.
fn nearest_existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find(|ancestor| ancestor.exists()).map(Path::to_owned);
    match found {
        Some(found) if found == absolute => path.to_owned(),
        Some(found) => found,
        None => PathBuf::from("/"),
    }
}

fn profiles(settings: &Settings, places: &Places) -> Check {
    const NAME: &str = "profiles";
    let (file, profiles) = match settings.profiles(places) {
        Ok(Some(found)) => found,
        Ok(None) => {
            return Check::new(
                NAME,
                State::Ok,
                format!("no {}; none is needed to build", profile::FILE_NAME),
            );
        }
        Err(error) => return warning(NAME, &error),
    };
    // One that was asked for must be there.
    let wanted = settings.profile.value.as_deref();
    if let Some(Err(error)) = wanted.map(|name| profiles.select(Some(name))) {
        return warning(NAME, &error);
    }
    let shown = file.value.display();
    let used = profiles.select(wanted).ok().and_then(unusable);
    match profile::exposure(&file.value, &profiles) {
        Ok(None) => match used {
            Some(why) => Check::new(NAME, State::Warning, format!("{shown}: {why}"))
                .hint("CloudStack needs it; a build does not"),
            None => Check::new(NAME, State::Ok, format!("{} in {shown}", profiles.profiles.len())),
        },
        Ok(Some(warning)) => Check::new(NAME, State::Warning, warning),
        Err(error) => warning(NAME, &error),
    }
}

/// What keeps a profile from being used.
fn unusable(profile: &Profile) -> Option<String> {
    let name = &profile.name;
    let missing = [
        ("apikey", profile.apikey.is_none()),
        ("url", profile.url.is_none()),
        ("secretkey", profile.secretkey.is_none()),
    ];
    let missing = missing.iter().filter(|(_, is_missing)| *is_missing);
    let missing: Vec<_> = missing.map(|(key, _)| format!("{name}.{key}")).collect();
    match &profile.secretkey {
        _ if !missing.is_empty() => Some(format!("{} not filled in", missing.join(", "))),
        Some(SecretSource::Env { env }) if std::env::var_os(env).is_none() => {
            Some(format!("{name}.secretkey: the variable {env} is not set"))
        }
        _ => None,
    }
}

fn warning(name: &'static str, error: &Error) -> Check {
    let check = Check::new(name, State::Warning, error.to_string());
    match error.hints().next() {
        Some(hint) => check.hint(hint),
        None => check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examined(cache: &Path) -> Vec<Check> {
        let places = Places::new("/nowhere", "/nowhere", cache);
        let settings = Settings::resolve(&places, [], |_| None).unwrap();
        examine(&settings, &places)
    }

    fn state(checks: &[Check], name: &str) -> State {
        checks.iter().find(|check| check.name == name).unwrap().state
    }

    #[test]
    fn it_changes_nothing_and_tells_what_is_broken() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join("a/b/cache");
        let good = examined(&cache);
        assert_eq!(state(&good, "cache directory"), State::Ok);
        assert!(!home.path().join("a").exists());

        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let bad = examined(&file.join("cache"));
        assert_eq!(state(&bad, "cache directory"), State::Broken);
        assert!(bad.iter().filter(|c| c.state == State::Broken).all(|c| c.hint.is_some()));
    }
}

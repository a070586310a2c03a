//! `flock config`.

use std::fmt::Display;
use std::path::PathBuf;

use flock_core::profile::{self, Profile, Profiles};
use flock_core::secret::SecretSource;
use flock_core::settings::{Settings, Sourced, ValueSource};
use serde::Serialize;

use super::Session;
use crate::cli::Config;
use crate::exit::Exit;
use crate::output::{Result, columns};

/// What `flock config show --json` prints.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    settings: &'a Settings,
    /// The file with the profiles, `null` if there is none.
    profiles: Option<Found<'a>>,
}

#[derive(Debug, Serialize)]
struct Found<'a> {
    path: &'a PathBuf,
    source: &'a ValueSource,
    /// The profile that is used, `null` if none can be told.
    selected: Option<&'a str>,
    profiles: &'a [Profile],
}

pub(crate) fn run(session: &Session, command: &Config) -> Result<Exit> {
    match command {
        Config::Show(_) => show(session),
    }
}

fn show(session: &Session) -> Result<Exit> {
    let settings = &session.settings;
    let found = settings.profiles(&session.places)?;
    if let Some((path, profiles)) = &found
        && let Some(warning) = profile::exposure(&path.value, profiles)?
    {
        session.printer.warning(&warning);
    }
    let selected = match &found {
        // A profile that was asked for must be there.
        Some((_, profiles)) if settings.profile.value.is_some() => {
            Some(profiles.select(settings.profile.value.as_deref())?)
        }
        Some((_, profiles)) => profiles.select(None).ok(),
        None => None,
    };
    let selected = selected.map(|profile| profile.name.as_str());
    let shown = Shown {
        settings,
        profiles: found.as_ref().map(|(path, profiles)| Found {
            path: &path.value,
            source: &path.source,
            selected,
            profiles: &profiles.profiles,
        }),
    };
    session.printer.result(shown, || text(settings, found.as_ref(), selected))?;
    Ok(Exit::Done)
}

fn text(
    settings: &Settings,
    found: Option<&(Sourced<PathBuf>, Profiles)>,
    selected: Option<&str>,
) -> String {
    let mut text = columns(&rows(settings), "");
    let Some((path, profiles)) = found else {
        text.push_str("\nno profiles\n");
        return text;
    };
    text.push_str(&format!("\nprofiles in {} ({})\n", path.value.display(), path.source));
    for profile in &profiles.profiles {
        let used = if selected == Some(profile.name.as_str()) { " (used)" } else { "" };
        text.push_str(&format!("  {}{used}\n", profile.name));
        text.push_str(&columns(&profile_rows(profile), "    "));
    }
    text
}

fn rows(settings: &Settings) -> Vec<(&'static str, String)> {
    fn row(value: &dyn Display, source: &ValueSource) -> String {
        format!("{value}  ({source})")
    }
    let s = settings;
    let age = format!("{} s", s.cache_max_age.value.as_secs());
    let memory = s.memory.value.map_or("-".to_owned(), |bytes| format!("{bytes} bytes"));
    let config = s.config.value.as_ref().map_or("-".to_owned(), |path| path.display().to_string());
    let path = |path: &Option<PathBuf>| {
        path.as_ref().map_or("-".to_owned(), |path| path.display().to_string())
    };
    let (ca, credentials) = (path(&s.ca_file.value), path(&s.credentials_file.value));
    let profile = s.profile.value.as_deref().unwrap_or("-");
    vec![
        ("cache_dir", row(&s.cache_dir.value.display(), &s.cache_dir.source)),
        ("cache_max_age", row(&age, &s.cache_max_age.source)),
        ("ca_file", row(&ca, &s.ca_file.source)),
        ("credentials_file", row(&credentials, &s.credentials_file.source)),
        ("threads", row(&s.threads.value, &s.threads.source)),
        ("memory", row(&memory, &s.memory.source)),
        ("config", row(&config, &s.config.source)),
        ("profile", row(&profile, &s.profile.source)),
        ("color", row(&s.color.value, &s.color.source)),
        ("progress", row(&s.progress.value, &s.progress.source)),
    ]
}

fn profile_rows(profile: &Profile) -> Vec<(&'static str, String)> {
    let missing = || "not filled in".to_owned();
    let default = || "-".to_owned();
    let ca_file = profile.ca_file.as_ref().map(|file| file.display().to_string());
    let secret = match &profile.secretkey {
        None => missing(),
        Some(SecretSource::File { file }) => format!("in the file {}", file.display()),
        Some(SecretSource::Env { env }) => format!("in the variable {env}"),
        Some(SecretSource::Command { command }) => {
            format!("from the command {}", command.first().map_or("", String::as_str))
        }
        Some(_) => "***".to_owned(),
    };
    vec![
        ("url", profile.url.as_ref().map_or_else(missing, ToString::to_string)),
        ("apikey", profile.apikey.clone().unwrap_or_else(missing)),
        ("secretkey", secret),
        ("expires", format!("{} s", profile.expires.as_secs())),
        ("timeout", format!("{} s", profile.timeout.as_secs())),
        ("request_timeout", format!("{} s", profile.request_timeout.as_secs())),
        ("verifysslcert", profile.verifysslcert.to_string()),
        ("ca_file", ca_file.unwrap_or_else(default)),
        ("http_get_only", profile.http_get_only.to_string()),
        ("namespace", profile.namespace.clone().unwrap_or_else(default)),
        ("max_concurrency", profile.max_concurrency.map_or_else(default, |n| n.to_string())),
        (
            "max_requests_per_second",
            profile.max_requests_per_second.map_or_else(default, |n| n.to_string()),
        ),
    ]
}

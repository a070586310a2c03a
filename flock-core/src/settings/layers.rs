//! What was given, where, and which of it counts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{SETTINGS, Sourced, ValueSource, values};
use crate::document::{self, Affects, Key, Reader};
use crate::{Error, ErrorKind, Result};

/// Everything that was given, as texts.
pub(super) struct Layers<'a> {
    pub(super) flags: HashMap<&'a str, String>,
    pub(super) variables: HashMap<&'static str, (&'static str, String)>,
    pub(super) files: Vec<HashMap<&'static str, Written>>,
}

/// A value as it stands in a file.
pub(super) struct Written {
    text: String,
    source: ValueSource,
    directory: PathBuf,
}

impl Layers<'_> {
    /// The first value given for `key`, as `parse` understands it. `parse`
    /// also gets the directory that relative paths are taken from.
    pub(super) fn pick<T>(
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
pub(super) fn variables(
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

pub(super) const KEYS: &[Key] = &[
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
pub(super) fn file(
    path: &Path,
    source: fn(PathBuf) -> ValueSource,
) -> Result<HashMap<&'static str, Written>> {
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
            let check =
                |text: &str| values::check(setting.key, text, directory).map(|()| text.to_owned());
            let Some(text) = reader.parsed(&section, setting.key, check) else { continue };
            let (source, directory) = (source(path.to_owned()), directory.to_owned());
            values.insert(setting.key, Written { text, source, directory });
        }
    }
    let problems = reader.into_problems();
    if problems.is_empty() { Ok(values) } else { Err(document::error(&name, &problems)) }
}

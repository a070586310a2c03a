//! Settings from every place.

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
    let home = Home::new("threads: 3\ncache_dir: t\n", "threads: 4\ncache_dir: u\ncolor: never\n");
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
    let keys: Vec<_> = layers::KEYS.iter().skip(1).map(|key| key.name).collect();
    let settings: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
    assert_eq!(keys, settings);

    let docs = include_str!("../../../docs/configuration.md");
    for Setting { key, flag, variable, default, what } in SETTINGS {
        let row = format!("| `{key}` | `{flag}` | `{variable}` | {default} | {what} |\n");
        assert!(docs.contains(&row), "docs/configuration.md lacks this row:\n{row}");
    }
    for (name, what) in OTHER_VARIABLES {
        let row = format!("| `{name}` | {what} |\n");
        assert!(docs.contains(&row), "docs/configuration.md lacks this row:\n{row}");
    }
}

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;

use crate::Place;

const PROFILES: &str = "\
production:
  apikey: abc
  url: https://cloud.example.org/client/api
  expires: 600
  secretkey: hush
  timeout: 3600
  verifysslcert: true
test:
  apikey: def
  url: https://test.example.org/client/api
  secretkey: {env: TEST_SECRET}
";

#[test]
fn show_names_every_source() {
    let place = Place::new();
    place.write("flock.yaml", "cache_dir: t\n");
    place.write("../home/.config/flock/flock.yaml", "cache_max_age: 2h\ncache_dir: u\n");
    let ran = place
        .command()
        .args(["config", "show", "--threads", "3"])
        .env("FLOCK_COLOR", "never")
        .output();
    let ran = crate::Ran::from(ran.unwrap(), place.root.path());
    assert_snapshot!(ran.all(), @"
    exit 0
    --- stdout
    cache_dir         t  (project file flock.yaml)
    cache_max_age     7200 s  (user file [ROOT]/home/.config/flock/flock.yaml)
    ca_file           -  (default)
    credentials_file  -  (default)
    threads           3  (flag --threads)
    memory            -  (default)
    config            -  (default)
    profile           -  (default)
    color             never  (variable FLOCK_COLOR)
    progress          auto  (default)

    no profiles
    --- stderr
    ");
}

#[test]
fn show_as_json_hides_the_secret() {
    let place = Place::new();
    place.write("flockr.yaml", PROFILES);
    fs::set_permissions(place.dir().join("flockr.yaml"), fs::Permissions::from_mode(0o600))
        .unwrap();
    let ran = place.flock(&["config", "show", "--json", "--threads", "2"]);
    assert_eq!(ran.stderr, "");
    assert!(!ran.stdout.contains("hush"));
    assert_snapshot!(ran.stdout, @r#"
    {
      "schema": 1,
      "settings": {
        "cache_dir": {
          "value": "[ROOT]/home/.cache/flock",
          "source": {
            "kind": "default"
          }
        },
        "cache_max_age": {
          "value": 3600,
          "source": {
            "kind": "default"
          }
        },
        "ca_file": {
          "value": null,
          "source": {
            "kind": "default"
          }
        },
        "credentials_file": {
          "value": null,
          "source": {
            "kind": "default"
          }
        },
        "threads": {
          "value": 2,
          "source": {
            "kind": "flag",
            "name": "--threads"
          }
        },
        "memory": {
          "value": null,
          "source": {
            "kind": "default"
          }
        },
        "config": {
          "value": null,
          "source": {
            "kind": "default"
          }
        },
        "profile": {
          "value": null,
          "source": {
            "kind": "default"
          }
        },
        "color": {
          "value": "auto",
          "source": {
            "kind": "default"
          }
        },
        "progress": {
          "value": "auto",
          "source": {
            "kind": "default"
          }
        }
      },
      "profiles": {
        "path": "flockr.yaml",
        "source": {
          "kind": "project",
          "path": "flockr.yaml"
        },
        "selected": "production",
        "profiles": [
          {
            "name": "production",
            "url": "https://cloud.example.org/client/api",
            "apikey": "abc",
            "secretkey": "***",
            "expires": 600,
            "timeout": 3600,
            "request_timeout": 60,
            "verifysslcert": true,
            "ca_file": null,
            "http_get_only": false,
            "namespace": null,
            "max_concurrency": null,
            "max_requests_per_second": null
          },
          {
            "name": "test",
            "url": "https://test.example.org/client/api",
            "apikey": "def",
            "secretkey": {
              "env": "TEST_SECRET"
            },
            "expires": 600,
            "timeout": 3600,
            "request_timeout": 60,
            "verifysslcert": true,
            "ca_file": null,
            "http_get_only": false,
            "namespace": null,
            "max_concurrency": null,
            "max_requests_per_second": null
          }
        ]
      }
    }
    "#);
}

#[test]
fn a_readable_secret_is_warned_of() {
    let place = Place::new();
    place.write("profiles.yaml", PROFILES);
    let path = place.dir().join("profiles.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = place.flock(&["config", "show", "--config", "profiles.yaml", "--profile", "test"]);
    assert_snapshot!(ran.stderr, @"warning: profiles.yaml holds a secret key and others may read it; `chmod 600 profiles.yaml` ends that");
    assert!(ran.stdout.contains("test (used)"), "{}", ran.stdout);
    assert!(ran.stdout.contains("***") && !ran.stdout.contains("hush"), "{}", ran.stdout);
    let missing = place.flock(&["config", "show", "--config", "profiles.yaml", "--profile", "x"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("the profiles there are production, test"));
}

#[test]
fn a_mistake_in_a_settings_file_is_located() {
    let place = Place::new();
    place.write("flock.yaml", "thraeds: 2\n");
    assert_snapshot!(place.flock(&["config", "show"]).all(), @"
    exit 2
    --- stdout
    --- stderr
    error: flock.yaml:1:1: unknown key 'thraeds'

    hint: did you mean 'threads'?
    ");
}

#[test]
fn doctor_tells_what_is_broken() {
    let place = Place::new();
    let good = place.flock(&["doctor", "--json"]);
    assert_eq!(good.code, 0);
    assert_eq!(good.json()["ok"], true);
    let names: Vec<_> = good.json()["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["git", "cache directory", "cache space", "profiles"]);
    let bad = place.flock(&["doctor", "--cache-dir", "/dev/null/cache"]);
    assert_eq!(bad.code, 1);
    assert!(
        bad.stdout.contains("broken   cache directory: /dev/null is not a directory"),
        "{}",
        bad.stdout
    );
    let no_git = place.command().arg("doctor").env("PATH", "/nonexistent").output().unwrap();
    let no_git = crate::Ran::from(no_git, place.root.path());
    assert_eq!(no_git.code, 0);
    assert!(no_git.stdout.contains("warning  git: not installed"), "{}", no_git.stdout);
}

#[test]
fn doctor_tells_of_a_profile_that_cannot_be_used() {
    let place = Place::new();
    let said = |profile: &str| {
        place.write("flockr.yaml", profile);
        place.flock(&["doctor"]).stdout
    };
    let unset = said("test: {apikey: a, url: https://example.org, secretkey: {env: NO_SUCH}}");
    let why = "warning  profiles: flockr.yaml: test.secretkey: the variable NO_SUCH is not set";
    assert!(unset.contains(why), "{unset}");
    let fresh =
        said("test: {apikey: your_api_key, url: https://example.org, secretkey: {env: HOME}}");
    assert!(fresh.contains("flockr.yaml: test.apikey not filled in"), "{fresh}");
    let good = said("test: {apikey: a, url: https://example.org, secretkey: {env: HOME}}");
    assert!(good.contains("ok       profiles: 1 in flockr.yaml"), "{good}");
}

/// Where they would change nothing they are not offered.
#[test]
fn profiles_are_for_the_commands_that_read_them() {
    let place = Place::new();
    place.write("profiles.yaml", "test: {apikey: a, url: https://example.org, secretkey: s}");
    for command in [&["config", "show"][..], &["doctor"]] {
        let with = |name| [command, &["--config", "profiles.yaml", "--profile", name]].concat();
        assert!(place.flock(&with("test")).stdout.contains("profiles.yaml"), "{command:?}");
        assert!(place.flock(&with("missing")).all().contains("no profile 'missing'"));
    }
    assert_eq!(place.flock(&["app", "list", "--profile", "test"]).code, 2);
    assert_eq!(place.flock(&["app", "list", "--config", "profiles.yaml"]).code, 2);
}

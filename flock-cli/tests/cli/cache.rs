//! `flock cache`.

use std::fs::{self, File, FileTimes};
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use flock_core::cache::{Cache, CacheKey};

use crate::Place;

/// The user's cache.
fn cache(place: &Place) -> Cache {
    Cache::at(place.root.path().join("home/.cache/flock"))
}

/// Puts one old download into the user's cache.
pub(crate) fn fill(place: &Place) {
    let key = CacheKey::sha256(&"ab".repeat(32)).unwrap();
    let cache = cache(place);
    let mut writer = cache.insert(&key).unwrap();
    writer.write_all(&[0; 1000]).unwrap();
    let path = writer.commit().unwrap();
    cache.set_origin(&key, "https://example.org/base.tar.xz").unwrap();
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let times = FileTimes::new().set_modified(made).set_accessed(made + Duration::from_secs(60));
    File::open(path).unwrap().set_times(times).unwrap();
}

#[test]
fn an_empty_cache_is_no_error() {
    let place = Place::new();
    for command in ["list", "prune"] {
        let ran = place.flock(&["cache", command]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.all());
        assert!(ran.stdout.contains("0 entries, 0 bytes"), "{}", ran.all());
    }
    assert!(!place.root.path().join("home/.cache").exists(), "looking makes nothing");
}

#[test]
fn what_is_kept_is_listed_and_removed_when_it_is_old() {
    let place = Place::new();
    fill(&place);
    let listed = place.flock(&["cache", "list"]);
    assert_eq!(listed.code, 0);
    assert!(listed.stdout.contains("1000 bytes  download"), "{}", listed.stdout);
    assert!(listed.stdout.contains("https://example.org/base.tar.xz"), "{}", listed.stdout);
    let young = place.flock(&["cache", "prune", "--older-than", "99999d"]);
    assert!(young.stdout.contains("removed 0 entries"), "{}", young.all());
    let told = place.flock(&["cache", "prune", "--dry-run"]);
    assert!(told.stdout.contains("would remove 1 entry, 1000 bytes"), "{}", told.all());
    let file = cache(&place).dir().join("files").join(format!("sha256-{}", "ab".repeat(32)));
    assert!(file.exists());
    let pruned = place.flock(&["cache", "prune", "--json"]).json();
    assert_eq!((&pruned["bytes"], &pruned["dry_run"]), (&1000.into(), &false.into()));
    assert!(!file.exists());
}

#[test]
fn what_a_running_build_uses_stays() {
    let place = Place::new();
    fill(&place);
    let user = cache(&place);
    let path = user.lookup(&CacheKey::sha256(&"ab".repeat(32)).unwrap()).unwrap().unwrap();
    let kept = place.flock(&["cache", "prune", "--older-than", "0s"]);
    assert!(kept.stdout.contains("1 more may be in use"), "{}", kept.all());
    assert!(path.exists());
    assert!(place.flock(&["cache", "list"]).stdout.contains("in use"));
    drop(user);
    place.flock(&["cache", "prune", "--older-than", "0s"]);
    assert!(!path.exists());
}

#[test]
fn a_wrong_age_is_a_wrong_command_line() {
    let place = Place::new();
    let ran = place.flock(&["cache", "prune", "--older-than", "soon"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("such as 30d"), "{}", ran.stderr);
    fs::write(place.dir().join("file"), "").unwrap();
    let ran = place.flock(&["cache", "list", "--cache-dir", "file"]);
    assert_eq!(ran.code, 2, "{}", ran.all());
}

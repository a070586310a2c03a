use std::fs::{self, File, FileTimes};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::files::list;
use super::*;

fn cache() -> (tempfile::TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache"));
    (dir, cache)
}

fn key(name: &str) -> CacheKey {
    CacheKey::derived("test", &[name])
}

fn put(cache: &Cache, name: &str, content: &[u8]) -> PathBuf {
    let mut writer = cache.insert(&key(name)).unwrap();
    writer.write_all(content).unwrap();
    writer.commit().unwrap()
}

fn used_ago(path: &Path, ago: Duration) {
    let then = SystemTime::now() - ago;
    let times = FileTimes::new().set_accessed(then).set_modified(then);
    File::open(path).unwrap().set_times(times).unwrap();
}

#[test]
fn keys_are_safe_and_distinct() {
    let hex = "AB".repeat(32);
    assert_eq!(CacheKey::sha256(&hex).unwrap().as_str(), format!("sha256-{}", "ab".repeat(32)));
    for bad in ["", "../../etc/passwd", &"g".repeat(64), &"a".repeat(63)] {
        assert_eq!(CacheKey::sha256(bad).unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
    let keys = [
        CacheKey::derived("k", &["ab", "c"]),
        CacheKey::derived("k", &["a", "bc"]),
        CacheKey::derived("k", &["abc"]),
        CacheKey::derived("../k/", &["abc"]),
    ];
    for (i, key) in keys.iter().enumerate() {
        assert!(keys[..i].iter().all(|other| other != key));
        assert!(!key.as_str().contains(['/', '.']));
    }
}

#[test]
fn a_file_appears_with_commit_only() {
    let (_dir, cache) = cache();
    assert!(cache.lookup(&key("a")).unwrap().is_none());
    assert!(!cache.dir().exists(), "a lookup makes nothing");
    let mut writer = cache.insert(&key("a")).unwrap();
    writer.write_all(b"content").unwrap();
    assert!(cache.lookup(&key("a")).unwrap().is_none());
    let path = writer.commit().unwrap();
    assert_eq!(cache.lookup(&key("a")).unwrap(), Some(path.clone()));
    assert_eq!(fs::read(path).unwrap(), b"content");
    assert_eq!(cache.size().unwrap(), 7);
    cache.remove(&key("a")).unwrap();
    cache.remove(&key("a")).unwrap();
    assert!(cache.lookup(&key("a")).unwrap().is_none());
}

#[test]
fn a_dropped_writer_leaves_nothing_and_a_dead_one_is_cleaned_up() {
    let (_dir, cache) = cache();
    drop(cache.insert(&key("a")).unwrap());
    let tmp = cache.dir().join("tmp");
    assert_eq!(list(&tmp).unwrap().len(), 0);
    fs::write(tmp.join("dead"), b"of a killed process").unwrap();
    let live = cache.insert(&key("a")).unwrap();
    assert!(!tmp.join("dead").exists());
    let other = cache.insert(&key("b")).unwrap();
    assert!(live.path().exists() && other.path().exists());
    live.commit().unwrap();
}

#[cfg(unix)]
#[test]
fn only_the_user_may_enter() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, cache) = cache();
    let path = put(&cache, "a", b"x");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(cache.dir()), 0o700);
    assert_eq!(mode(&path), 0o400);
}

#[test]
fn a_partial_file_goes_on_where_it_stopped() {
    let (_dir, cache) = cache();
    let mut partial = cache.partial(&key("a")).unwrap();
    assert!(partial.is_empty());
    partial.set_note("etag-1").unwrap();
    assert_eq!(partial.note().unwrap(), None, "nothing that it could be about");
    partial.write_all(b"half ").unwrap();
    let busy = cache.partial(&key("a")).unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Conflict);
    drop(partial);
    assert!(cache.lookup(&key("a")).unwrap().is_none());

    let mut partial = cache.partial(&key("a")).unwrap();
    assert_eq!((partial.len(), partial.note().unwrap().as_deref()), (5, Some("etag-1")));
    partial.write_all(b"done").unwrap();
    let mut so_far = String::new();
    partial.reader().unwrap().read_to_string(&mut so_far).unwrap();
    assert_eq!(so_far, "half done");
    let path = partial.commit_as(&key("b")).unwrap();
    assert_eq!(cache.lookup(&key("b")).unwrap(), Some(path));
    assert_eq!(list(&cache.dir().join("partial")).unwrap().len(), 0);
}

#[test]
fn a_partial_file_can_begin_anew_or_be_discarded() {
    let (_dir, cache) = cache();
    let mut partial = cache.partial(&key("a")).unwrap();
    partial.write_all(b"wrong").unwrap();
    partial.restart().unwrap();
    partial.write_all(b"ok").unwrap();
    assert_eq!(fs::read(partial.commit().unwrap()).unwrap(), b"ok");
    let mut partial = cache.partial(&key("c")).unwrap();
    partial.write_all(b"wrong").unwrap();
    partial.discard().unwrap();
    assert!(cache.partial(&key("c")).unwrap().is_empty());
}

#[test]
fn a_lock_is_waited_for_until_the_context_ends() {
    let (_dir, cache) = cache();
    let held = cache.lock(&key("a"), &Context::new()).unwrap();
    let ctx = Context::new().with_timeout(Duration::from_millis(80));
    assert_eq!(cache.lock(&key("a"), &ctx).unwrap_err().kind(), ErrorKind::Timeout);
    cache.lock(&key("b"), &Context::new()).unwrap();
    let waiter = std::thread::spawn({
        let cache = cache.clone();
        move || cache.lock(&key("a"), &Context::new()).map(drop)
    });
    drop(held);
    waiter.join().unwrap().unwrap();
}

#[test]
fn one_of_many_makes_the_file() {
    let (_dir, cache) = cache();
    let made = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let _lock = cache.lock(&key("a"), &Context::new()).unwrap();
                if cache.lookup(&key("a")).unwrap().is_none() {
                    made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    put(&cache, "a", b"x");
                }
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
}

#[test]
fn prune_removes_what_was_not_used_lately() {
    let (_dir, cache) = cache();
    let day = Duration::from_secs(24 * 3600);
    let old = put(&cache, "old", b"12345");
    let used = put(&cache, "used", b"123");
    put(&cache, "new", b"1");
    for path in [&old, &used] {
        used_ago(path, 3 * day);
    }
    cache.lookup(&key("used")).unwrap().unwrap();
    let modified = fs::metadata(&used).unwrap().modified().unwrap();
    assert!(modified < SystemTime::now() - 2 * day, "a use does not change when it was made");
    let mut stopped = cache.partial(&key("stopped")).unwrap();
    stopped.write_all(b"12").unwrap();
    stopped.set_note("x").unwrap();
    drop(stopped);
    let running = cache.partial(&key("running")).unwrap();
    for name in ["stopped", "running"] {
        used_ago(&cache.path("partial", &key(name)), 3 * day);
    }
    let options = PruneOptions::default().with_unused_for(2 * day);
    let told = cache.prune(&options.with_dry_run(true), &Context::new()).unwrap();
    assert!(old.exists());
    let pruned = cache.prune(&options, &Context::new()).unwrap();
    assert_eq!(pruned, told);
    assert_eq!((pruned.entries.len(), pruned.bytes(), pruned.in_use), (2, 7, 1));
    assert!(!old.exists() && used.exists());
    running.commit().unwrap();
    assert_eq!(cache.size().unwrap(), 4);
    let nowhere = Cache::at("/nonexistent").prune(&options, &Context::new()).unwrap();
    assert_eq!(nowhere, Pruned::default());
}

#[test]
fn a_cache_below_a_file_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Cache::at(&file).insert(&key("a")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}

#[test]
fn what_is_in_use_stays_until_its_user_is_gone() {
    let (_dir, cache) = cache();
    let path = put(&cache, "a", b"12345");
    let other = Cache::at(cache.dir());
    let all = PruneOptions::default().with_unused_for(Duration::ZERO);
    assert_eq!(other.prune(&all, &Context::new()).unwrap().in_use, 1);
    assert!(other.entries(&Context::new()).unwrap()[0].in_use);
    let clone = cache.clone();
    drop(cache);
    other.prune(&all, &Context::new()).unwrap();
    assert!(path.exists(), "a clone still lives");
    used_ago(&path, Duration::from_secs(60));
    assert_eq!(clone.lookup(&key("a")).unwrap(), Some(path.clone()));
    other.prune(&all, &Context::new()).unwrap();
    assert!(path.exists(), "it was looked up");
    drop(clone);
    let pruned = other.prune(&all, &Context::new()).unwrap();
    assert_eq!((pruned.entries.len(), pruned.in_use), (1, 0));
    assert!(!path.exists());
}

#[test]
fn users_and_removals_do_not_get_in_each_others_way() {
    let (_dir, cache) = cache();
    let all = PruneOptions::default().with_unused_for(Duration::ZERO);
    let end = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(std::sync::atomic::Ordering::Relaxed) {
                Cache::at(cache.dir()).prune(&all, &Context::new()).unwrap();
            }
        });
        let users: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let user = Cache::at(cache.dir());
                        let path = match user.lookup(&key("a")).unwrap() {
                            Some(path) => path,
                            None => put(&user, "a", b"x"),
                        };
                        assert_eq!(fs::read(&path).unwrap(), b"x");
                    }
                })
            })
            .collect();
        let results: Vec<_> = users.into_iter().map(|user| user.join().is_ok()).collect();
        end.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(results, [true; 4]);
    });
}

#[test]
fn entries_tell_what_they_are_and_where_from() {
    let (_dir, cache) = cache();
    let sum = CacheKey::sha256(&"ab".repeat(32)).unwrap();
    let mut writer = cache.insert(&sum).unwrap();
    writer.write_all(b"12345").unwrap();
    writer.commit().unwrap();
    cache.set_origin(&sum, "https://example.org/base.tar").unwrap();
    let mut partial = cache.partial(&CacheKey::derived("download", &["x"])).unwrap();
    partial.write_all(b"123").unwrap();
    for (kind, bytes) in [("plain", 2), ("git-tar", 1)] {
        let mut writer = cache.insert(&CacheKey::derived(kind, &["x"])).unwrap();
        writer.write_all(&vec![0; bytes]).unwrap();
        writer.commit().unwrap();
    }
    cache.insert(&CacheKey::derived("url", &["x"])).unwrap().commit().unwrap();
    let entries = cache.entries(&Context::new()).unwrap();
    let kinds: Vec<_> = entries.iter().map(|entry| (entry.kind, entry.bytes)).collect();
    assert_eq!(
        kinds,
        [
            (EntryKind::Download, 5),
            (EntryKind::Partial, 3),
            (EntryKind::Plain, 2),
            (EntryKind::Git, 1),
            (EntryKind::Note, 0),
        ]
    );
    assert_eq!(entries[0].origin.as_deref(), Some("https://example.org/base.tar"));
    assert!(entries.iter().all(|entry| entry.in_use));
    drop((partial, entries));
    let dir = cache.dir().to_path_buf();
    drop(cache);
    let cache = Cache::at(&dir);
    let all = PruneOptions::default().with_unused_for(Duration::ZERO);
    assert_eq!(cache.prune(&all, &Context::new()).unwrap().bytes(), 11);
    for room in ["files", "partial", "origins", "users", "locks"] {
        assert_eq!(list(&dir.join(room)).unwrap().len(), 0, "{room}");
    }
}

#[test]
fn a_partial_file_is_cut_back() {
    let (_dir, cache) = cache();
    let mut partial = cache.partial(&key("a")).unwrap();
    partial.write_all(b"whole, torn").unwrap();
    partial.truncate(5).unwrap();
    partial.write_all(b"!").unwrap();
    assert_eq!(partial.len(), 6);
    assert_eq!(fs::read(partial.commit().unwrap()).unwrap(), b"whole!");
}

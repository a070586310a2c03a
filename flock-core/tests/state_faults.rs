//! The SQLite store with what can be wrong around it: damaged and foreign
//! files, no room, no permission, another process in the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use flock_core::conformance::{
    self, Failure, Outcome, Suite, ensure, expect_eq, expect_err, expect_some, service,
};
use flock_core::state::{
    Condition, Document, Key, Prefix, SqliteConfig, SqliteStore, StateStore, StateStoreExt,
};
use flock_core::{Context, Error, ErrorKind};
use tempfile::TempDir;

fn main() -> ExitCode {
    conformance::main([
        Suite::new("state::faults")
            .test("the_file_is_for_the_user_alone", permissions)
            .test("the_default_path_is_in_the_data_directory", default_path)
            .test("a_file_that_is_no_database_is_refused", no_database)
            .test("another_programs_database_is_refused", foreign)
            .test("a_newer_version_is_refused", newer)
            .test("a_directory_is_refused", directory)
            .test("a_damaged_file_is_an_error_and_never_a_panic", damaged)
            .test("another_process_in_the_way_is_waited_for", busy)
            .test("a_removed_file_is_noticed", removed)
            .test("odd_paths_are_paths", odd_paths)
            .test("ten_thousand_records_are_no_problem", many),
        Suite::new("state::faults_as_root")
            .with_service(service(
                "root",
                Tmpfs::mount("8m").map(drop).map_err(|error| error.to_string()),
            ))
            .test("a_full_disk_is_an_error_that_passes", full_disk)
            .test("a_read_only_disk_is_an_error", read_only),
    ])
}

fn place() -> Result<(TempDir, PathBuf), Failure> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("data").join("state.db");
    Ok((directory, path))
}

async fn open(path: &Path) -> flock_core::Result<SqliteStore> {
    let config = SqliteConfig::at(path).with_wait(Duration::from_millis(300));
    SqliteStore::open(&Context::new(), config).await
}

async fn put(store: &SqliteStore, key: &str, value: &str) -> flock_core::Result<()> {
    let value = Document::of(value)?;
    store.put(&Context::new(), &Key::new(key)?, value, Condition::Any).await.map(drop)
}

/// What a person sees must name the file and say what to do.
fn helps(error: &Error, path: &Path) -> Outcome {
    ensure(error.to_string().contains(&path.display().to_string()), format!("no path: {error}"))?;
    ensure(error.hints().next().is_some(), format!("no hint: {error}"))
}

async fn permissions() -> Outcome {
    let (_directory, path) = place()?;
    let store = open(&path).await?;
    put(&store, "a", "b").await?;
    let mode = |path: &Path| fs::metadata(path).map(|file| file.permissions().mode() & 0o777);
    expect_eq(mode(expect_some(path.parent(), "parent")?)?, 0o700, "directory")?;
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        expect_eq(mode(&path.with_file_name(name))?, 0o600, name)?;
    }
    Ok(())
}

async fn default_path() -> Outcome {
    let path = SqliteConfig::default().location()?;
    ensure(path.ends_with("flock/state.db"), format!("the default is {}", path.display()))?;
    ensure(path.is_absolute(), format!("the default is {}", path.display()))
}

async fn no_database() -> Outcome {
    let (_directory, path) = place()?;
    fs::create_dir_all(expect_some(path.parent(), "parent")?)?;
    let html = "<!doctype html><title>404</title>".repeat(100);
    for content in [html.as_bytes(), &[0; 4096], b"x"] {
        fs::write(&path, content)?;
        let error = expect_err(open(&path).await, ErrorKind::InvalidData, "open")?;
        helps(&error, &path)?;
        ensure(fs::read(&path)? == content, "the file was changed")?;
    }
    Ok(())
}

async fn foreign() -> Outcome {
    let (directory, _) = place()?;
    let path = directory.path().join("photos.db");
    let photos = rusqlite::Connection::open(&path)?;
    photos.execute_batch("CREATE TABLE photos (name TEXT); INSERT INTO photos VALUES ('cat')")?;
    let error = expect_err(open(&path).await, ErrorKind::InvalidData, "open")?;
    helps(&error, &path)?;
    let mode: String = photos.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    expect_eq(mode.as_str(), "delete", "the other program's journal mode")
}

async fn newer() -> Outcome {
    let (_directory, path) = place()?;
    put(&open(&path).await?, "a", "b").await?;
    rusqlite::Connection::open(&path)?.execute_batch("PRAGMA user_version = 1000")?;
    let error = expect_err(open(&path).await, ErrorKind::Unsupported, "open")?;
    helps(&error, &path)
}

async fn directory() -> Outcome {
    let (directory, _) = place()?;
    let error = expect_err(open(directory.path()).await, ErrorKind::PermissionDenied, "open")?;
    helps(&error, directory.path())?;
    let below_a_file = directory.path().join("file").join("state.db");
    fs::write(directory.path().join("file"), "")?;
    ensure(open(&below_a_file).await.is_err(), "opened below a file")
}

/// Turns bytes over all over a store's file, one place at a time.
async fn damaged() -> Outcome {
    let (_directory, path) = place()?;
    let store = open(&path).await?;
    for n in 0..60 {
        put(&store, &format!("k/{n}"), &"x".repeat(300)).await?;
    }
    drop(store);
    let sound = fs::read(&path)?;
    let mut errors = 0;
    for step in 0..150_usize {
        let mut bytes = sound.clone();
        let start = step * 7919 % bytes.len();
        let end = bytes.len().min(start + 64);
        for byte in &mut bytes[start..end] {
            *byte = !*byte;
        }
        // Some are cut off as well.
        if step % 5 == 0 {
            bytes.truncate(start.max(1));
        }
        for name in ["state.db-wal", "state.db-shm"] {
            let _ = fs::remove_file(path.with_file_name(name));
        }
        fs::write(&path, bytes)?;
        if let Err(error) = use_it(&path).await {
            errors += 1;
            let known = [ErrorKind::InvalidData, ErrorKind::Unsupported, ErrorKind::Unavailable];
            ensure(known.contains(&error.kind()), format!("{error:?}"))?;
        }
    }
    ensure(errors > 20, format!("only {errors} damages of 150 were noticed"))
}

async fn use_it(path: &Path) -> flock_core::Result<()> {
    let ctx = Context::new();
    let store = open(path).await?;
    store.list(&ctx, &Prefix::all()).await?;
    put(&store, "k/7", "new").await?;
    store.get(&ctx, &Key::new("k/30")?).await?;
    store.acquire(&ctx, &Key::new("l")?, "me", Duration::from_secs(1)).await?;
    Ok(())
}

async fn busy() -> Outcome {
    let (_directory, path) = place()?;
    let wait = Duration::from_secs(1);
    let config = SqliteConfig::at(&path).with_wait(wait);
    let store = SqliteStore::open(&Context::new(), config).await?;
    let key = Key::new("a")?;
    let other = rusqlite::Connection::open(&path)?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    let value = Document::of("b")?;
    let put_with = async |ctx: &Context| store.put(ctx, &key, value.clone(), Condition::Any).await;

    let error = expect_err(put_with(&Context::new()).await, ErrorKind::Unavailable, "put")?;
    ensure(error.is_retryable(), "being busy passes")?;
    helps(&error, &path)?;

    let start = Instant::now();
    let brief = Context::new().with_timeout(Duration::from_millis(50));
    expect_err(put_with(&brief).await, ErrorKind::Timeout, "put")?;
    let cancelled = Context::new();
    let (outcome, ()) = tokio::join!(put_with(&cancelled), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancelled.cancel();
    });
    expect_err(outcome, ErrorKind::Cancelled, "put")?;
    ensure(start.elapsed() < wait, "a call outlives its context")?;

    // Reading goes on all the while.
    expect_eq(store.get(&Context::new(), &key).await?, None, "get")?;
    other.execute_batch("ROLLBACK")?;
    put_with(&Context::new()).await?;
    Ok(())
}

async fn removed() -> Outcome {
    let (_directory, path) = place()?;
    let store = open(&path).await?;
    put(&store, "a", "b").await?;
    fs::remove_file(&path)?;
    let error = expect_err(put(&store, "a", "c").await, ErrorKind::Unavailable, "put")?;
    helps(&error, &path)?;
    ensure(!error.is_retryable(), "trying again does not bring the file back")?;
    let again = open(&path).await?;
    expect_err(put(&store, "a", "c").await, ErrorKind::Unavailable, "put into the old file")?;
    put(&again, "a", "c").await?;
    Ok(())
}

async fn odd_paths() -> Outcome {
    let (directory, _) = place()?;
    for name in [":memory:", "file:x?mode=memory", "a b%20c", "ä☃", "-x", "'; DROP"] {
        let path = directory.path().join(name);
        put(&open(&path).await?, "a", "b").await?;
        ensure(path.is_file(), format!("no file {}", path.display()))?;
        let kept = open(&path).await?.get(&Context::new(), &Key::new("a")?).await?;
        ensure(kept.is_some(), format!("nothing kept in {}", path.display()))?;
    }
    Ok(())
}

async fn many() -> Outcome {
    let (_directory, path) = place()?;
    let store = open(&path).await?;
    let ctx = Context::new();
    for chunk in 0..100 {
        let mut transaction = flock_core::state::Transaction::new();
        for n in 0..100 {
            let key = Key::new(format!("nodes/{chunk:03}/{n:03}"))?;
            transaction = transaction.put(key, Document::of(&"x".repeat(200))?, Condition::Absent);
        }
        store.commit(&ctx, &transaction).await?;
    }
    let all = store.list(&ctx, &"nodes".parse()?).await?.records;
    expect_eq(all.len(), 10_000, "records")?;
    ensure(all.is_sorted_by(|a, b| a.key < b.key), "not sorted")?;
    let some = store.list(&ctx, &"nodes/042".parse()?).await?.records;
    expect_eq(some.len(), 100, "records below one")
}

/// A file system of its own, for as long as it lives.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount(size: &str) -> std::io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let options = format!("size={size},mode=0700");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(directory.path())
            .output()?;
        match mount.status.success() {
            true => Ok(Self(directory)),
            false => {
                Err(std::io::Error::other(String::from_utf8_lossy(&mount.stderr).trim().to_owned()))
            }
        }
    }

    fn remount(&self, options: &str) -> Outcome {
        let options = format!("remount,{options}");
        let mount = Command::new("mount").args(["-o", &options]).arg(self.0.path()).status()?;
        ensure(mount.success(), format!("cannot mount again with {options}"))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(self.0.path()).status();
    }
}

async fn full_disk() -> Outcome {
    let disk = Tmpfs::mount("8m")?;
    let path = disk.0.path().join("state.db");
    let store = open(&path).await?;
    put(&store, "first", "kept").await?;
    let big = "x".repeat(1_000_000);
    let mut kept = 0;
    let error = loop {
        match put(&store, &format!("big/{kept}"), &big).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        ensure(kept < 20, "more was kept than there is room for")?;
    };
    expect_eq(error.kind(), ErrorKind::QuotaExceeded, "kind")?;
    helps(&error, &path)?;

    let ctx = Context::new();
    let all = store.list(&ctx, &Prefix::all()).await?.records;
    expect_eq(all.len(), kept + 1, "records on the full disk")?;
    disk.remount("size=32m")?;
    put(&store, "big/next", &big).await?;
    drop(store);
    let all = open(&path).await?.list(&ctx, &Prefix::all()).await?.records;
    expect_eq(all.len(), kept + 2, "records once there is room")
}

async fn read_only() -> Outcome {
    let disk = Tmpfs::mount("8m")?;
    let path = disk.0.path().join("state.db");
    put(&open(&path).await?, "a", "b").await?;
    disk.remount("ro")?;
    let error = expect_err(open(&path).await, ErrorKind::PermissionDenied, "open")?;
    helps(&error, &path)?;
    let missing = disk.0.path().join("other").join("state.db");
    let error = expect_err(open(&missing).await, ErrorKind::PermissionDenied, "open a new one")?;
    ensure(error.context_value("path").is_some(), "the error has no path")
}

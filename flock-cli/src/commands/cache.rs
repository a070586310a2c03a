//! `flock cache`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use flock_core::Context;
use flock_core::cache::{Cache, CacheEntry, EntryKind, PruneOptions, Pruned};
use serde::Serialize;

use super::Session;

use crate::cli::{self, Prune};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::{Result, size};

/// What `flock cache list --json` prints.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    cache_dir: &'a Path,
    bytes: u64,
    entries: &'a [CacheEntry],
}

/// What `flock cache prune --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    cache_dir: &'a Path,
    dry_run: bool,
    bytes: u64,
    removed: &'a [CacheEntry],
    in_use: u64,
}

pub(crate) fn run(session: &Session, command: &cli::Cache) -> Result<Exit> {
    let cache = Cache::at(&session.settings.cache_dir.value);
    match command {
        cli::Cache::List => list(session, &cache),
        cli::Cache::Prune(command) => prune(session, &cache, command),
    }
}

fn list(session: &Session, cache: &Cache) -> Result<Exit> {
    let entries = blocking(cache, Cache::entries)?;
    let bytes = entries.iter().map(|entry| entry.bytes).sum();
    let listed = Listed { cache_dir: cache.dir(), bytes, entries: &entries };
    session.printer.result(listed, || {
        let count = entries.iter().filter(|entry| is_shown(entry)).count();
        let dir = cache.dir().display();
        format!("{}{}, {} in {dir}\n", table(&entries), counted(count), size(bytes))
    })?;
    Ok(Exit::Done)
}

fn prune(session: &Session, cache: &Cache, command: &Prune) -> Result<Exit> {
    let options =
        PruneOptions::default().with_unused_for(command.older_than).with_dry_run(command.dry_run);
    let pruned = blocking(cache, move |cache, ctx| cache.prune(&options, ctx))?;
    let report = Report {
        cache_dir: cache.dir(),
        dry_run: command.dry_run,
        bytes: pruned.bytes(),
        removed: &pruned.entries,
        in_use: pruned.in_use,
    };
    session.printer.result(report, || told(&pruned, command.dry_run))?;
    Ok(Exit::Done)
}

/// Runs blocking work so that Ctrl-C ends it.
fn blocking<T: Send + 'static>(
    cache: &Cache,
    work: impl FnOnce(&Cache, &Context) -> flock_core::Result<T> + Send + 'static,
) -> flock_core::Result<T> {
    let ctx = Context::new();
    let (cache, inner) = (cache.clone(), ctx.clone());
    interrupt::run(&ctx, async move {
        let ended = tokio::task::spawn_blocking(move || work(&cache, &inner)).await;
        ended.map_err(|source| {
            let message = "the work on the cache stopped in the middle";
            flock_core::Error::new(flock_core::ErrorKind::Unexpected, message).caused_by(source)
        })?
    })
}

fn told(pruned: &Pruned, dry_run: bool) -> String {
    let verb = if dry_run { "would remove" } else { "removed" };
    let count = pruned.entries.iter().filter(|entry| is_shown(entry)).count();
    let mut text = table(&pruned.entries);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{verb} {}, {}", counted(count), size(pruned.bytes()));
    if pruned.in_use > 0 {
        let _ = writeln!(text, "{} more may be in use and stay", pruned.in_use);
    }
    text
}

/// Notes are for flock alone; they count, but say nothing to a person.
fn is_shown(entry: &CacheEntry) -> bool {
    entry.kind != EntryKind::Note
}

fn counted(entries: usize) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
}

fn table(entries: &[CacheEntry]) -> String {
    let now = SystemTime::now();
    let mut text = String::new();
    for entry in entries.iter().filter(|entry| is_shown(entry)) {
        let age = |time| now.duration_since(time).unwrap_or_default();
        let used = if entry.in_use { "in use".to_owned() } else { ago(age(entry.used)) };
        let origin = entry.origin.as_deref().unwrap_or(&entry.key);
        let _ = writeln!(
            text,
            "{:>12}  {:8}  made {:>9}  used {:>9}  {origin}",
            size(entry.bytes),
            entry.kind.as_str(),
            ago(age(entry.made)),
            used,
        );
    }
    text
}

/// An age for a person: in its largest unit.
fn ago(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_readable() {
        for (seconds, text) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7_200, "2 h ago"),
            (86_400 * 3, "3 d ago"),
        ] {
            assert_eq!(ago(Duration::from_secs(seconds)), text);
        }
    }
}

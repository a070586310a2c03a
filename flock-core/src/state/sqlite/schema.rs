//! The database file: making it, opening it, and its tables.

use std::fs::{DirBuilder, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::InFile;
use crate::{Context, Error, ErrorKind, Result};

/// Marks the file as ours ("flok", in SQLite's header at offset 68).
const APPLICATION_ID: i64 = 0x666c_6f6b;

/// What brings the tables from each version, kept in `user_version`, to the
/// next. Entries are only ever added.
const MIGRATIONS: &[&str] = &["
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    revision INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    log_rows INTEGER NOT NULL,
    log_bytes INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (0, 0, 0, 0, 0);
CREATE TABLE records (
    key TEXT NOT NULL UNIQUE,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT,
    size INTEGER NOT NULL
) STRICT;
CREATE INDEX changes_by_revision ON changes (revision);
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    token INTEGER NOT NULL,
    ttl INTEGER NOT NULL,
    wall INTEGER NOT NULL,
    boot TEXT,
    since_boot INTEGER NOT NULL
) STRICT;
"];

/// Makes the file and its directory, for the user alone, where they are
/// missing. What exists keeps its permissions.
///
/// An existing file must not be opened here, not even to look at it: closing
/// it would drop the locks that other connections of this process have on it
/// (see "How To Corrupt An SQLite Database File", 2.2).
pub(super) fn create(path: &Path) -> Result<()> {
    // One at a time in this process, and always before opening: so nobody has
    // locks on a file yet when the one who made it closes it.
    static CREATING: Mutex<()> = Mutex::new(());
    let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory).map_err(|source| Error::io("make", directory, source))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => refuse_tiny(path),
        Err(source) => Err(Error::io("make the state store", path, source)),
    }
}

/// SQLite takes a file of one byte for an empty database, and would write over
/// it; all else that is no database, it refuses itself.
fn refuse_tiny(path: &Path) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 1) {
        let what = format!("{} is not a database", path.display());
        return Err(Error::new(ErrorKind::InvalidData, what)
            .in_backend("sqlite")
            .with("path", path.display().to_string())
            .hint("choose another path for the state store, or move the file away"));
    }
    Ok(())
}

/// Opens the file and brings its tables up to date. `wait` bounds the waiting
/// for other processes.
pub(super) fn open(ctx: &Context, path: &Path, wait: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).in_file(path)?;
    patient(&mut connection, ctx, wait).in_file(path)?;
    // SQLite does not ask the busy handler in every step of switching to the
    // write-ahead log, so those who open a new file at once must try again.
    let give_up = Instant::now() + wait;
    loop {
        match set_up(&mut connection, path) {
            Err(error) if error.is_retryable() && Instant::now() < give_up => {
                ctx.check()?;
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome.map(|()| connection),
        }
    }
}

/// Lets the connection wait for locks until the context ends, or for `wait`.
pub(super) fn patient(
    connection: &mut Connection,
    ctx: &Context,
    wait: Duration,
) -> rusqlite::Result<()> {
    let ctx = ctx.clone();
    let mut since = Instant::now();
    connection.busy_handler(Some(move |count: i32| {
        if count == 0 {
            since = Instant::now();
        }
        if ctx.check().is_err() || since.elapsed() >= wait {
            return false;
        }
        let pause = u64::try_from(count).unwrap_or_default().clamp(1, 10);
        std::thread::sleep(Duration::from_millis(pause));
        true
    }))
}

fn set_up(connection: &mut Connection, path: &Path) -> Result<()> {
    let pragma = |name: &str| -> Result<i64> {
        connection.pragma_query_value(None, name, |row| row.get(0)).in_file(path)
    };
    let (application, mut version) = (pragma("application_id")?, pragma("user_version")?);
    let newest = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if application != APPLICATION_ID {
        ensure_empty(connection, path)?;
        version = -1;
    }
    if version > newest {
        return Err(newer(path, version, newest));
    }
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .in_file(path)?;
    if mode != "wal" {
        let what = format!("the state store {} cannot have a write-ahead log", path.display());
        return Err(Error::new(ErrorKind::Unsupported, what)
            .in_backend("sqlite")
            .hint("choose a path on a local file system"));
    }
    configure(connection).in_file(path)?;
    if version < newest {
        migrate(connection, path)?;
    }
    Ok(())
}

/// `synchronous=FULL`: what was committed must survive a power cut. With
/// `NORMAL`, a write-ahead log may lose the last commits; an intent recorded
/// before a remote call would be gone while its effect is there, and a fencing
/// token could be given out twice. It costs one fsync(2) a commit.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    const LOG_FILE_LIMIT: i64 = 16 << 20;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_FILE_LIMIT, |_| Ok(()))
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).in_file(path)?;
    // Another process may have been faster.
    let version: usize = transaction
        .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        .in_file(path)
        .map(|version| usize::try_from(version).unwrap_or(0))?;
    for migration in MIGRATIONS.iter().skip(version) {
        transaction.execute_batch(migration).in_file(path)?;
    }
    let newest = version.max(MIGRATIONS.len());
    transaction.pragma_update(None, "user_version", newest.to_string()).in_file(path)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID).in_file(path)?;
    transaction.commit().in_file(path)
}

fn ensure_empty(connection: &Connection, path: &Path) -> Result<()> {
    // One statement sees one moment: another process may be making the tables.
    let foreign: i64 = connection
        .query_row(
            "SELECT count(*) FROM sqlite_schema
             WHERE (SELECT application_id FROM pragma_application_id) <> ?1",
            [APPLICATION_ID],
            |row| row.get(0),
        )
        .in_file(path)?;
    if foreign == 0 {
        return Ok(());
    }
    let what = format!("{} is the database of another program", path.display());
    Err(Error::new(ErrorKind::InvalidData, what)
        .in_backend("sqlite")
        .with("path", path.display().to_string())
        .hint("choose another path for the state store"))
}

fn newer(path: &Path, found: i64, known: i64) -> Error {
    let what = format!(
        "the state store {} is of version {found}, and this flock knows versions up to {known}",
        path.display()
    );
    Error::new(ErrorKind::Unsupported, what)
        .in_backend("sqlite")
        .with("path", path.display().to_string())
        .hint("a newer flock made it: use that one, or choose another path")
}

/// `flock/state.db` in the user's data directory.
pub(super) fn default_path() -> Result<PathBuf> {
    use etcetera::BaseStrategy;
    let strategy = etcetera::choose_base_strategy().map_err(|source| {
        Error::new(ErrorKind::InvalidConfig, "there is no home directory for the state store")
            .in_backend("sqlite")
            .hint("set HOME, or give the path of the state store")
            .caused_by(source)
    })?;
    Ok(strategy.data_dir().join("flock").join("state.db"))
}

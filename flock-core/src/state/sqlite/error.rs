//! What SQLite's errors are to flock.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::{Error, ErrorKind, Result};

/// Tags results of SQLite with the file they are about.
pub(super) trait InFile<T> {
    fn in_file(self, path: &Path) -> Result<T>;
}

impl<T> InFile<T> for rusqlite::Result<T> {
    fn in_file(self, path: &Path) -> Result<T> {
        self.map_err(|source| error(path, source))
    }
}

fn error(path: &Path, source: rusqlite::Error) -> Error {
    let (kind, what, hint) = meaning(&source);
    let mut error = Error::new(kind, format!("the state store {}: {what}", path.display()))
        .in_backend("sqlite")
        .with("path", path.display().to_string());
    if let Some(failure) = source.sqlite_error() {
        error = error.with("sqlite_code", failure.extended_code.to_string());
    }
    if let Some(hint) = hint {
        error = error.hint(hint);
    }
    error.caused_by(source)
}

/// The kind, the sentence and the advice.
fn meaning(source: &rusqlite::Error) -> (ErrorKind, &'static str, Option<&'static str>) {
    use rusqlite::Error as Sqlite;
    match source {
        Sqlite::FromSqlConversionFailure(..)
        | Sqlite::IntegralValueOutOfRange(..)
        | Sqlite::InvalidColumnType(..)
        | Sqlite::Utf8Error(..) => {
            return (ErrorKind::InvalidData, "it holds what flock never wrote", Some(CORRUPT));
        }
        _ => {}
    }
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            ErrorKind::Unavailable,
            "another process keeps it busy",
            Some("see which process has the file open, and whether it hangs"),
        ),
        Some(ErrorCode::DiskFull) => {
            (ErrorKind::QuotaExceeded, "there is no room to write", Some("free some space there"))
        }
        Some(ErrorCode::TooBig | ErrorCode::OutOfMemory) => {
            (ErrorKind::QuotaExceeded, "that is too big for it", None)
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => (
            ErrorKind::PermissionDenied,
            "it cannot be opened or written",
            Some("check who owns the file and its directory, or choose another path"),
        ),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (ErrorKind::InvalidData, "the file is damaged, or not a database", Some(CORRUPT))
        }
        Some(ErrorCode::SystemIoFailure) => (
            ErrorKind::Unavailable,
            "the disk failed to read or write",
            Some("see the system's log for what is wrong with the disk, and whether it is full"),
        ),
        Some(ErrorCode::FileLockingProtocolFailed | ErrorCode::NoLargeFileSupport) => (
            ErrorKind::Unsupported,
            "its file system cannot be used by several processes",
            Some("choose a path on a local file system"),
        ),
        _ => (ErrorKind::Unexpected, "SQLite refused", None),
    }
}

const CORRUPT: &str = "move the file away, with those named like it and ending in -wal and -shm, or put a backup \
     in its place; without a file, an empty store is made";

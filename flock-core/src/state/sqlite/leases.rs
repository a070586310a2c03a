//! Leases in the database.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::clock::{Clock, End};
use super::error::InFile;
use super::records::{Meta, revision};
use crate::Result;
use crate::state::{FencingToken, Key, Lease, LeaseInfo};

/// Takes the lease unless it is held; gives the token.
pub(super) fn acquire(
    connection: &mut Connection,
    path: &Path,
    name: &Key,
    holder: &str,
    ttl: Duration,
    clock: &Clock,
) -> Result<Option<FencingToken>> {
    let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate).in_file(path)?;
    if info(&sql, path, name, clock)?.is_some() {
        return Ok(None);
    }
    let mut meta = Meta::read(&sql).in_file(path)?;
    meta.revision += 1;
    meta.write(&sql).in_file(path)?;
    let end = clock.end_after(ttl);
    sql.execute(
        "INSERT OR REPLACE INTO leases (name, holder, token, ttl, wall, boot, since_boot)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![name.as_str(), holder, meta.revision, end.ttl, end.wall, end.boot, end.since_boot],
    )
    .in_file(path)?;
    sweep(&sql, path, clock)?;
    sql.commit().in_file(path)?;
    Ok(Some(FencingToken::new(revision(path, meta.revision)?.get())))
}

/// Renews the lease if it is held.
pub(super) fn renew(
    connection: &mut Connection,
    path: &Path,
    lease: &Lease,
    ttl: Duration,
    clock: &Clock,
) -> Result<()> {
    let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate).in_file(path)?;
    ensure_held(&sql, path, lease, clock)?;
    let end = clock.end_after(ttl);
    sql.execute(
        "UPDATE leases SET ttl = ?2, wall = ?3, boot = ?4, since_boot = ?5 WHERE name = ?1",
        params![lease.name.as_str(), end.ttl, end.wall, end.boot, end.since_boot],
    )
    .in_file(path)?;
    sql.commit().in_file(path)
}

/// Gives the lease back if it is this one.
pub(super) fn release(connection: &Connection, path: &Path, lease: &Lease) -> Result<()> {
    let token = i64::try_from(lease.token.get()).unwrap_or(i64::MAX);
    connection
        .execute(
            "DELETE FROM leases WHERE name = ?1 AND token = ?2",
            params![lease.name.as_str(), token],
        )
        .in_file(path)
        .map(drop)
}

/// Fails unless the lease is held.
pub(super) fn ensure_held(
    connection: &Connection,
    path: &Path,
    lease: &Lease,
    clock: &Clock,
) -> Result<()> {
    match info(connection, path, &lease.name, clock)? {
        Some(held) if held.token == lease.token => Ok(()),
        _ => Err(lease.lost().in_backend("sqlite")),
    }
}

/// Who holds the lease, if anybody does.
pub(super) fn info(
    connection: &Connection,
    path: &Path,
    name: &Key,
    clock: &Clock,
) -> Result<Option<LeaseInfo>> {
    let row: Option<(String, i64, End)> = connection
        .prepare_cached(
            "SELECT holder, token, ttl, wall, boot, since_boot FROM leases WHERE name = ?1",
        )
        .and_then(|mut select| {
            select
                .query_row([name.as_str()], |row| Ok((row.get(0)?, row.get(1)?, end(row, 2)?)))
                .optional()
        })
        .in_file(path)?;
    let Some((holder, token, end)) = row else { return Ok(None) };
    let remaining = clock.remaining(&end);
    if remaining.is_zero() {
        return Ok(None);
    }
    let token = FencingToken::new(revision(path, token)?.get());
    Ok(Some(LeaseInfo::new(holder, token, remaining)))
}

/// Forgets the leases that are over.
fn sweep(connection: &Connection, path: &Path, clock: &Clock) -> Result<()> {
    let all: Vec<(i64, End)> = connection
        .prepare_cached("SELECT token, ttl, wall, boot, since_boot FROM leases")
        .and_then(|mut select| {
            select.query_map([], |row| Ok((row.get(0)?, end(row, 1)?)))?.collect()
        })
        .in_file(path)?;
    let mut delete =
        connection.prepare_cached("DELETE FROM leases WHERE token = ?1").in_file(path)?;
    for (token, _) in all.iter().filter(|(_, end)| clock.remaining(end).is_zero()) {
        delete.execute([token]).in_file(path)?;
    }
    Ok(())
}

/// The columns from `first` on.
fn end(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<End> {
    Ok(End {
        ttl: row.get(first)?,
        wall: row.get(first + 1)?,
        boot: row.get(first + 2)?,
        since_boot: row.get(first + 3)?,
    })
}

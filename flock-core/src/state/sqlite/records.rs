//! Reading and writing records, and the log of changes for watches.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction as Sql, TransactionBehavior, params};

use super::clock::Clock;
use super::error::InFile;
use super::leases;
use crate::state::{
    Action, Changes, Document, Event, Key, Listing, LogLimits, Prefix, Record, Revision,
    Transaction, no_history,
};
use crate::{Error, ErrorKind, Result};

/// The one row of the table of that name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    pub(super) revision: i64,
    pub(super) dropped: i64,
    rows: i64,
    bytes: i64,
}

impl Meta {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        connection
            .prepare_cached("SELECT revision, dropped, log_rows, log_bytes FROM meta")?
            .query_row([], |row| {
                Ok(Self {
                    revision: row.get(0)?,
                    dropped: row.get(1)?,
                    rows: row.get(2)?,
                    bytes: row.get(3)?,
                })
            })
    }

    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "UPDATE meta SET revision = ?1, dropped = ?2, log_rows = ?3, log_bytes = ?4",
            )?
            .execute([self.revision, self.dropped, self.rows, self.bytes])
            .map(drop)
    }

    fn history(self, path: &Path, after: Revision) -> Result<()> {
        let (dropped, newest) = (revision(path, self.dropped)?, revision(path, self.revision)?);
        if after < dropped || after > newest {
            return Err(no_history(after, dropped, newest).in_backend("sqlite"));
        }
        Ok(())
    }
}

pub(super) fn get(connection: &Connection, path: &Path, key: &Key) -> Result<Option<Record>> {
    let row = connection
        .prepare_cached("SELECT key, value, revision FROM records WHERE key = ?1")
        .and_then(|mut select| select.query_row([key.as_str()], stored).optional())
        .in_file(path)?;
    row.map(|row| row.record(path)).transpose()
}

pub(super) fn list(connection: &mut Connection, path: &Path, prefix: &Prefix) -> Result<Listing> {
    // One transaction, so that the records and the revision belong together.
    let snapshot = connection.transaction().in_file(path)?;
    let meta = Meta::read(&snapshot).in_file(path)?;
    let rows: Vec<Stored> = snapshot
        .prepare_cached(
            "SELECT key, value, revision FROM records
             WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key",
        )
        .and_then(|mut select| {
            select.query_map(params![prefix.start(), prefix.end()], stored)?.collect()
        })
        .in_file(path)?;
    let records = rows.into_iter().map(|row| row.record(path)).collect::<Result<_>>()?;
    Ok(Listing::new(records, revision(path, meta.revision)?))
}

pub(super) fn commit(
    connection: &mut Connection,
    path: &Path,
    transaction: &Transaction,
    clock: &Clock,
    limits: LogLimits,
) -> Result<Revision> {
    let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate).in_file(path)?;
    if let Some(lease) = transaction.fence() {
        leases::ensure_held(&sql, path, lease, clock)?;
    }
    for write in transaction.writes() {
        let current = current(&sql, path, &write.key)?;
        if !write.condition.holds(current) {
            return Err(write.conflict(current).in_backend("sqlite"));
        }
    }
    let meta = apply(&sql, transaction, limits).in_file(path)?;
    sql.commit().in_file(path)?;
    revision(path, meta.revision)
}

fn current(sql: &Sql<'_>, path: &Path, key: &Key) -> Result<Option<Revision>> {
    let number: Option<i64> = sql
        .prepare_cached("SELECT revision FROM records WHERE key = ?1")
        .and_then(|mut select| select.query_row([key.as_str()], |row| row.get(0)).optional())
        .in_file(path)?;
    number.map(|number| revision(path, number)).transpose()
}

fn apply(sql: &Sql<'_>, transaction: &Transaction, limits: LogLimits) -> rusqlite::Result<Meta> {
    let mut meta = Meta::read(sql)?;
    let (next, mut changed) = (meta.revision + 1, false);
    for write in transaction.writes() {
        let (key, value) = match &write.action {
            Action::Put(value) => (write.key.as_str(), Some(value.as_str())),
            Action::Delete => (write.key.as_str(), None),
            Action::Check => continue,
        };
        let rows = match value {
            Some(value) => sql
                .prepare_cached(
                    "INSERT INTO records (key, value, revision) VALUES (?1, ?2, ?3)
                     ON CONFLICT (key) DO UPDATE SET value = ?2, revision = ?3",
                )?
                .execute(params![key, value, next])?,
            None => sql.prepare_cached("DELETE FROM records WHERE key = ?1")?.execute([key])?,
        };
        if rows > 0 {
            changed = true;
            let size = i64::try_from(key.len() + value.map_or(0, str::len)).unwrap_or(i64::MAX);
            log(sql, next, key, value, size)?;
            meta.rows += 1;
            meta.bytes += size;
        }
    }
    if changed {
        meta.revision = next;
        trim(sql, &mut meta, limits)?;
        meta.write(sql)?;
    }
    Ok(meta)
}

fn log(
    sql: &Sql<'_>,
    revision: i64,
    key: &str,
    value: Option<&str>,
    size: i64,
) -> rusqlite::Result<()> {
    sql.prepare_cached("INSERT INTO changes (revision, key, value, size) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![revision, key, value, size])
        .map(drop)
}

/// Drops the oldest changes when there are too many: down to three quarters of
/// the limits, so that it is not done for every commit.
fn trim(sql: &Sql<'_>, meta: &mut Meta, limits: LogLimits) -> rusqlite::Result<()> {
    let limit = |limit: usize| i64::try_from(limit).unwrap_or(i64::MAX);
    let (rows, bytes) = (limit(limits.changes), limit(limits.bytes));
    if meta.rows <= rows && meta.bytes <= bytes {
        return Ok(());
    }
    let mut oldest = sql.prepare_cached("SELECT revision, size FROM changes ORDER BY seq")?;
    let mut changes = oldest.query([])?;
    while let Some(change) = changes.next()? {
        let revision: i64 = change.get(0)?;
        let enough = meta.rows <= rows / 4 * 3 && meta.bytes <= bytes / 4 * 3;
        // Never a part of a transaction.
        if enough && revision != meta.dropped {
            break;
        }
        meta.dropped = revision;
        meta.rows -= 1;
        meta.bytes -= change.get::<_, i64>(1)?;
    }
    sql.prepare_cached("DELETE FROM changes WHERE revision <= ?1")?
        .execute([meta.dropped])
        .map(drop)
}

/// What a watch that has seen everything up to `after` gets next, and up to
/// where it has then seen everything.
pub(super) fn changes(
    connection: &mut Connection,
    path: &Path,
    prefix: &Prefix,
    after: Revision,
) -> Result<(Vec<Changes>, Revision)> {
    const ROWS: usize = 1000;
    const BYTES: usize = 4 << 20;
    let snapshot = connection.transaction().in_file(path)?;
    let meta = Meta::read(&snapshot).in_file(path)?;
    meta.history(path, after)?;
    let mut select = snapshot
        .prepare_cached(
            "SELECT key, value, revision FROM changes
             WHERE revision > ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3)
             ORDER BY revision, seq",
        )
        .in_file(path)?;
    let after = i64::try_from(after.get()).unwrap_or(i64::MAX);
    let mut rows = select.query(params![after, prefix.start(), prefix.end()]).in_file(path)?;
    let (mut all, mut count, mut bytes) = (Vec::<Changes>::new(), 0, 0);
    while let Some(row) = rows.next().in_file(path)? {
        let row = stored(row).in_file(path)?;
        let at = revision(path, row.revision)?;
        count += 1;
        bytes += row.value.as_ref().map_or(0, String::len);
        let event = row.event(path)?;
        match all.last_mut() {
            Some(last) if last.revision == at => last.events.push(event),
            Some(last) if count > ROWS || bytes > BYTES => {
                let seen = last.revision;
                return Ok((all, seen));
            }
            _ => all.push(Changes::new(at, vec![event])),
        }
    }
    Ok((all, revision(path, meta.revision)?))
}

/// Where a new watch starts.
pub(super) fn watch_start(
    connection: &Connection,
    path: &Path,
    after: Option<Revision>,
) -> Result<Revision> {
    let meta = Meta::read(connection).in_file(path)?;
    match after {
        Some(after) => meta.history(path, after).map(|()| after),
        None => revision(path, meta.revision),
    }
}

/// A row of `records` or `changes`.
struct Stored {
    key: String,
    value: Option<String>,
    revision: i64,
}

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored { key: row.get(0)?, value: row.get(1)?, revision: row.get(2)? })
}

impl Stored {
    fn record(self, path: &Path) -> Result<Record> {
        match self.event(path)? {
            Event::Put(record) => Ok(record),
            Event::Delete(key) => Err(foreign(path).with("key", key.as_str())),
        }
    }

    fn event(self, path: &Path) -> Result<Event> {
        let at = revision(path, self.revision)?;
        let key = Key::new(self.key).map_err(|error| foreign(path).caused_by(error))?;
        Ok(match self.value {
            Some(value) => Event::Put(Record::new(key, Document::stored(value), at)),
            None => Event::Delete(key),
        })
    }
}

pub(super) fn revision(path: &Path, number: i64) -> Result<Revision> {
    u64::try_from(number).map(Revision::new).map_err(|source| foreign(path).caused_by(source))
}

fn foreign(path: &Path) -> Error {
    let what = format!("the state store {} holds what flock never wrote", path.display());
    Error::new(ErrorKind::InvalidData, what)
        .in_backend("sqlite")
        .with("path", path.display().to_string())
        .hint("another program has changed the file: put a backup in its place")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Context;
    use crate::state::Condition;

    #[test]
    fn the_log_stays_within_its_limits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        super::super::schema::create(&path).unwrap();
        let wait = std::time::Duration::from_secs(1);
        let mut connection = super::super::schema::open(&Context::new(), &path, wait).unwrap();
        let limits = LogLimits { changes: 40, bytes: 5000 };
        let key = |n: usize| Key::new(format!("k/{}", n % 7)).unwrap();
        for n in 0..200 {
            let value = Document::of(&"x".repeat(n)).unwrap();
            let two = Transaction::new().put(key(n), value.clone(), Condition::Any).put(
                key(n + 1),
                value,
                Condition::Any,
            );
            commit(&mut connection, &path, &two, &Clock::new(), limits).unwrap();
            let meta = Meta::read(&connection).unwrap();
            let (rows, bytes, oldest): (i64, i64, i64) = connection
                .query_row("SELECT count(*), sum(size), min(revision) FROM changes", [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .unwrap();
            assert_eq!((rows, bytes), (meta.rows, meta.bytes));
            assert!(rows <= 40 && bytes <= 5000 && rows % 2 == 0, "{rows} rows, {bytes} bytes");
            assert_eq!(oldest, meta.dropped + 1);
        }
        let seen = changes(&mut connection, &path, &Prefix::all(), Revision::new(199)).unwrap();
        assert_eq!((seen.0.len(), seen.1), (1, Revision::new(200)));
        let gone = changes(&mut connection, &path, &Prefix::all(), Revision::new(100));
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

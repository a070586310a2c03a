//! The SQLite store under several real processes, some of them killed or
//! stopped in the middle. This program runs itself again as the workers.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flock_core::conformance::{self, Failure, Outcome, Suite, ensure, expect_eq, expect_some};
use flock_core::state::{
    Condition, Document, HeldLease, Key, Prefix, Revision, SqliteConfig, SqliteStore, StateRecord,
    StateStore, StateStoreExt, Transaction, lost_lease,
};
use flock_core::{Context, ErrorKind};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// Set for workers: what to do, the store's path, and the worker's name.
const WORKER: &str = "FLOCK_STATE_WORKER";

/// For leases that are let run out.
const LEASE: Duration = Duration::from_millis(500);

/// For leases that are not, however busy the machine.
const LONG_LEASE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if let Ok(job) = std::env::var(WORKER) {
        return worker_main(&job);
    }
    conformance::main([Suite::new("state::processes")
        .test("a_new_store_is_opened_by_many_at_once", opened_at_once)
        .test("no_update_is_lost", no_update_lost)
        .test("no_index_is_given_twice", no_index_twice)
        .test("a_watch_sees_what_another_process_writes", watched)
        .test("a_killed_writer_leaves_no_part_of_a_transaction", killed_writer)
        .test("a_killed_holder_is_succeeded_when_its_lease_ends", killed_holder)
        .test("a_holder_that_was_stopped_is_fenced_off", stopped_holder)
        .test("the_writes_of_competing_holders_never_interleave", competing_holders)])
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Count(u64);

impl StateRecord for Count {
    const VERSION: u32 = 1;
}

fn key(text: &str) -> flock_core::Result<Key> {
    Key::new(text)
}

async fn open(path: &Path) -> flock_core::Result<SqliteStore> {
    SqliteStore::open(&Context::new(), SqliteConfig::at(path)).await
}

fn worker_main(job: &str) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, name] = arguments.as_slice() else { return ExitCode::from(2) };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(work(job, Path::new(path), name)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "worker {job} {name}: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn work(job: &str, path: &Path, name: &str) -> Outcome {
    let store = open(path).await?;
    let ctx = Context::new();
    match job {
        "count" => count(&store, &ctx, 40).await,
        "index" => index(&store, &ctx, name).await,
        "pairs" => pairs(&store, &ctx, name).await,
        "hold" => hold(&store, &ctx, name).await,
        "lead" => lead(store, &ctx, name).await,
        other => Err(Failure::new(format!("no job '{other}'"))),
    }
}

fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

async fn count(store: &SqliteStore, ctx: &Context, times: u64) -> Outcome {
    for _ in 0..times {
        let add = |old: Option<Count>| Ok(Some(Count(old.map_or(0, |old| old.0) + 1)));
        store.update(ctx, &key("count")?, None, add).await?;
    }
    Ok(())
}

async fn index(store: &SqliteStore, ctx: &Context, name: &str) -> Outcome {
    let hosts = key("indexes/hosts")?;
    for n in 0..5 {
        let owner = format!("{name}-{n}");
        let index = store.index_pool(&hosts, 1000).allocate(ctx, &owner, None).await?;
        say(&index.to_string())?;
    }
    Ok(())
}

/// Writes two records that are always equal, until it is killed.
async fn pairs(store: &SqliteStore, ctx: &Context, name: &str) -> Outcome {
    let (a, b) = (key("pairs")?.child(name)?, key("twins")?.child(name)?);
    for n in 0_u64.. {
        let value = Document::of(&(n, "x".repeat(5000)))?;
        let pair = Transaction::new().put(a.clone(), value.clone(), Condition::Any);
        store.commit(ctx, &pair.put(b.clone(), value, Condition::Any)).await?;
        if n == 0 {
            say("writing")?;
        }
    }
    Ok(())
}

/// Takes the lease, says so, and writes under it for as long as it may.
async fn hold(store: &SqliteStore, ctx: &Context, name: &str) -> Outcome {
    let lease = store.acquire(ctx, &key("leader")?, name, LEASE).await?;
    let lease = expect_some(lease, "the lease")?;
    say(&lease.token.to_string())?;
    loop {
        let put = Transaction::new().put(key("led")?, Document::of(name)?, Condition::Any);
        match store.commit(ctx, &put.with_fence(&lease)).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) if lost_lease(&error).is_some() => return Ok(say("refused")?),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Leads a few times, each time writing its token some times.
async fn lead(store: SqliteStore, ctx: &Context, name: &str) -> Outcome {
    let store: Arc<dyn StateStore> = Arc::new(store);
    for _ in 0..4 {
        let (shared, leader) = (Arc::clone(&store), key("leader")?);
        let held = HeldLease::acquire_when_free(shared, ctx, &leader, name, LONG_LEASE).await?;
        let lease = held.lease();
        for _ in 0..5 {
            let write =
                Transaction::new().put(key("led")?, Document::of(&lease.token)?, Condition::Any);
            store.commit(held.context(), &write.with_fence(&lease)).await?;
        }
        held.release(ctx).await?;
    }
    Ok(())
}

struct Worker {
    process: Child,
    says: BufReader<ChildStdout>,
}

impl Worker {
    fn start(job: &str, path: &Path, name: &str) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(path)
            .arg(name)
            .env(WORKER, job)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let says = expect_some(process.stdout.take(), "the worker's output")?;
        Ok(Self { process, says: BufReader::new(says) })
    }

    /// The next line it says.
    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        ensure(!line.is_empty(), "the worker ended without a word")?;
        Ok(line.trim().to_owned())
    }

    /// Waits for its end, which must be a good one; gives the lines left.
    fn finish(mut self) -> Result<Vec<String>, Failure> {
        let lines = self.says.by_ref().lines().collect::<Result<_, _>>()?;
        let status = self.process.wait()?;
        ensure(status.success(), format!("the worker failed: {status}"))?;
        Ok(lines)
    }

    fn signal(&self, signal: Signal) -> Outcome {
        let id = Pid::from_raw(i32::try_from(self.process.id())?);
        Ok(kill_process(expect_some(id, "the worker's id")?, signal)?)
    }

    fn kill(mut self) -> Outcome {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A failing test must not leave a worker behind, stopped ones included.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn place() -> Result<(TempDir, PathBuf), Failure> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("data").join("state.db");
    Ok((directory, path))
}

fn start_many(job: &str, path: &Path, count: usize) -> Result<Vec<Worker>, Failure> {
    (0..count).map(|n| Worker::start(job, path, &format!("w{n}"))).collect()
}

fn sound(path: &Path) -> Outcome {
    let connection = rusqlite::Connection::open(path)?;
    let report: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    expect_eq(report.as_str(), "ok", "integrity_check")
}

async fn opened_at_once() -> Outcome {
    for _ in 0..3 {
        let (_directory, path) = place()?;
        for worker in start_many("index", &path, 6)? {
            worker.finish()?;
        }
        sound(&path)?;
    }
    Ok(())
}

async fn no_update_lost() -> Outcome {
    let (_directory, path) = place()?;
    for worker in start_many("count", &path, 5)? {
        worker.finish()?;
    }
    let count = open(&path).await?.load::<Count>(&Context::new(), &key("count")?).await?;
    expect_eq(expect_some(count, "the count")?.value, Count(200), "count")?;
    sound(&path)
}

async fn no_index_twice() -> Outcome {
    let (_directory, path) = place()?;
    let mut given = Vec::new();
    for worker in start_many("index", &path, 5)? {
        for line in worker.finish()? {
            given.push(line.parse::<u32>()?);
        }
    }
    given.sort_unstable();
    expect_eq(given, (0..25).collect::<Vec<u32>>(), "indexes")
}

async fn watched() -> Outcome {
    let (_directory, path) = place()?;
    let store = open(&path).await?;
    let mut watch = store.watch(&Context::new(), &Prefix::all(), None).await?;
    let worker = Worker::start("count", &path, "writer")?;
    let ctx = Context::new().with_timeout(Duration::from_secs(30));
    for n in 1..=40 {
        let changes = watch.next(&ctx).await?;
        let [flock_core::state::Event::Put(record)] = changes.events.as_slice() else {
            return Err(Failure::new(format!("not one record: {changes:?}")));
        };
        expect_eq(Count::from_document(&record.value)?, Count(n), "the next count")?;
    }
    worker.finish().map(drop)
}

async fn killed_writer() -> Outcome {
    let (_directory, path) = place()?;
    let mut last = Revision::START;
    for round in 0..15_u64 {
        let mut workers = start_many("pairs", &path, 2)?;
        for worker in &mut workers {
            worker.line()?;
        }
        tokio::time::sleep(Duration::from_micros(round * 1371 % 9000)).await;
        for worker in workers {
            worker.kill()?;
        }
        sound(&path)?;
        let store = open(&path).await?;
        let ctx = Context::new();
        let all = store.list(&ctx, &Prefix::all()).await?;
        ensure(all.revision > last, "the store went back in time")?;
        last = all.revision;
        let (pairs, twins) = all.records.split_at(all.records.len() / 2);
        expect_eq(pairs.len(), twins.len(), "records on both sides")?;
        for (one, two) in pairs.iter().zip(twins) {
            expect_eq(one.revision, two.revision, "revisions of a pair")?;
            ensure(one.value == two.value, "a pair that differs")?;
        }
    }
    Ok(())
}

async fn killed_holder() -> Outcome {
    let (_directory, path) = place()?;
    let store: Arc<dyn StateStore> = Arc::new(open(&path).await?);
    let mut first = Worker::start("hold", &path, "first")?;
    let old_token: u64 = first.line()?.parse()?;
    let ctx = Context::new().with_timeout(Duration::from_secs(30));
    let leader = key("leader")?;
    let held = store.acquire(&ctx, &leader, "next", LEASE).await?;
    expect_eq(held, None, "acquire while the first holds it")?;
    first.kill()?;
    let next = HeldLease::acquire_when_free(store, &ctx, &leader, "next", LEASE).await?;
    ensure(next.lease().token.get() > old_token, "the token does not rise")?;
    sound(&path)
}

async fn stopped_holder() -> Outcome {
    let (_directory, path) = place()?;
    let store: Arc<dyn StateStore> = Arc::new(open(&path).await?);
    let ctx = Context::new().with_timeout(Duration::from_secs(30));
    let mut first = Worker::start("hold", &path, "first")?;
    first.line()?;
    // It may be stopped while it has the file locked: then nobody can write,
    // and it is let go on and stopped again.
    let next = loop {
        first.signal(Signal::STOP)?;
        let brief = ctx.clone().with_timeout(LEASE * 2);
        let (shared, leader) = (Arc::clone(&store), key("leader")?);
        match HeldLease::acquire_when_free(shared, &brief, &leader, "next", LEASE).await {
            Ok(next) => break next,
            Err(error) => expect_eq(error.kind(), ErrorKind::Timeout, "acquire")?,
        }
        first.signal(Signal::CONT)?;
    };
    let write = Transaction::new().put(key("led")?, Document::of("next")?, Condition::Any);
    store.commit(&ctx, &write.with_fence(&next.lease())).await?;
    first.signal(Signal::CONT)?;
    expect_eq(first.line()?.as_str(), "refused", "what became of the stopped holder's write")?;
    first.finish()?;
    let record = expect_some(store.get(&ctx, &key("led")?).await?, "the record")?;
    expect_eq(record.value.to::<String>()?.as_str(), "next", "who wrote last")
}

async fn competing_holders() -> Outcome {
    let (_directory, path) = place()?;
    let store = open(&path).await?;
    let ctx = Context::new().with_timeout(Duration::from_secs(40));
    let mut watch = store.watch(&ctx, &Prefix::all(), None).await?;
    let workers = start_many("lead", &path, 4)?;
    let mut tokens = Vec::new();
    while tokens.len() < 4 * 4 * 5 {
        for event in watch.next(&ctx).await?.events {
            if let flock_core::state::Event::Put(record) = event {
                tokens.push(record.value.to::<u64>()?);
            }
        }
    }
    ensure(tokens.is_sorted(), format!("an old holder wrote after a new one: {tokens:?}"))?;
    tokens.dedup();
    expect_eq(tokens.len(), 16, "terms of holders")?;
    for worker in workers {
        worker.finish()?;
    }
    Ok(())
}

//! Watching.

use std::sync::Arc;
use std::time::Duration;

use super::{Cases, Subject, SuiteOptions, doc, key, prefix};
use crate::ErrorKind::{Cancelled, NotFound, Timeout};
use crate::conformance::{Failure, Outcome, ensure, expect_eq, expect_err};
use crate::state::{
    Changes, Condition, Event, Prefix, Revision, StateStoreExt, Transaction, Watch,
};
use crate::{Context, Result};

pub(super) fn cases(cases: Cases, options: &SuiteOptions) -> Cases {
    cases
        .case("a_watch_sees_every_change_in_order", in_order)
        .case("a_watch_can_start_in_the_past", from_revision)
        .case("a_watch_from_a_listing_misses_nothing", from_listing)
        .case("a_watch_is_of_its_prefix", of_prefix)
        .case("a_watch_gets_transactions_whole", whole)
        .case("a_watch_sees_no_change_where_there_is_none", no_change)
        .case("a_watch_that_waits_is_woken", woken)
        .case("a_cancelled_wait_loses_nothing", cancelled_wait)
        .case("many_watches_see_the_same", many)
        .case("a_watch_from_the_future_is_refused", from_the_future)
        .case_unless(
            options.history.is_none().then_some("its history cannot be bounded"),
            "a_watch_beyond_the_history_is_refused",
            beyond_history,
        )
}

/// A step as text: `key=value@revision` or `key-`.
fn shown(changes: &Changes) -> Vec<String> {
    let text = |event: &Event| match event {
        Event::Put(record) => format!("{}={}", record.key, record.value.as_str()),
        Event::Delete(key) => format!("{key}-"),
    };
    changes.events.iter().map(text).collect()
}

async fn take(watch: &mut Watch, count: usize) -> Result<Vec<String>, Failure> {
    let ctx = Context::new().with_timeout(Duration::from_secs(20));
    let (mut all, mut last) = (Vec::new(), Revision::START);
    while all.len() < count {
        let changes = watch.next(&ctx).await?;
        ensure(changes.revision > last, "a watch goes back in revisions")?;
        ensure(!changes.events.is_empty(), "changes without an event")?;
        last = changes.revision;
        all.extend(shown(&changes));
    }
    Ok(all)
}

/// Fails if there is anything more to see within a moment.
async fn silent(watch: &mut Watch) -> Outcome {
    let ctx = Context::new().with_timeout(Duration::from_millis(200));
    expect_err(watch.next(&ctx).await, Timeout, "a watch where nothing happens").map(drop)
}

async fn in_order(s: Arc<Subject>) -> Outcome {
    let mut watch = s.store.watch(&s.ctx, &Prefix::all(), None).await?;
    let at = key("n/a")?;
    let mut wanted = Vec::new();
    for n in 0..50 {
        s.store.put(&s.ctx, &at, doc(n)?, Condition::Any).await?;
        wanted.push(format!("n/a={n}"));
        if n % 10 == 9 {
            s.store.delete(&s.ctx, &at, Condition::Any).await?;
            wanted.push("n/a-".to_owned());
        }
    }
    expect_eq(take(&mut watch, wanted.len()).await?, wanted, "events")?;
    silent(&mut watch).await
}

async fn from_revision(s: Arc<Subject>) -> Outcome {
    let at = key("n/a")?;
    let first = s.store.put(&s.ctx, &at, doc(1)?, Condition::Any).await?;
    let second = s.store.put(&s.ctx, &at, doc(2)?, Condition::Any).await?;
    s.store.delete(&s.ctx, &at, Condition::Any).await?;
    let all = prefix("n")?;
    let mut watch = s.store.watch(&s.ctx, &all, Some(Revision::START)).await?;
    expect_eq(take(&mut watch, 3).await?, ["n/a=1", "n/a=2", "n/a-"], "from the start")?;
    let mut watch = s.store.watch(&s.ctx, &all, Some(first)).await?;
    s.store.put(&s.ctx, &at, doc(3)?, Condition::Any).await?;
    expect_eq(take(&mut watch, 3).await?, ["n/a=2", "n/a-", "n/a=3"], "after the first")?;
    let mut watch = s.store.watch(&s.ctx, &all, Some(second)).await?;
    let ctx = Context::new().with_timeout(Duration::from_secs(20));
    let changes = watch.next(&ctx).await?;
    let mut again = s.store.watch(&s.ctx, &all, Some(changes.revision)).await?;
    expect_eq(take(&mut again, 1).await?, ["n/a=3"], "after the revision of changes")
}

async fn from_listing(s: Arc<Subject>) -> Outcome {
    const WRITES: u64 = 100;
    let at = key("n/a")?;
    let writer = Arc::clone(&s);
    let writing = tokio::spawn(async move {
        for n in 1..=WRITES {
            writer.store.put(&writer.ctx, &key("n/a")?, doc(n)?, Condition::Any).await?;
        }
        Ok::<_, crate::Error>(())
    });
    let mut seen = 0;
    while seen < WRITES {
        let listing = s.store.list(&s.ctx, &prefix("n")?).await?;
        let Some(record) = listing.records.first() else { continue };
        let listed: u64 = record.value.to()?;
        ensure(listed >= seen, "a listing is older than the changes before it")?;
        seen = listed;
        let mut watch = s.store.watch(&s.ctx, &prefix("n")?, Some(listing.revision)).await?;
        for _ in 0..10.min(WRITES - seen) {
            seen += 1;
            expect_eq(take(&mut watch, 1).await?, [format!("{at}={seen}")], "the next change")?;
        }
    }
    writing.await??;
    Ok(())
}

async fn of_prefix(s: Arc<Subject>) -> Outcome {
    let mut watch = s.store.watch(&s.ctx, &prefix("a/b")?, None).await?;
    for text in ["a/b", "a/bb/c", "a/b0", "a", "b/a/b/c", "a/b/c", "a/b.", "a/b/d/e"] {
        s.store.put(&s.ctx, &key(text)?, doc(1)?, Condition::Any).await?;
    }
    expect_eq(take(&mut watch, 2).await?, ["a/b/c=1", "a/b/d/e=1"], "events")?;
    silent(&mut watch).await
}

async fn whole(s: Arc<Subject>) -> Outcome {
    s.store.put(&s.ctx, &key("n/c")?, doc(0)?, Condition::Any).await?;
    let mut watch = s.store.watch(&s.ctx, &prefix("n")?, None).await?;
    let transaction = Transaction::new()
        .put(key("n/b")?, doc(2)?, Condition::Any)
        .put(key("m/x")?, doc(2)?, Condition::Any)
        .delete(key("n/c")?, Condition::Any)
        .delete(key("n/none")?, Condition::Any)
        .put(key("n/a")?, doc(1)?, Condition::Any);
    let revision = s.store.commit(&s.ctx, &transaction).await?;
    let ctx = Context::new().with_timeout(Duration::from_secs(20));
    let changes = watch.next(&ctx).await?;
    expect_eq(changes.revision, revision, "revision")?;
    let mut events = shown(&changes);
    expect_eq(events.len(), 3, "events in one go")?;
    events.sort_unstable();
    expect_eq(events, ["n/a=1", "n/b=2", "n/c-"], "events")?;
    for event in &changes.events {
        if let Event::Put(record) = event {
            expect_eq(record.revision, revision, "revision of a record")?;
        }
    }
    Ok(())
}

async fn no_change(s: Arc<Subject>) -> Outcome {
    let at = key("a")?;
    let first = s.store.put(&s.ctx, &at, doc(1)?, Condition::Any).await?;
    let mut watch = s.store.watch(&s.ctx, &Prefix::all(), Some(first)).await?;
    s.store.delete(&s.ctx, &key("none")?, Condition::Any).await?;
    s.store.put(&s.ctx, &at, doc(2)?, Condition::Absent).await.err();
    s.store.commit(&s.ctx, &Transaction::new().check(at.clone(), Condition::Any)).await?;
    let lease = s.store.acquire(&s.ctx, &key("lease")?, "me", s.long()).await?;
    ensure(lease.is_some(), "a free lease is not given")?;
    silent(&mut watch).await?;
    // Writing the same value again is a change.
    s.store.put(&s.ctx, &at, doc(1)?, Condition::Any).await?;
    expect_eq(take(&mut watch, 1).await?, ["a=1"], "events")
}

async fn woken(s: Arc<Subject>) -> Outcome {
    let mut watch = s.store.watch(&s.ctx, &Prefix::all(), None).await?;
    let waiting = tokio::spawn(async move { take(&mut watch, 1).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    s.store.put(&s.ctx, &key("a")?, doc(1)?, Condition::Any).await?;
    expect_eq(waiting.await??, ["a=1"], "events")
}

async fn cancelled_wait(s: Arc<Subject>) -> Outcome {
    const WRITES: usize = 30;
    let mut watch = s.store.watch(&s.ctx, &Prefix::all(), None).await?;
    let cancelled = Context::new();
    cancelled.cancel();
    expect_err(watch.next(&cancelled).await, Cancelled, "next on a cancelled context")?;
    let writer = Arc::clone(&s);
    let writing = tokio::spawn(async move {
        for n in 0..WRITES {
            writer.store.put(&writer.ctx, &key("a")?, doc(n)?, Condition::Any).await?;
        }
        Ok::<_, crate::Error>(())
    });
    let mut seen = Vec::new();
    for patience in (0..3).cycle() {
        if seen.len() == WRITES {
            break;
        }
        let ctx = Context::new().with_timeout(Duration::from_millis(patience));
        match watch.next(&ctx).await {
            Ok(changes) => seen.extend(shown(&changes)),
            Err(error) => expect_eq(error.kind(), Timeout, "how the wait ended")?,
        }
    }
    writing.await??;
    let wanted: Vec<String> = (0..WRITES).map(|n| format!("a={n}")).collect();
    expect_eq(seen, wanted, "events")
}

async fn many(s: Arc<Subject>) -> Outcome {
    let mut watches = Vec::new();
    for _ in 0..20 {
        let mut watch = s.store.watch(&s.ctx, &Prefix::all(), None).await?;
        watches.push(tokio::spawn(async move { take(&mut watch, 20).await }));
    }
    let mut wanted = Vec::new();
    for n in 0..20 {
        s.store.put(&s.ctx, &key("a")?, doc(n)?, Condition::Any).await?;
        wanted.push(format!("a={n}"));
    }
    for watch in watches {
        expect_eq(watch.await??, wanted.clone(), "events")?;
    }
    Ok(())
}

async fn from_the_future(s: Arc<Subject>) -> Outcome {
    let now = s.store.put(&s.ctx, &key("a")?, doc(1)?, Condition::Any).await?;
    let future = Revision::new(now.get() + 1000);
    let watch = s.store.watch(&s.ctx, &Prefix::all(), Some(future)).await;
    expect_err(watch, NotFound, "a watch after a revision that never was").map(drop)
}

async fn beyond_history(s: Arc<Subject>) -> Outcome {
    let history = s.options.history.unwrap_or_default();
    let first = s.store.put(&s.ctx, &key("a")?, doc(0)?, Condition::Any).await?;
    let mut slow = s.store.watch(&s.ctx, &Prefix::all(), Some(first)).await?;
    for n in 0..=history {
        s.store.put(&s.ctx, &key("a")?, doc(n)?, Condition::Any).await?;
    }
    let watch = s.store.watch(&s.ctx, &Prefix::all(), Some(Revision::START)).await;
    expect_err(watch, NotFound, "a watch from dropped history")?;
    s.store.put(&s.ctx, &key("a")?, doc("last")?, Condition::Any).await?;
    let ctx = Context::new().with_timeout(Duration::from_secs(20));
    expect_err(slow.next(&ctx).await, NotFound, "a watch that lags behind")?;
    let listing = s.store.list(&s.ctx, &Prefix::all()).await?;
    let mut watch = s.store.watch(&s.ctx, &Prefix::all(), Some(listing.revision)).await?;
    s.store.put(&s.ctx, &key("b")?, doc(1)?, Condition::Any).await?;
    expect_eq(take(&mut watch, 1).await?, ["b=1"], "events after listing again")
}
